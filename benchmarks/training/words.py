"""Training of the bundled encoder of images and words: ``python -m benchmarks.training.words``.

It sees drawn scenes, windows of them and remnants of them, each with short captions by the drawing code
(`unitlens.data.scenes.captions`) on what is in it. Nobody tells it where: a caption belongs to an image or not. The
price is the sigmoid loss of Zhai et al., "Sigmoid loss for language image pre-training", ICCV 2023, over all pairs of
the images and captions of a batch; a caption that is true of several images belongs to each of them.

The weights that come along were made with the defaults and ``--bfloat16``, on one thread.
"""

import copy
import csv
import io
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.training.scenes import save
from unitlens.data.scenes.captions import captions
from unitlens.data.scenes.world import Scenes
from unitlens.files import write_whole
from unitlens.models.bundled.scenes_words import IMAGE_SIZE, VOCABULARY, WEIGHTS, ScenesWords, words_in

DRAWN_SIZE = 192
BATCH = 128
CAPTIONS = 12
"""Captions of each image of a batch, of one to three phrases."""
LENGTHS = (0.6, 0.25, 0.15)
HELD_OUT = 1200
"""Images of the other split that every epoch is tried on."""
RARE = 8
"""A phrase of fewer images teaches nothing."""


class Captioned(NamedTuple):
    """Images and what is true of them.

    Attributes
    ----------
    images : Tensor of uint8, (N, 3, 96, 96)
    phrases : tuple of str
    true : array of bool, images x phrases
    """

    images: Tensor
    phrases: tuple[str, ...]
    true: npt.NDArray[np.bool_]


def window(random: np.random.Generator) -> tuple[slice, slice]:
    """A square of a scene, a quarter to all of its side."""
    side = int(random.integers(DRAWN_SIZE // 4, DRAWN_SIZE + 1))
    top, left = random.integers(0, DRAWN_SIZE - side + 1, 2)
    return slice(top, top + side), slice(left, left + side)


def blob(random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A round patch of irregular outline, as a unit's mask is."""
    rows, columns = np.mgrid[:DRAWN_SIZE, :DRAWN_SIZE] / DRAWN_SIZE
    y, x = random.uniform(0.2, 0.8, 2)
    angle, far = np.arctan2(rows - y, columns - x), np.hypot(rows - y, columns - x)
    waves = sum(random.normal(0, 0.15) * np.cos(k * angle + random.uniform(0, 6.3)) for k in (1, 2, 3))
    return np.asarray(far < random.uniform(0.12, 0.45) * (1 + waves))


def drawn(n: int, split: str, *, parts: bool) -> tuple[Tensor, list[tuple[str, ...]]]:
    """Scenes with captions; with ``parts`` a window of each, and another window of which a patch is left, beside it."""
    data, random = Scenes(n, split=split, size=DRAWN_SIZE), np.random.default_rng(n)
    whole = slice(None), slice(None)
    images, said = [], []
    for index in range(n):
        example = data[index]
        views = [(whole, None)]
        if parts:
            views += [(window(random), np.ones((DRAWN_SIZE, DRAWN_SIZE), bool)), (window(random), blob(random))]
        for where, patch in views:
            image = example.image[where].copy()
            seen = None
            if patch is not None:
                seen = np.zeros((DRAWN_SIZE, DRAWN_SIZE), bool)
                seen[where] = np.asarray(
                    functional.interpolate(torch.from_numpy(patch)[None, None].float(), size=image.shape[:2])[0, 0] > 0
                )
                if not seen.any():
                    continue
                image[~seen[where]] = 128
            images.append(reduced(image))
            said.append(captions(example, visible=seen))
    return torch.stack(images), said


def reduced(image: npt.NDArray[np.uint8]) -> Tensor:
    """One image as the encoder takes it, in bytes."""
    floats = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    size = (IMAGE_SIZE, IMAGE_SIZE)
    small = functional.interpolate(floats, size=size, mode="bilinear", align_corners=False, antialias=True)
    return small[0].round().clamp(0, 255).byte()


def captioned(images: Tensor, said: Sequence[Sequence[str]], phrases: Sequence[str]) -> Captioned:
    """Images and which of the phrases are said of them."""
    index = {phrase: k for k, phrase in enumerate(phrases)}
    true = np.zeros((len(said), len(phrases)), bool)
    for row, some in zip(true, said, strict=True):
        row[[index[phrase] for phrase in some if phrase in index]] = True
    return Captioned(images, tuple(phrases), true)


def with_norms(net: ScenesWords) -> ScenesWords:
    """The network with a batch norm behind every convolution, for the time of the training."""
    net = copy.deepcopy(net)
    for k, module in enumerate(net.units):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            net.units[k] = nn.Sequential(module, nn.BatchNorm2d(module.out_channels))
    return net.to(memory_format=torch.channels_last)


def folded(net: ScenesWords) -> ScenesWords:
    """The same function without batch norms."""
    net = copy.deepcopy(net).eval()
    for k, module in enumerate(net.units):
        if isinstance(module, nn.Sequential):
            net.units[k] = fuse_conv_bn_eval(*module)
    return net.to(memory_format=torch.contiguous_format)


def sampled(
    true: npt.NDArray[np.bool_], price: npt.NDArray[np.float64], random: np.random.Generator
) -> tuple[list[npt.NDArray[np.int64]], Tensor]:
    """Captions of some images, as numbers of phrases, and which caption is true of which image.

    Parameters
    ----------
    true : array of bool, images x phrases
    price : array of float, (phrases,)
        How likely a phrase is taken where it is true.
    """
    chosen = []
    for row in true:
        there = np.flatnonzero(row)
        share = price[there] / price[there].sum()
        for length in random.choice(3, CAPTIONS, p=LENGTHS) + 1:
            chosen.append(random.choice(there, min(length, len(there)), replace=False, p=share))
    missing = np.stack([(~true[:, some]).sum(1) for some in chosen], axis=1)
    return chosen, torch.from_numpy(missing == 0)


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images, and change their light a little."""
    flip = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    bright, contrast = (torch.rand(2, len(images), 1, 1, 1, generator=generator) - 0.5) * 0.1
    changed = (torch.where(flip, images.flip(-1), images) - 0.5) * (1 + contrast) + 0.5 + bright
    return changed.clamp(0, 1).contiguous(memory_format=torch.channels_last)


def trained(
    data: Captioned, vocabulary: Sequence[str], *, epochs: float, seed: int, rate: float, bfloat16: bool
) -> Iterator[ScenesWords]:
    """Train, and give the network (folded) every tenth of the way."""
    torch.manual_seed(seed)
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    net = with_norms(ScenesWords(len(vocabulary)))
    number = {word: k for k, word in enumerate(vocabulary)}
    bags = [[number[word] for word in words_in(phrase)] for phrase in data.phrases]
    price = data.true.sum(0).clip(1).astype(float) ** -0.5
    steepness, bias = nn.Parameter(torch.tensor(2.3)), nn.Parameter(torch.tensor(-6.0))
    decayed = [{"params": list(net.parameters())}, {"params": [steepness, bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(decayed, lr=rate, weight_decay=0.02)
    steps = int(epochs * len(data.images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for step in range(1, steps + 1):
        net.train()
        some = random.integers(0, len(data.images), BATCH)
        said, true = sampled(data.true[some], price, random)
        texts = net.encode_bags([[word for phrase in phrases for word in bags[phrase]] for phrases in said])
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            seen = net.encode_images(recoloured(data.images[some].float() / 255, generator))
        logits = steepness.exp() * seen.float() @ texts.T + bias
        loss = functional.binary_cross_entropy_with_logits(logits, true.float(), reduction="sum") / BATCH
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 10) == 0 or step == steps:
            click.echo(
                f"step {step} of {steps}: loss {float(loss.detach()):.1f}, scale {float(steepness.detach().exp()):.1f}"
            )
            yield folded(net)


class Retrieval(NamedTuple):
    """How well images are found.

    Attributes
    ----------
    words : dict of str to (int, float)
        Of each word, images that it is said of and the average precision with which they are found; of those that are
        said of any and not of all.
    captions : float
        Share of whole captions whose own image is among the ten nearest.
    """

    words: dict[str, tuple[int, float]]
    captions: float


def retrieval(net: ScenesWords, images: Tensor, said: Sequence[Sequence[str]], vocabulary: Sequence[str]) -> Retrieval:
    """Find held-out images by each word, and by captions of six phrases."""
    number = {word: k for k, word in enumerate(vocabulary)}
    with torch.inference_mode():
        seen = torch.cat([net.encode_images(part.float() / 255) for part in images.split(128)])
        close = net.encode_bags([[k] for k in range(len(vocabulary))]) @ seen.T
        of_word = [{word for phrase in phrases for word in words_in(phrase)} for phrases in said]
        words = {}
        for k, word in enumerate(vocabulary):
            true = torch.tensor([word in some for some in of_word])
            if 0 < int(true.sum()) < len(true):
                words[word] = int(true.sum()), average_precision(close[k], true)
        random = np.random.default_rng(0)
        six = [random.choice(phrases, min(6, len(phrases)), replace=False).tolist() for phrases in said]
        bags = [[number[w] for phrase in some for w in words_in(phrase) if w in number] for some in six]
        nearest = (net.encode_bags(bags) @ seen.T).topk(10).indices
    own = (nearest == torch.arange(len(images))[:, None]).any(1)
    return Retrieval(words, float(own.float().mean()))


def average_precision(scores: Tensor, true: Tensor) -> float:
    """Mean over the true ones of the precision down to them, in order of the scores."""
    ordered = true[scores.argsort(descending=True)].float()
    return float((ordered.cumsum(0) / torch.arange(1, len(ordered) + 1))[ordered > 0].mean())


def written(found: Retrieval, vocabulary: Sequence[str], path: Path) -> None:
    """Write the vocabulary, and how well each word finds its images."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["word", "images", "average_precision"])
    for word in vocabulary:
        images, precision = found.words.get(word, ("", None))
        writer.writerow([word, images, "" if precision is None else f"{precision:.3f}"])
    write_whole(path, content.getvalue().encode())


@click.command()
@click.option("--images", default=8000, show_default=True, help="Scenes to train on; each is seen in three views.")
@click.option("--epochs", default=8.0, show_default=True, help="How often each view is seen.")
@click.option("--seed", default=0, show_default=True, help="Of the weights and the order.")
@click.option("--rate", default=3e-3, show_default=True, help="The learning rate.")
@click.option("--bfloat16", is_flag=True, help="Half the precision; twice as fast where the processor knows it.")
@click.option("--threads", default=1, show_default=True, help="Threads of PyTorch.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True, help="File for the weights."
)
@click.option(
    "--words", type=click.Path(path_type=Path), default=VOCABULARY, show_default=True, help="File for the vocabulary."
)
def main(
    images: int, epochs: float, seed: int, rate: float, bfloat16: bool, threads: int, out: Path, words: Path
) -> None:
    """Train the encoder of drawn scenes and words, and write its weights and vocabulary."""
    torch.set_num_threads(threads)
    began = time.monotonic()
    seen, said = drawn(images, "train", parts=True)
    counts = Counter(phrase for some in said for phrase in some)
    phrases = sorted(phrase for phrase, count in counts.items() if count >= RARE)
    vocabulary = sorted({word for phrase in phrases for word in words_in(phrase)})
    click.echo(
        f"{len(seen)} images, {len(phrases)} phrases of {len(vocabulary)} words; {time.monotonic() - began:.0f} s."
    )
    data, (test, test_said) = captioned(seen, said, phrases), drawn(HELD_OUT, "test", parts=False)
    for net in trained(data, vocabulary, epochs=epochs, seed=seed, rate=rate, bfloat16=bfloat16):
        found = retrieval(net, test, test_said, vocabulary)
        mean = np.mean([precision for _, precision in found.words.values()])
        often = np.mean([count for count, _ in found.words.values()]) / len(test)
        click.echo(
            f"{time.monotonic() - began:.0f} s: average precision of {len(found.words)} words {mean:.3f} "
            f"(chance {often:.3f}), {found.captions:.1%} of captions have their image among the ten nearest of "
            f"{len(test)}"
        )
        save(net, out, half=True)
        written(found, vocabulary, words)
    click.echo(f"The weights are in {out}.")


if __name__ == "__main__":
    main()
