import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unitlens as ul
from tests.worlds.planted import InMemory, lookup
from unitlens.stats.scores import Levels, auprc, auroc, auroc_error, correlation
from unitlens.stats.thresholds import level_edges, value_histogram

SIZE = 16


def pairs_in_order(values, there):
    """Share of pairs (with, without the concept) in the right order, ties a half."""
    yes, no = values[there], values[~there]
    return ((yes[:, None] > no).mean() + (yes[:, None] >= no).mean()) / 2


def average_precision(values, there):
    """Mean precision over positions with the concept, ties taken as in random order: the limit of many shuffles."""
    rng, found = np.random.default_rng(0), []
    for _ in range(20):
        order = np.lexsort((rng.random(len(values)), -values))
        hits = there[order]
        found.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    return float(np.mean(found))


def world(seed, *, rectified, images=30):
    """Noisy maps of three units on the label grid, two of which follow the concept, up or down."""
    rng = np.random.default_rng(seed)
    marked = rng.random((images, SIZE, SIZE)) < 0.15
    maps = rng.normal(size=(images, 3, SIZE, SIZE)) + np.array([2.0, 0.7, -0.5])[:, None, None] * marked[:, None]
    maps = np.maximum(maps, 0) if rectified else maps
    data = InMemory([{"object": [plane.astype(int)]} for plane in marked], (("object", 1, "it"),), size=SIZE)
    result = ul.dissect(
        lookup(maps, image_size=SIZE), "layer", data, grid=SIZE, levels=True, exemplars=0, evidence=False
    )
    return maps.transpose(1, 0, 2, 3).reshape(3, -1), marked.ravel(), result


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_level_scores_equal_exact_ones_within_0_01(seed, rectified):
    maps, marked, result = world(seed, rectified=rectified)
    for unit in range(3):
        exact = {
            "auroc": pairs_in_order(maps[unit], marked),
            "auprc": average_precision(maps[unit], marked),
            "correlation": np.corrcoef(maps[unit], marked)[0, 1],
        }
        for name, value in exact.items():
            assert result.scores(name).to_numpy()[unit, 0] == pytest.approx(value, abs=0.01), name


def test_correlation_counts_values_far_below_the_rest():
    rng = np.random.default_rng(0)
    marked = rng.random((30, SIZE, SIZE)) < 0.05
    maps = rng.normal(size=(30, 1, SIZE, SIZE)) - 4.0 * marked[:, None]
    data = InMemory([{"object": [plane.astype(int)]} for plane in marked], (("object", 1, "it"),), size=SIZE)
    result = ul.dissect(
        lookup(maps, image_size=SIZE), "layer", data, grid=SIZE, levels=True, exemplars=0, evidence=False
    )
    exact = np.corrcoef(maps.ravel(), marked.ravel())[0, 1]
    assert result.scores("correlation").to_numpy()[0, 0] == pytest.approx(exact, abs=0.03)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_with_a_level_at_every_value_they_are_exact(seed):
    rng = np.random.default_rng(seed)
    values, there = rng.integers(0, 6, 60), rng.random(60) < 0.4
    if there.all() or not there.any():
        return
    steps = np.arange(5, -1, -1)
    counts = np.array([[(values == step).sum() for step in steps]])[:, :, None]
    hits = np.array([[(there & (values == step)).sum() for step in steps]])[:, :, None]
    levels = Levels(hits, counts, steps[None].astype(float), steps[None].astype(float) ** 2)
    assert auroc(levels)[0, 0] == pytest.approx(pairs_in_order(values, there))
    assert correlation(levels)[0, 0] == pytest.approx(
        np.corrcoef(values, there)[0, 1] if np.ptp(values) else 0, abs=1e-9
    )
    area, before, seen = 0.0, 0, 0  # precision over tied positions, position by position, their hits spread evenly
    for n, h in zip(counts[0, :, 0], hits[0, :, 0], strict=True):
        place = (np.arange(20000) + 0.5) / 20000
        if n:
            area += h * ((before + h * place) / (seen + n * place)).mean()
        before, seen = before + h, seen + n
    assert auprc(levels)[0, 0] == pytest.approx(area / there.sum(), abs=1e-4)


@given(seed=st.integers(0, 10**6), cut=st.integers(1, 4))
@settings(max_examples=30)
def test_the_stated_error_bounds_that_of_auroc(seed, cut):
    rng = np.random.default_rng(seed)
    values, there = rng.random(50), rng.random(50) < 0.5
    edges = np.linspace(1, 0, cut + 1)
    inside = (values[None] <= edges[:-1, None]) & (values[None] > edges[1:, None])
    levels = Levels(
        (inside & there).sum(1)[None, :, None], inside.sum(1)[None, :, None], np.zeros((1, cut)), np.zeros((1, cut))
    )
    if there.any() and not there.all():
        off = abs(auroc(levels)[0, 0] - pairs_in_order(values, there))
        assert off <= auroc_error(levels)[0, 0] + 1e-12


def test_levels_lie_at_the_quantiles_and_at_zero():
    from unitlens.stats.masks import Active

    values = torch.relu(torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)))
    unit = torch.arange(2).repeat_interleave(4000)

    def scan(level):
        flat = values.reshape(-1)
        above = flat > level[unit]
        yield Active(unit[above], unit[above] * 0, unit[above] * 0, flat[above])

    edges = level_edges(value_histogram(scan, 2), (0.01, 0.1, 0.9))
    assert edges.level.shape == (2, 4)
    for row in range(2):
        level = edges.level[row]
        assert level.tolist() == sorted(level.tolist(), reverse=True)
        shares = [(values[row] > one).float().mean().item() for one in level]
        assert shares[:2] == pytest.approx([0.01, 0.1], rel=0.05)
        assert shares[2] == pytest.approx((values[row] > 0).float().mean().item())
        assert shares[3] == 1
        top = values[row][values[row] > level[0]].double()
        assert edges.mean[row, 0].item() == pytest.approx(top.mean().item(), rel=0.005)
        assert edges.square[row, 0].item() == pytest.approx((top**2).mean().item(), rel=0.01)
        assert edges.mean[row, -2:].tolist() == [0, 0]


@pytest.mark.parametrize("name", ["auprc", "auroc", "correlation"])
def test_a_level_score_can_choose_the_concept(name):
    rng = np.random.default_rng(0)
    left = [np.arange(16) < 8] * 16
    planes = [{"object": [np.array(left).astype(int)], "part": [rng.integers(0, 2, (16, 16))]} for _ in range(40)]
    maps = np.array([[p["object"][0] + 0.3 * rng.random((16, 16)), p["part"][0] * 1.0] for p in planes])
    data = InMemory(planes, (("object", 1, "left"), ("part", 1, "dots")), size=16)
    result = ul.dissect(lookup(maps), "layer", data, grid=16, quantile=0.3, score=name, exemplars=0)
    table = result.table()
    assert table["concept"][0] == "left"
    assert table["iou"][0] == result.counts.iou[0, 0]
    assert table["concept_stability"].isna().all()
    assert table["heldout_iou"][0] == pytest.approx(table["iou"][0], abs=0.1)


def test_level_scores_of_a_layer_without_a_grid():
    rng = np.random.default_rng(0)
    there = rng.random(200) < 0.3
    maps = (rng.normal(size=200) + 2 * there)[:, None]
    planes = [{"object": [np.full((16, 16), int(one))]} for one in there]
    data = InMemory(planes, (("object", 1, "it"),))
    result = ul.dissect(lookup(maps), "layer", data, quantile=0.1, levels=True, exemplars=0, evidence=False)
    assert result.scores("auroc").to_numpy()[0, 0] == pytest.approx(pairs_in_order(maps[:, 0], there), abs=0.01)


def test_a_level_score_without_counted_levels_says_how_to_count_them(dissection):
    with pytest.raises(ul.UnitlensError, match=r"auprc needs counts at several levels, .* levels=True"):
        dissection["0"].scores("auprc")
