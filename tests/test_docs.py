"""What the docs name is there: files of the house, modules, and functions of the package."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import unitlens
import unitlens as ul

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "demos" / "README.md"])


def exists(dotted):
    """Whether there is a module of this name, or something in one."""
    value, name = unitlens, "unitlens"
    for part in dotted.split(".")[1:]:
        name = f"{name}.{part}"
        is_module = hasattr(value, "__path__") and find_spec(name) is not None
        value = import_module(name) if is_module else getattr(value, part, None)
        if value is None:
            return False
    return True


def of_document(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", DOCUMENTS, ids=of_document)
def test_modules_and_functions_that_are_named_are_there(path):
    for dotted in set(re.findall(r"\bunitlens(?:\.[a-z_]+)+(?:\.[A-Za-z_]+)?", path.read_text(encoding="utf-8"))):
        assert exists(dotted), f"{path.name} names {dotted}"
    for name in set(re.findall(r"\bul\.([A-Za-z_]+)", path.read_text(encoding="utf-8"))):
        assert name in ul.__all__, f"{path.name} names ul.{name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=of_document)
def test_files_that_are_named_are_there(path):
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"\b(?:unitlens|tests|benchmarks|demos|docs)/[\w/]+\.(?:py|md|ipynb|html)\b", text)):
        assert (ROOT / name).exists(), f"{path.name} names {name}"
    for link in set(re.findall(r"\]\(([^)#:]+)\)", text)):
        assert (path.parent / link).exists(), f"{path.name} links to {link}"
