"""From annotated images to batches: the network's input, and on the label grid what is marked in it."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.data.columns import Columns
from unitlens.data.concepts import Class, Concept, Data, DataDescription, Example, described
from unitlens.data.copies import fingerprint
from unitlens.data.images import Fit, UnreadableError
from unitlens.data.reading import Reading, chosen_images, image_name, read_example
from unitlens.data.workers import in_batches
from unitlens.errors import UnitlensError, argument
from unitlens.files import encoded
from unitlens.models.preprocessing import Preprocessing
from unitlens.progress import progress
from unitlens.stats.folds import FOLDS


class Unread(NamedTuple):
    """An image that was left out, and why."""

    image: str
    reason: str


class Batch(NamedTuple):
    """Images that were read, in the order of the data set.

    Attributes
    ----------
    images : uint8 tensor, (N, 3, height, width)
        The network's input before ``/ 255``, mean and std.
    planes : list of int16 arrays, (planes, H * W)
        See `Columns.planes`; of the image that the network's units are compared with.
    annotated : list of int
        Bit k is set where the image is annotated for category k.
    names, classes, digests, hashes, groups, fingerprints, indices : lists
        Of each image: name, class or None, SHA-256 of what it was read from, the number its fold is drawn from, the
        group it belongs to (by default its own name), `unitlens.data.copies.fingerprint`, and its index in the data
        set.
    """

    images: Tensor
    planes: list[npt.NDArray[np.int16]]
    annotated: list[int]
    names: list[str]
    classes: list[Class | None]
    digests: list[bytes]
    hashes: list[int]
    groups: list[str]
    fingerprints: list[bytes]
    indices: list[int]

    @property
    def folds(self) -> list[int]:
        """Fold of each image, 0 to 31."""
        return [hash_ % FOLDS for hash_ in self.hashes]


@dataclass
class ImageRecord:
    """What was read of a data set, and what was left out.

    Attributes
    ----------
    total : int
        How many images were to be read.
    names, classes, digests, hashes, groups, fingerprints, annotated : lists
        Of each image that was read, in their order: see `Batch`.
    unread : list of Unread
        Images that were left out.
    notes : list of str
        What the user should know, once all images are read.
    seconds : float
        Reading them, and what was done with them, took.
    """

    total: int
    names: list[str] = field(default_factory=list)
    classes: list[Class | None] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    fingerprints: list[bytes] = field(default_factory=list)
    annotated: list[int] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, batch: Batch) -> None:
        """Append the images of a batch."""
        self.names += batch.names
        self.classes += batch.classes
        self.digests += batch.digests
        self.hashes += batch.hashes
        self.groups += batch.groups
        self.fingerprints += batch.fingerprints
        self.annotated += batch.annotated

    @property
    def grouped(self) -> bool:
        """Whether any two images belong together, or the data set says a group of any."""
        return self.groups != self.names

    def sha256(self, concepts: Iterable[Concept]) -> str:
        """Hash of everything that was read, in any order, and of what its labels mean."""
        return data_digest(self.digests, concepts)


class Batches:
    """The one loop over images: an iterable of batches, which keeps a record of what was read.

    Parameters
    ----------
    data : Data
        Annotated images.
    preprocessing : Preprocessing
        Of the network.
    reading : Reading
    columns : Columns, optional
        Of the concepts that count; those of the data, unless given.
    grid : tuple of int
        (H, W) of the label grid; a single cell where what is marked is not needed.
    task : str
        What the progress bar says.

    Attributes
    ----------
    record : ImageRecord
        What was read so far; complete after the last batch.

    Raises
    ------
    UnitlensError
        While iterating: at the first example that contradicts the data set or, if the reading is strict, cannot be
        read; and at the end, if no image could be read.
    """

    def __init__(
        self,
        data: Data,
        preprocessing: Preprocessing,
        reading: Reading,
        *,
        columns: Columns | None = None,
        grid: tuple[int, int] = (1, 1),
        task: str = "reading",
    ) -> None:
        self.reading = reading
        self.task = task
        columns = Columns.of(data.concepts) if columns is None else columns
        self._description = described(data)
        self._prepare = _Prepare(data, self._description.names, columns, preprocessing, grid)
        self._indices = chosen_images(data, reading.limit, seed=reading.seed)
        self.record = ImageRecord(len(self._indices))

    def __iter__(self) -> Iterator[Batch]:
        """Read the images, once, in the order of the data set; a batch has at least one that could be read."""
        record = self.record = ImageRecord(len(self._indices), unread=self._not_images())
        start, names = time.perf_counter(), set[str]()
        read = in_batches(
            self._prepare,
            self._indices,
            batch_size=self.reading.batch_size,
            workers=self.reading.workers,
            collate=_collate,
        )
        with progress(record.total, self.task, show=self.reading.progress) as bar:
            for images, columns, failures in read:
                record.unread += map(self._left_out, failures)
                if len(images):
                    batch = Batch(torch.from_numpy(images), *columns)
                    _check_names(batch.names, names)
                    record.add(batch)
                    yield batch
                bar.update(len(images) + len(failures))
        record.seconds = time.perf_counter() - start
        self._finish()

    def _not_images(self) -> list[Unread]:
        """Files among the images that are none; an error where the reading is strict."""
        files = self._description.not_images
        if self.reading.strict and files:
            more = f", and {len(files) - 1} more are none" if len(files) > 1 else ""
            raise UnitlensError(
                f"{files[0]} is not an image file{more}; without {argument('strict', True)} such files are left out."
            )
        return [Unread(name, "not an image file") for name in files]

    def _left_out(self, failure: "_Failure") -> Unread:
        """Note an image that cannot be read; what contradicts the data set ends the loop, strict or not."""
        if self.reading.strict or not isinstance(failure.error, UnreadableError):
            raise failure.error
        return Unread(image_name(self._description.names, failure.index), str(failure.error).rstrip("."))

    def _finish(self) -> None:
        """Note what is missing, once all images were read."""
        record = self.record
        if not record.names:
            reason = f": {record.unread[0].reason}" if record.unread else ""
            raise UnitlensError(f"None of the {record.total} images could be read{reason}.")
        if record.unread:
            first = record.unread[0]
            files = "1 file was" if len(record.unread) == 1 else f"{len(record.unread)} files were"
            record.notes.append(f"{files} left out, such as {first.image}: {first.reason}.")
        if self.reading.limit is not None:
            record.notes += _missing_classes(self._description, record)


def _check_names(names: Iterable[str], known: set[str]) -> None:
    """Add names to those that are known; no two images have the same."""
    for name in names:
        if name in known:
            raise UnitlensError(f"Two images of the data are called {name}: give each a name of its own.")
        known.add(name)


def _missing_classes(data: DataDescription, record: ImageRecord) -> list[str]:
    """Note classes of which the images that a limit took have none."""
    known = dict.fromkeys(str(class_) for class_ in data.classes or () if class_ is not None)
    read = set(map(str, record.classes))
    missing = [class_ for class_ in known if class_ not in read]
    if not missing:
        return []
    listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [
        f"{len(missing)} of {len(known)} classes have no image among the {record.total} that the limit takes "
        f"({listed}): nothing is known of them."
    ]


class _Prepared(NamedTuple):
    """What a worker makes of one image."""

    image: npt.NDArray[np.uint8]
    planes: npt.NDArray[np.int16]
    annotated: int
    name: str
    class_: Class | None
    digest: bytes
    hash: int
    group: str
    fingerprint: bytes
    index_: int


@dataclass(frozen=True)
class _Failure:
    """An image that a worker could not prepare: errors are returned, as one that is raised would lose its type."""

    index: int
    error: UnitlensError


@dataclass(frozen=True)
class _Prepare:
    """Reads an image, scales it, and samples what is marked in it."""

    data: Data
    names: Sequence[str] | None
    columns: Columns
    preprocessing: Preprocessing
    grid: tuple[int, int]

    def __call__(self, index: int) -> _Prepared | _Failure:
        try:
            example = read_example(self.data, index, self.names)
            height, width = example.image.shape[:2]
            fit = Fit.of(height, width, self.preprocessing)
            image = np.asarray(fit.image(example.image, self.preprocessing.interpolation))
            planes = self.columns.planes(example, fit, self.grid)
        except UnitlensError as error:
            return _Failure(index, error)
        annotated = (bool(len(example.planes.get(category, ()))) for category in self.columns.categories)
        return _Prepared(
            image=np.ascontiguousarray(image.transpose(2, 0, 1)),  # the order in memory decides how a network rounds
            planes=planes,
            annotated=sum(1 << k for k, there in enumerate(annotated) if there),
            name=example.name,
            class_=example.class_,
            digest=example_digest(example),
            hash=image_hash(example),
            group=example.name if example.group is None else example.group,
            fingerprint=fingerprint(example.image),
            index_=index,
        )


def _collate(
    items: list[_Prepared | _Failure],
) -> tuple[npt.NDArray[np.uint8], list[list[Any]], list[_Failure]]:
    """Images in one array, columns of all else, and failures.

    An array, not a tensor: tensors go from a worker through shared memory and sockets in TMPDIR, and where /dev/shm is
    small or the path long, the worker waits without a word.
    """
    failures = [item for item in items if isinstance(item, _Failure)]
    prepared = [item for item in items if isinstance(item, _Prepared)]
    if not prepared:
        return np.empty((0, 3, 1, 1), np.uint8), [], failures
    images, *columns = (list(column) for column in zip(*prepared, strict=True))
    return np.stack(images), columns, failures


def image_hash(example: Example) -> int:
    """First 8 bytes of the SHA-256 of the group's name; else of a file's name, or of an image made in memory."""
    if example.group is not None:
        return name_hash(example.group)
    return name_hash(example.name) if example.file_digest is not None else _first_bytes(example.image.tobytes())


def name_hash(name: str) -> int:
    """First 8 bytes of the SHA-256 of a name."""
    return _first_bytes(encoded(name))


def _first_bytes(source: bytes) -> int:
    return int.from_bytes(hashlib.sha256(source).digest()[:8], "big")


def example_digest(example: Example) -> bytes:
    """SHA-256 of all that an example says."""
    if example.file_digest is not None:
        return hashlib.sha256(encoded(f"{example.name}\n{example.class_!r}\n{example.file_digest}")).digest()
    hashed = hashlib.sha256(encoded(f"{example.name}\n{example.class_!r}\n{example.image.shape}"))
    hashed.update(example.image.tobytes())
    for category in sorted(example.planes):
        for given in example.planes[category]:
            plane = np.asarray(given)
            hashed.update(encoded(f"\n{category}\n{plane.dtype.str} {plane.shape}") + plane.tobytes())
    return hashed.digest()


def data_digest(digests: Iterable[bytes], concepts: Iterable[Concept]) -> str:
    """SHA-256 of all that a data set says: its examples, in any order, and what its labels mean."""
    hashed = hashlib.sha256(b"".join(sorted(digests)))
    for concept in concepts:
        hashed.update(f"\n{tuple(concept)!r}".encode())
    return hashed.hexdigest()
