"""Is the evidence calibrated? Simulations in worlds whose truth is known.

    python -m benchmarks.evidence.calibration --replicates 200
    python -m benchmarks.evidence.calibration --replicates 200 --world clustered
    python -m benchmarks.evidence.calibration --replicates 60 --world context
    python -m benchmarks.evidence.calibration --replicates 200 --world scenes

The planted world is drawn at random (`planted.py`), the clustered one like it, of images that belong together; in
the world of contexts images are of several kinds, which units may follow (`context.py`). The last is the bundled
network on drawn scenes (`scenes.py`): it is run once on a population of them, of which samples are evaluated.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.evidence import context as contexts
from benchmarks.evidence import planted as planted_world
from benchmarks.evidence import scenes as scene_population

Simulations = dict[str, Callable[[], dict[str, Any]]]


def planted(n: int) -> Simulations:
    """The simulations of the planted world, n samples each."""
    world = planted_world
    return {
        "95 % intervals cover, 400 images": lambda: world.coverage(n),
        "95 % intervals cover, 100 images": lambda: world.coverage(n, images=100),
        "all units null": lambda: world.false_discoveries(n, planted=0.0),
        "half of the units planted, weakly": lambda: world.false_discoveries(n, planted=0.5),
        "a tenth of the units planted, weakly": lambda: world.false_discoveries(n, planted=0.1),
        "one of 100 units planted, strongly": lambda: world.false_discoveries(n, planted=0.01, by=2.0),
        "held-out": lambda: world.heldout(n),
    }


def clustered(n: int) -> Simulations:
    """The simulations of the planted world whose images belong together, by image and by group, n samples each."""
    world, images = planted_world, 400
    kinds = {
        "pairs": world.in_clusters(images, 2),
        "copies in pairs": world.in_clusters(images, 2, correlation=1.0),
        "clusters of 4": world.in_clusters(images, 4),
        "clusters of 10": world.in_clusters(images, 10),
        "one in ten a copy": world.with_copies(images, 0.1),
    }
    simulations: Simulations = {}
    for name, alike in kinds.items():
        for grouped in (False, True):
            by = "by group" if grouped else "by image"
            simulations[f"all units null, {name}, {by}"] = partial(
                world.false_discoveries, n, planted=0.0, images=images, alike=alike, grouped=grouped
            )
    for size in (1, 2, 5, 10):
        for grouped in (False, True) if size > 1 else (False,):
            by = "by cluster" if grouped else "by image"
            simulations[f"95 % intervals cover, clusters of {size}, folds {by}"] = partial(
                world.coverage, n, images=images, clusters_of=size, by_cluster=grouped
            )
    return simulations


def context(n: int) -> Simulations:
    """The simulations of images of several kinds, n samples each."""
    simulations: Simulations = {}
    for kinds, images in ((2, 100), (8, 100), (12, 200)):
        simulations[f"all units follow one of {kinds} kinds, {images} images"] = partial(
            contexts.null_rates, n, kinds=kinds, images=images
        )
    for images in (100, 200, 400):
        for by in (0.7, 1.0):
            simulations[f"things, raised by {by:g}, and 12 kinds, {images} images"] = partial(
                contexts.sorted_right, n, kinds=12, images=images, by=by
            )
    simulations["all units null, few images annotated for a set of categories"] = partial(contexts.small_pools, n)
    return simulations


def scenes(n: int, images: int) -> Simulations:
    """The simulations with the bundled network, n samples each of a population of images."""
    population = scene_population.record_population(images)
    return {
        "95 % intervals cover, 400 images": lambda: population.coverage(n),
        "95 % intervals cover, 100 images": lambda: population.coverage(n, images=100),
        "all units with the maps of other images": lambda: population.false_discoveries(n, real=0.0),
        "half of them": lambda: population.false_discoveries(n, real=0.5),
        "nine of ten": lambda: population.false_discoveries(n, real=0.1),
        "all but one": lambda: population.false_discoveries(n, real=0.01),
        "held-out": lambda: population.heldout(n),
    }


def main() -> None:
    """Run all simulations of a world, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--world", choices=["planted", "clustered", "context", "scenes"], default="planted")
    parser.add_argument("--only", default="", metavar="TEXT", help="Simulations whose name contains this. [all]")
    parser.add_argument("--side", type=int, default=28, help="Cells of a side of a map that is drawn. [28]")
    parser.add_argument("--population", type=int, default=3000, help="Scenes that are drawn. [3000]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    planted_world.SIDE, planted_world.COARSE = options.side, max(options.side // 4, 4)
    n = options.replicates
    match options.world:
        case "planted":
            simulations = planted(n)
        case "clustered":
            simulations = clustered(n)
        case "context":
            simulations = context(n)
        case _:
            simulations = scenes(n, options.population)
    for name, simulate in simulations.items():
        if options.only not in name:
            continue
        for what, value in simulate().items():
            print(f"{name}: {what} {value:.4f}", flush=True)


if __name__ == "__main__":
    main()
