"""What the exploring page is told over HTTP is what `explain` and `intervening` say; what is wrong is a sentence."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import unitlens as ul
from tests.app.pages import asking
from unitlens.app.exploring import ExploringPage, SeenImage
from unitlens.app.turns import Superseded, Task
from unitlens.data.opening import open_data


@pytest.fixture(scope="module")
def page(net_file, dissection):
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    return ExploringPage("run", net, dissection, open_data(dissection.info["data"]["source"]), ("0", "4"))


@pytest.fixture(scope="module")
def client(page):
    return asking(page)


def asked(**changed):
    return {"layer": "0", "image": "3", "class_": None, "switches": [], "grid": None, "mask": ""} | changed


def lines(answer):
    *progress, last = map(json.loads, answer.text.splitlines())
    shares = [line["progress"] for line in progress]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    return last


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def test_a_switch_is_an_intervention_and_said_in_a_sentence(page, client):
    where = np.zeros(page._explorer("0").view(3).grid, bool)
    where[1:, 2:] = True
    switches = [{"units": [0, 2], "position": "off"}, {"units": [1], "position": "on"}]
    mask = base64.b64encode(np.packbits(where)).decode()
    answer = client.post("api/switch", json=asked(switches=switches, grid=where.shape, mask=mask)).json()
    pixels = np.asarray(Image.open(io.BytesIO(client.get("api/image?image=3").content)))
    inputs = page.net.prepare(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    threshold, places = page.dissection["0"].table()["threshold"][1], torch.from_numpy(where)
    edits = [ul.Intervention("0", [0, 2], where=places), ul.Intervention("0", [1], float(threshold), where=places)]
    with ul.evaluating(page.net.model):
        before = page.net.model(inputs)[0].double().numpy()
        with ul.intervening(page.net, *edits):
            after = page.net.model(inputs)[0].double().numpy()
    assert answer["predicted"] == [before.argmax(), after.argmax()]
    assert sorted(row["output"] for row in answer["classes"]) == [0, 1, 2]
    for row in answer["classes"]:
        assert row["logit"] == pytest.approx([before[row["output"]], after[row["output"]]], abs=1e-5)
        shares = [softmax(logits)[row["output"]] for logits in (before, after)]
        assert row["probability"] == pytest.approx(shares, abs=1e-5)
    assert answer["sentence"].startswith("Without units 0 and 2, with unit 1 at its threshold where it is painted: ")


def test_reasons_and_the_smallest_set_are_those_of_explain(page, client):
    name = page._explorer("0").entry(3).name
    (one,) = ul.explain(page.net, page.dissection, page.data, layer="0", names=[name])
    reasons = lines(client.post("api/reasons", json={"layer": "0", "image": "3", "class_": None}))["result"]
    assert reasons["followed"] == one.explained
    assert reasons["units"]["logit"] == one.logit_effect.tolist()
    assert reasons["units"]["prediction"] == one.units.prediction.tolist()
    assert reasons["concepts"]["area"] == one.concept_area.tolist()
    smallest = lines(client.post("api/smallest", json={"layer": "0", "image": "3"}))["result"]
    assert smallest["units"] == list(one.smallest.found.units)
    switched = asked(switches=[{"units": smallest["units"], "position": "off"}])
    assert client.post("api/switch", json=switched).json()["predicted"][1] == one.smallest.found.answer.prediction
    maps = client.post("api/maps", json={"layer": "0", "image": "3", "units": [2, 0]}).json()
    values = np.frombuffer(base64.b64decode(maps["maps"]), "<f4").reshape(maps["shape"])
    assert (values == page._explorer("0").view(3).maps([2, 0])).all()


def test_a_search_that_nobody_waits_for_ends_and_hands_on_its_turn(page):
    task = Task(page.turns, long=True)
    with pytest.raises(Superseded):
        page._smallest_set(SeenImage("0", "9"), task, lambda share: task.stop())
    with page.turns.turn():
        pass
    assert page._smallest_set(SeenImage("0", "9"), Task(page.turns, long=True), lambda share: None)["units"]


def test_an_image_that_is_sent_is_explored_like_the_others(page, client):
    file = client.get("api/image?image=5").content
    sent = client.post("api/upload?name=mine.png", content=file).json()
    assert sent["name"] == "mine.png"
    of_data, of_sent = (client.post("api/switch", json=asked(image=image)).json() for image in ("5", sent["image"]))
    assert of_sent["classes"] == of_data["classes"]
    assert client.get(f"api/image?image={sent['image']}").content == file
    refused = client.post("api/upload?name=page.html", content=b"<script>alert(1)</script>")
    assert (refused.status_code, refused.json()["error"]) == (400, "page.html is not an image that can be read.")


def test_the_run_its_images_and_units_are_described(page, client):
    run = client.get("api/run").json()
    assert (run["layers"], run["images"], run["image_classes"]) == (["0", "4"], len(page.data), [])
    layer = client.get("api/layer?layer=0").json()
    assert [unit["concept"] for unit in layer["units"]][:3] == ["red", "green", "blue"]
    assert [concept["units"] for concept in layer["concepts"]] == [[2], [1], [0]]
    found = lines(
        client.post("api/images", json={"layer": "0", "start": 2, "count": 3, "class_": None, "wrong": False})
    )
    assert [image["number"] for image in found["result"]["images"]] == [2, 3, 4]
    assert found["result"]["go_on_at"] == 5
    small = Image.open(io.BytesIO(client.get("api/image?image=2&size=small").content))
    assert (small.format, small.size) == ("JPEG", (96, 96))
    assert client.get("api/unit?layer=0&unit=1").headers["content-type"].startswith("image/")
    for file in ("", "explore.js", "explore.css", "masks.js"):
        assert client.get(file).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "facts"),
    [
        ("switch", asked(image="99"), ["no image 99", "0 to 13"]),
        ("switch", asked(image="sent-0"), ["drop it again"]),
        ("switch", asked(image="-1"), ["drop it again"]),
        ("switch", asked(layer="9"), ["layer 9 was not dissected", "0, 4"]),
        ("switch", asked(class_=3), ["class_", "3", "0 and 2"]),
        ("switch", asked(switches=[{"units": [7], "position": "off"}]), ["units 0 to 3", "7"]),
        ("switch", asked(switches=[{"units": [1], "position": "up"}]), ["up", "off, mean, on"]),
        ("switch", asked(switches=[{"units": [1], "position": "off"}] * 2), ["once"]),
        ("switch", asked(switches=[{"units": [1], "position": "off"}], grid=[2, 2], mask="8A=="), ["2 x 2"]),
        ("switch", {"layer": "0"}, ["The request"]),
        ("maps", {"layer": "0", "image": "3", "units": [-1]}, ["units 0 to 3"]),
        ("maps", {"layer": "0", "image": "3", "units": [0] * 65}, ["65", "64"]),
        ("images", {"layer": "0", "start": -1, "count": 1, "class_": None, "wrong": False}, ["start", "-1"]),
        ("images", {"layer": "0", "start": 0, "count": 10**6, "class_": None, "wrong": False}, ["count", "60"]),
    ],
)
def test_an_impossible_request_is_a_sentence(client, path, body, facts):
    answer = client.post(f"api/{path}", json=body)
    assert answer.status_code == 400
    assert all(fact in answer.json()["error"] for fact in facts), answer.text
