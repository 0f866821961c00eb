"""All that one pass over the images leaves behind: what is in its store, and what is known of the images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.batches import ImageRecord
from unitlens.data.columns import Columns
from unitlens.data.concepts import Ious
from unitlens.dissection.store.documents import PassDocument
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.images import StoredImages, join_records
from unitlens.dissection.store.images import read_record as read_images
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.rows import Rows, sound
from unitlens.errors import UnitlensError
from unitlens.records import read_record
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS

_IMAGES_AT_ONCE = 1 << 13


@dataclass
class StoredPass:
    """All that one pass over the images leaves behind.

    Attributes
    ----------
    layers : dict of str to LayerMaps
        By the names that were given, in that order.
    labels : LabelPlanes
        The label planes.
    kept : StoredImages
        The images that were read, in the order of the data set, and those that were left out.
    notes : list of str
        What the user should know of how the layers were read.
    of_network : list of str
        What the user should know of the network, and of the features that are read from it.
    thumbnails : Rows or None
        (N, height, width, 3) uint8.
    seconds : float
        The pass took.
    waiting : float
        Of that, seconds until the images of each batch were decoded.
    deviation : dict of str to dict
        With ``fast``: how far the first images are off, by layer; see
        `unitlens.dissection.run_record.DeviationRecord`.
    ious : mapping of (str, str) to float
        How good the marks of a concept are, by (category, name), where its source says it.
    """

    layers: dict[str, LayerMaps]
    labels: LabelPlanes
    kept: StoredImages
    notes: list[str] = field(default_factory=list)
    of_network: list[str] = field(default_factory=list)
    thumbnails: Rows | None = None
    seconds: float = 0.0
    waiting: float = 0.0
    deviation: dict[str, dict[str, Any]] = field(default_factory=dict)
    ious: Ious = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        columns: Columns,
        grid: tuple[int, int],
        store: Store,
        *,
        ious: Ious = MappingProxyType({}),
        of_network: Sequence[str] = (),
    ) -> "StoredPass":
        """Begin a pass in an empty store; its layers follow from the first images."""
        kept = StoredImages(store, ImageRecord(0))
        return cls({}, LabelPlanes.start(columns, grid, store), kept, of_network=list(of_network), ious=ious)

    @property
    def record(self) -> ImageRecord:
        """What is known of the images."""
        return self.kept.record

    @property
    def images(self) -> int:
        """Number of images that were read."""
        return len(self.record.names)

    @property
    def folds(self) -> npt.NDArray[np.uint8]:
        """Fold of each image, (N,)."""
        return folds_of(self.record)

    def judged(self, *, grid: bool) -> npt.NDArray[np.int64]:
        """Positions of the grid, or else images, that are judged for each category by fold, (32, K)."""
        labels = self.labels
        each = labels.grid[0] * labels.grid[1] if grid else 1
        folds = self.folds
        images = sum(np.bincount(folds[some], minlength=FOLDS) for some in in_blocks(len(folds), _IMAGES_AT_ONCE))
        left_out = labels.by_fold(grid=grid)[:, 1 + len(labels.columns.concepts) :]
        judged: npt.NDArray[np.int64] = np.asarray(images)[:, None] * each - left_out
        return judged

    @property
    def sha256(self) -> str:
        """Hash of everything that was read, the order of the images aside, and of what the labels mean."""
        return self.record.sha256(self.labels.columns.concepts)

    def begin(self) -> None:
        """Keep what the first images settle: the layers, and what is to be said of them."""
        document = {
            "layers": [layer.describe() for layer in self.layers.values()],
            "notes": self.notes,
            "of_network": self.of_network,
            "deviation": self.deviation,
            "ious": [[*key, iou] for key, iou in self.ious.items()],
        }
        self.labels.store.write_document("pass", document)

    def commit(self, *, complete: bool = False) -> None:
        """Let all images that were settled count, whatever becomes of this process; `begin` comes before."""
        self.kept.commit(complete=complete)

    @classmethod
    def reopen(cls, store: Store) -> "StoredPass":
        """Read a pass from its store: as it was left or, if it was stopped, as it was after its last commit.

        Raises
        ------
        UnitlensError
            If the store is damaged, or stopped before the first images were in it.
        """
        if not store.manifest.images and not store.manifest.complete:
            raise UnitlensError(f"The store {store.folder} has no images yet: the pass was stopped before the first.")
        return cls.of_images(store, StoredImages.reopen(store))

    @classmethod
    def joined(cls, stores: Sequence[Store]) -> "StoredPass":
        """Read the pass over all images from the stores of its parts, in their order."""
        record = join_records([read_images(store) for store in stores])
        return cls.of_images(store := Store.joined(stores), StoredImages(store, record))

    @classmethod
    def of_images(cls, store: Store, kept: StoredImages) -> "StoredPass":
        """Read a pass from its store, of whose images all is known; a part of a pass may have none."""
        labels = LabelPlanes.reopen(folds_of(kept.record), store)
        if not kept.record.names:
            return cls({}, labels, kept)
        document, images = store.document("pass"), len(kept.record.names)
        with sound(store.folder):
            begun = read_record(PassDocument, document, what="pass.json")
        layers = [LayerMaps.reopen(layer, labels.grid, store, images=images) for layer in begun.layers]
        return cls(
            {layer.name: layer for layer in layers},
            labels,
            kept,
            notes=list(begun.notes),
            of_network=list(begun.of_network),
            thumbnails=_thumbnails(store, images),
            seconds=kept.record.seconds,
            deviation=dict(begun.deviation),
            ious={(category, name): iou for category, name, iou in begun.ious},
        )

    def check_of(self, layers: Sequence[str], grid: tuple[int, int], columns: Columns | None = None) -> None:
        """Make sure that a pass which was opened is one of these layers, on this label grid, and of these concepts.

        Raises
        ------
        UnitlensError
            If it is not.
        """
        labels = self.labels
        same = labels.grid == grid and (columns is None or columns == labels.columns)
        if not same or (self.layers and list(self.layers) != list(layers)):
            raise UnitlensError(
                f"The store {labels.store.folder} is damaged: its layers, grid or concepts are not those of its pass."
            )


def folds_of(record: ImageRecord) -> npt.NDArray[np.uint8]:
    """Fold of each image, (N,)."""
    hashes, folds = record.hashes, np.empty(len(record.hashes), np.uint8)
    for block in in_blocks(len(folds), _IMAGES_AT_ONCE):
        folds[block] = hashes.as_array(block.start, block.stop) % FOLDS
    return folds


def _thumbnails(store: Store, images: int) -> Rows | None:
    """Small images, if they are kept."""
    thumbnails = store.existing("thumbnails")
    if thumbnails is not None:
        store.check_rows(["thumbnails"], count=images)
        if thumbnails.dtype != np.uint8 or len(thumbnails.shape) != 3 or thumbnails.shape[2] != 3:
            raise UnitlensError(f"The store {store.folder} is damaged: its thumbnails are no images.")
    return thumbnails
