"""From annotated pictures to batches: the network's input, and on the label grid what is marked in it."""

import hashlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unitlens.concepts import Concept, Data, Example
from unitlens.errors import UnitlensError
from unitlens.network import Preprocessing
from unitlens.pictures import Fit, UnreadableError, same_aspect
from unitlens.statistics import FOLDS

NotJudged = Literal["left_out", "none"]
Union = Literal["annotated", "all"]


@dataclass(frozen=True)
class Columns:
    """The columns of a table of counts, and how labels become their numbers.

    Column 0 is "none of this"; 1 to C are the concepts; C + 1 to C + K say that a position counts for nothing in one of
    the K categories.

    Attributes
    ----------
    concepts : tuple of Concept
        In the order of the columns.
    not_judged : {"left_out", "none"}
        Whether not-judged positions count for nothing, or as none of the category's concepts.
    union : {"annotated", "all"}
        Whether a picture counts for a category only where it is annotated for it, or always.
    """

    concepts: tuple[Concept, ...]
    not_judged: NotJudged = "left_out"
    union: Union = "annotated"

    @classmethod
    def of(
        cls, concepts: Sequence[Any], *, not_judged: NotJudged = "left_out", union: Union = "annotated"
    ) -> "Columns":
        """Columns for the concepts of a data set; plain (category, label, name) tuples do."""
        columns = cls(tuple(Concept(*concept) for concept in concepts), not_judged, union)
        if len(set(columns.identities)) < len(columns.identities):
            twice = next(c for c in columns.identities if columns.identities.count(c) > 1)
            raise UnitlensError(f"The concept {'/'.join(twice)} stands twice in the data; a concept has one label.")
        return columns

    @property
    def identities(self) -> list[tuple[str, str]]:
        """(category, name) of each concept."""
        return [(concept.category, concept.name) for concept in self.concepts]

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories in the order in which the concepts name them."""
        return tuple(dict.fromkeys(concept.category for concept in self.concepts))

    @property
    def category_of(self) -> npt.NDArray[np.int64]:
        """Index of the category of each concept, (C,)."""
        index = {category: k for k, category in enumerate(self.categories)}
        return np.array([index[concept.category] for concept in self.concepts], dtype=np.int64)

    @property
    def count(self) -> int:
        """Number of columns in all: 1 + C + K."""
        return 1 + len(self.concepts) + len(self.categories)

    def names(self) -> list[str]:
        """How each concept is written: its name, or category/name where several categories have that name."""
        names = [concept.name for concept in self.concepts]
        return [f"{c.category}/{c.name}" if names.count(c.name) > 1 else c.name for c in self.concepts]

    def planes(self, example: Example, fit: Fit, grid: tuple[int, int]) -> npt.NDArray[np.int16]:
        """Column of every cell of the grid, in one plane for each category and further ones where it has several.

        Returns
        -------
        int16 array, (planes, H * W)
            The first K planes are the categories'. A concept that several planes of a category hold at one cell stands
            there once.

        Raises
        ------
        UnitlensError
            If a map has another aspect ratio than the picture, or a label that no concept has.
        """
        nowhere = 0 if self.union == "all" else None
        first: list[npt.NDArray[np.int16]] = []
        further: list[npt.NDArray[np.int16]] = []
        for k, category in enumerate(self.categories):
            left_out = 1 + len(self.concepts) + k
            maps = [self._sampled(plane, category, example, fit, grid) for plane in example.planes.get(category, ())]
            if not maps:
                first.append(np.full(grid[0] * grid[1], left_out if nowhere is None else nowhere, np.int16))
                continue
            unknown = np.logical_or.reduce([plane < 0 for plane in maps])
            own = [np.where(unknown, 0, plane) for plane in maps]
            for later in range(1, len(own)):
                for earlier in own[:later]:
                    own[later] = np.where(own[later] == earlier, 0, own[later])
            own[0] = np.where(unknown, left_out if self.not_judged == "left_out" else 0, own[0])
            first.append(own[0].astype(np.int16))
            further += [plane.astype(np.int16) for plane in own[1:]]
        return np.stack(first + further) if first else np.zeros((0, grid[0] * grid[1]), np.int16)

    def _sampled(
        self, plane: npt.NDArray[Any], category: str, example: Example, fit: Fit, grid: tuple[int, int]
    ) -> npt.NDArray[np.int16]:
        plane = np.asarray(plane)
        if plane.ndim != 2 or plane.dtype.kind not in "iub" or not same_aspect(example.picture.shape[:2], plane.shape):
            raise UnitlensError(
                f"The {category} label map of {example.name} is {_size(plane)}, its picture {_size(example.picture)}: "
                "a label map shows the whole picture, at any size of the same aspect ratio."
            )
        table, offset = self._lookup(category, plane.dtype)
        columns: npt.NDArray[np.int16] = table.take(
            fit.labels(plane, grid).ravel().astype(np.int64) + offset, mode="clip"
        )
        if (columns == _STRAY).any():
            labels = sorted(set(fit.labels(plane, grid).ravel()[columns == _STRAY].tolist()))
            raise UnitlensError(
                f"The {category} label map of {example.name} holds the label{'s' * (len(labels) > 1)} "
                f"{', '.join(map(str, labels[:5]))}{', ...' * (len(labels) > 5)}, which no concept of {category} has: "
                "add rows to concepts.csv or mend the map (0 is none, 255 is not judged)."
            )
        return columns

    def _lookup(self, category: str, dtype: np.dtype[Any]) -> tuple[npt.NDArray[np.int16], int]:
        """Column for each label + offset; -1 where not judged, _STRAY where no concept has it."""
        own = {concept.label: c + 1 for c, concept in enumerate(self.concepts) if concept.category == category}
        largest = {"u1": 255, "u2": 65535}.get(dtype.str[1:])
        size = (largest or max([*own, 65535])) + 3
        table = np.full(size, _STRAY, np.int16)
        table[1] = 0
        for label, column in own.items():
            if label + 1 < size:
                table[label + 1] = column
        if largest is None:
            table[0] = -1
            for label in {255, 65535} - own.keys():
                table[label + 1] = -1
        else:
            table[largest + 1] = -1
        return table, 1


_STRAY = -2


def _size(pixels: npt.NDArray[Any]) -> str:
    return (
        "x".join(str(side) for side in (pixels.shape[1], pixels.shape[0], *pixels.shape[2:]))
        if pixels.ndim > 1
        else "flat"
    )


class Unread(NamedTuple):
    """A picture that was left out, and why."""

    picture: str
    reason: str


class Batch(NamedTuple):
    """Pictures that were read, in the order of the data set.

    Attributes
    ----------
    pictures : uint8 tensor, (N, 3, height, width)
        The network's input before ``/ 255``, mean and std.
    planes : list of int16 arrays, (planes, H * W)
        See `Columns.planes`.
    annotated : list of int
        Bit k is set where the picture is annotated for category k.
    names, classes, digests, hashes : lists
        Of each picture: name, class or None, SHA-256 of what it was read from, and the number its fold is drawn from.
    unread : list of Unread
        Pictures that should stand among these.
    """

    pictures: Tensor
    planes: list[npt.NDArray[np.int16]]
    annotated: list[int]
    names: list[str]
    classes: list[str | int | None]
    digests: list[bytes]
    hashes: list[int]
    unread: list[Unread]

    @property
    def folds(self) -> list[int]:
        """Fold of each picture, 0 to 31."""
        return [hash_ % FOLDS for hash_ in self.hashes]


def picture_hash(example: Example) -> int:
    """First 8 bytes of the SHA-256 of a file's name, or of the bytes of a picture made in memory."""
    source = example.picture.tobytes() if example.file_digest is None else example.name.encode()
    return int.from_bytes(hashlib.sha256(source).digest()[:8], "big")


def example_digest(example: Example) -> bytes:
    """SHA-256 of all that an example says."""
    if example.file_digest is not None:
        return hashlib.sha256(f"{example.name}\n{example.class_}\n{example.file_digest}".encode()).digest()
    hashed = hashlib.sha256(f"{example.name}\n{example.class_}\n{example.picture.shape}".encode())
    hashed.update(np.ascontiguousarray(example.picture))
    for category in sorted(example.planes):
        for plane in example.planes[category]:
            hashed.update(
                f"\n{category}\n{np.asarray(plane).dtype.str}".encode() + np.ascontiguousarray(plane).tobytes()
            )
    return hashed.digest()


class _Prepared(Dataset[Any]):
    """What one worker does with one picture. Errors are returned: raised in a worker they would lose their text."""

    def __init__(self, data: Data, columns: Columns, preprocessing: Preprocessing, grid: tuple[int, int]) -> None:
        self.data, self.columns, self.preprocessing, self.grid = data, columns, preprocessing, grid

    def __getitem__(self, index: int) -> tuple[Any, ...] | UnitlensError:
        try:
            item = self.data[index]
            example = Example(*item) if isinstance(item, tuple) else _as_example(item)
            fit = Fit.of(*example.picture.shape[:2], self.preprocessing)
            picture = np.asarray(fit.picture(example.picture, self.preprocessing.interpolation))
            planes = self.columns.planes(example, fit, self.grid)
        except UnitlensError as error:
            return error
        annotated = sum(1 << k for k, category in enumerate(self.columns.categories) if example.planes.get(category))
        return (
            torch.from_numpy(picture.transpose(2, 0, 1).copy()),
            planes,
            annotated,
            example.name,
            example.class_,
            example_digest(example),
            picture_hash(example),
        )


def _as_example(item: Any) -> Example:
    """Whatever has the attributes of an example, as one."""
    try:
        return Example(
            np.asarray(item.picture),
            item.planes,
            str(item.name),
            getattr(item, "class_", None),
            getattr(item, "file_digest", None),
        )
    except AttributeError as error:
        raise UnitlensError(
            f"The data set gives a {type(item).__name__} without {error.name}; an example has picture, planes, name "
            "and, optionally, class_ (see unitlens.Example)."
        ) from None


def batches(
    data: Data,
    columns: Columns,
    preprocessing: Preprocessing,
    *,
    grid: tuple[int, int],
    batch_size: int,
    workers: int = 0,
    limit: int | None = None,
    strict: bool = False,
) -> Iterator[Batch]:
    """Read a data set in its order.

    Parameters
    ----------
    data : Data
        Annotated pictures.
    columns : Columns
        Of the concepts that count.
    preprocessing : Preprocessing
        Of the network.
    grid : tuple of int
        (H, W) of the label grid.
    batch_size, workers : int
        Pictures at a time; worker processes that decode (0: none).
    limit : int, optional
        Only so many pictures from the start.
    strict : bool
        Whether a picture that cannot be read ends the run.

    Yields
    ------
    Batch

    Raises
    ------
    UnitlensError
        At the first example that contradicts the data set, or, if strict, cannot be read.
    """
    count = len(data) if limit is None else min(limit, len(data))
    loader = DataLoader(
        _Prepared(data, columns, preprocessing, grid),
        batch_size=batch_size,
        sampler=range(count),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_quiet_worker,
    )
    paths = getattr(data, "names", None)
    for number, (pictures, rest, errors) in enumerate(loader):
        unread = []
        for offset, error in errors:
            if strict or not isinstance(error, UnreadableError):
                raise error
            index = number * batch_size + offset
            unread.append(Unread(paths[index] if paths else f"picture {index}", str(error)))
        yield Batch(pictures, *rest, unread)


def _collate(items: list[Any]) -> tuple[Tensor, list[list[Any]], list[tuple[int, UnitlensError]]]:
    """Pictures in one tensor, and columns of all else; errors with their place."""
    errors = [(offset, item) for offset, item in enumerate(items) if isinstance(item, UnitlensError)]
    read = [item for item in items if not isinstance(item, UnitlensError)]
    if not read:
        return torch.empty(0, 3, 1, 1, dtype=torch.uint8), [[] for _ in range(6)], errors
    return (
        torch.stack([item[0] for item in read]),
        [list(column) for column in list(zip(*read, strict=True))[1:]],
        errors,
    )


def _quiet_worker(_: int) -> None:
    """Leave Ctrl-C to the main process; one thread a worker is enough."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
