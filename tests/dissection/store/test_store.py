import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest

import unitlens as ul
from unitlens.dissection.store import lock
from unitlens.dissection.store.folder import Store, file_of
from unitlens.dissection.store.rows import append
from unitlens.dissection.store.temporary import PREFIX, remove_left_stores, temporary_store


def numbers(count, first=0):
    return (np.arange(count * 12).reshape(count, 3, 4) + 12 * first).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A store of 2 images in a folder of its own."""
    store = Store.create(tmp_path / "store")
    append(store.rows("maps/Layer 1", (3, 4), np.float32), numbers(2))
    append(store.rows("planes", (5,), np.int16), np.arange(10).reshape(2, 5))
    store.lines.append(["one", "two"])
    store.write_document("layers", [{"name": "Layer 1"}])
    store.commit(images=2)
    store.close()
    return tmp_path / "store"


def test_a_store_is_read_back(folder):
    store = Store.open(folder)
    assert (store.manifest.images, store.manifest.complete) == (2, False)
    assert store.names == ["maps/Layer 1", "planes"]
    assert store.row_bytes == 48 + 10
    maps = store.existing("maps/Layer 1")
    assert (maps.count, maps.shape, maps.dtype) == (2, (3, 4), np.float32)
    np.testing.assert_array_equal(maps.read(range(2)), numbers(2))
    np.testing.assert_array_equal(store.rows("planes", (5,), np.int16).read([1]), [[5, 6, 7, 8, 9]])
    assert store.existing("thumbnails") is None
    assert list(store.lines) == ["one", "two"]
    assert store.document("layers") == [{"name": "Layer 1"}]
    store.close()


def test_arrays_are_those_of_the_last_commit(folder):
    values = [{"a": np.arange(3), "count": np.array(number)} for number in range(3)]
    store = Store.open(folder, write=True)
    assert store.arrays("state") is None
    for value in values:
        store.commit(images=2, arrays={"state": value})
    store._write_arrays("state", values[0])  # which no manifest names
    store.close()
    with Store.open(folder) as store:
        found = store.arrays("state")
    assert {name: (array.shape, array.tolist()) for name, array in found.items()} == {
        "a": ((3,), [0, 1, 2]),
        "count": ((), 2),
    }


def test_files_have_names(folder):
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == [
        "images.jsonl",
        "layers.json",
        "lock",
        "manifest.json",
        f"maps/{file_of('maps/Layer 1').name}",
        "planes.rows",
    ]


def test_what_was_written_after_the_manifest_does_not_count(folder):
    store = Store.open(folder, write=True)
    append(store.rows("planes", (5,), np.int16), np.ones((3, 5)))
    store.lines.append(["three"])
    store.close()
    for write in (False, True):
        again = Store.open(folder, write=write)
        assert (again.existing("planes").count, list(again.lines)) == (2, ["one", "two"])
        again.close()
    assert (folder / "planes.rows").stat().st_size == 20


def test_a_store_may_be_read_while_it_is_written_but_has_one_writer(folder):
    writer = Store.open(folder, write=True)
    Store.open(folder).close()
    with pytest.raises(ul.UnitlensError, match=f"Another process is writing the store {folder}"):
        Store.open(folder, write=True)
    writer.close()
    Store.open(folder, write=True).close()


def test_a_lock_that_a_worker_process_inherited_is_let_go_of(folder):
    held = lock.take_lock(folder)
    inherited = os.dup(held.fileno())
    lock.release_lock(held)
    lock.release_lock(lock.take_lock(folder))
    os.close(inherited)


def test_a_store_is_not_made_over_another(folder):
    with pytest.raises(ul.UnitlensError, match="has a store already"):
        Store.create(folder)


def test_layers_of_any_name_have_files_of_their_own():
    names = ["a", "A", "a b", "a_b", "a/b", "..", ".", "", "x" * 300, "x" * 301, "\udcff", "é", "con\0"]
    files = [file_of(f"maps/{name}") for name in names]
    assert len({file.as_posix().lower() for file in files}) == len(names)
    assert all(file.parent.name == "maps" and len(file.name) < 150 and file.name.isascii() for file in files)
    assert file_of("maps/layer4.0.relu").as_posix() == "maps/layer4.0.relu.rows"


def change(folder, **entries):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


SPARSE = {"shape": [5], "dtype": "<i2", "count": 2, "batches": 1}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "is not a store of unitlens"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json is not the manifest"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), r"manifest\.json is not the manifest"),
        (lambda folder: change(folder, schema=99), "of schema 99, and this version of unitlens reads schema 2"),
        (lambda folder: change(folder, more=1), r"manifest\.json is not the manifest"),
        (lambda folder: change(folder, rows={"../x": {"shape": [1], "dtype": "<f4", "count": 0}}), "not the manifest"),
        (lambda folder: change(folder, rows={"x": {"shape": [1], "dtype": "|O", "count": 0}}), "not the manifest"),
        (lambda folder: change(folder, rows={"x": {"shape": [-1], "dtype": "<f4", "count": 0}}), "not the manifest"),
        (lambda folder: change(folder, rows={"x": {"shape": [1], "dtype": "<f4", "count": 0}}), r"x\.rows .* opened"),
        (lambda folder: change(folder, rows={"planes": SPARSE | {"batches": 3}}), "not the manifest"),
        (lambda folder: change(folder, rows={"planes": SPARSE | {"shape": [0]}}), "not the manifest"),
        (lambda folder: change(folder, rows={"planes": SPARSE}), r"planes\.batches\.rows .* opened"),
        (lambda folder: os.truncate(folder / "planes.rows", 19), r"planes\.rows has fewer bytes than the 20"),
        (lambda folder: (folder / "images.jsonl").write_text('"one"\n"six"\n'), r"images\.jsonl is not what"),
        (lambda folder: (folder / "images.jsonl").unlink(), r"images\.jsonl of a store cannot be opened"),
        (lambda folder: (folder / "layers.json").write_text("[]"), r"layers\.json is not what its manifest names"),
        (lambda folder: (folder / "layers.json").unlink(), r"layers\.json is not what its manifest names"),
    ],
)
def test_a_damaged_store_is_a_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(ul.UnitlensError, match=sentence), Store.open(folder, write=True) as store:
        store.document("layers")
    (folder / "manifest.json").unlink(missing_ok=True)
    with pytest.raises(ul.UnitlensError, match="is not a store"):  # and the lock was let go of
        Store.open(folder, write=True)


def test_rows_of_another_shape_are_a_sentence(folder):
    with pytest.raises(ul.UnitlensError, match="planes has rows of another shape"), Store.open(folder) as store:
        store.rows("planes", (6,), np.int16)


# Temporary stores


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_store_without_room_is_a_sentence(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    missing = r"could not be written \(No such file or directory\).*TMPDIR"
    with pytest.raises(ul.UnitlensError, match=missing), temporary_store():
        pass


def test_a_temporary_store_is_gone_afterwards(temporary):
    with temporary_store() as store:
        assert [path.name.startswith(PREFIX) for path in temporary.iterdir()] == [True]
        maps = store.rows("maps/a", (3, 4), np.float32)
        append(maps, numbers(2))
        assert store.rows("maps/a", (3, 4), np.float32) is maps
        assert store.rows("peaks/a", (3,), np.float32) is not maps
    assert not any(temporary.iterdir())
    with pytest.raises(ValueError, match="closed"):
        maps.read([0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_temporary_store_is_gone_whatever_happens(temporary, error):
    def fail():
        with temporary_store() as store:
            append(store.rows("maps/a", (3, 4), np.float32), numbers(2))
            raise error

    with pytest.raises(error):
        fail()
    assert not any(temporary.iterdir())


def test_a_temporary_store_that_is_removed_meanwhile_is_no_error(temporary):
    with temporary_store() as store:
        for path in sorted(store.folder.rglob("*"), reverse=True):
            path.unlink()
        store.folder.rmdir()
    assert not any(temporary.iterdir())


KILLED = """
import os, signal, sys
import numpy as np
from unitlens.dissection.store.rows import append
from unitlens.dissection.store.temporary import temporary_store
with temporary_store() as store:
    append(store.rows("maps/a", (3,), np.float32), np.ones((2, 3)))
    store.commit(images=2)
    print(store.folder, flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_what_a_living_one_has_is_not(temporary):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temporary)},
        text=True,
    )
    left = process.stdout.readline().strip()
    with temporary_store() as store:
        assert {str(path) for path in temporary.iterdir()} == {left, str(store.folder)}
    process.communicate("\n")
    assert [str(path) for path in temporary.iterdir()] == [left]
    with temporary_store() as store:
        assert list(temporary.iterdir()) == [store.folder]


def leave(parent, name=f"{PREFIX}left", text=lock.TEMPORARY):
    """A store that a killed process left."""
    folder = parent / name
    (folder / "maps").mkdir(parents=True)
    (folder / "maps" / "a.rows").write_bytes(b"123")
    (folder / "lock").write_text(text)
    return folder


def test_links_in_a_left_store_are_removed_and_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("kept")
    left = leave(tmp_path)
    (left / "link").symlink_to(tmp_path / "mine")
    (left / "maps" / "link").symlink_to(tmp_path / "mine")
    remove_left_stores(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "file"]


@pytest.mark.parametrize(
    "stranger", ["lasting", "other machine", "no lock", "other name", "link", "linked lock", "user"]
)
def test_what_is_no_left_store_is_not_touched(tmp_path, monkeypatch, stranger):
    (tmp_path / "tmp").mkdir()
    folder = leave(tmp_path / ("elsewhere" if stranger == "link" else "tmp"))
    if stranger == "lasting":
        (folder / "lock").write_text(lock.LASTING)
    elif stranger == "other machine":
        (folder / "lock").write_text(f"{lock.TEMPORARY.strip()}.elsewhere\n")
    elif stranger == "no lock":
        (folder / "lock").unlink()
    elif stranger == "other name":
        folder.rename(tmp_path / "tmp" / "photos")
    elif stranger == "link":
        (tmp_path / "tmp" / f"{PREFIX}link").symlink_to(folder)
    elif stranger == "linked lock":
        (folder / "lock").rename(tmp_path / "lock")
        (folder / "lock").symlink_to(tmp_path / "lock")
    elif stranger == "user":
        monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    before = sorted(tmp_path.rglob("*"))
    remove_left_stores(tmp_path / "tmp")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_left_store_is_removed(tmp_path):
    leave(tmp_path)
    remove_left_stores(tmp_path)
    assert not any(tmp_path.iterdir())
