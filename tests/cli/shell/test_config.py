"""Options from a file: the same as typed, refused where it is wrong, and never more than data."""

import json

import pytest

import unitlens as ul


@pytest.fixture
def config(tmp_path):
    def write(text, name="run.yaml"):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.fixture
def taken(shell, net_file, world, tmp_path):
    """Dissect with options of a file; the settings that the run has."""

    def dissect(file, *more, code=0):
        said = shell(
            "dissect", f"{net_file}:build", "--config", file, "--workers", 0, "--no-evidence", "--exemplars", 0,
            "--out", "out", "--overwrite", "--quiet", *more,
        )  # fmt: skip
        assert said.code == code, said.err
        return said.err if code else json.loads((tmp_path / "out" / "run.json").read_text())

    return dissect


YAML = "layer: ['0', '4']\nimage-size: [32, 32]\nmean: 0\nstd: [1, 1, 1]\nquantile: 15e-2\nlevels: true\ndata: world\n"
TOML = (
    "layers = ['0', '4']\nimage_size = 32\nmean = [0, 0, 0]\nstd = 1\nquantile = 0.15\nlevels = true\ndata = 'world'\n"
)
JSON = json.dumps(
    {"layer": ["0", "4"], "image_size": "32x32", "mean": 0.0, "std": 1, "quantile": 0.15, "levels": True, "fdr": None}
    | {"data": "world"}
)


@pytest.mark.parametrize(("name", "text"), [("a.yaml", YAML), ("a.toml", TOML), ("a.json", JSON), ("a.yml", YAML)])
def test_options_of_a_file_are_as_typed(taken, config, name, text):
    info = taken(config(text, name))
    settings = info["settings"]
    assert (settings["layers"], settings["quantile"], settings["levels"]) == (["0", "4"], 0.15, True)
    assert info["network"]["preprocessing"]["image_size"] == [32, 32]
    assert info["network"]["preprocessing"]["std"] == [1.0, 1.0, 1.0]
    assert settings["fdr"] == 0.05


def test_the_command_line_goes_first(taken, config):
    assert taken(config(YAML), "--quantile", 0.2, "--layer", "0")["settings"]["layers"] == ["0"]


def test_the_settings_of_a_run_are_used_again(taken, run_folder, dissection, world):
    settings = taken(run_folder / "run.json", "--data", "world")["settings"]
    was = dissection.settings.to_json()
    assert {name: value for name, value in settings.items() if was[name] != value} == {
        "evidence": False,
        "exemplars": 0,
    }


@pytest.mark.parametrize(
    ("options", "name"), [({"preset": "pnas2020"}, "p"), ({"evidence": False, "seed": 3, "limit": 12}, "e")]
)
def test_a_run_of_other_settings_is_repeated(shell, net, world, tmp_path, options, name):
    result = ul.dissect(net, "0", "world", quantile=0.2, grid=(8, 16), exemplars=0, **options)
    result.save(tmp_path / name)
    said = shell("dissect", result.info["network"]["name"], "--config", f"{name}/run.json", "--out", "again", "--quiet")
    assert (said.code, said.err) == (0, "")
    again = ul.open_run(tmp_path / "again")
    assert again.settings == result.settings
    assert again.table().equals(result.table())


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("quantil: 0.1", ["run.yaml", "'quantil'", "unitlens dissect", "did you mean quantile?"]),
        ("- quantile", ["run.yaml holds no options"]),
        ("just words", ["run.yaml holds no options"]),
        ("quantile: [", ["run.yaml cannot be read as YAML", "line"]),
        ("quantile: {a: 1}", ["quantile", "a value, or a list"]),
        ("layer: [[1]]", ["layer", "a value, or a list"]),
        ("layer: '0'\nlayers: '4'", ["'layers' twice"]),
        ("quantile: 0.1\nlayer: '0'\nquantile: 0.2", ["run.yaml", "'quantile' is there twice"]),
        ('"quantile": 0.1\nquantile: 0.2', ["run.yaml", "'quantile' is there twice"]),
        ("quantile: much", ["--quantile", "'much' is not a valid float"]),
        ("levels: perhaps", ["--levels", "'perhaps' is not a valid boolean"]),
        ("config: other.yaml", ["'config'"]),
        ("model: other.py:build", ["import and call other.py:build"]),
        ("quantile: !!python/object/apply:os.system ['true']", ["--quantile"]),
    ],
)
def test_what_is_wrong_in_a_file(shell, config, tmp_path, text, facts):
    typed = [] if text.startswith("model") else ["net.py:build"]
    said = shell("dissect", *typed, "--config", config(text), "--data", "bundled:scenes")
    assert said.code == 2
    assert len(said.err.splitlines()) == 1, said.err
    assert all(fact in said.err for fact in facts), said.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("run.json", '{"quantile": 0.1, "layer": "0", "quantile": 0.2}'), ("run.toml", "quantile = 0.1\nquantile = 0.2")],
)
def test_a_key_that_is_there_twice(shell, config, name, text):
    said = shell("dissect", "net.py:build", "--config", config(text, name), "--data", "bundled:scenes")
    assert said.code == 2
    assert name in said.err
    assert "quantile" in said.err or "overwrite a value" in said.err  # tomllib names the line


@pytest.mark.parametrize(
    ("name", "facts"),
    [("no.yaml", ["There is no file no.yaml"]), ("a.txt", [".yaml, .yml, .toml, .json"]), ("a.toml", ["as TOML"])],
)
def test_files_that_hold_no_options(shell, config, name, facts):
    if not name.startswith("no"):
        config("= what", name)
    said = shell("dissect", "bundled:scenes", "--config", name)
    assert said.code == 2
    assert all(fact in said.err for fact in facts), said.err


@pytest.mark.parametrize(
    ("text", "typed", "facts"),
    [
        ("model: evil.py:f", [], ["import and call evil.py:f", "with evil.py:f"]),
        ("model: timm:resnet18", [], ["with the code of timm"]),
        ("weights: DEFAULT", ["vgg13_bn"], ["download the weights DEFAULT of vgg13_bn", "--weights DEFAULT"]),
        ("weights: w.pth", ["resnet18"], ["read w.pth with torch.load", "--weights w.pth"]),
        (
            "download: true\ndata: torchvision:voc2012",
            ["bundled:scenes"],
            ["download torchvision:", "--download"],
        ),
        (
            "concepts: ['segmenter:evil.py:f']",
            ["bundled:scenes"],
            ["import and call evil.py:f", "--concepts seg"],
        ),
    ],
)
def test_what_a_file_names_is_neither_run_nor_fetched(shell, config, tmp_path, text, typed, facts):
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\ndef f(): pass\n")
    said = shell("dissect", *typed, "--config", config(text))
    assert said.code == 2
    assert len(said.err.splitlines()) == 1, said.err
    assert all(fact in said.err for fact in ["run.yaml is a file", *facts]), said.err
    assert not (tmp_path / "ran").exists()


def test_trust_is_said_on_the_command_line(shell, config, run_folder):
    said = shell("ablate", run_folder, "--config", config("trust: true"), "--units", "0")
    assert said.code == 2
    assert "--trust" in said.err


def test_what_is_typed_may_run(taken, config, net_file):
    assert taken(config(YAML))["network"]["name"] == f"{net_file}:build"


def test_a_run_of_another_schema_is_told(shell, run_folder, tmp_path):
    info = json.loads((run_folder / "run.json").read_text()) | {"schema": 99}
    (tmp_path / "run.json").write_text(json.dumps(info))
    said = shell("dissect", "bundled:scenes", "--config", "run.json")
    assert (said.code, "is of schema 99" in said.err) == (2, True), said.err
    (tmp_path / "run.json").write_text(json.dumps(info | {"schema": 7, "data": 3}))
    assert "damaged" in shell("dissect", "bundled:scenes", "--config", "run.json").err


def test_few_lines_that_stand_for_much_text_are_refused(shell, config):
    doubled = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    nested = "layer: &a0 [b]\n" + doubled.replace("a1:", "data:", 1)
    repeated = f"weights: &long {'w' * 60_000}\nlayer: [{', '.join(['*long'] * 60_000)}]"
    for text, facts in ((nested, "data holds further lists"), (repeated, "layer stands for more than 1 MB")):
        said = shell("dissect", "bundled:scenes", "--config", config(text))
        assert said.code == 2
        assert facts in said.err


def test_a_folder_of_a_files_name_lets_no_code_run(shell, config, tmp_path):
    (tmp_path / "net.py").write_text("raise SystemExit('it was run')\n")
    (tmp_path / "net.py:build").mkdir()
    said = shell("dissect", "--config", config("model: net.py:build\ndata: bundled:scenes\nlayer: '0'\n"))
    assert said.code == 2
    assert "import and call net.py:build" in said.err


@pytest.mark.parametrize("weights", ["DEFAULT", "evil.pt"])
def test_weights_for_a_run_are_said_on_the_command_line(shell, config, run_folder, weights):
    said = shell("ablate", run_folder, "--units", "1", "--config", config(f"weights: {weights}\n"))
    assert said.code == 2
    assert f"fetch or unpickle the weights {weights}" in said.err
    assert f"--weights {weights}" in said.err


def test_that_results_are_replaced_is_said_on_the_command_line(shell, config, net_file, world, tmp_path):
    file = config(f"data: {world}\noverwrite: true\nlayer: '0'\n")
    said = shell("dissect", f"{net_file}:build", "--config", file, "--image-size", 32, "--mean", 0, "--std", 1)
    assert said.code == 2
    assert "replace what is there" in said.err
    assert "--overwrite" in said.err
