from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unitlens.stats import evidence
from unitlens.stats.evidence import concept_evidence, presence_accuracy
from unitlens.stats.folds import FoldTable
from unitlens.stats.scores import iou


def table_of(seed, *, units=3, folds=12, concepts=4):
    rng = np.random.default_rng(seed)
    concept = rng.integers(5, 40, (folds, concepts))
    activated = rng.integers(5, 40, (units, folds, concepts))
    intersection = rng.integers(0, np.minimum(concept[None], activated) + 1)
    return FoldTable(intersection, activated, concept, np.full((folds, concepts), 200), np.arange(folds))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_intervals_and_rivals_equal_leaving_folds_out_one_by_one(seed):
    table = table_of(seed)
    found = concept_evidence(table, seed=0)
    folds = len(table.folds)
    for unit in range(3):
        i, a, g = table.intersection[unit], table.activated[unit], table.concept
        whole = iou(i.sum(0), a.sum(0), g.sum(0))
        best = int(whole.argmax())
        without = np.array([iou(i.sum(0) - i[f], a.sum(0) - a[f], g.sum(0) - g[f]) for f in range(folds)])
        t = stats.t.ppf(0.975, folds - 1)

        def half(values, t=t):
            return t * np.sqrt((folds - 1) / folds * ((values - values.mean()) ** 2).sum())

        error = half(without[:, best], t=1)
        spread = without[:, best] - without[:, best].mean()
        say = min(3 * (spread**2).sum() ** 2 / (spread**4).sum(), folds)
        odds, value = stats.t.ppf(0.975, say - 1) * error / (whole[best] * (1 - whole[best])), whole[best]
        assert found.low[unit] == pytest.approx(1 / (1 + (1 - value) / value * np.exp(odds)))
        assert found.high[unit] == pytest.approx(1 / (1 + (1 - value) / value * np.exp(-odds)))
        for concept in range(4):
            gap = whole[best] - whole[concept]
            is_rival = gap <= half(without[:, best] - without[:, concept]) and whole[concept] > 0
            is_rival = is_rival or concept == best
            assert found.rivals[unit, concept] == is_rival
        even, odd = table.folds % 2 == 0, table.folds % 2 == 1
        halves = [iou(i[some].sum(0), a[some].sum(0), g[some].sum(0)) for some in (even, odd)]
        expected = (halves[1][halves[0].argmax()] + halves[0][halves[1].argmax()]) / 2
        assert found.heldout[unit] == pytest.approx(expected)


def test_evidence_of_many_units_is_that_of_each(monkeypatch):
    table = table_of(1, units=7)
    whole = concept_evidence(table, seed=3)
    monkeypatch.setattr("unitlens.stats.evidence.AT_ONCE", 1)
    for together, alone in zip(whole, concept_evidence(table, seed=3), strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_folds_without_judged_positions_are_left_out_of_intervals():
    table = table_of(3, folds=20)
    judged = np.where(np.arange(20)[:, None] < [20, 9, 7, 0], 200, 0)
    some = judged > 0
    table = table._replace(
        intersection=table.intersection * some, activated=table.activated * some, concept=table.concept * some
    )
    for concept, folds in enumerate([20, 9]):
        alone = table._replace(
            intersection=table.intersection[:, :, [concept]],
            activated=table.activated[:, :, [concept]],
            concept=table.concept[:, [concept]],
            judged=judged[:, [concept]],
        )
        without = alone._replace(
            **{name: getattr(alone, name)[:, :folds] for name in ("intersection", "activated")},
            **{name: getattr(alone, name)[:folds] for name in ("concept", "judged", "folds")},
        )
        np.testing.assert_allclose(concept_evidence(alone).low, concept_evidence(without).low)
    scarce = alone._replace(judged=judged[:, [2]])
    assert np.isnan(concept_evidence(scarce).low).all()


def test_stability_is_1_where_a_concept_leads_in_every_fold():
    table = table_of(0, units=1, concepts=2)
    clear = table._replace(
        intersection=np.stack([table.concept[:, :1] * 0 + 5, table.concept[:, :1] * 0], -1)[..., 0, :][None]
    )
    assert concept_evidence(clear).stability[0] == 1
    rng = np.random.default_rng(0)
    even = rng.integers(4, 12, (1, 12, 2))
    close = FoldTable(even, even + 10, np.full((12, 2), 30), np.full((12, 2), 99), np.arange(12))
    assert 0.2 < concept_evidence(close).stability[0] < 1


@given(seed=st.integers(0, 10**6), at_once=st.sampled_from([1, 2, 5, 1000]))
@settings(max_examples=60)
def test_presence_accuracy_takes_the_best_level_of_the_even_half(seed, at_once):
    rng = np.random.default_rng(seed)
    peaks = rng.integers(-2, 4, 30).astype(np.float32) * rng.choice([1, -0.0, 1])
    present, even, judged = (rng.random(30) < share for share in (0.5, 0.5, 0.8))

    def accuracy(level, some):
        called, there = peaks[some] > level, present[some]
        right = (
            Fraction(int(called[there].sum()), int(there.sum())),
            Fraction(int((~called[~there]).sum()), int((~there).sum())),
        )
        return sum(right) / 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "_LEVELS_AT_ONCE", at_once)
        found = presence_accuracy(peaks, present, judged, even=even)
    even, odd = even & judged, ~even & judged
    if np.isnan(found):
        assert any(present[some].all() or not present[some].any() for some in (even, odd))
    else:
        levels = sorted(set(peaks[even]))
        accuracies = [accuracy(level, even) for level in levels]
        assert found == pytest.approx(accuracy(levels[int(np.argmax(accuracies))], odd))
