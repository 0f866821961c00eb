import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unitlens as ul
from unitlens.ablation.estimates import estimate, estimate_overall
from unitlens.ablation.outcomes.measures import (
    MEASURES,
    OUTCOMES,
    NamedOutcome,
    log_probability,
    logit,
    margin,
    outcomes_of,
    values_of,
)
from unitlens.ablation.responses.counting import PredictionTally
from unitlens.ablation.table import COLUMNS, effect_rows, shortened

CLASSES = 3
SHARES = ("recall", "precision", "accuracy", "balanced_accuracy")


def calls(seed, images=40, interventions=2, classes=CLASSES, right=0.7):
    """Truth, predictions before and after, and folds 0 and 1."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)

    def call():
        return np.where(rng.random(images) < right, truth, rng.integers(0, classes, images))

    return truth, call(), np.stack([call() for _ in range(interventions)]), (rng.random(images) < 0.5).astype(int)


def counted(truth, before, after, odd, classes=CLASSES):
    """Counts, and sums of a number that the predictions and folds give."""
    counter = PredictionTally(len(after), classes, ["logit"])
    counter.add_untouched(truth, before, odd)
    counter.add_changes(0, truth, before, after, odd)
    counter.add_outcome("logit", 0, truth, before / 7.0, after / 3.0, odd)
    return counter


def tally_of(truth, before, after, odd, classes=CLASSES):
    return counted(truth, before, after, odd, classes).tally()


def measured(truth, called, class_):
    """Every measure of a class, by loops straight from the definitions."""
    own = [c == class_ for t, c in zip(truth, called, strict=True) if t == class_]
    others = [c == class_ for t, c in zip(truth, called, strict=True) if t != class_]
    recall = sum(own) / len(own) if own else np.nan
    all_called = sum(own) + sum(others)
    return {
        "recall": recall,
        "precision": sum(own) / all_called if all_called and own else np.nan,
        "accuracy": (sum(own) + len(others) - sum(others)) / len(truth) if own else np.nan,
        "balanced_accuracy": (recall + 1 - sum(others) / len(others)) / 2 if own and others else np.nan,
    }


@given(seed=st.integers(0, 10**6), images=st.integers(1, 30))
@settings(max_examples=40)
def test_measures_equal_the_loops(seed, images):
    truth, before, after, odd = calls(seed, images)
    tally = tally_of(truth, before, after, odd)
    for folds, chosen in (("all", odd >= 0), ("even", odd == 0), ("odd", odd == 1)):
        for name in SHARES:
            found = estimate(tally.half(folds), name)
            for class_ in range(CLASSES):
                first = measured(truth[chosen], before[chosen], class_)[name]
                assert found.before[0, class_] == pytest.approx(first, nan_ok=True)
                for place in range(len(after)):
                    last = measured(truth[chosen], after[place][chosen], class_)[name]
                    assert found.after[place, class_] == pytest.approx(last, nan_ok=True)
                    assert found.effect[place, class_] == pytest.approx(last - first, nan_ok=True)
        overall = estimate_overall(tally.half(folds), "accuracy")
        right = (after[:, chosen] == truth[chosen]).mean(1) if chosen.any() else [0, 0]
        assert overall.after == pytest.approx(right)


@given(seed=st.integers(0, 10**6), cut=st.integers(0, 40))
@settings(max_examples=20)
def test_counts_of_parts_add_to_the_same_bits(seed, cut):
    truth, before, after, odd = calls(seed)
    whole = tally_of(truth, before, after, odd).arrays()
    one = counted(truth[:cut], before[:cut], after[:, :cut], odd[:cut])
    other = counted(truth[cut:], before[cut:], after[:, cut:], odd[cut:])
    other.merge(one.state())
    for name, array in other.tally().arrays().items():
        assert array.dtype == (np.float64 if "/" in name else np.int64)
        assert np.array_equal(array, whole[name]), name


@pytest.mark.parametrize("name", SHARES)
def test_intervals_agree_with_a_bootstrap_over_images(name):
    truth, before, after, odd = calls(1, images=600, interventions=1)
    found = estimate(tally_of(truth, before, after, odd).half("all"), name)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        some = rng.integers(0, len(truth), len(truth))
        drawn.append(estimate(tally_of(truth[some], before[some], after[:, some], odd).half("all"), name).effect[0])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    width = high - low
    assert np.abs(found.low[0] - low).max() < 0.2 * width.min()
    assert np.abs(found.high[0] - high).max() < 0.2 * width.min()


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = dict.fromkeys(SHARES, 0)
    for seed in range(300):  # calls before and after are alike, so that the true effect is 0
        found = tally_of(*calls(seed, images=120, interventions=1)).half("all")
        for name in SHARES:
            one = estimate(found, name)
            covered[name] += int(one.low[0, 0] <= 0 <= one.high[0, 0])
    assert all(0.92 <= count / 300 <= 0.99 for count in covered.values()), covered


def test_what_changes_nothing_has_effect_0_and_nothing_to_report():
    truth, before, _, odd = calls(2)
    for name in SHARES:
        found = estimate(tally_of(truth, before, before[None], odd).half("all"), name)
        assert (found.effect == 0).all()
        assert (found.p_value == 1).all()
        assert (found.low < 0).all()  # what 40 images do not show, others may
        assert (found.high > 0).all()


def test_classes_without_images_and_predictions_are_empty():
    truth, before, after = np.array([0, 0]), np.array([0, 1]), np.array([[1, 1]])
    tally = tally_of(truth, before, after, np.array([0, 1]))
    assert np.isnan(estimate(tally.half("all"), "precision").after[0, 0])  # nobody is called class 0 any more
    assert np.isnan(estimate(tally.half("all"), "recall").after[0, 2])
    assert np.isnan(estimate(tally.half("all"), "balanced_accuracy").effect[0, 0])  # there are no other images


def test_outcomes_are_what_their_names_say():
    outputs, own = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 4.0]]), torch.tensor([0, 1])
    assert logit(outputs, own).tolist() == [2, 3]
    assert margin(outputs, own).tolist() == [1, -1]
    assert torch.allclose(log_probability(outputs, own), outputs.log_softmax(1)[[0, 1], own])


@pytest.mark.parametrize(("images", "close"), [(50, 0.1), (2000, 0.01)])
def test_sums_give_the_paired_mean_and_where_images_are_many_students_interval(images, close):
    from scipy import stats

    rng = np.random.default_rng(3)
    truth, odd = rng.integers(0, 2, images), rng.integers(0, 2, images)
    before, after = rng.normal(size=images), rng.normal(size=(3, images))
    counter = PredictionTally(3, 2, ["logit"])
    counter.add_untouched(truth, truth, odd)
    counter.add_outcome("logit", 0, truth, before, after, odd)
    tally = counter.tally()
    found = estimate(tally.half("all"), "logit")
    change = (after[1] - before)[truth == 1]
    test = stats.ttest_1samp(change, 0)
    assert found.effect[1, 1] == pytest.approx(change.mean())
    low, high = test.confidence_interval(0.95)
    assert (found.low[1, 1], found.high[1, 1]) == pytest.approx((low, high), abs=close * (high - low))
    assert found.p_value[1, 1] == pytest.approx(test.pvalue)
    assert estimate_overall(tally.half("all"), "logit").effect == pytest.approx((after - before).mean(1))


def test_measures_are_named_or_functions():
    def confidence(outputs, own):
        return outputs.softmax(1).amax(1)

    names, summed = outcomes_of(["recall", "logit", confidence])
    assert names == ("recall", "logit", "confidence")
    assert summed == {"logit": OUTCOMES["logit"], "confidence": NamedOutcome("confidence", confidence)}
    with pytest.raises(ul.UnitlensError, match=r"no measure 'recal' \(did you mean recall\?\); there are recall, prec"):
        outcomes_of("recal")
    with pytest.raises(ul.UnitlensError, match=r"all returned \(4, 3\); it returns one number for each image, \(4,\)"):
        values_of(NamedOutcome("all", lambda outputs, classes: outputs), torch.zeros(2, 2, 3), torch.tensor([0, 1]))
    with pytest.raises(ul.UnitlensError, match="margin was not measured, but recall, precision"):
        estimate(PredictionTally(1, 2).tally().half("all"), "margin")
    with pytest.raises(ul.UnitlensError, match="Folds are 'all', 'even' or 'odd', not 'uneven'"):
        PredictionTally(1, 2).tally().half("uneven")


def test_the_table_has_the_documented_columns_and_a_row_for_each_class_and_measure():
    tally = tally_of(*calls(5))
    table = effect_rows("conv", [(3,), (1, 2)], tally.half("all"), ["a", "b", "c"], ["recall", "precision"])
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * (3 * 2 + 1)
    assert set(table["units"]) == {"3", "1;2"}
    assert table.loc[table["class"] == "*", "measure"].tolist() == ["accuracy", "accuracy"]
    assert table["q_value"].between(0, 1).all()
    assert set(MEASURES) >= set(table["measure"])


def test_means_have_intervals_and_no_q_values():
    truth, before, _, folds = calls(7)
    counter = PredictionTally(2, CLASSES, ["logit"])
    counter.add_untouched(truth, before, folds)
    counter.add_outcome("logit", 0, truth, np.zeros(40), np.random.default_rng(0).normal(size=(2, 40)), folds)
    table = effect_rows("conv", [(0,), (1,)], counter.tally().half("all"), ["a", "b", "c"], ["recall", "logit"])
    counts = table["measure"] != "logit"
    assert table.loc[counts, "q_value"].notna().all()
    assert table.loc[~counts, "q_value"].isna().all()
    assert (table["low"] < table["high"]).all()


def test_a_long_table_keeps_the_overall_rows_and_the_largest_effects():
    tally = tally_of(*calls(6, images=300, interventions=4, classes=8), classes=8)
    table = effect_rows("conv", [(u,) for u in range(4)], tally.half("all"), list("abcdefgh"), ["recall"])
    short = shortened(table, most=10, kept=3)
    assert (short["class"] == "*").sum() == 4
    own = short[short["class"] != "*"]
    assert own.groupby("units").size().tolist() == [3] * 4
    for unit, rows in own.groupby("units"):
        every = table[(table["units"] == unit) & (table["class"] != "*")]["effect"].abs()
        assert sorted(rows["effect"].abs()) == sorted(every)[-3:]
    assert shortened(table).equals(table)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_outcome_without_a_mean_is_an_error(value):
    outcome = NamedOutcome("mine", lambda outputs, _: outputs[:, 0] * 0 + torch.tensor([1.0, value, 1.0, 1.0]))
    with pytest.raises(ul.UnitlensError, match=r"mine is nan or infinite for 1 of 4 images"):
        values_of(outcome, torch.zeros(2, 2, 3), torch.zeros(2, dtype=torch.int64))
