"""Training of the bundled generator on the drawn scenes: ``python -m benchmarks.training.generator --state FOLDER``.

Adversarial: the generator's images are judged on the features of the bundled classifier (a projected GAN) and, for the
fine grain, by a small network on the pixels; both know which scene is meant. The weights that come along are an average
over the iterations. Everything needed to go on lies in the state folder: a run that is stopped, and called again, goes
on where it was. The weights that come along were made in 100 minutes on one thread, in several calls: 900 iterations on
the first 2,400 scenes and 600 on all of them, with ``--batch 16 --rate 3e-4 --critic-rate 3e-4 --average 0.998``, then
with the defaults to 10,250, then to 12,600 with ``--anneal 1500``.
"""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.training.critics import FeatureCritics, Features, PixelCritic
from unitlens.data.scenes.world import Scenes
from unitlens.files import make_folder, write_whole
from unitlens.models.bundled.scenes import CLASSES
from unitlens.models.bundled.scenes_generator import IMAGE_SIZE, LATENTS, WEIGHTS, ScenesGenerator

R1_EVERY = 16
SAVED_EVERY = 250
SHEET_EVERY = 1000
BETAS = (0.0, 0.99)
DRAWN_FINER = 2
"""The scenes are drawn this many times larger and reduced, for smooth edges."""


# images


def drawn_scenes(n: int, folder: Path) -> Tensor:
    """Return n images of the training split, drawn once and kept in the folder: uint8, (n, 3, 64, 64).

    Image i shows scene i modulo 12.
    """
    file = folder / f"scenes_{n}.npy"
    if not file.is_file():
        data = Scenes(n, split="train", size=IMAGE_SIZE * DRAWN_FINER)
        images = np.empty((n, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for i in range(n):
            images[i] = Image.fromarray(data[i].image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
        part = file.with_suffix(".part.npy")
        np.save(part, images)
        part.replace(file)
    return torch.from_numpy(np.load(file)).permute(0, 3, 1, 2)


def augmented(images: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Move, recolour and cut a hole into a share of the images; gradients pass.

    Real and drawn images go through the same chances, so that the generator does not learn them.
    """
    n, _, size, _ = images.shape
    chosen = (torch.rand(3, n, 1, 1, 1, generator=random) < share).float()
    # colour: brighter or darker, more or less saturated
    bright = (torch.rand(n, 1, 1, 1, generator=random) - 0.5) * 0.6
    saturation = torch.rand(n, 1, 1, 1, generator=random) * 1.2 + 0.4
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(images, grey + (images - grey) * saturation + bright, chosen[0])
    # translation by up to an eighth, edges repeated
    moves = (torch.rand(n, 2, generator=random) * 2 - 1) / 4 * chosen[1].view(n, 1)
    turns = torch.cat([torch.eye(2).expand(n, 2, 2), moves.view(n, 2, 1)], 2)
    if share:
        grid = functional.affine_grid(turns, [n, 3, size, size], align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    # a hole of a third
    corner = torch.randint(0, size - size // 3 + 1, (2, n, 1, 1), generator=random)
    down, right = torch.arange(size).view(1, size, 1), torch.arange(size).view(1, 1, size)
    hole = (down >= corner[0]) & (down < corner[0] + size // 3) & (right >= corner[1]) & (right < corner[1] + size // 3)
    return images * (1 - hole.float().unsqueeze(1) * chosen[2])


# the generator in training


def with_norms(net: ScenesGenerator) -> ScenesGenerator:
    """The generator with a batch norm behind every convolution of its blocks, for the time of the training."""
    for block in (net.block8, net.block16, net.block32, net.block64):
        for name in ("narrow", "conv"):
            convolution = getattr(block, name)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            setattr(block, name, nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels)))
        for style in (block.scale, block.shift):
            nn.init.normal_(style.weight, std=0.05)
            nn.init.zeros_(style.bias)
    return net


def folded(net: ScenesGenerator) -> ScenesGenerator:
    """The same function without batch norms."""
    net = copy.deepcopy(net).eval()
    for block in (net.block8, net.block16, net.block32, net.block64):
        for name in ("narrow", "conv"):
            convolution, norm = getattr(block, name)
            setattr(block, name, fuse_conv_bn_eval(convolution, norm))
    return net


def measured(net: ScenesGenerator, seed: int = 1, batches: int = 8) -> ScenesGenerator:
    """A copy whose batch norms know the mean and variance of the averaged weights, from fresh latents."""
    net = copy.deepcopy(net).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(batches):
            net(torch.randn(64, LATENTS, generator=random))
    return net.eval()


def scenes_of(latents: Tensor) -> Tensor:
    """The index of each latent's scene."""
    return latents[:, : len(CLASSES)].argmax(1)


def sheet_latents() -> Tensor:
    """64 latents that every sheet shows: the scenes take turns."""
    latents = torch.randn(64, LATENTS, generator=torch.Generator().manual_seed(7))
    for i, row in enumerate(latents):
        top, meant = int(row[: len(CLASSES)].argmax()), i % len(CLASSES)
        row[[top, meant]] = row[[meant, top]]
    return latents


def save_sheet(net: ScenesGenerator, path: Path) -> None:
    """Write 64 images, 8 a row, twice their size."""
    with torch.no_grad():
        images = net(sheet_latents())
    pixels = ((images + 1) * 127.5 + 0.5).clamp(0, 255).byte().view(8, 8, 3, IMAGE_SIZE, IMAGE_SIZE)
    sheet = pixels.permute(0, 3, 1, 4, 2).reshape(8 * IMAGE_SIZE, 8 * IMAGE_SIZE, 3).numpy()
    Image.fromarray(sheet).resize((16 * IMAGE_SIZE, 16 * IMAGE_SIZE), Image.Resampling.NEAREST).save(path)


@dataclass
class Settings:
    """What may be changed between one call and the next."""

    batch: int = 8
    rate: float = 2e-4
    critic_rate: float = 5e-4
    average: float = 0.999
    augment: float = 0.3
    r1: float = 1.0
    pixels: float = 1.0
    anneal: int = 0


class Training:
    """Networks, optimizers and chance: all that goes on from one iteration to the next.

    Parameters
    ----------
    images : Tensor of uint8, (N, 3, 64, 64)
        Image i shows scene i modulo 12.
    settings : Settings
    seed : int
        Of the first weights and of all chance.
    """

    def __init__(self, images: Tensor, settings: Settings, *, seed: int) -> None:
        torch.manual_seed(seed)
        self.random = torch.Generator().manual_seed(seed)
        self.images, self.settings, self.iteration = images, settings, 0
        self.generator = with_norms(ScenesGenerator()).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.features = Features().to(memory_format=torch.channels_last)
        scales = self.features.scales(as_floats(images[:240]))
        self.critics = FeatureCritics(scales, self.random).to(memory_format=torch.channels_last)
        self.pixels = PixelCritic().to(memory_format=torch.channels_last)
        judges = [*self.critics.parameters(), *self.pixels.parameters()]
        self.drawing = torch.optim.Adam(self.generator.parameters(), lr=settings.rate, betas=BETAS)
        self.judging = torch.optim.Adam(judges, lr=settings.critic_rate, betas=BETAS)

    def step(self, last: int) -> dict[str, float]:
        """One iteration: the critics learn from real and drawn images, then the generator from the critics."""
        self._set_rate(last)
        batch = self.settings.batch
        chosen = torch.randint(0, len(self.images), (batch,), generator=self.random)
        real, real_scenes = as_floats(self.images[chosen]), chosen % len(CLASSES)
        mirrored = torch.rand(batch, 1, 1, 1, generator=self.random) < 0.5
        real = augmented(torch.where(mirrored, real.flip(-1), real), self.settings.augment, self.random)
        latents = torch.randn(batch, LATENTS, generator=self.random)
        scenes = scenes_of(latents)
        drawn = augmented(self.generator(latents), self.settings.augment, self.random)
        # one pass through the classifier serves both steps
        drawn_features = self.features(drawn)
        with torch.no_grad():
            real_features = self.features(real)
        losses = self._judge(real, real_features, real_scenes, drawn.detach(), drawn_features, scenes)
        self.critics.requires_grad_(False)
        self.pixels.requires_grad_(False)
        wanted = [-logits.mean() for logits in self.critics(drawn_features, scenes)]
        loss = sum(wanted, torch.zeros(())) - self.settings.pixels * self.pixels(drawn, scenes).mean()
        self.drawing.zero_grad()
        loss.backward()
        self.drawing.step()
        self.critics.requires_grad_(True)
        self.pixels.requires_grad_(True)
        self.iteration += 1
        self._average()
        return {**losses, "g": loss.item()}

    def _judge(
        self,
        real: Tensor,
        real_features: list[Tensor],
        real_scenes: Tensor,
        drawn: Tensor,
        drawn_features: list[Tensor],
        scenes: Tensor,
    ) -> dict[str, float]:
        """One step of the critics: hinge loss, and on pixels now and then the price of steep gradients (R1)."""
        real.requires_grad_(self.iteration % R1_EVERY == 0)
        pairs = [
            *zip(
                self.critics(real_features, real_scenes),
                self.critics([f.detach() for f in drawn_features], scenes),
                strict=True,
            ),
            (self.pixels(real, real_scenes), self.pixels(drawn, scenes)),
        ]
        hinges = [functional.relu(1 - yes).mean() + functional.relu(1 + no).mean() for yes, no in pairs]
        loss = sum(hinges, torch.zeros(()))
        if real.requires_grad:
            (slope,) = torch.autograd.grad(pairs[-1][0].mean((1, 2)).sum(), real, create_graph=True)
            loss = loss + self.settings.r1 / 2 * R1_EVERY * slope.square().sum((1, 2, 3)).mean()
        self.judging.zero_grad()
        loss.backward()
        self.judging.step()
        return {f"d{i}": hinge.item() for i, hinge in enumerate(hinges)}

    def _average(self) -> None:
        keep = min(self.settings.average, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)

    def _set_rate(self, last: int) -> None:
        """Full, and towards the end down to a twentieth, if asked."""
        left = (last - self.iteration) / self.settings.anneal if self.settings.anneal else 1.0
        rates = ((self.drawing, self.settings.rate), (self.judging, self.settings.critic_rate))
        for optimizer, rate in rates:
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, max(0.05, left))

    @property
    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "generator": self.generator,
            "average": self.average,
            "critics": self.critics,
            "pixels": self.pixels,
            "drawing": self.drawing,
            "judging": self.judging,
        }

    def save(self, path: Path) -> None:
        """Write everything, whole or not at all."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        state["chance"] = {"own": self.random.get_state(), "iteration": torch.tensor(self.iteration)}
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def read(self, path: Path) -> None:
        """Go on from what ``save`` wrote."""
        state = torch.load(path, weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.random.set_state(state["chance"]["own"])
        self.iteration = int(state["chance"]["iteration"])


def as_floats(images: Tensor) -> Tensor:
    """Bytes to [-1, 1]."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def save_weights(net: ScenesGenerator, path: Path) -> None:
    """Write the weights without batch norms, as float16."""
    from safetensors.torch import save as serialized

    state = {name: value.detach().half().contiguous() for name, value in folded(net).state_dict().items()}
    make_folder(path.parent)
    write_whole(path, serialized(state))


@click.command()
@click.option(
    "--state", type=click.Path(path_type=Path), required=True, help="Folder of the checkpoint, the sheets and the log."
)
@click.option("--images", default=24000, show_default=True, help="Scenes to learn from.")
@click.option("--iterations", default=60000, show_default=True, help="In all, those of earlier calls included.")
@click.option("--batch", default=8, show_default=True, help="Images of an iteration.")
@click.option("--rate", default=2e-4, show_default=True, help="Of Adam, for the generator.")
@click.option("--critic-rate", default=5e-4, show_default=True, help="Of Adam, for those that judge it.")
@click.option("--average", default=0.999, show_default=True, help="Share that the averaged weights keep.")
@click.option("--augment", default=0.3, show_default=True, help="Share of images that is moved, recoloured, cut.")
@click.option("--r1", default=1.0, show_default=True, help="The price of steep gradients on pixels.")
@click.option("--pixels", default=1.0, show_default=True, help="Weight of the critic on pixels for the generator.")
@click.option("--anneal", default=0, show_default=True, help="Last iterations over which the rate falls.")
@click.option("--seed", default=0, show_default=True, help="Of the first weights and of all chance.")
@click.option("--threads", default=1, show_default=True, help="Threads of PyTorch.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True, help="File for the weights."
)
@click.option("--export", is_flag=True, help="Write the weights of the checkpoint, without training.")
def main(
    state: Path,
    images: int,
    iterations: int,
    batch: int,
    rate: float,
    critic_rate: float,
    average: float,
    augment: float,
    r1: float,
    pixels: float,
    anneal: int,
    seed: int,
    threads: int,
    out: Path,
    export: bool,
) -> None:
    """Train the generator of the drawn scenes and write its weights."""
    torch.set_num_threads(threads)
    make_folder(state)
    settings = Settings(
        batch=batch,
        rate=rate,
        critic_rate=critic_rate,
        average=average,
        augment=augment,
        r1=r1,
        pixels=pixels,
        anneal=anneal,
    )
    training = Training(drawn_scenes(images, state), settings, seed=seed)
    checkpoint = state / "checkpoint.pt"
    if checkpoint.is_file():
        training.read(checkpoint)
    click.echo(f"{settings}; from iteration {training.iteration}")
    started, sums, count = time.monotonic(), dict[str, float](), 0
    while training.iteration < iterations and not export:
        for name, value in training.step(iterations).items():
            sums[name] = sums.get(name, 0.0) + value
        count += 1
        if training.iteration % SAVED_EVERY == 0 or training.iteration == iterations:
            means = " ".join(f"{name} {value / count:.3f}" for name, value in sums.items())
            click.echo(f"{training.iteration:6d} {means} {(time.monotonic() - started) / count:.2f} s")
            started, sums, count = time.monotonic(), {}, 0
            training.save(checkpoint)
        if training.iteration % SHEET_EVERY == 0 or training.iteration == SAVED_EVERY:
            save_sheet(measured(training.average), state / f"sheet_{training.iteration:06d}.png")
    final = measured(training.average, batches=64)
    save_sheet(final, state / "sheet.png")
    save_weights(final, out)
    click.echo(f"The weights are in {out}.")


if __name__ == "__main__":
    main()
