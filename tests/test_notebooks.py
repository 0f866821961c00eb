"""Every notebook of demos/ runs from top to bottom, on few images; and what is committed is small, run and whole."""

import os
import shutil
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[1] / "demos"
NOTEBOOKS = sorted(DEMOS.glob("*.ipynb"))
IMAGES = 36
MOST_BYTES = 500_000

nbformat = pytest.importorskip("nbformat", reason="nbformat reads the notebooks (pip install -e '.[dev]')")


@pytest.fixture
def demos(tmp_path):
    """A copy of the folder, so that nothing is left in it."""
    return shutil.copytree(DEMOS, tmp_path / "demos")


def ids(path):
    return path.stem


# The first runs in `make test`, the others in `make test-slow`: each starts a process of its own.
@pytest.mark.parametrize(
    "path", [NOTEBOOKS[0], *(pytest.param(path, marks=pytest.mark.slow) for path in NOTEBOOKS[1:])], ids=ids
)
def test_runs_from_top_to_bottom(path, demos, monkeypatch):
    client = pytest.importorskip("nbclient", reason="nbclient runs the notebooks (pip install -e '.[dev]')")
    monkeypatch.setenv("UNITLENS_DEMO_IMAGES", str(IMAGES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(DEMOS.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(demos / path.name, as_version=4)
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(demos)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    errors = [out for cell in cells for out in cell.outputs if out.output_type == "error"]
    assert not errors


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_is_committed_with_outputs_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) / 2
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]
    assert path.stat().st_size < MOST_BYTES
    assert "UNITLENS_DEMO_IMAGES" in "".join(cell.source for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_shows_no_paths_of_the_machine_that_ran_it(path):
    notebook = nbformat.read(path, as_version=4)
    said = str([cell.get("outputs") for cell in notebook.cells])
    assert "/home/" not in said
    assert "site-packages" not in said
