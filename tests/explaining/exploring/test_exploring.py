"""An explorer says of an image what `explain`, `intervening` and `ablate` say; work between blocks may stop it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import unitlens as ul
from tests.naive import upsample
from tests.worlds.coloured import blocks
from unitlens.data.images import decode_image
from unitlens.data.opening import open_data
from unitlens.data.readers.given import given_images
from unitlens.explaining.exploring.explorer import Explorer
from unitlens.explaining.exploring.viewed import probabilities


@pytest.fixture(scope="module")
def explorer(net_file, dissection):
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    return Explorer(net, dissection, open_data(dissection.info["data"]["source"]), "0")


def answer(explorer, number, *interventions):
    """Logits of an image by a full pass."""
    inputs = explorer.net.prepare(torch.from_numpy(explorer.pixels(number).copy()).permute(2, 0, 1)[None])
    with ul.intervening(explorer.net, *interventions), ul.evaluating(explorer.net.model):
        return explorer.net.model(inputs)[0].double().numpy()


def test_units_that_are_switched_are_an_intervention(explorer, dissection):
    viewed, where = explorer.view(3), np.zeros(explorer.view(3).grid, bool)
    where[1:3, :2] = True
    means, thresholds = dissection.info["layers"]["0"]["mean"], dissection["0"].table()["threshold"]
    edits = [
        explorer.edit([0], "off"),
        explorer.edit([1], "mean", strength=0.5),
        explorer.edit([2], "on", where),
    ]
    interventions = [
        ul.Intervention("0", [0], 0.0),
        ul.Intervention("0", [1], means[1], where=torch.tensor(0.5)),
        ul.Intervention("0", [2], thresholds[2], where=torch.from_numpy(where)),
    ]
    assert np.allclose(viewed.logits, answer(explorer, 3), atol=1e-6)
    assert np.allclose(viewed.with_edits(edits), answer(explorer, 3, *interventions), atol=1e-5)
    assert viewed.with_edits([]).tolist() == viewed.logits.tolist()
    assert probabilities(viewed.logits).sum() == pytest.approx(1)


def test_reasons_and_the_smallest_set_are_those_of_explain(explorer, dissection):
    names = [explorer.entry(number).name for number in (0, 5)]
    for one, number in zip(
        ul.explain(explorer.net, dissection, explorer.data, layer="0", names=names), (0, 5), strict=True
    ):
        viewed = explorer.view(number)
        again = viewed.explain()
        assert again.units.logit.tolist() == one.units.logit.tolist()
        assert (again.concepts, again.named) == (one.concepts, one.named)
        assert again.area.tolist() == one.area.tolist()
        assert viewed.smallest_set() == one.smallest
        grid = [upsample(map_, dissection.settings.grid) for map_ in viewed.maps([2, 0])]
        masks = [map_ > threshold for map_, threshold in zip(grid, explorer.values("on")[[2, 0]], strict=True)]
        assert [mask.mean() for mask in masks] == one.area[[2, 0]].tolist()
        other = (one.explained + 1) % 3
        (followed,) = ul.explain(explorer.net, dissection, explorer.data, layer="0", names=[one.image], class_=other)
        assert viewed.explain(other).units.logit.tolist() == followed.units.logit.tolist()


def test_work_stops_between_blocks_and_can_be_done_again(explorer):
    class Stopped(Exception):
        pass

    def stop(done):
        raise Stopped

    done = []
    viewed = explorer.view(7)
    for work in (viewed.explain, viewed.smallest_set):
        with pytest.raises(Stopped):
            work(between=stop)
        work(between=done.append)
    assert sum(done) >= len(explorer.labelled)
    assert viewed.explain().units.logit.tolist() == explorer.view(7).explain().units.logit.tolist()


def test_an_image_that_is_given_is_viewed_as_one_of_the_data(explorer):
    image = blocks(100)[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    decoded = decode_image(file.getvalue(), "dropped.png", most_pixels=10**6)
    assert (decoded == image).all()
    given = given_images(decoded)
    assert explorer.view(given) is explorer.view(given)
    assert np.allclose(explorer.view(given).explain().before.logit, explorer.view(given).logits.max())
    with pytest.raises(ul.UnitlensError, match=r"dropped\.png has 32 x 32 pixels.*1,000 pixels"):
        decode_image(file.getvalue(), "dropped.png", most_pixels=1000)
    with pytest.raises(ul.UnitlensError, match=r"dropped\.svg is not an image"):
        decode_image(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "dropped.svg", most_pixels=1000)


class Classed:
    """The world's images, of three classes in turn."""

    def __init__(self, data):
        self.data, self.concepts = data, data.concepts

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index]._replace(class_=str(index % 3))


def test_images_come_page_by_page_by_class_and_wrong_ones_alone(explorer, dissection):
    classed = Explorer(explorer.net, dissection, Classed(explorer.data), "0")
    everything = classed.page(count=10**6).entries
    assert [(entry.number, entry.class_) for entry in everything] == [(n, str(n % 3)) for n in range(len(classed.data))]
    wrong = [number for number in range(len(everything)) if answer(explorer, number).argmax() != number % 3]
    assert 0 < len(wrong) < len(everything)
    assert [entry.number for entry in classed.page(count=10**6, wrong=True).entries] == wrong
    first = classed.page(count=1, class_="2")
    second = classed.page(first.go_on_at, count=1, class_="2")
    assert [entry.number for entry in (*first.entries, *second.entries)] == [2, 5]
    assert explorer.page(count=10**6, wrong=True).entries == ()  # images without a class of their own


def test_what_cannot_be_switched_or_viewed_is_said(explorer):
    with pytest.raises(ul.UnitlensError, match="There is no image 999"):
        explorer.view(999)
    with pytest.raises(ul.UnitlensError, match="units 0 to 3; 4 is not"):
        explorer.edit([4], "off")
    edit = explorer.edit([0], "off")
    with pytest.raises(ul.UnitlensError, match="of 4, and explored is 0"):
        explorer.view(0).with_edits([type(edit)("4", (0,), (0.0,), 1.0, None, "")])
    with pytest.raises(ul.UnitlensError, match="grid of 2 x 2"):
        explorer.view(0).with_edits([explorer.edit([0], "off", np.ones((2, 2), bool))])
