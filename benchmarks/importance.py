"""Time `ul.importance` from pictures to effects, against the bare forward pass over the same loader, 1 thread."""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

import unitlens as ul
from unitlens.holding import read
from unitlens.observation import Reading

CASES = {"resnet18": ("layer4", 1.15), "vgg16": ("features.28", 1.8), "resnet50": ("layer4.2", 1.6)}
"""Network: (layer, the largest ratio to aim for)."""


class Noise:
    """Random pictures of as many classes as outputs."""

    concepts = ()

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures
        self.classes = tuple(range(1000))

    def __len__(self) -> int:
        return self.pictures

    def __getitem__(self, index: int) -> ul.Example:
        picture = np.random.default_rng(index).integers(0, 256, (224, 224, 3), dtype=np.uint8)
        return ul.Example(picture, {}, f"picture {index}", index % 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="a part of the networks' names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (layer, goal) in CASES.items():
        if options.only in name:
            time_case(name, layer, goal, options)


def time_case(name: str, layer: str, goal: float, options: argparse.Namespace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = ul.load(f"torchvision.models:{name}", weights="none")
    net.model.eval()
    data, reading = Noise(options.pictures), Reading(options.batch)

    def bare() -> None:
        with ul.evaluating(net.model):
            for batch in read(net, data, reading):
                net.model(net.prepare(batch.pictures))

    def whole() -> None:
        ul.importance(net, layer, data, batch_size=options.batch)

    pairs = [(seconds(bare), seconds(whole)) for _ in range(options.repeat)]
    forward, swept = (min(times) for times in zip(*pairs, strict=True))
    each = 1e3 / options.pictures
    print(
        f"{name:10} {layer:12} forward {forward * each:6.1f} ms, importance {swept * each:6.1f} ms a picture, ", end=""
    )
    print(f"ratio {swept / forward:.2f} (goal {goal})", flush=True)


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
