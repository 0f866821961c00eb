"""The annotated folder: images, label maps, concepts and classes as files."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from unitlens.data.classes import numbered
from unitlens.data.concepts import Concept, Example, Finding, name_findings
from unitlens.data.images import EXTENSIONS, encoded_image, encoded_label_map
from unitlens.data.readers.files import read_rows, say_once, whole_number
from unitlens.data.reading import decoded
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.packed import ChoiceOf, Known
from unitlens.plurals import counted
from unitlens.stats.blocks import in_blocks

_NAMES_AT_ONCE = 1 << 12


def annotated(folder: str | Path) -> "AnnotatedFolder":
    """Open an annotated folder.

    Parameters
    ----------
    folder : str or Path
        ``images/**/NAME.jpg|png``, ``labels/CATEGORY/**/NAME.png``, ``concepts.csv`` (``category,label,name``) and
        ``classes.csv`` (``image,class[,index][,group]``); all but the images may be absent. Without ``classes.csv``,
        images that all lie in subfolders of ``images/`` have the name of theirs as their class.

    Returns
    -------
    AnnotatedFolder

    Raises
    ------
    UnitlensError
        If there are no images, or a list contradicts itself or the files.

    Examples
    --------
    >>> annotated("nowhere")
    Traceback (most recent call last):
        ...
    unitlens.errors.UnitlensError: There is no folder nowhere.
    """
    return AnnotatedFolder(Path(folder))


class AnnotatedFolder:
    """Annotated images on disk; a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    root : Path
        The folder.
    concepts : tuple of Concept
        As in ``concepts.csv``.
    names : tuple of str
        POSIX paths of the images under ``images/``, sorted.
    not_images : tuple of str
        Other files that lie under ``images/``.
    class_index : dict of str to int
        Index of the network's output for each class, where ``classes.csv`` gives one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise UnitlensError(f"There is no folder {root}.")
        self.names, self.not_images = _list_images(root)
        self.concepts = _read_concepts(root)
        classes = _read_classes(root, self.names)
        self._classes, self.class_index, self._groups = classes.of_image, classes.output, classes.group
        labels = root / "labels"
        self.categories = (
            tuple(sorted(path.name for path in labels.iterdir() if path.is_dir())) if labels.is_dir() else ()
        )
        self._check_categories()

    def _check_categories(self) -> None:
        """Every folder of label maps has concepts, and maps of some of the images."""
        known = {concept.category for concept in self.concepts}
        for category in self.categories:
            if category not in known:
                raise UnitlensError(
                    f"{self.root / 'labels' / category} holds label maps, but concepts.csv names no concept of the "
                    f"category {category}{did_you_mean(category, known)}: add its rows to {self.root / 'concepts.csv'}."
                )
            if not any(self._label_map(category, name).is_file() for name in self.names):
                raise UnitlensError(
                    f"{self.root / 'labels' / category} holds no map of any image; the map of {self.names[0]} "
                    f"would be {self._label_map(category, self.names[0])}."
                )

    def _label_map(self, category: str, name: str) -> Path:
        return self.root / "labels" / category / PurePosixPath(name).with_suffix(".png")

    @property
    def source(self) -> str:
        """What ``--data`` takes to open it."""
        return str(self.root)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the images that are there, each once, sorted."""
        return tuple(sorted(self._classes.of_list()))

    @property
    def grouped(self) -> bool:
        """Whether classes.csv has groups."""
        return bool(self._groups)

    def file_findings(self) -> Iterator[Finding]:
        """Images that classes.csv names and that are not there, and files under labels/ that are no image's map."""
        text = "classes.csv names {name}, which is not under images/."
        yield from name_findings("missing image", sorted(self._classes.keys() - set(self.names)), text)
        stems = set(map(_stem, self.names))
        labels = self.root / "labels"
        for path in sorted(labels.rglob("*")) if labels.is_dir() else ():
            file = path.relative_to(labels)
            if not path.is_file() or any(part.startswith(".") for part in file.parts):
                continue
            stem = "/".join(file.parts[1:]).rpartition(".")[0]
            name = f"labels/{file.as_posix()}"
            if path.suffix != ".png":
                yield Finding("no label map", f"{name} is not a label map: a label map is a .png file.")
            elif stem not in stems:
                yield Finding("missing image", f"{name} is the map of an image that is not under images/.")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return (
            f"AnnotatedFolder({str(self.root)!r}: {counted(len(self), 'image')}, "
            f"{counted(len(self.concepts), 'concept')} of {', '.join(self.categories) or 'no category'})"
        )

    def __getitem__(self, index: int) -> Example:
        return decoded(self.encoded(index))

    def encoded(self, index: int) -> Example:
        """The example of an index, with files that are not decoded yet."""
        name = self.names[index]
        image = encoded_image(self.root / "images" / name)
        hashed = hashlib.sha256(image.digest.encode())
        planes: dict[str, list[Any]] = {}
        for category in self.categories:
            path = self._label_map(category, name)
            if path.is_file():
                plane = encoded_label_map(path)
                planes[category] = [plane]
                hashed.update(f"{category} {plane.digest}".encode())
        return Example(
            image,  # type: ignore[arg-type]  # as the protocol says
            planes,
            name,
            self._classes.get(name),
            hashed.hexdigest(),
            self._groups.get(name),
        )


def _list_images(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    images = root / "images"
    if not images.is_dir():
        raise UnitlensError(f"{root} has no folder images/: put the images into {images}.")
    files = sorted(_files_below(images))
    names = tuple(name for name in files if _may_be_image(images / name))
    others = () if len(names) == len(files) else tuple(name for name in files if not _may_be_image(images / name))
    if not names:
        raise UnitlensError(f"{images} holds no image: put files such as NAME.jpg or NAME.png into it.")
    _check_stems(names, images)
    return names, others


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _check_stems(names: Sequence[str], images: Path) -> None:
    """No two images have one name but for the ending."""
    known = Known()
    for block in in_blocks(len(names), _NAMES_AT_ONCE):
        for stem in known.add(list(map(_stem, names[block]))):
            same = [name for name in names[: block.stop] if _stem(name) == stem]
            if len(same) > 1:  # else another one that seems to be the same
                raise UnitlensError(
                    f"{images} holds two images of one name, {same[0]} and {same[1]}, which would share their label "
                    "maps: rename or remove one."
                )


def _files_below(images: Path) -> Iterator[str]:
    """All that is no folder, by its path under images/; what is hidden is passed over, and a linked folder is entered.

    A folder is entered once, also where links run in a circle.
    """
    entered: set[str] = set()
    for folder, below, files in os.walk(images, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        below[:] = [] if real in entered else sorted(name for name in below if not name.startswith("."))
        under = Path(folder).relative_to(images).as_posix()
        for name in () if real in entered else files:
            if not name.startswith("."):
                yield _as_text(images, name if under == "." else f"{under}/{name}")
        entered.add(real)


def _refuse(error: OSError) -> None:
    raise UnitlensError(f"The folder {error.filename} cannot be read: {error.strerror}.")


def _as_text(images: Path, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnitlensError(f"{images} holds a file whose name is not UTF-8, {name!a}: rename it.") from None
    return name


def _may_be_image(path: Path) -> bool:
    """Whether a file has an image's suffix; a link to nothing, a pipe and the like are none."""
    return path.suffix.lower() in EXTENSIONS and path.is_file()


def _read_concepts(root: Path) -> tuple[Concept, ...]:
    path = root / "concepts.csv"
    if not path.is_file():
        if (root / "labels").is_dir():
            raise UnitlensError(
                f"{root} has labels/ but no concepts.csv: add one with the columns category,label,name."
            )
        return ()
    concepts: list[Concept] = []
    taken: dict[tuple[str, str | int], int] = {}
    columns = ("category", "label", "name")
    for line, row in read_rows(path, columns, filled=columns):
        concept = Concept(row["category"], whole_number(row["label"], path, line), row["name"])
        if not 1 <= concept.label <= 65534:
            raise UnitlensError(f"{path}, line {line}: the label is {concept.label}; a label lies between 1 and 65534.")
        for key in (concept.label, concept.name):
            other = taken.setdefault((concept.category, key), line)
            if other != line:
                raise UnitlensError(
                    f"{path}, lines {other} and {line} both stand for {key!r} in the category {concept.category}: "
                    "give each concept one label and one name."
                )
        concepts.append(concept)
    return tuple(concepts)


class _Classes(NamedTuple):
    of_image: ChoiceOf[str]
    output: Mapping[str, int]
    group: Mapping[str, str]


def _read_classes(root: Path, names: tuple[str, ...]) -> _Classes:
    path = root / "classes.csv"
    if not path.is_file():
        of_folders = ChoiceOf[str](names)
        if all("/" in name for name in names):
            of_folders.update((name, name.rpartition("/")[0]) for name in names)
        return _Classes(of_folders, {}, {})
    of_image, output_of_image, group_of = ChoiceOf[str](names), ChoiceOf[int](names), ChoiceOf[str](names)
    columns = ("image", "class")
    for line, row in read_rows(path, columns, filled=columns):
        image, place = row["image"], f"{path}, line {line}"
        if image.startswith("/") or ".." in image.split("/"):
            raise UnitlensError(f"{place}: {image} leads out of images/; paths are relative to images/.")
        say_once(of_image, image, row["class"], column="class", place=place)
        if row.get("group"):
            say_once(group_of, image, row["group"], column="group", place=place)
        if row.get("index"):
            output = whole_number(row["index"], path, line)
            if output < 0:
                raise UnitlensError(f"{place}: the index is {output}; outputs are counted from 0.")
            say_once(output_of_image, image, output, column="index", place=place)
    if of_image and not of_image.of_list():
        first = next(iter(of_image))
        raise UnitlensError(
            f"{path} names no image that is there; its first is {first}{did_you_mean(first, names)}: "
            "paths are relative to images/."
        )
    return _told_apart(names, of_image, output_of_image, path)._replace(group=group_of)


def _told_apart(
    names: Sequence[str], of_image: Mapping[str, str], output_of_image: Mapping[str, int], path: Path
) -> _Classes:
    """Classes with their outputs; those of one name and several outputs are called "crane (134)", "crane (517)"."""
    outputs: dict[str, set[int]] = {}
    for image, output in output_of_image.items():
        outputs.setdefault(of_image[image], set()).add(output)
    classes = ChoiceOf[str](names)
    for image, class_ in of_image.items():
        several = len(outputs.get(class_, ())) > 1
        if several and image not in output_of_image:
            raise UnitlensError(
                f"{path} gives the class {class_} several indices, {', '.join(map(str, sorted(outputs[class_])))}, and "
                f"{image} none of them: give it one."
            )
        classes[image] = numbered(class_, output_of_image[image]) if several else class_
    return _Classes(classes, {classes[image]: output for image, output in output_of_image.items()}, {})
