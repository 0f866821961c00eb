"""All that one pass over the images leaves behind: what is in its store, and what is known of the images."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.batches import ImageRecord, Unread
from unitlens.data.concepts import Ious
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.rows import RowFile
from unitlens.errors import UnitlensError
from unitlens.stats.folds import FOLDS


@dataclass
class StoredPass:
    """All that one pass over the images leaves behind.

    Attributes
    ----------
    layers : dict of str to LayerMaps
        By the names that were given, in that order.
    labels : LabelPlanes
        The label planes.
    record : ImageRecord
        The images that were read, in the order of the data set, and those that were left out.
    notes : list of str
        What the user should know.
    thumbnails : RowFile or None
        (N, height, width, 3) uint8.
    sha256 : str
        Of everything that was read, the order of the images aside, and of what the labels mean.
    seconds : float
        The pass took.
    waiting : float
        Of that, seconds until the images of each batch were decoded.
    deviation : dict of str to float
        With ``fast``: largest difference of an activation, as a share of the layer's largest.
    ious : mapping of (str, str) to float
        How good the marks of a concept are, by (category, name), where its source says it.
    """

    layers: dict[str, LayerMaps]
    labels: LabelPlanes
    record: ImageRecord
    notes: list[str] = field(default_factory=list)
    thumbnails: RowFile | None = None
    seconds: float = 0.0
    waiting: float = 0.0
    deviation: dict[str, float] = field(default_factory=dict)
    ious: Ious = field(default_factory=dict)
    _unread_lines: int = 0

    @property
    def images(self) -> int:
        """Number of images that were read."""
        return len(self.record.names)

    @property
    def folds(self) -> npt.NDArray[np.int64]:
        """Fold of each image, (N,)."""
        return np.array([hash_ % FOLDS for hash_ in self.record.hashes], dtype=np.int64)

    def judged(self, *, grid: bool) -> npt.NDArray[np.int64]:
        """Positions of the grid, or else images, that are judged for each category by fold, (32, K)."""
        labels = self.labels
        each = labels.grid[0] * labels.grid[1] if grid else 1
        images = np.bincount(self.folds, minlength=FOLDS)
        left_out = labels.by_fold(grid=grid)[:, 1 + len(labels.columns.concepts) :]
        judged: npt.NDArray[np.int64] = images[:, None] * each - left_out
        return judged

    @property
    def sha256(self) -> str:
        """Hash of the data."""
        return self.record.sha256(self.labels.columns.concepts)

    def commit(self, *, complete: bool = False) -> None:
        """Let all images that were added count, whatever becomes of this process.

        Parameters
        ----------
        complete : bool
            Whether they are all: notes and seconds, which come last, are kept then too.
        """
        store = self.labels.store
        if not store.manifest.images:
            store.write_document("layers", [layer.describe() for layer in self.layers.values()])
        if complete:
            summary = {"notes": self.notes, "deviation": self.deviation}
            ious = [[*key, iou] for key, iou in self.ious.items()]
            store.write_document("pass", summary | {"seconds": self.seconds, "waiting": self.waiting, "ious": ious})
        store.lines.append(_line(self.record, image) for image in range(store.manifest.images, self.images))
        unread = self.record.unread[self._unread_lines :]
        store.lines.append({"unread": image._asdict()} for image in unread)
        self._unread_lines += len(unread)
        store.commit(images=self.images, complete=complete)

    @classmethod
    def reopen(cls, store: Store) -> "StoredPass":
        """Read a pass from its store: as it was left or, if it was stopped, as it was after its last commit.

        Raises
        ------
        UnitlensError
            If the store is damaged, or stopped before the first images were in it.
        """
        if not store.manifest.images:
            raise UnitlensError(f"The store {store.folder} has no images yet: the pass was stopped before the first.")
        record = _record_of(store.lines.read())
        labels = LabelPlanes.reopen(np.array([hash_ % FOLDS for hash_ in record.hashes]), store)
        layers = [LayerMaps.reopen(layer, labels.grid, store) for layer in store.document("layers")]
        stored = cls({layer.name: layer for layer in layers}, labels, record, thumbnails=store.existing("thumbnails"))
        stored._unread_lines = len(record.unread)
        if store.manifest.complete:
            summary = store.document("pass")
            stored.notes, stored.deviation = summary["notes"], summary["deviation"]
            stored.seconds, stored.waiting = summary["seconds"], summary["waiting"]
            stored.ious = {(category, name): iou for category, name, iou in summary["ious"]}
        return stored


def _line(record: ImageRecord, image: int) -> dict[str, Any]:
    """What is known of an image, as a line of the store."""
    return {
        "name": record.names[image],
        "class": record.classes[image],
        "hash": record.hashes[image],
        "group": record.groups[image],
        "annotated": record.annotated[image],
        "sha256": record.digests[image].hex(),
    }


def _record_of(lines: list[dict[str, Any]]) -> ImageRecord:
    """The record of images whose lines were read back."""
    read = [line for line in lines if "unread" not in line]
    return ImageRecord(
        total=len(lines),
        names=[line["name"] for line in read],
        classes=[line["class"] for line in read],
        digests=[bytes.fromhex(line["sha256"]) for line in read],
        hashes=[line["hash"] for line in read],
        groups=[line["group"] for line in read],
        annotated=[line["annotated"] for line in read],
        unread=[Unread(**line["unread"]) for line in lines if "unread" in line],
    )
