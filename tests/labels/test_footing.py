"""Labels of all methods, measured in the same way."""

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from unitlens.dissection.draws import plan_draws
from unitlens.labels.columns import BASELINES, REFERENCES
from unitlens.labels.footing import measuring
from unitlens.labels.footing.conditions import read_condition
from unitlens.labels.footing.meanings import ConceptNames, OneConcept
from unitlens.labels.footing.pairs import Pairs, score_pairs
from unitlens.labels.footing.planes import areas, with_meanings
from unitlens.stats.formulas.formula import OPERATORS, Formula
from unitlens.stats.scores import iou

IMAGES, SIDE, UNITS = 24, 4, 5
CONCEPTS = (
    ul.Concept("color", 1, "red"),
    ul.Concept("color", 2, "green"),
    ul.Concept("object", 1, "tree"),
    ul.Concept("object", 2, "traffic_light"),
)


@pytest.fixture(scope="module", params=["grid", "numbers"])
def seen(request, tmp_path_factory):
    """A run whose maps and marks are known, some of them not judged, and with levels; its network and its images."""
    from tests.worlds.planted import InMemory, lookup

    rng = np.random.default_rng(0)
    color = rng.choice([0, 1, 2, 255], (IMAGES, SIDE, SIDE), p=[0.4, 0.3, 0.2, 0.1])
    thing = rng.choice([0, 1, 2], (IMAGES, SIDE, SIDE))
    size = SIDE if request.param == "grid" else 1
    maps = rng.normal(size=(IMAGES, UNITS, size, size)).astype(np.float32)
    if size > 1:
        maps[:, 0] += 3 * (color == 1)
    maps[:, 4] = 0
    pixels = [np.kron(marks, np.ones((1, 4, 4), int)) for marks in (color, thing)]
    planes = [{"color": [one], "object": [other]} for one, other in zip(*pixels, strict=True)]
    net, data = lookup(maps), InMemory(planes, CONCEPTS)
    folder = tmp_path_factory.mktemp("seen")
    run = ul.dissect(net, "layer", data, quantile=0.2, levels=True, exemplars=0, checkpoint=folder / "kept")
    return run, net, data, maps, color, thing


@dataclass(frozen=True)
class AndNot:
    concepts: tuple[int, int]

    def holds(self, there):
        return there(self.concepts[0]) & ~there(self.concepts[1])


def pairs_of_all(concepts):
    unit, concept = np.divmod(np.arange(UNITS * concepts), concepts)
    return Pairs(unit, concept, np.tile([False, True], (len(unit), 1)))


def test_labels_that_are_concepts_have_the_scores_of_the_run(seen):
    run = seen[0]
    pairs = pairs_of_all(4)
    with ul.activations(run) as stored:
        partners = plan_draws(stored, run.settings).plain.partners
        scores = score_pairs(stored, stored.layers["layer"], pairs, run.settings, partners)
    at = (pairs.unit, pairs.concept)
    assert np.array_equal(scores.iou, run.counts.iou[at])
    for name in ("auprc", "correlation"):
        assert np.array_equal(getattr(scores, name), run.scores(name).to_numpy()[at])
    assert scores.silent.tolist() == (pairs.unit == 4).tolist()


def test_their_iou_on_held_out_images_is_what_loops_count_also_with_the_labels_of_other_images(seen):
    run, _, _, maps, color, thing = seen
    marks = [color == 1, color == 2, thing == 1, thing == 2]
    judged = [color < 255, color < 255, thing < 255, thing < 255]
    if maps.shape[2] == 1:
        marks = [there.any((1, 2), keepdims=True) for there in marks]
        judged = [of.any((1, 2), keepdims=True) for of in judged]
    with ul.activations(run) as stored:
        partners = plan_draws(stored, run.settings).plain.partners
        pairs = pairs_of_all(4)
        scores = score_pairs(stored, stored.layers["layer"], pairs, run.settings, partners)
        odd, order = stored.folds % 2 == 1, stored.record.names
    images = [int(name.split()[1]) for name in order]
    threshold = run.table()["threshold"].to_numpy(np.float32)
    for row, (unit, concept) in enumerate(zip(pairs.unit, pairs.concept, strict=True)):
        mask = (maps[images, unit] > threshold[unit])[odd]
        for draw in (None, 0, 3):
            given = np.array(images)[np.arange(IMAGES) if draw is None else list(partners)[draw]][odd]
            there, counts = marks[concept][given], judged[concept][given]
            expected = iou((mask & there).sum(), (mask & counts).sum(), there.sum())
            found = scores.held_out[row] if draw is None else scores.drawn[row, draw]
            assert np.isclose(found, expected)


def test_a_label_may_mean_any_condition_on_concepts(seen):
    run, _, _, maps, color, thing = seen
    grid = maps.shape[2] > 1
    meanings = [OneConcept(0), AndNot((0, 2)), OneConcept(3)]
    with ul.activations(run) as stored:
        partners = plan_draws(stored, run.settings).plain.partners
        with with_meanings(stored, meanings, grid=grid) as (marked, columns):
            scores = score_pairs(marked, marked.layers["layer"], pairs_of_all(3), run.settings, partners)
            shares = marked.labels.shares(columns, grid=grid)
        alone = score_pairs(stored, stored.layers["layer"], pairs_of_all(4), run.settings, partners)
        assert np.allclose(areas(stored, meanings, grid=grid), shares, equal_nan=True)
        assert np.array_equal(shares[:, [0, 2]], stored.labels.shares([0, 3], grid=grid), equal_nan=True)
        order = [int(name.split()[1]) for name in stored.record.names]
    for name in ("iou", "auprc", "correlation", "held_out", "drawn"):
        rows = getattr(scores, name).reshape(UNITS, 3, -1)[:, [0, 2]]
        assert np.allclose(rows, getattr(alone, name).reshape(UNITS, 4, -1)[:, [0, 3]])
    red, tree, counts = color == 1, thing == 1, color < 255
    if not grid:
        red, tree, counts = (part.any((1, 2), keepdims=True) for part in (red, tree, counts))
    mask = maps[:, 1] > run.table()["threshold"].to_numpy(np.float32)[1]
    there = red & ~tree & counts
    assert np.isclose(scores.iou[4], iou((mask & there).sum(), (mask & counts).sum(), there.sum()))
    expected = np.divide((there & counts).sum((1, 2)), counts.sum((1, 2)))
    assert np.allclose(shares[:, 1], expected[order])


def test_every_label_is_measured_beside_the_references(seen):
    run = seen[0]
    labels = ul.given_labels(run, {0: "Red", 1: "traffic lights", 2: "joy", 4: "tree"}, method="mine")
    measured = ul.measure_labels(run, labels)
    assert list(measured.methods) == ["mine", *REFERENCES]
    rows = measured["mine"].rows.set_index("unit")
    assert rows["label"].tolist() == ["Red", "traffic lights", "joy", "tree"]
    assert rows["iou"].notna().tolist() == [True, True, False, False]
    assert rows["simulation"].notna().tolist() == [True, True, False, False]
    assert rows["verdict"].tolist()[2:] == ["untested", "untested"]
    assert np.array_equal(rows["heldout_score"], rows["iou"], equal_nan=True)  # all images are held out
    assert "'joy'" in measured.methods["mine"].notes[0]
    assert "1 of 4 labels by mine" in measured.methods["mine"].notes[0]
    dissection = measured["dissection"].rows
    assert dissection["heldout_score"].tolist() == run.table()["heldout_iou"].tolist()[: len(dissection)]
    unsaid = pd.Series([""] * len(measured.rows), dtype=object)
    older = replace(measured, rows=measured.rows.assign(even_label=unsaid))
    for there in (measured, older):
        assert ul.measure_labels(run, there).rows.equals(measured.rows)


def test_conditions_are_scored_a_few_at_a_time_with_the_same_result(seen, monkeypatch):
    names = ["red", "green", "tree", "traffic_light"]
    texts = [f"{a} {how} {b}" for a, b in permutations(names, 2) for how in ("AND NOT", "OR")]
    table = pd.DataFrame({"unit": [number % UNITS for number in range(len(texts))], "label": texts})
    labels, planes = ul.given_labels(seen[0], table), []

    def counted(stored, meanings, *, grid):
        planes.append(len(meanings))
        return with_meanings(stored, meanings, grid=grid)

    monkeypatch.setattr(measuring, "with_meanings", counted)
    found = ul.measure_labels(seen[0], labels, references=False).rows
    assert sorted(planes) == [8, 16]
    monkeypatch.setattr(measuring, "MOST_PLANES", len(texts))
    assert found.equals(ul.measure_labels(seen[0], labels, references=False).rows)


def test_rows_are_told_apart_by_their_places(seen):
    labels = ul.given_labels(seen[0], {0: "red", 1: "tree", 2: "red"})
    parts = [labels.rows[:2], labels.rows[2:].reset_index(drop=True)]  # two rows have the index 0
    together = replace(labels, rows=pd.concat(parts))
    expected = ul.measure_labels(seen[0], labels, references=False).rows
    assert ul.measure_labels(seen[0], together, references=False).rows.equals(expected)


def test_a_planted_label_is_supported_and_a_trivial_one_is_not(seen):
    run, *_, maps, _, _ = seen
    if maps.shape[2] == 1:
        pytest.skip("the unit is planted on the grid")
    rows = ul.measure_labels(run, ul.given_labels(run, {0: "red", 1: "tree", 2: "red", 3: "green"})).rows
    assert rows.loc[rows["method"] == "given", "verdict"].tolist() == ["supported", "chance", "chance", "chance"]
    baselines = rows[rows["method"].isin(BASELINES) & (rows["verdict"] == "supported")]
    assert set(baselines["unit"]) <= {0}
    assert set(rows.loc[rows["method"] == BASELINES[0], "label"]) == {run.concepts[run.counts.concept.argmax()]}


@pytest.mark.parametrize(("chosen_on", "held_out"), [("even", [True, False]), ("these", [False, False])])
def test_labels_that_the_images_chose_are_held_out_from_them(seen, chosen_on, held_out):
    run = seen[0]
    other = ul.measure_labels(run, ul.given_labels(run, {0: "red"}), references=False).rows.loc[0]
    row = ul.measure_labels(run, ul.given_labels(run, {0: "red"}, chosen_on=chosen_on), references=False).rows.loc[0]
    assert np.isfinite(row["heldout_score"]) == any(held_out) == np.isfinite(row["simulation"])
    assert row["heldout_score"] != other["heldout_score"]
    assert row["iou"] == other["iou"]


def test_concepts_of_the_dissection_are_simulated_by_what_the_even_folds_choose(seen):
    run = seen[0]
    rows = ul.measure_labels(run, ul.given_labels(run, {0: "red"})).rows
    rows = rows[rows["method"] == "dissection"].set_index("unit")
    with ul.activations(run) as stored:
        peaks, odd = stored.layers["layer"].peaks.read(range(stored.images)), stored.folds % 2 == 1
        share = stored.labels.shares(range(4), grid=stored.layers["layer"].layer_grid is not None)
    for unit, row in rows.iterrows():
        predicted = share[:, run.concepts.index(row["even_label"])]
        counted = odd & np.isfinite(predicted)
        same = np.ptp(predicted[counted]) == 0  # then it predicts nothing
        expected = 0 if same else np.corrcoef(predicted[counted], peaks[counted, unit])[0, 1]
        assert np.isclose(row["simulation"], expected)


def test_labels_that_all_images_chose_are_not_simulated_without_those_of_the_even_folds(seen):
    run = seen[0]
    formulas = ul.formulas(run, length=2)
    assert (formulas.rows["even_label"] != "").all()
    measured = ul.measure_labels(run, formulas, references=False).rows
    known = measured["simulation"].notna()
    assert known.any()
    without = replace(formulas, rows=formulas.rows.assign(even_label=""))  # as an older file has them
    assert ul.measure_labels(run, without, references=False).rows["simulation"].isna().all()
    other = replace(formulas, rows=formulas.rows.assign(label="red"))  # what all images choose does not count
    assert ul.measure_labels(run, other, references=False).rows["simulation"].equals(measured["simulation"])


def test_a_method_may_predict_images_by_other_means_than_masks(seen):
    run, net, data, maps, *_ = seen
    with ul.activations(run) as stored:
        order = [int(name.split()[1]) for name in stored.record.names]
    peaks = maps[order, 2].max((1, 2))
    labels = ul.given_labels(run, {2: "joy"}, method="words")
    measured = ul.measure_labels(run, labels, net, data, references=False, predictions={"words": {"joy": 2 * peaks}})
    assert np.isclose(measured.rows.loc[0, "simulation"], 1)
    with pytest.raises(ul.UnitlensError, match=r"one for each of the 24 images"):
        ul.measure_labels(run, labels, references=False, predictions={"words": {"joy": [1.0]}})


def test_the_effect_is_that_of_removing_the_unit_on_images_that_hold_the_concept(net, world):
    names = [f"{number:02}.png" for number in range(14)]
    classes = [number % 3 for number in range(14)]
    lines = [f"{name},{'rgb'[k]},{k}" for name, k in zip(names, classes, strict=True)]
    (world / "classes.csv").write_text("\n".join(["image,class,index", *lines]))
    data = ul.annotated(world)
    run = ul.dissect(net, "0", data, quantile=0.1, exemplars=0)
    labels = ul.given_labels(run, {0: "red", 1: "blue"})
    measured = ul.measure_labels(run, labels, net, data, effects=True, references=False).rows
    with pytest.raises(ul.UnitlensError, match="Effects take the network"):
        ul.measure_labels(run, labels, None, data, effects=True)
    colour = {"red": 1, "blue": 3}
    for row in measured.itertuples():
        changes = []
        for number, k in enumerate(classes):
            marked = (np.asarray(data[number].planes["color"][0]) == colour[row.label]).any()
            red = np.asarray(data[number].image, np.float32) / 255
            weight = np.array([[1, -1, -1], [-1, 1, -1]])[row.unit]
            drop = np.maximum(red @ weight, 0).mean()
            if marked:
                changes.append(-drop if k == row.unit else 0.0)
        assert np.isclose(row.effect, np.mean(changes), atol=1e-6)
        assert row.effect_low <= row.effect <= row.effect_high


def test_effects_that_cannot_be_measured_are_refused_before_anything_is_computed(net, world, monkeypatch):
    run = ul.dissect(net, "0", world, quantile=0.1, exemplars=0)
    monkeypatch.setattr(measuring, "activations", None)  # so that a pass would fail
    with pytest.raises(ul.UnitlensError, match=r"No image of .* has a class"):
        ul.measure_labels(run, ul.given_labels(run, {0: "red"}), net, world, effects=True)


NAMES = ConceptNames(
    ("sky", "skis", "traffic_light", "bus", "a/plant", "b/plant", "Grass"),
    ("x/sky", "x/skis", "x/traffic_light", "x/bus", "a/plant", "b/plant", "x/Grass"),
)


@pytest.mark.parametrize(
    ("label", "concept"),
    [
        ("sky", 0),
        ("Skies", 0),
        ("the sky", 0),
        ("skis", 1),
        ("ski", 1),
        ("Traffic-Lights", 2),
        ("buses", 3),
        ("b/Plants", 5),
        ("plant", None),
        ("grass", 6),
        ("gras", None),
        ("", None),
        ("the", None),
    ],
)
def test_labels_find_concepts_whatever_their_case_number_and_spaces(label, concept):
    assert NAMES.find(label) == concept


FORMULAS = st.recursive(
    st.integers(0, 6).map(Formula),
    lambda shorter: st.builds(Formula.then, shorter, st.sampled_from(OPERATORS), st.integers(0, 6)),
    max_leaves=6,
)


@given(FORMULAS, st.lists(st.booleans(), min_size=7, max_size=7))
def test_formulas_are_read_as_they_are_written(formula, there):
    names = ["sea", "traffic light", "AND gate", "black (not white)", "b/plant", 'say "NOT"', "OR"]
    columns = {name.replace('"', "'"): column for column, name in enumerate(names)}
    read = read_condition(formula.written(names), columns.get)
    holds = [one.holds(lambda column: np.array([there[column]])).item() for one in (formula, read)]
    assert holds[0] == holds[1]
    assert set(read.concepts) == set(formula.concepts)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a OR b AND c", (0, 1, 2, "AND", "OR")),
        ("NOT (a OR b)", (0, 1, "OR", "NOT")),
        ("a AND (b OR NOT c)", (0, 1, 2, "NOT", "OR", "AND")),
        ("NOT NOT a", (0, "NOT", "NOT")),
    ],
)
def test_other_conditions_are_read_too(text, steps):
    assert read_condition(text, {"a": 0, "b": 1, "c": 2}.get).steps == steps


@pytest.mark.parametrize(
    "text", ["", "a AND", "AND a", "(a", "a)", "a b", "a OR d", "a (b)", '"a', "()", "NOT", "a AND OR b"]
)
def test_what_is_no_condition_means_nothing(text):
    assert read_condition(text, {"a": 0, "b": 1, "c": 2}.get) is None


@given(st.text(alphabet='ab ()"ANDORT', max_size=40))
def test_any_text_may_be_a_condition_or_not(text):
    read_condition(text, {"a": 0, "b": 1}.get)
    read_condition("(" * 400 + text, {"a": 0, "b": 1}.get)


@given(st.text(max_size=20))
def test_any_text_can_be_looked_for(label):
    NAMES.nearest(label)
    assert NAMES.find(label) in (None, *range(7))
