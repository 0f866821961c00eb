"""Outcomes that are not there, not of such a network, or not numbers: one sentence with what is possible."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.ablation.outcomes.networks import NAMES, Detector, Marked, Segmenter, Vectors, network

pytestmark = pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")


def refused(net, outcome, *facts, **settings):
    with pytest.raises(ul.UnitlensError) as error:
        ul.outcome_effects(net, "body", Marked(8), outcome, **settings)
    for fact in facts:
        assert fact in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("outcome", "facts"),
    [
        ("aera:sky", ["'aera:sky' (did you mean area?)", "iou:CLASS", "or a function of what the network returns"]),
        ("area", ["There is no outcome 'area'", "area:CLASS"]),
        ("area:skye", ["area:skye: the network has no class skye (did you mean sky?); there are nothing, sky, tree"]),
        ("area:3", ["no class 3", "nothing, sky, tree"]),
        ("iou:nothing", ["no concept is called nothing", "the data mark sky, tree"]),
        ("best_box:sky", ["best_box:sky is of a detector", "a dict of tensors of 8 x 3 x 8 x 8"]),
        ("boxes@2", ["'boxes@2'", "from 0 to 1"]),
        ("output:1", ["output:1 is of a network that returns numbers for each image", "a dict of tensors"]),
        ("output:", ["Nothing stands behind the colon"]),
        ([], ["No outcome is given"]),
        (7, ["not a int", "area:CLASS"]),
        (["area:sky", "area:sky"], ["Two outcomes are called area:sky"]),
        ("similarity:none.npy", ["There is no file none.npy"]),
        ("similarity:text.pt", [".npy, .safetensors and .csv", "text.pt"]),
    ],
)
def test_what_is_possible_is_said(outcome, facts):
    refused(network(Segmenter(), classes=NAMES), outcome, *facts)


def test_classes_without_names_are_numbers():
    refused(network(Segmenter()), "area:sky", "does not say what its classes are called", "a number from 0 to 2")
    refused(network(Detector()), "best_box:sky", "does not say what its classes are called", "give its number")


def test_a_detectors_outcome_is_not_of_a_classifier():
    refused(network(Vectors(4)), "boxes", "boxes is of a detector", "the network returns 8 x 4")
    refused(network(Vectors(4)), "area:1", "area:1 is of a network that returns scores at every position", "8 x 4")
    refused(network(Vectors(4)), "output", "4 numbers for each image", "output:0")
    refused(network(Detector()), "area:1", "a list with an item for each image")


@pytest.mark.parametrize(
    ("function", "facts"),
    [
        (lambda outputs: outputs.mean(), ["returned one number for 8 images", "(8,)", "(8, M)"]),
        (lambda outputs: outputs[:3, 0], ["returned 3 for 8 images"]),
        (lambda outputs: outputs[:, :, None], ["returned 8 x 4 x 1 for 8 images"]),
        (lambda outputs: None, ["returned a NoneType"]),
        (lambda outputs: {}, ["returned nothing"]),
        (lambda outputs: {"a": outputs}, ["returned a dict"]),
        (lambda outputs: outputs[:, 0] / 0, ["nan or infinite for 8 of 8 images"]),
    ],
)
def test_a_function_returns_a_finite_number_for_each_image(function, facts):
    refused(network(Vectors(4)), function, *facts)


def test_a_function_returns_the_same_names_for_all_images():
    calls = []

    def changing(outputs):
        calls.append(0)
        return {f"call {len(calls)}": outputs[:, 0]}

    refused(network(Vectors(4)), changing, "call 2", "those of the first call 1")


@pytest.mark.parametrize(
    ("vectors", "names", "facts"),
    [
        (np.ones(3), None, ["(3,)", "vectors x numbers"]),
        (np.full((2, 3), np.nan), None, ["finite"]),
        (np.ones((2, 3)), ["a"], ["2 vectors and 1 different names"]),
        ("text", None, ["a str"]),
    ],
)
def test_given_vectors_are_checked(vectors, names, facts):
    with pytest.raises(ul.UnitlensError) as error:
        ul.Similarity(vectors, names=names)
    for fact in facts:
        assert fact in str(error.value)


def test_vectors_of_another_space_are_refused():
    refused(network(Vectors(4)), ul.Similarity(torch.eye(3)), "have 3 numbers, and the network returns 4")


def test_units_and_outcomes_that_were_not_measured():
    net = network(Vectors(2))
    refused(net, "output:0", "has 5 units", "unit 9", units=[9])
    effects = ul.outcome_effects(net, "body", Marked(8), ["output:0", "output:1"])
    with pytest.raises(ul.UnitlensError, match=r"output:2 was not measured \(did you mean output:"):
        effects.effect("output:2")
    with pytest.raises(ul.UnitlensError, match="every unit alone"):
        ul.outcome_effects(net, "body", Marked(8), "output:0", units=[1], draws=0).most_important()
