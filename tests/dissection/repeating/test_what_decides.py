"""Each thing that a result follows from makes another question when it changes; all else does not."""

from functools import partial
from importlib.metadata import version

import pytest

from tests.dissection.repeating.conftest import kinds
from tests.dissection.repeating.test_explained_again import ATTACK, ERRORS, EXPLAIN, PAIRS, SHORTCUTS, slow

pytestmark = pytest.mark.usefixtures("scenes_drawn_once")

CENTROIDS = (*ERRORS[0], "--centroids", "classes")
NEIGHBOURS = ("ablate", "RUN", "--units", "1", "--neighbours", "classes", "--nearest", 2)
AUDIT = ("audit", "RUN")
EACH_CONCEPT = ("ablate", "RUN", "--each-concept")


def add_byte(path):
    """An image that looks the same, and is another file."""
    path.write_bytes(path.read_bytes() + b"\0")


def add_space(path):
    """A text that says the same."""
    path.write_text(path.read_text() + " ")


def add_image(path, like="0.png"):
    (path / "new.png").write_bytes((path / like).read_bytes())


def set_other_kinds(path):
    path.write_text(kinds(9))


# of each command: its words, other words, and files that it reads beside those of the run, with what changes them
QUESTIONS = [
    slow(EXPLAIN[0], EXPLAIN[3], {"photo.png": add_byte}),
    slow(ERRORS[0], ERRORS[3], {}),
    slow(ATTACK[0], ATTACK[3], {}),
    slow(SHORTCUTS[0], SHORTCUTS[3], {"kinds.csv": set_other_kinds}),
    (PAIRS[0], PAIRS[3], {"before/0.png": add_byte, "after/1.png": add_byte, "after": add_image}),
    (CENTROIDS, ("--pairs", 2), {"classes/beach/0.png": add_byte, "classes/harbour": add_image}),
    slow(NEIGHBOURS, ("--nearest", 3), {"classes/beach/0.png": add_byte, "classes/harbour": add_image}),
    slow(("ablate", "RUN", "--sweep", "--attributions"), ("--value", "mean"), {}),
    slow(EACH_CONCEPT, ("--top", 2), {}),
    slow(AUDIT, ("--noise", 0.5), {}),
]


@pytest.mark.usefixtures("ask")
@pytest.mark.parametrize(("words", "other", "files"), QUESTIONS)
def test_whatever_decides_makes_another_question(key_of, tmp_path, monkeypatch, words, other, files):
    files = {**files, "run/run.json": add_space}
    assert_whatever_decides_makes_another_question(key_of, tmp_path, monkeypatch, words, other, files)


def assert_whatever_decides_makes_another_question(key_of, folder, monkeypatch, words, other, files):
    """Of the words of a command: other options, changes of files by their paths, packages and unitlens itself."""
    first = key_of(words)
    assert first is not None
    assert key_of(words, "--threads", 1, "--quiet") == first
    seen = {first, key_of(words, *other)}
    assert len(seen) == 2
    for name, change in files.items():
        change(folder / name)
        seen.add(key_of(words))
        assert len(seen) == 3 + list(files).index(name), name
    changes = [("versions", dict), ("code_sha256", str)]
    changes += [("version", partial(other_version, package)) for package in ("scipy", *packages_of(words))]
    for name, changed in changes:
        with monkeypatch.context() as patch:
            patch.setattr(f"unitlens.dissection.repeating.answers.{name}", changed)
            key = key_of(words)
        assert key not in seen, changed
        seen.add(key)


def packages_of(words):
    """Those on which the command of these words rests, beside those on which all do."""
    command = words[0]
    of_command = {
        "explain": ("captum",),
        "attack": ("captum", "adversarial-robustness-toolbox"),
        "fit": ("scikit-learn",),
        "ablate": ("captum",) if "--attributions" in words else (),
    }
    return of_command.get(command, ())


def other_version(changed, package):
    return "0" if package == changed else version(package)
