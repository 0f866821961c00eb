"""Pages on small networks, for the tests of the app."""

import numpy as np
from starlette.testclient import TestClient

import unitlens as ul
from tests.worlds.generators import CELLS, Measured, painted, painter
from unitlens.app.painting import PaintingPage
from unitlens.app.site import site

PORT, TOKEN = 4242, "a-long-word"
IMAGES = 24


def painting_page():
    """Squares to paint with: `tests.worlds.generators.Painter`, marked by `Measured`."""
    net, latents = painter(8), painted(IMAGES, source=Measured())
    run = ul.dissect(net, "layer", latents, exemplars=2, evidence=False)
    return PaintingPage.of("squares", net, run, ["layer"], latents, source="latents:20,seed=0")


def asking(page):
    """A client of a page, which asks below its token."""
    return TestClient(site(page, token=TOKEN, port=PORT), base_url=f"http://127.0.0.1:{PORT}/{TOKEN}/")


def mask(*cells):
    """A mask of the painter's layer."""
    positions = np.zeros((CELLS, CELLS), bool)
    for row, column in cells:
        positions[row, column] = True
    return positions
