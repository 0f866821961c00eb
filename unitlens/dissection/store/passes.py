"""All that one pass over the images leaves on disk."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unitlens.data.batches import Unread, data_digest
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.rows import RowFile
from unitlens.stats.folds import FOLDS


@dataclass
class StoredPass:
    """All that the one pass leaves behind.

    Attributes
    ----------
    layers : dict of str to LayerMaps
        By the names that were given, in that order.
    labels : LabelPlanes
        The label planes.
    names, classes : list
        Of the images that were read, in the order of the data set.
    hashes : list of int
        Where their folds come from.
    annotated : list of int
        For which categories each is annotated, as bits.
    unread : list of Unread
        Images that were left out.
    notes : list of str
        What the user should know.
    thumbnails : RowFile or None
        (N, height, width, 3) uint8.
    sha256 : str
        Of everything that was read, the order of the images aside, and of what the labels mean.
    seconds : float
        The pass took.
    deviation : dict of str to float
        With ``fast``: largest difference of an activation, as a share of the layer's largest.
    """

    layers: dict[str, LayerMaps]
    labels: LabelPlanes
    names: list[str] = field(default_factory=list)
    classes: list[str | int | None] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    annotated: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    thumbnails: RowFile | None = None
    seconds: float = 0.0
    deviation: dict[str, float] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Number of images that were read."""
        return len(self.names)

    @property
    def folds(self) -> npt.NDArray[np.int64]:
        """Fold of each image, (N,)."""
        return np.array([hash_ % FOLDS for hash_ in self.hashes], dtype=np.int64)

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
        return data_digest(self.digests, self.labels.columns.concepts)
