"""Counts a layer of any size, and prints how much memory it took: `python -m tests.large UNITS CONCEPTS IMAGES`."""

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
from unitlens.dissection.definitions import definitions
from unitlens.dissection.labelling import LabelSettings, label_units
from unitlens.dissection.memory import counting_memory, peak_memory
from unitlens.dissection.observed import LayerMaps, Marked, Observed
from unitlens.dissection.store import spooling

GRID, CATEGORIES, BATCH, QUANTILE = (8, 8), 6, 16, 0.1


def main(units, concepts, images):
    rng = np.random.default_rng(0)
    columns = Columns.of(
        [Concept(f"kind {c % CATEGORIES}", 1 + c // CATEGORIES, f"thing {c}") for c in range(concepts)]
    )
    own = [np.flatnonzero(columns.category_of == k) + 1 for k in range(CATEGORIES)]
    how = LabelSettings(definitions("unitlens", quantile=QUANTILE), "iou", False, True, 0.1, 0, 0, False)
    with spooling() as spool:
        observed = Observed({}, Marked.start(columns, GRID, spool))
        for first in range(0, images, BATCH):
            maps = torch.from_numpy(rng.standard_normal((BATCH, units, 4, 4), dtype=np.float32))
            layer = observed.layers.setdefault("layer", LayerMaps.start("layer", maps, GRID, spool))
            layer.add(maps, GRID)
            add(observed, range(first, first + BATCH), own, rng)
        before = resident()
        found = label_units(observed, layer, how)
        grew = peak_memory() - before
    said = counting_memory([units], columns, images=images, cells=GRID[0] * GRID[1], draws=how.draws)
    sys.stdout.write(json.dumps({"before": before, "grew": grew, "said": said, "met": len(found.counts.index)}))


def add(observed, numbers, own, rng):
    """Images that are annotated for every category, each position with one concept of it."""
    cells, count = GRID[0] * GRID[1], len(numbers)
    planes = [np.stack([rng.choice(concepts, cells) for concepts in own]).astype(np.int16) for _ in numbers]
    names, annotated = [str(number) for number in numbers], [(1 << CATEGORIES) - 1] * count
    batch = Batch(None, planes, annotated, names, [None] * count, [b""] * count, list(numbers), [])
    observed.marked.add(batch)
    observed.names += batch.names
    observed.hashes += batch.hashes
    observed.annotated += batch.annotated


def resident():
    """The memory that this process holds now, in bytes; the most so far, where the system does not say."""
    sizes = Path("/proc/self/statm")
    return int(sizes.read_text().split()[1]) * resource.getpagesize() if sizes.exists() else peak_memory()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
