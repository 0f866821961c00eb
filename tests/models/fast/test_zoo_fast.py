"""Real architectures: a pass that ends early, and a fast copy, give what the network gives."""

import pytest
import torch

import unitlens as ul
from tests.models import zoo
from unitlens.models.activations import Readout, reader
from unitlens.models.fast.copies import fast_copy, largest_difference
from unitlens.models.fast.ending import EndingPasses

FOLDED = {
    "densenet121": (59, 121),
    "efficientnet_b0": (49, 49),
    "googlenet": (57, 59),
    "inception_v3": (94, 96),
    "mnasnet0_5": (52, 52),
    "mobilenet_v3_small": (34, 34),
    "regnet_y_400mf": (53, 53),
    "resnet50": (53, 53),
    "shufflenet_v2_x0_5": (56, 56),
    "squeezenet1_0": (0, 0),
    "swin_t": (0, 0),
}
"""Batch norms that are folded, and how many there are: some in heads that only training needs, or in front."""


def net_of(network):
    return ul.classifier(network.model, image_size=network.size, mean=(0.5,) * 3, std=(0.25,) * 3, name=network.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDED)
def test_real_networks_end_early_and_compute_fast_with_the_same_activations(name):
    network = zoo.build(name)
    net = net_of(network)
    reached = [info.name for info in net.layers() if info.grid is not None and info.calls == 1]
    layers = [reached[len(reached) // 3], reached[2 * len(reached) // 3]]
    images = net.example_inputs(2)
    for tap in ("output", "after_inplace"):
        run = EndingPasses(net.model, layers, tap=tap)
        with ul.evaluating(net.model):
            passes = [run(images) for _ in range(2)]
            first, second = ([recording[layer].clone() for layer in layers] for recording, _ in passes)
        assert run.whole is False
        assert passes[1][1] is None, "the second pass did not end behind the layers"
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    for precision, allowed in (("float32", 1e-4), ("bfloat16", 0.1)):
        made = fast_copy(net, layers, precision)
        with ul.evaluating(net.model):
            exact, fast = (reader(net, Readout(tuple(layers)), fast=copy)(images).maps for copy in (None, made))
        # With random weights, some are further off in bfloat16 than is allowed: they say so, and do without it.
        assert all(precision == "bfloat16" and "not computed in bfloat16" in note for note in made.notes)
        assert max(largest_difference(exact[layer], fast[layer]) for layer in layers) < allowed
    whole = fast_copy(net, [reached[-1]], "float32").describe()
    assert (whole["folded"], whole["norms"]) == FOLDED[name]
