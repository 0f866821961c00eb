"""What the docs name is there: files of the house, modules, and functions of the package."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import unitlens
import unitlens as ul

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "benchmarks" / "README.md", ROOT / "demos" / "README.md"]
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *READMES])


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


def texts_of_the_repository():
    """Whatever could name a benchmark: pages, notebooks, code and its comments, and how things are made."""
    endings = {".py", ".md", ".ipynb", ".toml", ".txt"}
    folders = [ROOT / name for name in ("benchmarks", "demos", "docs", "tests", "unitlens")]
    files = [*(path for folder in folders for path in folder.rglob("*") if path.suffix in endings), *ROOT.glob("*.md")]
    return {path: path.read_text(encoding="utf-8") for path in [*files, ROOT / "Makefile", ROOT / "pyproject.toml"]}


def test_benchmarks_that_are_named_are_there_and_run_as_modules_so_that_they_find_each_other():
    as_a_file = re.compile("python3? " + "benchmarks/")  # in two pieces: this file is read as well
    as_a_module = re.compile(r"python3? -m (benchmarks(?:\.[a-z_]+)+)")
    named = set()
    for path, text in texts_of_the_repository().items():
        assert not as_a_file.search(text), f"{path.name} runs a benchmark as a file: write python -m"
        for module in as_a_module.findall(text):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), f"{path.name} names {module}"
            named.add(module)
    assert len(named) > 20


def test_every_benchmark_that_can_be_run_is_listed_with_its_question():
    listed = re.findall(r"^\|.*`python -m (benchmarks\.[\w.]+)", (ROOT / "benchmarks" / "README.md").read_text(), re.M)
    runnable = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in (ROOT / "benchmarks").rglob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    ]
    assert sorted(listed) == sorted(runnable)
