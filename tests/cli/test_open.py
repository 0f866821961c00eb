"""`unitlens open`: it says its address, answers there until it is stopped, and says what stands in its way."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra app)")

import unitlens as ul
from tests.worlds.generators import painted, painter

GENERATOR = "tests.worlds.generators:Painter"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A dissected generator whose units draw squares."""
    folder = tmp_path_factory.mktemp("opened") / "run"
    ul.report(folder, ul.dissect(painter(8), "layer", painted(24), exemplars=0, evidence=False))
    info = json.loads((folder / "run.json").read_text())
    info["data"] |= {"source": "latents:20,seed=0", "opened": {"concepts": ["colors"]}}  # as the shell opens them
    info["network"] |= {"name": GENERATOR, "weights": "none"}
    (folder / "run.json").write_text(json.dumps(info))
    return folder


def start(*words, cwd):
    """The command, and the address that it prints."""
    command = [sys.executable, "-c", _AS_A_SHELL, "open", *map(str, words)]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert re.fullmatch(r"open http://127\.0\.0\.1:\d+/[\w-]{32}/\n", line), line + process.stderr.read()
    return process, line.split()[1]


_AS_A_SHELL = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
from unitlens.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_at_its_address_until_it_is_stopped(run, pytestconfig, stop):
    process, address = start(run, "--network", GENERATOR, "--no-browser", "--threads", 1, cwd=pytestconfig.rootpath)
    with urllib.request.urlopen(address) as answer:
        assert b"Paint with units" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address[:-5] + "/")
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert (out.splitlines()[-1], "Traceback" in err) == ("closed", False)
    assert process.returncode == 0


def test_a_port_that_is_taken_is_a_sentence(run, shell):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = shell("open", run, "--network", GENERATOR, "--no-browser", "--port", port)
    assert said.code == 2
    assert str(port) in said.err
    assert "--port" in said.err


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("nowhere",), ["nowhere is no run", "unitlens dissect"]),
        (("run", "--layer", "layers"), ["layers", "did you mean layer"]),
        (("run", "--port", "0"), ["port", "0"]),
        (("run", "--encoder", "bundled:scenes-words"), ["have not named the units", "--words concepts --enc"]),
    ],
)
def test_what_cannot_be_opened_is_a_sentence(run, shell, words, facts):
    given = [run if word == "run" else word for word in words]
    said = shell("open", *given, *(["--network", GENERATOR] if words[0] == "run" else []), "--no-browser")
    assert said.code == 2
    assert all(fact in said.err for fact in facts)


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("--encoder", "bundled:scenes-words"), ["have not named the units", "--words concepts --encoder bundled"]),
        (("--encoder-weights", "none"), ["--encoder-weights none", "name it with --encoder"]),
    ],
)
def test_what_units_cannot_be_searched_with_is_a_sentence(run_folder, net_file, shell, words, facts):
    said = shell("open", run_folder, "--network", f"{net_file}:build", *words, "--no-browser")
    assert said.code == 2
    assert all(fact in said.err for fact in facts)


def test_a_run_whose_network_is_code_is_not_opened_unasked(run, shell):
    said = shell("open", run, "--no-browser")
    assert said.code == 2
    assert all(fact in said.err for fact in (f"import and call {GENERATOR}", "--trust"))


def test_without_the_extra_it_says_what_to_install(run, shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "unitlens.app.serving", raising=False)
    said = shell("open", run, "--network", GENERATOR)
    assert said.code == 2
    assert "pip install 'unitlens[app]'" in said.err
