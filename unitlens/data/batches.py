"""From annotated images to batches: the network's input, and on the label grid what is marked in it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.data.columns import Columns
from unitlens.data.concepts import Class, Concept, Data, EncodedData, Example, described
from unitlens.data.decoded.images import DecodedImages, DecodedWriter
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.pixels.layout import moved_last
from unitlens.data.preparing import Failure, Prepare, Prepared, PreparedLatent, PrepareLatent, data_digest, see
from unitlens.data.reading import Reading, Unread, chosen_images, image_name, left_out_notes, note_unread
from unitlens.data.workers import in_batches
from unitlens.errors import UnitlensError, argument, spelled
from unitlens.models.layers import display_shape
from unitlens.models.preprocessing import Preprocessing
from unitlens.packed import Choices, Hashes, Known, Numbers, Texts
from unitlens.progress import progress
from unitlens.stats.folds import FOLDS


class ChangedImagesError(UnitlensError):
    """Images are not what they were when a loop over them was stopped."""


class Batch(NamedTuple):
    """Images that were read, in the order of the data set.

    Attributes
    ----------
    images : uint8 tensor, (N, bands, height, width), or float32, (N, bands, height, width) or (N, ...)
        The network's input before ``/ 255``, mean and std, of images that are not in 8 bits in [0, 1]; or latents,
        until `Batches.seen` puts in their place the images that were drawn from them.
    planes : list of int16 arrays, (planes, H * W)
        See `Columns.planes`; of the image that the network's units are compared with. None of latents.
    annotated : list of int
        Bit k is set where the image is annotated for category k. None of latents.
    names, classes, digests, hashes, groups, fingerprints, indices : lists
        Of each image: name, class or None, SHA-256 of what it was read from, the number its fold is drawn from, the
        group it belongs to (by default its own name), `unitlens.data.copies.fingerprint` (not of latents), and its
        index in the data set.
    given : list of mappings
        Label maps that were given with each latent, which wait for the image that is drawn from it; none of images.
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
    given: Sequence[Mapping[str, Sequence[npt.NDArray[Any]]]] = ()

    @property
    def folds(self) -> list[int]:
        """Fold of each image, 0 to 31."""
        return [hash_ % FOLDS for hash_ in self.hashes]


class Reached(NamedTuple):
    """How far a record of images has come: how many were read, left out, and looked at in all."""

    images: int = 0
    unread: int = 0
    looked_at: int = 0


@dataclass
class ImageRecord:
    """What was read of a data set, and what was left out.

    Attributes
    ----------
    total : int
        How many images were to be read.
    names, classes, digests, hashes, groups, fingerprints, annotated, indices
        Of each image that was read, in their order: see `Batch`. They are packed, as there may be millions.
    unread : list of Unread
        Images that were left out.
    looked_at : int
        How many of the images that were to be read were looked at, whether they could be read or not.
    notes : list of str
        What the user should know, once all images are read.
    seconds : float
        Reading them, and what was done with them, took.
    """

    total: int
    names: Texts = field(default_factory=Texts)
    classes: Choices[Class | None] = field(default_factory=Choices)
    digests: Hashes = field(default_factory=Hashes)
    hashes: Numbers = field(default_factory=Numbers)
    groups: Texts = field(default_factory=Texts)
    fingerprints: Hashes = field(default_factory=Hashes)
    annotated: Choices[int] = field(default_factory=Choices)
    indices: Numbers = field(default_factory=Numbers)
    unread: list[Unread] = field(default_factory=list)
    looked_at: int = 0
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
        self.indices += batch.indices

    @property
    def reached(self) -> Reached:
        """How far it has come."""
        return Reached(len(self.names), len(self.unread), self.looked_at)

    @property
    def grouped(self) -> bool:
        """Whether any two images belong together, or the data set says a group of any."""
        return self.groups != self.names

    @property
    def group_of(self) -> dict[str, str]:
        """The group of each image, by its name; that of many images is one text."""
        once: dict[str, str] = {}
        return {name: once.setdefault(group, group) for name, group in zip(self.names, self.groups, strict=True)}

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
    record : ImageRecord, optional
        What was read of the same images before, of whole batches; the next batch is the one after those.

    Attributes
    ----------
    record : ImageRecord
        What was read so far, with the batch that was given last; complete after the last batch.
    of_all : int
        How many images are to be read in all parts together.

    Raises
    ------
    UnitlensError
        While iterating: at the first example that contradicts the data set or, if the reading is strict, cannot be
        read; at the start, if images that were read before are others now; and at the end, if no image could be read.
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
        record: ImageRecord | None = None,
    ) -> None:
        self.reading = reading
        self.task = task
        columns = Columns.of(data.concepts) if columns is None else columns
        self._description = described(data)
        if self._description.of_latents:
            self._prepare: Prepare | PrepareLatent = PrepareLatent(data, self._description)
        else:
            decoded = DecodedImages.of(preprocessing, columns, grid) if isinstance(data, EncodedData) else None
            self._prepare = Prepare(data, self._description.names, columns, preprocessing, grid, decoded)
        self._columns, self._grid = columns, grid
        chosen = chosen_images(data, reading.limit, seed=reading.seed)
        self.of_all = len(chosen)
        self._indices = chosen[reading.part.stretch(len(chosen), reading.batch_size)]
        self._given = record
        self.record = record or ImageRecord(0)
        self.record.total = len(self._indices)

    def __iter__(self) -> Iterator[Batch]:
        """Read the images, once, in the order of the data set; a batch has at least one that could be read."""
        record = self.record = self._given or ImageRecord(len(self._indices))
        if not record.looked_at:
            record.unread += note_unread(self._not_images())
        self.check_unchanged()
        start, known = time.perf_counter() - record.seconds, Known(record.names)
        read = in_batches(
            self._prepare,
            self._indices[record.looked_at :],
            batch_size=self.reading.batch_size,
            workers=self.reading.workers,
            collate=_collate,
        )
        with (
            progress(record.total, self.task, done=record.looked_at, show=self.reading.progress) as bar,
            self._keeping_decoded() as keep,
        ):
            for images, columns, failures in read:
                record.unread += note_unread(map(self._left_out, failures))
                record.looked_at += len(images) + len(failures)
                if len(images):
                    keep(images, columns)
                    batch = Batch(torch.from_numpy(images), **columns)
                    check_names(batch.names, known, record.names)
                    record.add(batch)
                    record.seconds = time.perf_counter() - start
                    yield batch
                bar.update(len(images) + len(failures))
        record.seconds = time.perf_counter() - start
        self._finish()

    @contextmanager
    def _keeping_decoded(self) -> Iterator[Callable[[npt.NDArray[Any], dict[str, list[Any]]], None]]:
        """Keep what is decoded for the next time, where that is said."""
        decoded = getattr(self._prepare, "decoded", None)
        writer = DecodedWriter(decoded) if decoded is not None and self.reading.progress else None

        def keep(images: npt.NDArray[Any], columns: dict[str, list[Any]]) -> None:
            fresh = columns.pop("fresh")
            if writer is not None:
                writer.add(images, columns["planes"], columns["fingerprints"], fresh)

        try:
            yield keep
        finally:
            if writer is not None:
                writer.finish()

    def seen(self, batch: Batch, images: Tensor) -> Batch:
        """Return a batch with the images that units are compared with, and with what is marked in them.

        Images that were read are marked already, and their batch stays as it is. Of latents, the sources of concepts
        look at what was drawn; the record then knows of it.

        Parameters
        ----------
        batch : Batch
            The last one.
        images : uint8 tensor, (N, 3, height, width)
            What `unitlens.Network.images` gives for it.

        Raises
        ------
        UnitlensError
            If a source fails, or label maps contradict the concepts.
        """
        if not batch.given:
            return batch
        drawn = see(
            list(_examples(batch)),
            moved_last(images.numpy()),
            self._description.drawn_sources,
            self._columns,
            self._grid,
        )
        seen = batch._replace(
            images=images,
            planes=[one.planes for one in drawn],
            annotated=[one.annotated for one in drawn],
            fingerprints=[one.fingerprint for one in drawn],
            given=(),
        )
        self.record.annotated += seen.annotated
        self.record.fingerprints += seen.fingerprints
        return seen

    def check_unchanged(self) -> None:
        """Read a few of the images that were read before once more, and make sure that they are the same.

        Raises
        ------
        ChangedImagesError
            If one is not.
        """
        record = self.record
        images = len(record.names)
        for image in sorted({0, images // 2, images - 1}) if images else ():
            again = self._prepare(record.indices[image])
            before = (record.names[image], record.digests[image], record.groups[image])
            if isinstance(again, Failure) or (again.name, again.digest, again.group) != before:
                raise ChangedImagesError(
                    f"{record.names[image]}, or what is marked in it, is not what it was when {record.looked_at:,} of "
                    f"{record.total:,} images had been looked at: give the same data again, or begin anew with "
                    + spelled(python="another folder for checkpoint=.", shell="--overwrite or another --out.")
                )

    def _not_images(self) -> list[Unread]:
        """Files among the images that are none, named by the first part; an error where the reading is strict."""
        files = self._description.not_images if self.reading.part.number == 0 else ()
        if self.reading.strict and files:
            more = f", and {len(files) - 1} more are none" if len(files) > 1 else ""
            raise UnitlensError(
                f"{files[0]} is not an image file{more}; without {argument('strict', True)} such files are left out."
            )
        return [Unread(name, "not an image file") for name in files]

    def _left_out(self, failure: Failure) -> Unread:
        """Note an image that cannot be read; what contradicts the data set ends the loop, strict or not."""
        if self.reading.strict or not isinstance(failure.error, UnreadableError):
            raise failure.error
        return Unread(image_name(self._description.names, failure.index), str(failure.error).rstrip("."))

    def _finish(self) -> None:
        """Note what is missing, once all images were read."""
        record = self.record
        if not record.names and self.reading.part.parts == 1:
            reason = f": {record.unread[0].reason}" if record.unread else ""
            raise UnitlensError(f"None of the {record.total} images could be read{reason}.")
        record.notes += reading_notes(record, self._description.classes, limited=self.reading.limit is not None)


def check_names(names: Sequence[str], known: Known, before: Sequence[str]) -> None:
    """Add names to those that are known, of the images ``before``; no two images have the same."""
    for name in known.add(names):
        if name in before or names.count(name) > 1:
            raise UnitlensError(f"Two images of the data are called {name}: give each a name of its own.")


def reading_notes(record: ImageRecord, classes: Iterable[Class | None] | None, *, limited: bool) -> list[str]:
    """What the user should know of images that were read: what was left out, and classes without any.

    Parameters
    ----------
    record : ImageRecord
        Of all images that were to be read.
    classes : iterable of str, int or None, or None
        Those of the data, see `unitlens.data.concepts.DataDescription`.
    limited : bool
        Whether a limit took the images.
    """
    return left_out_notes(record.unread) + (_missing_classes(classes or (), record) if limited else [])


def _missing_classes(classes: Iterable[Class | None], record: ImageRecord) -> list[str]:
    """Note classes of which the images that a limit took have none."""
    known = dict.fromkeys(str(class_) for class_ in classes if class_ is not None)
    read = set(map(str, record.classes))
    missing = [class_ for class_ in known if class_ not in read]
    if not missing:
        return []
    listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [
        f"{len(missing)} of {len(known)} classes have no image among the {record.total} that the limit takes "
        f"({listed}): nothing is known of them."
    ]


_COLUMN_OF = {
    "planes": "planes",
    "annotated": "annotated",
    "name": "names",
    "class_": "classes",
    "digest": "digests",
    "hash": "hashes",
    "group": "groups",
    "fingerprint": "fingerprints",
    "index_": "indices",
    "given": "given",
    "fresh": "fresh",
}
"""The fields of a batch, by those of its images."""


def _collate(
    items: list[Prepared | PreparedLatent | Failure],
) -> tuple[npt.NDArray[Any], dict[str, list[Any]], list[Failure]]:
    """Images or latents in one array, columns of all else, and failures.

    An array, not a tensor: tensors go from a worker through shared memory and sockets in TMPDIR, and where /dev/shm is
    small or the path long, the worker waits without a word.
    """
    failures = [item for item in items if isinstance(item, Failure)]
    prepared = [item for item in items if not isinstance(item, Failure)]
    shapes = [item[0].shape for item in prepared]
    failures += [_odd(item, shapes[0]) for item in prepared if item[0].shape != shapes[0]]
    prepared = [item for item in prepared if item[0].shape == shapes[0]]
    columns: dict[str, list[Any]] = {column: [] for column in _COLUMN_OF.values()}
    for item in prepared:
        for name in item._fields[1:]:
            columns[_COLUMN_OF[name]].append(getattr(item, name))
    arrays = [item[0] for item in prepared]
    if len({array.dtype for array in arrays}) > 1:  # a file in 8 bits among deeper ones
        arrays = [array / np.float32(255) if array.dtype == np.uint8 else array for array in arrays]
    return (np.stack(arrays) if arrays else np.empty(0, np.uint8)), columns, failures


def _odd(latent: Prepared | PreparedLatent, shape: tuple[int, ...]) -> Failure:
    """A latent of another shape than others."""
    shapes = f"{display_shape(latent[0].shape)} and {display_shape(shape)}"
    return Failure(
        latent.index_,
        UnitlensError(f"Latents are of {shapes} ({latent.name}): give latents of one shape to a network."),
    )


def _examples(batch: Batch) -> Iterator[Example]:
    """The examples of a batch of latents."""
    for latent, planes, name in zip(batch.images.numpy(), batch.given, batch.names, strict=True):
        yield Example(latent, planes, name)
