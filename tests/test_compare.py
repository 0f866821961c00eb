import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

import unitlens as ul
from tests.planted import ColourWorld, InMemory, colour_net, lookup
from unitlens import compare_columns
from unitlens.comparison import compare
from unitlens.counts import Counts
from unitlens.emergence import panels
from unitlens.evidence import interval_half_width
from unitlens.matching import Side, match_units, profiles
from unitlens.recounting import detectors_of, filled_folds, fold_table, half_width, halves_of, recount, unique_of
from unitlens.scores import SCORES, matches

CONCEPTS = (ul.Concept("object", 1, "left"), ul.Concept("object", 2, "right"), ul.Concept("color", 1, "top"))


def sides(pictures=40, size=16):
    """Left and right halves of some width, and rows at the top."""
    rng, planes = np.random.default_rng(0), []
    for _ in range(pictures):
        across = np.zeros((size, size), np.int64)
        across[:, : rng.integers(3, 8)], across[:, -rng.integers(3, 8) :] = 1, 2
        down = np.zeros((size, size), np.int64)
        down[: rng.integers(3, 8)] = 1
        planes.append({"object": [across], "color": [down]})
    return planes


PLANES = sides()
DATA = InMemory(PLANES, CONCEPTS)


def says(*what, seed=0, noise=0.3):
    """A network whose units say where left (0), right (1), top (2) and nothing (3) are."""
    rng = np.random.default_rng(seed)
    maps = []
    for planes in PLANES:
        across, down = planes["object"][0], planes["color"][0]
        known = [across == 1, across == 2, down == 1, np.zeros_like(down, bool)]
        maps.append([known[i] + noise * rng.random(down.shape) for i in what])
    return lookup(np.array(maps))


def dissected(*what, data=DATA, **options):
    chosen = {"quantile": 0.2, "grid": 16, "exemplars": 0} | options
    seed = chosen.pop("net_seed", 0)
    return ul.dissect(says(*what, seed=seed), "layer", data, **chosen)


@pytest.fixture(scope="module")
def three():
    return dissected(0, 0, 1, 3), dissected(1, 2, 2, 3, net_seed=1), dissected(3, 3, 3, 3, net_seed=2)


@pytest.fixture(scope="module")
def comparison(three):
    return compare(*three, names=["a", "b", "noise"])


def random_counts(rng, units=6, concepts=5, folds=32, categories=2):
    concept = rng.integers(5, 60, (folds, concepts))
    meet = rng.binomial(concept[None], rng.beta(0.6, 2, (units, 1, concepts)))
    activated = meet.max(2, keepdims=True) + rng.integers(0, 40, (units, folds, categories))
    index = np.flatnonzero(meet)
    category_of = np.arange(concepts) % categories
    judged = np.full((folds, categories), 500)
    return Counts(
        category_of, index, meet.ravel()[index], activated, activated[:, :, 0].sum(1), concept, judged, 500 * folds
    )


# ---- counting again


@given(st.integers(0, 1000), st.integers(1, 32))
@settings(deadline=None, max_examples=15)
def test_recount_equals_choosing_labels_from_scratch_on_each_half(seed, folds):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, folds=folds)
    eligible = rng.random(6) < 0.8
    found = recount(counts, eligible, score=SCORES["iou"], min_iou=0.2)
    weights = np.concatenate([np.ones((1, folds)), halves_of(filled_folds(counts))])
    meet, activated = counts.by_fold(slice(0, 6))
    for row, own in zip(weights, [found.whole, *found.halves], strict=True):
        expected = np.zeros(5, int)
        for unit in np.flatnonzero(eligible):
            kept = row > 0
            both, mask = meet[unit, kept].sum(0), activated[unit, kept].sum(0)
            union = mask + counts.concept_by_fold[kept].sum(0) - both
            iou = np.divide(both, union, out=np.zeros(5), where=union > 0)
            expected[iou.argmax()] += iou.max() > 0.2
        assert own.tolist() == expected.tolist()


def test_recount_in_blocks_is_recount_at_once(monkeypatch):
    counts = random_counts(np.random.default_rng(0), units=40)
    whole = recount(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    monkeypatch.setattr("unitlens.recounting._AT_ONCE", 1)
    blocks = recount(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    assert np.array_equal(whole.halves, blocks.halves)
    assert np.array_equal(whole.whole, blocks.whole)


def test_recount_keeps_labels_where_no_score_of_counts_chose_them():
    counts = random_counts(np.random.default_rng(3))
    label = np.full(6, 4)
    found = recount(counts, np.ones(6, bool), score=None, min_iou=0.0, label=label)
    assert found.whole.tolist() == [0, 0, 0, 0, int((counts.iou[:, 4] > 0).sum())]


def test_unique_concepts_by_category_are_those_of_matches():
    counts = random_counts(np.random.default_rng(4), units=2)
    found = recount(counts, np.ones(2, bool), score=SCORES["iou"], min_iou=0.05, unique="category")
    expected = matches(counts.iou, counts.category_of, min_iou=0.05, unique="category").any(0)
    assert np.array_equal(found.matched, expected)
    label = recount(counts, np.ones(2, bool), score=SCORES["iou"], min_iou=0.05)
    assert found.matched.sum() > label.matched.sum()
    assert np.array_equal(label.matched, matches(counts.iou, counts.category_of, min_iou=0.05).any(0))


def test_halves_come_with_what_they_leave_out():
    halves = halves_of(np.arange(11))
    assert np.array_equal(halves[:50] + halves[50:], np.ones((50, 11)))
    assert set(halves.sum(1)) == {5.0, 6.0}


def test_intervals_cover_at_their_rate_where_leaving_out_one_fold_is_far_too_wide():
    units, concepts, folds, runs = 60, 8, 32, 80
    base = np.random.default_rng(0).beta(2, 20, (units, concepts))
    values, halves, single, unique, unique_halves = [], [], [], [], []
    everything = np.ones(concepts, bool)
    for run in range(runs):
        rng = np.random.default_rng([1, run])
        shared, own = rng.gamma(4, 1 / 4, (folds, concepts)), rng.gamma(3, 1 / 3, (units, folds, concepts))
        concept = rng.poisson(60 * shared)
        meet = np.minimum(rng.poisson(base[:, None] * 60 * shared * own), concept[None])
        activated = np.maximum(rng.poisson(60, (units, folds))[:, :, None], meet.max(2, keepdims=True))
        index, judged = np.flatnonzero(meet), np.full((folds, 1), 1000)
        zeros = np.zeros(concepts, np.int64)
        counts = Counts(
            zeros, index, meet.ravel()[index], activated, activated.sum((1, 2)), concept, judged, 1000 * folds
        )
        found = recount(counts, np.ones(units, bool), score=SCORES["iou"], min_iou=0.1)
        detectors, different = detectors_of(found, everything), unique_of(found, everything)
        values.append(detectors.value)
        halves.append(half_width(detectors.halves, folds))
        unique.append(different.value)
        unique_halves.append(half_width(different.halves, folds))
        table = fold_table(counts, slice(0, units), filled_folds(counts))
        single.append(interval_half_width((table.over(1 - np.eye(folds)).iou().max(2) > 0.1).sum(1).astype(float)))
    for truth, width in ((np.array(values), halves), (np.array(unique), unique_halves)):
        covered = (abs(truth - truth.mean()) <= width).mean()
        assert 0.88 <= covered <= 1.0
        assert 0.7 < np.mean(width) / (stdtrit(31, 0.975) * truth.std()) < 1.4
    assert np.mean(single) > 1.7 * np.mean(halves)


# ---- matching


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_a_network_matches_itself_whatever_the_order_of_its_units(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, units=7)
    order = rng.permutation(7)
    shuffled = Counts(
        counts.category_of,
        *_shuffled(counts, order),
        counts.activated_by_fold[order],
        counts.active[order],
        counts.concept_by_fold,
        counts.judged_by_fold,
        counts.positions,
    )
    columns, label = np.arange(5), counts.iou.argmax(1)
    found = match_units(
        Side(counts, np.arange(7), label, columns),
        Side(shuffled, np.arange(7), label[order], columns),
        paired=True,
    )
    assert np.allclose(found.similarity, 1)
    assert np.allclose(found.similarity_half, 0, atol=1e-6)
    assert np.allclose(found.difference, 0)
    rows = counts.iou[found.unit] - shuffled.iou[found.other]
    assert np.allclose(rows, 0)


def _shuffled(counts, order):
    meet = counts.by_fold(slice(0, len(order)))[0][order]
    index = np.flatnonzero(meet)
    return index, meet.ravel()[index]


def test_interval_of_a_similarity_is_the_jackknife_of_its_definition():
    rng = np.random.default_rng(5)
    counts = random_counts(rng)
    other = random_counts(rng)
    sides_ = [Side(one, np.arange(6), one.iou.argmax(1), np.arange(5)) for one in (counts, other)]
    found = match_units(*sides_, paired=True)
    left = []
    for fold in range(32):
        kept = np.arange(32) != fold
        rows = []
        for one in (counts, other):
            meet, activated = one.by_fold(slice(0, 6))
            both, mask, concept = meet[:, kept].sum(1), activated[:, kept].sum(1), one.concept_by_fold[kept].sum(0)
            scores = both / (mask + concept - both)
            rows.append(profiles(scores, scores.mean(0)))
        left.append((rows[0][found.unit] * rows[1][found.other]).sum(1))
    expected = stdtrit(31, 0.975) * np.sqrt(31 * np.var(left, axis=0))
    assert np.allclose(found.similarity_half, expected)


def test_nothing_to_match_is_no_error():
    counts = random_counts(np.random.default_rng(0))
    nobody = Side(counts, np.zeros(0, np.int64), np.zeros(6, np.int64), np.arange(5))
    assert len(match_units(nobody, nobody, paired=True).unit) == 0


# ---- comparisons


def test_numbers_are_those_of_the_runs_tables(three, comparison):
    table = comparison.table()
    assert list(table["category"].unique()) == ["all", "object", "color"]
    for name, run in zip("ab", three, strict=False):
        own = table[table["entry"] == name].set_index("category")
        detectors = run.detectors()
        assert own.loc["all", "detectors"] == len(detectors)
        assert own.loc["all", "unique_concepts"] == detectors["concept"].nunique()
        assert own.loc["object", "detectors"] == (detectors["category"] == "object").sum()
        assert own.loc["all", "above_min_iou"] == run.table()["above_min_iou"].sum()
        assert (own["detectors_low"] <= own["detectors"]).all()
        assert (own["detectors"] <= own["detectors_high"]).all()
    other = table[(table["entry"] == "b") & (table["category"] == "all")].iloc[0]
    assert other["paired"]
    assert other["detectors_difference"] == len(three[1].detectors()) - len(three[0].detectors())


def test_numbers_count_as_the_verdict_does(comparison):
    """Units that are not told apart from chance are above the least IoU and no detectors."""
    row = comparison.table().query("entry == 'noise' and category == 'all'").iloc[0]
    assert row["detectors"] < row["above_min_iou"]


def test_columns_are_the_documented_ones(comparison):
    assert list(comparison.table().columns) == list(compare_columns.COLUMNS)
    assert list(comparison.concepts().columns) == list(compare_columns.CONCEPT_COLUMNS)
    assert list(comparison.matched().columns) == list(compare_columns.UNIT_COLUMNS)


def test_what_one_has_and_another_has_not(comparison):
    concepts = comparison.concepts().set_index(["entry", "concept"])
    assert concepts.loc[("b", "top"), "change"] == "gained"
    assert concepts.loc[("b", "left"), "change"] == "lost"
    assert concepts.loc[("b", "right"), "change"] == "both"
    gained, lost = concepts.loc[("b", "top")], concepts.loc[("b", "left")]
    assert gained["difference_low"] > 0
    assert lost["difference_high"] < 0
    assert gained["best_unit"] in (1, 2)
    assert np.isnan(concepts.loc[("a", "left"), "difference"])


def test_units_are_matched_by_what_they_detect(three):
    turned = dissected(3, 1, 0, 0, net_seed=4)
    found = compare(three[0], turned, names=["one", "two"]).matched()
    pairs = dict(zip(found["unit"], found["other_unit"], strict=True))
    assert pairs[2] == 1
    assert {pairs[0], pairs[1]} == {2, 3}
    labelled = found[found["detector"] & found["other_detector"]]
    assert labelled["same_label"].all()
    assert (labelled["similarity_low"] > 0.5).all()
    assert not found.loc[found["unit"] == 3, "detector"].any()


def test_layers_of_one_run_are_called_by_their_names():
    run = ul.dissect(colour_net(), ["conv", "pool"], ColourWorld(48), exemplars=0, quantile=0.1)
    comparison = compare(run)
    assert comparison.names == ["conv", "pool"]
    assert comparison.against == "conv"
    assert "<Comparison of 2 layers against conv; detectors: conv " in repr(comparison)
    assert "detectors" in comparison._repr_html_()


def test_names_of_entries(three, tmp_path):
    folder = three[0].save(tmp_path / "trained")
    assert compare(folder, three[1]).names == ["trained", "Lookup"]
    assert compare(three[0], three[1]).names == ["Lookup", "Lookup (2)"]


def test_same_run_twice_differs_in_nothing(three):
    row = compare(three[0], three[0]).table().query("category == 'all'").iloc[1]
    assert row["detectors_difference"] == row["detectors_difference_low"] == row["detectors_difference_high"] == 0


def test_other_pictures_are_independent_samples(three):
    half = InMemory(PLANES[:30], CONCEPTS)
    other = dissected(0, 0, 1, 3, data=half)
    with pytest.warns(
        ul.UnitlensWarning,
        match=r"^The runs differ in pictures \(40 of .* and 30 of .*\): not every difference between them is one of "
        r"their networks\.$",
    ):
        comparison = compare(three[0], other, names=["a", "half"])
    row = comparison.table().query("entry == 'half' and category == 'all'").iloc[0]
    assert not row["paired"]
    assert not comparison.matched()["similarity_low"].isna().any()


def test_settings_that_differ_are_named(three):
    with pytest.warns(ul.UnitlensWarning, match=r"^The runs differ in quantile \(0\.2 and 0\.1\), min_iou \(0\.04 and"):
        compare(three[0], dissected(0, 1, quantile=0.1, min_iou=0.05), names=["a", "b"])


def test_few_folds_have_no_interval():
    few = InMemory(PLANES[:4], CONCEPTS)
    comparison = compare(dissected(0, data=few), dissected(1, data=few))
    row = comparison.table().iloc[0]
    assert np.isnan(row["detectors_low"])
    assert np.isnan(row["unique_high"])
    assert " (" not in comparison.summary().splitlines()[0].split("are detectors")[1]


def test_nothing_in_common_is_an_error(three):
    others = InMemory([{"part": planes["color"]} for planes in PLANES], (ul.Concept("part", 1, "wing"),))
    with pytest.raises(
        ul.UnitlensError,
        match=r"^a and b have no concept in common \(object/left, object/right, color/top; part/wing\)",
    ):
        compare(three[0], dissected(0, data=others), names=["a", "b"])


def test_one_layer_is_no_comparison(three):
    with pytest.raises(ul.UnitlensError, match=r"^A comparison takes two layers or more, and there is 1:"):
        compare(three[0])
    with pytest.raises(ul.UnitlensError, match=r"and there are none:"):
        compare()


def test_wrong_names(three):
    with pytest.raises(ul.UnitlensError, match=r"^There are 1 names for 2 runs: give one a run\.$"):
        compare(*three[:2], names=["a"])
    with pytest.raises(ul.UnitlensError, match=r"^There is no entry 'aa' in this comparison"):
        compare(*three[:2], names=["a", "b"], against="aa")


# ---- the page and the files


def test_page_holds_everything_and_asks_for_nothing(comparison, tmp_path):
    page = comparison.save(tmp_path / "out").read_text()
    assert not re.search(r"https?://|<script|@import|url\(", page)
    assert "default-src &#39;none&#39;" in page
    for said in ("Emergence", "Gained and lost", "Matched units", "<svg", "top", "noise"):
        assert said in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()


def test_names_on_the_page_are_text(three):
    from unitlens.compare_page import all_matched, render_comparison

    comparison = compare(*three[:2], names=["<b>loud</b>", "a&b"])
    page = render_comparison(comparison, comparison.table(), comparison.concepts(), all_matched(comparison))
    assert "<b>loud</b>" not in page
    assert "&lt;b&gt;loud&lt;/b&gt;" in page


def test_chart_places(comparison):
    panel = panels(comparison.table())[1]
    zero, one = panel.ticks[0][0], panel.ticks[1][0]
    line = next(line for line in panel.lines if line.category == "object")
    value = comparison.table().query("entry == 'a' and category == 'object'")["detectors"].item()
    assert line.points[0].y == pytest.approx(zero + value * (one - zero) / float(panel.ticks[1][1]))
    assert all(point.high <= point.y <= point.low for line in panel.lines for point in line.points)


def test_figure_has_a_line_a_category(comparison):
    figure = comparison.show()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["unique concepts", "detectors"]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_files_are_not_replaced_silently(comparison, tmp_path):
    comparison.save(tmp_path)
    with pytest.raises(ul.UnitlensError, match=r"holds a comparison already \(compare\.csv\): choose another --out"):
        comparison.save(tmp_path)
    comparison.save(tmp_path, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ul.UnitlensError, match=r"cannot be made: .*; choose another --out\.$"):
        comparison.save(tmp_path / "file" / "out")


def test_command(shell, three, tmp_path):
    import pandas as pd

    for name, run in zip("ab", three, strict=False):
        run.save(tmp_path / name)
    said = shell("compare", "a", "b", "--name", "first", "--name", "second", "--out", "side")
    assert said.code == 0, said.err
    assert said.out.splitlines()[0].startswith("first: 3 of 4 units are detectors (")
    assert "against first" in said.out.splitlines()[1]
    assert said.out.splitlines()[2] == "wrote side/: compare.html to look at, compare.csv to compute with"
    table = pd.read_csv(tmp_path / "side" / "compare.csv")
    assert list(table.columns) == list(compare_columns.COLUMNS)
    assert shell("compare", "a", "b", "--out", "side").code == 2
    assert shell("compare", "a", "nowhere").err.startswith("unitlens: nowhere holds no run")
