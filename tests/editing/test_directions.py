"""Directions that are the units in another order do to what is drawn what these units do."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import painted, painter
from unitlens.editing.saving.files import SavedInterventions, read_interventions, write_interventions
from unitlens.models.bases import as_basis

ORDER = [3, 0, 9, 1, 4, 2, 8, 5, 7, 6]
TURNED = torch.eye(10)[ORDER]
UNITS, DIRECTIONS = [0, 1, 4], [1, 3, 4]
"""The same units, and the rows that are these."""


@pytest.fixture(scope="module")
def net():
    return painter(8, extra=2)


@pytest.fixture(scope="module")
def latents():
    return painted(48, extra=2)


@pytest.fixture(scope="module")
def of_set(net, latents):
    return ul.intervene(net, "layer", DIRECTIONS, latents, draws=2, basis=TURNED)


def same(one, other):
    one, other = (frame.select_dtypes("number").to_numpy(float) for frame in (one, other))
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_a_set_of_directions_is_removed_or_resampled(net, latents, of_set):
    columns = ["concept", "before", "after", "effect", "present"]
    of_units = ul.intervene(net, "layer", UNITS, latents, draws=2)
    same(of_set.table()[columns], of_units.table()[columns])
    assert set(of_set.drawn) == {"random", "matched"}
    assert of_set.distance.after == pytest.approx(of_units.distance.after, rel=1e-4)
    np.testing.assert_array_equal(of_set.examples.after, of_units.examples.after)
    one, other = (
        ul.intervene(net, "layer", units, latents, draws=0, value="resample", basis=basis)
        for units, basis in ((DIRECTIONS, TURNED), (UNITS, None))
    )
    same(one.table()[columns], other.table()[columns])


def test_every_direction_is_swept_watched_and_inserted(net, latents):
    one, other = (ul.causal_effects(net, "layer", latents, basis=basis) for basis in (TURNED, None))
    np.testing.assert_allclose(one.effect(), np.asarray(other.effect())[ORDER], rtol=1e-6, atol=1e-9)
    one, other = (ul.drawn_detectors(net, "layer", "red", latents, basis=basis) for basis in (TURNED, None))
    np.testing.assert_allclose(one.peaks, other.peaks[:, ORDER])
    found = ul.concept_set(net, "layer", "red", latents, method="greedy", most=2, basis=TURNED)
    assert {ORDER[row] for row in found.ranking} == {0, 4}
    where = {"value": 1.0, "size": 8, "draws": 0}
    one, other = (
        ul.insertion_map(net, "layer", units, "red", latents, basis=basis, **where)
        for units, basis in (([1], TURNED), ([0], None))
    )
    same(one.table(), other.table())


def test_one_image_is_drawn_with_directions_edited(net, latents):
    level = np.arange(10) / 10
    one, other = (
        ul.edit_image(net, latents, layer="layer", remove=remove, insert=insert, level=levels, basis=basis)
        for remove, insert, levels, basis in (([1], [3], level[ORDER], TURNED), ([0], [1], level, None))
    )
    np.testing.assert_array_equal(one.after, other.after)


def test_results_remember_their_directions(of_set, tmp_path):
    write_interventions(tmp_path, SavedInterventions.of([of_set], dissection=None, command=None), overwrite=False)
    (again,) = read_interventions(tmp_path).results
    assert again.settings.basis.sha256 == as_basis(TURNED).sha256
    assert again.settings == of_set.settings


def test_they_go_into_no_run_of_units(net, latents, of_set, tmp_path):
    data = ul.with_concepts(ul.latents(22, 48), ul.Colors())
    with pytest.warns(ul.UnitlensWarning):
        ul.report(tmp_path, ul.dissect(net, "layer", data, exemplars=0, evidence=False))
    with pytest.raises(ul.UnitlensError, match="of the layer's own units"):
        ul.report(tmp_path, of_set)
