"""Images that are copies, or nearly: a small perceptual fingerprint of each, and the groups that they form."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from unitlens.errors import argument
from unitlens.packed import Hashes
from unitlens.stats.blocks import in_blocks

Bytes = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.integer]

DISTANCE = 15
"""Fingerprints of near copies differ in at most so many of 128 bits, of different scenes in 20 or more."""

CORRELATION = 0.85
"""Near copies correlate so much, as grey images of 8 x 8: where images are mostly flat, their bits say little."""

_SIDE = 8
_BITS = 2 * _SIDE**2
_POINTS = 72
_PAIRS_AT_ONCE = 1 << 16
_IMAGES_AT_ONCE = 1 << 14
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)
"""How many bits of a byte are set."""


def fingerprint(image: npt.NDArray[Any]) -> bytes:
    """Where an image grows brighter to the right and downwards, as bits, and how bright it is, on a grid of 8 x 8.

    Parameters
    ----------
    image : array, (height, width, bands)
        Of images that are not 8-bit RGB, the mean over bands, from its lowest to its highest number.

    Returns
    -------
    bytes
        16 of the bits, 64 of the brightness.
    """
    # some 72 points a side are enough for averages over 9 x 9 cells
    rows, columns = (max(1, side // _POINTS) for side in image.shape[:2])
    points = _grey(np.ascontiguousarray(image[::rows, ::columns]))
    cells = np.asarray(points.resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX))
    here = cells[:-1, :-1]
    brighter = np.concatenate([(cells[:-1, 1:] > here).ravel(), (cells[1:, :-1] > here).ravel()])
    return np.packbits(brighter).tobytes() + here.tobytes()


def _grey(image: npt.NDArray[Any]) -> Image.Image:
    """An image in 8-bit grey."""
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return Image.fromarray(image).convert("L")
    mean = image.mean(axis=2, dtype=np.float64)
    if image.dtype != np.uint8:
        mean = np.nan_to_num(mean)
        mean = (mean - mean.min()) / max(float(np.ptp(mean)), 1e-12) * 255
    return Image.fromarray(mean.round().astype(np.uint8))


class Copies(NamedTuple):
    """Groups of images that are copies, or nearly.

    Attributes
    ----------
    group : int64 array, (N,)
        The first image of each image's group: its own index where there is no other image like it.
    exact : int
        How many images are exact copies of another one before them.
    """

    group: Pairs
    exact: int

    @property
    def sizes(self) -> Pairs:
        """Of the groups of two images or more, falling."""
        size = np.bincount(self.group)
        return -np.sort(-size[size > 1])

    @property
    def images(self) -> int:
        """How many images are in groups of two or more."""
        return int(self.sizes.sum())

    @property
    def groups(self) -> int:
        """How many groups there are in all, single images among them."""
        return len(np.unique(self.group))

    @property
    def notable(self) -> bool:
        """Whether they are so many that statistics suffer: at least 4 images, and 1 in 50."""
        return self.images >= max(4, 0.02 * len(self.group))


def find_copies(fingerprints: Sequence[bytes], digests: Sequence[bytes] = ()) -> Copies:
    """Find the groups that copies and near copies form: whatever a chain of near copies links is one group.

    Parameters
    ----------
    fingerprints : sequence of bytes
        See `fingerprint`.
    digests : sequence of bytes, optional
        Of the images' content: equal for exact copies.

    Returns
    -------
    Copies
    """
    if not len(fingerprints):
        return Copies(np.zeros(0, np.int64), 0)
    prints = fingerprints if isinstance(fingerprints, Hashes) else Hashes(fingerprints)
    bits = np.empty((len(prints), _BITS // 8), np.uint8)
    for block in in_blocks(len(prints), _IMAGES_AT_ONCE):
        bits[block] = prints.as_array(block.start, block.stop)[:, : _BITS // 8]
    first = _first_like(prints, bits)
    different = np.flatnonzero(first == np.arange(len(first)))
    component = _linked(len(different), _near_pairs(prints, bits[different], different))
    # The first image of each component: the last one that is written.
    first_of = np.zeros(int(component.max()) + 1, np.int64)
    first_of[component[::-1]] = different[::-1]
    group = np.zeros(len(first), np.int64)
    group[different] = first_of[component]
    return Copies(group[first], len(digests) - len(set(digests)))


def is_near_copy(one: bytes, others: Sequence[bytes]) -> bool:
    """Whether an image is a copy, or nearly, of one of some others, by their fingerprints."""
    if not others:
        return False
    rows = _as_array([one, *others])
    bits, brightness = rows[:, : _BITS // 8], _normalised(rows[:, _BITS // 8 :])
    near = _ONES[bits[1:] ^ bits[0]].sum(1) <= DISTANCE
    alike = (brightness[1:] * brightness[0]).sum(1) >= CORRELATION
    return bool((near & alike).any()) or one in others


def _as_array(fingerprints: Sequence[bytes]) -> Bytes:
    return np.frombuffer(b"".join(fingerprints), np.uint8).reshape(len(fingerprints), -1)


def _first_like(prints: Hashes, bits: Bytes) -> Numbers:
    """The first image that has the same fingerprint, (N,); only those of images with the same bits are compared."""
    first = np.arange(len(bits), dtype=np.int32)
    order, is_new = _in_order(bits)
    alone = is_new & np.append(is_new[1:], True)
    images, run = order[~alone], np.cumsum(is_new, dtype=np.int32)[~alone]
    start = 0
    while start < len(images):
        last = run[min(start + _IMAGES_AT_ONCE, len(images)) - 1]
        stop = int(np.searchsorted(run, last, side="right"))
        some = images[start:stop]
        order, is_new = _in_order(prints.rows(some))
        some = some[order]
        first[some] = some[is_new][np.cumsum(is_new) - 1]
        start = stop
    return first


def _in_order(rows: Bytes) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """An order of rows in which equal ones follow each other as they were, and which differ from the one before."""
    words = rows.view(np.uint64)
    order = np.lexsort(words.T)
    is_new = np.zeros(len(rows), bool)
    is_new[0] = True
    for column in words.T:
        in_order = column[order]
        is_new[1:] |= in_order[1:] != in_order[:-1]
    return order, is_new


def copies_note(names: Sequence[str], fingerprints: Sequence[bytes], *, remedy: str | None = None) -> list[str]:
    """Note how many images are copies or near copies, and what to do; nothing where they are too few to matter.

    Parameters
    ----------
    names : sequence of str
    fingerprints : sequence of bytes
        Of the same images, see `fingerprint`.
    remedy : str, optional
        What to do; by default to say which images belong together.
    """
    copies = find_copies(fingerprints)
    if not copies.notable:
        return []
    by_group = f"give {argument('groups', 'auto')} or, for frames of a video, {argument('groups', 'sequence:20')}"
    second = int(np.flatnonzero(copies.group != np.arange(len(copies.group)))[0])
    return [
        f"{copies.images} of the {len(names)} images are copies or near copies, such as "
        f"{names[copies.group[second]]} and {names[second]}, so that there seem to be {copies.groups} groups. "
        f"Intervals and tests take images as independent and are too sure of themselves then: {remedy or by_group}."
    ]


def _near_pairs(prints: Hashes, bits: Bytes, images: Numbers) -> Pairs:
    """Pairs of near copies among images of different fingerprints, (pairs, 2), each found once or more.

    Of 8 parts of 16 bits, at least one differs in one bit or none where all 128 differ in 15 or fewer. So only images
    are compared whose bits of some part are the same, or the same but for one.
    """
    found = [np.zeros((0, 2), np.int64)]
    for part in bits.view(np.uint16).T:
        order = np.argsort(part, kind="stable").astype(np.int32)
        starts = np.concatenate([[0], np.bincount(part, minlength=1 << 16).cumsum()])
        for block in in_blocks(len(part), _IMAGES_AT_ONCE):
            for flipped in (0, *(1 << bit for bit in range(16))):
                wanted = part[block] ^ np.uint16(flipped)
                for pairs in _expanded(starts[:-1][wanted], starts[1:][wanted], order):
                    pairs[:, 0] += block.start
                    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
                    pairs = pairs[_ONES[bits[pairs[:, 0]] ^ bits[pairs[:, 1]]].sum(1) <= DISTANCE]
                    found.append(pairs[_alike(prints, images[pairs])])
    return np.concatenate(found)


def _alike(prints: Hashes, pairs: Numbers) -> npt.NDArray[np.bool_]:
    """Whether two images are as bright in the same places, (pairs,)."""
    if not len(pairs):
        return np.zeros(0, bool)
    one, other = (_normalised(prints.rows(side)[:, _BITS // 8 :]) for side in pairs.T)
    alike: npt.NDArray[np.bool_] = (one * other).sum(1) >= CORRELATION
    return alike


def _normalised(brightness: Bytes) -> npt.NDArray[np.float32]:
    """Brightness of images less its mean, of length 1: of some at a time, as it takes four times the bytes."""
    normalised = brightness.astype(np.float32)
    normalised -= normalised.mean(1, keepdims=True)
    normalised /= np.maximum(np.linalg.norm(normalised, axis=1, keepdims=True), 1e-6)
    return normalised


def _expanded(low: Pairs, high: Pairs, order: Numbers) -> Iterator[Pairs]:
    """Pairs of each image with those that stand from low to high in an order, some at a time."""
    count = high - low
    ends = np.cumsum(count)
    first = 0
    while first < len(count):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _PAIRS_AT_ONCE)))
        some = count[first:last]
        image = np.repeat(np.arange(first, last), some)
        place = np.arange(int(some.sum())) - np.repeat(np.cumsum(some) - some, some) + np.repeat(low[first:last], some)
        yield np.stack([image, order[place]], 1)
        first = last


def _linked(count: int, pairs: Pairs) -> Pairs:
    """Number the components of a graph, (count,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones, ends = np.ones(len(pairs), np.int8), pairs.astype(np.int32)  # scipy 1.11 takes no other indices
    return np.asarray(connected_components(coo_array((ones, (ends[:, 0], ends[:, 1])), (count, count)), False)[1])
