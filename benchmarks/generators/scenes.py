"""How good the bundled generator is: ``python -m benchmarks.generators.scenes --drawings FOLDER --out FOLDER``.

Its images are compared with drawn scenes: how sure the bundled classifier is of them, how much of them each concept
takes (by the bundled segmenter), how far apart the two are as distributions of features, and whether they are copies
of images that it was trained on.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.linalg import sqrtm
from torch import Tensor
from torch.nn import functional

from benchmarks.training.generator import drawn_scenes, scenes_of
from unitlens.data.concepts import Concept
from unitlens.data.scenes.world import Scenes
from unitlens.data.segmentation.scenes import SceneLabels
from unitlens.files import make_folder
from unitlens.models.bundled.scenes import CLASSES, IMAGE_SIZE, MEAN, STD, scene_net
from unitlens.models.bundled.scenes_generator import IMAGE_SIZE as SIDE
from unitlens.models.bundled.scenes_generator import LATENTS, WEIGHTS, scenes_generator

Floats = npt.NDArray[np.float64]
SHOWN = 16
"""Images that are shown above their nearest neighbours."""


class Seen(NamedTuple):
    """What the classifier returns for images: probabilities, (N, 12), and ``relu6`` on a grid of 4 x 4, (N, 2048)."""

    probabilities: Tensor
    features: Tensor


def generated(n: int, weights: Path, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return n images, uint8 (n, 3, 64, 64), and the scenes that they are meant to be, (n,)."""
    net = scenes_generator(weights=str(weights))
    latents = torch.from_numpy(
        np.stack([np.random.default_rng([seed, i]).standard_normal(LATENTS, np.float32) for i in range(n)])
    )
    with torch.inference_mode():
        images = torch.cat([net(some) for some in latents.split(100)])
    return ((images + 1) * 127.5).round().clamp(0, 255).byte(), scenes_of(latents)


def held_out_scenes(n: int, folder: Path) -> Tensor:
    """Return n images of the other split, reduced as those that the generator was trained on, kept in the folder."""
    return torch.from_numpy(kept(folder / f"held_out_{n}.npy", lambda: _held_out(n))).permute(0, 3, 1, 2)


def kept(file: Path, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return an array from its file, where it is there; else make it and write the file."""
    if not file.is_file():
        np.save(file, make())
    array: npt.NDArray[Any] = np.load(file)
    return array


def _held_out(n: int) -> npt.NDArray[np.uint8]:
    data = Scenes(n, split="test", size=2 * SIDE)
    images = [Image.fromarray(data[i].image).resize((SIDE, SIDE), Image.Resampling.BOX) for i in range(n)]
    return np.stack([np.asarray(image) for image in images])


def seen(images: Tensor) -> Seen:
    """Show images to the bundled classifier, in the size that it was trained on."""
    net, mean, std = scene_net(), torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    probabilities, features = [], []
    with torch.inference_mode():
        for some in images.split(100):
            large = functional.interpolate(some.float() / 255, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
            maps = net.units((large - mean) / std)
            probabilities.append(net.classify(maps.mean((2, 3))).softmax(1))
            features.append(functional.adaptive_avg_pool2d(maps, 4).flatten(1))
    return Seen(torch.cat(probabilities), torch.cat(features))


def areas(images: Tensor, source: SceneLabels) -> Floats:
    """The share of each image that each concept takes, (N, C)."""
    shares = []
    for some in images.split(100):
        planes = source.planes_of(some.permute(0, 2, 3, 1).numpy())
        marked = {category: maps[0].reshape(len(some), -1) for category, maps in planes.items()}
        shares.append(np.stack([(marked[c.category] == c.label).mean(1) for c in source.concepts], 1))
    return np.concatenate(shares)


def frechet(one: Tensor, other: Tensor) -> float:
    """The Frechet distance of two sets of features, (N, 128), taken as normal."""
    means = [x.double().mean(0).numpy() for x in (one, other)]
    covariances = [np.cov(x.double().numpy(), rowvar=False) for x in (one, other)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))


def pooled(features: Tensor) -> Tensor:
    """Features over the whole image, (N, 128)."""
    return features.view(len(features), -1, 16).mean(2)


def nearest(images: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """The distance (root mean square) to the nearest of others, and which it is; (N,) both."""
    distances = torch.cat([torch.cdist(some.float(), among.float()) for some in images.split(100)])
    found = distances.min(1)
    return found.values / images.shape[1] ** 0.5, found.indices


def small(images: Tensor) -> Tensor:
    """Images of 16 x 16 in [0, 1], flattened."""
    return functional.interpolate(images.float() / 255, size=(16, 16), mode="area").flatten(1)


def sheet(images: Tensor, columns: int, *, zoom: int = 1) -> Image.Image:
    """Images side by side, row by row."""
    rows = images.view(-1, columns, 3, SIDE, SIDE).permute(0, 3, 1, 4, 2).reshape(-1, columns * SIDE, 3).numpy()
    size = (columns * SIDE * zoom, len(rows) * zoom)
    return Image.fromarray(np.ascontiguousarray(rows)).resize(size, Image.Resampling.NEAREST)


def turns(images: Tensor, scenes: Tensor, count: int) -> Tensor:
    """The first images of each scene, in turns."""
    of_scene = [images[scenes == scene] for scene in range(len(CLASSES))]
    return torch.stack([of_scene[i % len(CLASSES)][i // len(CLASSES)] for i in range(count)])


def area_lines(source: SceneLabels, of_generated: Floats, of_drawn: Floats) -> list[str]:
    """The concepts that take most of drawn scenes: their mean area there and in generated ones."""
    concepts: tuple[Concept, ...] = source.concepts
    largest = [i for i in np.argsort(-of_drawn.mean(0)) if concepts[i].category == "object"][:24]
    return [
        f"{concepts[i].name:14s} drawn {of_drawn[:, i].mean():6.1%} generated {of_generated[:, i].mean():6.1%} "
        f"(in {(of_drawn[:, i] > 0.01).mean():4.0%} and {(of_generated[:, i] > 0.01).mean():4.0%} of images; "
        f"segmenter's IoU {source.ious['object', concepts[i].name]:.2f})"
        for i in largest
    ]


def class_lines(probabilities: Tensor, scenes: Tensor, others: Tensor) -> list[str]:
    """How many generated and drawn images of each scene are classified as it."""
    predicted, of_drawn = probabilities.argmax(1), others.argmax(1)
    truth = torch.arange(len(others)) % len(CLASSES)
    return [
        f"{name:12s} generated {float((predicted[scenes == c] == c).float().mean()):4.0%}  "
        f"drawn {float((of_drawn[truth == c] == c).float().mean()):4.0%}"
        for c, name in enumerate(CLASSES)
    ]


def copies(images: Mapping[str, Tensor], training: Tensor, features: Tensor, out: Path) -> list[str]:
    """How near generated and held-out images come to those of the training; a sheet of the former."""
    among = {"pixels": small(training), "features": features}
    lines = []
    for name, some in images.items():
        queries = {"pixels": small(some), "features": seen(some).features}
        for space, query in queries.items():
            distances, indices = nearest(query, among[space])
            low, middle = np.percentile(distances.numpy(), [1, 50])
            lines.append(
                f"{name} to the nearest training image in {space}: median {middle:.4f}, 1st percentile {low:.4f}"
            )
            if name == "generated":
                pairs = torch.stack([some[:SHOWN], training[indices[:SHOWN]]]).view(-1, 3, SIDE, SIDE)
                sheet(pairs, SHOWN).save(out / f"nearest_{space}.png")
    return lines


@click.command()
@click.option("--drawings", type=click.Path(path_type=Path), required=True, help="State folder of the training.")
@click.option("--training", default=24000, show_default=True, help="Scenes that it learned from.")
@click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True)
@click.option("--images", default=1200, show_default=True, help="Generated, and held out.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the sheets.")
def main(drawings: Path, training: int, weights: Path, images: int, out: Path) -> None:
    """Measure the bundled generator."""
    torch.set_num_threads(1)
    make_folder(out)
    drawn, (made, scenes) = held_out_scenes(images, drawings), generated(images, weights)
    sheet(turns(made, scenes, 64), 8, zoom=2).save(out / "generated_scenes.png")
    of_made, of_drawn, source = seen(made), seen(drawn), SceneLabels.bundled()
    for name, result in (("generated", of_made), ("drawn", of_drawn)):
        click.echo(f"{name}: mean of the largest probability {float(result.probabilities.max(1).values.mean()):.3f}")
    click.echo(f"classified as meant: {float((of_made.probabilities.argmax(1) == scenes).float().mean()):.1%}")
    click.echo("\n".join(class_lines(of_made.probabilities, scenes, of_drawn.probabilities)))
    half = images // 2
    pools = pooled(of_drawn.features)
    click.echo(f"Frechet distance of relu6: generated {frechet(pooled(of_made.features), pools):.3f}, ")
    click.echo(f"of two halves of the drawn ones {frechet(pools[:half], pools[half:]):.3f}")
    of_areas = areas(made, source), areas(drawn, source)
    click.echo("\n".join(area_lines(source, *of_areas)))
    means = [a.mean(0) for a in of_areas]
    click.echo(f"correlation of mean areas, {len(means[0])} concepts: {np.corrcoef(*means)[0, 1]:.3f}")
    learned = drawn_scenes(training, drawings)
    features = kept(drawings / f"features_{training}.npy", lambda: seen(learned).features.half().numpy())
    click.echo("\n".join(copies({"generated": made, "held out": drawn}, learned, torch.from_numpy(features), out)))


if __name__ == "__main__":
    main()
