import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from tests.worlds.coloured import write_world
from unitlens.ablation.files import read_effects, write_effects
from unitlens.ablation.random_sets import COLUMNS as SET_COLUMNS
from unitlens.ablation.table import COLUMNS
from unitlens.files import StoppedAfterWriting
from unitlens.journal import FolderChange
from unitlens.pages import writing
from unitlens.pages.writing import add_effects

CLASSES = ("red", "green", "blue")


def name_classes(root, images=24):
    """Images of the coloured world, each of the colour that there is most of."""
    from PIL import Image

    rows = ["image,class,index"]
    for number in range(images):
        counts = Image.open(root / "labels" / "color" / f"{number:02}.png").histogram()[1:4]
        index = max(range(3), key=counts.__getitem__)
        rows.append(f"{number:02}.png,{CLASSES[index]},{index}")
    (root / "classes.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def classed(tmp_path_factory):
    return name_classes(write_world(tmp_path_factory.mktemp("classed") / "world", images=24))


@pytest.fixture(scope="module")
def dissected(tmp_path_factory):
    """Where the first test keeps its run for the others."""
    return tmp_path_factory.mktemp("dissected") / "run"


@pytest.fixture
def run(dissected, shell, net_file, classed, tmp_path):
    if not dissected.exists():
        said = shell(
            *("dissect", f"{net_file}:build", "--layer", "0", "--image-size", 32, "--mean", 0, "--std", 1),
            *("--quantile", 0.1, "--workers", 0, "--data", classed, "--out", "run", "--quiet", "--no-evidence"),
        )
        assert said.code == 0, said.err
        shutil.move(tmp_path / "run", dissected)
    return shutil.copytree(dissected, tmp_path / "run")


def named_again(target):
    """The network of a run, named again: it is a file of the tests', which a run does not open by itself."""
    path = Path(target) / "run.json"
    return ("--network", json.loads(path.read_text())["network"]["name"]) if path.is_file() else ()


def ablate(shell, *arguments, code=0):
    said = shell("ablate", *arguments, *named_again(arguments[0]), "--workers", 0, "--quiet")
    assert said.code == code, said.err
    return said.err


def test_a_run_is_added_to(shell, run):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != "report.html"}
    ablate(shell, run, "--units", "0,2")
    table = pd.read_csv(run / "effects.csv")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["units"]) == {"0;2"}
    assert set(table["class"]) == {*CLASSES, "*"}
    assert set(table["measure"]) == {"recall", "balanced_accuracy", "accuracy"}
    assert {name: (run / name).read_bytes() for name in before} == before
    page = (run / "report.html").read_text()
    assert "What the units are used for" in page
    assert 'id="units"' in page
    told = json.loads((run / "effects.json").read_text())
    assert told["measurements"][0]["info"]["network"]["sha256"] == ul.open_run(run).info["network"]["sha256"]
    assert shell("report", run).code == 0
    assert (run / "report.html").read_text() == page


def test_effects_are_those_of_python(shell, run, net, classed):
    ablate(shell, run, "--sweep", "--measure", "recall", "--measure", "logit", "--scale", 0.5)
    found = pd.read_csv(run / "effects.csv", dtype={"layer": str, "units": str})
    same = ul.importance(net, "0", ul.annotated(classed), measures=["recall", "logit"], scale=0.5).table()
    pd.testing.assert_frame_equal(found, same, check_exact=False, check_dtype=False, rtol=1e-9)


def test_a_class_its_units_and_keeping_only_them(shell, run):
    ablate(shell, run, "--class", "green", "--top", 2, "--draws", 3)
    table = pd.read_csv(run / "effects.csv")
    saved = read_effects(run)
    assert table["units"].nunique() == 1
    assert saved.curves[0].class_ == "green"
    assert "1" in table["units"][0].split(";")  # the unit for green
    assert saved.first.settings.ranked == "even"
    assert saved.first.settings.folds == "odd"
    assert "ranked one by one on the even folds" in (run / "report.html").read_text()
    ablate(shell, run, "--class", "green", "--keep-only", 1, "--draws", 0, "--sweep", "--overwrite")
    units = pd.read_csv(run / "effects.csv")["units"].astype(str)
    kept = [units for units in units.unique() if ";" in units]
    assert kept == ["0;2;3"]
    assert set(units) == {"0", "1", "2", "3", *kept}


def test_the_units_of_a_concept(shell, run):
    ablate(shell, run, "--concept", "blue", "--top", 1, "--value", "mean")
    assert pd.read_csv(run / "effects.csv")["units"].astype(str).unique().tolist() == ["2"]
    assert read_effects(run).first.settings.ablation == "set to their means"


def test_a_network_without_a_run_has_a_page_of_its_own(shell, net_file, classed, tmp_path):
    how = ("--image-size", 32, "--mean", 0, "--std", 1, "--data", classed, "--layer", "0")
    ablate(shell, f"{net_file}:build", *how, "--sweep", "--out", "alone")
    assert {path.name for path in (tmp_path / "alone").iterdir()} == {
        *("effects.csv", "effects.json", "effects.safetensors", "report.html")
    }
    page = (tmp_path / "alone" / "report.html").read_text()
    assert "default-src &#39;none&#39;" in page
    assert "<script src" not in page
    assert 'href="#unit' not in page
    assert shell("report", "alone").code == 0


def test_what_was_saved_is_read_back(shell, run, tmp_path):
    ablate(shell, run, "--class", "red", "--top", 2, "--draws", 2, "--sweep")
    saved = read_effects(run)
    write_effects(tmp_path / "again", saved)
    again = read_effects(tmp_path / "again")
    pd.testing.assert_frame_equal(saved.table(), again.table(), check_exact=True)
    pd.testing.assert_frame_equal(saved.curves[0].table(), again.curves[0].table(), check_exact=True)
    assert saved.units.most_important("red") == again.units.most_important("red")
    assert (tmp_path / "again" / "effects.json").read_text() == (run / "effects.json").read_text()
    (run / "effects.safetensors").write_bytes(b"nothing")
    with pytest.raises(ul.UnitlensError, match=r"The effects in .* are incomplete or damaged"):
        read_effects(run)


def test_names_in_the_page_are_text(shell, run, tmp_path):
    ablate(shell, run, "--sweep")
    for name in ("effects.json", "effects.csv"):
        text = (run / name).read_text()
        (run / name).write_text(re.sub(r"\bred\b", "<script>alert(1)</script>", text))
    assert shell("report", run).code == 0
    assert "<script>alert" not in (run / "report.html").read_text()


def test_a_dissection_and_effects_are_reported_together(net, classed, tmp_path):
    d = ul.dissect(net, "0", ul.annotated(classed), quantile=0.1, evidence=False)
    e = ul.importance(net, "0", ul.annotated(classed))
    page = ul.report(tmp_path / "both", d, e)
    assert "What the units are used for" in page.read_text()
    with pytest.raises(ul.UnitlensError, match=r"both holds effects already \(effects\.csv\)"):
        add_effects(tmp_path / "both", read_effects(tmp_path / "both"))
    ul.report(tmp_path / "both", d, overwrite=True)
    assert not (tmp_path / "both" / "effects.csv").exists()  # they were of the run that was replaced


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "No units were chosen: give one of --units 3,17"),
        (("--units", "1", "--class", "red"), "--units and --class both choose units"),
        (("--units", "1", "--top", 3), "--top and --keep-only take the first of a ranking"),
        (("--class", "red", "--top", 2, "--keep-only", 2), "--top removes units and --keep-only keeps them"),
        (("--class", "red", "--keep-only", 0), "--keep-only 0 leaves nothing of the layer"),
        (("--units", "1;2"), "--units is '1;2'; units are whole numbers from 0, joined by commas"),
        (("--units", "4"), "0 has 4 units, 0 to 3; unit 4 is not among them"),
        (
            ("--units", "1", "--value", "median"),
            "--value is 'median'; units are set to a number, mean, a quantile such as q0.99, or re",
        ),
        (("--units", "1", "--value", "nan"), "Units are set to finite numbers, or multiplied by one"),
        (("--units", "1", "--scale", "inf"), "Units are set to finite numbers, or multiplied by one"),
        (("--units", "1", "--value", "2", "--scale", "2"), "set units to a value or multiply them, not both"),
        (("--units", "1", "--measure", "recal"), "did you mean recall?"),
        (("--class", "rad", "--top", 2), "There is no class 'rad' (did you mean red?)"),
        (("--class", "red", "--top", 4), "4 units cannot be chosen from the 4 of 0"),
        (("--concept", "blu", "--top", 1), "There is no concept 'blu' in the data (did you mean blue?)"),
        (("--concept", "zebra", "--top", 1), "There is no concept 'zebra' in the data; there are blue, green, red."),
        (("--units", "1", "--layer", "9"), "There is no layer '9'"),
        (("--units", "1", "--resize", 40), "brings its own preprocessing: leave --resize out"),
        (("--units", "1", "--split", "val"), "has no splits to choose 'val' from"),
        (("--units", "1", "--concepts", "colors"), "are not those of the run (their SHA-256 begins with"),
        (("--class", "red", "--keep"), "--keep keeps the units of --units: with --class or --concept say --keep-only"),
        (("--units", "0,1,2,3", "--keep"), "All 4 units of 0 would be kept, so that nothing would change"),
        (("--units", "1", "--units", "2"), "0 --layer and 2 --units were given: each of several layers takes its own"),
        (("--layer", "0", "--layer", "1", "--units", "1"), "2 --layer and 1 --units were given"),
        (("--layer", "0", "--layer", "0", "--units", "1", "--units", "2"), "--layer 0 is given twice"),
        (("--layer", "0", "--layer", "1", "--sweep"), "--sweep goes through the units of one layer: give one --layer"),
        (("--units", "1", "--out", "world.txt"), "world.txt is a file"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(shell, run, tmp_path, options, sentence):
    (tmp_path / "world.txt").write_text("")
    error = ablate(shell, run, *options, code=2)
    assert sentence in error
    assert error.count("\n") == 1
    assert not (run / "effects.csv").exists()


def test_a_concept_needs_a_run_and_a_layer_a_name(shell, net_file, classed):
    how = (f"{net_file}:build", "--image-size", 32, "--mean", 0, "--std", 1, "--data", classed)
    assert "is no run: `unitlens dissect` makes one" in ablate(shell, *how, "--concept", "red", code=2)
    assert "No layer was named, and the network has no default" in ablate(shell, *how, "--units", "1", code=2)


def test_a_run_of_other_weights_or_images_is_refused(shell, run, net_file, classed, tmp_path):
    told = json.loads((run / "run.json").read_text())
    other = told | {"network": told["network"] | {"sha256": "0" * 64}}
    (run / "run.json").write_text(json.dumps(other))
    assert "are not those of the run (their SHA-256 begins with" in ablate(shell, run, "--units", "1", code=2)
    other = told | {"data": told["data"] | {"sha256": "0" * 64}}
    (run / "run.json").write_text(json.dumps(other))
    assert "are not those of the run (their SHA-256 begins with" in ablate(shell, run, "--units", "1", code=2)
    assert not (run / "effects.csv").exists()


def test_a_run_whose_concepts_have_other_names_now_is_refused(shell, run, classed):
    ablate(shell, run, "--units", "1")
    path = classed / "concepts.csv"
    text = path.read_text()
    path.write_text(text.replace("red", "crimson"))
    said = ablate(shell, run, "--units", "1", "--overwrite", code=2)
    path.write_text(text)
    assert "are not those of the run (their SHA-256 begins with" in said


def test_effects_are_not_replaced_silently(shell, run):
    ablate(shell, run, "--units", "1")
    assert "holds effects already (effects.csv): choose another --out, or replace it with --overwrite" in ablate(
        shell, run, "--units", "2", code=2
    )
    ablate(shell, run, "--units", "2", "--overwrite")
    assert pd.read_csv(run / "effects.csv")["units"].unique().tolist() == [2]


def test_a_set_is_set_beside_random_and_matched_ones(shell, run):
    said = shell("ablate", run, *named_again(run), "--units", "1", "--draws", 4, "--workers", 0)
    assert "0, unit 1: set to 0; beside sets of the same size: 4 drawn at random and 4 matched in mean act" in said.out
    header = next(line for line in said.out.splitlines() if line.startswith("class"))
    assert header.split()[-2:] == ["random", "matched"]
    table = pd.read_csv(run / "effects.random_sets.csv")
    assert list(table.columns) == list(SET_COLUMNS)
    assert set(table["kind"]) == {"random", "matched"}
    assert set(table["draws"]) == {4}
    assert len(read_effects(run).sets[0].drawn["random"].sets) == 4
    ablate(shell, run, "--units", "1", "--draws", 0, "--overwrite")
    assert not (run / "effects.random_sets.csv").exists()


@pytest.mark.parametrize("more", [("--top", 2), ("--keep-only", 2)])
def test_a_choice_for_a_class_is_set_beside_sets_measured_on_the_same_folds(shell, run, more):
    said = shell("ablate", run, *named_again(run), "--class", "red", *more, "--draws", 3, "--workers", 0)
    assert "ranked on the even folds, measured on the odd" in said.out
    assert "(holds 50%)" in said.out
    first = read_effects(run).sets[0]
    assert {kind: len(drawn.sets) for kind, drawn in first.drawn.items()} == {"random": 3, "matched": 3}
    assert {drawn.settings.folds for drawn in first.drawn.values()} == {"odd"}
    assert {len(units) for drawn in first.drawn.values() for units in drawn.sets} == {2}


def test_units_may_be_kept(shell, run):
    ablate(shell, run, "--units", "1,2", "--keep", "--draws", 0)
    assert set(pd.read_csv(run / "effects.csv")["units"]) == {"0;3"}


def test_units_of_several_layers(shell, net_file, classed, net):
    how = (f"{net_file}:build", "--image-size", 32, "--mean", 0, "--std", 1, "--data", classed, "--out", "both")
    ablate(shell, *how, "--layer", "0", "--units", "1", "--layer", "4", "--units", "0,2", "--draws", 2)
    (found,) = read_effects(Path("both")).sets
    same = ul.ablate(net, {"0": [1], "4": [0, 2]}, data=classed, draws=2)
    pd.testing.assert_frame_equal(found.table(), same.table())
    assert found.random_sets()["units"].unique().tolist() == ["0/1;4/0;4/2"]


def test_images_are_opened_as_for_dissect(shell, net_file, classed, tmp_path):
    how = ("--image-size", 32, "--mean", 0, "--std", 1, "--layer", "0", "--data", classed)
    how += ("--data-format", "folder", "--concepts", "colors")
    ablate(shell, f"{net_file}:build", *how, "--units", "1", "--out", "alone", "--draws", 0)
    data = read_effects(tmp_path / "alone").first.info["data"]
    assert data["opened"] == {"format": "folder", "concepts": ["colors"]}
    assert data["source"] == str(classed)
    said = shell("dissect", f"{net_file}:build", *how, "--quantile", 0.1, "--no-evidence", "--quiet", "--out", "run")
    assert said.code == 0, said.err
    ablate(shell, "run", "--units", "1", "--draws", 0)  # opened again in the same way, as the hash that fits shows
    assert read_effects(tmp_path / "run").first.info["data"]["sha256"] == data["sha256"]
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    told["data"]["opened"]["concepts"] = ["masks"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(told))
    said = ablate(shell, "run", "--units", "1", "--overwrite", code=2)
    assert "are not those of the run (their SHA-256 begins with" in said


def test_a_run_with_other_images_opens_them_with_the_given_options(shell, run, classed):
    ablate(shell, run, "--data", classed, "--concepts", "colors", "--units", "1", "--draws", 0)
    assert read_effects(run).first.info["data"]["opened"] == {"concepts": ["colors"]}


def test_directions_of_a_run_are_ablated_and_explained(shell, net_file, classed, tmp_path):
    np.save(tmp_path / "basis.npy", np.eye(4)[::-1])
    how = ("--image-size", 32, "--mean", 0, "--std", 1, "--layer", "0", "--data", classed, "--basis", "basis.npy")
    said = shell("dissect", f"{net_file}:build", *how, "--quantile", 0.1, "--no-evidence", "--quiet", "--out", "turned")
    assert said.code == 0, said.err
    ablate(shell, "turned", "--units", "1", "--draws", 0)
    images = sorted(Path(classed, "images").rglob("*.png"))[:2]
    for words in (("compare-images", "turned", *images), ("explain", "turned", "--errors", "--overwrite")):
        explained = shell(*words, *named_again("turned"), "--quiet")
        assert explained.code == 0, explained.err
    (tmp_path / "basis.npy").unlink()
    refused = shell("explain", "turned", "--errors", "--overwrite", *named_again("turned"), "--quiet")
    assert refused.code == 2
    assert "directions, which run.json does not contain: give them with --basis" in refused.err


def test_a_layout_whose_units_cannot_be_ablated_is_refused(shell, net_file, classed):
    how = ("--image-size", 32, "--mean", 0, "--std", 1, "--layer", "0", "--data", classed, "--layout", "channels_last")
    said = shell("dissect", f"{net_file}:build", *how, "--quantile", 0.1, "--no-evidence", "--quiet", "--out", "turned")
    assert said.code == 0, said.err
    said = ablate(shell, "turned", "--units", "1", code=2)
    assert "The run has 32 units of 0, and effects can be measured of 4: the run reads the layer in another lay" in said


def test_what_several_passes_warn_of_is_said_once(shell, net_file, classed, tmp_path):
    shutil.copytree(classed, tmp_path / "world")
    (tmp_path / "world" / "images" / "bad.png").write_bytes(b"nothing")
    how = (f"{net_file}:build", "--image-size", 32, "--mean", 0, "--std", 1, "--data", "world", "--layer", "0")
    said = ablate(shell, *how, "--class", "red", "--top", 2, "--draws", 1)
    assert said.count("1 file was left out, such as bad.png") == 1


def test_means_of_the_run_are_used_where_it_saw_the_same_images(shell, run, net, classed, monkeypatch):
    again = ul.ablate(net, "0", [1], classed, value="mean", draws=0).table()

    def fails(*_, **__):
        raise AssertionError("the images are shown again")

    monkeypatch.setattr("unitlens.ablation.activity.unit_means", fails)
    ablate(shell, run, "--units", "1", "--value", "mean", "--draws", 0)
    found = pd.read_csv(run / "effects.csv", dtype={"layer": str, "units": str})
    pd.testing.assert_frame_equal(found, again, check_exact=False, check_dtype=False, rtol=1e-6)
    with pytest.raises(AssertionError, match="shown again"):
        ablate(shell, run, "--units", "1", "--value", "mean", "--limit", 20, "--overwrite")


def test_a_stop_between_a_run_and_its_effects_waits_for_all(net, classed, tmp_path, monkeypatch):
    dissection = ul.dissect(net, "0", ul.annotated(classed), quantile=0.1, evidence=False, exemplars=0)
    effects = ul.importance(net, "0", ul.annotated(classed))
    right = writing.write_run

    def stopped(*arguments, **options):
        right(*arguments, **options)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(writing, "write_run", stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(StoppedAfterWriting):  # of which the shell says that all was written before
            ul.report(tmp_path / "both", dissection, effects)
    finally:
        signal.signal(signal.SIGINT, before)
    assert read_effects(tmp_path / "both").units.classes == CLASSES
    assert "What the units are used for" in (tmp_path / "both" / "report.html").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_while_effects_are_written_waits_for_their_page(shell, run, monkeypatch, number, code):
    ablate(shell, run, "--units", "1", "--draws", 0)
    right = FolderChange.write

    def stopped(change, name, content):
        if name == "effects.csv":
            signal.raise_signal(number)
        right(change, name, content)

    monkeypatch.setattr(FolderChange, "write", stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        error = ablate(shell, run, "--units", "2", "--draws", 0, "--overwrite", code=code)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "nothing was written" not in error
    assert "all was written before" in error
    assert read_effects(run).sets[0].units == (2,)
    page = (run / "report.html").read_text()
    assert shell("report", run).code == 0
    assert (run / "report.html").read_text() == page


def test_a_class_that_is_alone_has_no_balanced_accuracy(shell, net_file, classed, tmp_path):
    shutil.copytree(classed, tmp_path / "one")
    rows = (classed / "classes.csv").read_text().splitlines()
    (tmp_path / "one" / "classes.csv").write_text(
        "\n".join(row for row in rows if ",green" not in row and ",blue" not in row)
    )
    how = (f"{net_file}:build", "--image-size", 32, "--mean", 0, "--std", 1, "--data", "one", "--layer", "0")
    error = ablate(shell, *how, "--class", "red", "--top", 2, code=2)
    assert "of the even folds are of the class red, and balanced accuracy is not defined with one class" in error


def test_other_outcomes_are_added_to_a_run(shell, run, net, classed):
    ablate(shell, run, "--outcome", "output:1", "--outcome", "distance", "--units", "0,2", "--sweep", "--draws", 3)
    table = pd.read_csv(run / "outcomes.csv", dtype={"units": str})
    assert table["units"].unique().tolist() == ["0;2", "0", "1", "2", "3"]
    assert table["outcome"].unique().tolist() == ["output:1", "distance:cosine"]
    same = ul.outcome_effects(net, "0", ul.annotated(classed), "output:1").effect()
    assert table.query("outcome == 'output:1'")["effect"][1:].to_numpy() == pytest.approx(same)
    page = (run / "report.html").read_text()
    assert "4 units of 0, each alone, set to 0" in page
    assert 'id="units"' in page
    assert shell("report", run).code == 0
    assert (run / "report.html").read_text() == page
    assert "outcomes.csv" in ablate(shell, run, "--outcome", "output:1", "--sweep", code=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--outcome", "output:1"], "No units were chosen"),
        (["--outcome", "outptu:1", "--sweep"], "There is no outcome 'outptu:1' (did you mean output?)"),
        (["--outcome", "output:9", "--sweep"], "output:9"),
        (["--outcome", "area:1", "--sweep"], "area:1 is of a network that returns scores at every position"),
        (["--outcome", "output:1", "--class", "red"], "--class is of classes, and --outcome of anything else"),
        (["--outcome", "output:1", "--sweep", "--measure", "recall"], "--measure is of classes"),
        (["--outcome", "output:1", "--sweep", "--attributions"], "--attributions is of classes"),
    ],
)
def test_outcomes_are_not_measured_beside_classes(shell, run, options, sentence):
    assert sentence in ablate(shell, run, *options, code=2)
    assert not (run / "outcomes.json").exists()
