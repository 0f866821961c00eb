"""What is explained of directions that are the units in another order is what is explained of these units."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.explaining.pairs.test_causal_labels import SquarePairs
from tests.worlds import shortcut_world
from tests.worlds.coloured import blocks
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.data.opening import open_data
from unitlens.explaining.exploring.explorer import Explorer
from unitlens.models.bases import as_basis

ORDER = [2, 0, 3, 1]
TURNED = torch.eye(4)[ORDER]


@pytest.fixture(scope="module")
def net(net_file):
    return ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def data(dissection):
    return open_data(dissection.info["data"]["source"])


@pytest.fixture(scope="module")
def turned(net, data):
    """The same dissection, of directions."""
    return ul.dissect(net, "0", data, quantile=0.15, basis=TURNED)


def by_unit(table, order=None):
    """A table's numbers by unit; those of directions by the units that they are."""
    table = table.assign(unit=[order[unit] for unit in table["unit"]]) if order else table
    return table.sort_values("unit").select_dtypes("number").reset_index(drop=True)


def same(of_directions, of_units):
    one, other = by_unit(of_directions, ORDER), by_unit(of_units)
    np.testing.assert_allclose(one.to_numpy(float), other.to_numpy(float), rtol=1e-4, atol=1e-5)


def test_pairs_of_images_are_compared(net, dissection, turned):
    before, after = ([blocks(seed + k)[0] for k in range(16)] for seed in (100, 200))
    found = ul.compare_images(net, turned, before, after, basis=TURNED)
    assert found.changed.any()
    same(found.table(), ul.compare_images(net, dissection, before, after, layer="0").table())


class Called:
    """Coloured images that are said to be of one class after the other."""

    concepts = ()
    classes = ("0", "1", "2")

    def __len__(self):
        return 30

    def __getitem__(self, index):
        return ul.Example(blocks(200 + index)[0], {}, f"{index:02}.png", str(index % 3))


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
def test_attacks_and_errors_are_explained(net, dissection, turned):
    how = {"layer": "0", "steps": 2, "limit": 12}
    attacked = ul.attack(net, turned, Called(), "1", basis=TURNED, **how)
    same(attacked.changes.table(), ul.attack(net, dissection, Called(), "1", **how).changes.table())
    for value in (0.0, "mean"):
        one, other = (
            ul.confusions(net, run, Called(), layer="0", value=value, basis=basis)
            for run, basis in ((turned, TURNED), (dissection, None))
        )
        for of_directions, of_units in zip(one.pairs, other.pairs, strict=True):
            places = [other.sets.index(tuple(sorted(ORDER[unit] for unit in units))) for units in one.sets]
            np.testing.assert_allclose(of_directions.wrong.pull, of_units.wrong.pull[:, places], rtol=1e-4, atol=1e-5)


def test_shortcuts_are_found(tmp_path):
    net, folder = shortcut_world.network(), shortcut_world.write(tmp_path / "world")
    d = ul.dissect(net, "1", folder, quantile=0.05, grid=8, exemplars=0, basis=TURNED)
    found = ul.shortcuts(net, d, folder, "marked", most=1, draws=3, basis=TURNED)
    assert [ORDER[unit] for unit in found.units] == [shortcut_world.UNITS["mark"]]
    assert (found.effects.after[found.chosen] == 1).all()


def test_the_explorer_switches_directions(net, dissection, turned, data):
    of_units, of_directions = (
        Explorer(net, dissection, data, "0"),
        Explorer(net, turned, data, "0", basis=as_basis(TURNED)),
    )
    for position in ("off", "mean", "on"):
        said = of_directions.view(3).with_edits([of_directions.edit([0, 3], position)])
        expected = of_units.view(3).with_edits([of_units.edit([ORDER[0], ORDER[3]], position)])
        np.testing.assert_allclose(said, expected, rtol=1e-5, atol=1e-5)
    reasons = of_directions.view(3).explain().logit_effect
    np.testing.assert_allclose(reasons, of_units.view(3).explain().logit_effect[ORDER], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(of_directions.view(3).maps([1]), of_units.view(3).maps([ORDER[1]]))


def test_what_adding_a_concept_does_is_measured():
    net, order = colour_net(), list(range(8))[::-1]
    basis = torch.eye(8)[order]
    d, plain = (
        ul.dissect(net, "pool", ColourWorld(64), quantile=0.05, exemplars=0, basis=given) for given in (basis, None)
    )
    one, other = ul.causal_labels(net, d, SquarePairs(8), basis=basis), ul.causal_labels(net, plain, SquarePairs(8))
    verdicts = other.table().set_index("unit")["causal_verdict"]
    assert one.table().set_index("unit")["causal_verdict"].tolist() == verdicts[order].tolist()


def test_directions_that_are_not_at_hand_are_asked_for(net, turned):
    for explain, more in ((ul.confusions, ()), (ul.attack, ("1",))):
        with pytest.raises(ul.UnitlensError, match=r"directions, which run\.json does not contain.*with basis="):
            explain(net, turned, Called(), *more)
    with pytest.raises(ul.UnitlensError, match=r"not those of the run.*begins with"):
        ul.compare_images(net, turned, [blocks(1)[0]], [blocks(2)[0]], basis=torch.eye(4))
