"""Help comes in sections, and the shell completes what can be known without opening a network."""

import json
import re

import click
import pytest

from unitlens.cli.entry import COMMANDS, SECTIONS, cli
from unitlens.cli.shell import completion
from unitlens.cli.shell.command import FEW, Command
from unitlens.cli.shell.command import SECTIONS as OPTION_SECTIONS
from unitlens.models.bundled.opening import BUNDLED

TITLES = list(OPTION_SECTIONS)


def commands():
    return [cli.get_command(click.Context(cli), name) for name in COMMANDS]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_every_option_is_listed_once(command, shell):
    assert isinstance(command, Command)
    said = re.split(r"\n(?:What matters first|Options):\n", shell(command.name, "--help").out)[1]
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    for name in (next(name for name in option.opts if name.startswith("--")) for option in options):
        assert len(re.findall(rf"^  (?:-., )?{name}\b(?!-)", said, re.MULTILINE)) == 1, name
    names = {param.name for param in command.params}
    assert set(command.first) <= names
    assert len(command.first) <= 10


def test_sections_of_a_large_command(shell):
    said = shell("dissect", "--help").out
    places = [said.index(f"\n{title}:\n") for title in ["What matters first", *TITLES]]
    assert places == sorted(places)
    first = said[places[0] : places[1]]
    assert first.count("\n  --") == 10
    assert "--layer" in first
    assert "--mean" not in first


def test_a_small_command_has_no_sections(shell):
    said = shell("units", "--help").out
    assert "\nOptions:\n" in said
    assert "Network:" not in said
    assert FEW >= 6


def test_commands_are_listed_by_what_they_are_for(shell):
    said = shell("--help").out
    for title, names in SECTIONS.items():
        assert f"\n{title}:\n" in said
        assert all(f"\n  {name} " in said for name in names)
    assert "_UNITLENS_COMPLETE=bash_source unitlens" in said


@pytest.fixture
def completes(shell, monkeypatch):
    """What the shell would offer for the last word."""

    def complete(*words):
        monkeypatch.setenv("_UNITLENS_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["unitlens", *map(str, words)]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        said = shell()
        assert said.err == ""
        return [line.partition(",")[2] for line in said.out.splitlines() if line]

    return complete


def test_commands_and_options_are_completed(completes):
    assert completes("dis") == ["dissect"]
    assert completes("dissect", "--quan") == ["--quantile"]
    assert completes("nonsense", "--quan") == []


def test_what_is_bundled_is_completed(completes):
    assert completes("dissect", "bundled")[: len(BUNDLED)] == list(completion.BUNDLED) == list(BUNDLED)
    assert completes("dissect", "bundled:scenes", "--preset", "p") == ["pnas2020"]
    assert completes("plan", "x", "--score", "au") == ["auprc", "auroc"]
    assert completes("dissect", "x", "--control", "r") == ["rotated", "random-dictionary"]


def test_layers_and_concepts_of_a_run_are_completed(completes, run_folder):
    assert completes("units", run_folder, "--layer", "") == ["0", "4"]
    assert completes("units", run_folder, "--concept", "gr") == ["green"]
    assert completes("ablate", run_folder, "--layer", "4") == ["4"]


@pytest.mark.parametrize("content", ["[", "[1]", '{"layers": 3}', '{"data": {"concepts": [1]}}', "[" * 100_000])
def test_a_damaged_run_completes_to_nothing(completes, tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(content)
    assert completes("units", "run", "--layer", "") == []
    assert completes("units", "run", "--concept", "") == []


def test_no_name_steers_the_shell(completes, tmp_path):
    (tmp_path / "run").mkdir()
    info = {"layers": {"a\x1b]0;evil\x07": 1, "a b\nc": 1, "fine": 1}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    assert completes("units", "run", "--layer", "") == ["fine"]


def test_what_is_completed_is_what_there_is():
    from unitlens.dissection.settings import CONTROLS, PRESETS
    from unitlens.stats.scores import LEVEL_SCORES, SCORES

    assert tuple(PRESETS) == completion.PRESETS
    assert tuple(CONTROLS) == completion.CONTROLS
    assert (*SCORES, *LEVEL_SCORES) == completion.SCORES
