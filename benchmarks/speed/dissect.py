"""What a dissection costs: its time over that of a bare forward pass over the same loader, in one run.

    python -m benchmarks.speed.dissect --network resnet18 --images 1000 --runs 5
    python -m benchmarks.speed.dissect --network resnet50 --only fast
    python -m benchmarks.speed.dissect --only early

Images are JPEG files of 224 pixels with 90 concepts in 3 label planes, drawn here; the label grid is 56 x 56. In
each run all are timed in turn, on one thread; the median of the ratios is taken. Weights are random, which costs the
same. The bare pass is timed in a process of its own: in this one, memory that dissections left makes it faster. "fast"
and "bfloat16" are whole dissections with evidence and report, "early" one of an early layer.
`--clock cpu` counts processor time instead of seconds, for a machine that has other work to do.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import unitlens as ul
from unitlens.data.batches import Batches
from unitlens.data.reading import Reading
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network

LAYERS = {"resnet18": "layer4", "vgg16": "features.28", "resnet50": "layer4"}
EARLY = {"resnet18": "layer2", "vgg16": "features.14", "resnet50": "layer2"}
KINDS: dict[str, dict[str, Any]] = {
    "statistics": {"evidence": False, "report": False},
    "evidence": {"evidence": True, "report": False},
    "report": {"evidence": False, "report": True},
    "whole": {"evidence": True, "report": True},
    "fast": {"evidence": True, "report": True, "fast": True},
    "bfloat16": {"evidence": True, "report": True, "fast": "bfloat16"},
    "early": {"evidence": True, "report": True},
}
CATEGORIES = ("object", "part", "material")
GRID = (56, 56)

Clock = Callable[[], float]


def draw_folder(folder: Path, images: int, *, concepts: int = 30, regions: int | None = None) -> None:
    """An annotated folder of smooth random images, so many concepts in each of three categories.

    Labels are 36 patches in each plane, which is more than people mark; with ``regions``, so many rectangles.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = [f"{category},{label},{category} {label}" for category in CATEGORIES for label in range(1, concepts + 1)]
    (folder / "concepts.csv").write_text("category,label,name\n" + "\n".join(rows) + "\n")
    for number in range(images):
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((224, 224), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (image + rng.integers(-12, 13, image.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "images" / f"{number:05}.jpg", quality=90)
        for category in CATEGORIES:
            path = folder / "labels" / category / f"{number:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if regions is None:
                labels = rng.integers(0, concepts + 1, (6, 6), dtype=np.uint8).repeat(38, 0).repeat(38, 1)[:224, :224]
            else:
                labels = _rectangles(rng, concepts, regions)
            Image.fromarray(labels).save(path)


def _rectangles(rng: np.random.Generator, concepts: int, regions: int) -> npt.NDArray[np.uint8]:
    """A label plane with rectangles, of which later ones hide earlier ones."""
    labels = np.zeros((224, 224), np.uint8)
    for _ in range(regions):
        (top, left), (height, width) = rng.integers(0, 180, 2), rng.integers(20, 120, 2)
        labels[top : top + height, left : left + width] = rng.integers(1, concepts + 1)
    return labels


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def bare(net: Network, data: ul.Data, batch_size: int, clock: Clock) -> float:
    """Seconds of the forward pass alone, over the same loader."""
    start = clock()
    loader = Batches(data, net.preprocessing, Reading(batch_size=batch_size), grid=GRID)
    net.model.eval()  # as one does without unitlens
    with torch.inference_mode():
        for batch in loader:
            net.model(net.prepare(batch.images))
    return clock() - start


def bare_alone(network: str, folder: Path, batch_size: int, clock: str) -> float:
    """Seconds of the forward pass alone, in a process that has done nothing else but a first pass."""
    with multiprocessing.get_context("spawn").Pool(1) as alone:
        return alone.apply(_second_pass, (network, folder, batch_size, clock))


def _second_pass(network: str, folder: Path, batch_size: int, clock: str) -> float:
    torch.set_num_threads(1)
    net, data = ul.load(network, weights="none"), ul.annotated(folder)
    bare(net, data, batch_size, CLOCKS[clock])
    return bare(net, data, batch_size, CLOCKS[clock])


def ours(
    net: Network,
    data: ul.Data,
    layer: str,
    batch_size: int,
    clock: Clock,
    *,
    evidence: bool,
    report: bool,
    fast: bool | Fast = False,
    basis: ul.Dictionary | None = None,
) -> float:
    """Seconds of a dissection."""
    start = clock()
    result = ul.dissect(
        net,
        layer,
        data,
        grid=GRID,
        batch_size=batch_size,
        evidence=evidence,
        exemplars=8 if report else 0,
        fast=fast,
        basis=basis,
    )
    if report:
        with tempfile.TemporaryDirectory() as folder:
            ul.report(Path(folder) / "run", result)
    return clock() - start


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18", choices=sorted(LAYERS))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--only", choices=sorted(KINDS), action="append", help="Leave out the others; repeatable.")
    parser.add_argument("--clock", default="wall", choices=sorted(CLOCKS))
    options = parser.parse_args()
    clock = CLOCKS[options.clock]
    torch.set_num_threads(1)
    net, layer = ul.load(options.network, weights="none"), LAYERS[options.network]
    kinds = {name: kind for name, kind in KINDS.items() if name in (options.only or KINDS)}
    layers = {name: EARLY[options.network] if name == "early" else layer for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        draw_folder(Path(folder) / "data", options.images)
        data = ul.annotated(Path(folder) / "data")
        ratios: dict[str, list[float]] = {name: [] for name in kinds}
        for run in range(options.runs):
            reference = bare_alone(options.network, Path(folder) / "data", options.batch_size, options.clock)
            for name, kind in kinds.items():
                taken = ours(net, data, layers[name], options.batch_size, clock, **kind)
                ratios[name].append(taken / reference)
                print(f"run {run + 1} {name}: {taken:.1f} s / {reference:.1f} s = {taken / reference:.3f}", flush=True)
    for name, values in ratios.items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        median = statistics.median(values)
        print(f"{options.network} {layers[name]}, {options.images} images, {name}: {median:.3f} ({spread})")


if __name__ == "__main__":
    main()
