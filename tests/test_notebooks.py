"""Every notebook of demos/ runs from top to bottom, on few images; and what is committed is small, run and whole."""

import ast
import os
import re
import shutil
import warnings
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[1] / "demos"
NOTEBOOKS = sorted(DEMOS.glob("*.ipynb"))
IMAGES = 36
MOST_BYTES = 300_000

nbformat = pytest.importorskip("nbformat", reason="nbformat reads the notebooks (pip install -e '.[dev]')")


@pytest.fixture
def demos(tmp_path):
    """A copy of the folder, so that nothing is left in it."""
    return shutil.copytree(DEMOS, tmp_path / "demos")


def ids(path):
    return path.stem


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def solution(notebook):
    """Code of the solution that is folded below the exercise, in the last cell."""
    return re.search(r"<summary>Solution</summary>\n\n```python\n(.*?)\n```", notebook.cells[-1].source, re.DOTALL)[1]


def test_cells_of_the_first_run_one_after_the_other(demos, monkeypatch):
    """In this process; in a kernel of its own, as all the others, in `make test-slow`."""
    formatters = pytest.importorskip("IPython.core.formatters", reason="IPython shows values (pip install -e '.[dev]')")
    monkeypatch.chdir(demos)
    monkeypatch.setenv("UNITLENS_DEMO_IMAGES", str(IMAGES))
    variables, show = {}, formatters.DisplayFormatter().format
    with warnings.catch_warnings():
        for cell in code_cells(nbformat.read(demos / NOTEBOOKS[0].name, as_version=4)):
            statements = ast.parse(cell.source)
            last = statements.body.pop() if isinstance(statements.body[-1], ast.Expr) else None
            exec(compile(statements, "cell", "exec"), variables)
            if last is not None:
                shown, _ = show(eval(compile(ast.Expression(last.value), "cell", "eval"), variables))
                assert shown["text/plain"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_runs_from_top_to_bottom(path, demos, monkeypatch):
    client = pytest.importorskip("nbclient", reason="nbclient runs the notebooks (pip install -e '.[dev]')")
    monkeypatch.setenv("UNITLENS_DEMO_IMAGES", str(IMAGES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(DEMOS.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(demos / path.name, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(solution(notebook)))
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(demos)}}).execute()
    cells = code_cells(notebook)
    assert all(cell.execution_count for cell in cells)
    errors = [out for cell in cells for out in cell.outputs if out.output_type == "error"]
    assert not errors


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_is_committed_with_outputs_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) / 2
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]
    assert path.stat().st_size < MOST_BYTES
    assert "UNITLENS_DEMO_IMAGES" in "".join(cell.source for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_needs_the_public_face_alone_and_ends_with_an_exercise(path):
    notebook = nbformat.read(path, as_version=4)
    for code in [*(cell.source for cell in code_cells(notebook)), solution(notebook)]:
        assert not re.findall(r"from unitlens\b.*|\bunitlens\.\w+", code), "notebooks use `ul.*`"
    assert notebook.cells[-1].source.startswith("## Exercise")
    ast.parse(solution(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_shows_no_paths_of_the_machine_that_ran_it(path):
    notebook = nbformat.read(path, as_version=4)
    said = str([cell.get("outputs") for cell in notebook.cells])
    assert "/home/" not in said
    assert "site-packages" not in said
