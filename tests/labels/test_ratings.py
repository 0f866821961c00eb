"""What answers of people amount to: shares with their intervals, and how far people agree."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from unitlens.labels.people.alpha import alpha_interval, krippendorff_alpha
from unitlens.labels.people.key import Question
from unitlens.labels.people.ratings import Ratings, SheetAnswers


def ratings_of(*answers, choices=("a", "b")):
    """Ratings of one sheet, a text of answers a person; the first choice is right everywhere."""
    question = Question(layer="0", unit=0, method="mine", choices=choices, right=0)
    people = {f"{number:016x}": of_one for number, of_one in enumerate(answers)}
    return Ratings((SheetAnswers(sheet="s", questions=(question,) * len(answers[0]), answers=people),))


@pytest.mark.parametrize(
    ("answers", "whole"),
    [(("11122", "11222"), 2), (("11112", "11122"), 3), (("1-2", "1-1"), 1), (("2-2", "222"), 0), (("111", "1--"), 3)],
)
def test_intervals_are_of_the_share_that_is_right_and_p_values_of_no_more(answers, whole):
    from scipy.stats import binomtest

    row = ratings_of(*answers).table().iloc[0]
    z, n, share = 1.959963984540054, row["questions"], row["right"]
    for end in (row["low"], row["high"]):  # Wilson's ends are the shares from which this one is z standard errors away
        assert (end - share) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-12)
    assert row["low"] <= share <= row["high"]
    assert row["p_value"] == binomtest(whole, int(n), 0.5, alternative="greater").pvalue


def test_answers_to_very_many_questions_are_refused():
    assert len(ratings_of("1" * 10_000).questions) == 10_000
    with pytest.raises(ul.UnitlensError, match="answers to 10001 questions; up to 10000"):
        ratings_of("1" * 10_001)


def naive_alpha(chosen):
    """Krippendorff's alpha by pairs of answers."""
    units = [[value for value in column if value >= 0] for column in chosen.T]
    units = [values for values in units if len(values) > 1]
    pooled = [value for values in units for value in values]
    observed = sum(
        sum(a != b for i, a in enumerate(values) for j, b in enumerate(values) if i != j) / (len(values) - 1)
        for values in units
    )
    expected = sum(a != b for i, a in enumerate(pooled) for j, b in enumerate(pooled) if i != j)
    return 1 - (len(pooled) - 1) * observed / expected if expected else np.nan


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 12))
def test_alpha_is_what_pairs_of_answers_say(seed, raters, questions):
    chosen = np.random.default_rng(seed).integers(-1, 3, (raters, questions))
    assert np.isclose(krippendorff_alpha(chosen), naive_alpha(chosen), equal_nan=True)


def naive_interval(chosen):
    """The same by answers that are drawn again, of questions that several answered."""
    shared = chosen[:, (chosen >= 0).sum(0) > 1]
    drawn = np.random.default_rng(0).integers(0, shared.shape[1], (1000, shared.shape[1]))
    return np.nanquantile([naive_alpha(shared[:, row]) for row in drawn], [0.025, 0.975])


@pytest.mark.parametrize("block", [1, 50, 1 << 18])
def test_the_interval_of_alpha_is_that_of_drawing_shared_questions_again(block, monkeypatch):
    monkeypatch.setattr("unitlens.labels.people.alpha._BLOCK", block)
    chosen = np.random.default_rng(1).integers(-1, 3, (3, 8))
    alone = np.full((3, 9), -1)
    alone[0] = 1  # what one person answered says nothing of how far people agree
    found = alpha_interval(np.hstack([alone, chosen]))
    assert [found.low, found.high] == pytest.approx(naive_interval(chosen))


def test_the_interval_of_alpha_takes_little_memory_for_many_questions():
    chosen = np.random.default_rng(0).integers(0, 3, (2, 5000)).astype(np.int64)
    tracemalloc.start()
    alpha_interval(chosen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24  # all resamples together would take 2**25 and more


def test_alpha_of_the_books_example():
    rows = ["*****334112113", "1*21333444443*"[:14], "**213443141133"]
    chosen = np.array([[-1 if c == "*" else int(c) for c in row] for row in rows])
    assert np.isclose(krippendorff_alpha(chosen), naive_alpha(chosen))
