"""Training of the bundled classifier, on the classes of the scenes alone: ``python -m benchmarks.training.scenes``.

The network never sees a concept: what its units know of tents and water they found by themselves. The weights that
come along were made with the defaults and ``--bfloat16``, in a quarter of an hour on one thread; 96.7 % of the 1,200
held-out scenes are right.
"""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unitlens.data.scenes.shortcut import ShortcutScenes
from unitlens.data.scenes.world import Scenes
from unitlens.files import make_folder, write_whole
from unitlens.models.bundled.scenes import CLASSES, IMAGE_SIZE, MEAN, STD, WEIGHTS, SceneNet, scene_net

BATCH = 64
HELD_OUT = 1200
"""Images of the other split that every epoch is tried on."""
SAVED_AFTER = (0, 1, 3, 10)
"""Epochs after which a checkpoint is written, beside the last."""


def drawn(data: Scenes | ShortcutScenes) -> tuple[Tensor, Tensor]:
    """Every image, drawn once.

    Returns
    -------
    images : Tensor of uint8, (N, bands, height, width)
    classes : Tensor of int64, (N,)
    """
    images = np.empty((len(data), *data[0].image.shape), np.uint8)
    classes = torch.empty(len(data), dtype=torch.int64)
    for i in range(len(data)):
        example = data[i]
        images[i] = example.image
        classes[i] = CLASSES.index(str(example.class_))
    return torch.from_numpy(images).permute(0, 3, 1, 2), classes


def prepared(images: Tensor, *, mean_of: Sequence[float] = MEAN, std_of: Sequence[float] = STD) -> Tensor:
    """Bytes to what the network sees."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (mean_of, std_of))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images, and move closer to a corner of the batch by a few pixels."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flip.view(-1, 1, 1, 1), images.flip(-1), images)
    size, top, left = images.shape[-1], *torch.randint(0, 9, (2,), generator=generator).tolist()
    window = images[..., top : top + size - 8, left : left + size - 8]
    return nn.functional.interpolate(window, size=(size, size), mode="bilinear", align_corners=False)


def with_norms(net: SceneNet) -> SceneNet:
    """The network with a batch norm behind every convolution, for the time of the training."""
    net = copy.deepcopy(net)
    for name, module in list(net.named_children()):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            setattr(net, name, nn.Sequential(module, nn.BatchNorm2d(module.out_channels)))
    return net.to(memory_format=torch.channels_last)


def folded(net: SceneNet) -> SceneNet:
    """The same function without batch norms: they are folded into the convolutions in front of them."""
    net = copy.deepcopy(net).eval()
    for name, module in list(net.named_children()):
        if isinstance(module, nn.Sequential):
            convolution, norm = module
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            setattr(net, name, fuse_conv_bn_eval(convolution, norm))
    return net.to(memory_format=torch.contiguous_format)


def accuracy(net: nn.Module, images: Tensor, classes: Tensor) -> float:
    """Share of the images whose highest score is their class."""
    net.eval()
    with torch.inference_mode():
        right = [
            net(prepared(p)).argmax(1) == c
            for p, c in zip(torch.split(images, 256), torch.split(classes, 256), strict=True)
        ]
    return float(torch.cat(right).float().mean())


def evidence(net: SceneNet, units: Tensor) -> Tensor:
    """How much the classes take from the units, on the mean: the sum of |weight| x activation, for each class.

    A small price on it makes a class rest on few units, and a unit speak up for few reasons.
    """
    return (net.classify.weight.abs() * units.mean(0)).sum() / len(CLASSES)


def likeness(maps: Tensor) -> Tensor:
    """How alike the units are: the sum over the others of the squared cosine of their maps, averaged over units.

    A price on it keeps units from saying the same twice, and says nothing about what they are to look for.
    """
    rows = nn.functional.normalize(maps.transpose(0, 1).flatten(1), dim=1)
    return (rows @ rows.T).square().sum() / len(rows) - 1


def trained(
    images: Tensor,
    classes: Tensor,
    *,
    epochs: int,
    seed: int,
    rate: float = 2e-3,
    decay: float = 0.02,
    sparsity: float = 0.1,
    variety: float = 0.06,
    bfloat16: bool = False,
) -> Iterator[SceneNet]:
    """Train, and give the network (folded) before the first and after every epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = with_norms(scene_net(weights="none", seed=seed))
    yield folded(net)
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(images), generator=generator)[: steps // epochs * BATCH]
        for batch in order.view(-1, BATCH):
            seen = augmented(prepared(images[batch]), generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                maps = net.units(seen)
                units = net.flatten(net.pool(maps))
                scores = net.classify(units)
            loss = nn.functional.cross_entropy(scores.float(), classes[batch], label_smoothing=0.1)
            loss = loss + sparsity * evidence(net, units.float()) + variety * likeness(maps.float())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        yield folded(net)


def save(net: SceneNet, path: Path, *, half: bool = False) -> None:
    """Write the weights, whole or not at all; ``half`` as float16."""
    from safetensors.torch import save as serialized

    state = {name: value.detach().contiguous() for name, value in net.state_dict().items()}
    if half:
        state = {name: value.half() for name, value in state.items()}
    make_folder(path.parent)
    write_whole(path, serialized(state))


@click.command()
@click.option("--images", default=9600, show_default=True, help="Images to train on.")
@click.option("--epochs", default=12, show_default=True, help="How often each is seen.")
@click.option(
    "--seed", default=0, show_default=True, help="Of the weights and the order; the images are those of seed 0."
)
@click.option("--sparsity", default=0.1, show_default=True, help="The price of evidence.")
@click.option("--variety", default=0.06, show_default=True, help="The price of units being alike.")
@click.option("--bfloat16", is_flag=True, help="Half the precision; twice as fast where the processor knows it.")
@click.option("--threads", default=1, show_default=True, help="Threads of PyTorch.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True, help="File for the weights."
)
@click.option("--checkpoints", type=click.Path(path_type=Path), default=None, help="Folder for weights on the way.")
def main(
    images: int,
    epochs: int,
    seed: int,
    sparsity: float,
    variety: float,
    bfloat16: bool,
    threads: int,
    out: Path,
    checkpoints: Path | None,
) -> None:
    """Train the classifier of the drawn scenes and write its weights."""
    torch.set_num_threads(threads)
    click.echo(f"Drawing {images} images to train on and {HELD_OUT} to test on ...")
    seen, held_out = (
        drawn(Scenes(n, split=split, size=IMAGE_SIZE)) for n, split in ((images, "train"), (HELD_OUT, "test"))
    )
    nets = trained(*seen, epochs=epochs, seed=seed, sparsity=sparsity, variety=variety, bfloat16=bfloat16)
    for epoch, net in enumerate(nets):
        click.echo(f"epoch {epoch:2d}: {accuracy(net, *held_out):.1%} of the held-out scenes are right")
        if checkpoints and epoch in (*SAVED_AFTER, epochs):
            save(net, checkpoints / f"epoch_{epoch:02d}.safetensors", half=True)
    save(net, out)
    click.echo(f"The weights are in {out}.")


if __name__ == "__main__":
    main()
