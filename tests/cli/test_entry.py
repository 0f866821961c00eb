import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import unitlens as ul
from tests.worlds.coloured import everything_below
from unitlens.cli import entry
from unitlens.dissection.reopening import Reopening
from unitlens.dissection.table import COLUMNS

FILES = {"run.json", "units.csv", "counts.safetensors", "exemplars.csv", "strips.safetensors", "report.html"}


@pytest.fixture
def done(shell, sees, world, tmp_path):
    """Dissect the coloured world; the folder of the run, and what was said."""

    def dissect(*more, out="out"):
        said = shell("dissect", *sees, "--data", world, "--out", out, *more)
        assert said.code == 0, said.err
        return tmp_path / out, said

    return dissect


def test_dissect(done):
    folder, said = done()
    assert everything_below(folder) == FILES
    assert re.fullmatch(
        r"3 of 4 units are detectors, of 3 concepts in 1 categor(y|ies); 1 (is|are) silent; "
        r"compared with the labels of other images, but with no untrained copy \(--control untrained dissects one\)\n"
        r"wrote out/: report\.html \(.* [kM]B\) to look at, units\.csv to compute with\n",
        said.out,
    )
    assert re.search(r"^unitlens: keeping .* under out/\.unitlens-work$", said.err, re.MULTILINE)
    assert ul.open_run(folder).table()["concept"].tolist()[:3] == ["red", "green", "blue"]


def test_quiet_says_nothing(done):
    _, said = done("--quiet")
    assert (said.out, said.err) == ("", "")


def test_the_options_are_those_of_python(done, net, world):
    folder, _ = done("--quiet", "--grid", "4x8", "--min-iou", "0.2", "--seed", 3, "--exemplars", 2, "--limit", 12)
    settings = json.loads((folder / "run.json").read_text())["settings"]
    assert (settings["grid"], settings["min_iou"], settings["seed"], settings["limit"]) == ([4, 8], 0.2, 3, 12)
    same = ul.dissect(net, "0", world, quantile=0.1, grid=(4, 8), min_iou=0.2, seed=3, exemplars=2, limit=12)
    pd.testing.assert_frame_equal(same.table(), ul.open_run(folder).table(), check_exact=True)
    assert len(pd.read_csv(folder / "exemplars.csv")) == 4 * 2


def test_a_preset_and_an_option_beside_it(done):
    folder, _ = done("--quiet", "--preset", "netdissect2017", "--grid", "16")
    settings = json.loads((folder / "run.json").read_text())["settings"]
    assert (settings["preset"], settings["threshold_on"], settings["grid"]) == ("netdissect2017", "raw", [16, 16])
    assert settings["quantile"] == 0.1  # said by the test


def test_without_evidence_its_columns_are_empty(done):
    folder, _ = done("--quiet", "--no-evidence")
    table = ul.open_run(folder).table()
    assert list(table.columns) == list(COLUMNS)
    assert table[["iou_low", "concept_stability", "chance_iou", "q_value", "heldout_iou"]].isna().all(axis=None)


def test_workers_and_batches_change_nothing(done):
    one, _ = done("--quiet", "--workers", 0, "--batch-size", 8, out="one")
    other, _ = done("--quiet", "--workers", 2, "--batch-size", 3, out="other")
    for name in ("units.csv", "counts.safetensors", "exemplars.csv", "strips.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_overwrite_replaces_a_run(done, tmp_path):
    folder, _ = done("--quiet")
    (folder / "mine.txt").write_text("mine")
    done("--quiet", "--overwrite", "--limit", 12)
    assert everything_below(folder) == FILES | {"mine.txt"}
    assert ul.open_run(folder).info["data"]["images"] == 12


def test_run_json_tells_where_the_result_comes_from(done, net_file, world):
    folder, _ = done("--quiet")
    info = json.loads((folder / "run.json").read_text())
    assert info["network"]["name"] == f"{net_file}:build"
    assert info["network"]["preprocessing"]["image_size"] == [32, 32]
    assert re.fullmatch("[0-9a-f]{64}", info["network"]["sha256"])
    assert re.fullmatch("[0-9a-f]{64}", info["data"]["sha256"])
    assert (info["data"]["source"], info["data"]["images"], info["data"]["skipped"]) == (str(world), 14, [])
    assert info["layers"]["0"]["grid"] == [32, 32]
    assert set(info["versions"]) >= {"python", "unitlens", "torch", "numpy", "pillow"}
    assert info["timings"]["seconds"] >= info["timings"]["forward_seconds"] > 0
    assert info["command"].startswith(f"unitlens dissect {net_file}:build --layer 0 --image-size 32 ")


def test_the_hashes_change_with_the_data(done, world):
    def digest(out):
        return json.loads((done("--quiet", out=out)[0] / "run.json").read_text())["data"]["sha256"]

    first = digest("a")
    assert digest("b") == first
    shutil.copy(world / "labels" / "color" / "00.png", world / "labels" / "color" / "01.png")
    assert digest("c") != first
    third = digest("d")
    (world / "concepts.csv").write_text((world / "concepts.csv").read_text().replace("red", "crimson"))
    assert digest("e") != third


def test_layers_of_a_published_network_need_no_weights(shell):
    said = shell("layers", "squeezenet1_1")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1].startswith("features.0")


def test_layers(shell, net_file):
    said = shell("layers", f"{net_file}:build", "--image-size", 32, "--mean", 0, "--std", 1)
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["layer", "kind", "output", "units", "grid"]
    assert rows[1] == ["0", "Conv2d", "4x32x32", "4", "32x32"]
    assert ["4", "Linear", "3", "3"] in rows


def column(text, name):
    """The words of one column of a printed table."""
    header, *lines = text.splitlines()
    start = header.index(name)
    return [line[start:].split("  ")[0].strip() for line in lines]


def test_units_are_listed_best_first(shell, run_folder):
    said = shell("units", run_folder)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0].split() == [
        "layer", "unit", "concept", "category", "iou", "heldout_iou", "chance_iou", "verdict"
    ]  # fmt: skip
    shown = [float(value) for value in column(said.out, "iou") if value]
    assert len(said.out.splitlines()) == 1 + 7
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 6


def test_units_of_a_layer_and_only_some(shell, run_folder):
    assert set(column(shell("units", run_folder, "--layer", "4").out, "layer")) == {"4"}
    assert len(shell("units", run_folder, "-n", 2).out.splitlines()) == 3


def test_units_of_a_concept_are_those_of_highest_iou_with_it(shell, run_folder):
    said = shell("units", run_folder, "--layer", "0", "--concept", "green")
    part = ul.open_run(run_folder)["0"]
    assert column(said.out, "unit") == [str(unit) for unit in part.units_for("green")]
    assert column(said.out, "unit")[0] == "1"
    expected = [f"{part.scores().to_numpy()[unit, 1]:.4g}" for unit in part.units_for("green")]
    assert column(said.out, "iou_with") == expected


@pytest.mark.parametrize(
    ("sort", "falls"), [("threshold", True), ("activated_pixels", True), ("unit", True), ("concept", False)]
)
def test_units_are_sorted_by_any_column(shell, run_folder, sort, falls):
    said = shell("units", run_folder, "--sort", sort)
    assert said.code == 0
    shown = [value if sort == "concept" else float(value) for value in column(said.out, sort) if value]
    assert shown == sorted(shown, reverse=falls)
    assert len(shown) > 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sort", "iuo"], "There is no column 'iuo' in units.csv to sort by (did you mean iou?); there are layer, "),
        (["--concept", "green"], "Several layers were dissected: choose one of 0, 4, as in --layer 0."),
        (["--layer", "0", "--concept", "gren"], "There is no concept 'gren' in the data (did you mean green?)"),
        (["--layer", "5"], "The layer 5 was not dissected, but 0, 4."),
    ],
)
def test_units_that_cannot_be_shown(shell, run_folder, arguments, sentence):
    said = shell("units", run_folder, *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"unitlens: {sentence}")


def test_the_page_is_made_again_without_images_or_network(shell, run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "moved")
    page = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    said = shell("report", folder)
    assert said.code == 0
    assert re.fullmatch(rf"wrote {re.escape(str(folder))}/report\.html \(.* [kM]B\)\n", said.out)
    assert (folder / "report.html").read_text() == page


def test_version_and_help(shell):
    assert shell("--version").out.strip() == ul.__version__
    for arguments in ((), ("-h",), ("dissect", "--help"), ("units", "-h")):
        said = shell(*arguments)
        assert (said.code, said.err) == (0, "")
        assert "Usage: unitlens" in said.out


def test_every_option_is_explained(shell):
    text = shell("dissect", "--help").out
    for name in (
        "layer", "data", "out", "overwrite", "quantile", "min-iou", "preset", "grid", "limit", "batch-size", "workers",
        "threads", "device", "seed", "quiet", "strict", "weights", "image-size", "resize", "mean", "std", "fast",
        "store-limit", "exemplars", "no-evidence",
    ):  # fmt: skip
        assert f"--{name}" in text


def environment(temporary):
    return {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


@pytest.fixture
def temporary(tmp_path):
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def test_the_module_is_the_command(sees, world, tmp_path, temporary):
    command = [sys.executable, "-m", "unitlens", "dissect", *map(str, sees), "--data", str(world), "--workers", "2"]
    said = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment(temporary), check=False
    )
    assert said.returncode == 0, said.stderr
    assert re.search(r"^3 of 4 units are detectors", said.stdout)
    assert "\r" not in said.stderr  # a log has lines, and no bar
    said_first = ("unitlens: keeping", "unitlens: counting takes")
    assert all(line.startswith(said_first) for line in said.stderr.splitlines())
    assert everything_below(tmp_path / "run") == FILES
    with (tmp_path / "run" / "units.csv").open(newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    assert not any(temporary.iterdir())


@pytest.mark.slow  # a process that loads torch, for what the interrupts below show as well
def test_an_error_has_no_traceback_in_a_true_process(sees, tmp_path, temporary):
    command = [sys.executable, "-m", "unitlens", "dissect", *map(str, sees), "--data", "nowhere"]
    said = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment(temporary), check=False
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "unitlens: There is no folder nowhere.\n"


@pytest.mark.parametrize(
    "stop",
    ["kill", *(pytest.param(how, marks=pytest.mark.slow) for how in ("Ctrl-C", "kill -INT"))],
)
def test_an_interrupt_ends_a_run_and_leaves_what_it_goes_on_from(net_file, sees, world, tmp_path, temporary, stop):
    before = everything_below(tmp_path)
    # where the tests run in the background the shell had them ignore SIGINT, and their children with them
    listening = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", listening + "runpy.run_module('unitlens', run_name='__main__')", "dissect"]
    command += [f"{net_file}:Slow", "--layer", "layer", *map(str, sees[3:])]
    command += ["--data", str(world), "--out", "out", "--batch-size", "1", "--workers", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=environment(temporary),
    )  # fmt: skip
    first = process.stderr.readline()  # the store is announced with the first batch
    assert "keeping" in first, first + process.stderr.read()
    time.sleep(0.1)
    if stop == "Ctrl-C":  # a terminal tells the whole group
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT if stop == "kill -INT" else signal.SIGTERM)
    out, err = process.communicate(timeout=600)
    assert process.returncode == (143 if stop == "kill" else 130)
    said = [line for line in err.splitlines() if line and not line.startswith("unitlens: counting takes")]
    kept = r"Kept up to image \d+ of \d+: the same command goes on from there\."
    assert out == ""
    assert len(said) == 1
    assert re.fullmatch(rf"unitlens: stopped(; nothing was written\.|\. {kept})", said[0])
    left = [path for path in everything_below(tmp_path) if path not in before]
    assert all(Path(path).parts[:2] in {("out",), ("out", ".unitlens-work")} for path in left)
    assert bool(left) == ("Kept" in said[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_an_error_is_said_changes_nothing(shell, monkeypatch, number):
    before, echo = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)], entry.echo

    def interrupted(text, **options):
        signal.raise_signal(number)
        echo(text, **options)

    monkeypatch.setattr(entry, "echo", interrupted)
    said = shell("units", "nowhere")
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(r"unitlens: nowhere holds no run .*\n", said.err)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_terminating_twice_is_terminating_once(shell, monkeypatch):
    def cleaning(*_, **__):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(entry.cli, "main", cleaning)
    assert shell("units", "nowhere") == (143, "", "unitlens: stopped; nothing was written.\n")


def test_concepts_can_be_computed_and_a_run_remembers_how_its_data_were_opened(tmp_path, shell):
    said = shell("dissect", "bundled:scenes", "--limit", 48, "--concepts", "colors", "--out", "run", "--workers", 0)
    assert said.code == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["data"]["opened"] == {"concepts": ["colors"]}
    assert {concept["category"] for concept in info["data"]["concepts"]} == {"color"}
    data = Reopening.of(info).open_data()
    assert [concept.name for concept in data.concepts] == [concept["name"] for concept in info["data"]["concepts"]]


def test_images_too_few_for_intervals_are_said_to_be(tmp_path, shell):
    said = shell("dissect", "bundled:scenes", "--limit", 6, "--out", "run", "--workers", 0, "--exemplars", 0)
    assert said.code == 0
    assert re.search(r"^The 6 images fill \d of 32 folds, fewer than 8: there are no intervals", said.out, re.M)


def test_warnings_of_others_are_a_line_without_their_files(tmp_path, shell):
    (tmp_path / "old.py").write_text(
        "import warnings\nfrom torch import nn\n\ndef net():\n    warnings.warn('this is old', FutureWarning)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
    )
    said = shell("layers", "old.py:net", "--image-size", 32, "--mean", "0,0,0", "--std", "1,1,1")
    assert (said.code, said.err) == (0, "unitlens: FutureWarning: this is old\n")


@pytest.mark.parametrize("rank", [0, 1])
def test_commands_that_processes_do_not_share_are_refused_under_torchrun_once(rank, shell, monkeypatch):
    for name, value in {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    said = shell("audit", "run")
    sentence = "unitlens: torchrun shares the work of dissect, ablate and intervene: run `unitlens audit` by itself.\n"
    assert said == (2, "", sentence if rank == 0 else "")
    assert shell("audit", "--help").code == shell("--version").code == 0
