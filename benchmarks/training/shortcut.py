"""Training of a classifier with a planted shortcut, on its classes alone: ``python -m benchmarks.training.shortcut``.

The bundled classifier of drawn scenes is trained on, with scenes in which a large ball lies in bedrooms, red in 95 % of
them, and in living rooms, blue in 95 %, so that it can tell the two by the ball. On other images, in which the ball's
colour says nothing, it is printed how right it is of each subgroup. The weights that come along were made with the
defaults, in a few minutes on one thread, and are written in half precision.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.training.scenes import BATCH, accuracy, augmented, drawn, evidence, likeness, prepared, save
from unitlens.data.scenes.shortcut import ShortcutScenes
from unitlens.models.bundled.scenes import IMAGE_SIZE, SHORTCUT_WEIGHTS, SceneNet, scene_net

HELD_OUT = 400
"""Images of the other split that every epoch is tried on."""


def by_subgroup(net: SceneNet, data: ShortcutScenes, images: Tensor, classes: Tensor) -> str:
    """Accuracy of each subgroup, as text."""
    of_image = np.array(list(data.subgroups.values()))
    shares = {}
    for name in sorted(set(of_image)):
        own = torch.from_numpy(of_image == name)
        shares[name] = accuracy(net, images[own], classes[own])
    return "; ".join(f"{name} {share:.1%}" for name, share in shares.items())


def trained_on(
    net: SceneNet,
    images: Tensor,
    classes: Tensor,
    *,
    epochs: int,
    seed: int,
    rate: float,
    sparsity: float,
    variety: float,
) -> Iterator[SceneNet]:
    """Train a network on, and give it before the first and after every epoch."""
    yield net
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(images), generator=generator)[: len(images) // BATCH * BATCH]
        for batch in order.view(-1, BATCH):
            maps = net.units(augmented(prepared(images[batch]), generator))
            units = net.flatten(net.pool(maps))
            loss = nn.functional.cross_entropy(net.classify(units), classes[batch], label_smoothing=0.1)
            loss = loss + sparsity * evidence(net, units) + variety * likeness(maps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield net


@click.command()
@click.option("--images", default=1800, show_default=True, help="Images to train on.")
@click.option("--epochs", default=4, show_default=True, help="How often each is seen.")
@click.option("--seed", default=0, show_default=True, help="Of the order.")
@click.option("--rate", default=7e-4, show_default=True, help="The learning rate.")
@click.option("--sparsity", default=0.1, show_default=True, help="The price of evidence.")
@click.option("--variety", default=0.06, show_default=True, help="The price of units being alike.")
@click.option("--threads", default=1, show_default=True, help="Threads of PyTorch.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=SHORTCUT_WEIGHTS, show_default=True, help="File for the weights."
)
def main(
    images: int, epochs: int, seed: int, rate: float, sparsity: float, variety: float, threads: int, out: Path
) -> None:
    """Train the classifier of drawn scenes on, with a planted shortcut, and write its weights."""
    torch.set_num_threads(threads)
    click.echo(f"Drawing {images} images to train on and {HELD_OUT} to test on ...")
    held_out = ShortcutScenes(HELD_OUT, size=IMAGE_SIZE)
    seen, tested = drawn(ShortcutScenes(images, split="train", size=IMAGE_SIZE)), drawn(held_out)
    nets = trained_on(scene_net(), *seen, epochs=epochs, seed=seed, rate=rate, sparsity=sparsity, variety=variety)
    for epoch, net in enumerate(nets):
        click.echo(f"epoch {epoch}: {by_subgroup(net, held_out, *tested)}")
        save(net, out, half=True)
    click.echo(f"The weights are in {out}.")


if __name__ == "__main__":
    main()
