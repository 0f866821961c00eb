"""The smallest set of units that removes a planted colour, by all three methods."""

import re

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import GREY, Squares, painted, painter
from tests.worlds.planted import COLOURS
from unitlens.data.preparing import image_hash
from unitlens.stats.folds import iou_in

EXTRA = 4


class SoftSquares(Squares):
    """Squares that says how likely each colour is, by how near the pixel is to it."""

    def probabilities(self, images):
        anchors = torch.tensor([(GREY,) * 3, *COLOURS.values()]) / 255
        distance = ((images[:, None] - anchors[None, :, :, None, None]) ** 2).sum(2)
        return (-8 * distance).softmax(1)[:, 1:]


@pytest.fixture(scope="module")
def net():
    return painter(8, extra=EXTRA)


@pytest.fixture(scope="module")
def latents():
    return painted(160, extra=EXTRA)


@pytest.fixture(scope="module")
def dissection(net, latents):
    return ul.dissect(net, "layer", latents, evidence=False, exemplars=0)


@pytest.mark.parametrize("method", ["iou", "greedy", "optimise"])
def test_every_method_finds_the_planted_units(net, latents, dissection, method):
    options = {"dissection": dissection, "most": 4, "insert": 0.2, "steps": 40}
    found = ul.concept_set(net, "layer", "red", latents, SoftSquares(), method=method, target=1.0, **options)
    assert set(found.units) == {0, 4}
    assert found.reached
    assert found.removed()[0] == 1.0
    table = found.table()
    assert table["units"].tolist() == [1, 2, 3, 4]
    assert 0 < table.loc[0, "removed"] < 1
    assert (table["others_lost"].iloc[:2] == 0).all()
    assert [int(unit) for unit in table["added"]] == list(found.ranking)
    most = ul.concept_set(net, "layer", "red", latents, SoftSquares(), method=method, target=0.3, **options)
    assert most.size == 1
    assert (found.weights is not None) == (method == "optimise")


def test_what_has_no_interval_is_said_without_one(net):
    with pytest.warns(ul.UnitlensWarning, match="there are no intervals"):
        few = ul.concept_set(net, "layer", "red", painted(12, extra=EXTRA), most=1)
    many = ul.concept_set(net, "layer", "red", painted(160, extra=EXTRA), most=1)
    assert "nan" not in repr(few)
    assert re.search(r"remove \d+% \(\d+% to \d+%\) on latents", repr(many))


def test_the_set_is_measured_on_latents_that_did_not_choose_it(net, latents):
    found = ul.concept_set(net, "layer", "blue", latents, most=2)
    one, other = (ul.intervene(net, "layer", found.units, latents, draws=0, folds=f) for f in ("even", "odd"))
    row = other.table().set_index("concept").loc["blue"]
    assert found.removed() == pytest.approx((row["removed"], row["removed_low"], row["removed_high"]))
    assert one.images + other.images == len(latents)


@pytest.mark.slow
def test_weights_keep_away_from_units_that_draw_nothing(net, latents):
    found = ul.concept_set(net, "layer", "green", latents, SoftSquares(), method="optimise", insert=0.2, steps=60)
    assert found.weights.min() >= 0
    assert found.weights.max() <= 1
    assert set(found.ranking[:2]) == {1, 5}
    assert (found.weights[8:] == 0).all()
    assert all(parameter.requires_grad for parameter in net.model.parameters())
    assert all(parameter.grad is None for parameter in net.model.parameters())


def test_units_are_ranked_by_their_iou_on_latents_that_do_not_measure(net, latents, dissection):
    even = [image_hash(latents[i]) % 2 == 0 for i in range(len(latents))]
    chosen = np.flatnonzero(even)
    column = dissection.column("red")
    for folds, picked in (("even", chosen), ("odd", np.flatnonzero(~np.array(even))), ("all", np.arange(len(latents)))):
        inputs = torch.from_numpy(np.stack([latents[i].image for i in picked]))
        with ul.evaluating(net.model), ul.record(net.model, "layer") as recording:
            images = net.images(inputs, net.model(net.prepare(inputs))).permute(0, 2, 3, 1).numpy()
        red = np.stack([Squares().planes(image, "")["color"][0][2::4, 2::4] == 1 for image in images])
        maps = torch.nn.functional.interpolate(recording["layer"], (8, 8), mode="bilinear", align_corners=False)
        masks = maps.numpy() > dissection.table()["threshold"].to_numpy(np.float32)[:, None, None]
        both, either = ((op(masks, red[:, None])).sum((0, 2, 3)) for op in (np.logical_and, np.logical_or))
        assert iou_in(dissection.counts, folds)[:, column] == pytest.approx(both / either)
    found = ul.concept_set(net, "layer", "red", latents, method="iou", dissection=dissection, most=4)
    assert list(found.ranking) == dissection.units_for("red", 4, folds="even")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "gredy"}, "There is no method 'gredy'.*greedy"),
        ({"method": "iou"}, "give dissection=d"),
        ({"method": "optimise"}, "squares does not say"),
        ({"target": 0}, "target=0"),
        ({"most": 0}, "most=0"),
        ({"concept": "tree"}, "squares does not know the concept 'tree'"),
    ],
)
def test_what_cannot_be_searched_is_a_clear_error(net, latents, options, sentence):
    concept = options.pop("concept", "red")
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.concept_set(net, "layer", concept, latents, **options)


def test_a_concept_that_nobody_draws_has_no_set(net, latents):
    class Unicorns(Squares):
        concepts = (*Squares.concepts, ul.Concept("color", 9, "unicorn"))

    with pytest.raises(ul.UnitlensError, match="Nothing of unicorn is drawn in 160 images"):
        ul.concept_set(net, "layer", "unicorn", latents, Unicorns(), method="greedy", most=2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["greedy", "optimise"])
def test_sets_of_the_bundled_generator_remove_what_its_segmenter_sees(method):
    net, source = ul.load("bundled:scenes-generator"), ul.segmenter("bundled:scenes-segmenter")
    latents = ul.with_concepts(ul.latents(96, 20), source)
    found = ul.concept_set(net, "block16", "sky", latents, method=method, most=3, steps=20)
    table = found.table()
    assert table["units"].tolist() == [1, 2, 3]
    assert table["chosen_on"].iloc[-1] > 0
    assert (table["segmenter_iou"] == source.ious["object", "sky"]).all()
    assert found.weights is None or (found.weights.min() >= 0 and found.weights.max() <= 1)
