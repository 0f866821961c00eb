"""Several processes that `torchrun` starts make the run that one process makes, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

import unitlens as ul
from tests.dissection.work.launched import second_of
from tests.dissection.work.small_world import assert_same

pytestmark = pytest.mark.slow  # each process loads torch

FOLDER = ".unitlens-work"


def command(processes, *arguments):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes] if processes else []
    return [str(word) for word in (sys.executable, *launcher, "-m", "unitlens", "dissect", *arguments)]


def run(processes, *arguments, folder):
    said = subprocess.run(
        command(processes, *arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return said.returncode, said.stdout, said.stderr


@pytest.fixture
def asked(net_file, world):
    sees = (f"{net_file}:build", "--layer", "0", "--layer", "4", "--image-size", 32, "--mean", 0, "--std", 1)
    return (*sees, "--quantile", 0.15, "--data", world, "--workers", 0)


def test_processes_make_the_run_of_one(asked, tmp_path):
    options = ("--batch-size", 5, "--control", "untrained:2", "--control", "rotated")
    code, out, err = run(3, *asked, *options, "--out", "together", folder=tmp_path)  # of two blocks in a pass
    assert code == 0, err
    code, said, _ = run(None, *asked, *options, "--out", "alone", folder=tmp_path)
    assert (code, said.replace("alone/", "together/")) == (0, out)
    assert_same(ul.open_run(tmp_path / "together"), ul.open_run(tmp_path / "alone"))
    assert not (tmp_path / "together" / FOLDER).exists()


def test_features_that_are_kept_sparsely_make_the_run_of_one(asked, tmp_path):
    rows = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    ul.features({"encoder": rows, "decoder": rows}, kind="topk:1").save(tmp_path / "sae.safetensors")
    layer = asked.index("4")
    options = (*asked[: layer - 1], *asked[layer + 1 :], "--features", "sae.safetensors", "--batch-size", 5)
    for processes, name in ((2, "together"), (None, "alone")):
        code, _, err = run(processes, *options, "--keep-activations", "--out", name, folder=tmp_path)
        assert code == 0, err
    together, alone = (ul.open_run(tmp_path / name) for name in ("together", "alone"))
    assert_same(together, alone)
    with ul.activations(together) as here, ul.activations(alone) as there:
        (found,), (expected,) = ([layer.maps for layer in stored.layers.values()] for stored in (here, there))
        assert found.filled == expected.filled < 1 / 16
        assert (found.read(range(found.count)) == expected.read(range(found.count))).all()


def test_what_is_wrong_is_said_once(asked, tmp_path):
    code, out, err = run(2, *asked, "--layer", "9", "--out", "together", folder=tmp_path)
    assert (code, out) == (1, "")
    assert err.count("unitlens: There is no layer '9'") == 1
    assert not (tmp_path / "together").exists()


def test_when_a_process_dies_the_others_end_and_any_number_of_them_goes_on(asked, net_file, tmp_path):
    slow = net_file.with_name("slow.py")
    text = net_file.read_text() + "\n\ndef patient():\n    model = build()\n    wait = lambda *_: time.sleep(0.5)\n"
    slow.write_text(text + "    model.register_forward_pre_hook(wait)\n    return model\n")
    slow_asked = (f"{slow}:patient", *asked[1:], "--batch-size", 1, "--no-evidence", "--out", "together")
    patched = "import runpy, sys; from unitlens.dissection.store import folder; folder.OFTEN = folder.SHARE = 0; "
    patched += "sys.argv[0] = 'unitlens'; runpy.run_module('unitlens', run_name='__main__')"
    (tmp_path / "often.py").write_text(patched.replace("; ", "\n"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "often.py"]
    words = [*launcher, "dissect", *map(str, slow_asked)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment) as process:
        begun = [tmp_path / "together" / FOLDER / f"part-{part}" / "0-network" / "pass.json" for part in (1, 2)]
        while not all(path.exists() for path in begun) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(1)
        os.kill(second_of(process.pid), signal.SIGKILL)
        err = process.communicate()[1]
    assert process.returncode != 0
    assert "Kept up to image" in err, err
    assert not (tmp_path / "together" / "run.json").exists()
    assert run(None, *slow_asked[:-1], "alone", folder=tmp_path)[0] == 0
    for processes in (2, None, 3):
        copied = shutil.copytree(tmp_path / "together", tmp_path / f"by {processes}")
        code, _, err = run(processes, *slow_asked[:-1], copied, folder=tmp_path)
        assert code == 0, err
        assert "unitlens: goes on after image" in err
        assert_same(ul.open_run(copied), ul.open_run(tmp_path / "alone"))


def test_of_more_processes_than_batches_some_have_nothing_to_draw(tmp_path):
    draws = ("bundled:scenes-generator", "--latents", 20, "--batch-size", 16, "--concepts", "colors", "--no-evidence")
    for processes, out in ((3, "together"), (None, "alone")):
        code, _, err = run(processes, *draws, "--exemplars", 2, "--workers", 0, "--out", out, folder=tmp_path)
        assert code == 0, err
    assert_same(ul.open_run(tmp_path / "together"), ul.open_run(tmp_path / "alone"))
