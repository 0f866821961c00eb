"""Units of two published generators: a decoder, by what people marked in photos, and a generator of faces, by colors.

    python -m benchmarks.generators.published MODELS.py PHOTOS [PHOTOS ...] --faces 1000

MODELS.py has `taef2_encoder`, `taef2_decoder` (github.com/madebyollin/taesd) and `dcgan`, functions that return trained
modules; PHOTOS are annotated folders. Photos are encoded at 96 x 128 pixels; the decoder draws them again from its
latents, so that the masks of the photos are masks of what it draws. Its units at each of its four sizes are dissected,
and those of an untrained copy. Prints a table for docs/generators.md; with --time RUNS, the cost of the dissection of
the faces as a multiple of the generator's bare pass.
"""

import argparse
import importlib.util
import time
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import torch
from torch import nn

import unitlens as ul
from unitlens.data.batches import Batches
from unitlens.data.reading import Reading

SIZE = (96, 128)
DECODER = {"5": "12 x 16", "10": "24 x 32", "15": "48 x 64", "18": "96 x 128"}
"""The last layer of the decoder at each of its sizes."""

MEASURED = 48
"""So many photos tell how near the drawn images are to them."""

FACES = ("main.2", "main.5", "main.8", "main.11")


def encoded(encoder: nn.Module, data: ul.Data) -> torch.Tensor:
    """Latents of photos, (N, 32, 12, 16)."""
    net = ul.classifier(encoder, image_size=SIZE, mean=(0, 0, 0), std=(1, 1, 1))
    parts = []
    for batch in Batches(data, net.preprocessing, Reading(batch_size=8)):
        with ul.evaluating(net.model):
            parts.append(net.model(net.prepare(batch.images)))
    return torch.cat(parts)


def psnr(net: ul.Network, data: ul.Data, latents: torch.Tensor) -> float:
    """Mean over some photos of how near they are to what is drawn of them, in dB."""
    photos = ul.Preprocessing(SIZE, None, (0.0,) * 3, (1.0,) * 3)
    each, first = [], 0
    for batch in Batches(data, photos, Reading(batch_size=8)):
        if first >= MEASURED:
            break
        given = latents[first : first + len(batch.names)]
        with ul.evaluating(net.model):
            drawn = net.images(given, net.model(net.prepare(given)))
        error = ((drawn.float() - batch.images.float()) ** 2).flatten(1).mean(1)
        each += (10 * torch.log10(255**2 / error)).tolist()
        first += len(batch.names)
    return float(np.mean(each))


def photos(models: ModuleType, folder: Path, *, groups: str | None) -> pd.DataFrame:
    """Units of the decoder at its four sizes that match what is marked in photos."""
    data = ul.annotated(folder)
    latents = encoded(models.taef2_encoder(), data)
    net = ul.generator(models.taef2_decoder(), latents=latents.shape[1:], rescale=(0, 1), name="taef2_decoder")
    print(f"{folder.name}: {len(data)} photos, drawn again at {psnr(net, data, latents):.1f} dB")
    masked = ul.latents(latents, masks=data)
    d = ul.dissect(net, list(DECODER), masked, control="untrained", groups=groups, exemplars=0, batch_size=8)
    for layer in DECODER:
        best = d[layer].table().nlargest(6, "iou")
        listed = ", ".join(f"{row.concept} {row.iou:.3f} ({row.verdict})" for row in best.itertuples())
        print(f"  layer {layer}: {listed}")
    return summary(d).assign(data=folder.name)


def summary(d: ul.Dissection) -> pd.DataFrame:
    """A row for each layer: units above the papers' rule and detectors, of the network and of its control."""
    rows = d.comparison()
    print(rows.to_string(index=False))
    return rows


def faces(models: ModuleType, count: int, *, runs: int) -> None:
    """Units of the generator of faces that match colors."""
    net = ul.generator(models.dcgan(), latents=(100, 1, 1), name="dcgan")
    data = ul.with_concepts(ul.latents((100, 1, 1), count), ul.Colors())
    if runs:
        return cost(net, data, runs)
    d = ul.dissect(net, list(FACES), data, control="untrained", exemplars=0)
    summary(d)
    for layer in FACES:
        detectors = d[layer].table().query("detector")
        print(f"  {layer}: {detectors['concept'].value_counts().to_dict()}")


def cost(net: ul.Network, data: ul.Data, runs: int) -> None:
    """Processor seconds of dissections of one layer and of all, over those of the bare pass that draws the images."""
    for _ in range(runs):
        start = time.process_time()
        for batch in Batches(data, net.preprocessing, Reading()):
            with ul.evaluating(net.model):
                net.images(batch.images, net.model(net.prepare(batch.images)))
        bare = time.process_time() - start
        for layers in (FACES[2:3], FACES):
            for evidence in (False, True):
                start = time.process_time()
                ul.dissect(net, list(layers), data, exemplars=0, evidence=evidence)
                took = time.process_time() - start
                print(
                    f"{len(layers)} layers, evidence {evidence}: {took:.1f} s, bare {bare:.1f} s, x {took / bare:.2f}"
                )


def load_models(path: Path) -> ModuleType:
    """Import the file of the networks."""
    specification = importlib.util.spec_from_file_location("models_of_benchmark", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main() -> None:
    """Dissect all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("photos", type=Path, nargs="*")
    parser.add_argument("--groups", help="which photos belong together, as for ul.dissect")
    parser.add_argument("--faces", type=int, default=0, help="how many faces are drawn")
    parser.add_argument("--time", type=int, default=0, metavar="RUNS", help="measure the cost in place of the units")
    options = parser.parse_args()
    warnings.simplefilter("always")
    models = load_models(options.models)
    for folder in options.photos:
        photos(models, folder, groups=options.groups)
    if options.faces:
        faces(models, options.faces, runs=options.time)


if __name__ == "__main__":
    main()
