import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unitlens.ablation.interventions import Intervention, intervening
from unitlens.errors import UnitlensError
from unitlens.models.hooks import record


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(5, 2)).eval()


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def naive(activation, units, value_of, where=lambda n, y, x: True):
    changed = activation.clone()
    for n in range(len(activation)):
        for index, unit in enumerate(units):
            for y in range(activation.shape[2]):
                for x in range(activation.shape[3]):
                    if where(n, y, x):
                        changed[n, unit, y, x] = value_of(n, index, y, x, activation[n, unit, y, x])
    return changed


@settings(max_examples=12)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True), st.integers(0, 10**6), st.booleans())
def test_every_kind_of_value_is_what_loops_say(units, seed, each_image):
    generator = torch.Generator().manual_seed(seed)
    activation = torch.randn(2, 5, 3, 4, generator=generator)
    numbers = torch.randn(len(units), generator=generator)
    others = torch.randn(2, len(units), 3, 4, generator=generator)
    where = torch.rand((2, 3, 4) if each_image else (3, 4), generator=generator) > 0.5
    cases = [
        (Intervention("l", units), lambda n, i, y, x, a: 0.0),
        (Intervention("l", units, 2.5), lambda n, i, y, x, a: 2.5),
        (Intervention("l", units, torch.tensor(2.5)), lambda n, i, y, x, a: 2.5),
        (Intervention("l", units, numbers), lambda n, i, y, x, a: numbers[i]),
        (Intervention("l", units, others[0]), lambda n, i, y, x, a: others[0, i, y, x]),
        (Intervention("l", units, others), lambda n, i, y, x, a: others[n, i, y, x]),
        (Intervention("l", units, scale=-2.0), lambda n, i, y, x, a: -2 * a),
    ]
    for intervention, value_of in cases:
        kept = activation.clone()
        assert torch.equal(intervention.on(activation), naive(activation, units, value_of))
        somewhere = Intervention("l", units, intervention.value, intervention.scale, where)
        chosen = (lambda n, y, x: where[n, y, x]) if each_image else (lambda n, y, x: where[y, x])
        assert torch.equal(somewhere.on(activation), naive(activation, units, value_of, chosen))
        assert torch.equal(activation, kept)


@settings(max_examples=12)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True), st.integers(0, 10**6), st.booleans())
def test_soft_positions_blend_values_and_activations(units, seed, each_image):
    generator = torch.Generator().manual_seed(seed)
    activation = torch.randn(2, 5, 3, 4, generator=generator)
    where = torch.rand((2, 3, 4) if each_image else (3, 4), generator=generator)
    where[..., 0] = 0.0
    where[..., 1] = 1.0
    levels = torch.randn(len(units), generator=generator)

    def blended(n, i, y, x, a):
        share = where[n, y, x] if each_image else where[y, x]
        return share * levels[i] + (1 - share) * a

    after = Intervention("l", units, levels, where=where).on(activation)
    assert torch.allclose(after, naive(activation, units, blended), atol=1e-6)
    ends = (where > 0) & (where < 1)
    hard = Intervention("l", units, levels, where=where.masked_fill(ends, 0.0)).on(activation)
    assert torch.equal(hard, Intervention("l", units, levels, where=where == 1).on(activation))


def test_layers_without_a_grid_have_units_too():
    activation = torch.randn(3, 4)
    ablated = Intervention("l", [1, 3], torch.tensor([5.0, 7.0])).on(activation)
    assert ablated[:, [1, 3]].tolist() == [[5.0, 7.0]] * 3
    assert torch.equal(ablated[:, [0, 2]], activation[:, [0, 2]])
    others = torch.randn(3, 2)
    assert torch.equal(Intervention("l", [1, 3], others).on(activation)[:, [1, 3]], others)


def test_several_layers_at_once_and_the_model_as_before():
    model = network()
    before = model(IMAGES)
    with (
        intervening(model, Intervention("0", [0]), Intervention("2", [1], 3.0), Intervention("2", [1], scale=2.0)),
        record(model, ["0", "2"]) as recording,
    ):
        changed = model(IMAGES)
    assert recording["0"][:, 0].eq(0).all()
    assert recording["2"][:, 1].eq(6).all()
    assert not torch.equal(changed, before)
    assert torch.equal(model(IMAGES), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_ablated_changes_nothing():
    model = network()
    with intervening(model):
        inside = model(IMAGES)
    with intervening(model, Intervention("2", range(5), scale=1.0)):
        scaled = model(IMAGES)
    assert torch.equal(inside, model(IMAGES))
    assert torch.equal(scaled, inside)


def test_an_error_inside_leaves_the_model_as_before():
    model = network()
    before = model(IMAGES)
    with pytest.raises(ZeroDivisionError), intervening(model, Intervention("0", [0])):
        raise ZeroDivisionError
    with pytest.raises(UnitlensError), intervening(model, Intervention("0", [0]), Intervention("nowhere", [0])):
        pytest.fail("not reached")
    assert torch.equal(model(IMAGES), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_gradients_flow_through_units_that_are_not_ablated():
    activation = torch.randn(1, 3, 2, 2, requires_grad=True)
    Intervention("l", [1]).on(activation).sum().backward()
    assert activation.grad[0, :, 0, 0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("units", [2, [2], (2,), np.array([2]), np.int64(2), torch.tensor([2]), torch.tensor(2), {2}])
def test_units_are_given_in_many_ways(units):
    assert Intervention("l", units).units == (2,)


def test_a_half_precision_layer_keeps_its_type():
    assert Intervention("l", [0], torch.ones(1)).on(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"units": []}, "No unit of layer4 is given; give at least one."),
        ({"units": [3, 3]}, "Unit 3 of layer4 is given twice"),
        ({"units": [-1]}, "Units are whole numbers from 0, not -1"),
        ({"units": [1.5]}, "Units are whole numbers from 0, not 1.5"),
        ({"units": "tree"}, "Units are whole numbers from 0, not 'tree'"),
        ({"units": [True]}, "Units are whole numbers from 0, not True"),
        (
            {"units": [0], "value": 1.0, "scale": 2.0},
            "value= and scale= are both given",
        ),
        ({"units": [0], "where": torch.ones(2, 2).long()}, "where is of torch.int64; it is bool"),
        ({"units": [0], "where": torch.full((2, 2), 1.5)}, r"where holds 1.5; .* from 0 to 1"),
        ({"units": [0], "where": torch.full((2, 2), torch.nan)}, r"where holds nan; .* from 0 to 1"),
    ],
)
def test_what_cannot_be_meant_is_a_clear_error(keywords, sentence):
    with pytest.raises(UnitlensError, match=sentence):
        Intervention("layer4", **keywords)


@pytest.mark.parametrize(
    ("keywords", "shape", "sentence"),
    [
        ({"units": [1, 600]}, (1, 512, 7, 7), "layer4 has 512 units, 0 to 511; unit 600 is not among them"),
        (
            {"units": [0, 1], "value": torch.ones(3)},
            (1, 4, 7, 7),
            r"to a value of shape 3: give one number, 2 \(one for each",
        ),
        ({"units": [0], "value": torch.ones(2, 1, 7, 6)}, (2, 4, 7, 7), "or activations of 1 x 7 x 7 or 2 x 1 x 7 x 7"),
        ({"units": [0], "where": torch.ones(5, 7, dtype=torch.bool)}, (1, 4, 7, 7), "where is 5 x 7, but .* of 7 x 7"),
        ({"units": [0], "where": torch.ones(1, dtype=torch.bool)}, (1, 4), "layer4 has no grid, so that there are no"),
    ],
)
def test_what_does_not_fit_the_layer_is_a_clear_error(keywords, shape, sentence):
    with pytest.raises(UnitlensError, match=sentence):
        Intervention("layer4", **keywords).on(torch.zeros(shape))
