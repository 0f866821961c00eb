"""Counts a layer of any size, and prints how much memory it took.

Run as `python -m tests.dissection.large UNITS CONCEPTS IMAGES`.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import pandas  # noqa: F401  # loaded before anything is measured
import scipy.special  # noqa: F401
import torch

from unitlens.data.batches import Batch
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.dissection.draws import plan_draws
from unitlens.dissection.labelling import label_units
from unitlens.dissection.memory import counting_memory, peak_memory
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store

GRID, CATEGORIES, BATCH, QUANTILE = (8, 8), 6, 16, 0.1


def main(units, concepts, images):
    rng = np.random.default_rng(0)
    columns = Columns.of(
        [Concept(f"kind {c % CATEGORIES}", 1 + c // CATEGORIES, f"thing {c}") for c in range(concepts)]
    )
    own = [np.flatnonzero(columns.category_of == k) + 1 for k in range(CATEGORIES)]
    settings = Settings(layers=("layer",), grid=GRID, quantile=QUANTILE, fdr=0.1, exemplars=0)
    with temporary_store() as store:
        stored = StoredPass.start(columns, GRID, store)
        for first in range(0, images, BATCH):
            maps = torch.from_numpy(rng.standard_normal((BATCH, units, 4, 4), dtype=np.float32))
            layer = stored.layers.setdefault("layer", LayerMaps.start("layer", maps, GRID, store))
            layer.add(ArrivingMaps.of(maps, GRID))
            add(stored, range(first, first + BATCH), own, rng)
        before = resident()
        found = label_units(stored, layer, settings, plan_draws(stored, settings))
        grew = peak_memory() - before
    said = counting_memory([units], columns, images=images, cells=GRID[0] * GRID[1], draws=settings.draws)
    sys.stdout.write(json.dumps({"before": before, "grew": grew, "said": said, "met": len(found.counts.index)}))


def add(stored, numbers, own, rng):
    """Images that are annotated for every category, each position with one concept of it."""
    cells, count = GRID[0] * GRID[1], len(numbers)
    planes = [np.stack([rng.choice(concepts, cells) for concepts in own]).astype(np.int16) for _ in numbers]
    names, annotated = [str(number) for number in numbers], [(1 << CATEGORIES) - 1] * count
    nothing = [b""] * count
    batch = Batch(None, planes, annotated, names, [None] * count, nothing, list(numbers), names, nothing, list(numbers))
    stored.labels.add(batch.planes, batch.folds)
    stored.record.add(batch)


def resident():
    """The memory that this process holds now, in bytes; the most so far, where the system does not say."""
    sizes = Path("/proc/self/statm")
    return int(sizes.read_text().split()[1]) * resource.getpagesize() if sizes.exists() else peak_memory()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
