"""Images that belong together: frames of a video, images of a place or a patient, copies. A group is one draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from unitlens.data.concepts import Concept, Data, DataDescription, Example, described
from unitlens.data.copies import find_copies, fingerprint
from unitlens.data.readers.files import read_column
from unitlens.data.reading import as_example, as_latent, chosen_images, encoded_example, read_examples
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.patterns import first_groups

Groups = str | Path | Mapping[str, str] | Sequence[str]
"""What ``groups=`` takes: see `grouped`."""

FOLDER, AUTO, PATTERN, SEQUENCE = "folder", "auto", "re:", "sequence:"
SPELLINGS = ("FILE.csv", FOLDER, "re:PATTERN", "sequence:K", AUTO)
"""What ``--groups`` takes."""


@dataclass(frozen=True)
class GroupedData:
    """A data set whose images have groups; a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    data : Data
    group_of : mapping of str to str
        The group of each image that is read, by the image's name.
    """

    data: Data
    group_of: Mapping[str, str]

    @property
    def concepts(self) -> Sequence[Concept]:
        """Those of the data set."""
        return self.data.concepts

    @cached_property
    def description(self) -> DataDescription:
        """That of the data set, whose images now belong together."""
        return replace(described(self.data), grouped=True)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int, /) -> Example:
        item = self.data[index]
        return self._grouped(as_latent(item) if self.description.of_latents else as_example(item))

    def encoded(self, index: int, /) -> Example:
        """The example of an index, with files that are not decoded yet, if the data set gives such."""
        return self._grouped(encoded_example(self.data, index))

    def _grouped(self, example: Example) -> Example:
        if example.name not in self.group_of:
            raise UnitlensError(f"The image {example.name} has no group: {argument('groups')} has to name one.")
        return example._replace(group=self.group_of[example.name])


def grouped(data: Data, groups: Groups | None, *, limit: int | None = None, seed: int = 0) -> Data:
    """Give the images of a data set their groups.

    Parameters
    ----------
    data : Data
    groups : str, Path, mapping, sequence or None
        A file of ``image,group``; "folder": the folder of each image; "re:PATTERN": the first group of a regular
        expression in the image's name; "sequence:K": K neighbours in the order of names, anew in each folder; "auto":
        copies and near copies, which are looked for in all images that are read. Or groups by names, or one for each
        image in the order of the data. None: what the data set says itself, such as a column ``group`` of classes.csv.
    limit, seed : int, optional
        Which images are read: see `unitlens.data.reading.chosen_images`.

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If an image has no group, or there is no such file or way to group.

    Examples
    --------
    >>> import unitlens as ul
    >>> data = ul.Scenes(4)
    >>> grouped(data, "sequence:2")[3].group == grouped(data, "sequence:2")[2].group
    True
    """
    if groups is None:
        return data
    names = described(data).names or _read_names(data)
    if isinstance(groups, str | Path):
        of_image = _by_spelling(str(groups), data, names, limit, seed)
    elif isinstance(groups, Mapping):
        of_image = {str(name): str(group) for name, group in groups.items()}
        _check_complete(of_image, [names[index] for index in chosen_images(data, limit, seed=seed)], "groups=")
    else:
        if len(groups) != len(data):
            raise UnitlensError(
                f"{len(groups)} groups were given for {len(data)} images: give one for each, in their order."
            )
        of_image = {name: str(group) for name, group in zip(names, groups, strict=True)}
    return GroupedData(data, of_image)


def in_time(groups: str | None) -> bool:
    """Whether the images are a sequence, whose labels move on in the order of names."""
    return groups is not None and groups.startswith(SEQUENCE)


def _read_names(data: Data) -> tuple[str, ...]:
    """Names of the images of a data set that does not list them: all are read."""
    read = (read.example for read in read_examples(data))
    return tuple(one.name if isinstance(one, Example) else f"image {place}" for place, one in enumerate(read))


def _by_spelling(groups: str, data: Data, names: Sequence[str], limit: int | None, seed: int) -> Mapping[str, str]:
    """Groups by what a command line says."""
    if groups == FOLDER:
        return _by_folder(names)
    if groups == AUTO:
        return _of_copies(data, names, limit, seed)
    if groups.startswith(PATTERN):
        return _by_pattern(names, groups.removeprefix(PATTERN))
    if groups.startswith(SEQUENCE):
        return _neighbours(names, groups.removeprefix(SEQUENCE))
    path = Path(groups)
    if path.is_file():
        of_image = read_column(path, "group", filled=True)
        _check_complete(of_image, [names[index] for index in chosen_images(data, limit, seed=seed)], str(path))
        return of_image
    if path.suffix.lower() == ".csv":
        raise UnitlensError(f"There is no file {groups}: {argument('groups')} takes a file of image,group.")
    word = did_you_mean(groups.partition(":")[0], (FOLDER, AUTO, "re", "sequence"))
    raise UnitlensError(f"There are no groups {groups!r}{word}; there are {', '.join(SPELLINGS)}.")


def _by_folder(names: Sequence[str]) -> dict[str, str]:
    of_image = {name: name.rpartition("/")[0] for name in names}
    alone = next((name for name, folder in of_image.items() if not folder), None)
    if alone is not None:
        raise UnitlensError(
            f"The image {alone} lies in no subfolder, so that its folder is no group: move it into one, or name the "
            f"groups in a file ({argument('groups', 'FILE.csv')})."
        )
    return of_image


def _by_pattern(names: Sequence[str], pattern: str) -> dict[str, str]:
    given = argument("groups", f"{PATTERN}{pattern}")
    found = first_groups(pattern, names, given=given)
    of_image = {name: group for name, group in zip(names, found, strict=True) if group is not None}
    _check_complete(of_image, names, given)
    return of_image


def _neighbours(names: Sequence[str], length: str) -> dict[str, str]:
    """Stretches of each folder's names in their order; each has the name of its first image."""
    if not (length.isascii() and length.isdigit() and int(length[:9]) >= 2):
        raise UnitlensError(
            f"{argument('groups', f'{SEQUENCE}{length}')} says how many neighbours are one group, 2 or more, such as "
            "sequence:10."
        )
    folders: dict[str, list[str]] = {}
    for name in sorted(names):
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    size = int(length[:9])
    return {name: of[place - place % size] for of in folders.values() for place, name in enumerate(of)}


def _of_copies(data: Data, names: Sequence[str], limit: int | None, seed: int) -> dict[str, str]:
    """Copies and near copies among the images that are read; each group has the name of its first one."""
    if described(data).of_latents:
        raise UnitlensError(
            f"{argument('groups', AUTO)} looks for copies among images, and these are latents, from which images are "
            "drawn later: name the groups in a file, or leave it out."
        )
    indices = chosen_images(data, limit, seed=seed)
    examples = [read.example for read in read_examples(_Small(data), indices)]
    order = sorted((one for one in examples if isinstance(one, Example)), key=lambda one: one.name)
    group = find_copies([one.image[0, :, 0].tobytes() for one in order]).group
    of_image = {names[index]: names[index] for index in indices}  # one that cannot be read is left out later
    return of_image | {one.name: order[first].name for one, first in zip(order, group.tolist(), strict=True)}


@dataclass(frozen=True)
class _Small:
    """A data set of fingerprints in place of images: what is kept of many images at a time stays small."""

    data: Data

    @property
    def concepts(self) -> Sequence[Concept]:
        """None: nothing is marked in a fingerprint."""
        return ()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int, /) -> Example:
        example = as_example(self.data[index])
        small = np.frombuffer(fingerprint(example.image), np.uint8)
        return Example(np.repeat(small[None, :, None], 3, 2), {}, example.name)


def _check_complete(of_image: Mapping[str, str], names: Sequence[str], given: str) -> None:
    without = [name for name in names if name not in of_image]
    if len(without) == len(names):
        raise UnitlensError(f"{given} gives none of the {len(names)} images a group; the first of them is {names[0]}.")
    if without:
        more = f", and {len(without) - 1} more have none" if len(without) > 1 else ""
        raise UnitlensError(f"{given} gives the image {without[0]} no group{more}: each image needs one.")
