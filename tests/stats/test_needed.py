import numpy as np
import pytest

from benchmarks.evidence import planted
from benchmarks.evidence import units as units_of
from unitlens.stats.needed import needed_concepts


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(planted, "SIDE", 14)
    monkeypatch.setattr(planted, "COARSE", 5)


def test_units_planted_with_one_two_and_three_concepts_are_counted_right():
    found = units_of.counted_concepts(3, images=300, by=4.0, units=10)
    assert found["units of 0 concepts: counted right"] >= 0.9
    assert found["units of 1 concepts: counted right"] >= 0.9
    assert found["units of 2 concepts: counted right"] >= 0.8
    assert found["units of 3 concepts: counted right"] >= 0.6
    assert found["counted too many"] <= 0.05


def table_with(shares, *, images=40, category_of=None):
    """One unit whose mask lies in concepts by these shares, the same in every fold but for noise."""
    rng = np.random.default_rng(0)
    concepts = len(shares)
    intersection = rng.poisson(np.array(shares) * 100, (1, 32, concepts))
    activated = np.full((1, 32, concepts), 120)
    concept = np.full((32, concepts), 150) + intersection[0]
    from unitlens.stats.folds import FoldTable

    return FoldTable(intersection, activated, concept, np.full((32, concepts), 3000), np.arange(32))


def test_only_concepts_of_the_category_count_and_none_that_overlap_beyond_the_mask():
    table = table_with([0.6, 0.3, 0.6])
    first = np.array([0])
    assert needed_concepts(table, first, np.array([0, 0, 1]))[0].tolist() == [[True, True, False]]
    # In one category the first and the third together hold more than the mask: they overlap, and count once.
    assert needed_concepts(table, first, np.array([0, 0, 0]))[0].sum() == 1


def test_too_few_folds_say_nothing():
    table = table_with([0.6, 0.3])
    scarce = table._replace(judged=np.where(np.arange(32)[:, None] < 7, table.judged, 0))
    needed, known = needed_concepts(scarce, np.array([0]), np.array([0, 0]))
    assert not needed.any()
    assert not known.any()


@pytest.mark.slow
def test_heldout_intervals_cover_at_few_images_too_and_rules_call_fewer_units_wrongly():
    found = units_of.of_samples(5, images=60, fresh=1500)
    assert 0.88 <= found["held-out interval covers, all units"][0] <= 1
    wrong = [found[f"{rule}: units of 40 wrongly above"][0] for rule in ("plain", "heldout", "lower")]
    assert wrong[0] > 2 * wrong[1] > 2 * wrong[2] >= 0


def test_a_half_without_a_meeting_leaves_room_above_zero():
    from unitlens.stats.heldout import heldout_interval

    table = table_with([0.0])
    low, high = heldout_interval(table._replace(intersection=0 * table.intersection), np.zeros((2, 1), np.int64))
    assert low[0] == 0
    assert 0 < high[0] < 0.05
