"""Explanations of single images, beside full passes and all subsets."""

import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import unitlens as ul
from tests.naive import upsample
from tests.worlds.coloured import blocks
from unitlens.ablation.attribution import METHODS
from unitlens.explaining.explanation import AGREEMENT_COLUMNS, ATTRIBUTED, COLUMNS, CONCEPT_COLUMNS, SET_COLUMNS

IMAGES = [blocks(seed)[0] for seed in range(100, 105)]


@pytest.fixture
def explained(net, dissection):
    return ul.explain(net, dissection, IMAGES, layer="0")


def answer(net, image, units=(), value=0.0):
    """Logits of an image, by a full pass with units ablated."""
    inputs = net.prepare(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
    interventions = [ul.Intervention("0", list(units), value)] if units else []
    with ul.intervening(net, *interventions), torch.no_grad():
        return net.model.eval()(inputs)[0].double().numpy()


def test_every_unit_is_what_a_full_pass_without_it_says(net, explained):
    for one, image in zip(explained, IMAGES, strict=True):
        untouched = answer(net, image)
        assert one.before.prediction == one.explained == untouched.argmax()
        assert one.before.logit == pytest.approx(untouched.max(), abs=1e-6)  # with no unit removed: the prediction
        for unit in range(4):
            full = answer(net, image, [unit])
            assert one.logit_effect[unit] == pytest.approx((full - untouched)[one.explained], abs=1e-5)
            assert one.units.probability[unit] == pytest.approx(softmax(full)[one.explained], abs=1e-5)
            assert one.units.prediction[unit] == full.argmax()


def test_a_fast_front_explains_the_same_but_for_rounding(net, dissection, explained):
    faster = ul.explain(net, dissection, IMAGES, layer="0", fast=True)
    assert faster.info["replay"]["fast"]["precision"] == "float32"
    for one, other in zip(explained, faster, strict=True):
        np.testing.assert_allclose(other.logit_effect, one.logit_effect, atol=1e-4)


def test_the_module_of_the_network_is_given_images_as_in_the_dissection(net, dissection, explained):
    asked = (
        lambda given: ul.explain(given, dissection, IMAGES, layer="0"),
        lambda given: ul.compare_images(given, dissection, IMAGES[:4], IMAGES[1:], layer="0"),
    )
    for ask in asked:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The 4 pairs fill", ul.UnitlensWarning)
            of_module, of_net = ask(net.model), ask(net)
            assert of_module.table().equals(of_net.table())
            assert of_module.info["network"]["preprocessing"] == of_net.info["network"]["preprocessing"]
        other = ul.classifier(net.model, image_size=64, mean=(0, 0, 0), std=(1, 1, 2))
        differences = r"image_size is \(64, 64\), not \(32, 32\), std is \(1.0, 1.0, 2.0\), not \(1.0, 1.0, 1.0\)"
        with pytest.raises(ul.UnitlensError, match=rf"other images than in the run \({differences}\).*or its module"):
            ask(other)
        with pytest.raises(ul.UnitlensError, match=r"is a network or a torch.nn.Module, not a str"):
            ask("resnet18")


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_effects_sum_where_the_head_is_linear(explained):
    for one in explained:
        for ablated in (*one.together, *one.concepts):
            alone = one.logit_effect[list(ablated.units)].sum()
            assert ablated.answer.logit - one.before.logit == pytest.approx(alone, abs=1e-5)
        assert [len(ablated.units) for ablated in one.together] == [1, 2, 3, 4]


def test_attributions_of_a_linear_head_are_what_removal_costs(net, dissection):
    methods = ("activation_x_gradient", "conductance")
    table = ul.explain(net, dissection, IMAGES[:2], layer="0", attributions=methods).table()
    assert np.allclose(table["activation_x_gradient"], -table["logit_effect"], atol=1e-5)
    assert table["conductance"].notna().all()


def test_area_and_peak_are_those_of_the_dissection(net, dissection, explained):
    thresholds = dissection["0"].table()["threshold"].to_numpy()
    for one in explained:
        for unit in range(4):
            assert one.peak[unit] == one.maps[unit].max()
            grid = upsample(one.maps[unit], dissection.settings.grid)
            assert one.area[unit] == (grid > thresholds[unit]).mean()


def test_a_planted_reason_is_found_and_said(explained):
    names = ("red", "green", "blue")
    for one in explained:
        own = one.explained  # unit k is all that speaks for class k
        assert one.ranked[0] == own
        said = explained.sentences()[one.image]
        assert said.startswith(f"{own} (")
        assert f"{names[own]} (unit {own}; logit -" in said
        assert f"without them: {explained.classes[one.named.answer.prediction]}" in said.replace("still ", "")
    concepts = explained.concepts()
    assert (concepts.groupby("image").first()["concept"] == [names[one.explained] for one in explained]).all()


def test_another_class_can_be_followed(net, dissection, explained):
    (other,) = ul.explain(net, dissection, IMAGES[0], layer="0", class_=int((explained[0].explained + 1) % 3))
    assert other.explained != other.before.prediction == explained[0].before.prediction
    assert other.ranked[0] == other.explained


def test_units_can_be_set_to_their_mean(net, dissection):
    (one,) = ul.explain(net, dissection, IMAGES[0], layer="0", value="mean")
    means = dissection.info["layers"]["0"]["mean"]
    for unit in range(3):
        full = answer(net, IMAGES[0], [unit], means[unit]) - answer(net, IMAGES[0])
        assert one.logit_effect[unit] == pytest.approx(full[one.explained], abs=1e-5)


def test_tables_have_the_documented_columns(explained):
    assert list(explained.table().columns) == list(COLUMNS)
    assert list(explained.concepts().columns) == list(CONCEPT_COLUMNS)
    assert list(explained.sets().columns) == list(SET_COLUMNS)
    assert list(explained.agreement().columns) == list(AGREEMENT_COLUMNS)
    assert tuple(METHODS) == ATTRIBUTED
    assert explained.table()["conductance"].isna().all()
    assert len(explained.table()) == 4 * len(IMAGES)
    assert explained["image 3"] is explained[3]
    with pytest.raises(ul.UnitlensError, match=r"image 9 was not explained.*image 0, image 1"):
        explained["image 9"]


def head(weight):
    """A network of as many units as the weight has columns: they say the image's first pixels."""
    classes, units = weight.shape
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(12, units, bias=False), nn.ReLU(), nn.Linear(units, classes, bias=False)
    )
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(units, 12))
        model[3].weight.copy_(torch.from_numpy(weight))
    return model


numbers = st.lists(st.integers(-4, 4), min_size=18, max_size=18)


@given(numbers, st.lists(st.integers(1, 9), min_size=6, max_size=6))
def test_the_smallest_set_is_that_of_all_subsets(weights, pixels):
    from unitlens.ablation.activity import LayerValues
    from unitlens.ablation.interventions import Replacement
    from unitlens.ablation.replay.replayed import MeasuredImages, Replays
    from unitlens.explaining.smallest_sets import alone, smallest_set

    weight = np.array(weights, np.float32).reshape(3, 6)
    image = torch.zeros(1, 12)
    image[0, :6] = torch.tensor(pixels, dtype=torch.float32)
    net = ul.classifier(head(weight), image_size=2, mean=(0, 0, 0), std=(1, 1, 1))
    batch = type("Batch", (), {"indices": [0], "groups": ["a"], "hashes": [0]})()
    replays = Replays(net, ("2",), (LayerValues(Replacement(0.0)),), None, total=1)
    replayed = replays.on(MeasuredImages(batch, np.array([0]), image.view(1, 3, 2, 2)))
    found = smallest_set(replayed, alone(replayed), share=0.01, most=6)

    values = np.array(pixels) * weight
    predicted = values.sum(1).argmax()
    sizes = [
        size
        for size in range(1, 7)
        for left_out in combinations(range(6), size)
        if np.delete(values, left_out, 1).sum(1).argmax() != predicted
    ]
    if not sizes:
        assert found.found is None
        assert found.exhausted == 6
    else:
        assert (len(found.found.units), found.certain) == (min(sizes), True)
        left = np.delete(values, found.found.units, 1).sum(1)
        assert left.argmax() == found.found.answer.prediction != predicted


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"images": []}, r"No image was given"),
        ({"images": "nowhere.png"}, r"There is no image file nowhere\.png"),
        ({"images": np.zeros((9, 8, 5), np.uint8)}, r"image 0 has 5 bands, and the network takes 3: choose"),
        ({"class_": "rad"}, r"There is no class 'rad'.*0, 1, 2"),
        ({"layer": "1"}, r"The layer 1 was not dissected.*0, 4"),
        ({"layer": None}, r"Several layers were dissected: choose one of 0, 4"),
        ({"top": 0}, r"top is 0; it is 1 or more"),
        ({"value": "median"}, r"value is 'median'.*a number, or to 'mean'"),
        ({"attributions": ["conductence"]}, r"no attribution 'conductence' \(did you mean conductance\?\)"),
    ],
)
def test_what_cannot_be_explained_is_said(net, dissection, change, facts):
    given = {"images": IMAGES[0], "layer": "0"} | change
    with pytest.raises(ul.UnitlensError, match=facts):
        ul.explain(net, dissection, given.pop("images"), **given)


def test_a_dissection_of_other_weights_is_refused(net, dissection):
    with torch.no_grad():
        net.model[0].bias.add_(1)
    with pytest.raises(ul.UnitlensError, match="other weights than this network has: dissect this network"):
        ul.explain(net, dissection, IMAGES[0], layer="0")
    with torch.no_grad():
        net.model[0].bias.sub_(1)


def test_a_generator_has_no_predictions(dissection):
    from unitlens.explaining.images import output_classes

    net = ul.load("bundled:scenes-generator")
    with pytest.raises(ul.UnitlensError, match="scenes-generator does not return scores of classes"):
        output_classes(net, ul.latents((96,), 2))
