"""Time `ul.importance` from images to effects, against the bare forward pass over the same loader, 1 thread.

Every unit of the layer alone, every class. The two are timed in turn, and the ratio is that of each pair: the median,
and the range. The 8 passes of single images that check the replay count too, and weigh more where images are few.
`--clock cpu` counts processor time instead of seconds, for a machine that has other work to do.

With `--draws 20 199` a set of 4 units is ablated instead, beside so many random and so many matched sets; the pass that
measures what sets are matched in is a part of it.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

import unitlens as ul
from unitlens.data.batches import Batches
from unitlens.data.reading import Reading

DRAWS = {"resnet18": ("layer4", "layer3")}
"""Network: layers of which a set is ablated, beside drawn ones."""

CASES = {"resnet18": ("layer4", 1.15), "vgg16": ("features.28", 1.8), "resnet50": ("layer4.2", 1.6)}
"""Network: (layer, the largest ratio to aim for)."""


class Noise:
    """Random images of as many classes as outputs."""

    concepts = ()

    def __init__(self, images: int) -> None:
        self.images = images
        self.classes = tuple(range(1000))

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> ul.Example:
        image = np.random.default_rng(index).integers(0, 256, (224, 224, 3), dtype=np.uint8)
        return ul.Example(image, {}, f"image {index}", index % 1000)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--clock", default="wall", choices=sorted(CLOCKS))
    parser.add_argument("--only", default="", choices=["", *CASES])
    parser.add_argument("--draws", type=int, nargs="+", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.draws:
        for name, layers in DRAWS.items():
            for layer in layers if options.only in ("", name) else ():
                time_draws(name, layer, options)
        return
    for name, (layer, goal) in CASES.items():
        if options.only in ("", name):
            time_case(name, layer, goal, options)


def opened(name: str) -> ul.Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = ul.load(f"torchvision.models:{name}", weights="none")
    net.model.eval()
    return net


def bare(net: ul.Network, data: Noise, reading: Reading) -> None:
    with ul.evaluating(net.model):
        for batch in Batches(data, net.preprocessing, reading):
            net.model(net.prepare(batch.images))


def time_case(name: str, layer: str, goal: float, options: argparse.Namespace) -> None:
    net, data, clock = opened(name), Noise(options.images), CLOCKS[options.clock]
    reading = Reading(batch_size=options.batch)

    def whole() -> None:
        found = ul.importance(net, layer, data, batch_size=options.batch)
        assert found.info["replay"]["replays"], found.info["replay"]["reason"]

    pairs = [(taken(lambda: bare(net, data, reading), clock), taken(whole, clock)) for _ in range(options.repeat)]
    forward, swept = (1e3 * float(np.median(times)) / options.images for times in zip(*pairs, strict=True))
    ratios = [own / reference for reference, own in pairs]
    print(f"{name:10} {layer:12} forward {forward:6.1f} ms, importance {swept:6.1f} ms an image, ", end="")
    print(f"ratio {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), goal {goal}", flush=True)


def time_draws(name: str, layer: str, options: argparse.Namespace) -> None:
    net, data, clock = opened(name), Noise(options.images), CLOCKS[options.clock]
    reading = Reading(batch_size=options.batch)
    for draws in options.draws:
        ratios = []
        for _ in range(options.repeat):
            forward = taken(lambda: bare(net, data, reading), clock)
            whole = taken(lambda: ul.ablate(net, layer, range(4), data, draws=draws, batch_size=options.batch), clock)  # noqa: B023
            ratios.append(whole / forward)
        print(f"{name:10} {layer:12} {draws:4} draws: ratio {np.median(ratios):.2f}", end=" ")
        print(f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def taken(run: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


if __name__ == "__main__":
    main()
