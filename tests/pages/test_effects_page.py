import html
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from tests.cli.test_ablate import ablate, classed, dissected, run  # noqa: F401
from tests.made_up.effects import agreement_of, curve_of, dissection_of, measurement_of, saved_of, sweep_of
from tests.made_up.runs import made_up_run
from tests.pages.test_report import EVIL, Page
from unitlens.ablation.agreement import AGREEMENT_COLUMNS, over_classes
from unitlens.ablation.attribution import measure_agreement
from unitlens.ablation.experiment import Experiment
from unitlens.ablation.files import SavedEffects, read_agreement, read_effects, write_agreement
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.result import SetEffects
from unitlens.ablation.uses import class_concepts
from unitlens.data.reading import Reading
from unitlens.pages.dissection import render_dissection
from unitlens.pages.effect_charts import MOST_CELLS, TALLEST, WIDEST, unit_map
from unitlens.pages.effects import effects_view, render_effects
from unitlens.pages.units.places import class_id, unit_id

NAMES = ["ski_slope", "bedroom", "tree house", "a/b"]


@pytest.fixture(scope="module")
def made():
    return made_up_run(48)


@pytest.fixture(scope="module")
def sweep():
    return sweep_of(48, NAMES)


@pytest.fixture(scope="module")
def view(made, sweep):
    saved = saved_of(sweep, curve_of(sweep, "bedroom"))
    return effects_view(saved, dissection_of(made), agreement_of(NAMES))


@pytest.fixture(scope="module")
def page(made, view):
    return Page(render_dissection(**made, effects=view))


def test_the_map_has_a_square_for_each_effect_that_can_be_seen(sweep, view, page):
    effect = sweep.effect("logit")
    seen = np.abs(effect) >= 0.03 * np.abs(effect).max()
    assert len(view.heat.cells) == seen.sum() == len(page.all("rect")) - len(view.concepts.cells) - 1  # the mark
    cells = {(cell.target, view.heat.classes[cell.y][0]): cell for cell in view.heat.cells}
    for unit, column in np.argwhere(seen).tolist():
        cell = cells[unit_id("layer4", unit), NAMES[column]]
        assert f"unit {unit}" in cell.title
        assert cell.title.endswith(f"{NAMES[column]}: {effect[unit, column]:+.3f}")
        assert cell.strength == pytest.approx(abs(effect[unit, column]) / np.abs(effect).max(), abs=1e-3)
        assert cell.gain == (effect[unit, column] > 0)


def test_units_stand_by_the_class_that_they_matter_most_to():
    effect = np.array([[0.0, -1.0], [-3.0, 0.0], [-2.0, 0.5], [0.0, -4.0]])
    found = unit_map(effect, ["a", "b"], {3: "tree"}, "fc")
    assert found.columns == ["1", "2", "3", "0"]
    assert [(cell.x, cell.y) for cell in found.cells] == [(0, 0), (1, 0), (1, 1), (2, 1), (3, 1)]
    assert [cell.gain for cell in found.cells] == [False, False, True, False, False]


def test_a_large_map_keeps_the_strongest():
    effect = -np.random.default_rng(0).random((700, 90))
    effect[650, 77] = -5
    found = unit_map(effect, [str(k) for k in range(90)], {}, "fc")
    assert len(found.classes) == TALLEST
    assert len(found.columns) == WIDEST
    assert found.left_out == 700 - WIDEST
    assert len(found.cells) == MOST_CELLS
    assert "650" in found.columns
    assert found.blank > 0.5


def test_every_class_has_its_most_important_units_with_concepts_and_images(made, sweep, view, page):
    sections = {own["id"]: own for own in page.all("details") if own.get("class") == "concept class"}
    assert list(sections) == [class_id(name) for name in NAMES]
    concepts = made["units"][made["units"].detector].set_index("unit")["concept"]
    found = sweep.estimate("balanced_accuracy")
    for one in view.classes:
        column = NAMES.index(one.class_)
        logit = sweep.effect("logit")[:, column]
        certain = sum(use.high < 0 for use in one.uses)
        assert 0 < certain < len(one.uses) == 8
        assert [use.effect for use in one.uses[:certain]] == sorted(found.effect[found.high[:, column] < 0, column])
        others = [unit for unit in np.argsort(logit).tolist() if found.high[unit, column] >= 0]
        assert [use.unit for use in one.uses[certain:]] == others[: 8 - certain]
        assert [use.concept for use in one.uses] == [concepts.get(use.unit, "") for use in one.uses]
        assert f"balanced accuracy {100 * one.before:.3g}\N{NO-BREAK SPACE}%, 80 images" in page.text.replace(
            " %", "\N{NO-BREAK SPACE}%"
        )
    tiles = Counter(own["data-from"] for own in page.all("img") if own.get("data-from", "").startswith("unit-"))
    assert set(tiles) >= {use.id for one in view.classes for use in one.uses}


def test_a_class_rests_on_the_concepts_whose_detectors_it_loses_most_with(made, sweep, view, page):
    matrix = class_concepts(dissection_of(made), sweep)
    counts = made["units"][made["units"].detector]["concept"].value_counts()
    for one in view.classes:
        lost = matrix.loc[one.class_].sort_values()
        assert [name for name, _, _ in one.concepts] == lost[: len(one.concepts)].index.tolist()
        assert [value for _, value, _ in one.concepts] == pytest.approx(lost[: len(one.concepts)].tolist())
        assert all(units == counts[name] for name, _, units in one.concepts)
        name, value, units = one.concepts[0]
        assert f"{name} {value:+.2f} ({units} unit" in page.text
    shown = {(cell.y, cell.x): cell for cell in view.concepts.cells}
    for (y, x), cell in shown.items():
        value = matrix.loc[view.concepts.classes[y][0], view.concepts.columns[x]]
        assert cell.title.endswith(f"{value:+.3f}")


def test_units_and_their_cards_say_which_classes_they_serve(view, page):
    assert view.units
    cards = [own for own in page.all("p") if own.get("class") == "used"]
    assert len(cards) == len(view.units)
    for one in view.units:
        assert [use.logit for use in one.uses] == sorted(use.logit for use in one.uses)
        assert f"used for {one.uses[0].class_} {one.uses[0].logit:+.2f}" in page.text


def test_figure_2e_has_a_point_for_each_unit_by_its_heldout_iou(made, view, page):
    assert view.served.heldout
    assert len(view.served.points) == 48
    assert "Held-out IoU of each unit" in page.text
    told = f"Spearman\N{RIGHT SINGLE QUOTATION MARK}s correlation {view.served.correlation:.2f} , 95 % interval"
    assert told in page.text
    without = dissection_of(made_up_run(48, evidence=False) | {"info": made["info"]})
    without._units["heldout_iou"] = np.nan
    assert not effects_view(saved_of(sweep_of(48, NAMES)), without).served.heldout


def test_attributions_stand_in_a_table_or_how_to_have_them_does(made, sweep, page):
    assert "activation x gradient 0.900 0.90 to 0.90 75 %" in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "internal influence 0.500" in page.text
    assert "on the same 12 images of 4 classes" in page.text
    bare = Page(render_dissection(**made, effects=effects_view(saved_of(sweep), dissection_of(made))))
    assert "was not measured ( unitlens ablate --sweep --attributions )" in bare.text


def test_links_lead_somewhere_and_ids_are_unique(page):
    ids = Counter(own["id"] for _, own in page.elements if own.get("id"))
    assert ids.most_common(1)[0][1] == 1
    assert {own["href"][1:] for own in page.all("a") if own.get("href")} <= set(ids)


def test_without_a_dissection_the_page_shows_the_same_without_concepts_and_links_to_units(sweep):
    page = Page(render_effects(effects_view(saved_of(sweep, curve_of(sweep, "a/b")), agreement=agreement_of(NAMES))))
    ids = {own["id"] for _, own in page.elements if own.get("id")}
    targets = {own["href"][1:] for own in page.all("a") if own.get("href")}
    assert {class_id(name) for name in NAMES} <= targets <= ids
    assert not [target for target in targets if target.startswith("unit-")]
    assert not page.all("img")
    assert page.all("rect")
    assert "conductance 0.700" in page.text
    assert "Does a better detector" not in page.text
    assert "depends on" not in page.text


def test_effects_of_another_layer_than_the_dissected_have_no_links_to_cards(made):
    other = sweep_of(48, NAMES, layer="layer3")
    view = effects_view(saved_of(other), dissection_of(made))
    page = Page(render_dissection(**made, effects=view))
    ids = {own["id"] for _, own in page.elements if own.get("id")}
    assert {own["href"][1:] for own in page.all("a") if own.get("href")} <= ids
    assert view.served is view.concepts is None
    assert {use.concept for one in view.classes for use in one.uses} == {""}


def test_a_run_without_detectors_has_no_class_x_concept_map(sweep):
    made = made_up_run(48)
    made["units"]["detector"] = False
    view = effects_view(saved_of(sweep), dissection_of(made))
    assert view.concepts is None
    assert all(not one.concepts for one in view.classes)
    assert "Concepts that each class depends on" not in Page(render_dissection(**made, effects=view)).text


def test_a_set_stands_beside_those_that_were_drawn(sweep):
    curve = curve_of(sweep, "bedroom")
    chosen = curve.chosen("most", 4)
    (one,) = effects_view(saved_of(sweep, curve)).sets
    assert one.units == "0, 1, 2, 3"
    assert [(kind, draws) for kind, draws, *_ in one.beside] == [
        ("drawn at random", 3),
        ("matched in activation", 3),
    ]
    after = chosen.drawn["random"].overall().after
    assert one.beside[0][2].mean == pytest.approx(after.mean())
    page = Page(render_effects(effects_view(saved_of(sweep, curve))))
    assert "after ablation of 3 sets of the same size, drawn at random, " in page.text


def test_units_of_several_layers_are_named_with_them():
    from unitlens.ablation.table import LayerUnit

    measured = measurement_of(
        [(LayerUnit("layer3", 1), LayerUnit("layer4", 2))], NAMES, np.full((1, 4), 0.3), layer="layer3;layer4", units=96
    )
    view = effects_view(SavedEffects((SetEffects(measured),)), dissection_of(made_up_run(4)))
    assert view.sets[0].units == "layer3/1, layer4/2"
    assert not view.linked


def test_names_of_classes_concepts_and_layers_are_text():
    made = made_up_run(12)
    made["units"]["concept"] = made["units"].concept.where(made["units"].concept.isna(), EVIL)
    names = [EVIL, EVIL + "2"]
    sweep = sweep_of(12, names)
    saved = saved_of(sweep, curve_of(sweep, EVIL))
    for text in (
        render_dissection(**made, effects=effects_view(saved, dissection_of(made), agreement_of(names))),
        render_effects(effects_view(saved, agreement=agreement_of(names))),
    ):
        page = Page(text)
        scripts = [own for name, own in page.elements if name == "script" and own.get("id") != "unit-data"]
        assert scripts in ([{}] * 3, [{}] * 5)
        assert not [own for _, own in page.elements if any(name.startswith("on") for name in own)]
        assert "alert(1)</" not in text
        assert html.escape(EVIL, quote=False) in html.escape(page.text, quote=False)


def test_nothing_is_asked_of_the_network(made, view):
    for text in (render_dissection(**made, effects=view), render_effects(view)):
        for _, own in Page(text).elements:
            for name in ("src", "href", "action", "srcset", "poster"):
                assert (own.get(name) or "#").startswith(("#", "data:image/"))
        assert "url(" not in text
        assert not re.search("https?://", text)


def test_attributions_from_the_shell_are_saved_and_shown_again(shell, run):  # noqa: F811
    ablate(shell, run, "--sweep", "--attributions")
    table = pd.read_csv(run / "effects.attributions.csv", dtype={"layer": str})
    assert list(table.columns) == list(AGREEMENT_COLUMNS)
    assert table["images"].sum() == 3 * 24
    page = (run / "report.html").read_text()
    row = over_classes(read_agreement(run, read_effects(run))).set_index("method").loc["activation_x_gradient"]
    assert row["spearman"] > 0.9  # behind the layer are a ReLU, a mean and a linear layer
    assert f'<th scope="row">activation x gradient</th><td>{row["spearman"]:.3f}</td>' in page
    assert shell("report", run).code == 0
    assert (run / "report.html").read_text() == page
    ablate(shell, run, "--sweep", "--overwrite")
    assert not (run / "effects.attributions.csv").exists()  # they were of the effects that were replaced
    assert "was not measured" in (run / "report.html").read_text()


def test_python_reports_attributions_too(net, classed, tmp_path):  # noqa: F811
    found = ul.importance(net, "0", ul.annotated(classed))
    page = ul.report(tmp_path / "run", found, agreement=agreement_of(found.classes, "0", units=4))
    assert "internal influence</th><td>0.500" in page.read_text()
    assert (tmp_path / "run" / "effects.attributions.csv").is_file()


def test_attributions_need_every_unit_alone(shell, run):  # noqa: F811
    error = ablate(shell, run, "--units", "1", "--attributions", code=2)
    assert "--attributions are compared with the effects of every unit alone: add --sweep." in error


def experiment_of(net, data, reading):
    return Experiment.of(net, "0", data, replacement=Replacement(), measures=["recall"], reading=reading)


def test_a_layer_that_captum_cannot_attribute_to_is_said(net, classed, monkeypatch):  # noqa: F811
    experiment = experiment_of(net, ul.annotated(classed), Reading())

    def fails(*_, **__):
        raise RuntimeError("Output 0 is a view and is being modified inplace\nand so on")

    monkeypatch.setattr("unitlens.ablation.attribution.attributions", fails)
    with pytest.raises(
        ul.UnitlensError, match=r"captum cannot attribute to 0 \(.*Output 0 is a view.*inplace\): leave"
    ):
        measure_agreement(experiment)


def test_attributions_look_at_a_few_of_the_images_that_are_read(net, classed):  # noqa: F811
    data = ul.annotated(classed)
    experiment = experiment_of(net, data, Reading(limit=20))
    table = measure_agreement(experiment, images=5)
    assert table[table["method"] == "conductance"]["images"].sum() == 5
    assert (table["top"] == 1).all()


def test_agreement_is_read_back_as_it_was_written(tmp_path):
    table = agreement_of(["nan", "NA", "7"])
    write_agreement(tmp_path, table)
    saved = SavedEffects((sweep_of(48, ["nan", "NA", "7"]),))
    pd.testing.assert_frame_equal(read_agreement(tmp_path, saved), table, check_dtype=False)
    (tmp_path / "effects.attributions.csv").write_text("layer,method\n1,2\n")
    with pytest.raises(
        ul.UnitlensError, match=r"effects.attributions.csv is damaged \(.*\): measure the effects again"
    ):
        read_agreement(tmp_path, saved)


def test_the_documentation_has_the_columns():
    text = (Path(__file__).parents[2] / "docs" / "ablation.md").read_text(encoding="utf-8")
    assert "\n".join(f"| `{name}` | {meaning} |" for name, meaning in AGREEMENT_COLUMNS.items()) in text


@pytest.mark.slow
@pytest.mark.parametrize(("share", "most"), [(8, 26_000_000), (1, 40_000_000)])
def test_a_thousand_classes_and_two_thousand_units_stay_within_forty_megabytes(share, most):
    units, classes = 2048 // share, 1000 // share
    made = made_up_run(units)
    names = [f"class number {place:04d}" for place in range(classes)]
    view = effects_view(saved_of(sweep_of(units, names)), dissection_of(made), agreement_of(names))
    assert len(view.classes) == classes
    assert len(render_dissection(**made, effects=view).encode()) < most  # of fewer units, the images are larger
    alone = render_effects(view)
    assert len(alone.encode()) < 10_000_000 / share
    elements = len(re.findall("<[a-z]", alone))
    assert elements < 95_000 / share + 5_000  # 57,000, without links and images, take a browser 1.7 seconds
