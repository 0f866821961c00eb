"""Is the evidence calibrated? Simulations in worlds whose truth is known.

    python benchmarks/evidence.py --replicates 200
    python benchmarks/evidence.py --replicates 200 --world scenes

The planted world is drawn at random (`evidence_planted`). The other is the bundled network on drawn scenes
(`evidence_scenes`): it is run once on a population of them, of which samples are evaluated.
"""

import argparse
from collections.abc import Callable
from typing import Any

import evidence_planted
import evidence_scenes
import torch

Simulations = dict[str, Callable[[], dict[str, Any]]]


def planted(n: int) -> Simulations:
    """The simulations of the planted world, n samples each."""
    world = evidence_planted
    return {
        "95 % intervals cover, 400 images": lambda: world.coverage(n),
        "95 % intervals cover, 100 images": lambda: world.coverage(n, images=100),
        "all units null": lambda: world.false_discoveries(n, planted=0.0),
        "half of the units planted, weakly": lambda: world.false_discoveries(n, planted=0.5),
        "a tenth of the units planted, weakly": lambda: world.false_discoveries(n, planted=0.1),
        "one of 100 units planted, strongly": lambda: world.false_discoveries(n, planted=0.01, by=2.0),
        "held-out": lambda: world.heldout(n),
    }


def scenes(n: int, images: int) -> Simulations:
    """The simulations with the bundled network, n samples each of a population of images."""
    population = evidence_scenes.record_population(images)
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
    parser.add_argument("--world", choices=["planted", "scenes"], default="planted")
    parser.add_argument("--population", type=int, default=3000, help="Scenes that are drawn. [3000]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    n = options.replicates
    simulations = planted(n) if options.world == "planted" else scenes(n, options.population)
    for name, simulate in simulations.items():
        for what, value in simulate().items():
            print(f"{name}: {what} {value:.4f}", flush=True)


if __name__ == "__main__":
    main()
