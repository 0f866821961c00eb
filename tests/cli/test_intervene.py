"""`unitlens intervene`: what it measures, the files it writes, and what it refuses."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import unitlens as ul
from tests.worlds.coloured import write_world
from unitlens.ablation.replay.edits import UnitEdit
from unitlens.editing.saving.files import CAUSAL, CHANGED, INSERTIONS, RANKINGS, SETS, TABLES, read_interventions
from unitlens.pages.writing import write_page

GENERATOR = "tests.worlds.generators:Painter"
HOW = ("--workers", 0, "--quiet")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A dissected generator whose units draw squares."""
    net = ul.load(GENERATOR, weights="none", latents=20, rescale=(-1, 1))
    data = ul.with_concepts(ul.latents(20, 96), ul.Colors())
    folder = tmp_path_factory.mktemp("drawn") / "run"
    with pytest.warns(ul.UnitlensWarning):
        dissection = ul.dissect(net, "layer", data, exemplars=0)
    ul.report(folder, dissection)
    info = json.loads((folder / "run.json").read_text())
    info["data"] |= {"source": "latents:20,seed=0", "opened": {"concepts": ["colors"]}}  # as the shell opens them
    (folder / "run.json").write_text(json.dumps(info))
    return folder


@pytest.fixture
def copied(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_a_concept_is_removed_inserted_mapped_and_swept(shell, copied):
    chosen = ("--concept", "red", "--remove", 2, "--insert", 1, "--level", 1, "--map", "--place", 4, "--sweep")
    said = shell("intervene", "run", "--network", GENERATOR, *chosen, "--draws", 2, "--workers", 0)
    assert said.code == 0, said.err
    assert "InsertionMap of red" in said.out
    for name in (SETS, CHANGED, CAUSAL, RANKINGS, INSERTIONS):
        assert list(pd.read_csv(copied / name).columns) == list(TABLES[name])
    rows = pd.read_csv(copied / "interventions.csv")
    removed = rows[(rows["change"] == "set to 0") & (rows["concept"] == "red")].iloc[0]
    assert (removed["after"], removed["removed"], removed["images"]) == (0, 1, 96)
    assert sorted(removed["units"].split(";")) == ["0", "4"]
    inserted = rows[(rows["change"] == "set to 1") & (rows["concept"] == "red")].iloc[0]
    assert inserted["effect"] > 0.9
    assert set(pd.read_csv(copied / "causal_effects.csv")["unit"]) == set(range(8))
    record = json.loads((copied / "interventions.json").read_text())
    kinds = [result["kind"] for result in record["results"]]
    assert kinds == ["SetAreas", "SetAreas", "InsertionMap", "CausalEffects"]
    assert record["results"][3]["ranked"]
    assert (rows["chosen_for"] == "red").all()
    assert len(pd.read_csv(copied / "causal_effects.rankings.csv"))
    assert record["command"].startswith("unitlens intervene run")
    page = (copied / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert "red inserted at every place" in page
    assert write_page(copied).read_text() == page  # made again from the files


def test_units_at_a_place_at_their_thresholds(shell, copied):
    options = ("--units", "1,5", "--insert", "--at", "3,12", "--at", "3,13", "--draws", 0)
    assert shell("intervene", "run", "--network", GENERATOR, *options, *HOW).code == 0
    rows = pd.read_csv(copied / "interventions.csv")
    assert rows["change"].unique().tolist() == ["set to their thresholds at 2 positions"]
    assert not (copied / "causal_effects.csv").exists()
    again = shell("intervene", "run", "--network", GENERATOR, *options, *HOW)
    assert (again.code, "interventions already" in again.err) == (2, True)
    both = ("--units", 2, "--overwrite", "--draws", 0, "--examples", 0)  # removed where nothing else is said
    assert shell("intervene", "run", "--network", GENERATOR, *both, *HOW).code == 0
    assert pd.read_csv(copied / "interventions.csv")["change"].unique().tolist() == ["set to 0"]
    assert not (copied / "interventions").exists()


def test_a_model_without_a_run_writes_a_folder_of_its_own(shell, tmp_path):
    named = (GENERATOR, "--latent-shape", 20, "--rescale", "-1,1", "--latents", 64, "--concepts", "colors")
    said = shell("intervene", *named, "--layer", "layer", "--units", 0, "--draws", 0, "--out", "fresh", *HOW)
    assert said.code == 0, said.err
    page = (tmp_path / "fresh" / "report.html").read_text()
    assert "What its units draw" in page
    saved = read_interventions(tmp_path / "fresh")
    assert saved.results[0].units == (0,)
    assert write_page(tmp_path / "fresh").read_text() == page


def test_directions_of_a_run_are_intervened_on_and_not_painted_with(shell, tmp_path):
    np.save(tmp_path / "basis.npy", np.eye(8)[::-1])
    named = (GENERATOR, "--weights", "none", "--latent-shape", 20, "--rescale=-1,1", "--latents", 48)
    how = ("--layer", "layer", "--concepts", "colors", "--basis", "basis.npy", "--no-evidence", "--exemplars", 0)
    said = shell("dissect", *named, *how, "--out", "turned", *HOW)
    assert said.code == 0, said.err
    said = shell("intervene", "turned", "--network", GENERATOR, "--units", 7, "--draws", 0, *HOW)
    assert said.code == 0, said.err
    (of_set,) = read_interventions(tmp_path / "turned").results
    assert of_set.settings.basis.source == "basis.npy"
    rows = pd.read_csv(tmp_path / "turned" / "interventions.csv").set_index("concept")
    assert rows.loc["red", "effect"] < 0
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra app)")
    said = shell("open", "turned", "--network", GENERATOR, "--no-browser", "--quiet")
    assert "The units of the run turned are directions, and what a generator draws is painted with" in said.err


def test_groups_are_those_of_the_run_or_those_that_are_given(shell, tmp_path):
    named = (GENERATOR, "--latent-shape", 20, "--rescale", "-1,1", "--latents", 64, "--concepts", "colors")
    few = ("--layer", "layer", "--units", 0, "--draws", 0, "--groups", "sequence:32")
    said = shell("intervene", *named, *few, "--out", "fresh", *HOW)
    assert said.code == 0, said.err
    assert "2 groups fill 2 of 32 folds" in said.err
    assert pd.read_csv(tmp_path / "fresh" / "interventions.csv")["low"].isna().all()
    assert "2 groups fill 2 of 32 folds" in (tmp_path / "fresh" / "report.html").read_text()
    refused = shell("intervene", *named, *few[:-1], "auto", "--out", "again", *HOW)
    assert (refused.code, "these are latents" in refused.err) == (2, True)


def test_sets_and_detectors_of_concepts_and_which_of_them_resist(shell, copied):
    chosen = ("--concept", "red", "--concept", "blue", "--remove", 1, "--detectors")
    how = ("--set", "greedy", "--set", "iou", "--most", 2, "--target", 0.9, "--draws", 0)
    said = shell("intervene", "run", "--network", GENERATOR, *chosen, *how, "--workers", 0)
    assert said.code == 0, said.err
    for said_of in ("ConceptSet of red by greedy: 2 units", "ConceptSet of blue by iou", "DrawnDetectors of blue"):
        assert said_of in said.out
    sets = pd.read_csv(copied / "concept_sets.csv")
    assert list(sets.columns) == list(TABLES["concept_sets.csv"])
    assert (sets.groupby(["concept", "method"])["chosen"].sum() == 1).all()
    assert (sets.query("units == 2")["removed"] == 1).all()
    detectors = pd.read_csv(copied / "drawn_detectors.csv")
    assert list(detectors.columns) == list(TABLES["drawn_detectors.csv"])
    assert set(detectors.groupby("concept")["unit"].nunique()) == {8}
    page = (copied / "report.html").read_text()
    for text in ("Which concepts resist", "The units that red rests on, greedily", "tell whether blue is drawn?"):
        assert text in page
    assert write_page(copied).read_text() == page


def test_a_set_of_a_model_without_a_run_is_found_greedily(shell, tmp_path):
    named = (GENERATOR, "--latent-shape", 20, "--rescale", "-1,1", "--latents", 64, "--concepts", "colors")
    how = ("--layer", "layer", "--concept", "red", "--set", "greedy", "--most", 2, "--out", "fresh")
    said = shell("intervene", *named, *how, *HOW)
    assert said.code == 0, said.err
    (found,) = read_interventions(tmp_path / "fresh").results
    assert sorted(found.ranking) == [0, 4]
    assert found.info["data"]["source"] == "latents:20,seed=0"
    assert found.info["data"]["opened"] == {"concepts": ["colors"]}
    said = shell("intervene", *named, "--layer", "layer", "--concept", "red", "--set", "iou", *HOW)
    assert said.code == 2
    assert "no run" in said.err


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ((), ("--concept NAME --remove N", "--sweep")),
        (("--units", "1", "--concept", "red"), ("--units and --concept",)),
        (("--sweep", "--remove", "3"), ("--concept NAME or --units",)),
        (("--units", "1", "--map"), ("--map", "--concept NAME")),
        (("--units", "1", "--insert", "--at", "1,2", "--everywhere"), ("--at", "--everywhere")),
        (("--units", "1", "--at", "99,2"), ("(2, 99)", "16 columns")),
        (("--units", "1", "--at", "a"), ("--at is 'a'", "3,5")),
        (("--units", "x"), ("--units is 'x'",)),
        (("--units", "77"), ("unit 77", "0 to 7")),
        (("--concept", "tree"), ("tree", "red")),
        (("--units", "1", "--insert", "--level", "loud"), ("--level is 'loud'", "q0.99")),
        (("--units", "1", "--remove", "--level", "3"), ("--level", "--insert")),
        (("--units", "1", "--place", "3"), ("--place", "--map")),
        (("--concept", "red", "--map", "--place", "99"), ("--place 99", "1 to 16")),
        (("--units", "1", "--set", "greedy"), ("--set", "--concept NAME")),
        (("--units", "1", "--detectors"), ("--detectors", "--concept NAME")),
        (("--concept", "red", "--most", "3"), ("--most", "--set greedy")),
        (("--concept", "red", "--set", "optimise"), ("optimise", "colors does not say", "--set greedy")),
        (("--concept", "pink", "--detectors"), ("pink takes 1.0% of the image or more in 0 of", "--latents N")),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(shell, copied, options, facts):
    said = shell("intervene", "run", "--network", GENERATOR, *options, "--draws", 0, *HOW)
    assert said.code == 2, said.err
    assert all(fact in said.err for fact in facts), said.err


def test_units_of_what_nobody_draws_are_warned_of(shell, copied):
    options = ("--concept", "pink", "--remove", 2, "--insert", 2, "--map", "--place", 8, "--draws", 0)
    said = shell("intervene", "run", "--network", GENERATOR, *options, *HOW)
    assert said.code == 0
    assert "pink is drawn in none of the 96 untouched images" in said.err
    assert all("pink is drawn in none" in " ".join(one.info["warnings"]) for one in read_interventions(copied).results)


def test_layers_are_measured_one_after_the_other(shell, tmp_path):
    named = (GENERATOR, "--latent-shape", 20, "--rescale", "-1,1", "--latents", 64, "--concepts", "colors")
    options = (*named, "--layer", "layer", "--layer", "larger", "--out", "both", *HOW)
    said = shell("intervene", *options, "--concept", "red", "--set", "greedy", "--most", 1)
    assert said.code == 0, said.err
    assert [one.settings.layer for one in read_interventions(tmp_path / "both").results] == ["layer", "larger"]
    assert set(pd.read_csv(tmp_path / "both" / "concept_sets.csv")["layer"]) == {"layer", "larger"}
    said = shell("intervene", *options, "--units", 1, "--overwrite")
    assert (said.code, "--units" in said.err, "--layer names 2" in said.err) == (2, True, True)
    backwards = (*named, "--layer", "larger", "--layer", "layer", "--out", "other", *HOW)
    said = shell("intervene", *backwards, "--sweep", "--at", "20,3")
    assert (said.code, "grid of layer, which has 16 rows" in said.err) == (2, True)


def test_what_people_marked_is_measured_by_a_source_that_looks_at_the_images(shell, tmp_path):
    write_world(tmp_path / "photos", images=40)
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(40, 20)).astype(np.float32))
    how = ("--latent-shape", 20, "--rescale", "-1,1", "--latents", "z.npy", "--data", "photos", "--layer", "layer")
    said = shell("dissect", GENERATOR, *how, "--no-evidence", "--out", "run", *HOW)
    assert said.code == 0, said.err
    options = ("--network", GENERATOR, "--units", 0, "--draws", 0, *HOW)
    said = shell("intervene", "run", *options)
    assert said.code == 2
    assert "masks that are given with latents do not change" in said.err
    assert shell("intervene", "run", *options, "--concepts", "colors").code == 0
    (removed,) = read_interventions(tmp_path / "run").results
    assert removed.info["concepts"] == ["colors"]


def test_what_a_generator_draws_is_not_ablated(shell, copied):
    said = shell("ablate", "run", "--network", GENERATOR, "--units", 1, *HOW)
    assert said.code == 2
    assert "predicts no classes" in said.err
    assert "unitlens intervene" in said.err


def test_a_classifier_has_nothing_to_remove(shell):
    said = shell("intervene", "bundled:scenes", "--units", 1, "--limit", 8, *HOW)
    assert said.code == 2
    assert "not known to draw images" in said.err


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("interventions.json", lambda text: text.replace('"schema": 5', '"schema": 9')),
        pytest.param(
            "interventions.json",
            lambda text: text.replace("SetAreas_1.png", "../SetAreas_1.png"),
            marks=pytest.mark.slow,
        ),
        pytest.param("interventions.json", lambda text: text.replace('"draws":', '"drawls":'), marks=pytest.mark.slow),
        pytest.param(
            "interventions.json",
            lambda text: text.replace('"kind": "SetAreas"', '"kind": "Sets"'),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "interventions.json", lambda text: text.replace('"measured": 96', '"measured": 95'), marks=pytest.mark.slow
        ),
        pytest.param("interventions.csv", lambda text: text.replace("concept", "conceit", 1), marks=pytest.mark.slow),
        pytest.param(
            "interventions.csv", lambda text: text.replace("red,color", "red,colour", 1), marks=pytest.mark.slow
        ),
        ("interventions.what_changed.csv", lambda text: text.replace("0.", "0.1", 1)),
        pytest.param("interventions/SetAreas_1.png", lambda text: "no image", marks=pytest.mark.slow),
        ("interventions.safetensors", lambda text: text[:-40] + 40 * "\x07"),
    ],
)
def test_changed_files_are_refused(shell, copied, file, change):
    options = ("--units", 0, "--draws", 0, "--examples", 1)
    assert shell("intervene", "run", "--network", GENERATOR, *options, *HOW).code == 0
    path = copied / file
    path.write_bytes(change(path.read_bytes().decode("latin1")).encode("latin1"))
    said = shell("report", "run")
    assert said.code == 2
    assert "interventions" in said.err
    assert "damaged" in said.err


def test_results_of_python_are_saved_by_the_report(run, tmp_path):
    from tests.worlds.generators import Squares, painted, painter

    net, data = painter(8), painted(64)
    results = (
        ul.intervene(net, "layer", [0], data, draws=0, examples=2),
        ul.insertion_map(net, "layer", [0], "red", data, value=1.0, size=8),
        ul.causal_effects(net, "layer", data, insert=1.0),
    )
    page = ul.report(tmp_path / "own", *results)
    assert page.name == "report.html"
    saved = read_interventions(tmp_path / "own")
    assert np.allclose(
        saved.tables()["causal_effects.csv"]["average_causal_effect"], results[2].table()["average_causal_effect"]
    )
    assert {concept.name for concept in Squares.concepts} >= set(saved.tables()["interventions.csv"]["concept"])
    with pytest.raises(ul.UnitlensError, match="different networks"):
        ul.report(tmp_path / "two", results[0], ul.intervene(painter(4), "layer", [0], painted(64, units=4), draws=0))


@pytest.fixture
def recipe(tmp_path):
    """Unit 1 removed from an image, and unit 0 added to it."""
    net = ul.load(GENERATOR, weights="none", latents=20, rescale=(-1, 1))
    edits = [UnitEdit.at("layer", [1], [0.0]), UnitEdit.at("layer", [0], [1.0], np.eye(16, dtype=bool))]
    latent = ul.latents(20, 3)[2].image
    recipe = ul.EditRecipe.of(net, latent, edits)
    recipe.save(tmp_path / "tree.json")
    return recipe.draw(net)


@pytest.mark.parametrize(
    "network",
    [("run", "--network", GENERATOR), (GENERATOR, "--weights", "none", "--latent-shape", 20, "--rescale", "-1,1")],
    ids=["run", "network"],
)
def test_a_recipe_is_drawn_again(shell, copied, recipe, tmp_path, network):
    said = shell("intervene", *network, "--recipe", "tree.json")
    assert said.code == 0, said.err
    for name, expected in (("before", recipe.before), ("after", recipe.after)):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"tree.{name}.png")), expected[0])
    again = shell("intervene", *network, "--recipe", "tree.json")
    assert (again.code, "tree.before.png" in again.err, "--overwrite" in again.err) == (2, True, True)
    assert shell("intervene", *network, "--recipe", "tree.json", "--overwrite", "--out", "new").code == 0
    assert (tmp_path / "new" / "tree.after.png").is_file()


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (("--recipe", "none.json"), ["none.json"]),
        (("--recipe", "run/run.json"), ["run.json", "recipe"]),
        (("--recipe", "tree.json", "--units", "3", "--remove"), ["--units", "--remove", "--recipe"]),
        (("--recipe", "tree.json", "--set", "iou"), ["--set"]),
    ],
)
def test_a_recipe_that_cannot_be_drawn_is_a_sentence(shell, copied, recipe, options, facts):
    said = shell("intervene", "run", "--network", GENERATOR, *options)
    assert said.code == 2
    assert all(fact in said.err for fact in facts)
