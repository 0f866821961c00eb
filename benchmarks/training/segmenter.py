"""Training of the bundled segmenter on the labels of the drawn scenes: ``python -m benchmarks.training.segmenter``.

It learns on images of 64 to 112 pixels, so that it can label drawn scenes and those of the bundled generator. Its IoU
with every concept on held-out scenes is written beside its weights: no number that rests on its labels can be better.
The weights that come along were made in two calls, the second with ``--start`` at the weights of the first,
``--seed 1 --iterations 500``; 13 minutes of one core together. In the first, all labels had the same price.
"""

import copy
import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unitlens.data.scenes.words import CATEGORIES
from unitlens.data.scenes.world import Scenes
from unitlens.files import make_folder, write_whole
from unitlens.models.bundled.scenes_segmenter import IOU, LABELLED, WEIGHTS, ScenesSegmenter, scenes_segmenter

DRAWN_SIZE = 128
SIZES = {64: 0.75, 80: 0.1, 112: 0.15}
"""Pixels a side of the images of a batch, and how often."""
REPORTED_SIZES = (64, 112)
HELD_OUT = 600
BATCH = 24


def drawn(n: int, split: str, kept: Path | None = None) -> tuple[Tensor, Tensor]:
    """Return n scenes of 128 x 128 and their label planes, both uint8: (n, 3, 128, 128) and (n, planes, 128, 128).

    They are read from a file where one is named and there, and else drawn and kept in it.
    """
    if kept is not None and kept.is_file():
        both = torch.from_numpy(np.load(kept))
        return both[:, :3], both[:, 3:]
    data = Scenes(n, split=split, size=DRAWN_SIZE)
    images = np.empty((n, 3, DRAWN_SIZE, DRAWN_SIZE), np.uint8)
    planes = np.empty((n, len(LABELLED), DRAWN_SIZE, DRAWN_SIZE), np.uint8)
    for i in range(n):
        example = data[i]
        images[i] = example.image.transpose(2, 0, 1)
        planes[i] = [example.planes[category][0] for category in LABELLED]
    if kept is not None:
        np.save(kept, np.concatenate([images, planes], 1))
    return torch.from_numpy(images), torch.from_numpy(planes)


def reduced(images: Tensor, size: int) -> Tensor:
    """Images as floats in [0, 1], smoothly reduced."""
    floats = functional.interpolate(images.float() / 255, size=(size, size), mode="area")
    return floats.contiguous(memory_format=torch.channels_last)


def sampled(planes: Tensor, size: int) -> Tensor:
    """Labels on a smaller grid: those in the middle of each position."""
    middles = ((torch.arange(size) + 0.5) * planes.shape[-1] / size).long()
    return planes[..., middles, :][..., middles].long()


def with_norms(net: ScenesSegmenter, *, fresh: bool = True) -> ScenesSegmenter:
    """The network with a batch norm behind every convolution that a ReLU follows, for the time of the training.

    Its weights are drawn again, unless they are not ``fresh``.
    """
    net = copy.deepcopy(net).train()
    for layer in list(net.modules()):
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv2d):
            convolution = layer[0]
            if fresh:
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layer[0] = nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
    return net.to(memory_format=torch.channels_last)


def folded(net: ScenesSegmenter) -> ScenesSegmenter:
    """The same function without batch norms."""
    net = copy.deepcopy(net).eval()
    for layer in list(net.modules()):
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Sequential) and len(layer[0]) == 2:
            convolution, norm = layer[0]
            if isinstance(norm, nn.BatchNorm2d):
                layer[0] = fuse_conv_bn_eval(convolution, norm)
    return net.to(memory_format=torch.contiguous_format)


def recoloured(images: Tensor, random: torch.Generator) -> Tensor:
    """Mild changes of light and grain: what a generator draws is smoother and its colours are a little off."""
    bright, contrast = (torch.rand(2, len(images), 1, 1, 1, generator=random) - 0.5) * 0.2
    noise = torch.randn(images.shape, generator=random) * torch.rand(len(images), 1, 1, 1, generator=random) * 0.03
    return ((images - 0.5) * (1 + contrast) + 0.5 + bright + noise).clamp(0, 1)


def prices(planes: Tensor) -> list[Tensor]:
    """How much a pixel of each label counts in each category: more where the label is rare, within limits."""
    lists = []
    for i, count in enumerate(LABELLED.values()):
        pixels = torch.bincount(planes[:, i, ::4, ::4].flatten(), minlength=1 + count).float()
        lists.append((pixels.clamp_min(1) / pixels.mean()).pow(-0.35).clamp(0.4, 5))
    return lists


def trained(
    images: Tensor, planes: Tensor, *, start: Path | None, iterations: int, seed: int, rate: float = 3e-3
) -> ScenesSegmenter:
    """Train, and give the network without batch norms."""
    torch.manual_seed(seed)
    random, chance = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    net = (
        with_norms(ScenesSegmenter())
        if start is None
        else with_norms(scenes_segmenter(weights=str(start)), fresh=False)
    )
    weights = prices(planes)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=iterations, pct_start=0.1)
    started, total = time.monotonic(), 0.0
    for iteration in range(1, iterations + 1):
        size = int(chance.choice(list(SIZES), p=list(SIZES.values())))
        chosen = torch.randint(0, len(images), (BATCH,), generator=random)
        seen, labels = reduced(images[chosen], size), sampled(planes[chosen], size // 2)
        if chance.random() < 0.5:
            seen, labels = seen.flip(-1), labels.flip(-1)
        scores = net.coarse(recoloured(seen, random))
        losses = [functional.cross_entropy(s, labels[:, i], weights[i]) for i, s in enumerate(scores)]
        loss = sum(losses, torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
        if iteration % 50 == 0:
            click.echo(f"{iteration:5d} loss {total / 50:.3f} {(time.monotonic() - started) / iteration:.2f} s")
            total = 0.0
    return folded(net)


def overlaps(net: ScenesSegmenter, images: Tensor, planes: Tensor, size: int) -> Mapping[str, npt.NDArray[np.float64]]:
    """The IoU of every concept, by category, over all pixels; nan where a concept is neither marked nor found."""
    labels_of = [1 + count for count in LABELLED.values()]
    counts = [np.zeros((n, n), np.int64) for n in labels_of]
    with torch.inference_mode():
        for some, marks in zip(images.split(50), planes.split(50), strict=True):
            labels = sampled(marks, size)
            for i, scores in enumerate(net(reduced(some, size))):
                pairs = labels[:, i].flatten() * labels_of[i] + scores.argmax(1).flatten()
                counts[i] += np.bincount(pairs.numpy(), minlength=counts[i].size).reshape(counts[i].shape)
    with np.errstate(invalid="ignore"):
        ious = [np.diag(c) / (c.sum(0) + c.sum(1) - np.diag(c)) for c in counts]
    return {category: iou[1:] for category, iou in zip(LABELLED, ious, strict=True)}


def save(net: ScenesSegmenter, path: Path) -> None:
    """Write the weights as float16, whole or not at all."""
    from safetensors.torch import save as serialized

    state = {name: value.detach().half().contiguous() for name, value in net.state_dict().items()}
    make_folder(path.parent)
    write_whole(path, serialized(state))


def save_overlaps(by_size: Mapping[int, Mapping[str, npt.NDArray[np.float64]]], path: Path) -> None:
    """Write the table: category, concept, and its IoU at each size of the images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["category", "concept", *(f"iou_{size}" for size in by_size)])
    for category in LABELLED:
        for i, name in enumerate(CATEGORIES[category]):
            writer.writerow([category, name, *(f"{ious[category][i]:.4f}" for ious in by_size.values())])
    write_whole(path, text.getvalue().encode())


@click.command()
@click.option("--images", default=3600, show_default=True, help="Scenes to train on.")
@click.option("--iterations", default=900, show_default=True, help=f"Each of {BATCH} images.")
@click.option("--drawings", type=click.Path(path_type=Path), default=None, help="File that keeps them (.npy).")
@click.option("--start", type=click.Path(path_type=Path), default=None, help="Weights to go on from.")
@click.option("--seed", default=0, show_default=True, help="Of the weights and the order.")
@click.option("--threads", default=1, show_default=True, help="Threads of PyTorch.")
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True, help="For the weights.")
@click.option("--table", type=click.Path(path_type=Path), default=IOU, show_default=True, help="For the IoU.")
def main(
    images: int,
    iterations: int,
    drawings: Path | None,
    start: Path | None,
    seed: int,
    threads: int,
    out: Path,
    table: Path,
) -> None:
    """Train the segmenter of the drawn scenes, and write its weights and its IoU on held-out scenes."""
    torch.set_num_threads(threads)
    click.echo(f"Drawing {images} scenes to train on and {HELD_OUT} to measure on ...")
    net = trained(*drawn(images, "train", drawings), start=start, iterations=iterations, seed=seed)
    save(net, out)
    # what is measured is what was written
    net.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
    held_out = drawn(HELD_OUT, "test")
    by_size = {size: overlaps(net, *held_out, size) for size in REPORTED_SIZES}
    save_overlaps(by_size, table)
    for size, ious in by_size.items():
        means = ", ".join(f"{category} {np.nanmean(values):.1%}" for category, values in ious.items())
        click.echo(f"{size} pixels: mean IoU {means}")


if __name__ == "__main__":
    main()
