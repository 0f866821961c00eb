from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unitlens.stats.chance import association, draws_for, partners
from unitlens.stats.evidence import label_evidence, presence_accuracy
from unitlens.stats.folds import FoldTable, jackknife_half_width
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
    found = label_evidence(table, seed=0)
    folds = len(table.folds)
    for unit in range(3):
        i, a, g = table.intersection[unit], table.activated[unit], table.concept
        whole = iou(i.sum(0), a.sum(0), g.sum(0))
        label = int(whole.argmax())
        without = np.array([iou(i.sum(0) - i[f], a.sum(0) - a[f], g.sum(0) - g[f]) for f in range(folds)])
        t = stats.t.ppf(0.975, folds - 1)

        def half(values, t=t):
            return t * np.sqrt((folds - 1) / folds * ((values - values.mean()) ** 2).sum())

        error = half(without[:, label], t=1)
        spread = without[:, label] - without[:, label].mean()
        say = min(3 * (spread**2).sum() ** 2 / (spread**4).sum(), folds)
        odds, value = stats.t.ppf(0.975, say - 1) * error / (whole[label] * (1 - whole[label])), whole[label]
        assert found.low[unit] == pytest.approx(1 / (1 + (1 - value) / value * np.exp(odds)))
        assert found.high[unit] == pytest.approx(1 / (1 + (1 - value) / value * np.exp(-odds)))
        for concept in range(4):
            gap = whole[label] - whole[concept]
            is_rival = gap <= half(without[:, label] - without[:, concept]) and whole[concept] > 0
            is_rival = is_rival or concept == label
            assert found.rivals[unit, concept] == is_rival
        even, odd = table.folds % 2 == 0, table.folds % 2 == 1
        halves = [iou(i[some].sum(0), a[some].sum(0), g[some].sum(0)) for some in (even, odd)]
        expected = (halves[1][halves[0].argmax()] + halves[0][halves[1].argmax()]) / 2
        assert found.heldout[unit] == pytest.approx(expected)


def test_evidence_of_many_units_is_that_of_each(monkeypatch):
    table = table_of(1, units=7)
    whole = label_evidence(table, seed=3)
    monkeypatch.setattr("unitlens.stats.evidence.AT_ONCE", 1)
    for together, alone in zip(whole, label_evidence(table, seed=3), strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_below_eight_folds_there_is_no_interval():
    assert np.isnan(jackknife_half_width(np.random.default_rng(0).random((7, 3)))).all()
    found = label_evidence(table_of(0, folds=7))
    assert np.isnan(found.low).all()
    assert not found.rivals.any()


def test_folds_in_which_a_category_is_not_judged_count_for_nothing():
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
        np.testing.assert_allclose(label_evidence(alone).low, label_evidence(without).low)
    scarce = alone._replace(judged=judged[:, [2]])
    assert np.isnan(label_evidence(scarce).low).all()


def test_stability_is_one_where_the_label_leads_in_every_fold_and_less_in_a_close_race():
    table = table_of(0, units=1, concepts=2)
    clear = table._replace(
        intersection=np.stack([table.concept[:, :1] * 0 + 5, table.concept[:, :1] * 0], -1)[..., 0, :][None]
    )
    assert label_evidence(clear).stability[0] == 1
    rng = np.random.default_rng(0)
    even = rng.integers(4, 12, (1, 12, 2))
    close = FoldTable(even, even + 10, np.full((12, 2), 30), np.full((12, 2), 99), np.arange(12))
    assert 0.2 < label_evidence(close).stability[0] < 1


@given(count=st.integers(1, 60), kinds=st.integers(1, 6), seed=st.integers(0, 99))
def test_partners_are_other_images_each_time_another_and_each_serves_once(count, kinds, seed):
    rng = np.random.default_rng(seed)
    annotated = rng.integers(0, kinds, count).tolist()
    hashes = rng.permutation(10**6)[:count].tolist()
    drawn = partners(hashes, annotated, draws=4, seed=seed)
    assert drawn.shape == (min(4, count - 1), count)
    for draw in drawn:
        assert sorted(draw) == list(range(count))
    for image, own in enumerate(drawn.T):
        assert image not in own
        assert len(set(own)) == len(own)
        if annotated.count(annotated[image]) > 4 and min(map(annotated.count, annotated)) > 4:
            assert {annotated[partner] for partner in own} <= {annotated[image]}


def test_an_image_alone_in_what_it_is_annotated_for_joins_those_most_like_it():
    parts, objects, textures = 0b011, 0b001, 0b100
    annotated = [parts] + [objects] * 9 + [textures] * 9
    drawn = partners(list(range(19)), annotated, draws=6, seed=0)
    assert {annotated[partner] for partner in drawn[:, 0]} == {objects}
    assert {annotated[partner] for draw in drawn[:, 1:10] for partner in draw} == {objects, parts}
    assert {annotated[partner] for draw in drawn[:, 10:] for partner in draw} == {textures}


def test_where_all_groups_are_small_none_of_their_images_meets_the_same_labels_twice():
    annotated = [group for group in range(1, 31) for _ in range(2)]  # in pairs, every draw would be the same swap
    drawn = partners(list(range(60)), annotated, draws=20, seed=0)
    assert len({tuple(draw) for draw in drawn}) == 20
    assert all(len(set(own)) == 20 for own in drawn.T)


def test_an_image_alone_in_the_data_has_no_partner_and_proves_nothing():
    drawn = partners([7], [1], draws=20)
    assert drawn.shape == (0, 1)
    found = association(np.array([0.9]), np.zeros((1, 0)), np.array([False]))
    assert np.isnan(found.chance[0])
    assert found.p_value[0] == found.q_value[0] == 1


def test_partners_do_not_depend_on_the_order_of_the_images():
    hashes, order = [50, 20, 90, 10, 70], [3, 0, 4, 1, 2]
    straight = partners(hashes, [0] * 5, draws=4, seed=1)
    turned = partners([hashes[place] for place in order], [0] * 5, draws=4, seed=1)
    as_hashes = [[hashes[partner] for partner in draw] for draw in straight]
    for draw, other in zip(as_hashes, turned, strict=True):
        assert [draw[place] for place in order] == [hashes[order[partner]] for partner in other]


def test_p_values_are_ranks_among_ratios_of_units_and_draws():
    best = np.array([0.4, 0.1, 0.0])
    shifted = np.array([[0.1, 0.1, 0.1], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0]])
    found = association(best, shifted, np.array([False, False, True]))
    null = [1, 1, 1, 0.1 / 0.25, 0.2 / 0.2, 0.3 / 0.15]
    assert found.chance.tolist() == pytest.approx([0.1, 0.2, 0.0])
    assert found.p_value[0] == pytest.approx((1 + sum(r >= 4.0 for r in null)) / 7)
    assert found.p_value[1] == pytest.approx((1 + sum(r >= 0.5 for r in null)) / 7)
    assert np.isnan(found.p_value[2])
    assert np.isnan(found.q_value[2])


@pytest.mark.parametrize("fdr", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("units", [1, 2, 512])
def test_a_unit_that_stands_out_alone_can_be_called(fdr, units):
    draws = draws_for(fdr)
    shifted = np.random.default_rng(0).uniform(0.01, 0.03, (units, draws))
    best = np.array([0.9] + [0.02] * (units - 1))
    found = association(best, shifted, np.zeros(units, bool))
    assert found.q_value[0] <= fdr
    assert (found.q_value[1:] > fdr).all()


def test_draws_are_not_fewer_than_8_nor_more_than_100():
    assert [draws_for(fdr) for fdr in (0.5, 0.05, 0.04, 0.0001)] == [8, 20, 25, 100]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_presence_accuracy_takes_the_best_level_of_the_even_half(seed):
    rng = np.random.default_rng(seed)
    peaks = rng.integers(0, 6, 30).astype(float)
    present, even = rng.random(30) < 0.5, rng.random(30) < 0.5

    def accuracy(level, some):
        called, there = peaks[some] > level, present[some]
        right = (
            Fraction(int(called[there].sum()), int(there.sum())),
            Fraction(int((~called[~there]).sum()), int((~there).sum())),
        )
        return sum(right) / 2

    found = presence_accuracy(peaks, present, even)
    if np.isnan(found):
        assert any(present[some].all() or not present[some].any() for some in (even, ~even))
    else:
        levels = sorted(set(peaks[even]))
        accuracies = [accuracy(level, even) for level in levels]
        assert found == pytest.approx(accuracy(levels[int(np.argmax(accuracies))], ~even))
