"""Formulas: how they read, what they mean, and in which order they are made."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens.stats.formulas.formula import OPERATORS, Formula, next_above
from unitlens.stats.formulas.signatures import Signatures

NAMES = ["apple", "pear", "basket", "red", "sign (AND)", 'the "O"']


@st.composite
def formulas(draw, concepts=6, most=5):
    order = draw(st.permutations(range(concepts)))
    length = draw(st.integers(1, most))
    operators = draw(st.lists(st.sampled_from(OPERATORS), min_size=length - 1, max_size=length - 1))
    return Formula(order[0], tuple(zip(operators, order[1:], strict=False)))


def every_formula(concepts, length):
    """All formulas of up to so many concepts, as the definition says."""
    level = out = [Formula(first) for first in range(concepts)]
    for _ in range(length - 1):
        level = [
            formula.then(operator, concept)
            for formula in level
            for operator in OPERATORS
            for concept in range(concepts)
            if concept not in formula.concepts
        ]
        out = out + level
    return out


def there(concept):
    """Where each of six concepts is among all 64 combinations of them."""
    return (np.arange(64) >> concept & 1).astype(bool)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([], "apple"),
        ([("AND NOT", 2)], "apple AND NOT basket"),
        ([("OR", 1), ("AND NOT", 2)], "(apple OR pear) AND NOT basket"),
        ([("AND", 1), ("AND NOT", 2)], "apple AND pear AND NOT basket"),
        ([("AND", 1), ("OR", 2), ("AND", 3)], "((apple AND pear) OR basket) AND red"),
        ([("OR", 4)], 'apple OR "sign (AND)"'),
        ([("OR", 5)], "apple OR \"the 'O'\""),
    ],
)
def test_a_formula_reads_as_it_is_meant(steps, text):
    assert Formula(0, tuple(steps)).written(NAMES) == text


@given(formulas())
def test_the_text_means_the_same_to_python(formula):
    names = [f"c{concept}" for concept in range(6)]
    text = formula.written(names).replace("AND NOT", "& ~").replace("AND", "&").replace("OR", "|")
    meant = eval(text, {}, {name: there(concept) for concept, name in enumerate(names)})  # of names that are made here
    assert np.array_equal(meant, formula.holds(there))


@given(formulas())
def test_the_canonical_order_changes_no_meaning_and_is_its_own(formula):
    canonical = formula.canonical()
    assert np.array_equal(canonical.holds(there), formula.holds(there))
    assert canonical.canonical() == canonical
    assert sorted(canonical.concepts) == sorted(formula.concepts)


def test_in_the_canonical_order_every_formula_is_made_once():
    made = [Formula(first) for first in range(4)]
    level = made
    for _ in range(2):
        level = [
            formula.then(operator, concept)
            for formula in level
            for operator in OPERATORS
            for concept in range(4)
            if concept not in formula.concepts
            and concept
            > next_above(formula.steps[-1][0] if formula.steps else None, np.array(formula.concepts[-1:]), operator)[0]
        ]
        made = made + level
    assert len(made) == len(set(made))
    assert set(made) == {formula.canonical() for formula in every_formula(4, 3)}


@given(formulas())
def test_parts_are_what_is_left_without_some_concepts(formula):
    parts = list(formula.parts())
    assert len(parts) == len(set(parts))
    assert all(set(part.concepts) < set(formula.concepts) for part in parts)
    assert {part.concepts[0] for part in parts if part.length == 1} >= ({formula.first} if formula.steps else set())


@given(formulas())
def test_parts_do_not_depend_on_the_order_of_steps_that_commute(formula):
    assert set(formula.parts()) == set(formula.canonical().parts())
    first_without_its_own = Formula(0, (("AND NOT", 1), ("AND", 2)))
    assert Formula(2, (("AND NOT", 1),)) in set(first_without_its_own.parts())


def test_categories_that_are_judged_together_are_one_kind():
    judged = np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1]], bool)
    columns = np.concatenate([np.zeros((3, 1), bool), np.eye(3, dtype=bool), ~judged], 1)
    signatures = Signatures.of(columns, np.arange(3), np.ones((32, 3), np.int64))
    assert signatures.kinds[0] == signatures.kinds[1] != signatures.kinds[2]
    counted = {len(domain.kinds): domain.judged.tolist() for domain in signatures.domains(3)}
    assert counted[2] == [False, False, True]
    assert signatures.counted(Formula(0, (("OR", 2),))).tolist() == [False, False, True]
