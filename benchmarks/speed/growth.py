"""How the cost of a dissection grows with images, units, concepts, layers, folds and draws, and what the model says.

python -m benchmarks.speed.growth [--figure docs/images/growth.png] [--points N]
python -m benchmarks.speed.growth --memory 5000 20000 100000 [--figure docs/images/memory.png]

Each is changed by itself, by a factor of 24 to 32, on small images and a small network, on one thread. An image belongs
to one of 32 folds, always; here images are made that fill as many of them as are asked for. The model is that of
`unitlens.plan`, which measures 32 images.
"""

import argparse
import itertools
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import unitlens as ul
from unitlens.data.preparing import image_hash
from unitlens.dissection.memory import peak_memory
from unitlens.stats.folds import FOLDS

SIDE, CELLS = 32, 8

REPEATS = 3

BASE: Mapping[str, int] = {"images": 128, "units": 32, "concepts": 24, "layers": 1, "folds": FOLDS, "draws": 20}

VALUES: Mapping[str, Sequence[int]] = {
    "images": (64, 256, 1024, 2048),
    "units": (16, 64, 256, 512),
    "concepts": (12, 48, 192, 384),
    "layers": (1, 4, 12, 24),
    "folds": (1, 4, 12, 32),
    "draws": (0, 8, 20, 50, 200),
}


class Point(NamedTuple):
    """One dissection: seconds as measured, and as planned."""

    value: int
    measured: float
    planned: float


def _noise(random: np.random.Generator) -> npt.NDArray[np.uint8]:
    return random.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)


class Marked:
    """Images of noise in memory, in so many folds, of which each cell of a grid has one of several concepts."""

    def __init__(self, images: int, concepts: int, folds: int = FOLDS) -> None:
        every = range(images)  # any seeds fill all folds, and take no memory
        self.images, self.seeds = images, every if folds == FOLDS else list(self._seeds(images, folds))
        self.concepts = [ul.Concept("object", 256 + label, f"thing {label}") for label in range(concepts)]

    @staticmethod
    def _seeds(images: int, folds: int) -> Iterator[int]:
        """Seeds of images whose folds are among the first ones."""
        drawn = ((seed, ul.Example(_noise(np.random.default_rng(seed)), {}, "")) for seed in itertools.count())
        return itertools.islice((seed for seed, image in drawn if image_hash(image) % FOLDS < folds), images)

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> ul.Example:
        random = np.random.default_rng(self.seeds[index])
        image = _noise(random)
        cells = 256 + random.integers(0, len(self.concepts), (CELLS // 2, CELLS // 2))
        plane = cells.repeat(SIDE * 2 // CELLS, 0).repeat(SIDE * 2 // CELLS, 1)
        return ul.Example(image, {"object": [plane]}, f"{index}.png")


def network(units: int, layers: int) -> ul.Network:
    """A chain of convolutions with so many units each."""
    torch.manual_seed(0)
    steps: list[nn.Module] = [nn.Conv2d(3, units, 4, stride=4)]
    steps += [nn.Conv2d(units, units, 1) for _ in range(layers - 1)]
    return ul.classifier(nn.Sequential(*steps).eval(), image_size=SIDE, mean=(0.5,) * 3, std=(0.2,) * 3)


def measure(factor: str, value: int) -> Point:
    """Dissect, and plan the same beforehand, a few times, of which the shortest counts."""
    chosen = {**BASE, factor: value}
    net, data = (
        network(chosen["units"], chosen["layers"]),
        Marked(chosen["images"], chosen["concepts"], chosen["folds"]),
    )
    names = [str(layer) for layer in range(chosen["layers"])]
    options = {"exemplars": 0, "grid": CELLS, "quantile": 0.01, "evidence": chosen["draws"] > 0}
    if chosen["draws"]:
        options["fdr"] = 1 / chosen["draws"]
    planned, measured = list[float](), list[float]()
    for _ in range(REPEATS):
        planned.append(ul.plan(net, names, data, **options).seconds)
        start = time.perf_counter()
        ul.dissect(net, names, data, **options)
        measured.append(time.perf_counter() - start)
    return Point(value, min(measured), min(planned))


def further_memory(images: int) -> int:
    """Bytes of a process that dissects so many images with evidence, at most, beyond those of one that does 32."""
    measure("images", 32)
    before = peak_memory() or 0
    net, data = network(8, 1), Marked(images, 12)
    ul.dissect(net, "0", data, exemplars=1, grid=CELLS, quantile=0.01)
    return (peak_memory() or 0) - before


def memory_of(numbers: Sequence[int]) -> Iterator[int]:
    """Further memory for each number of images, each of a process of its own; print a line for each."""
    for images in numbers:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            start = time.perf_counter()
            more = process.submit(further_memory, images).result()
        seconds = time.perf_counter() - start
        sys.stdout.write(f"{images:,} images: {more / 1e6:,.0f} MB more than 32 images take ({seconds:.0f} s)\n")
        sys.stdout.flush()
        yield more


def draw_memory(numbers: Sequence[int], further: Sequence[int], path: Path) -> None:
    """A line of memory by images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(numbers, [more / 1e6 for more in further], "o-", color="#1b6ca8")
    axes.set(xlim=(0, None), ylim=(0, 40), xlabel="images", ylabel="MB beyond 32 images")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw(found: Mapping[str, Sequence[Point]], path: Path) -> None:
    """A panel for each factor, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(15, 2.9), layout="constrained")
    for axes, (factor, points) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        values = [max(point.value, 1) for point in points]
        axes.loglog(values, [point.measured for point in points], "o", color="#1b6ca8", label="measured")
        axes.loglog(values, [point.planned for point in points], "-", color="#d1495b", label="planned")
        axes.set_xlabel({"draws": "draws (first: none)", "folds": "folds with images"}.get(factor, factor))
        axes.xaxis.set_minor_formatter(NullFormatter())  # they would overlap
    figure.axes[0].set_ylabel("seconds")
    figure.axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each point, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="where the figure is written")
    parser.add_argument("--points", type=int, default=9, help="so many values of each factor at most")
    parser.add_argument("--memory", type=int, nargs="+", metavar="IMAGES", help="print the memory of these instead")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ul.UnitlensWarning)
    if asked.memory:
        further = list(memory_of(asked.memory))
        if asked.figure is not None:
            draw_memory(asked.memory, further, asked.figure)
        return
    measure("images", 32)  # imports what is needed
    found: dict[str, list[Point]] = {}
    for factor, values in VALUES.items():
        for value in values[: asked.points]:
            point = measure(factor, value)
            found.setdefault(factor, []).append(point)
            ratio = point.planned / point.measured
            sys.stdout.write(
                f"{factor} {value}: {point.measured:.2f} s, planned {point.planned:.2f} s ({ratio:.2f} of it)\n"
            )
            sys.stdout.flush()
    if asked.figure is not None:
        draw(found, asked.figure)


if __name__ == "__main__":
    main()
