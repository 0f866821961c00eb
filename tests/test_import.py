"""Importing is light, and imports run one way."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "unitlens"

HEAVY = ("torchvision", "captum", "matplotlib", "pandas", "skimage", "scipy", "jinja2", "click")

_WORDS = """
    errors progress concepts colors
    scores masks statistics curves tallies counts evidence chance estimates recounting table
    preprocessing layers layouts tokens bundled weights zoo hubs building hooks listing network bases
    tracing batches cut contributions sweeps replay interventions
    pictures columns data stacking folder segments transformers_models predictors segmenters readers
    scenes sources presets
    spool sprites observed answers counting footprint observation exemplars provenance judging controls
    figures cards document views compare_columns emergence rendering runs result dissection planning
    classes outcomes effect_table random_sets effect_result holding measuring experiment effects ablation_curves
    attributions agreements uses effect_files effect_charts effect_uses effect_views page
    checked check_ceilings check_findings check_page checking
    matching entries compare_page comparison
    reopening audit_columns audit_checks audit_passes audit_page auditing
    __init__ commands cli __main__
"""
ORDER = _WORDS.split()
"""Every module of the package may import those before it. A folder counts as one, and is free of circles inside."""


def modules(package):
    """Path of each module by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def that_run(tree):
    """All nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from that_run(node)


def imported(path, known):
    """Which of the known modules a file imports, at once or when a function is called."""
    found = set()
    for node in that_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & known.keys() or {node.module}
    return found & known.keys()


def place(name):
    """The entry of ORDER that a module belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def back_arrows(package, order):
    """Imports of what stands behind, as "module -> module"; in a folder, imports that go round in a circle."""
    known = modules(package)
    known = {name: path for name, path in known.items() if place(name) in order}
    arrows = {name: imported(path, known) - {name} for name, path in known.items()}
    back = [
        f"{name} -> {other}"
        for name, others in arrows.items()
        for other in sorted(others)
        if place(other) != place(name) and order.index(place(other)) > order.index(place(name))
    ]
    inside = {name: {other for other in others if place(other) == place(name)} for name, others in arrows.items()}
    while free := [name for name, others in inside.items() if not others & inside.keys()]:
        for name in free:
            del inside[name]
    return back + [f"{name} -> {other}" for name in inside for other in sorted(inside[name] & inside.keys())]


def test_imports_run_one_way():
    assert back_arrows(PACKAGE, ORDER) == []


def test_every_module_has_its_place():
    assert len(ORDER) == len(set(ORDER))
    there = {place(name) for name in modules(PACKAGE)}
    assert there - set(ORDER) == set(), "new modules go into ORDER"
    assert set(ORDER) - there == set(), "these are gone"


def write(package, **files):
    for name, text in {"__init__": "", **files}.items():
        path = package / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


@pytest.mark.parametrize(
    ("text", "arrow"),
    [
        ("import lens.late", "lens.early -> lens.late"),
        ("from lens import late", "lens.early -> lens.late"),
        ("from lens.late import f", "lens.early -> lens.late"),
        ("def f():\n    from lens.late import f", "lens.early -> lens.late"),
        ("if True:\n    import lens.late as l", "lens.early -> lens.late"),
        ("from lens.folder.inner import f", "lens.early -> lens.folder.inner"),
        ("from lens import __version__", "lens.early -> lens"),
    ],
)
def test_the_test_sees_back_arrows(tmp_path, text, arrow):
    package = write(tmp_path / "lens", early=text, late="", folder__in____init__="", folder__in__inner="")
    assert back_arrows(package, ["early", "late", "folder", "__init__"]) == [arrow]


def test_the_test_sees_circles_in_a_folder(tmp_path):
    package = write(
        tmp_path / "lens",
        folder__in____init__="",
        folder__in__one="from lens.folder.two import f",
        folder__in__two="from lens.folder import one\nfrom lens.folder import three",
        folder__in__three="import lens.folder",
    )
    assert back_arrows(package, ["folder", "__init__"]) == [
        "lens.folder.one -> lens.folder.two",
        "lens.folder.two -> lens.folder.one",
    ]


def test_the_test_allows_what_is_right(tmp_path):
    package = write(tmp_path / "lens", early="import torch", late="from lens.early import f\nfrom lens import early")
    write(package, early="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lens.late import T")
    assert back_arrows(package, ["early", "late", "__init__"]) == []


def test_importing_is_light():
    code = (
        "import sys, time, json, torch\n"
        "before = time.process_time()\n"
        "import unitlens\n"
        "print(json.dumps([time.process_time() - before, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, loaded = json.loads(out)
    assert "torch" in loaded
    assert not set(HEAVY) & set(loaded)
    assert seconds < 5  # of processor time, about 0.3; a busy machine takes more of it too
