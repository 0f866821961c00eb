"""What a browser, or a stranger who knows its word, may send: an answer or one sentence, never an error of ours."""

import base64
import json
from contextlib import suppress

import numpy as np
import pytest

import unitlens as ul
from tests.app.pages import asking, mask, painting_page
from tests.data.readers.broken_layouts import STRANGE, TEXTS, change_bytes, change_json, pick
from tests.faults.hostile import image_files, png, seeds, spoiled, watched
from unitlens.app.exploring import ExploringPage
from unitlens.data.opening import open_data

STEP = 50

OF_IMAGE = {"layer": "0", "image": "3"}
EXPLORING = {
    "switch": {
        **OF_IMAGE,
        "class_": None,
        "switches": [{"units": [1], "position": "off"}, {"units": [0, 2], "position": "on"}],
        "grid": None,
        "mask": "",
    },
    "reasons": OF_IMAGE | {"class_": None},
    "smallest": OF_IMAGE,
    "maps": OF_IMAGE | {"units": [1]},
    "images": {"layer": "0", "start": 0, "count": 5, "class_": None, "wrong": False},
    "find": {"layer": "0", "words": "tree", "image": None},
}

MASK = base64.b64encode(np.packbits(mask((2, 2), (2, 3))).tobytes()).decode()
STROKE = {"concept": 0, "units": [0], "action": "remove", "strength": 1.0, "everywhere": True, "mask": ""}
PAINTING = {
    "draw": {"scene": 3, "strokes": [STROKE, STROKE | {"everywhere": False, "mask": MASK}]},
    "areas": {"scene": 3, "strokes": []},
    "recipe": {"scene": 3, "strokes": [STROKE | {"action": "add"}]},
    "find": {"layer": "layer", "words": "red", "scene": 3},
}


@pytest.fixture(scope="module")
def exploring(net_file, dissection):
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    return asking(ExploringPage("run", net, dissection, open_data(dissection.info["data"]["source"]), ("0", "4")))


@pytest.fixture(scope="module")
def painting():
    return asking(painting_page())


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(4, 4))
    return tmp_path


def check(answer):
    """Make sure that it is an answer, or a sentence of whose fault it is."""
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert "Traceback" not in answer.text
        assert len(answer.text) < 2000
    assert "should not have" not in answer.text  # the end of a stream that failed


def changed(body, rng):
    content = json.dumps(body).encode()
    for _ in range(int(rng.integers(1, 3))):
        with suppress(ValueError, LookupError, RecursionError):  # what an earlier change has broken
            content = (change_json if rng.random() < 0.85 else change_bytes)(content, rng)
    return content


@seeds(STEP, 60 * STEP, STEP)
@pytest.mark.parametrize("page", ["exploring", "painting"])
def test_strange_bodies(page, first, request, secret):
    client, bodies = request.getfixturevalue(page), {"exploring": EXPLORING, "painting": PAINTING}[page]
    names = sorted(bodies)
    with watched(secret):
        for seed in range(first, first + STEP):
            name = names[seed % len(names)]
            check(client.post(f"api/{name}", content=changed(bodies[name], np.random.default_rng(seed))))


@seeds(50, 1000, 50)
@pytest.mark.parametrize("page", ["exploring", "painting"])
def test_strange_questions(page, first, request, secret):
    client = request.getfixturevalue(page)
    with watched(secret):
        for seed in range(first, first + 50):
            rng = np.random.default_rng(seed)
            texts = [*TEXTS, *map(str, STRANGE), "0", "1", "layer", "²", "٣", "1e3", "sent-0", "../../secret.png"]
            for path, named in (("unit", ("layer", "unit")), ("image", ("image",)), ("layer", ("layer",))):
                query = {name: pick(rng, texts)[:500] for name in named if rng.random() < 0.9}
                check(client.get(f"api/{path}", params=query))


@seeds(50, 500, 50)
def test_strange_images(first, exploring, secret):
    files = image_files()
    names = sorted(files)
    with watched(secret):
        for seed in range(first, first + 50):
            content = spoiled(files[names[seed % len(names)]], np.random.default_rng(seed))
            check(exploring.post("api/upload", content=content))


def test_sound_requests_are_answered(exploring, painting):
    for client, bodies in ((exploring, EXPLORING), (painting, PAINTING)):
        for name, body in bodies.items():
            answer = client.post(f"api/{name}", json=body)
            assert answer.status_code == 200 or name == "find", (name, answer.text)
