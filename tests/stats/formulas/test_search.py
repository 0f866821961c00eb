"""The search against all formulas there are, and against the package of the authors of the search."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.stats.formulas.test_formula import every_formula
from unitlens.stats.formulas.formula import Formula
from unitlens.stats.formulas.parts import fold_counts, gain, is_trivial
from unitlens.stats.formulas.search import SearchSettings, search
from unitlens.stats.formulas.signatures import Signatures
from unitlens.stats.formulas.spaces import Space
from unitlens.stats.formulas.weighing import Weighing


def world(seed, *, concepts, signatures, categories=1, folds=1):
    """Random signatures, their positions by fold, and a random part of these."""
    rng = np.random.default_rng(seed)
    category_of = np.sort(np.append(rng.integers(0, categories, concepts - 1), 0))
    category_of = np.unique(category_of, return_inverse=True)[1]
    columns = np.zeros((signatures, 1 + concepts + category_of.max() + 1), bool)
    left_out = rng.random((signatures, category_of.max() + 1)) < (0.2 if categories > 1 else 0.0)
    columns[:, 1 + concepts :] = left_out
    columns[:, 1 : 1 + concepts] = (rng.random((signatures, concepts)) < 0.3) & ~left_out[:, category_of]
    by_fold = np.zeros((32, signatures), np.int64)
    by_fold[:folds] = rng.integers(0, 20, (folds, signatures))
    active = rng.integers(0, by_fold + 1)
    return Signatures.of(columns, category_of, by_fold), active


def found(signatures, active, **chosen):
    settings = SearchSettings(**{"beam": 3, "budget": 100_000, **chosen})
    positions = signatures.by_fold.sum(0)
    spaces = [Space.of(signatures, domain, positions) for domain in signatures.domains(settings.length)]
    return search(spaces, active.sum(0), settings)


def naive_iou(signatures, formula, active):
    """IoU of a formula on the positions that are judged for all of its concepts, counted one by one."""
    has, total = signatures.has.toarray(), signatures.by_fold.sum(0)
    inside = mask = meant = 0
    for place in range(len(total)):
        if not all(signatures.judged[place, signatures.category_of[concept]] for concept in formula.concepts):
            continue
        holds = bool(formula.holds(lambda concept, place=place: np.array([has[concept, place]], bool))[0])
        mask += active.sum(0)[place]
        meant += total[place] * holds
        inside += active.sum(0)[place] * holds
    union = mask + meant - inside
    return inside / union if union else 0.0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(3, 25), st.sampled_from([2, 3]))
def test_the_search_finds_the_best_of_all_formulas_and_proves_it(seed, concepts, count, length):
    signatures, active = world(seed, concepts=concepts, signatures=count)
    best = max(naive_iou(signatures, formula, active) for formula in every_formula(concepts, length))
    result = found(signatures, active, length=length)
    assert result.iou == pytest.approx(best, abs=1e-12)
    assert max(result.bounds.values(), default=0.0) == pytest.approx(best, abs=1e-12)
    for candidate in result.by_length.values():
        assert candidate.iou == pytest.approx(naive_iou(signatures, candidate.formula, active), abs=1e-12)


@given(st.integers(0, 10**6), st.integers(2, 4), st.sampled_from([2, 3]), st.sampled_from([1, 3]))
@example(122, 3, 2, 3)  # the best one, `(a AND b) OR c`, begins with what does not meet the mask
@example(108, 3, 2, 3)  # a formula has a higher IoU, and a part of it is true at the same positions
@example(7, 4, 3, 1)  # of two concepts, the best ones are of one category
def test_over_several_categories_no_formula_that_is_more_than_its_parts_is_better(seed, concepts, categories, beam):
    signatures, active = world(seed, concepts=concepts, signatures=20, categories=categories)
    positions = signatures.by_fold.sum(0)
    best = dict.fromkeys((1, 2, 3), 0.0)
    for formula in {formula.canonical() for formula in every_formula(concepts, 3)}:
        iou = naive_iou(signatures, formula, active)
        if iou > best[formula.length] and not is_trivial(signatures, formula, positions):
            best.update({length: max(best[length], iou) for length in best if length >= formula.length})
    result = found(signatures, active, length=3, beam=beam)
    for length, highest in best.items():
        of_length = [one.iou for known, one in result.by_length.items() if known <= length]
        assert max(of_length, default=0.0) == pytest.approx(highest, abs=1e-12)
        assert result.bounds.get(length, 0.0) == pytest.approx(highest, abs=1e-12)
    assert not any(is_trivial(signatures, one.formula, positions) for one in result.by_length.values())


@pytest.mark.parametrize("seed", range(4))
def test_without_a_budget_for_all_the_bound_still_holds(seed):
    signatures, active = world(seed, concepts=6, signatures=40)
    proven = found(signatures, active, length=4)
    for budget in (0, 1, 30):
        result = found(signatures, active, length=4, beam=1, budget=budget)
        assert result.iou <= proven.iou <= result.bounds[4] + 1e-12


@pytest.mark.parametrize("seed", range(19, 23))
def test_what_is_proven_of_shorter_formulas_does_not_depend_on_longer_ones(seed):
    signatures, active = world(seed, concepts=4, signatures=20)
    longer, shorter = found(signatures, active, length=4, beam=1), found(signatures, active, length=3, beam=1)
    assert [longer.bounds[length] for length in (1, 2, 3)] == [shorter.bounds[length] for length in (1, 2, 3)]


@pytest.mark.parametrize("seed", range(4))
def test_where_not_all_formulas_are_bounded_the_bound_still_holds(monkeypatch, seed):
    signatures, active = world(seed, concepts=8, signatures=60)
    proven = found(signatures, active, length=3)
    for of_each in (1, 5):
        monkeypatch.setattr("unitlens.stats.formulas.search._BOUNDED", of_each)
        result = found(signatures, active, length=3, beam=1, budget=1)
        assert result.iou <= proven.iou <= result.bounds[3] + 1e-12
        assert result.bounds[3] < 1


def test_where_the_first_formulas_are_all_trivial_the_bound_still_holds(monkeypatch):
    signatures, active = world(17, concepts=3, signatures=12, categories=2)
    proven = found(signatures, active, length=3)
    monkeypatch.setattr("unitlens.stats.formulas.search._LOOKED_AT", 1)
    result = found(signatures, active, length=3, beam=1)
    assert result.iou < proven.iou == proven.bounds[3] <= result.bounds[3]


def test_formulas_that_a_shorter_one_says_as_well_are_left_out():
    columns = np.array([[0, 1, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], bool)  # the second lies in the first
    signatures = Signatures.of(columns, np.zeros(3, np.int64), np.tile([4, 4, 8], (32, 1)))
    active = np.tile([4, 0, 0], (32, 1))
    result = found(signatures, active, length=3)
    assert result.by_length[1].formula == Formula(1)
    assert Formula(0, (("AND", 1),)) not in [candidate.formula for candidate in result.near]
    assert is_trivial(signatures, Formula(0, (("AND", 1),)), signatures.by_fold.sum(0))
    assert not is_trivial(signatures, Formula(0, (("AND NOT", 1),)), signatures.by_fold.sum(0))


@given(st.integers(0, 10**6))
def test_counts_by_fold_and_gains_are_those_of_the_definition(seed):
    signatures, active = world(seed, concepts=4, signatures=15, categories=2, folds=5)
    rng = np.random.default_rng(seed)
    formulas = [every_formula(4, 3)[place] for place in rng.integers(0, len(every_formula(4, 3)), 4)]
    table = fold_counts(signatures, active, formulas)
    iou = table.overlap(np.ones(len(table.folds))).iou()[0]
    for formula, value in zip(formulas, iou, strict=True):
        assert value == pytest.approx(naive_iou(signatures, formula, active), abs=1e-12)
        compared = gain(signatures, formula, active.sum(0), signatures.by_fold.sum(0))
        assert compared.iou == pytest.approx(value)
        assert compared.gain >= 0 or compared.part.length < formula.length


def test_a_planted_formula_is_found_held_out_and_more_than_its_parts():
    signatures, _ = world(3, concepts=5, signatures=60, folds=32)
    rng = np.random.default_rng(0)
    planted = Formula(1).then("OR", 3).then("AND NOT", 0)
    there = planted.holds(signatures.there)
    active = rng.binomial(signatures.by_fold, np.where(there, 0.9, 0.02))
    drawn = np.stack([rng.binomial(signatures.by_fold.sum(0), 0.2) for _ in range(8)])
    weighed = Weighing(signatures, SearchSettings(length=3)).weigh(active, drawn)
    assert weighed.gains[2].formula.canonical() == planted.canonical()
    assert weighed.low[2] < weighed.gains[2].iou < weighed.high[2]
    assert weighed.bounds[2] == weighed.gains[2].iou
    assert weighed.heldout[2] == pytest.approx(weighed.gains[2].iou, abs=0.02)
    assert 0 < weighed.heldout_gain_low[2] < weighed.heldout_gain[2]
    assert weighed.gains[2].gain > weighed.drawn[1, 2].max()


def test_a_mask_that_meets_no_concept_has_no_formula():
    signatures, active = world(1, concepts=3, signatures=10)
    assert Weighing(signatures, SearchSettings()).weigh(0 * active, np.zeros((2, 10), np.int64)) is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning:.*")  # of scipy, by the package
@pytest.mark.parametrize("seed", range(3))
def test_the_package_of_optimal_compositional_explanations_finds_nothing_better(seed):
    """Of La Rosa and Gilpin (extra unitlens[oracle]); it searches formulas of the same form."""
    optimal = pytest.importorskip("compositional_explanations.optimal")
    metrics = pytest.importorskip("compositional_explanations.metrics")
    import torch

    signatures, active = world(seed, concepts=5, signatures=25)
    positions, has = signatures.by_fold.sum(0), signatures.has.toarray().astype(bool)
    # One position after another: those of a signature, the mask's first.
    masks = [torch.from_numpy(np.repeat(row, positions))[None] for row in has]
    mask = np.concatenate([np.arange(count) < inside for count, inside in zip(positions, active.sum(0), strict=True)])
    bitmap = torch.from_numpy(mask)[None]
    disjoint = torch.tensor([[not bool((one & other).any()) for other in masks] for one in masks])
    theirs = optimal.compute_optimal_explanations(
        bitmaps=bitmap, masks=masks, disjoint_info=disjoint, length=3, device=torch.device("cpu"), cache_dir=None
    )
    iou = metrics.compute_iou_from_masks(formula=theirs, masks=masks, bitmaps=bitmap)
    assert float(iou) == pytest.approx(found(signatures, active, length=3).iou, abs=1e-6)
