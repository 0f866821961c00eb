"""Files of outcomes: read back as they were, shown on the page, and refused where they cannot have been written."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import unitlens as ul
from tests.ablation.outcomes.networks import NAMES, Marked, Segmenter, network
from unitlens.ablation.outcomes.files import read_outcomes
from unitlens.ablation.outcomes.result import COLUMNS

pytestmark = pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")


@pytest.fixture(scope="module")
def results():
    net, data = network(Segmenter(), classes=NAMES), Marked(40)
    outcomes = ["area:sky", "iou:tree"]
    return (
        ul.outcome_effects(net, "body", data, outcomes, units=[1, 3], draws=4),
        ul.outcome_effects(net, "body", data, outcomes),
        ul.outcome_effects(net, {"body.0": [1], "body": [3]}, data, outcomes, draws=0),
    )


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outcomes") / "run"
    ul.report(folder, *results)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def refused(folder, *facts):
    with pytest.raises(ul.UnitlensError, match=r"are incomplete or damaged \(.*\): measure them again") as error:
        read_outcomes(folder)
    for fact in facts:
        assert fact in str(error.value), str(error.value)


def test_results_are_read_back_as_they_were(written, results):
    saved = read_outcomes(written)
    assert len(saved.results) == 3
    for one, other in zip(saved.results, results, strict=True):
        assert (one.settings, one.sets, one.outcomes) == (other.settings, other.sets, other.outcomes)
        pd.testing.assert_frame_equal(one.table(), other.table())
    table = pd.read_csv(written / "outcomes.csv")
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 + 10 + 2


def test_the_page_shows_sets_and_the_units_of_largest_effect(written, results):
    page = (written / "report.html").read_text()
    for text in (
        "2 units of body together, set to 0",
        "5 units of body, each alone",
        "area:sky",
        "iou:tree",
        "Units 1, 3",
    ):
        assert text in page
    before = page
    ul.report(written)
    assert (written / "report.html").read_text() == before


def test_outcomes_there_are_replaced_only_when_asked(folder, results):
    with pytest.raises(ul.UnitlensError, match=r"holds outcomes already \(outcomes\.csv\)"):
        ul.report(folder, results[0])
    ul.report(folder, results[0], overwrite=True)
    assert len(read_outcomes(folder).results) == 1


def test_outcomes_of_another_version_are_refused(folder):
    content = json.loads((folder / "outcomes.json").read_text()) | {"schema": 99}
    (folder / "outcomes.json").write_text(json.dumps(content))
    refused(folder, "of schema 99", "reads 2 to 3")


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda one: one.update(alone=True), "not those of one layer in turn"),
        (lambda one: one.update(sets=[]), "not of one set"),
        (lambda one: one.update(draws={"random": 3, "matched": 4}), "not (32, 8, 2, 2)"),
        (lambda one: one.update(draws={"nearest": 8}), "unknown way"),
        (lambda one: one["settings"].update(measures=[]), "no outcome"),
        (lambda one: one["settings"].update(folds="even"), "not all images are of the folds"),
        (lambda one: one["info"]["data"].update(measured=39), "other images than were measured"),
        (lambda one: one["settings"].update(measures=["area:sky", "x"]), "outcome in row 2 does not agree"),
    ],
)
def test_records_that_the_sums_rule_out_are_refused(folder, change, fact):
    content = json.loads((folder / "outcomes.json").read_text())
    change(content["results"][0])
    (folder / "outcomes.json").write_text(json.dumps(content))
    refused(folder, fact)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda arrays, name: arrays.update({name: arrays[name] * np.nan}), "not finite"),
        (lambda arrays, name: arrays.update({name: arrays[name].astype(np.float32)}), "float32"),
        (lambda arrays, name: arrays.update({name: arrays[name] + 1}), "does not agree with the counts"),
        (lambda arrays, name: arrays.pop(name), "after is missing"),
    ],
)
def test_sums_that_cannot_be_are_refused(folder, change, fact):
    path = folder / "outcomes.safetensors"
    arrays = load_file(path)
    name = next(name for name in arrays if name.endswith("after"))
    change(arrays, name)
    save_file(arrays, path)
    refused(folder, fact)
