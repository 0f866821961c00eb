"""Pages on small networks, for the tests of the app."""

import numpy as np
import torch
from starlette.testclient import TestClient

import unitlens as ul
from tests.worlds.generators import CELLS, Measured, painted, painter
from unitlens.app.finding import UnitSearch
from unitlens.app.painting import PaintingPage
from unitlens.app.site import site
from unitlens.dissection.searching.unit_vectors import UnitVectors

PORT, TOKEN = 4242, "a-long-word"
IMAGES = 24


COLOURS = {"red": 0, "green": 1, "blue": 2}


class Colours:
    """An encoder by colour: the mean of an image, and of words the colours that they name."""

    def encode_images(self, images):
        return images.float().mean((2, 3)) / 255

    def encode_words(self, words):
        return torch.tensor([[float(name in word) for name in COLOURS] for word in words])


def colour_vectors(**units):
    """So many units of some layers, at random in the space of `Colours`."""
    rng, same = np.random.default_rng(0), np.eye(3, dtype=np.float32)
    drawn = {layer: rng.normal(size=(count, 3)).astype(np.float32) for layer, count in units.items()}
    return UnitVectors("Colours", None, ("Red", "green"), same[:2], same, drawn)


def painting_page():
    """Squares to paint with: `tests.worlds.generators.Painter`, marked by `Measured`."""
    net, latents = painter(8), painted(IMAGES, source=Measured())
    run = ul.dissect(net, "layer", latents, exemplars=2, evidence=False)
    search = UnitSearch(colour_vectors(layer=8), ul.encoder(Colours()))
    return PaintingPage.of("squares", net, run, ["layer"], latents, source="latents:20,seed=0", search=search)


def asking(page):
    """A client of a page, which asks below its token."""
    return TestClient(site(page, token=TOKEN, port=PORT), base_url=f"http://127.0.0.1:{PORT}/{TOKEN}/")


def mask(*cells):
    """A mask of the painter's layer."""
    positions = np.zeros((CELLS, CELLS), bool)
    for row, column in cells:
        positions[row, column] = True
    return positions
