"""What a dissection costs on a GPU: images a second, its pass over that of the network alone, and what bounds it.

    python -m benchmarks.speed.gpu
    python -m benchmarks.speed.gpu --network vgg16 --batch-size 128 --workers 8
    python -m benchmarks.speed.gpu --device cpu --network resnet18 --images 64 --batch-size 16 --runs 1

Images are JPEG files of 224 pixels with 90 concepts in 3 label planes, drawn here, and decoded by workers; the label
grid is 56 x 56. In each run all are timed in turn; medians are printed. "alone" is the network on a batch that is on
the device already, "bare" the same over all images from the same loader, "pass" that of a dissection, "whole" one
with evidence and report. Then a pass is profiled: how much of its time the device is at work, how often it is waited
for, and what takes longest there. Weights are random, which costs the same.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

import unitlens as ul
from benchmarks.speed.dissect import GRID, LAYERS, draw_folder
from unitlens.data.batches import Batches
from unitlens.data.reading import Reading
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.transfers import is_ahead

WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
"""Calls in which the process waits for the device; the last one is for what came of the batch before."""

ALONE = 5
"""Batches by which the network alone is timed."""


class Measured(NamedTuple):
    """Images a second of one run."""

    alone: float
    bare: float
    passes: float
    whole: float


def timed(device: torch.device, run: Callable[[], Any]) -> float:
    """Seconds that something takes, until the device is through with it."""
    start = time.perf_counter()
    run()
    if is_ahead(device):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def alone(net: Network, size: int) -> None:
    """Show the network one batch several times."""
    inputs = net.example_inputs(size)
    with evaluating(net.model):
        for _ in range(ALONE):
            net.model(inputs)


def bare(net: Network, data: ul.Data, reading: Reading) -> None:
    """Show the network all images."""
    with evaluating(net.model):
        for batch in Batches(data, net.preprocessing, reading, grid=GRID):
            net.model(net.prepare(batch.images))


def measure(net: Network, data: ul.Data, layer: str, reading: Reading) -> Measured:
    """Time all kinds in turn."""
    size, images = min(reading.batch_size, len(data)), len(data)
    how: dict[str, Any] = {"grid": GRID, "batch_size": reading.batch_size, "workers": reading.workers}
    found: list[ul.Dissection] = []

    def whole() -> None:
        found.append(ul.dissect(net, layer, data, **how))
        with tempfile.TemporaryDirectory() as folder:
            ul.report(Path(folder) / "run", found[0])

    seconds = {
        "alone": timed(net.device, lambda: alone(net, size)) * images / (ALONE * size),
        "bare": timed(net.device, lambda: bare(net, data, reading)),
        "whole": timed(net.device, whole),
    }
    return Measured(
        images / seconds["alone"],
        images / seconds["bare"],
        images / found[0].info["timings"]["forward_seconds"],
        images / seconds["whole"],
    )


def profile_pass(net: Network, data: ul.Data, layer: str, reading: Reading) -> None:
    """Print what a pass does on the device, and how often the device is waited for."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_ahead(net.device) else [])]
    with profile(activities=kinds) as profiled:
        made = ul.dissect(
            net,
            layer,
            data,
            grid=GRID,
            batch_size=reading.batch_size,
            workers=reading.workers,
            evidence=False,
            exemplars=0,
        )
    every, seconds = profiled.key_averages(), made.info["timings"]["forward_seconds"]
    batches = -(-len(data) // reading.batch_size)
    if is_ahead(net.device):
        busy = sum(one.self_device_time_total for one in every) / 1e6
        waits = {one.key: one.count for one in every if one.key in WAITING}
        print(f"  profiled: the device is at work in {busy:.2f} of {seconds:.2f} s; in {batches} batches {waits}")
    order = "self_device_time_total" if is_ahead(net.device) else "self_cpu_time_total"
    print(every.table(sort_by=order, row_limit=12, max_name_column_width=50))


def bound(rates: Measured) -> str:
    """Say what bounds the pass."""
    if rates.bare < 0.9 * rates.alone:
        return "decoding: the network alone is faster than images come, so that more --workers help"
    if rates.passes < 0.9 * rates.bare:
        return "what is made of the activations: reducing them, bringing them here, writing the store"
    return "the network itself"


def main() -> None:
    """Measure, and print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(LAYERS), action="append", help="Repeatable. [resnet50 and vgg16]")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)) - 1, help="[cores minus one]")
    options = parser.parse_args()
    os.environ["UNITLENS_IMAGES"] = "none"  # decoding is a part of what is measured
    reading = Reading(batch_size=options.batch_size, workers=options.workers)
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(options.network or ("resnet50", "vgg16")):
            try:
                net = ul.load(name, weights="none", device=options.device)
            except ul.UnitlensError as error:
                sys.exit(f"{error} Small numbers can be had with --device cpu.")
            if not number:
                draw_folder(Path(folder) / "data", options.images)
            data, layer = ul.annotated(Path(folder) / "data"), LAYERS[name]
            alone(net, min(options.batch_size, options.images))  # libraries choose their kernels
            runs = [measure(net, data, layer, reading) for _ in range(options.runs)]
            rates = Measured(*map(statistics.median, zip(*runs, strict=True)))
            pass_ratio = statistics.median(run.bare / run.passes for run in runs)
            whole_ratio = statistics.median(run.bare / run.whole for run in runs)
            print(
                f"{name} {layer}, {options.images} images, batch {options.batch_size}, {options.workers} workers, "
                f"{net.device}: images a second alone {rates.alone:.0f}, bare {rates.bare:.0f}, "
                f"pass {rates.passes:.0f}, whole {rates.whole:.0f}; "
                f"seconds over the bare pass: pass {pass_ratio:.3f}, whole {whole_ratio:.3f}; "
                f"bound by {bound(rates)}",
                flush=True,
            )
            profile_pass(net, data, layer, reading)


if __name__ == "__main__":
    main()
