"""The data set that every reader gives: images on disk, and what a format says is marked in each."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from unitlens.data.concepts import Concept, Example, Finding
from unitlens.data.images import encoded_image
from unitlens.data.readers.files import must_exist
from unitlens.data.reading import decoded
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.plurals import counted


class Marks(NamedTuple):
    """What is marked in one image.

    Attributes
    ----------
    planes : mapping of str to sequence of integer arrays
        As in `unitlens.data.concepts.Example`.
    digests : sequence of str
        One for each file or record that it was read from.
    """

    planes: Mapping[str, Sequence[npt.NDArray[Any]]]
    digests: Sequence[str]


class MarkReader(Protocol):
    """What a format contributes: the marks of an image, by its name."""

    def __call__(self, name: str, /) -> Marks:
        """Read them; UnreadableError where a file is missing or damaged."""
        ...


def nothing_marked(_: str) -> Marks:
    """Images alone."""
    return Marks({}, ())


def nothing_found() -> tuple[Finding, ...]:
    """Files that say nothing that reading them does not."""
    return ()


@dataclass(frozen=True, repr=False)
class MarkedImages:
    """Annotated images in one of the formats of this package; a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    format : str
        Its name, as ``--data-format`` takes it.
    root : Path
        The folder that was opened.
    images : Path
        The folder that names are relative to.
    names : tuple of str
        POSIX paths of the images, sorted.
    concepts : tuple of Concept
        All that may be marked.
    marks : MarkReader
        Reads what is marked in an image.
    class_of : mapping of str to str
        The class of a whole image, by its name, where the format knows it.
    check_files : callable
        Gives what is wrong with lists and files and does not show in any image that is read, such as images that a list
        names and that have no map.
    """

    format: str
    root: Path
    images: Path
    names: tuple[str, ...]
    concepts: tuple[Concept, ...]
    marks: MarkReader = nothing_marked
    class_of: Mapping[str, str] = field(default_factory=dict)
    check_files: Callable[[], Iterable[Finding]] = nothing_found

    def __post_init__(self) -> None:
        if not self.names:
            raise UnitlensError(f"{self.root} was read as {self.format}, but it lists no image.")

    @property
    def classes(self) -> tuple[str | None, ...]:
        """The class of each image, in their order."""
        return tuple(self.class_of.get(name) for name in self.names)

    @property
    def source(self) -> str:
        """What ``--data`` takes to open it."""
        return str(self.root)

    def file_findings(self) -> Iterable[Finding]:
        """What is wrong with lists and files and does not show in any image that is read."""
        return self.check_files()

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        categories = ", ".join(dict.fromkeys(concept.category for concept in self.concepts)) or "no category"
        images, concepts = counted(len(self), "image"), counted(len(self.concepts), "concept")
        return f"<{self.format} {self.root}: {images}, {concepts} of {categories}>"

    def __getitem__(self, index: int, /) -> Example:
        return decoded(self.encoded(index))

    def encoded(self, index: int, /) -> Example:
        """The example of an index, with an image that is not decoded yet."""
        name = self.names[index]
        path = self.images / name
        must_exist(path)
        image = encoded_image(path)
        planes, digests = self.marks(name)
        hashed = hashlib.sha256("\n".join([image.digest, *digests]).encode())
        return Example(image, planes, name, self.class_of.get(name), hashed.hexdigest())  # type: ignore[arg-type]


def chosen_splits(split: str | None, there: Sequence[str], root: Path | str) -> tuple[str, ...]:
    """The splits to read: the one that was asked for, or all.

    Parameters
    ----------
    split : str or None
        As asked for.
    there : sequence of str
        Those of the data set.
    root : Path or str
        For the sentence.

    Raises
    ------
    UnitlensError
        If there is no such split.
    """
    if split is None:
        return tuple(there)
    if split not in there:
        raise UnitlensError(
            f"{root} has no split {split!r}{did_you_mean(split, there)}; it has {', '.join(there) or 'none at all'}."
        )
    return (split,)
