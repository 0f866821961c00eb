"""Scores of words for units: each equals what is written down with loops."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unitlens.labels.by_words import scores


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def naive_soft_wpmi(similarity, exemplars):
    """CLIP-Dissect's SoftWPMI, from its formulas."""
    units, words = len(exemplars), similarity.shape[1]
    log_given = [[0.0] * words for _ in range(units)]
    for unit in range(units):
        for place, image in enumerate(exemplars[unit]):
            total = sum(math.exp(10 * value) for value in similarity[image])
            sure = 0.998 - place / len(exemplars[unit]) * (0.998 - 0.97)
            for word in range(words):
                of_image = math.exp(10 * similarity[image, word]) / total
                log_given[unit][word] += math.log(1 + sure * (of_image - 1) + 1e-7)
    alone = [math.log(sum(math.exp(log_given[u][w]) for u in range(units)) / units) for w in range(words)]
    return [[log_given[u][w] - alone[w] for w in range(words)] for u in range(units)]


@given(st.integers(0, 9999), st.integers(1, 4), st.integers(1, 5), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_soft_wpmi_is_that_of_its_formulas(seed, units, count, words):
    similarity = np.tanh(drawn(seed, 7, words) / 3)
    exemplars = np.stack([np.random.default_rng([seed, u]).permutation(7)[:count] for u in range(units)])
    fast = scores.soft_wpmi(scores.word_probabilities(similarity), exemplars)
    np.testing.assert_allclose(fast, naive_soft_wpmi(similarity, exemplars), atol=1e-9)


def test_soft_wpmi_block_by_block_is_the_same(monkeypatch):
    similarity, exemplars = np.tanh(drawn(0, 20, 5)), np.stack([np.arange(4) + u for u in range(6)])
    at_once = scores.soft_wpmi(scores.word_probabilities(similarity), exemplars)
    monkeypatch.setattr(scores, "_AT_ONCE", 25)
    assert np.array_equal(scores.soft_wpmi(scores.word_probabilities(similarity), exemplars), at_once)


@given(st.integers(0, 9999), st.integers(3, 9))
@settings(max_examples=30, deadline=None)
def test_correlations_are_numpys(seed, images):
    similarity, peaks = drawn(seed, images, 3), drawn([seed, 1], images, 2)
    found = scores.correlations(similarity, peaks)
    expected = np.corrcoef(peaks.T, similarity.T)[:2, 2:]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_what_is_constant_correlates_with_nothing():
    constant = np.full((5, 1), 0.1, np.float32)
    assert (scores.correlations(drawn(0, 5, 3), constant) == 0).all()
    assert (scores.correlations(constant, drawn(0, 5, 3)) == 0).all()


def test_crops_are_compared_with_those_of_the_other_units():
    crops, words = drawn(0, 4, 6), drawn(1, 3, 6)
    expected = [
        [crops[u] @ words[w] - np.mean([crops[o] @ words[w] for o in range(4) if o != u]) for w in range(3)]
        for u in range(4)
    ]
    np.testing.assert_allclose(scores.above_others(crops, words), expected, atol=1e-12)
    np.testing.assert_allclose(scores.above_others(crops[:1], words), crops[:1] @ words.T)
