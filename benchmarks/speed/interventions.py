"""What interventions in the bundled generator cost, as a multiple of drawing and marking as many images.

    python -m benchmarks.speed.interventions --latents 16 --runs 3

Every unit of ``block16`` is removed and inserted in each image (`unitlens.causal_effects`), and 20 units with 39 random
and 39 matched sets beside them are removed (`unitlens.intervene`). Both draw each image many times over; the bare pass
draws images from latents and marks all concepts in them, 32 at a time, without unitlens around it. In processor time,
with one thread; the passes take turns.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

import unitlens as ul
from unitlens.data.segmentation.scenes import SceneLabels

LAYER, UNITS, DRAWS = "block16", 20, 39


def bare(net: ul.Network, source: SceneLabels, count: int) -> int:
    """Draw images and mark them; how many."""
    latents = ul.latents(96, count)
    for first in range(0, count, 32):
        given = torch.from_numpy(np.stack([latents[i].image for i in range(first, min(count, first + 32))]))
        with ul.evaluating(net.model):
            images = net.images(given, net.model(net.prepare(given)))
        source.planes_of(images.permute(0, 2, 3, 1).numpy())
    return count


def seconds(work: Callable[[], int]) -> float:
    """Processor time of some work for each image that it draws."""
    start = time.process_time()
    images = work()
    return (time.process_time() - start) / images


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    net, source = ul.load("bundled:scenes-generator"), SceneLabels.bundled()
    data = ul.with_concepts(ul.latents(96, options.latents), source)

    def sweep() -> int:
        effects = ul.causal_effects(net, LAYER, data)
        return 2 * (effects.units + 1) * options.latents

    def set_beside_draws() -> int:
        ul.intervene(net, LAYER, list(range(UNITS)), data, draws=DRAWS, examples=0)
        return (2 * DRAWS + 2) * options.latents

    for _ in range(options.runs):
        one = seconds(lambda: bare(net, source, 128))
        for work in (sweep, set_beside_draws):
            took = seconds(work)
            print(f"{work.__name__}: {1e3 * took:.1f} ms an image, bare {1e3 * one:.1f} ms, x {took / one:.2f}")


if __name__ == "__main__":
    main()
