"""The house: importing is light, imports run one way, and no room is overfull."""

import ast
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "unitlens"

HEAVY = ("torchvision", "captum", "matplotlib", "pandas", "skimage", "scipy", "jinja2", "click")

ORDER = (
    ("errors", "plurals"),
    ("nameless",),
    ("progress", "processes", "files", "records", "packed", "buckets", "patterns", "freed"),
    ("journal",),
    ("stats", "drawing"),
    ("tables",),
    ("models",),
    ("data",),
    ("dissection",),
    ("ablation",),
    ("comparison", "labels"),
    ("explaining", "editing"),
    ("pages", "exports"),
    ("app",),
    ("cli",),
    ("__init__", "__main__"),
)
"""Floors of the house: a package imports those of earlier floors, and nothing of its own. Rooms to come are empty."""

LONGEST_CHAIN = 16
MOST_FILES = 20
MOST_LINES = 450


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


@cache
def arrows_of(package):
    """What each module imports of the package."""
    known = modules(package)
    return {name: imported(path, known) - {name} for name, path in known.items()}


def back_arrows(package, order):
    """Imports of what does not stand before, as "module -> module", and imports that go round in a circle."""
    floor = {room: number for number, rooms in enumerate(order) for room in rooms}
    arrows = {name: others for name, others in arrows_of(package).items() if place(name) in floor}
    back = [
        f"{name} -> {other}"
        for name, others in arrows.items()
        for other in sorted(others)
        if place(other) != place(name) and floor[place(other)] >= floor[place(name)]
    ]
    inside = {name: {other for other in others if place(other) == place(name)} for name, others in arrows.items()}
    while free := [name for name, others in inside.items() if not others & inside.keys()]:
        for name in free:
            del inside[name]
    return back + [f"{name} -> {other}" for name in inside for other in sorted(inside[name] & inside.keys())]


def longest_chain(package):
    """The longest chain of modules in which each imports the next."""
    arrows = arrows_of(package)

    @cache
    def chain(name):
        return [name, *max((chain(other) for other in sorted(arrows[name])), key=len, default=[])]

    return max(map(chain, arrows), key=len)


def test_imports_run_one_way():
    assert back_arrows(PACKAGE, ORDER) == []


def test_every_module_has_its_place():
    rooms = [room for floor in ORDER for room in floor]
    assert len(rooms) == len(set(rooms))
    assert {place(name) for name in modules(PACKAGE)} - set(rooms) == set(), "new packages go into ORDER"


def test_no_chain_of_imports_is_too_long():
    chain = longest_chain(PACKAGE)
    assert len(chain) <= LONGEST_CHAIN, " -> ".join(chain)


def test_no_folder_and_no_file_is_overfull():
    roots = [PACKAGE, PACKAGE.parent / "tests", PACKAGE.parent / "benchmarks"]
    files = [path for root in roots for path in root.rglob("*.py")]
    folders = Counter(path.parent for path in files)
    assert [str(folder) for folder, count in folders.items() if count > MOST_FILES] == []
    assert [str(path) for path in files if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES] == []


def test_no_module_has_the_name_of_what_its_package_hands_on():
    for stub in PACKAGE.rglob("__init__.pyi"):
        handed_on = {alias.asname for node in ast.parse(stub.read_text()).body for alias in getattr(node, "names", ())}
        beside = {path.stem for path in stub.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
        assert handed_on & beside == set(), stub


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
        ("from lens.beside import f", "lens.early -> lens.beside"),
    ],
)
def test_the_test_sees_back_arrows(tmp_path, text, arrow):
    package = write(tmp_path / "lens", early=text, late="", beside="", folder__in____init__="", folder__in__inner="")
    assert back_arrows(package, [("early", "beside"), ("late", "folder"), ("__init__",)]) == [arrow]


def test_the_test_sees_circles_in_a_folder(tmp_path):
    package = write(
        tmp_path / "lens",
        folder__in____init__="",
        folder__in__one="from lens.folder.two import f",
        folder__in__two="from lens.folder import one\nfrom lens.folder import three",
        folder__in__three="import lens.folder",
    )
    assert back_arrows(package, [("folder",), ("__init__",)]) == [
        "lens.folder.one -> lens.folder.two",
        "lens.folder.two -> lens.folder.one",
    ]


def test_the_test_allows_what_is_right(tmp_path):
    package = write(tmp_path / "lens", early="import torch", late="from lens.early import f\nfrom lens import early")
    write(package, early="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lens.late import T")
    assert back_arrows(package, [("early",), ("late",), ("__init__",)]) == []


def test_the_test_sees_the_longest_chain(tmp_path):
    package = write(tmp_path / "lens", one="", two="import lens.one", three="import lens.one\nimport lens.two")
    assert longest_chain(package) == ["lens.three", "lens.two", "lens.one"]


def test_importing_is_light():
    code = "import sys, json\nimport unitlens\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", *HEAVY} & set(json.loads(out))


def test_what_is_handed_on_is_there():
    code = "import unitlens\nfor name in unitlens.__all__: getattr(unitlens, name)\nimport sys, json\n"
    code += "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(HEAVY) & set(json.loads(out))
