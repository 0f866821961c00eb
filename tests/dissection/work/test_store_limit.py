"""What a store may take on disk holds for all images, whatever the first ones look like."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.dissection.work.small_world import assert_same, commit_always
from tests.worlds.planted import InMemory, lookup
from unitlens.dissection.store.layers import ArrivingMaps, Filled, LayerMaps
from unitlens.dissection.store.limit import PassesBeside, StoreLimit
from unitlens.dissection.store.sparse_rows import SparseRows
from unitlens.dissection.store.temporary import temporary_store

IMAGES, FIRST, UNITS = 24, 8, 16
OPTIONS = {"grid": 8, "batch_size": FIRST, "quantile": 0.05, "exemplars": 0, "evidence": False}
WHOLE = IMAGES * (UNITS * (4 * 64 + 16) + 2 * 64)
"""Bytes of maps of 8 x 8 of all images, with peaks and labels, at least."""

WORLD = InMemory([{"object": [np.full((16, 16), n % 2)]} for n in range(IMAGES)], [ul.Concept("object", 1, "odd")])


def network(first):
    """A network whose maps are 0 nearly everywhere on the first images, and nowhere on all others."""
    maps = np.random.default_rng(0).random((IMAGES, UNITS, 8, 8), np.float32) + 1
    maps[:FIRST] = 0
    if first == "little":
        maps[:FIRST, 0, 0, :4] = 1
    elif first == "one image":
        maps[0, :4] = 1
    return lookup(maps)


@pytest.mark.parametrize("first", ["nothing", "little", "one image"])
def test_first_images_that_are_0_do_not_pass_the_limit(first):
    said = f"The store needs .* for {IMAGES} images, more than the .* allowed .*: choose fewer .* or raise store_limit="
    with pytest.raises(ul.UnitlensError, match=said):
        ul.dissect(network(first), "layer", WORLD, **OPTIONS, store_limit=WHOLE // 2)


def test_what_was_kept_until_it_took_too_much_goes_on_with_a_higher_limit(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    net = network("little")
    with pytest.raises(ul.UnitlensError, match="The store needs") as refused:
        ul.dissect(net, "layer", WORLD, **OPTIONS, checkpoint=tmp_path / "kept", store_limit=WHOLE // 2)
    assert refused.value.__notes__ == [
        f"Kept up to image {2 * FIRST} of {IMAGES}: the same call with the same checkpoint= goes on from there."
    ]
    with pytest.raises(ul.UnitlensError, match="The store needs"):  # at once
        ul.dissect(net, "layer", WORLD, **OPTIONS, checkpoint=tmp_path / "kept", store_limit=WHOLE // 2)
    went_on = ul.dissect(net, "layer", WORLD, **OPTIONS, checkpoint=tmp_path / "kept", store_limit=8 * WHOLE)
    assert_same(went_on, ul.dissect(net, "layer", WORLD, **OPTIONS))


def test_a_control_that_takes_more_than_the_network_is_checked_with_what_is_there(tmp_path):
    maps = np.zeros((IMAGES, UNITS, 8, 8), np.float32)
    of_cells = np.random.default_rng(0).integers(0, UNITS, (IMAGES, 8, 8))
    np.put_along_axis(maps, of_cells[:, None], 1.0, axis=1)  # one unit at each position; rotated, all of them
    how = {**OPTIONS, "evidence": True, "control": "rotated"}
    said = f"for {IMAGES} images in 2 passes, more than the .* allowed .*fewer controls .*control=.* or raise store_lim"
    with pytest.raises(ul.UnitlensError, match=said) as refused:  # either pass alone would fit
        ul.dissect(lookup(maps), "layer", WORLD, **how, checkpoint=tmp_path / "kept", store_limit=int(1.1 * WHOLE))
    assert refused.value.__notes__
    kept = ul.dissect(lookup(maps), "layer", WORLD, **how, checkpoint=tmp_path / "kept", store_limit=2 * WHOLE)
    assert_same(kept, ul.dissect(lookup(maps), "layer", WORLD, **how))  # one after the other, each gone before the next
    ul.dissect(lookup(maps), "layer", WORLD, **how, store_limit=int(1.1 * WHOLE))


@pytest.mark.parametrize(("room", "end"), [(2000, r"or raise store_limit=\."), (900, r"or free some disk\.")])
def test_a_higher_limit_is_proposed_where_the_disk_has_room(room, end, tmp_path):
    store = SimpleNamespace(folder=tmp_path, row_bytes=100)
    StoreLimit(store, 10, PassesBeside(), allowed=1000, free=room, room=room).check()
    with pytest.raises(ul.UnitlensError, match=rf"The store needs 1 kB for 10 images, .* {end}$"):
        StoreLimit(store, 10, PassesBeside(), allowed=999, free=room, room=room).check()


def test_images_of_which_all_is_0_tell_nothing():
    maps = torch.zeros(4, 10, 2, 2)
    assert Filled.of(maps) == Filled(1.0, 1.0, 1.0)
    assert not Filled.of(maps).few
    maps[1, :2] = 1
    maps[2, 0, 0, 0] = -1
    found = Filled.of(maps)
    assert (found.positions, found.images, found.whole) == pytest.approx(((8 + 1) / 80, (2 + 1) / 20, 2 / 20))


def test_minus_zero_counts_as_what_is_kept():
    maps = torch.full((4, 10, 2, 2), -0.0)
    assert Filled.of(maps) == Filled(1.0, 1.0, 1.0)
    maps[:, 1:] = 0.0
    assert Filled.of(maps).positions == pytest.approx(0.1)
    maps[:, 1, 0, 0] = 1
    with temporary_store() as store:
        assert not isinstance(LayerMaps.start("layer", maps, (8, 8), store).maps, SparseRows)


def test_numbers_that_are_not_finite_take_little_more():
    maps = torch.zeros(4, 64, 2, 2)
    maps[:, 0] = 1
    with temporary_store() as store:
        layer = LayerMaps.start("layer", maps, (8, 8), store)
        layer.add(ArrivingMaps.of(maps, (8, 8)))
        before = store.row_bytes
        maps[3, 5, 0, 0] = torch.inf
        layer.add(ArrivingMaps.of(maps, (8, 8)))
        assert before < store.row_bytes < 1.2 * before
        assert layer.nonfinite.tolist() == [int(unit == 5) for unit in range(64)]
