"""Commands that measure, killed at random moments or spread over processes, end with the bits of an undisturbed one."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.dissection.work.launched import second_of
from unitlens.ablation.work.kept import FOLDER
from unitlens.dissection.store.manifest import Manifest

pytestmark = pytest.mark.slow  # each process loads torch

COMMON = ("--limit", 24, "--batch-size", 4, "--workers", 0, "--quiet")
SWEEP = ("ablate", "bundled:scenes", "--layer", "relu6", "--data", "bundled:scenes", "--class", "forest", "--sweep")
SWEEP = (*SWEEP, "--top", 4, "--draws", 3, "--value", "mean", *COMMON)
OUTCOME = ("ablate", "bundled:scenes", "--layer", "relu6", "--data", "bundled:scenes", "--outcome", "distance")
OUTCOME = (*OUTCOME, "--sweep", *COMMON)
ATTRIBUTED = (*SWEEP, "--attributions")
DRAWN = ("intervene", "bundled:scenes-generator", "--layer", "block32", "--units", "3,17", "--remove", "--draws", 4)
DRAWN = (*DRAWN, "--concepts", "segmenter:bundled:scenes-segmenter", *COMMON)

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

OFTEN = """
import runpy, sys
from unitlens.dissection.store import folder
folder.OFTEN = folder.SHARE = 0
sys.argv[0] = "unitlens"
runpy.run_module("unitlens", run_name="__main__")
"""


def started(folder, words, *, processes=None):
    (folder / "often.py").write_text(OFTEN)
    launcher = [*LAUNCHER[:-1], str(processes)] if processes else []
    command = [sys.executable, *launcher, "often.py", *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def finished(folder, words, **options):
    with started(folder, words, **options) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def files_of(run: Path):
    """What is in a folder of results, but for times and the command."""
    found = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".json":
            content = _without_times(json.loads(content))
        if path.suffix != ".html":
            found[str(path.relative_to(run))] = content
    return found


def manifests(kept):
    """What is kept so far."""
    return [path.stat().st_mtime_ns for path in sorted(kept.rglob("manifest.json"))] if kept.exists() else []


def measured(kept):
    """Folders in which images are measured."""
    found = [path.parent for path in kept.rglob("manifest.json")] if kept.exists() else []
    return [folder for folder in found if Manifest.read(folder).looked_at]


def _without_times(value):
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if key not in ("timings", "command", "created")}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("words", [SWEEP, DRAWN], ids=["sweep", "drawn"])
def test_a_command_that_is_killed_again_and_again_ends_as_if_it_was_not(tmp_path, words):
    finished(tmp_path, (*words, "--out", "alone"))
    kept, rng = tmp_path / "killed" / FOLDER, random.Random(0)
    for kind in (signal.SIGKILL, signal.SIGTERM):
        with started(tmp_path, (*words, "--out", "killed")) as process:
            before = manifests(kept)
            while process.poll() is None and manifests(kept) == before:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(kind)
            process.communicate()
    finished(tmp_path, (*words, "--out", "killed", "--overwrite"))
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "alone")


@pytest.mark.parametrize("words", [SWEEP, DRAWN], ids=["sweep", "drawn"])
def test_when_a_process_dies_the_others_end_and_the_same_command_goes_on(tmp_path, words):
    finished(tmp_path, (*words, "--out", "alone"))
    kept = tmp_path / "together" / FOLDER
    with started(tmp_path, (*words, "--out", "together"), processes=2) as process:
        while process.poll() is None and len(measured(kept)) < 2:
            time.sleep(0.01)
        os.kill(second_of(process.pid), signal.SIGKILL)
        _, err = process.communicate()
    assert process.returncode != 0
    assert re.search("^unitlens: (One of the 2 processes has ended|stopped)", err, re.M), err
    assert "unitlens/cli/entry.py" not in err
    assert [path.name for path in (tmp_path / "together").iterdir()] == [FOLDER]
    finished(tmp_path, (*words, "--out", "together"), processes=2)
    assert files_of(tmp_path / "together") == files_of(tmp_path / "alone")


@pytest.mark.parametrize(
    ("words", "processes"), [(ATTRIBUTED, 2), (OUTCOME, 3), (DRAWN, 2)], ids=["sweep", "outcome", "drawn"]
)
def test_processes_measure_what_one_does(tmp_path, words, processes):
    finished(tmp_path, (*words, "--out", "alone"))
    finished(tmp_path, (*words, "--out", "together"), processes=processes)
    assert files_of(tmp_path / "together") == files_of(tmp_path / "alone")


SCRIPT = """
import sys, unitlens as ul
net, data = ul.load("bundled:scenes"), ul.Scenes(24)
with ul.keeping(sys.argv[1]) as kept:
    how = dict(batch_size=4, checkpoint=kept)
    ranking = ul.importance(net, "relu6", data, **how)
    curve = ul.ablation_curve(net, "relu6", "forest", data, top=2, draws=1, ranking=ranking, **how)
    distance = ul.outcome_effects(net, "relu6", data, "distance", **how)
    if kept.processes.first:
        ul.report(sys.argv[2], ranking, curve)
        ul.report(sys.argv[3], distance)
"""


def test_a_script_measures_with_several_processes_what_one_does(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    for name, launcher in (("one", []), ("two", LAUNCHER)):
        words = [*launcher, "script.py", f"kept-{name}", f"{name}-effects", f"{name}-outcomes"]
        subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment(), check=True, capture_output=True)
    for kind in ("effects", "outcomes"):
        assert files_of(tmp_path / f"two-{kind}") == files_of(tmp_path / f"one-{kind}")
