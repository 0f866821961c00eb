"""Images that are copies, or nearly: a small perceptual fingerprint of each, and the groups that they form."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from unitlens.buckets import COUNT, Buckets
from unitlens.errors import argument
from unitlens.freed import give_back_freed_memory
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
_PAIRS_AT_ONCE = 1 << 15
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
    group : int32 array, (N,)
        The first image of each image's group: its own index where there is no other image like it.
    exact : int
        How many images are exact copies of another one before them.
    """

    group: Numbers
    exact: int

    @property
    def later(self) -> Numbers:
        """Images that are not the first of their group."""
        blocks = in_blocks(len(self.group), _IMAGES_AT_ONCE)
        return np.concatenate(
            [np.zeros(0, np.int64)]
            + [some.start + np.flatnonzero(self.group[some] != np.arange(some.start, some.stop)) for some in blocks]
        )

    @property
    def sizes(self) -> Pairs:
        """Of the groups of two images or more, falling."""
        return -np.sort(-1 - np.unique(self.group[self.later], return_counts=True)[1])

    @property
    def images(self) -> int:
        """How many images are in groups of two or more."""
        return int(self.sizes.sum())

    @property
    def groups(self) -> int:
        """How many groups there are in all, single images among them."""
        return len(self.group) - len(self.later)

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
        return Copies(np.zeros(0, np.int32), 0)
    prints = fingerprints if isinstance(fingerprints, Hashes) else Hashes(fingerprints)
    group = np.arange(len(prints), dtype=np.int32)
    later, like = _same_prints(prints)
    group[later] = like
    linked = _near_pairs(prints, group)
    images, component = _linked(linked)
    # The first image of each component: the last one that is written.
    first_of = np.zeros(int(component.max(initial=0)) + 1, np.int32)
    first_of[component[::-1]] = images[::-1]
    group[images] = first_of[component]
    group[later] = group[like]
    return Copies(group, len(digests) - len(set(digests)))


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


def _same_prints(prints: Hashes) -> tuple[Numbers, Numbers]:
    """Images that have the fingerprint of an earlier one, and the first that has it."""

    def numbered() -> Iterator[npt.NDArray[np.void]]:
        for block in in_blocks(len(prints), _IMAGES_AT_ONCE):
            yield _rows(prints.as_array(block.start, block.stop), np.arange(block.start, block.stop))

    found: list[Numbers] = [np.zeros((2, 0), np.int32)]
    dealt, width = Buckets(numbered, lambda rows: np.bitwise_xor.reduce(rows["print"], axis=1)), _width(len(prints))
    for first in range(0, COUNT, width):
        rows = dealt.read(first, first + width)
        if len(rows):
            order, is_new = _in_order(np.ascontiguousarray(rows["print"]))
            images = rows["image"][order]
            first_like = images[is_new][np.cumsum(is_new) - 1]
            found.append(np.stack([images, first_like])[:, ~is_new])
    later, like = np.concatenate(found, 1)
    return later, like


def _width(images: int) -> int:
    """How many buckets are read together: those of so many images have about as many as are looked at at once."""
    width = COUNT
    while width > 1 and width * images > COUNT * _IMAGES_AT_ONCE:
        width //= 2
    return width


def _rows(prints: Bytes, images: Numbers) -> npt.NDArray[np.void]:
    """Fingerprints, or parts of them, with the numbers of their images."""
    rows = np.empty(len(prints), [("print", np.uint8, prints.shape[1:]), ("image", np.int32)])
    rows["print"], rows["image"] = prints, images
    return rows


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
    second = int(copies.later[0])
    return [
        f"{copies.images} of the {len(names)} images are copies or near copies, such as "
        f"{names[copies.group[second]]} and {names[second]}, so that there seem to be {copies.groups} groups. "
        f"Intervals and tests take images as independent and are too sure of themselves then: {remedy or by_group}."
    ]


def _near_pairs(prints: Hashes, group: Numbers) -> Numbers:
    """Pairs of near copies among images that are the first of their group, (pairs, 2), each found once or more.

    Of 8 parts of 16 bits, at least one differs in one bit or none where all 128 differ in 15 or fewer. So only images
    are compared whose bits of some part are the same, or the same but for one. Images are sorted by a part and cut into
    stretches, which are compared with each other two at a time, whatever the number of images.
    """
    found: list[Numbers] = [np.zeros((0, 2), np.int32)]
    stretches = COUNT // _width(len(group))
    for part in range(_BITS // 16):
        dealt = Buckets(partial(_firsts, prints, group), partial(_byte, 2 * part + 1))
        for number in range(stretches):
            give_back_freed_memory()  # what arrays of many sizes leave free adds up
            stretch = _Stretch.of(dealt, part, number, stretches)
            for bit in range(-1, 16):
                flipped = 1 << bit if bit >= 0 else 0
                other = number ^ flipped * stretches >> 16
                if other >= number:
                    beside = stretch if other == number else _Stretch.of(dealt, part, other, stretches)
                    found += [pairs[_alike(prints, pairs)] for pairs in stretch.near(beside, flipped)]
    return np.concatenate(found)


def _byte(number: int, rows: npt.NDArray[np.void]) -> Bytes:
    """One byte of each fingerprint."""
    byte: Bytes = rows["print"][:, number]
    return byte


def _firsts(prints: Hashes, group: Numbers) -> Iterator[npt.NDArray[np.void]]:
    """The bits of images that are the first of their group, some at a time."""
    for block in in_blocks(len(group), _IMAGES_AT_ONCE):
        images = np.arange(block.start, block.stop)
        first = group[block] == images
        yield _rows(prints.as_array(block.start, block.stop)[first, : _BITS // 8], images[first])


class _Stretch(NamedTuple):
    """Images whose bits of a part lie between two numbers, in the order of these.

    Attributes
    ----------
    lowest : int
        The first of the numbers.
    part : int64 array, (M,)
        The bits of the part, as a number.
    starts : int64 array, (numbers + 1,)
        Where the images of each number start, and the last ones end.
    bits : uint8 array, (M, 16)
    images : int32 array, (M,)
    """

    lowest: int
    part: Pairs
    starts: Pairs
    bits: Bytes
    images: Numbers

    @classmethod
    def of(cls, dealt: Buckets, part: int, number: int, stretches: int) -> "_Stretch":
        """The stretch of a number, of images dealt by the higher byte of a part."""
        width, numbers = COUNT // stretches, (1 << 16) // stretches
        rows = dealt.read(number * width, (number + 1) * width)
        value = np.ascontiguousarray(rows["print"][:, 2 * part : 2 * part + 2]).view("<u2")[:, 0].astype(np.int64)
        order, lowest = np.argsort(value, kind="stable"), number * numbers
        starts = np.concatenate([[0], np.bincount(value - lowest, minlength=numbers).cumsum()])
        return cls(lowest, value[order], starts, rows["print"][order], rows["image"][order])

    def near(self, other: "_Stretch", flipped: int) -> Iterator[Numbers]:
        """Pairs with images of another stretch, or of this one, whose part is the same but for a bit, and bits near."""
        for block in in_blocks(len(self.part), _IMAGES_AT_ONCE):
            wanted = (self.part[block] ^ flipped) - other.lowest
            for pairs in _expanded(other.starts[:-1][wanted], other.starts[1:][wanted]):
                pairs[:, 0] += block.start
                if other is self:
                    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
                one, another = pairs.T
                near = _ONES[self.bits[one] ^ other.bits[another]].sum(1) <= DISTANCE
                yield np.stack([self.images[one[near]], other.images[another[near]]], 1)


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


def _expanded(low: Pairs, high: Pairs) -> Iterator[Pairs]:
    """Pairs of each image with those that stand from low to high, some at a time."""
    count = high - low
    ends = np.cumsum(count)
    first = 0
    while first < len(count):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _PAIRS_AT_ONCE)))
        some = count[first:last]
        image = np.repeat(np.arange(first, last), some)
        place = np.arange(int(some.sum())) - np.repeat(np.cumsum(some) - some, some) + np.repeat(low[first:last], some)
        yield np.stack([image, place], 1)
        first = last


def _linked(pairs: Numbers) -> tuple[Numbers, Numbers]:
    """The images that are in pairs, rising, and of each the component of the graph that it belongs to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    images, ends = np.unique(pairs, return_inverse=True)
    if not len(images):
        return images, images
    ends = ends.reshape(-1, 2).astype(np.int32)  # scipy 1.11 takes no other indices
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (len(images), len(images)))
    return images, np.asarray(connected_components(graph, False)[1])
