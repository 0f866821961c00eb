"""One image or latent, read and prepared for a batch: its pixels or numbers, what is marked in it, and its hashes."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.buckets import Buckets
from unitlens.data.columns import Columns
from unitlens.data.concepts import Class, Concept, ConceptSource, Data, DataDescription, Example, FingerprintedSource
from unitlens.data.copies import fingerprint
from unitlens.data.decoded.images import DecodedImage, DecodedImages, Fresh, worth_keeping
from unitlens.data.drawn import BatchSource
from unitlens.data.images import Encoded
from unitlens.data.pixels.arrays import network_pixels
from unitlens.data.pixels.fit import Fit
from unitlens.data.reading import read_example
from unitlens.errors import UnitlensError
from unitlens.files import encoded
from unitlens.models.layers import describe_error
from unitlens.models.preprocessing import Preprocessing
from unitlens.packed import Hashes
from unitlens.stats.blocks import in_blocks

_DIGESTS_AT_ONCE = 1 << 13


class Drawn(NamedTuple):
    """What is marked in an image that was drawn from a latent."""

    planes: npt.NDArray[np.int16]
    annotated: int
    fingerprint: bytes


def see(
    examples: Sequence[Example],
    images: npt.NDArray[np.uint8],
    sources: Sequence[ConceptSource],
    columns: Columns,
    grid: tuple[int, int],
) -> list[Drawn]:
    """What is marked in the images that were drawn from latents: what was given with them, and what the sources see.

    Parameters
    ----------
    examples : sequence of Example
        The latents.
    images : uint8 array, (N, height, width, 3)
    sources, columns, grid
        Of what is marked, and where.

    Raises
    ------
    UnitlensError
        If a source fails, or marks what is not among the concepts.
    """
    planes = [dict(example.planes) for example in examples]
    for source in sources:
        try:
            for of_image, marked in zip(planes, _marked_by(source, examples, images), strict=True):
                of_image.update(marked)
        except UnitlensError:
            raise
        except Exception as error:
            raise UnitlensError(
                f"{source} fails on the images that were drawn from {examples[0].name} and others "
                f"({describe_error(error)})."
            ) from error
    size = images.shape[1], images.shape[2]
    whole = Fit(size, (0, 0), size)
    seen = [example._replace(planes=of_image) for example, of_image in zip(examples, planes, strict=True)]
    return [
        Drawn(columns.planes(one, whole, grid), annotated_bits(one, columns), fingerprint(image))
        for one, image in zip(seen, images, strict=True)
    ]


def _marked_by(
    source: ConceptSource, examples: Sequence[Example], images: npt.NDArray[np.uint8]
) -> Iterator[Mapping[str, Sequence[npt.NDArray[Any]]]]:
    """The label maps of each image, by a source that marks many at a time, or one by one."""
    if isinstance(source, BatchSource):
        marked = source.planes_of(images)
        for number in range(len(images)):
            yield {category: [planes[number] for planes in of_all] for category, of_all in marked.items()}
    else:
        yield from (source.planes(image, example.name) for image, example in zip(images, examples, strict=True))


def annotated_bits(example: Example, columns: Columns) -> int:
    """An integer whose bit k is set where an example is annotated for category k."""
    return sum(1 << k for k, category in enumerate(columns.categories) if len(example.planes.get(category, ())))


class Prepared(NamedTuple):
    """What a worker makes of one image."""

    image: npt.NDArray[Any]
    planes: npt.NDArray[np.int16]
    annotated: int
    name: str
    class_: Class | None
    digest: bytes
    hash: int
    group: str
    fingerprint: bytes
    index_: int
    fresh: Fresh | None = None


@dataclass(frozen=True)
class Failure:
    """An image that a worker could not prepare: errors are returned, as one that is raised would lose its type."""

    index: int
    error: UnitlensError


@dataclass(frozen=True)
class Prepare:
    """Reads an image, scales it, and samples what is marked in it."""

    data: Data
    names: Sequence[str] | None
    columns: Columns
    preprocessing: Preprocessing
    grid: tuple[int, int]
    decoded: DecodedImages | None = None

    def __call__(self, index: int) -> Prepared | Failure:
        """Prepare the image of an index."""
        try:
            example = read_example(self.data, index, self.names, encoded=True)
            image, kept = self._image(example)
            planes, marks = self._planes(example, image.size)
        except UnitlensError as error:
            return Failure(index, error)
        return Prepared(
            image=image.pixels,
            planes=planes,
            annotated=annotated_bits(example, self.columns),
            name=example.name,
            class_=example.class_,
            digest=example_digest(example),
            hash=image_hash(example),
            group=example.name if example.group is None else example.group,
            fingerprint=image.fingerprint,
            index_=index,
            fresh=Fresh(kept, marks, image.size) if kept or marks else None,
        )

    def _image(self, example: Example) -> tuple[DecodedImage, bytes | None]:
        """An image as the network takes it; and its key, if it was decoded just now and is to be kept."""
        file: object = example.image
        key = bytes.fromhex(file.digest) if isinstance(file, Encoded) else None
        if key is not None and self.decoded is not None and (known := self.decoded.image(key)) is not None:
            return known, None
        bands = self.preprocessing.bands.chosen or (self.preprocessing.count,)
        given = file.pixels(max(bands)) if isinstance(file, Encoded) else example.image
        if example.exact is not None and self.preprocessing.bands.range is not None:
            given = example.exact
        pixels = network_pixels(given, self.preprocessing, example.name)
        height, width = pixels.shape[:2]
        scaled = Fit.of(height, width, self.preprocessing).pixels(pixels, self.preprocessing.interpolation)
        channels_first = np.ascontiguousarray(scaled.transpose(2, 0, 1))  # decides how a network rounds
        image = DecodedImage(channels_first, (height, width), fingerprint(given))
        return image, key if worth_keeping(image.size, self.preprocessing) else None

    def _planes(self, example: Example, size: tuple[int, int]) -> tuple[npt.NDArray[np.int16], bytes | None]:
        """What is marked in an image; and the example's key, if label maps were decoded for it."""
        files = [plane for maps in example.planes.values() for plane in maps]
        key = None
        if self.decoded is not None and files and all(isinstance(plane, Encoded) for plane in files):
            key = bytes.fromhex(str(example.file_digest))
            if (known := self.decoded.planes(key)) is not None:
                return known, None
        sized = example._replace(image=np.broadcast_to(np.uint8(0), (*size, 3)))  # of the image, only its size matters
        return self.columns.planes(sized, Fit.of(*size, self.preprocessing), self.grid), key


class PreparedLatent(NamedTuple):
    """What is known of an image before it is drawn."""

    latent: npt.NDArray[np.float32]
    name: str
    class_: Class | None
    digest: bytes
    hash: int
    group: str
    index_: int
    given: Mapping[str, Sequence[npt.NDArray[Any]]]


@dataclass(frozen=True)
class PrepareLatent:
    """Reads a latent, and the label maps that are given with it."""

    data: Data
    description: DataDescription

    def __call__(self, index: int) -> PreparedLatent | Failure:
        """Prepare the latent of an index."""
        try:
            example = read_example(self.data, index, self.description.names, of_latents=True)
            digest = example_digest(example, self.description.drawn_sources)
        except UnitlensError as error:
            return Failure(index, error)
        return PreparedLatent(
            latent=example.image,
            name=example.name,
            class_=example.class_,
            digest=digest,
            hash=image_hash(example),
            group=example.name if example.group is None else example.group,
            index_=index,
            given=example.planes,
        )


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


def example_digest(example: Example, drawn_sources: Sequence[ConceptSource] = ()) -> bytes:
    """SHA-256 of all that an example says, and of what marks the image that is drawn from it."""
    if example.file_digest is not None:
        return hashlib.sha256(encoded(f"{example.name}\n{example.class_!r}\n{example.file_digest}")).digest()
    hashed = hashlib.sha256(encoded(f"{example.name}\n{example.class_!r}\n{example.image.shape}"))
    hashed.update(example.image.tobytes())
    for category in sorted(example.planes):
        for given in example.planes[category]:
            plane = np.asarray(given)
            hashed.update(encoded(f"\n{category}\n{plane.dtype.str} {plane.shape}") + plane.tobytes())
    for source in drawn_sources:
        fingerprint_ = source.fingerprint if isinstance(source, FingerprintedSource) else None
        hashed.update(encoded(f"\n{source} {fingerprint_}"))
    return hashed.digest()


def data_digest(digests: Iterable[bytes], concepts: Iterable[Concept]) -> str:
    """SHA-256 of all that a data set says: its examples, in any order, and what its labels mean.

    Digests are of one length.
    """
    packed = digests if isinstance(digests, Hashes) else Hashes(digests)
    blocks = [(block.start, block.stop) for block in in_blocks(len(packed), _DIGESTS_AT_ONCE)]
    hashed = hashlib.sha256()
    # there may be millions: they are sorted some at a time
    for rows in Buckets(lambda: (packed.as_array(*block) for block in blocks), lambda rows: rows[:, 0]):
        if len(rows):
            hashed.update(np.sort(rows.view(f"S{rows.shape[1]}")[:, 0]).tobytes())
    for concept in concepts:
        hashed.update(f"\n{tuple(concept)!r}".encode())
    return hashed.hexdigest()
