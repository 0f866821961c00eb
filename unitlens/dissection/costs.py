"""What the steps of a dissection cost, measured on a few images: seconds per image and per block of units."""

import os
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from unitlens.dissection.counting import BlockCounts, block_size, count_block
from unitlens.dissection.draws import Draws, plan_draws
from unitlens.dissection.exemplars import Exemplars, draw_strips, find_exemplars
from unitlens.dissection.labelling import label_block
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.drawing.strips import strip_size
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import LEVEL_SCORES

_STRIPS = 16  # units whose exemplars are drawn to measure it


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
    """

    blocks: int
    fixed: float
    image: float
    levels: float

    def seconds(self, images: int, *, levels: bool) -> float:
        """Compute the duration for all blocks."""
        return self.blocks * (self.fixed + images * (self.image + (self.levels if levels else 0.0)))


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
    blocks = list(in_blocks(layer.units, block_size(layer, images * positions, settings.quantile)))
    few, many, draws = max(2, stored.images // 4), stored.images, plan_draws(stored, settings)
    _count(stored, layer, blocks[0], settings, draws, images=few)  # the first call allocates what later ones find there
    start = time.perf_counter()
    _count(stored, layer, blocks[0], settings, draws, images=few)
    middle = time.perf_counter()
    counted = _count(stored, layer, blocks[0], settings, draws, images=many)
    end = time.perf_counter()
    per_image = max(0.0, (end - middle) - (middle - start)) / max(1, many - few)
    labelling = _label_seconds(counted, stored, layer, blocks[0], _without_levels(settings), draws)
    levels = 0.0
    if settings.needs_levels:
        levels = _label_seconds(counted, stored, layer, blocks[0], settings, draws) - labelling
    # The evidence goes through the folds that have images: all of them, once there are many.
    folds = len(set(stored.folds.tolist()))
    return CountingCost(
        blocks=len(blocks),
        fixed=max(0.0, middle - start - few * per_image) + labelling * min(FOLDS, images) / folds,
        image=per_image,
        levels=max(0.0, levels) / many,
    )


def exemplar_seconds(stored: StoredPass, layer: LayerMaps, settings: Settings, *, units: int) -> float:
    """Measure how long the exemplars of one layer take: some are drawn, of ``units`` that the whole run has."""
    if not settings.exemplars:
        return 0.0
    start = time.perf_counter()
    exemplars = find_exemplars(layer, settings.exemplars)
    middle = time.perf_counter()
    exemplars = Exemplars(
        image=exemplars.image[:_STRIPS],
        value=exemplars.value[:_STRIPS],
        peak_y=exemplars.peak_y[:_STRIPS],
        peak_x=exemplars.peak_x[:_STRIPS],
    )
    size = strip_size(units, tiles=settings.exemplars)
    draw_strips(stored, layer, exemplars, np.zeros(layer.units, np.float32), size=size, strips=units)
    drawing = (time.perf_counter() - middle) / len(exemplars.image)
    return middle - start + drawing * layer.units


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
        partners=draws.partners[:, :images],
    )


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
