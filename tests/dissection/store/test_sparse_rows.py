"""Rows of which only what is not 0 is kept are the same rows."""

import os
import re
import tracemalloc
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unitlens as ul
from unitlens.dissection.store import sparse_rows
from unitlens.dissection.store.documents import LayerDocument
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.joined_rows import JoinedRows
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps
from unitlens.dissection.store.rows import RowFile, append
from unitlens.dissection.store.sparse_rows import SparseRows

SHAPE = (130, 2, 3)


def numbers(count, seed=0, filled=0.05):
    """Rows of which few numbers are not 0, and some of these are below 0, or are -0.0."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((count, *SHAPE)).astype(np.float32)
    drawn[rng.random(drawn.shape) < 0.1] = -0.0
    return np.where(rng.random(drawn.shape) < filled, drawn, np.float32(0))


def written(path, rows, batches):
    """A file of rows in batches of these sizes, read again."""
    made, start = SparseRows(path, SHAPE, np.float32), 0
    for size in batches:
        append(made, rows[start : start + size])
        start += size
    made.close()
    return SparseRows(path, SHAPE, np.float32, count=start, batches=made.batches(start), write=False)


def assert_same(rows, expected):
    assert np.array_equal(rows.view(np.int32), expected.view(np.int32))  # -0.0 is not 0.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    st.data(),
)
def test_they_are_read_as_rows_of_all_numbers_are(tmp_path_factory, batches, seed, filled, data):
    folder, count = tmp_path_factory.mktemp("rows"), sum(batches)
    every = numbers(count, seed, filled)
    start = data.draw(st.integers(0, count))
    wanted = data.draw(
        st.sampled_from([range(start, data.draw(st.integers(start, count + 2))), range(0, count, 2)])
        | st.lists(st.integers(0, count + 1), max_size=6)
    )
    first = data.draw(st.integers(0, SHAPE[0] - 1))
    part = data.draw(st.sampled_from([None, slice(64, 128), slice(first, data.draw(st.integers(first + 1, SHAPE[0])))]))
    with (
        closing(written(folder / "0.rows", every, batches)) as rows,
        closing(RowFile(folder / "plain.rows", SHAPE, np.float32)) as plain,
    ):
        append(plain, every)
        assert_same(rows.read(wanted, part), plain.read(wanted, part))
        assert rows.filled == pytest.approx(np.count_nonzero(every.view(np.int32)) / every.size)


def test_what_is_written_does_not_depend_on_the_order_in_memory(tmp_path):
    every = numbers(3)
    channels_last = np.ascontiguousarray(every.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for name, rows in (("a", every), ("b", channels_last)):
        written(tmp_path / f"{name}.rows", rows, [3]).close()
    assert (tmp_path / "a.rows").read_bytes() == (tmp_path / "b.rows").read_bytes()


def test_rows_that_do_not_count_are_gone_when_others_are_written(tmp_path):
    every, others = numbers(5), numbers(4, seed=1)
    for count, batches in ((3, 1), (4, 2)):
        made = written(tmp_path / "0.rows", every, [3, 2])
        assert made.batches(count) == batches
        made.close()
        again = SparseRows(tmp_path / "0.rows", SHAPE, np.float32, count=count, batches=batches)
        assert_same(again.read(range(6)), np.concatenate([every[:count], np.zeros((6 - count, *SHAPE), np.float32)]))
        again.put(count + 1, others)  # one is passed over
        assert_same(again.read(range(count)), every[:count])
        assert not again.read([count]).any()
        assert_same(again.read(range(count + 1, count + 5)), others)
        again.close()


@pytest.mark.parametrize("mixed", [False, True])
def test_rows_of_parts_are_joined_however_each_is_kept(tmp_path, mixed):
    every, counts = numbers(9), [3, 0, 2, 4]
    parts = [written(tmp_path / "0.rows", every[:3], [2, 1]), None, None]
    parts.append((RowFile if mixed else SparseRows)(tmp_path / "3.rows", SHAPE, np.float32))
    append(parts[3], every[5:])
    every[3:5] = 0
    joined = JoinedRows(parts, counts)
    for wanted in (range(9), range(1, 4), range(6, 8), [8, 0, 0, 4, 11], range(0, 9, 2), range(2, 2)):
        inside = [row for row in wanted if row < 9]
        for part in (None, slice(3, 70)):
            assert_same(joined.read(wanted, part)[: len(inside)], every[inside][:, part or slice(None)])
    found = joined.nonzero(range(1, 8), slice(0, 64))
    if mixed:
        assert found is None
        assert joined.nonzero(range(3), slice(0, 64)) is not None
    else:
        flat = every[1:8, :64].reshape(7, -1)
        assert_same(found.value, flat[found.row, found.place])
        assert len(found.row) == np.count_nonzero(flat.view(np.int32))
    for part in (parts[0], parts[3]):
        part.close()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda index: index[:, 0].fill(7), "batches that do not follow each other"),
        (lambda index: index[0, 1:].__setitem__(0, 1 << 50), "batches that do not follow each other"),
        (lambda index: index[1, 1:].__setitem__(slice(None), 1 << 50), "0.rows has fewer bytes"),
        (lambda index: index.__setitem__((1, 0), 5), "batches that do not follow each other"),
        # their difference is not a number of 64 bits
        (lambda index: index[0].__setitem__([1, 2], [(1 << 63) - 1, -2]), "batches that do not follow each other"),
        (lambda index: index[1, 1:].__setitem__([0, 1], [(1 << 63) - 1, -2]), "batches that do not follow each other"),
    ],
)
def test_an_index_that_is_damaged_is_a_sentence(tmp_path, damage, error):
    written(tmp_path / "0.rows", numbers(5), [3, 2]).close()
    index = np.fromfile(tmp_path / "0.batches.rows", np.int64).reshape(2, -1)
    damage(index)
    index.tofile(tmp_path / "0.batches.rows")
    with pytest.raises(ul.UnitlensError, match=error):
        SparseRows(tmp_path / "0.rows", SHAPE, np.float32, count=5, batches=2)


def swap(entries):
    entries[[0, 1]] = entries[[1, 0]]


def repeat(entries):
    entries[1] = entries[0]


def lead_out(entries):
    entries["place"][-1] = 130 * 6


def lead_into_the_next_group(entries):
    entries["place"][np.flatnonzero(np.diff(entries["place"] // (64 * 6)))[0]] = 64 * 6


def lead_far_out(entries):
    entries["place"][-1] = entries["row"][-1] = (1 << 32) - 1


@pytest.mark.parametrize("at_once", [1, 3, 1 << 18])
@pytest.mark.parametrize("damage", [swap, repeat, lead_out, lead_into_the_next_group, lead_far_out])
def test_numbers_that_are_not_in_their_order_are_a_sentence(tmp_path, monkeypatch, damage, at_once):
    monkeypatch.setattr(sparse_rows, "_AT_ONCE", at_once)
    every = numbers(5)
    with closing(written(tmp_path / "0.rows", every, [3, 2])) as rows:
        assert_same(rows.read(range(5)), every)
    kind = np.dtype([("row", "<u4"), ("place", "<u4"), ("value", "<f4")])
    entries = np.fromfile(tmp_path / "0.rows", kind)
    damage(entries)
    entries.tofile(tmp_path / "0.rows")
    part = slice(128, 130) if damage in (lead_out, lead_far_out) else slice(0, 64)
    with closing(SparseRows(tmp_path / "0.rows", SHAPE, np.float32, count=5, batches=2, write=False)) as changed:
        for read in (changed.read, changed.nonzero):
            for some in (part, slice(0, 130)):
                with pytest.raises(
                    ul.UnitlensError, match=r"store is damaged: .*0\.rows has numbers .* not in their order"
                ):
                    read(range(5), some)


def test_a_damaged_file_of_a_layer_is_said_once(tmp_path):
    maps = torch.from_numpy(numbers(4))
    with Store.create(tmp_path / "store") as store:
        layer = LayerMaps.start("layer", maps, SHAPE[1:], store)
        layer.add(ArrivingMaps.of(maps, SHAPE[1:]))
        store.commit(images=4)
        described = LayerDocument(**layer.describe())
    lows = tmp_path / "store" / "lows" / "layer.rows"
    lows.write_bytes(bytes(lows.stat().st_size))
    said = f"The store {tmp_path / 'store'} is damaged: {lows} has numbers that are not in their order."
    with Store.open(tmp_path / "store") as store, pytest.raises(ul.UnitlensError, match=f"^{re.escape(said)}$"):
        LayerMaps.reopen(described, SHAPE[1:], store, images=4)


def test_a_hole_of_the_file_is_no_numbers_and_takes_no_memory(tmp_path):
    written(tmp_path / "0.rows", numbers(5), [3, 2]).close()
    index = np.fromfile(tmp_path / "0.batches.rows", np.int64).reshape(2, -1)
    index[1, 1:] = 1 << 33
    index.tofile(tmp_path / "0.batches.rows")
    os.truncate(tmp_path / "0.rows", 12 << 33)
    with closing(SparseRows(tmp_path / "0.rows", SHAPE, np.float32, count=5, batches=2, write=False)) as changed:
        tracemalloc.start()
        with pytest.raises(ul.UnitlensError, match="not in their order"):
            changed.read(range(3, 5))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 26


def test_a_store_keeps_few_numbers_sparsely(tmp_path):
    every = numbers(4)
    with Store.create(tmp_path / "store") as store:
        rows = store.rows("maps/a", SHAPE, np.float32, filled=0.05)
        assert store.row_bytes == round(0.05 * every[0].size * 12)
        append(rows, every)
        append(store.rows("maps/b", SHAPE, np.float32, filled=0.5), every)
        store.commit(images=3)
    with Store.open(tmp_path / "store") as store:
        entry = store.manifest.rows["maps/a"]
        assert (entry.count, entry.batches, store.manifest.rows["maps/b"].batches) == (3, 1, None)
        assert_same(store.existing("maps/a").read(range(4)), np.concatenate([every[:3], np.zeros_like(every[:1])]))
    sizes = [(tmp_path / "store" / "maps" / f"{name}.rows").stat().st_size for name in "ab"]
    assert sizes[0] < 0.2 * sizes[1]
