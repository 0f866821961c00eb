import os
from itertools import count

import numpy as np
import pytest
import torch

import unitlens as ul
from unitlens import files as files_module
from unitlens.data.columns import Columns
from unitlens.data.reading import Unread
from unitlens.dissection.store import rows as rows_module
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps, layer_bytes
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import append
from unitlens.stats.folds import FOLDS

GRID = (4, 6)
COLUMNS = Columns.of([("object", 1, "cat"), ("object", 2, "dog"), ("part", 7, "leg")])
LAYERS = {"fine": (3, 9, 5), "Coarse": (5, 2, 2), "head": (4, 1, 1)}
BATCHES = (3, 1, 4, 2)


class Killed(BaseException):
    pass


def batch_of(first, size):
    """Names, maps and label planes of some images, which do not depend on how images are put into batches."""
    maps, planes = {layer: [] for layer in LAYERS}, []
    for image in range(first, first + size):
        rng = np.random.default_rng(image)
        for layer, shape in LAYERS.items():
            drawn = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
            if image == 4 and layer != "fine":
                drawn[1, 0, 0], drawn[2, 0, 0] = torch.nan, -torch.inf
            maps[layer].append(drawn)
        planes.append(rng.integers(0, COLUMNS.count, (2 + image % 3, GRID[0] * GRID[1])).astype(np.int16))
        planes[-1][:, 3:9] = COLUMNS.count - 1 if image % 2 else 0
    return {layer: torch.stack(drawn) for layer, drawn in maps.items()}, planes


def start(store):
    return StoredPass.start(COLUMNS, GRID, store, ious={("part", "leg"): 0.25}, of_network=["a note"])


def add(stored, size, store):
    """Add the images that follow."""
    first = stored.images
    maps, planes = batch_of(first, size)
    if not stored.layers:
        stored.layers = {name: LayerMaps.start(name, drawn, GRID, store) for name, drawn in maps.items()}
        stored.layers["fine"].layout, stored.layers["fine"].left_out = "tokens", {"class": 1}
        stored.thumbnails = store.rows("thumbnails", (2, 2, 3), np.uint8)
        stored.deviation = {"fine": 0.5}
        stored.begin()
    images = range(first, first + size)
    hashes = [2**63 + 7 * image for image in images]
    for name, layer in stored.layers.items():
        layer.add(ArrivingMaps.of(maps[name], GRID))
    stored.labels.add(planes, [hash_ % FOLDS for hash_ in hashes])
    append(stored.thumbnails, np.stack([np.full((2, 2, 3), image) for image in images]))
    stored.record.names += [f"{image}.jpg" for image in images]
    stored.record.classes += [(None, "x", 3)[image % 3] for image in images]
    stored.record.hashes += hashes
    stored.record.groups += [f"group {image // 2}" for image in images]
    stored.record.annotated += [image % 4 for image in images]
    stored.record.digests += [bytes([image] * 32) for image in images]
    stored.record.fingerprints += [bytes([image] * 80) for image in images]
    stored.record.indices += [image + (image > 2) for image in images]
    stored.record.looked_at += size
    if first < 2 <= first + size:
        stored.record.unread.append(Unread("broken.jpg", "not an image file"))
        stored.record.looked_at += 1
    stored.kept.settle()
    stored.commit()


def finish(stored):
    stored.seconds = stored.record.seconds = 1.25
    stored.commit(complete=True)


def whole_pass(store, batches=BATCHES):
    stored = start(store)
    for size in batches:
        add(stored, size, store)
    finish(stored)
    return stored


def facts_of(stored):
    """All that a pass says, as plain values."""
    images = range(stored.images)
    labels = stored.labels
    of_images = ("names", "classes", "hashes", "groups", "annotated", "digests", "fingerprints", "indices", "unread")
    facts = {name: getattr(stored.record, name) for name in (*of_images, "looked_at")}
    facts |= {name: getattr(stored, name) for name in ("notes", "of_network", "seconds", "deviation", "ious")}
    facts |= {"columns": labels.columns, "grid": labels.grid, "sha256": stored.sha256}
    arrays = {
        "planes": labels.read(images),
        "presence": labels.presence.read(images),
        "thumbnails": stored.thumbnails.read(images),
        "folds": stored.folds,
        "by fold": labels.by_fold(grid=True),
        "images by fold": labels.by_fold(grid=False),
        "judged": stored.judged(grid=True),
        "judged images": stored.judged(grid=False),
    }
    for name, layer in stored.layers.items():
        facts[name] = (layer.name, layer.layer_grid, layer.units, layer.layout, layer.left_out)
        arrays |= {f"{name} maps": layer.maps.read(images), f"{name} peaks": layer.peaks.read(images)}
        for part in ("smallest", "largest", "total", "nonfinite"):
            arrays[f"{name} {part}"] = getattr(layer, part)
    return facts | {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with Store.create(tmp_path_factory.mktemp("store") / "store") as store:
        return facts_of(whole_pass(store))


@pytest.mark.parametrize("write", [False, True])
def test_a_pass_that_is_reopened_is_the_same(tmp_path, undisturbed, write):
    with Store.create(tmp_path / "store") as store:
        whole_pass(store)
    with Store.open(tmp_path / "store", write=write) as store:
        assert store.manifest.complete
        assert facts_of(StoredPass.reopen(store)) == undisturbed


def test_batches_of_any_size_leave_the_same(tmp_path, undisturbed):
    with Store.create(tmp_path / "store") as store:
        assert facts_of(whole_pass(store, [1] * sum(BATCHES))) == undisturbed


def test_activations_that_are_not_finite_are_counted_and_0(tmp_path):
    with Store.create(tmp_path / "store") as store:
        layer = whole_pass(store).layers["Coarse"]
        assert layer.nonfinite.tolist() == [0, 1, 1, 0, 0]
        assert layer.maps.read([4])[0, 1:3, 0, 0].tolist() == [0, 0]


def test_the_bytes_of_a_layer_are_known_before(tmp_path):
    with Store.create(tmp_path / "store") as store:
        stored = whole_pass(store)
        size = stored.labels.planes.row_bytes + stored.labels.presence.row_bytes + stored.thumbnails.row_bytes
        size += sum(layer_bytes(layer.units, layer.layer_grid, GRID) for layer in stored.layers.values())
        further = sum(rows.row_bytes for rows in stored.labels.further)
        nonfinite = sum(store.existing(f"nonfinite/{layer}").row_bytes for layer in ("Coarse", "head"))
        assert nonfinite < 4 * (5 + 4)  # only what is not 0 is kept
        assert store.row_bytes == size + further + nonfinite


@pytest.mark.parametrize("grid", [(1, 1), (7, 7), (20, 20)])
def test_sums_do_not_depend_on_how_maps_lie_in_memory(grid):
    maps = torch.randint(-64, 64, (3, 40, *grid)) / 16
    units_last = maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    expected = maps.double().sum((2, 3))
    for laid_out in (maps, units_last):
        assert torch.equal(ArrivingMaps.of(laid_out, GRID).arrived.tensors()[2], expected)


def kill_at(step, monkeypatch, *, torn):
    """Let the write of one number be the last, half done or not done at all."""
    steps, write, replace = count(), os.pwrite, os.replace

    def pwrite(file, content, offset):
        if next(steps) == step:
            if torn:
                write(file, content[: len(content) // 2], offset)
            raise Killed
        return write(file, content, offset)

    def replaced(source, target):
        if next(steps) == step:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(rows_module.os, "pwrite", pwrite)
    monkeypatch.setattr(files_module.os, "replace", replaced)


def attempt(folder):
    """Begin a pass or go on with it, until it is done or killed; whether it was done."""
    store = None
    try:
        there = (folder / "manifest.json").exists()
        store = Store.open(folder, write=True) if there else Store.create(folder)
        going = bool(store.manifest.images)
        stored = StoredPass.reopen(store) if going else start(store)
        before = stored.images
        ends = np.cumsum(BATCHES)
        assert before in {0, *ends}
        for size in np.diff([before, *ends[ends > before]]):
            add(stored, int(size), store)
        finish(stored)
    except Killed:
        return None
    else:
        return facts_of(stored)
    finally:
        if store is not None:
            store.close()


KILLED = [(False, 0, 2), (True, 1, 2), *(pytest.param(torn, 0, 1, marks=pytest.mark.slow) for torn in (False, True))]


@pytest.mark.parametrize(("torn", "first", "by"), KILLED)
def test_a_pass_that_is_killed_at_any_write_and_gone_on_with_is_the_same(
    tmp_path, monkeypatch, undisturbed, torn, first, by
):
    seen = set()
    for step in count(first, by):
        folder = tmp_path / str(step)
        with monkeypatch.context() as patch:
            kill_at(step, patch, torn=torn)
            done = attempt(folder)
        if done is not None:
            break
        if not (folder / "manifest.json").exists():
            continue
        with Store.open(folder) as store:  # what is counted is true
            seen.add(images := store.manifest.images)
            if images:
                stored = StoredPass.reopen(store)
                for name, layer in stored.layers.items():
                    maps = torch.where((m := batch_of(0, images)[0][name]).isfinite(), m, 0.0)
                    assert layer.maps.count == images
                    np.testing.assert_array_equal(layer.peaks.read(range(images)), maps.flatten(2).amax(2).numpy())
        assert attempt(folder) == undisturbed
    assert done == undisturbed
    assert seen | {10} == {0, 3, 4, 8, 10}  # of the last state there is one write alone
    assert step > 60


def test_a_pass_without_images_cannot_be_reopened(tmp_path):
    with Store.create(tmp_path / "store") as store:
        start(store)
        store.commit(images=0)
    with (
        Store.open(tmp_path / "store") as store,
        pytest.raises(ul.UnitlensError, match="stopped before the first"),
    ):
        StoredPass.reopen(store)
