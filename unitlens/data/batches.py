"""From annotated images to batches: the network's input, and on the label grid what is marked in it."""

import hashlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unitlens.data.columns import Columns, NotJudged, Union, size_of
from unitlens.data.concepts import Concept, Data, Example
from unitlens.data.images import Fit, UnreadableError
from unitlens.errors import UnitlensError, argument
from unitlens.models.preprocessing import Preprocessing
from unitlens.stats.folds import FOLDS

__all__ = [
    "Batch",
    "Columns",
    "NotJudged",
    "Union",
    "Unread",
    "as_example",
    "batches",
    "data_digest",
    "example_digest",
    "image_hash",
]


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
        See `Columns.planes`.
    annotated : list of int
        Bit k is set where the image is annotated for category k.
    names, classes, digests, hashes : lists
        Of each image: name, class or None, SHA-256 of what it was read from, and the number its fold is drawn from.
    unread : list of Unread
        Images that should stand among these.
    """

    images: Tensor
    planes: list[npt.NDArray[np.int16]]
    annotated: list[int]
    names: list[str]
    classes: list[str | int | None]
    digests: list[bytes]
    hashes: list[int]
    unread: list[Unread]

    @property
    def folds(self) -> list[int]:
        """Fold of each image, 0 to 31."""
        return [hash_ % FOLDS for hash_ in self.hashes]


def image_hash(example: Example) -> int:
    """First 8 bytes of the SHA-256 of a file's name, or of the bytes of an image made in memory."""
    source = example.image.tobytes() if example.file_digest is None else example.name.encode()
    return int.from_bytes(hashlib.sha256(source).digest()[:8], "big")


def example_digest(example: Example) -> bytes:
    """SHA-256 of all that an example says."""
    if example.file_digest is not None:
        return hashlib.sha256(f"{example.name}\n{example.class_!r}\n{example.file_digest}".encode()).digest()
    hashed = hashlib.sha256(f"{example.name}\n{example.class_!r}\n{example.image.shape}".encode())
    hashed.update(example.image.tobytes())
    for category in sorted(example.planes):
        for plane in example.planes[category]:
            hashed.update(
                f"\n{category}\n{np.asarray(plane).dtype.str} {np.shape(plane)}".encode() + np.asarray(plane).tobytes()
            )
    return hashed.digest()


def data_digest(digests: Iterable[bytes], concepts: Iterable[Concept]) -> str:
    """SHA-256 of all that a data set says: its examples, in any order, and what its labels mean."""
    hashed = hashlib.sha256(b"".join(sorted(digests)))
    for concept in concepts:
        hashed.update(f"\n{tuple(concept)!r}".encode())
    return hashed.hexdigest()


class _Prepared(Dataset[Any]):
    """What one worker does with one image. Errors are returned: raised in a worker they would lose their text."""

    def __init__(self, data: Data, columns: Columns, preprocessing: Preprocessing, grid: tuple[int, int]) -> None:
        self.data, self.columns, self.preprocessing, self.grid = data, columns, preprocessing, grid

    def __getitem__(self, index: int) -> tuple[Any, ...] | UnitlensError:
        try:
            example = as_example(self.data[index])
            height, width = example.image.shape[:2]
            fit = Fit.of(height, width, self.preprocessing)
            image = np.asarray(fit.image(example.image, self.preprocessing.interpolation))
            planes = self.columns.planes(example, fit, self.grid)
        except UnitlensError as error:
            return error
        except OSError as error:  # a folder that may not be entered, a disk that is gone
            return UnreadableError(f"{error.filename or f'image {index}'} cannot be read: {error.strerror}.")
        annotated = sum(
            1 << k for k, category in enumerate(self.columns.categories) if len(example.planes.get(category, ()))
        )
        return (
            np.ascontiguousarray(image.transpose(2, 0, 1)),  # the order in memory decides how a network rounds
            planes,
            annotated,
            example.name,
            example.class_,
            example_digest(example),
            image_hash(example),
        )


def as_example(item: Any) -> Example:
    """Whatever has the attributes of an example, or is a tuple of them, as one.

    Raises
    ------
    UnitlensError
        If it is neither, or its image is not uint8, height x width x 3.
    """
    try:
        item = Example(*item) if isinstance(item, tuple) and not hasattr(item, "image") else item
        image, planes, name = np.asarray(item.image), item.planes, str(item.name)
    except (AttributeError, TypeError):
        raise UnitlensError(
            f"The data set gives a {type(item).__name__} that is no example: it has image, planes, name and, "
            "optionally, class_ (see unitlens.Example), as attributes or as a tuple in this order."
        ) from None
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UnitlensError(
            f"The image {name} is {image.dtype}, {size_of(image)}; an image is uint8, height x width x 3 (RGB)."
        )
    return Example(image, planes, name, getattr(item, "class_", None), getattr(item, "file_digest", None))


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
        Annotated images.
    columns : Columns
        Of the concepts that count.
    preprocessing : Preprocessing
        Of the network.
    grid : tuple of int
        (H, W) of the label grid.
    batch_size, workers : int
        Images at a time; worker processes that decode (0: none).
    limit : int, optional
        Only so many images from the start.
    strict : bool
        Whether an image that cannot be read ends the run.

    Yields
    ------
    Batch

    Raises
    ------
    UnitlensError
        At the first example that contradicts the data set, or, if strict, cannot be read.
    """
    others = getattr(data, "not_images", ())
    if strict and others:
        more = f", and {len(others) - 1} more are none" if len(others) > 1 else ""
        raise UnitlensError(
            f"{others[0]} is not an image file{more}; without {argument('strict', True)} such files are left out."
        )
    count = len(data) if limit is None else min(limit, len(data))
    prepared = _Prepared(data, columns, preprocessing, grid)
    paths = getattr(data, "names", None)
    seen: set[str] = set()
    for number, (images, rest, errors) in enumerate(_loaded(prepared, range(count), batch_size, workers)):
        unread = []
        for offset, error in errors:
            if strict or not isinstance(error, UnreadableError):
                raise error
            index = number * batch_size + offset
            unread.append(Unread(paths[index] if paths else f"image {index}", str(error).rstrip(".")))
        batch = Batch._make([torch.from_numpy(images), *rest, unread])
        for name in batch.names:
            if name in seen:
                raise UnitlensError(f"Two images of the data are called {name}: give each a name of its own.")
            seen.add(name)
        yield batch


def _loaded(prepared: _Prepared, order: range, batch_size: int, workers: int) -> Iterator[Any]:
    """What the workers prepare; that one of them died is said in a sentence."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # how many is the user's choice
        loader = iter(
            DataLoader(
                prepared,
                batch_size=batch_size,
                sampler=order,
                num_workers=workers,
                collate_fn=_collate,
                worker_init_fn=_quiet_worker,
            )
        )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UnitlensError(
            "A worker process that decodes images died, most likely for want of memory: lower "
            f"{argument('workers')} (0 is possible) or {argument('batch_size')}."
        ) from error


def _collate(items: list[Any]) -> tuple[npt.NDArray[np.uint8], list[list[Any]], list[tuple[int, UnitlensError]]]:
    """Images in one array, and columns of all else; errors with their place.

    An array, not a tensor: tensors go from a worker through shared memory and sockets in TMPDIR, and where /dev/shm is
    small or the path long, the worker waits without a word.
    """
    errors = [(offset, item) for offset, item in enumerate(items) if isinstance(item, UnitlensError)]
    read = [item for item in items if not isinstance(item, UnitlensError)]
    if not read:
        return np.empty((0, 3, 1, 1), np.uint8), [[] for _ in range(6)], errors
    images, *rest = (list(column) for column in zip(*read, strict=True))
    return np.stack(images), rest, errors


def _quiet_worker(_: int) -> None:
    """Leave Ctrl-C to the main process, and do not outlive it; one thread a worker is enough."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(1)


def _leave_with(parent: int) -> None:
    """End this process when its parent is gone: it would wait for ever to hand over images that nobody takes."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
