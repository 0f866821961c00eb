"""What the painting page is told: images as hooks give them, areas, recipes, and sentences for what is impossible."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("starlette", reason="starlette is not installed (extra app)")

import unitlens as ul
from tests.app.pages import asking, mask, painting_page
from tests.worlds.generators import CELLS, Measured
from unitlens.ablation.replay.edits import UnitEdit
from unitlens.app.site import STATIC
from unitlens.editing.painting.scenes import latent_of

PLACE = [(row, column) for row in range(4, 8) for column in range(8, 12)]


@pytest.fixture(scope="module")
def page():
    return painting_page()


@pytest.fixture(scope="module")
def client(page):
    return asking(page)


@pytest.fixture(scope="module")
def run(client):
    return client.get("api/run").json()


def stroke(run, name, action, *, cells=PLACE, strength=1.0):
    number = [concept["name"] for concept in run["concepts"]].index(name)
    units = [unit["unit"] for unit in run["concepts"][number]["units"] if unit["concept"] == name]
    packed = base64.b64encode(np.packbits(mask(*cells)).tobytes()).decode()
    everywhere = not cells
    return {
        "concept": number,
        "units": units,
        "action": action,
        "strength": strength,
        "everywhere": everywhere,
        "mask": "" if everywhere else packed,
    }


def pixels(url):
    assert url.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_the_run_is_described(run, page):
    assert (run["run"], run["image"], run["scenes"], run["areas"]) == ("squares", [32, 32], 1_000_000, True)
    (layer,) = run["layers"]
    assert (layer["name"], layer["units"], layer["grid"], len(layer["labels"])) == ("layer", 8, [CELLS, CELLS], 8)
    assert {concept["name"] for concept in run["concepts"]} == {concept.name for concept in Measured.concepts}
    red = next(concept for concept in run["concepts"] if concept["name"] == "red")
    assert red["segmenter_iou"] == 0.9
    assert red["units"][0]["effect"] is None
    assert red["units"][0]["iou"] == max(unit["iou"] for unit in red["units"])


def test_a_scene_is_drawn_with_strokes_as_hooks_in_a_full_pass_give_it(client, run, page):
    strokes = [stroke(run, "red", "add"), stroke(run, "green", "remove", cells=[], strength=0.4)]
    answer = client.post("api/draw", json={"scene": 3, "strokes": strokes}).json()
    edits = []
    for one, cells in zip(strokes, (PLACE, []), strict=True):
        concept = page.palette.concepts[one["concept"]]
        values = concept.values(one["units"], one["action"], one["strength"])
        where = mask(*cells) if cells else None
        edits.append(UnitEdit.at("layer", one["units"], values, where, strength=one["strength"]))
    net, latent = page.painter.net, latent_of(page.latents, 3)
    inputs = net.prepare(torch.from_numpy(latent)[None])
    with ul.evaluating(net.model), ul.intervening(net, *[edit.intervention() for edit in edits]):
        expected = net.images(inputs, net.model(inputs))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels(answer["after"]), expected)
    moved = (pixels(answer["after"]) != pixels(answer["before"])).any(-1)
    assert moved.any()


def test_undoing_gives_the_same_bytes(client, run):
    one, other = stroke(run, "red", "add"), stroke(run, "blue", "add", cells=[(12, 12)])
    asked = [[], [one], [one, other], [one], []]
    answers = [client.post("api/draw", json={"scene": 1, "strokes": strokes}).content for strokes in asked]
    assert answers[1] == answers[3] != answers[0] == answers[4]


def test_areas_are_those_of_the_concept_source_before_and_after(client, run):
    asked = {"scene": 2, "strokes": [stroke(run, "red", "add")]}
    *progress, last = client.post("api/areas", json=asked).text.splitlines()
    assert [json.loads(line)["progress"] for line in progress] == pytest.approx([1 / 3, 2 / 3], abs=1e-3)
    rows = {row["concept"]: row for row in json.loads(last)["result"]}
    drawn = client.post("api/draw", json=asked).json()
    for name in ("before", "after"):
        marked = Measured().planes(pixels(drawn[name]), "")["color"][0]
        assert rows["red"][name] == pytest.approx((marked == 1).mean())
    assert rows["red"]["after"] > rows["red"]["before"]


def test_the_recipe_draws_the_same_image(client, run, page, tmp_path):
    asked = {"scene": 4, "strokes": [stroke(run, "red", "add", strength=1.7), stroke(run, "blue", "remove", cells=[])]}
    (tmp_path / "recipe.json").write_bytes(client.post("api/recipe", json=asked).content)
    edited = ul.open_recipe(tmp_path / "recipe.json").draw(page.painter.net)
    drawn = client.post("api/draw", json=asked).json()
    np.testing.assert_array_equal(edited.after[0], pixels(drawn["after"]))
    np.testing.assert_array_equal(edited.before[0], pixels(drawn["before"]))


def test_a_unit_has_its_exemplars(client):
    answer = client.get("api/unit", params={"layer": "layer", "unit": 3})
    assert answer.headers["content-type"].startswith("image/")
    assert Image.open(io.BytesIO(answer.content)).size[0] > 0


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"scene": -1}, ["-1", "1000000"]),
        ({"scene": 1.5}, ["scene", "whole number"]),
        ({"scene": 10**30}, ["scene", "too large"]),
        ({"strokes": [{}]}, ["lacks concept"]),
        ({"strokes": "all"}, ["strokes", "list"]),
        ({"more": 1}, ["more"]),
    ],
)
def test_an_impossible_request_is_a_sentence(client, changed, facts):
    answer = client.post("api/draw", json={"scene": 0, "strokes": []} | changed)
    assert answer.status_code == 400
    assert all(fact in answer.json()["error"] for fact in facts)


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"concept": 99}, ["concept", "99"]),
        ({"units": [8]}, ["8 units", "unit 8"]),
        ({"units": []}, ["units"]),
        ({"units": list(range(5000))}, ["units"]),
        ({"action": "paint"}, ["paint", "remove, add"]),
        ({"strength": 4}, ["strength", "4"]),
        ({"mask": "AAAA"}, ["mask", "3 bytes", "32"]),
        ({"mask": "é"}, ["base64"]),
        ({"everywhere": 1}, ["everywhere", "True or False"]),
    ],
)
def test_an_impossible_stroke_is_a_sentence(client, run, changed, facts):
    answer = client.post("api/draw", json={"scene": 0, "strokes": [stroke(run, "red", "add") | changed]})
    assert answer.status_code == 400
    assert all(fact in answer.json()["error"] for fact in facts)


def test_too_much_and_what_is_no_json_is_refused(client, run):
    many = client.post("api/draw", json={"scene": 0, "strokes": [stroke(run, "red", "add")] * 201})
    assert (many.status_code, "201 strokes" in many.json()["error"]) == (400, True)
    for body in (b"", b"{", b"[" * 100_000, b"\xff", b"NaN", json.dumps([]).encode()):
        assert client.post("api/draw", content=body).status_code == 400
    assert client.get("api/draw").status_code == 405
    assert client.get("api/other").status_code == 404
    assert client.get("../../etc/passwd").status_code in (403, 404)


@pytest.mark.parametrize(
    "query", [{}, {"layer": "layer", "unit": "x"}, {"layer": "lay", "unit": 1}, {"layer": "layer", "unit": 99}]
)
def test_exemplars_of_no_unit_are_a_sentence(client, query):
    answer = client.get("api/unit", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")


def test_the_page_and_its_files_are_there(client, page):
    assert client.get("").text == (STATIC / "paint.html").read_text()
    for name in (*page.files[1:], "page.js", "page.css", "base.css", "first.js", "theme.js"):
        assert client.get(name).status_code == 200
    assert client.get("explore.html").status_code == 404
