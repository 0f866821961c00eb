"""Units and labels counted together: IoU, scores at levels, and the same with the labels of other images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unitlens.dissection.counting import BlockCounts, count_block, count_levels
from unitlens.dissection.draws import Exchange
from unitlens.dissection.memory import BLOCK_UNITS
from unitlens.dissection.scanning import Scanner
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.partners import Partners
from unitlens.stats.scores import LEVEL_SCORES, QUANTILES, Bools, Floats, Ints, iou
from unitlens.stats.thresholds import threshold_rank

FEW_UNITS = 8
"""Units that are counted together where each has labels of its own: every one of these is looked up for all units."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """R units and labels.

    Attributes
    ----------
    unit : int64 array, (R,)
    concept : int64 array, (R,)
        Column of what the label means among the concepts of the pass.
    held_out : bool array, (R, 2)
        Whether the images of the even and of the odd folds are held out: they did not choose the label.
    """

    unit: Ints
    concept: Ints
    held_out: Bools

    def __len__(self) -> int:
        """R."""
        return len(self.unit)

    def of(self, rows: Ints) -> "Pairs":
        """Some of them."""
        return Pairs(self.unit[rows], self.concept[rows], self.held_out[rows])


class PairScores(NamedTuple):
    """Scores of R units and labels.

    Attributes
    ----------
    iou, auprc, correlation : float64 arrays, (R,)
        On all images.
    held_out : float64 array, (R,)
        IoU on the images that did not choose the label; NaN without any.
    drawn : float64 array, (R, draws)
        The same with the labels of other images.
    silent : bool array, (R,)
        Whether the unit has no mask.
    """

    iou: Floats
    auprc: Floats
    correlation: Floats
    held_out: Floats
    drawn: Floats
    silent: Bools

    @classmethod
    def unknown(cls, number: int, draws: int) -> "PairScores":
        """Of so many units and labels, to be filled in."""
        iou, auprc, correlation, held_out = np.full((4, number), np.nan)
        return cls(iou, auprc, correlation, held_out, np.full((number, draws), np.nan), np.ones(number, bool))


def score_pairs(
    stored: StoredPass, layer: LayerMaps, pairs: Pairs, settings: Settings, partners: Partners
) -> PairScores:
    """Score units and labels of a layer, block by block of units.

    Parameters
    ----------
    stored : StoredPass
        Its label planes mark what the labels mean.
    layer : LayerMaps
    pairs : Pairs
    settings : Settings
    partners : Partners
        For each draw and image, the image whose labels it is given.
    """
    exchange = Exchange(partners, stored.labels, stored.folds % 2)
    scores = PairScores.unknown(len(pairs), len(partners))
    for units, rows in _blocks(stored, layer, pairs):
        found = _score_block(stored, layer, units, pairs.of(rows), settings, exchange)
        for into, values in zip(scores, found, strict=True):
            into[rows] = values
    return scores


def _blocks(stored: StoredPass, layer: LayerMaps, pairs: Pairs) -> Iterator[tuple[slice, Ints]]:
    """Blocks of units that have labels, and the rows of these."""
    own = len(stored.labels.columns.categories) > BLOCK_UNITS // FEW_UNITS
    for block in in_blocks(layer.units, FEW_UNITS if own else BLOCK_UNITS):
        rows = np.flatnonzero((pairs.unit >= block.start) & (pairs.unit < block.stop))
        if len(rows):
            yield slice(int(pairs.unit[rows].min()), int(pairs.unit[rows].max()) + 1), rows


def _score_block(
    stored: StoredPass, layer: LayerMaps, units: slice, pairs: Pairs, settings: Settings, exchange: Exchange
) -> PairScores:
    """Score the labels of one block of units."""
    grid = stored.labels.grid
    raw = settings.threshold_on == "raw"
    rank = threshold_rank(settings.quantile, stored.images * layer.positions(grid, raw=raw))
    counted = count_block(layer, units, stored.labels, stored.folds, settings, rank=rank, partners=exchange.partners)
    unit, concept = pairs.unit - units.start, pairs.concept
    by_half = _iou_counts(counted, unit, concept, stored, on_grid=layer.layer_grid is not None)
    drawn = _drawn_counts(counted, unit, concept, exchange, on_grid=layer.layer_grid is not None)
    held_out = pairs.held_out.astype(np.int64)
    known = np.asarray((pairs.held_out & (exchange.images_on_halves > 0)).any(1), bool)
    auprc, correlation = _level_scores(stored, layer, units, pairs, settings)
    return PairScores(
        iou=_iou(by_half.sum(-1)),
        auprc=auprc,
        correlation=correlation,
        held_out=np.where(known, _iou((by_half * held_out).sum(-1)), np.nan),
        drawn=np.where(known[:, None], _iou((drawn * held_out[:, None]).sum(-1)), np.nan),
        silent=np.asarray(counted.active.sum(1)[unit] == 0),
    )


def _iou(counts: Ints) -> Floats:
    """IoU from what `_iou_counts` and `_drawn_counts` count, (3, ...)."""
    intersection, activated, concept = counts
    return iou(intersection, activated, concept)


def _iou_counts(counted: BlockCounts, unit: Ints, concept: Ints, stored: StoredPass, *, on_grid: bool) -> Ints:
    """Intersection, activated and concept of each pair on the even and the odd folds, (3, R, 2)."""
    not_judged = _not_judged(stored, concept)
    of_concept = stored.labels.by_fold(grid=on_grid)[:, 1 + concept].T
    by_fold = np.stack(
        [
            counted.by_fold[unit, :, 1 + concept],
            counted.active[unit] - counted.by_fold[unit, :, not_judged],
            of_concept,
        ]
    )
    return np.stack([by_fold[..., ::2].sum(-1), by_fold[..., 1::2].sum(-1)], -1)


def _drawn_counts(counted: BlockCounts, unit: Ints, concept: Ints, exchange: Exchange, *, on_grid: bool) -> Ints:
    """The same with the labels of other images, (3, R, draws, 2)."""
    columns = exchange.labels.columns
    not_judged = 1 + len(columns.concepts) + columns.category_of[concept]
    shifted = counted.shifted  # (U, draws, 2, columns)
    intersection = shifted[unit, :, :, 1 + concept]
    activated = counted.active_on_halves[unit][:, None] - shifted[unit, :, :, not_judged]
    of_concept = np.moveaxis(exchange.totals(grid=on_grid)[:, :, 1 + concept], -1, 0)
    return np.stack([intersection, activated, of_concept])


def _not_judged(stored: StoredPass, concept: Ints) -> Ints:
    """Columns that say that a concept's category is not judged."""
    columns = stored.labels.columns
    return np.asarray(1 + len(columns.concepts) + columns.category_of[concept])


def _level_scores(
    stored: StoredPass, layer: LayerMaps, units: slice, pairs: Pairs, settings: Settings
) -> tuple[Floats, Floats]:
    """AUPRC and correlation of each pair."""
    positions = stored.images * layer.positions(stored.labels.grid)
    quantiles = [quantile for quantile in QUANTILES if quantile * positions >= 1]
    scan = Scanner(layer, units, stored.labels.grid, settings.upsampling)
    even, odd = count_levels(scan, quantiles, stored.labels, stored.folds)
    both = even + odd
    auprc, correlation = (
        LEVEL_SCORES[name](both)[pairs.unit - units.start, pairs.concept] for name in ("auprc", "correlation")
    )
    return auprc, correlation
