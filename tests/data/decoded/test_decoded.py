"""Decoded images that are kept: identical bits, bounded room, nothing of killed processes, nothing of damaged files."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import unitlens as ul
from unitlens.data.batches import Batches
from unitlens.data.concepts import Concept
from unitlens.data.decoded import images as kept_images
from unitlens.data.decoded import shelf as shelves
from unitlens.data.decoded.images import NEVER
from unitlens.data.decoded.shelf import KEY, Shelf, ShelfWriter, size_of_shelves
from unitlens.data.groups import grouped
from unitlens.data.images import Encoded
from unitlens.data.reading import Reading, Subset
from unitlens.models.preprocessing import Preprocessing

FIT = Preprocessing((8, 8), None, (0.0,) * 3, (1.0,) * 3)
LOUD, QUIET = Reading(batch_size=3, progress=True), Reading(batch_size=3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test, and nothing said on the terminal."""
    monkeypatch.delenv(NEVER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unitlens" / "images"


@pytest.fixture
def folder(tmp_path):
    """Seven photos with maps of two categories, one of them without; and a small image that is not worth keeping."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels/color", "labels/object"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for image in range(7):
        size = (5, 4) if image == 6 else (20 + image, 24)
        pixels = rng.integers(0, 255, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / "images" / f"{image}.png")
        for category in ("color", "object"):
            labels = rng.integers(0, 3, size).astype(np.uint8)
            if (image, category) != (3, "color"):
                Image.fromarray(labels).save(tmp_path / "data" / "labels" / category / f"{image}.png")
    rows = [f"{category},{label},{category} {label}" for category in ("color", "object") for label in (1, 2)]
    (tmp_path / "data" / "concepts.csv").write_text("\n".join(["category,label,name", *rows]))
    return tmp_path / "data"


def read(data, reading=QUIET, *, fit=FIT, grid=(4, 4)):
    """All that batches say."""
    batches = Batches(data, fit, reading, grid=grid)
    found = [
        (batch.images.numpy().tobytes(), [(p.dtype, p.tobytes()) for p in batch.planes], batch[2:]) for batch in batches
    ]
    return found, batches.record.sha256(data.concepts)


def count_decoded(monkeypatch):
    """Files that are decoded from now on."""
    decoded = []

    def count(before):
        def counting(file, *arguments):
            decoded.append(file.path.relative_to(file.path.parents[2 if "labels" in file.path.parts else 1]))
            return before(file, *arguments)

        return counting

    monkeypatch.setattr(Encoded, "read", count(Encoded.read))
    monkeypatch.setattr(Encoded, "pixels", count(Encoded.pixels))
    return decoded


@pytest.mark.parametrize("wrapped", ["folder", "subset", "grouped"])
def test_batches_are_the_same_and_nothing_is_decoded_twice(cache, folder, monkeypatch, capfd, wrapped):
    data = ul.annotated(folder)
    if wrapped == "subset":
        data = Subset(data, [5, 1, 6])
    if wrapped == "grouped":
        data = grouped(data, [str(i % 3) for i in range(7)])
    with monkeypatch.context() as off:
        off.setenv(NEVER, "none")
        plain = read(data, LOUD)
    assert not cache.exists()
    assert read(data) == plain
    assert not cache.exists()  # nothing is kept where nothing is said
    assert read(data, LOUD) == plain
    err = capfd.readouterr().err
    assert all(part in err for part in (str(cache), f"{NEVER}=none", "MB"))
    decoded = count_decoded(monkeypatch)
    assert read(data, LOUD) == plain
    assert [str(path) for path in decoded] == ["images/6.png"]  # smaller than what is made of it
    assert str(cache) not in capfd.readouterr().err
    # another grid needs the maps again, and another size the images
    decoded.clear()
    read(data, grid=(2, 2))
    assert [str(path) for path in decoded if path.parts[0] == "images"] == ["images/6.png"]
    assert len(decoded) > len(data)
    decoded.clear()
    read(data, fit=Preprocessing((9, 8), None, (0.0,) * 3, (1.0,) * 3))
    assert sum(path.parts[0] == "images" for path in decoded) == len(data)


def test_files_that_change_are_decoded_anew(cache, folder):
    data = ul.annotated(folder)
    read(data, LOUD)
    for name in ("images/1.png", "labels/object/2.png"):
        pixels = np.array(Image.open(folder / name))
        Image.fromarray(pixels[::-1] % 3 if "labels" in name else pixels[::-1]).save(folder / name)
    again = read(data)
    with pytest.MonkeyPatch.context() as off:
        off.setenv(NEVER, "none")
        assert again == read(data)


def test_damaged_files_are_as_none(cache, folder):
    data = ul.annotated(folder)
    plain = read(data, LOUD)
    for path in cache.rglob("*.rows"):
        content = bytearray(path.read_bytes())
        content[7] ^= 255
        path.write_bytes(content)
    assert read(data) == plain
    for path in cache.rglob("*.rows"):
        path.write_bytes(path.read_bytes()[:-5])
    assert read(data) == plain
    for path in cache.rglob("*.rows"):
        path.unlink()
    assert read(data) == plain


def test_workers_take_what_is_there(cache, folder):
    data = ul.annotated(folder)
    plain = read(data, LOUD)
    assert read(data, Reading(batch_size=3, workers=1)) == plain


@pytest.mark.slow
def test_a_dissection_takes_what_is_there(cache, folder, monkeypatch):
    data = ul.annotated(folder)
    net = ul.load("bundled:scenes")
    how = {"evidence": False, "exemplars": 0, "quantile": 0.1}
    first = ul.dissect(net, "relu6", data, progress=True, **how)
    decoded = count_decoded(monkeypatch)
    again = ul.dissect(net, "relu6", data, **how)
    assert [str(path) for path in decoded if path.parts[0] == "labels"] == []
    assert again.table().equals(first.table())
    assert again.info["data"] == first.info["data"]


def test_a_pass_that_is_left_keeps_what_it_decoded(cache, folder, monkeypatch):
    data = ul.annotated(folder)
    batches = iter(Batches(data, FIT, LOUD, grid=(4, 4)))
    next(batches)
    batches.close()
    decoded = count_decoded(monkeypatch)
    read(data)
    assert {path.stem for path in decoded} == {"3", "4", "5", "6"}


def test_a_folder_that_cannot_be_written_is_done_without(cache, folder):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    data = ul.annotated(folder)
    assert read(data, LOUD) == read(data)


def key_of(number):
    return number.to_bytes(KEY, "little")


def filled(root, name, numbers, *, row_bytes=100):
    shelf = Shelf(root / name, row_bytes)
    writer = ShelfWriter(shelf, root)
    for number in numbers:
        writer.add(key_of(number), bytes([number % 256]) * row_bytes)
    writer.finish()
    return shelf


def test_rows_are_found_in_all_files(tmp_path):
    filled(tmp_path, "a", [5, 1])
    filled(tmp_path, "a", [256 + 5, (1 << 70) + 5])  # keys that begin alike
    shelf = Shelf(tmp_path / "a", 100)
    for number in (5, 1, 256 + 5, (1 << 70) + 5):
        assert shelf.get(key_of(number)) == bytes([number % 256]) * 100
    assert shelf.get(key_of((1 << 71) + 5)) is None


def test_room_is_bounded_and_what_was_used_last_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(shelves, "LARGEST", 1000)
    monkeypatch.setattr(shelves, "MOST", 3600)
    filled(tmp_path, "old", range(9))
    filled(tmp_path, "used", range(9))
    for path in (tmp_path / "old").iterdir():
        os.utime(path, (1, 1))
    filled(tmp_path, "new", range(9))
    assert Shelf(tmp_path / "used", 100).get(key_of(3)) is not None
    assert size_of_shelves(tmp_path) <= 3600
    filled(tmp_path, "new", range(10, 19))
    assert size_of_shelves(tmp_path) <= 3600
    assert list((tmp_path / "old").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from unitlens.data.decoded.shelf import Shelf, ShelfWriter
root = Path(sys.argv[1])
writer = ShelfWriter(Shelf(root / "a", 100), root)
writer.add(bytes(32), bytes(100))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed_and_not_read(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], env=environment, check=False)
    assert [path.suffix for path in (tmp_path / "a").iterdir()] == [".partial"]
    assert Shelf(tmp_path / "a", 100).get(bytes(32)) is None
    writer = ShelfWriter(Shelf(tmp_path / "b", 100), tmp_path)
    writer.add(bytes(32), bytes(100))
    other = ShelfWriter(Shelf(tmp_path / "b", 100), tmp_path)  # of a living process: its file stays
    other.add(bytes(32), bytes(100))
    assert list((tmp_path / "a").iterdir()) == []
    for each in (writer, other):
        each.finish()
    assert len(list((tmp_path / "b").glob("*.rows"))) == 2


def test_columns_that_mean_something_else_are_another_shelf(cache, folder):
    data = ul.annotated(folder)
    read(data, LOUD)
    before = len(list(cache.glob("marks-*")))
    other = [Concept("color", 1, "other"), *data.concepts[1:]]
    renamed = ul.annotated(folder)
    renamed.concepts = tuple(other)
    read(renamed, LOUD)
    assert (before, len(list(cache.glob("marks-*")))) == (1, 2)
    assert kept_images.SCHEMA == 2
