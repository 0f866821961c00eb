"""Two sets of images, the one before and the other after something, in pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unitlens.data.concepts import Concept, Data, DataDescription, Example, described
from unitlens.data.groups import Groups, grouped
from unitlens.data.readers.given import Given, given_images
from unitlens.data.readers.plain import images_only
from unitlens.data.reading import decoded, image_name, read_example
from unitlens.errors import UnitlensError

Side = Given | Sequence[Given] | Data
"""An image, several of them, a folder of images, or a data set."""


@dataclass(frozen=True, eq=False, repr=False)
class PairedImages:
    """Images 2 k and 2 k + 1 are those of pair k, before and after; a `unitlens.data.concepts.Data`.

    Both are of one group, and so in one fold: that of the pair, of the image before, or a group of its own.

    Attributes
    ----------
    before, after : Data
    order : tuple of int
        Which image of ``after`` belongs to each of ``before``.
    note : str, optional
        How they were paired, where it may be wrong.
    """

    before: Data
    after: Data
    order: tuple[int, ...]
    note: str | None = None

    concepts: Sequence[Concept] = ()

    @property
    def description(self) -> DataDescription:
        """Where they come from, their names, and what their classes are called."""
        sides = described(self.before), described(self.after)
        names = None
        if sides[0].names is not None and sides[1].names is not None:
            names = tuple(
                name
                for place, other in enumerate(self.order)
                for name in (f"before/{sides[0].names[place]}", f"after/{sides[1].names[other]}")
            )
        return DataDescription(
            source=" and ".join(dict.fromkeys(side.source for side in sides)),
            names=names,
            class_index=sides[0].class_index,
            grouped=sides[0].grouped,
        )

    def __len__(self) -> int:
        return 2 * len(self.before)

    def __getitem__(self, index: int, /) -> Example:
        return decoded(self.encoded(index))

    def encoded(self, index: int, /) -> Example:
        """The example of an index, with a file that is not decoded yet, where the data have one."""
        pair, later = divmod(index, 2)
        example = _read(self.after, self.order[pair]) if later else _read(self.before, pair)
        name = f"{'after' if later else 'before'}/{example.name}"
        return example._replace(planes={}, name=name, group=self._group(pair))

    def _group(self, pair: int) -> str:
        listed = described(self.before)
        if listed.names is not None and not listed.grouped:
            return listed.names[pair]
        first = _read(self.before, pair)
        return first.name if first.group is None else first.group


def _read(data: Data, index: int) -> Example:
    return read_example(data, index, described(data).names, encoded=True)


def pair_images(before: Side, after: Side, *, groups: Groups | None = None) -> PairedImages:
    """Pair two sets of images, the first with the first, and so on; files of two folders by their names.

    Parameters
    ----------
    before, after : str, Path, array of (height, width, bands), a sequence of them, or Data
        As many of the one as of the other. A path may be that of a folder.
    groups : optional
        Which pairs belong together, by the images before, as `unitlens.data.groups.grouped` takes it; those of the
        data, unless given.

    Raises
    ------
    UnitlensError
        If there are not as many, they are latents, or an image before has no group.

    Examples
    --------
    >>> import numpy as np
    >>> black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    >>> pair_images([black, white], [white, white])[3].name
    'after/image 1'
    """
    sides = [_opened(side) for side in (before, after)]
    for side in sides:
        if described(side).of_latents:
            raise UnitlensError(
                f"{described(side).source} is of latents, and pairs are of images: save what is drawn from them, or "
                "compare what unitlens.edit_image returns."
            )
    order, note = tuple(range(len(sides[1]))), None
    if all(isinstance(side, str | Path) and Path(side).is_dir() for side in (before, after)):
        order, note = _by_name(*sides)
    if len(sides[0]) != len(sides[1]):
        raise UnitlensError(
            f"There are {len(sides[0])} images before and {len(sides[1])} after: give as many, in the same order."
        )
    return PairedImages(grouped(sides[0], groups), sides[1], order, note)


def _opened(side: Side) -> Data:
    if isinstance(side, str | Path) and Path(side).is_dir():
        return images_only(side)
    return given_images(side)


def _by_name(before: Data, after: Data) -> tuple[tuple[int, ...], str | None]:
    """Pair the files of two folders by their names without endings; by their order where they have other ones."""
    stems = [
        [
            PurePosixPath(image_name(described(side).names, index)).with_suffix("").as_posix()
            for index in range(len(side))
        ]
        for side in (before, after)
    ]
    places = {stem: place for place, stem in enumerate(stems[1])}
    missing = [stem for stem in stems[0] if stem not in places]
    if not missing and len(places) == len(stems[1]) == len(stems[0]):
        return tuple(places[stem] for stem in stems[0]), None
    if len(stems[0]) != len(stems[1]):
        shown = missing[0] if missing else next(stem for stem in stems[1] if stem not in set(stems[0]))
        raise UnitlensError(
            f"There are {len(stems[0])} images before and {len(stems[1])} after, and {shown} is in one folder alone: "
            "files of two folders are paired by their names."
        )
    note = (
        f"Files of the two folders have other names, and are paired in their order: {stems[0][0]} with {stems[1][0]}."
    )
    return tuple(range(len(stems[1]))), note
