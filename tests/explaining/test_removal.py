"""A module without some units does what the network does with them ablated, and is a module like any other."""

import copy
import io

import pytest
import torch
from torch import nn

import unitlens as ul
from tests.models.hooks.hooked import Net, assert_as_before, state_of
from tests.worlds.small import Noise, classifier
from unitlens.models.switching import SwitchedOff


class Tied(nn.Module):
    """Two convolutions with the same weights, and a linear layer whose weights the network uses by themselves."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.two.weight = self.one.weight
        self.embed = nn.Linear(3, 4)
        self.last = nn.Linear(4, 5)

    def forward(self, images):
        x = self.embed(self.two(self.one(images).relu()).mean((2, 3)))
        return self.last(nn.functional.linear(x, self.embed.weight.T) @ self.embed.weight.T)


class Tokens(nn.Module):
    """Patches as tokens, mixed and normed."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6, bias=False)
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        x = self.norm(self.patches(images).flatten(2).transpose(1, 2))
        return self.head((x + self.mix(x).relu()).mean(1))


class Recurrent(nn.Module):
    """An LSTM over the rows of an image."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(24, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        _, (hidden, _) = self.lstm(images.transpose(1, 2).flatten(2))
        return self.head(hidden[-1])


def made(architecture):
    torch.manual_seed(0)
    model = architecture()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if it was trained
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.weight, 0.5, 2)
    return network(model, image_size=16 if architecture is Tokens else 8)


def network(model, image_size=8):
    return ul.classifier(model.eval(), image_size=image_size, mean=(0.5,) * 3, std=(0.2,) * 3)


def images(net):
    return torch.randn(5, 3, *net.preprocessing.image_size, generator=torch.Generator().manual_seed(1))


def ablated(net, *interventions):
    with torch.no_grad(), ul.intervening(net, *interventions):
        return net.model(images(net))


def in_module(module, net):
    with torch.no_grad():
        return module.eval()(images(net))


def wraps(module):
    return sum(isinstance(each, SwitchedOff) for each in module.modules())


@pytest.mark.parametrize(
    ("architecture", "layer", "wrapped"),
    [
        (Net, "conv", 0),
        (Net, "norm", 0),
        (Net, "head.2", 0),
        (Net, "head.0", 1),  # a pool
        (Net, "pack:one.0", 1),  # one of several tensors
        (Tied, "one", 1),  # its weights are those of another layer too
        (Tied, "embed", 1),  # its weights are used outside of it
        (Tied, "last", 0),
        (Tokens, "patches", 0),
        (Tokens, "norm", 0),
        (Tokens, "mix", 0),
    ],
)
def test_it_does_what_the_intervention_does(architecture, layer, wrapped):
    net = made(architecture)
    before, keys = state_of(net.model), net.model.state_dict().keys()
    module = ul.without(net, layer, [0, 2])
    assert_as_before(before, state_of(net.model))
    wanted = ablated(net, ul.Intervention(layer, [0, 2]))
    torch.testing.assert_close(in_module(module, net), wanted, rtol=0, atol=1e-6)
    assert (wanted - ablated(net)).abs().max() > 1e-3  # the units are of use
    assert wraps(module) == wrapped
    assert (module.state_dict().keys() == keys) == (not wrapped)  # weights alone load into the same architecture


@pytest.mark.parametrize("layer", ["conv", "mix"])
def test_units_are_set_to_given_values_also_where_there_is_no_bias(layer):
    net = made(Tokens if layer == "mix" else Net)
    values = torch.arange(6.0) if layer == "mix" else torch.arange(4.0)
    module = ul.without(net, layer, [3, 1], value=values)
    wanted = ablated(net, ul.Intervention(layer, [3, 1], value=values[[3, 1]]))
    torch.testing.assert_close(in_module(module, net), wanted, rtol=0, atol=1e-6)
    assert wraps(module) == (layer == "mix")  # without a bias, weights alone only make 0


def test_the_mean_is_that_of_ablating():
    net, data = classifier(), Noise(24)
    module = ul.without(net, "second", [0, 4], value="mean", data=data)
    measured = ul.ablate(net, "second", [0, 4], data, value="mean", draws=0, measures=["logit"])
    with torch.no_grad():
        logits = [module(net.prepare(torch.from_numpy(data[i].image).permute(2, 0, 1)[None])) for i in range(24)]
    of_class_a = torch.cat(logits)[::3, 0].double().mean()
    assert measured.estimate("logit").after[0] == pytest.approx(float(of_class_a), abs=1e-5)


def test_several_layers_also_one_inside_another():
    net = made(Net)
    module = ul.without(net, {"head": [1], "conv": [0], "head.0": [2]})
    interventions = [ul.Intervention("head", [1]), ul.Intervention("conv", [0]), ul.Intervention("head.0", [2])]
    torch.testing.assert_close(in_module(module, net), ablated(net, *interventions), rtol=0, atol=1e-6)


def test_outputs_of_the_network_itself_are_units_too():
    net = made(Tied)
    module = ul.without(net, "", [1])
    assert in_module(module, net)[:, 1].abs().max() == 0


def test_all_of_a_module_under_two_names_is_switched_off():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = self.other = nn.Conv2d(3, 4, 3)

        def forward(self, images):
            return self.other(images).relu().mean((2, 3))

    net = made(Twice)
    module = ul.without(net, "one", [2])
    torch.testing.assert_close(in_module(module, net), ablated(net, ul.Intervention("other", [2])))


@pytest.mark.parametrize("layer", ["conv", "head.0"])
def test_it_is_saved_and_loaded_whole_and_by_its_weights(layer):
    net = made(Net)
    module = ul.without(net, layer, [0, 2])
    wanted, whole, weights = in_module(module, net), io.BytesIO(), io.BytesIO()
    torch.save(module, whole)
    torch.save(module.state_dict(), weights)
    whole.seek(0), weights.seek(0)
    assert torch.equal(in_module(torch.load(whole, weights_only=False), net), wanted)
    again = copy.deepcopy(net.model) if layer == "conv" else ul.without(made(Net), layer, [1, 3])
    again.load_state_dict(torch.load(weights, weights_only=True))
    assert torch.equal(in_module(again, net), wanted)


@pytest.mark.parametrize("layer", ["1", "2"])
def test_it_is_exported(layer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, 3))
    net = network(model)
    module = ul.without(net, layer, [0, 5], value=0.5)
    exported = torch.export.export(module, (images(net),))
    torch.testing.assert_close(exported.module()(images(net)), in_module(module, net))


def test_it_can_be_used_as_a_network_again_and_changed_again():
    net = made(Net)
    once = network(ul.without(net, "head.0", [0]))
    twice = ul.without(once, "head.0", [2])
    torch.testing.assert_close(in_module(twice, net), ablated(net, ul.Intervention("head.0", [0, 2])))


def test_one_call_of_a_layer_that_is_called_twice_is_refused():
    net = made(Net)
    with pytest.raises(ul.UnitlensError, match=r"relu.*2"):
        ul.without(net, "relu[1]", [0])
    with pytest.raises(ul.UnitlensError, match="relu"):
        ul.without(net, "relu", [0])


def test_a_layer_that_the_network_calls_from_elsewhere_is_refused():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.ReLU()
            self.steps = [self.layer]

        def forward(self, images):
            return self.steps[0](images).mean((2, 3))

    net = made(Hidden)
    with pytest.raises(ul.UnitlensError, match=r"layer.*ul\.ablate"):
        ul.without(net, "layer", [0])


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("nowhere", [0]), "nowhere"),
        (("conv", [4]), "4 units.*4"),
        (("conv", [1, 1]), "twice"),
        (("conv", []), "No unit"),
        (("unused", [0]), "unused"),
    ],
)
def test_bad_units_are_refused(arguments, facts):
    with pytest.raises(ul.UnitlensError, match=facts):
        ul.without(made(Net), *arguments)


@pytest.mark.parametrize(
    ("value", "facts"), [("mean", "data="), ("median", "median"), (torch.ones(3), "3.*4 units"), (float("nan"), "nan")]
)
def test_bad_values_are_refused(value, facts):
    with pytest.raises(ul.UnitlensError, match=facts):
        ul.without(made(Net), "conv", [0], value=value)
