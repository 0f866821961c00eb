"""A coloured world, networks that see it, a run on it, and the command line."""

import gc
import os
import warnings
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

import unitlens as ul
from tests.worlds.coloured import NET, write_world

os.environ["UNITLENS_IMAGES"] = "none"  # nothing is left in the cache of whoever tests
os.environ["UNITLENS_ANSWERS"] = "none"  # what is tested is computed, not taken from the runs of other tests

# No test fails because a machine is slow or busy: neither by a deadline nor by the check of how long drawing takes.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25)
settings.register_profile("thorough", settings.get_profile("any machine"), max_examples=400)  # `make test-slow`
settings.load_profile("any machine")


def pytest_collection_finish(session):
    """Names of tests are the same in every process; the garbage collector passes over what was imported, and stays."""
    if changing := [item.nodeid for item in session.items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give `parametrize` ids for {changing[0]}, which has an address in its name")
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_plug_is_pulled():
    """Waiting for the disk is most of the time that it takes to save a small run."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda _: None, raising=False)
        yield


@pytest.fixture(scope="module")
def scenes_drawn_once():
    """Drawn scenes are kept for the tests of a module that show the same ones again and again."""
    drawn = {}
    draw = ul.Scenes.__getitem__

    def kept(scenes, index):
        key = (scenes.seed, scenes.split, scenes.size, index)
        if not 0 <= index < len(scenes):
            return draw(scenes, index)
        if key not in drawn:
            drawn[key] = draw(scenes, index)
        planes = {category: [plane.copy() for plane in planes] for category, planes in drawn[key].planes.items()}
        return drawn[key]._replace(image=drawn[key].image.copy(), planes=planes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ul.Scenes, "__getitem__", kept)
        yield


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path / "world")


@pytest.fixture(scope="session")
def net_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "net.py"
    path.write_text(NET)
    return path


@pytest.fixture
def net(net_file):
    return ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="session")
def dissection(net_file, tmp_path_factory):
    """A dissection of two layers, one of them without a grid; not to be changed."""
    folder = write_world(tmp_path_factory.mktemp("dissected") / "world")
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    return ul.dissect(net, ["0", "4"], folder, quantile=0.15)


@pytest.fixture(scope="session")
def run_folder(dissection, tmp_path_factory):
    """The same, saved with its page; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    ul.report(folder, dissection)
    return folder


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def shell(capsys, tmp_path, monkeypatch):
    """The command line in this process, in a folder of its own, with every warning shown as it would be."""
    from unitlens.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with pytest.raises(SystemExit) as stopped:
                main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(stopped.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def sees(net_file):
    """What `dissect` needs to show the coloured world to the network of the file."""
    how = ("--image-size", 32, "--mean", 0, "--std", 1, "--quantile", 0.1, "--workers", 0)
    return (f"{net_file}:build", "--layer", "0", *how)
