"""What the steps of a dissection cost, measured on a few images: seconds per image and per block of units."""

import os
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from unitlens.dissection.counting import BlockCounts, count_block
from unitlens.dissection.draws import Draws, plan_draws
from unitlens.dissection.exemplars.strongest import Exemplars, Variety, draw_strips, find_exemplars
from unitlens.dissection.labelled_blocks import label_block
from unitlens.dissection.memory import BLOCK_UNITS, KEPT, WAITING, blocks_together
from unitlens.dissection.scanning import GUESS_SHARES, Scanner
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.drawing.strips import strips_drawn
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import LEVEL_SCORES

_STRIPS = 16  # units whose exemplars are drawn to measure it

_REPEATS = 3  # of which the shortest counts

_SCANS = 3
"""How often maps are read where what lies above a threshold cannot be kept: two histograms and the counts."""

_RUN = 4  # positions of a run that are expected at least


@dataclass(frozen=True)
class PassCost:
    """What one image costs in a pass, in seconds.

    Attributes
    ----------
    decoding : float
        Of one process.
    forward : float
        The network, and writing what it returned.
    """

    decoding: float
    forward: float

    @classmethod
    def of(cls, stored: StoredPass) -> "PassCost":
        """Take the cost from a pass that was made without worker processes."""
        return cls(stored.waiting / stored.images, max(0.0, stored.seconds - stored.waiting) / stored.images)

    def seconds(self, images: int, *, workers: int) -> float:
        """Compute the duration of a pass: bounded by decoding, by the network, and by the cores."""
        if not workers:
            return images * (self.decoding + self.forward)
        cores = os.cpu_count() or 1
        busy = (self.decoding + self.forward * min(torch.get_num_threads(), cores)) / cores
        return images * max(self.forward, self.decoding / workers, busy)


@dataclass(frozen=True)
class CountingCost:
    """What counting and labelling one layer costs, in seconds.

    Attributes
    ----------
    blocks : int
        Blocks of units.
    fixed : float
        A block, however many images there are.
    image : float
        A block, for each image.
    levels : float
        The same, where counts at several levels are made.
    units : int
        Units of a block.
    scans : int
        How often the maps of a block are read.
    together : int
        Blocks that are counted together, with one reading of the labels.
    """

    blocks: int
    fixed: float
    image: float
    levels: float
    units: int = 1
    scans: int = 1
    together: int = 1

    def seconds(self, images: int, *, levels: bool) -> float:
        """Compute the duration for all blocks."""
        return self.blocks * (self.fixed + images * (self.image + (self.levels if levels else 0.0)))

    @property
    def rate(self) -> float:
        """Images a second that are counted of one unit."""
        return self.units / max(self.image, 1e-9)


def counting_cost(stored: StoredPass, layer: LayerMaps, settings: Settings, *, images: int) -> CountingCost:
    """Measure one block of units, on a part of the images that are stored and on all of them.

    Parameters
    ----------
    stored : StoredPass
        A few images.
    layer : LayerMaps
        One of its layers.
    settings : Settings
    images : int
        Of the whole run: they decide how many units a block has.
    """
    positions = layer.positions(stored.labels.grid)
    blocks = list(in_blocks(layer.units, BLOCK_UNITS))
    few, many, draws = max(2, stored.images // 4), stored.images, plan_draws(stored, settings)
    counted = _count(stored, layer, blocks[0], settings, draws, images=many)  # allocates what later calls find there
    of_few, of_many = (
        min(_count_seconds(stored, layer, blocks[0], settings, draws, images=count) for _ in range(_REPEATS))
        for count in (few, many)
    )
    per_image = max(0.0, of_many - of_few) / max(1, many - few)
    active = settings.quantile * images * positions * (blocks[0].stop - blocks[0].start)
    together = blocks_together(
        stored.labels.columns,
        draws=len(draws.partners),
        positions=images * positions,
    )
    waits = active / _RUN * min(together, len(blocks)) <= WAITING
    scans = _SCANS if GUESS_SHARES[0] * active > KEPT else 1 if waits else 2
    further = (scans - 1) * _scan_seconds(layer, blocks[0], settings) / many
    labelling = _label_seconds(counted, stored, layer, blocks[0], _without_levels(settings), draws)
    levels = 0.0
    if settings.needs_levels:
        levels = _label_seconds(counted, stored, layer, blocks[0], settings, draws) - labelling
    # The evidence goes through the folds that have images: mostly all of them, once there are many.
    folds = len(set(stored.folds.tolist()))
    folds_of_all = min(images, folds_expected(folds, sampled=stored.images))
    return CountingCost(
        blocks=len(blocks),
        fixed=max(0.0, of_few - few * per_image) + labelling * folds_of_all / folds,
        image=per_image + further,
        levels=max(0.0, levels) / many,
        units=blocks[0].stop - blocks[0].start,
        scans=scans,
        together=together,
    )


def folds_expected(found: int, *, sampled: int) -> int:
    """How many folds all images fill, of which so many sampled images fill ``found``.

    The fewest of which as many images would fill more than were found, on average.

    Examples
    --------
    >>> [folds_expected(found, sampled=32) for found in (1, 12, 21)]
    [3, 15, 32]
    """
    enough = (folds for folds in range(found, FOLDS) if folds * (1 - (1 - 1 / folds) ** sampled) >= found + 1)
    return next(enough, FOLDS)


def exemplar_seconds(stored: StoredPass, layer: LayerMaps, settings: Settings, *, units: int) -> float:
    """Measure how long the exemplars of one layer take: some are drawn, of ``units`` that the whole run has."""
    if not settings.exemplars:
        return 0.0
    start = time.perf_counter()
    exemplars = find_exemplars(layer, settings.exemplars, Variety.of(stored))
    finding = time.perf_counter() - start
    drawn = min(_STRIPS, layer.units)
    for count in (1, drawn):  # the first one loads what it needs
        start = time.perf_counter()
        some = Exemplars(
            image=exemplars.image[:count],
            value=exemplars.value[:count],
            peak_y=exemplars.peak_y[:count],
            peak_x=exemplars.peak_x[:count],
        )
        unit_thresholds = np.zeros(layer.units, np.float32)
        draw_strips(stored, layer, some, unit_thresholds, settings, chosen=range(count), strips=units)
        drawing = (time.perf_counter() - start) / count
    share = 1.0 if settings.exemplar_size is not None else strips_drawn(units) / units
    return finding + drawing * layer.units * share


def _count(
    stored: StoredPass, layer: LayerMaps, units: slice, settings: Settings, draws: Draws, *, images: int
) -> BlockCounts:
    """Count a block of units in the first images; of so few, at least one position lies above the threshold."""
    positions = images * layer.positions(stored.labels.grid, raw=settings.threshold_on == "raw")
    return count_block(
        layer,
        units,
        stored.labels,
        stored.folds[:images],
        settings,
        rank=max(1, int(settings.quantile * positions)),
        partners=draws.partners,
    )


def _count_seconds(
    stored: StoredPass, layer: LayerMaps, units: slice, settings: Settings, draws: Draws, *, images: int
) -> float:
    start = time.perf_counter()
    _count(stored, layer, units, settings, draws, images=images)
    return time.perf_counter() - start


def _scan_seconds(layer: LayerMaps, units: slice, settings: Settings) -> float:
    """Seconds that one scan of a block of units takes."""
    scanner = Scanner(layer, units, settings.grid, settings.upsampling)
    level = next(scanner.guesses(settings.quantile))
    start = time.perf_counter()
    for _ in scanner(level):
        pass
    return time.perf_counter() - start


def _label_seconds(
    counted: BlockCounts, stored: StoredPass, layer: LayerMaps, units: slice, settings: Settings, draws: Draws
) -> float:
    label_block(counted, layer, units, stored, settings, draws)  # loads what it needs
    start = time.perf_counter()
    label_block(counted, layer, units, stored, settings, draws)
    return time.perf_counter() - start


def _without_levels(settings: Settings) -> Settings:
    score = "iou" if settings.score in LEVEL_SCORES else settings.score
    return replace(settings, levels=False, score=score)
