"""What sets of units do to the areas of concepts, beside loops over images that draw each one in full."""

from pathlib import Path

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import Squares, concept_of, painted, painter
from unitlens.ablation.interventions import Intervention, intervening
from unitlens.ablation.responses.area_tallies import AreaTally
from unitlens.ablation.responses.areas import Areas
from unitlens.data.drawn import DrawnConcepts
from unitlens.data.preparing import image_hash
from unitlens.editing.saving.files import TABLES
from unitlens.editing.tables import INTERVENTION_COLUMNS
from unitlens.stats.changes import mean_change
from unitlens.stats.folds import FOLDS

IMAGES = 96


@pytest.fixture(scope="module")
def net():
    return painter(8, extra=2)


@pytest.fixture(scope="module")
def latents():
    return painted(IMAGES, extra=2)


@pytest.fixture(scope="module")
def effects(net, latents):
    return ul.intervene(net, "layer", [0, 1, 4], latents, draws=3, batch_size=20)


def drawn_one_by_one(net, latents, *interventions):
    """Label maps of each image, drawn by full passes."""
    maps = []
    for index in range(len(latents)):
        with ul.evaluating(net.model), intervening(net, *interventions):
            latent = net.prepare(torch.from_numpy(latents[index].image[None]))
            image = net.images(latent, net.model(latent)).numpy()[0].transpose(1, 2, 0)
        maps.append(Squares().planes(image, "")["color"][0])
    return np.stack(maps)


def test_areas_are_those_of_loops_over_full_passes(net, latents, effects):
    before = drawn_one_by_one(net, latents)
    after = drawn_one_by_one(net, latents, Intervention("layer", [0, 1, 4]))
    rows = effects.table().set_index("concept")
    for label, concept in enumerate(Squares.concepts, 1):
        areas = [(maps == label).mean((1, 2)) for maps in (before, after)]
        row = rows.loc[concept.name]
        assert row["before"] == pytest.approx(areas[0].mean(), rel=1e-12)
        assert row["effect"] == pytest.approx((areas[1] - areas[0]).mean(), rel=1e-12)
        assert row["present"] == (areas[0] > 0).sum()
        folds = np.array([image_hash(latents[i]) % FOLDS for i in range(IMAGES)])
        filled = np.unique(folds)
        left_out = [np.delete(areas[1] - areas[0], np.flatnonzero(folds == fold)).mean() for fold in filled]
        error = np.sqrt((len(filled) - 1) / len(filled) * ((left_out - np.mean(left_out)) ** 2).sum())
        assert row["high"] - row["effect"] >= 1.9 * error
        assert row["high"] - row["low"] == pytest.approx(2 * (row["high"] - row["effect"]))
    names = [*(concept.name for concept in Squares.concepts), "nothing"]
    for one, first in enumerate(names):
        for other, then in enumerate(names):
            labels = (one + 1) % 5, (other + 1) % 5
            share = ((before == labels[0]) & (after == labels[1])).mean()
            assert effects.what_changed().loc[first, then] == pytest.approx(share)


def test_planted_units_remove_their_colour_alone(effects):
    rows = effects.table().set_index("concept")
    removed = {concept_of(unit) for unit in (0, 1, 4)}
    assert set(rows.index[rows["effect"] < 0]) == removed == {"red", "green"}
    assert rows.loc["red", "removed"] == 1.0  # units 0 and 4 draw all of it
    assert 0 < rows.loc["green", "removed"] < 1  # unit 5 draws the rest
    assert (rows.loc[["blue", "yellow"], "effect"] == 0).all()
    assert effects.took_its_place("red").to_dict() == {"nothing": 1.0}


def test_columns_are_those_that_are_documented(effects):
    assert list(effects.table().columns) == list(INTERVENTION_COLUMNS)
    assert (effects.table()["random_holds"] == 0.5).all()
    assert effects.images == IMAGES


def test_batches_folds_and_halves_add_up(net, latents, effects):
    other = ul.intervene(net, "layer", [0, 1, 4], latents, draws=3, batch_size=7)
    even, odd = (ul.intervene(net, "layer", [0, 1, 4], latents, draws=0, folds=folds) for folds in ("even", "odd"))
    together = even.tally + odd.tally
    for name in ("images", "present", "before", "change", "moved"):
        assert np.array_equal(getattr(effects.tally, name), getattr(other.tally, name))
        assert np.array_equal(getattr(effects.tally, name), getattr(together, name))
        assert np.array_equal(getattr(even.tally, name), getattr(effects.tally.half("even"), name))
    assert np.array_equal(effects.transitions.became, (even.transitions + odd.transitions).became)
    assert np.array_equal(effects.drawn["matched"].change, other.drawn["matched"].change)


def test_a_fast_front_draws_the_same(net, latents, effects):
    faster = ul.intervene(net, "layer", [0, 1, 4], latents, draws=3, batch_size=20, fast=True)
    assert faster.settings.fast == faster.info["replay"]["fast"]["precision"] == "float32"
    np.testing.assert_allclose(faster.table()["effect"], effects.table()["effect"], atol=1e-3)


def test_inserting_nothing_and_nowhere_has_no_effect(net, latents):
    for options in ({"value": 0.0, "where": torch.zeros(16, 16)}, {"units": [9], "value": 3.0}):
        units = options.pop("units", [0, 1])
        nothing = ul.intervene(net, "layer", units, latents, draws=0, **options)
        assert (nothing.tally.change == 0).all()
        assert nothing.moved == 0
        assert (nothing.table()["q_value"] == 1).all()


def test_a_level_far_outside_of_the_layer_is_said_to_be_far(net, latents):
    usual = ul.intervene(net, "layer", [0, 1], latents, draws=0, value="resample").distance
    far = ul.intervene(net, "layer", [0, 1], latents, draws=0, value=50.0).distance
    assert usual.before == far.before
    assert usual.outside < 0.1
    assert far.outside == 1.0
    assert far.after > 10 * usual.after


def test_several_planes_and_sources_count_each_category(net, latents):
    both = ul.intervene(net, "layer", [0], latents, [Squares(), _Halves()], draws=0)
    assert {"side/left", "side/right"} <= {f"{c.category}/{c.name}" for c in both.concepts}
    assert (both.table().query("category == 'side'")["effect"] == 0).all()
    assert {"no color", "no side"} <= set(both.shown)


class _Halves:
    concepts = (ul.Concept("side", 1, "left"), ul.Concept("side", 2, "right"))

    def planes(self, image, name):
        return {"side": [np.tile(np.where(np.arange(32) < 16, 1, 2), (32, 1))]}


def test_a_concept_that_nobody_draws_has_no_row_and_no_share(net, latents):
    effects = ul.intervene(net, "layer", [0], latents, _Unicorns(), draws=0)
    assert "unicorn" not in set(effects.table()["concept"])
    assert np.isnan(effects.tally.removed()[0]).any()


class _Unicorns(Squares):
    concepts = (*Squares.concepts, ul.Concept("color", 9, "unicorn"))


@pytest.mark.parametrize(
    ("give", "sentence"),
    [
        (lambda net, data: (net, "layer", [0], data.data), r"give a concept source, such as ul\.Colors"),
        (lambda net, data: (net, "layer", [0], data.data, "colors"), "A str is not a concept source|concept source"),
        (lambda net, data: (net, "layer", [77], data), "layer has 10 units, 0 to 9; unit 77"),
        (lambda net, data: (net, "lair", [0], data), "lair"),
        (lambda net, data: (ul.load("bundled:scenes"), "relu6", [0], data), "not known to draw images"),
    ],
)
def test_what_cannot_be_measured_is_a_clear_error(net, latents, give, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.intervene(*give(net, latents))


def test_intervals_of_means_cover_and_p_values_are_uniform():
    rng = np.random.default_rng(0)
    truth, covered, p_values = 0.3, [], []
    for _ in range(400):
        images = rng.integers(1, 12, FOLDS)
        sums = np.array([rng.normal(truth, 1, n).sum() for n in images])
        mean, half, _ = mean_change(sums[:, None], images)
        covered.append(abs(mean[0] - truth) <= half[0])
        p_values.append(mean_change((sums - truth * images)[:, None], images)[2][0])
    assert 0.92 <= np.mean(covered) <= 0.98
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.08


def test_few_folds_give_no_interval():
    tally = AreaTally.start(np.array([10]), 1, 300)
    tally.images[:3], tally.before[:3], tally.change[:3] = 4, 20, -1
    estimate = tally.estimate()
    assert estimate.effect[0, 0] == pytest.approx(-1 / 40)
    assert np.isnan([estimate.low, estimate.high, estimate.p_value]).all()
    assert Areas(DrawnConcepts.of([Squares()])).why_nothing(None) is None


def test_every_column_is_documented_with_its_meaning():
    page = (Path(__file__).parents[2] / "docs" / "generators.md").read_text(encoding="utf-8")
    for columns in TABLES.values():
        rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in columns.items())
        assert rows in page
