"""Generators as networks: what they take, what they draw, and what is said where they do not."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.generators import Painter, painter


class Flat(nn.Module):
    """Draws grey levels: image n is of the level ``latents[n, 0]``, over ``scale``."""

    def __init__(self, output=lambda image: image, *, channels=3, size=8):
        super().__init__()
        self.output, self.channels, self.size = output, channels, size
        self.layer = nn.Identity()

    def forward(self, latents):
        level = self.layer(latents[:, :1]).reshape(-1, 1, 1, 1)
        return self.output(level.expand(-1, self.channels, self.size, self.size))


def drawn(net, latents):
    inputs = torch.tensor(latents, dtype=torch.float32)
    with ul.evaluating(net.model):
        return net.images(inputs, net.model(net.prepare(inputs)))


def test_outputs_are_rescaled_rounded_and_clipped():
    net = ul.generator(Flat(), latents=2, rescale=(-1, 1))
    assert drawn(net, [[-1.0, 0], [0.0, 0], [1.0, 0], [7.0, 0], [-7.0, 0]])[:, 0, 0, 0].tolist() == [
        0,
        128,
        255,
        255,
        0,
    ]
    assert net.preprocessing.image_size == (8, 8)
    assert net.image == "output"


@pytest.mark.parametrize(
    ("output", "found"),
    [(torch.tanh, (-1, 1)), (torch.sigmoid, (0, 1)), (lambda x: 255 * torch.sigmoid(x), (0, 255))],
    ids=["tanh", "sigmoid", "bytes"],
)
def test_the_range_of_outputs_is_found_in_the_first_images(output, found):
    assert ul.generator(Flat(output), latents=2).latents.output_range == found


def test_grey_images_and_images_among_other_tensors_are_images():
    grey = ul.generator(Flat(channels=1), latents=2, rescale=(0, 1))
    assert drawn(grey, [[0.5, 0]]).shape == (1, 3, 8, 8)
    among = ul.generator(Flat(lambda x: {"image": x, "styles": x[:, 0, 0]}), latents=2, rescale=(0, 1))
    assert drawn(among, [[0.5, 0]]).unique().tolist() == [128]


@pytest.mark.parametrize(
    ("output", "facts"),
    [
        (lambda x: x[:, :, 0, 0], ("8 x 3", "no image")),
        (lambda x: (x, x), ("several",)),
        (lambda x: x[:1], ("1 x 3 x 8 x 8 for 8 latents",)),
        (lambda x: x[:, :2], ("8 x 2 x 8 x 8", "height x width")),
        (lambda x: "drawn", ("no tensor",)),
        (lambda x: x / 0, ()),
        (lambda x: undefined, ("NameError", "latents=")),  # noqa: F821
    ],
    ids=["scores", "several", "fewer", "two channels", "no tensor", "nan", "an error of its own"],
)
def test_what_is_no_image_is_refused_in_one_sentence(output, facts):
    with pytest.raises(ul.UnitlensError) as raised:
        drawn(ul.generator(Flat(output), latents=2, rescale=(0, 1)), [[0.0, 0]])
    assert all(fact in str(raised.value) for fact in facts), raised.value


def test_images_of_another_size_are_refused():
    net = ul.generator(Flat(), latents=2, rescale=(0, 1))
    net.model.size = 16
    with pytest.raises(ul.UnitlensError, match="16 x 16 and of 8 x 8"):
        drawn(net, [[0.0, 0]])


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"latents": 3}, ("latents of 3", "latents=")),
        ({"latents": ()}, ("(100, 1, 1)",)),
        ({"latents": "100"}, ("(100, 1, 1)",)),
        ({"latents": (0,)}, ("(0,)",)),
        ({"latents": 20, "rescale": (1, -1)}, ("from 1 to -1", "rescale=")),
        ({"latents": 20, "rescale": (1, 2, 3)}, ("two numbers",)),
        ({"latents": 20, "classes": "abc"}, ("how many",)),
        ({"latents": 20, "classes": 10}, ("20",)),
    ],
    ids=str,
)
def test_what_a_generator_cannot_be_made_with_is_said(given, facts):
    with pytest.raises(ul.UnitlensError) as raised:
        ul.generator(Painter(), **given)
    assert all(fact in str(raised.value) for fact in facts), raised.value
    with pytest.raises(ul.UnitlensError, match=r"torch\.nn\.Module"):
        ul.generator(len, latents=3)


def test_latents_and_images_are_not_taken_for_one_another():
    net = painter()
    with pytest.raises(ul.UnitlensError, match=r"20.*given images.*ul\.latents"):
        net.prepare(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ul.UnitlensError, match=r"latents of 20, and was given 19"):
        net.prepare(torch.zeros(1, 19))
    with pytest.raises(ul.UnitlensError, match=r"takes images and was given latents.*ul\.generator"):
        ul.load("bundled:scenes").prepare(torch.zeros(1, 20))


class Conditional(nn.Module):
    """Draws ``latents[:, 0]`` in the channel of its class."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Identity()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, latents, label, *, bias=0.0):
        shown = nn.functional.one_hot(label, 3) * latents[:, :1, 0] * self.scale + bias
        return self.mix(shown[:, :, None, None].expand(-1, -1, 4, 4))


def test_a_class_conditional_generator_takes_its_class_behind_the_latent():
    model = Conditional()
    net = ul.generator(model, latents=(2, 1), classes=("r", "g", "b"), rescale=(0, 1))
    assert net.classes == ("r", "g", "b")
    assert drawn(net, [[1, 0, 0], [1, 0, 1], [1, 0, 2]])[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    with pytest.raises(ul.UnitlensError, match=r"3 classes.*class 3"):
        drawn(net, [[1, 0, 3]])
    assert net.fingerprint() == ul.classifier(model, image_size=4, mean=(0, 0, 0), std=(1, 1, 1)).fingerprint()
    assert [layer.name for layer in net.layers()] == ["mix"]
    assert type(model) is Conditional
    assert model(torch.ones(1, 2, 1), torch.tensor([1])).shape == (1, 3, 4, 4)
    half = ul.generator(Conditional().half(), latents=(2, 1), classes=3, rescale=(0, 1))
    assert drawn(half, [[1, 0, 2]])[0, :, 0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    "inputs",
    [lambda z: (z[:, :2], z[:, 2].long()), lambda z: {"latents": z[:, :2], "label": z[:, 2].long(), "bias": 0.0}],
    ids=["a tuple", "a mapping"],
)
def test_a_generator_of_several_inputs_takes_what_a_function_makes_of_its_latent(inputs):
    net = ul.generator(Conditional(), latents=(3, 1), inputs=lambda z: _flat(inputs(z)), rescale=(0, 1))
    made = drawn(net, [[[1], [0], [0]], [[1], [0], [0.5]]])
    assert made[:, :, 0, 0].tolist() == [[255, 0, 0]] * 2
    classes = ul.generator(
        Conditional(), latents=(2, 1), classes=3, inputs=lambda z, label: (1 - z, label), rescale=(0, 1)
    )
    assert drawn(classes, [[1, 0, 1]])[0, :, 0, 0].tolist() == [0, 0, 0]


def _flat(inputs):
    """Labels of one dimension, from latents of (3, 1)."""
    if isinstance(inputs, dict):
        return {**inputs, "label": inputs["label"].flatten().clamp(0, 2)}
    return inputs[0], inputs[1].flatten().clamp(0, 2)


def test_a_generator_is_opened_by_name():
    net = ul.load("tests.worlds.generators:Painter", latents=20)
    assert (net.latents.shape, net.latents.output_range) == ((20,), (-1.0, 1.0))
    assert "latents 20" in repr(net)
    assert "32 x 32" in repr(net)
    with pytest.raises(ul.UnitlensError, match="image_size="):
        ul.load("tests.worlds.generators:Painter", latents=20, image_size=32)
    with pytest.raises(ul.UnitlensError, match="rescale="):
        ul.load("resnet18", weights="none", rescale=(0, 1))


def test_layers_units_and_example_inputs_of_a_generator():
    net = painter()
    layer = next(layer for layer in net.layers() if layer.name == "layer")
    assert (layer.units, layer.grid) == (8, (16, 16))
    assert net.output_count() is None
    np.testing.assert_array_equal(net.example_inputs(2)[:1], net.example_inputs(1))
