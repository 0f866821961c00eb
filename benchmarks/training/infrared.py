"""Training of the bundled classifier of four bands, on its classes alone: ``python -m benchmarks.training.infrared``.

The bundled classifier of drawn scenes gets a fourth band, near infrared, whose weights begin at random, and is trained
on. Half of the images of each batch are seen in grey, with their infrared, so that it is worth looking at. The weights
that come along were made with the defaults and ``--bfloat16``, in a few minutes on one thread, and are written in half
precision.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from benchmarks.training.scenes import BATCH, augmented, drawn, evidence, likeness, prepared, save
from unitlens.data.scenes.world import Scenes
from unitlens.models.bundled.scenes import (
    IMAGE_SIZE,
    INFRARED_MEAN,
    INFRARED_STD,
    INFRARED_WEIGHTS,
    SceneNet,
    infrared_net,
    scene_net,
)

HELD_OUT = 480
"""Images of the other split that every epoch is tried on."""


def widened(net: SceneNet, seed: int) -> SceneNet:
    """The network of three bands with a fourth one, of random weights as large as the others."""
    wide = infrared_net(weights="none", seed=seed)
    state = net.state_dict()
    first = wide.conv1.weight.detach().clone()
    first[:, :3] = state["conv1.weight"]
    first[:, 3] *= state["conv1.weight"].std() / first[:, 3].std()
    wide.load_state_dict({**state, "conv1.weight": first})
    return wide


def greyed(images: Tensor, shares: Tensor) -> Tensor:
    """8-bit images whose colours are grey where a share says so; infrared stays."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    grey = (images[:, :3].float() * weights).sum(1, keepdim=True).byte().expand(-1, 3, -1, -1)
    chosen = torch.where(shares.view(-1, 1, 1, 1) < 0.5, grey, images[:, :3])
    return torch.cat([chosen, images[:, 3:]], 1)


def seen(images: Tensor) -> Tensor:
    """Bytes to what the network sees."""
    return prepared(images, mean_of=INFRARED_MEAN, std_of=INFRARED_STD)


def trained_on(
    net: SceneNet, images: Tensor, classes: Tensor, *, epochs: int, seed: int, rate: float, bfloat16: bool
) -> Iterator[SceneNet]:
    """Train a network on, and give it before the first and after every epoch."""
    yield net
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(images), generator=generator)[: len(images) // BATCH * BATCH]
        for batch in order.view(-1, BATCH):
            some = greyed(images[batch], torch.rand(BATCH, generator=generator))
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                maps = net.units(augmented(seen(some), generator))
                units = net.flatten(net.pool(maps))
                scores = net.classify(units)
            loss = nn.functional.cross_entropy(scores.float(), classes[batch], label_smoothing=0.1)
            loss = loss + 0.1 * evidence(net, units.float()) + 0.06 * likeness(maps.float())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        yield net


def accuracies(net: SceneNet, images: Tensor, classes: Tensor) -> str:
    """How many of the images are right: as they are, in grey with their infrared, and with colours but no infrared."""
    dark = images.clone()
    dark[:, 3] = round(255 * INFRARED_MEAN[3])
    kinds = {"all bands": images, "grey and infrared": greyed(images, torch.zeros(len(images))), "colours alone": dark}
    net.eval()
    shares = {}
    with torch.inference_mode():
        for kind, changed in kinds.items():
            right = [net(seen(part)).argmax(1) for part in torch.split(changed, 256)]
            shares[kind] = float((torch.cat(right) == classes).float().mean())
    return "; ".join(f"{kind} {share:.1%}" for kind, share in shares.items())


@click.command()
@click.option("--images", default=2400, show_default=True, help="Images to train on.")
@click.option("--epochs", default=4, show_default=True, help="How often each is seen.")
@click.option("--seed", default=0, show_default=True, help="Of the fourth band's weights, and of the order.")
@click.option("--rate", default=1e-3, show_default=True, help="The learning rate.")
@click.option("--bfloat16", is_flag=True, help="Half the precision; twice as fast where the processor knows it.")
@click.option("--threads", default=1, show_default=True, help="Threads of PyTorch.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=INFRARED_WEIGHTS, show_default=True, help="File for the weights."
)
def main(images: int, epochs: int, seed: int, rate: float, bfloat16: bool, threads: int, out: Path) -> None:
    """Train the classifier of drawn scenes on, with near infrared as a fourth band, and write its weights."""
    torch.set_num_threads(threads)
    click.echo(f"Drawing {images} images to train on and {HELD_OUT} to test on ...")
    train, held_out = (
        drawn(Scenes(n, split=split, size=IMAGE_SIZE, infrared=True))
        for n, split in ((images, "train"), (HELD_OUT, "test"))
    )
    nets = trained_on(widened(scene_net(), seed), *train, epochs=epochs, seed=seed, rate=rate, bfloat16=bfloat16)
    for epoch, net in enumerate(nets):
        click.echo(f"epoch {epoch}: {accuracies(net, *held_out)}")
        save(net, out, half=True)
    click.echo(f"The weights are in {out}.")


if __name__ == "__main__":
    main()
