"""What it costs to explain an image, beside a bare forward pass.

    python -m benchmarks.speed.explain --network resnet18

Processor time over the same images, one at a time, on one thread, in interleaved runs: a bare pass; every unit alone,
every concept and the first units together; the smallest set as well; and captum's activation x gradient.
"""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import numpy as np
import torch

import unitlens as ul

LAYERS = {"resnet18": "layer4", "vgg16": "features.28", "resnet50": "layer4", "bundled:scenes": "relu6"}


class Shapes:
    """Coloured blobs, so that units differ; ten colours are marked."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.colors = ul.Colors()

    @property
    def concepts(self) -> Any:
        """The colours."""
        return self.colors.concepts

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ul.Example:
        random = np.random.default_rng(index)
        cells = random.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        side = -(-self.size // 7)
        image = cells.repeat(side, 0).repeat(side, 1)[: self.size, : self.size].copy()
        return ul.Example(image, self.colors.planes(image, ""), f"{index:04}.png")


def processor_time(run: Callable[[], object]) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    run()
    return time.process_time() - start


def bare(net: ul.Network, images: torch.Tensor) -> None:
    """A pass over prepared images, one at a time."""
    with torch.inference_mode():
        for image in images:
            net.model(image[None])


@click.command()
@click.option("--network", default="resnet18", show_default=True, type=click.Choice(list(LAYERS)))
@click.option("--images", default=16, show_default=True, help="How many are explained in a run.")
@click.option("--runs", default=3, show_default=True)
def main(network: str, images: int, runs: int) -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    bundled = network.startswith("bundled")
    net = ul.load(network if bundled else f"torchvision.models:{network}", weights=None if bundled else "none")
    net.model.eval()
    data: ul.Data = ul.Scenes(64) if bundled else Shapes(64, net.preprocessing.image_size[0])
    d = ul.dissect(net, LAYERS[network], data, exemplars=0, evidence=False)
    chosen: ul.Data = ul.Scenes(images) if bundled else Shapes(images, net.preprocessing.image_size[0])
    pixels = np.stack([chosen[index].image for index in range(images)])
    prepared = net.prepare(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous())
    ways: dict[str, Callable[[], object]] = {
        "bare": partial(bare, net, prepared),
        "units, concepts, first ones": partial(ul.explain, net, d, chosen, most=0, attributions=()),
        "and the smallest set": partial(ul.explain, net, d, chosen, attributions=()),
        "and activation x gradient": partial(ul.explain, net, d, chosen),
    }
    for way in ways.values():
        way()  # once before: what is imported and traced
    times = {name: [processor_time(way) for _ in range(runs)] for name, way in ways.items()}
    first = np.array(times.pop("bare"))
    click.echo(f"{network} {LAYERS[network]}: a bare pass {first.mean() / images:.3f} s an image")
    for name, seconds in times.items():
        ratios = np.array(seconds) / first
        click.echo(f"{name}: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
