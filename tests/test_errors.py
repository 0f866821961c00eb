"""Sentences name what their reader can change: Python's arguments in Python, options in the shell."""

import ast
import re
from pathlib import Path

import pytest

import unitlens as ul
from unitlens.errors import UnitlensError, UnitlensWarning, argument, shell_sentences, spelled

PACKAGE = Path(__file__).parents[1] / "unitlens"


def test_an_argument_is_named_as_the_reader_gives_it():
    assert argument("batch_size") == "batch_size="
    assert argument("download", True) == "download=True"
    assert argument("weights", "DEFAULT") == "weights='DEFAULT'"
    with shell_sentences():
        assert argument("batch_size") == "--batch-size"
        assert argument("download", True) == "--download"
        assert argument("evidence", False) == "--no-evidence"
        assert argument("weights", "DEFAULT", option="--segmenter-weights") == "--segmenter-weights DEFAULT"
        assert spelled(python="net.layers()", shell="`unitlens layers`") == "`unitlens layers`"
    assert argument("batch_size") == "batch_size="


def test_no_error_or_warning_steers_the_terminal():
    for kind in (UnitlensError, UnitlensWarning):
        assert str(kind("There is no \x1b]0;evil\x07é\N{NO-BREAK SPACE}\u202e.\nTry\udce9.")) == (
            "There is no ?]0;evil?é\N{NO-BREAK SPACE}?.\nTry?."
        )


def test_the_shell_is_left_when_an_error_ends_it():
    with pytest.raises(UnitlensError), shell_sentences():
        raise UnitlensError("Nothing.")
    assert argument("limit") == "limit="


def test_one_error_names_python_here_and_options_in_the_shell(shell):
    with pytest.raises(UnitlensError) as caught:
        ul.load("resnet18")
    assert "weights='DEFAULT'" in str(caught.value)
    assert "--" not in str(caught.value)
    answer = shell("plan", "resnet18", "--data", "bundled:scenes")
    assert "--weights DEFAULT" in answer.err
    assert "weights=" not in answer.err


def sentences(tree):
    """Text of several words that is not a docstring and not in a call of `argument` or `spelled`."""
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    spelling = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in SPELLING]
    documented |= {id(part) for call in spelling for part in ast.walk(call)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [text for text in texts if id(text) not in documented and " " in text.value]


SPELLING = ("argument", "spelled")


def test_no_sentence_outside_of_the_shell_names_an_option():
    named = [
        f"{path.relative_to(PACKAGE)}:{text.lineno}: {text.value}"
        for path in PACKAGE.rglob("*.py")
        if not {"cli", "scenes"} & set(path.relative_to(PACKAGE).parts) and path.name != "errors.py"
        for text in sentences(ast.parse(path.read_text(encoding="utf-8")))
        if re.search(r"(^|[ (])--[a-z]", text.value)
    ]
    assert named == []
