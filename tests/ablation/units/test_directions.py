"""Directions as units: they are read, set and written back, in the full network as in every replay of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from tests.ablation.replay.replaying import Joined, Untraced, close, made, residual, shown, vgg
from tests.ablation.replay.test_tokens import READ, Transformer
from tests.worlds.planted import ColourWorld, colour_net
from tests.worlds.small import Noise, classifier
from unitlens.ablation.interventions import Intervention, Replacement, replace_units
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.sweeps import sweep
from unitlens.models.bases import as_basis
from unitlens.models.hooks import edit
from unitlens.models.units.space import UnitSpace


def random_matrix(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def rotation(size):
    return torch.linalg.qr(random_matrix(size, size))[0]


def naive(activation, matrix, units, values):
    """Position by position: what the directions read is set, and the change decoded by the pseudo-inverse."""
    changed = activation.double().clone()
    matrix, decoder = matrix.double(), torch.linalg.pinv(matrix.double())
    for image in range(len(activation)):
        for place in np.ndindex(*activation.shape[2:]):
            x = activation[(image, slice(None), *place)].double()
            for unit, value in zip(units, values, strict=True):
                changed[(image, slice(None), *place)] += decoder[:, unit] * (value - float(matrix[unit] @ x))
    return changed.float()


@pytest.mark.parametrize("rows", [1, 3, 6, 9])  # fewer than channels, as many, more
def test_a_direction_is_set_as_position_by_position(rows):
    activation, matrix = torch.randn(2, 6, 3, 2), random_matrix(rows, 6)
    units = sorted({0, rows - 1})
    values = torch.tensor([0.5, -2.0][: len(units)])
    space = UnitSpace(basis=as_basis(matrix))
    changed = replace_units(activation, units, Replacement(values), space=space)
    torch.testing.assert_close(changed, naive(activation, matrix, units, values.tolist()), rtol=1e-4, atol=1e-5)


def test_of_orthonormal_directions_it_is_to_rotate_edit_and_rotate_back():
    activation, matrix = torch.randn(2, 5, 6), rotation(6)  # tokens: their channels lie last
    rotated = activation @ matrix.T
    rotated[..., [1, 4]] = 3.0
    space = UnitSpace(axis=2, basis=as_basis(matrix))
    changed = replace_units(activation, [1, 4], Replacement(3.0), space=space)
    torch.testing.assert_close(changed, rotated @ matrix, rtol=1e-4, atol=1e-5)


@given(st.permutations(range(6)), st.floats(-3, 3))
def test_directions_that_are_units_are_set_as_the_units(order, value):
    activation = torch.randn(2, 6, 2, 2, generator=torch.Generator().manual_seed(3))
    space = UnitSpace(basis=as_basis(torch.eye(6)[order]))
    changed = replace_units(activation, [2, 0], Replacement(value), space=space)
    expected = replace_units(activation, [order[2], order[0]], Replacement(value))
    torch.testing.assert_close(changed, expected, rtol=1e-5, atol=1e-5)


def test_what_other_directions_read_stays_as_it_is():
    activation, basis = torch.randn(2, 6, 2, 2), as_basis(random_matrix(4, 6))
    changed = replace_units(activation, [1], Replacement(7.0), space=UnitSpace(basis=basis))
    before, after = basis.apply(activation, "layer"), basis.apply(changed, "layer")
    torch.testing.assert_close(after[:, [0, 2, 3]], before[:, [0, 2, 3]], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after[:, 1], torch.full_like(after[:, 1], 7.0), rtol=1e-4, atol=1e-4)


def naive_sweep(model, layer, images, space, value):
    outputs = []
    for unit in range(len(space.basis.matrix)):

        def ablate(activation, unit=unit):
            return replace_units(activation, [unit], Replacement(value), space=space)

        with torch.inference_mode(), edit(model, {layer: ablate}):
            outputs.append(model(images))
    return torch.stack(outputs)


@pytest.mark.parametrize(
    ("build", "layer", "size"),
    [
        (residual, "2", 12),  # pooling, flattening and a linear step follow
        (residual, "1.conv1", 12),
        (vgg, "1", 12),
        (Joined, "stem", 12),
        (residual, "5", 12),  # the output itself
    ],
)
@pytest.mark.parametrize("wrap", [lambda model: model, Untraced], ids=["traced", "recorded"])
def test_a_sweep_of_directions_gives_what_the_full_network_gives(build, layer, size, wrap):
    model, images = wrap(made(build)), shown(size=size)
    layer = layer if not isinstance(model, Untraced) else f"network.{layer}"
    check_sweep(model, layer, images, 1)


@pytest.mark.parametrize("read", ["first token", "mean"])
def test_a_sweep_of_directions_of_tokens_too(read):
    check_sweep(made(lambda: Transformer(READ[read], blocks=1)), "blocks", shown(), 2)


def check_sweep(model, layer, images, axis):
    cut = cut_network(model, layer, images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    width = state.activation.shape[axis]
    space = UnitSpace(axis, basis=as_basis(random_matrix(width - 1, width)))
    values = Replacement(0.5).values(space.read(state.activation))
    swept = torch.cat([block.outputs for block in sweep(cut, state, values, space=space, memory=2**14)])
    close(swept, naive_sweep(model, layer, images, space, 0.5))


@pytest.fixture(scope="module")
def scenes():
    return ul.load("bundled:scenes"), ul.Scenes(24)


def test_effects_of_directions_that_are_units_are_those_of_the_units(scenes):
    net, data = scenes
    order = [5, 108, 3, 37]
    of_units = ul.importance(net, "relu6", data).estimate("logit").effect[order]
    effects = ul.importance(net, "relu6", data, basis=torch.eye(128)[order])
    np.testing.assert_allclose(effects.estimate("logit").effect, of_units, atol=1e-4)
    assert effects.settings.basis.shape == (4, 128)
    assert effects.settings.ablation == "set to 0, directions in memory"
    together = ul.ablate(net, "relu6", [1, 3], data, basis=torch.eye(128)[order], draws=0, value="mean")
    expected = ul.ablate(net, "relu6", [108, 37], data, draws=0, value="mean")
    np.testing.assert_allclose(
        together.measured.estimate("logit").effect, expected.measured.estimate("logit").effect, atol=1e-4
    )


def test_outcomes_and_curves_of_directions(scenes):
    net, data = scenes
    basis = rotation(128)[:8]
    moved = ul.outcome_effects(net, "relu6", data, "distance", basis=basis, value="resample")
    assert moved.effect().shape == (8,)
    assert (moved.effect() > 0).all()
    curve = ul.ablation_curve(net, "relu6", "forest", data, top=2, draws=2, basis=basis)
    assert curve.ranking.units == 8
    assert curve.sizes == (1, 2)
    with pytest.raises(ul.UnitlensError, match=r"The ranking is of directions, and others are ablated: .*basis"):
        ul.ablation_curve(net, "relu6", "forest", data, top=2, draws=2, ranking=curve.ranking)
    with pytest.raises(ul.UnitlensError, match="has one unit, so that there is no curve"):
        ul.ablation_curve(net, "relu6", "forest", data, top=1, draws=2, basis=basis[:1])


def test_intervening_takes_directions(scenes):
    net, _ = scenes
    matrix, images = rotation(128), net.example_inputs(2)

    def rotated(activation):
        units = torch.einsum("du,nuhw->ndhw", matrix, activation)
        units[:, 3] = 1.0
        return torch.einsum("du,ndhw->nuhw", matrix, units)

    with ul.evaluating(net.model), edit(net.model, {"relu6": rotated}):
        expected = net.model(images)
    with ul.evaluating(net.model), ul.intervening(net, Intervention("relu6", [3], 1.0), basis=matrix):
        close(net.model(images), expected)


def test_explanations_of_directions_that_are_units_are_those_of_the_units():
    net, data = colour_net(), ColourWorld(48)
    how = {"quantile": 0.1, "exemplars": 0, "evidence": False}
    order = [3, 0, 1]
    basis = torch.eye(8)[order]
    of_units = ul.explain(net, ul.dissect(net, "pool", data, **how), data, limit=2, most=0).table()
    dissected = ul.dissect(net, "pool", data, basis=basis, **how)
    table = ul.explain(net, dissected, data, limit=2, most=0, basis=basis).table()
    units = table["unit"].map(dict(enumerate(order)))
    merged = table.assign(unit=units).merge(of_units, on=["image", "unit"], suffixes=("", "_unit"))
    assert len(merged) == 6
    np.testing.assert_allclose(merged["logit_effect"], merged["logit_effect_unit"], atol=1e-5)
    with pytest.raises(ul.UnitlensError, match=r"directions, which run\.json does not contain: give them with basis="):
        ul.explain(net, dissected, data)


def test_a_run_of_directions_in_the_shell(shell, tmp_path):
    np.save(tmp_path / "basis.npy", rotation(128)[:4])
    made = shell("dissect", "bundled:scenes", "--limit", 24, "--layer", "relu6", "--basis", "basis.npy", "--quiet")
    assert made.code == 0, made.err
    said = shell("ablate", "run", "--sweep")
    assert said.code == 0, said.err
    effects = ul.open_run("run")
    assert len(effects.table()) == 4
    assert (tmp_path / "run" / "effects.csv").read_text().count("\n") > 4
    others = shell(
        "ablate", "bundled:scenes", "--limit", 24, "--layer", "relu6", "--units", 1, "--out", "run", "--overwrite"
    )
    assert others.code == 2
    assert "of the layer's own units, and the run in run is of directions" in others.err
    (tmp_path / "basis.npy").unlink()
    gone = shell("ablate", "run", "--units", 1, "--overwrite")
    assert "give them with --basis" in gone.err
    np.save(tmp_path / "other.npy", rotation(128)[4:8])
    other = shell("ablate", "run", "--units", 1, "--overwrite", "--basis", "other.npy")
    assert "are not those of the run" in other.err


def test_attributions_are_not_compared_with_effects_of_directions(shell, tmp_path):
    np.save(tmp_path / "basis.npy", rotation(128)[:4])
    how = ("--limit", 24, "--layer", "relu6", "--sweep", "--attributions", "--basis", "basis.npy")
    said = shell("ablate", "bundled:scenes", *how)
    assert said.code == 2
    assert "not to directions: leave --attributions out" in said.err


def test_a_basis_of_another_width_is_a_clear_error(scenes):
    net, data = scenes
    with pytest.raises(ul.UnitlensError, match="6 rows of 6 numbers, but relu6 has 128 units"):
        ul.importance(net, "relu6", data, basis=torch.eye(6))
    with (
        pytest.raises(ul.UnitlensError, match="6 rows of 6 numbers, but relu6 has 128 units"),
        ul.evaluating(net.model),
        ul.intervening(net, Intervention("relu6", [0]), basis=torch.eye(6)),
    ):
        net.model(net.example_inputs())


@pytest.mark.parametrize("scale", [1.0, 1 / 3])  # a third of a row is one but for rounding
def test_directions_that_depend_on_each_other_are_warned_of(scenes, scale):
    net, data = scenes
    rows = rotation(128)[:2]
    basis = torch.stack([rows[0], scale * rows[0], rows[1]])
    with pytest.warns(ul.UnitlensWarning, match=r"3 directions in memory depend on each other \(their rank is 2\)"):
        effects = ul.outcome_effects(net, "relu6", data, "distance", basis=basis).effect()
    alone = as_basis(rows[1:])
    np.testing.assert_allclose(
        effects[2], ul.outcome_effects(net, "relu6", data, "distance", basis=alone).effect()[0], rtol=1e-4
    )
    assert as_basis(basis).decoder.abs().max() < 2  # rounding is not taken for a third direction
    assert as_basis(rows).dependence is None


def test_results_of_units_and_of_directions_are_not_saved_together(tmp_path):
    net, data = classifier(), Noise(24)
    of_units = ul.importance(net, "first", data)
    of_directions = ul.ablate(net, "first", [1], data, basis=rotation(6), draws=0)
    with pytest.raises(ul.UnitlensError, match="folder of its own"):
        ul.report(tmp_path / "both", of_units, of_directions)
