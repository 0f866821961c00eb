"""Functions leave the process as it was, whether they end well, badly or by Ctrl-C; and say the same bits twice."""

import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.cli.test_ablate import name_classes
from tests.worlds import shortcut_world
from tests.worlds.coloured import blocks, write_world
from tests.worlds.generators import painted, painter

pytestmark = pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")


def state():
    """What belongs to the whole process."""
    return {
        "random": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "torch": torch.random.get_rng_state().tolist(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "flags": (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.mkldnn.enabled,
            torch.get_float32_matmul_precision(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
        ),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "temporary": os.listdir(tempfile.gettempdir()),
        "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
        "maps": [line for line in Path("/proc/self/maps").read_text().splitlines() if tempfile.gettempdir() in line],
        "files": sorted(os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _open(name)),
    }


def _open(name):
    return os.path.isfile(f"/proc/self/fd/{name}")


def hooks(module):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [(name, kind, len(getattr(one, kind))) for name, one in module.named_modules() for kind in kinds]


@pytest.fixture(scope="module")
def photos(net_file, tmp_path_factory):
    root = name_classes(write_world(tmp_path_factory.mktemp("world") / "world", images=24))
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    return net, root, ul.dissect(net, "0", root, quantile=0.15, exemplars=1)


@pytest.fixture(scope="module")
def drawn():
    net, latents = painter(), painted(24)
    return net, latents, ul.dissect(net, "layer", latents, exemplars=1)


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    net, root = shortcut_world.network(), shortcut_world.write(tmp_path_factory.mktemp("misled") / "world")
    return net, root, shortcut_world.dissected(net, root)


@pytest.fixture
def world(name, request):
    """A network, what it is shown, and a dissection of it, for a call."""
    kind = "drawn" if name in OF_GENERATORS else "marked" if name == "shortcuts" else "photos"
    return request.getfixturevalue(kind)


OF_GENERATORS = {
    "dissect what is drawn": lambda net, data, d: ul.dissect(net, "layer", data, control="untrained").table(),
    "edit": lambda net, data, d: str(ul.edit_image(net, data[0].image, layer="layer", remove=[0]).after.tolist()),
    "intervene": lambda net, data, d: ul.intervene(net, "layer", [0, 1], data, draws=2).table(),
    "causal effects": lambda net, data, d: ul.causal_effects(net, "layer", data, insert=0.5).table(),
    "insertion map": lambda net, data, d: ul.insertion_map(
        net, "layer", [2], "blue", data, value=1.0, size=8, draws=0, limit=8
    ).table(),
    "concept set": lambda net, data, d: ul.concept_set(net, "layer", "blue", data, most=2, insert=0.5).table(),
    "detectors": lambda net, data, d: ul.drawn_detectors(net, "layer", "green", data, least_area=0.01).table(),
}


def merged(net, root):
    """A dissection whose images were looked at in two parts."""
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder, str(part)) for part in (1, 2)]
        for part, checkpoint in enumerate(parts, start=1):
            ul.dissect_part(net, "0", root, shard=(part, 2), checkpoint=checkpoint, quantile=0.15)
        return ul.merge(parts).table()


def fitted(net, root):
    return ul.fit_features(net, "0", root, method="pca", count=2)


CALLS = OF_GENERATORS | {
    "dissect": lambda net, root, d: ul.dissect(net, "0", root, quantile=0.15, exemplars=1).table(),
    "fast": lambda net, root, d: ul.dissect(net, "0", root, quantile=0.15, fast=True).table(),
    "parts": lambda net, root, d: merged(net, root),
    "features": lambda net, root, d: ul.dissect(net, "0", root, quantile=0.15, basis=fitted(net, root)).table(),
    "reconstruction": lambda net, root, d: ul.reconstruction(net, "0", root, basis=fitted(net, root)).table(),
    "concept effects": lambda net, root, d: ul.concept_effects(d, net, root, draws=2).table(),
    "formulas": lambda net, root, d: ul.formulas(d, net, root, length=2).table(),
    "ranges": lambda net, root, d: ul.ranges(d, net, root, k=2).table(),
    "words": lambda net, root, d: ul.words(d, words=["red", "green", "tree"], net=net, data=root).table(),
    "labels": lambda net, root, d: ul.measure_labels(
        d, ul.given_labels(d, {0: "red"}), net, root, effects=True
    ).table(),
    "control": lambda net, root, d: ul.dissect(net, "0", root, quantile=0.15, control="rotated").table(),
    "importance": lambda net, root, d: ul.importance(net, "0", root).table(),
    "ablate": lambda net, root, d: ul.ablate(net, "0", [0, 1], root, draws=2).table(),
    "ablate to the mean": lambda net, root, d: ul.ablate(net, "0", [0], root, value="mean", draws=0).table(),
    "curve": lambda net, root, d: ul.ablation_curve(net, "0", "red", root, sizes=[1, 2], draws=2).table(),
    "outcomes": lambda net, root, d: ul.outcome_effects(net, "0", root, ["output:0"], units=[1], draws=2).table(),
    "audit": lambda net, root, d: ul.audit(d, net, root, noise=1).table(),
    "check": lambda net, root, d: repr(ul.check(root)),
    "explain": lambda net, root, d: ul.explain(net, d, [blocks(100)[0]], layer="0").table(),
    "confusions": lambda net, root, d: ul.confusions(net, d, root, layer="0").table(),
    "attack": lambda net, root, d: ul.attack(net, d, ul.annotated(root), "red", layer="0", steps=2).table(),
    "shortcuts": lambda net, root, d: ul.shortcuts(net, d, root, "marked", most=1, draws=2).table(),
    "compare images": lambda net, root, d: ul.compare_images(net, d, [blocks(3)[0]], [blocks(4)[0]], layer="0").table(),
    "compare": lambda net, root, d: ul.compare(d, d, names=["one", "other"]).table(),
    "plan": lambda net, root, d: str(ul.plan(net, "0", root, quantile=0.15, control="untrained").layers),
    "without": lambda net, root, d: str(ul.without(net, "0", [1])(torch.ones(1, 3, 32, 32)).tolist()),
}
USUAL = ("dissect", "importance")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in USUAL else pytest.mark.slow) for name in CALLS]
)
def test_nothing_is_left_and_two_calls_say_the_same(name, world, tmp_path, monkeypatch):
    net = world[0]
    CALLS[name](*world)  # what is imported and kept for good is there afterwards
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    gc.collect()
    before, hooked, weights = state(), hooks(net.model), net.fingerprint()
    first = CALLS[name](*world)
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    second = CALLS[name](*world)
    assert str(first) == str(second) if isinstance(first, str) else first.equals(second)
    random.setstate(before["random"])
    torch.random.set_rng_state(torch.tensor(before["torch"], dtype=torch.uint8))
    gc.collect()
    after = state()
    assert {key for key in before if before[key] != after[key]} <= {"numpy"}  # which was seeded here
    assert (hooks(net.model), net.fingerprint()) == (hooked, weights)


PASSES = [name for name in CALLS if name not in ("check", "compare", "without", "formulas", "ranges", "words")]
"""Those that pass images through the network."""


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError, MemoryError])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "dissect" else pytest.mark.slow) for name in PASSES]
)
def test_nothing_is_left_where_a_pass_fails(name, raised, world, tmp_path, monkeypatch):
    net = world[0]
    CALLS[name](*world)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)

    def fails(module, inputs):
        raise raised("in a pass")

    layer = next(iter(net.model.children()))
    gc.collect()
    before, hooked = state(), hooks(net.model)
    handle = layer.register_forward_pre_hook(fails)
    try:
        with pytest.raises((raised, ul.UnitlensError)):
            CALLS[name](*world)
    finally:
        handle.remove()
    gc.collect()
    after = state()
    assert {key for key in before if before[key] != after[key]} == set()
    assert hooks(net.model) == hooked


def alive(group):
    """Whether processes of a group are there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_command_leaves_no_process_and_no_temporary_file(number, net_file, tmp_path):
    write_world(tmp_path / "world", images=200)
    (tmp_path / "temporary").mkdir()
    how = ("--layer", "0", "--data", "world", "--image-size", "32", "--mean", "0", "--std", "1", "--workers", "2")
    how += ("--batch-size", "1", "--out", "run")
    command = [
        sys.executable,
        "-m",
        "unitlens",
        "dissect",
        f"{net_file}:build",
        *how,
        "--out",
        "run",
        "--batch-size",
        "1",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path / "temporary")}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / "run").exists():
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate()
    assert "Traceback" not in said
    assert process.returncode in (-number, 128 + number, 0)
    for _ in range(600):  # workers see within seconds that their parent is gone
        if not alive(process.pid):
            break
        time.sleep(0.05)
    assert not alive(process.pid)
    assert os.listdir(tmp_path / "temporary") == []
