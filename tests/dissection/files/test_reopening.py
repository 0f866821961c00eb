"""Run folders as a stranger could send them: nothing that they name is run, fetched or written to."""

import json
import shlex
import shutil
import urllib.request
from pathlib import Path

import pytest
import torch

import unitlens as ul
from tests.worlds.coloured import everything_below
from unitlens.dissection.reopening import Reopening, joined_actions, joined_options

EVIL = "from pathlib import Path\n\nPath({flag!r}).write_text('imported')\n\n\ndef f(*_):\n    raise SystemExit(0)\n"

NETWORKS = {
    "a file": ("evil.py:f", None, "import and call evil.py:f"),
    "a file elsewhere, with weights": ("evil.py:f", "w.safetensors", "import and call evil.py:f"),
    "a module": ("evil:f", None, "import and call evil:f"),
    "the end of the process": ("os:abort", None, "import and call os:abort"),
    "a hanging call": ("signal:pause", None, "import and call signal:pause"),
    "a built-in function": ("builtins:breakpoint", None, "import and call builtins:breakpoint"),
    "torchvision, but not a network of it": ("torchvision.models:os.abort", None, "torchvision.models:os.abort"),
    "a module with a known name": ("evil:resnet18", None, "import and call evil:resnet18"),
    "Hugging Face's hub": ("hf:google/vit-base-patch16-224", "DEFAULT", "download the weights DEFAULT of hf:google"),
    "a folder for transformers": ("hf:evil", None, "build hf:evil with the code of transformers"),
    "timm's hub": ("timm:resnet18", "DEFAULT", "download the weights DEFAULT of timm:resnet18"),
    "weights that are not here": ("resnet18", "DEFAULT", "download the weights DEFAULT of resnet18"),
    "weights by name": ("torchvision.models:resnet50", "IMAGENET1K_V2", "download the weights IMAGENET1K_V2"),
    "a pickle": ("torchvision.models:resnet18", "evil.pt", "read evil.pt with torch.load"),
    "a pickle for the bundled network": ("bundled:scenes", "evil.pth", "read evil.pth with torch.load"),
    "colours of a terminal": ("\x1b[31mevil.py:f", None, "import and call ?[31mevil.py:f"),
}

IMAGES = {
    "a segmenter from a file": ({"concepts": ["masks", "segmenter:evil.py:f"]}, "import and call evil.py:f"),
    "a segmenter from a module": ({"concepts": ["segmenter:os:abort"]}, "import and call os:abort"),
    "a segmenter of Hugging Face": ({"concepts": ["segmenter:hf:evil"]}, "build hf:evil with the code of transf"),
    "a segmenter's weights": (
        {"concepts": ["segmenter:deeplabv3_resnet50"], "segmenter_options": {"weights": "DEFAULT"}},
        "download the weights DEFAULT of deeplabv3_resnet50",
    ),
    "a segmenter's pickle": (
        {"concepts": ["segmenter:deeplabv3_resnet50"], "segmenter_options": {"weights": "evil.pt"}},
        "read evil.pt with torch.load",
    ),
    "a data set to download": ({"download": True, "root": "anywhere"}, "download torchvision:pets"),
}

PYTHON = {
    "open_run": ul.open_run,
    "compare": ul.compare,
    "report": ul.report,
}


@pytest.fixture
def sent(run_folder, tmp_path, monkeypatch):
    """A run folder that came by mail, beside code that would leave a flag; no connection is made."""

    def fetch(*arguments, **_):
        (tmp_path / "flag").write_text(f"fetched {arguments}")
        raise OSError("no connection")

    monkeypatch.setattr(urllib.request, "urlopen", fetch)
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    monkeypatch.setattr("socket.create_connection", fetch)
    monkeypatch.setattr("socket.socket.connect", fetch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache" / "hub"))
    (tmp_path / "evil.py").write_text(EVIL.format(flag=str(tmp_path / "flag")))
    (tmp_path / "evil.pt").write_bytes(b"cos\nsystem\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(run_folder, tmp_path / "sent")

    def change(*, network=None, data=None):
        info = json.loads((folder / "run.json").read_text())
        info["network"] |= network or {}
        info["data"] |= data or {}
        (folder / "run.json").write_text(json.dumps(info))
        return folder

    return change


def untouched(tmp_path):
    """Whether nothing ran and nothing was written but pages of the run."""
    made = everything_below(tmp_path) - {"evil.py", "evil.pt", "sent", "compare"}
    return not [path for path in made if not path.startswith(("sent/", "compare/", "world"))]


def cases():
    for name, (network, weights, action) in NETWORKS.items():
        yield pytest.param({"network": {"name": network, "weights": weights}}, action, id=f"network: {name}")
    for name, (opened, action) in IMAGES.items():
        source = "torchvision:pets" if "download" in opened else "bundled:scenes"
        own = {"name": "bundled:scenes", "weights": None}
        yield pytest.param({"network": own, "data": {"source": source, "opened": opened}}, action, id=f"images: {name}")


@pytest.mark.parametrize(("change", "action"), list(cases()))
def test_what_a_run_names_is_not_run_fetched_or_unpickled(sent, shell, tmp_path, change, action):
    run = sent(**change)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for verb in (("audit", run), ("ablate", run, "--layer", "0", "--units", "1")):
        said = shell(*verb, "--workers", 0)
        assert (said.code, said.out) == (2, "")
        assert said.err.count("\n") == 1
        assert "\x1b" not in said.err
        assert action in said.err
        assert f"unitlens {verb[0]} " in said.err
        assert "--trust" in said.err
    with pytest.raises(ul.UnitlensError, match=r"(net|data)= yourself, or trust=True") as error:
        ul.audit(run)
    assert action in str(error.value)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert untouched(tmp_path)


@pytest.mark.parametrize(("network", "concepts"), [("evil.py:f", "segmenter:os:abort"), ("hf:evil", "segmenter:hf:e")])
def test_looking_at_a_run_opens_neither_network_nor_images(sent, shell, tmp_path, network, concepts):
    opened = {"concepts": [concepts], "download": True, "root": str(tmp_path / "home")}
    run = sent(network={"name": network, "weights": "DEFAULT"}, data={"source": "torchvision:pets", "opened": opened})
    for verb in (("units", run), ("report", run), ("compare", run)):
        said = shell(*verb)
        assert said.code == 0, said.err
    for look in PYTHON.values():
        look(run)
    assert untouched(tmp_path)


def test_the_code_would_have_left_its_flag(sent, shell, tmp_path):
    run = sent(network={"name": "evil.py:f"})
    said = shell("audit", run, "--trust", "--quiet")
    assert (said.code, "--trust: this will import and call evil.py:f." in said.err) == (0, True)
    assert (tmp_path / "flag").read_text() == "imported"


def test_the_refusal_says_exactly_what_to_type(sent, shell, net_file, tmp_path):
    run = sent(data={"source": str(tmp_path / "gone")})
    said = shell("audit", run, "--noise", 0, "--workers", 0)
    typed = f"unitlens audit {run} --noise 0 --workers 0"
    assert f"`{typed} --network {net_file}:build`" in said.err
    assert f"`{typed} --trust`" in said.err
    again = shlex.split(said.err.split("`")[1])[1:]
    said = shell(*again)
    assert (said.code, said.err.count("There is no folder")) == (0, 1)  # the images are gone, the network was opened


def test_names_for_a_shell_are_quoted(sent, shell):
    run = sent(network={"name": "x.py:f; touch flag", "weights": "$(touch flag).pt"})
    said = shell("audit", run)
    assert "--network 'x.py:f; touch flag' --weights '$(touch flag).pt'" in said.err


def test_trust_says_first_what_it_runs(sent, shell, net_file, world):
    info = {"source": str(world), "opened": {}}
    run = sent(data=info)
    said = shell("audit", run, "--trust", "--noise", 0, "--workers", 0, "--quiet")
    assert (said.code, said.err) == (0, f"unitlens: --trust: this will import and call {net_file}:build.\n")
    assert ul.audit(run, trust=True, noise=0).overlaps is not None
    with pytest.raises(ul.UnitlensError, match=r"import and call .*: give net= yourself, or trust=True"):
        ul.audit(run, noise=0)
    with pytest.raises(ul.UnitlensError, match="not reopened"):
        ul.audit(run, data=world, noise=0)
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    assert ul.audit(run, net, noise=0).overlaps is not None


def test_another_network_than_that_of_the_run_is_refused(sent, shell, net_file):
    run = sent()
    for verb in (("audit", run), ("ablate", run, "--layer", "0", "--units", "1")):
        said = shell(*verb, "--network", "bundled:scenes", "--workers", 0)
        assert (said.code, said.err.count("are not those of the run (their SHA-256 begins with")) == (2, 1)


def test_trust_and_network_are_for_runs(shell, net_file, world):
    said = shell("ablate", f"{net_file}:build", "--trust", "--layer", "0", "--units", "1", "--data", world)
    assert (said.code, "--trust is for a run" in said.err) == (2, True)


# ---- what is opened by itself


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        *(("bundled:scenes", weights) for weights in (None, "DEFAULT", "none", "w.safetensors")),
        *((name, "none") for name in ("resnet18", "torchvision.models:resnet18")),
        ("torchvision.models.segmentation:deeplabv3_resnet50", "w.safetensors"),
        ("ColourNet", None),  # of a module in memory: a name that nothing is found by
    ],
)
def test_unitlens_own_networks_are_no_risk(name, weights):
    assert not reopening(name=name, weights=weights).risks()


def test_published_weights_are_no_risk_once_they_are_here(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert joined_actions(reopening("resnet18", "DEFAULT").risks()) == "download the weights DEFAULT of resnet18"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(b"here")
    assert not reopening("resnet18", "DEFAULT").risks()
    assert not reopening("torchvision.models:resnet18", "IMAGENET1K_V1").risks()
    assert reopening("resnet34", "DEFAULT").risks()


def test_sources_of_concepts_that_read_plain_files_are_no_risk():
    opened = {"concepts": ["masks", "colors", "folders", "tags:words.csv"], "format": "voc", "split": "val"}
    assert not reopening(saved=opened | {"root": "somewhere"}).risks()
    own = {"concepts": ["segmenter:deeplabv3_resnet50"], "segmenter_options": {"weights": "w.safetensors"}}
    assert not reopening(saved=own).risks()


def reopening(name="bundled:scenes", weights=None, saved=None, **given):
    data = {"source": "bundled:scenes", "opened": saved or {}}
    return Reopening.of({"network": {"name": name, "weights": weights}, "data": data}, **given)


# ---- what is given again is no risk, and the rest still is


def test_what_is_given_again_takes_the_place_of_what_the_run_names():
    given = reopening("evil.py:f", "evil.pt", network="mine.py:g")
    assert (given.network, given.weights) == ("mine.py:g", "evil.pt")
    assert joined_actions(given.risks()) == "read evil.pt with torch.load"
    assert joined_options(given.risks()) == "--weights evil.pt"
    assert not Reopening.of(given.info, network="mine.py:g", weights="none").risks()
    assert Reopening.of(given.info, weights="none").risks()
    opened = {"concepts": ["segmenter:evil.py:f"], "segmenter_options": {"labels": "l.txt", "weights": "evil.pt"}}
    given = reopening(saved=opened, opened=opened)
    assert not given.risks()


def test_folders_that_a_run_names_are_never_written_to():
    opened = {"concepts": ["segmenter:fcn_resnet50"], "segmenter_options": {"cache": "/home/me", "confidence": 0.5}}
    assert reopening(saved=opened).opened["segmenter_options"] == {"confidence": 0.5}
    opened["segmenter_options"]["cache"] = "none"
    assert reopening(saved=opened).opened["segmenter_options"]["cache"] == "none"


@pytest.mark.parametrize(
    "opened",
    [
        {"unknown": 1},
        {"concepts": "segmenter:evil.py:f"},
        {"concepts": [["segmenter:evil.py:f"]]},
        {"segmenter_options": {"predictor": "evil"}},
        {"segmenter_options": {"weights": 7}},
        {"download": "yes"},
        [],
        None,
    ],
)
def test_words_that_open_no_images_are_damage(opened):
    info = {"network": {"name": "bundled:scenes", "weights": None}, "data": {"source": "x", "opened": opened}}
    with pytest.raises(ul.UnitlensError, match=r"images were opened with .*: the run is damaged"):
        Reopening.of(info)


def test_a_download_that_is_trusted_goes_to_the_cache_of_this_user(sent, monkeypatch, tmp_path):
    run = sent(
        network={"name": "bundled:scenes", "weights": None},
        data={"source": "torchvision:pets", "opened": {"download": True, "root": str(tmp_path / "home")}},
    )
    with pytest.raises(ul.UnitlensError, match="could not be downloaded into") as error:
        Reopening.of(ul.open_run(run).info).open_data(trust=True)
    assert str(tmp_path / "cache") in str(error.value)
    assert not Path("home").exists()
