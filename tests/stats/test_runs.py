"""Active positions as runs, and what is marked in them, against loops over positions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unitlens.stats.masks import Active
from unitlens.stats.regions import runs as runs_module
from unitlens.stats.regions.patterns import MarkTable, Patterns
from unitlens.stats.regions.runs import Runs, joined

GRIDS = st.sampled_from([(1, 1), (1, 7), (5, 1), (4, 6)])


def drawn(seed, grid, *, units=3, images=4, share=0.4):
    """Masks, (images, units, H * W), and their positions in no order, of images that begin with number 7."""
    rng = np.random.default_rng(seed)
    mask = rng.random((images, units, grid[0] * grid[1])) < share
    image, unit, position = torch.from_numpy(rng.permutation(np.argwhere(mask))).unbind(1)
    return mask, Active(unit, image + 7, position, torch.zeros(len(unit)))


@given(
    seed=st.integers(0, 999),
    grid=GRIDS,
    share=st.sampled_from([0, 0.1, 0.5, 1]),
    limits=st.sampled_from([(1, 1 << 22), (1 << 25, 1), (1 << 25, 1 << 22)]),
)
def test_runs_have_the_positions_that_they_are_made_of(seed, grid, share, limits):
    mask, active = drawn(seed, grid, share=share)
    before = runs_module._MASK_CELLS, runs_module._MOST_ROWS
    runs_module._MASK_CELLS, runs_module._MOST_ROWS = limits  # also where each image is a part of its own
    try:
        runs = Runs.of(active, 3, grid)
    finally:
        runs_module._MASK_CELLS, runs_module._MOST_ROWS = before
    images, cells = len(mask), grid[0] * grid[1]
    run, cell = runs.after(0, -7).each_position((images, 2, cells), grid[1])
    of_plane = cell.view(-1, 2).numpy()
    image, position = np.divmod(of_plane[:, 0], 2 * cells)
    found = np.zeros_like(mask)
    found[image, runs.unit[run].numpy(), position] = True
    assert np.array_equal(found, mask)
    assert (of_plane[:, 1] == of_plane[:, 0] + cells).all()
    assert len(run) == mask.sum() == runs.length.sum()
    assert (runs.start // (grid[1] + 1) == (runs.stop - 1) // (grid[1] + 1)).all()  # within a row
    order = runs.image * 3 + runs.unit
    assert (order[1:] >= order[:-1]).all()
    assert len(runs.regions()) == mask.any(2).sum()


def test_runs_of_several_blocks_stand_image_after_image():
    parts = [Runs.of(drawn(seed, (4, 6))[1], 3, (4, 6)) for seed in (1, 2)]
    together = joined([parts[0], parts[1].after(3, 0)])
    assert (together.image[1:] >= together.image[:-1]).all()
    for number, part in enumerate(parts):
        there = together.of_units(slice(3 * number, 3 * number + 3))
        assert all(torch.equal(one, other) for one, other in zip(there, part, strict=True))
    images = [image for image, _ in together.by_image()]
    assert images == sorted(set(together.image.tolist()))


@given(
    seed=st.integers(0, 999),
    grid=GRIDS,
    planes=st.integers(1, 3),
    columns=st.sampled_from([2, 9, 40_000]),
    most=st.sampled_from([1, 2, 100]),
)
def test_what_is_marked_in_regions_is_what_loops_count(seed, grid, planes, columns, most):
    rng, cells = np.random.default_rng(seed), grid[0] * grid[1]
    labels = rng.integers(0, columns, (5, planes, cells)).astype(np.int32)
    mask, active = drawn(seed, grid, images=1)
    runs = Runs.of(active, 3, grid)
    if not mask.any():
        return
    parts = [(image, part) for image, one in enumerate(labels) for part in Patterns.of(one, columns, most=most)]
    table = MarkTable.of([part for _, part in parts], grid)
    of_part = np.array([image for image, _ in parts])
    marked = table.marked(runs, runs.regions()).numpy()
    counted = np.zeros((3, 5, columns), np.int64)
    units = np.flatnonzero(mask[0].any(1))
    np.add.at(counted, (units[:, None], of_part[table.image], table.column.numpy()), marked.astype(np.int64))
    expected = np.zeros_like(counted)
    for unit, position in np.argwhere(mask[0]):
        for image in range(5):
            for label in labels[image, :, position]:
                expected[unit, image, label] += 1
    assert np.array_equal(counted, expected)


@pytest.mark.parametrize("side", [56, 640])
def test_sums_over_very_many_runs_are_exact(side):
    """Of every second cell of a fine grid, the sums of what is marked before them are beyond float32."""
    position = torch.arange(0, side * side, 2)
    nothing = torch.zeros_like(position)
    runs = Runs.of(Active(nothing, nothing, position, torch.zeros(len(position))), 1, (side, side))
    labels = np.random.default_rng(0).integers(0, 2, (1, side * side))
    table = MarkTable.of(list(Patterns.of(labels, 2, most=2)), (side, side))
    assert len(runs.unit) == len(position)
    assert table.up_to.dtype == (torch.float32 if side == 56 else torch.float64)
    marked = table.marked(runs, runs.regions())[0].tolist()
    assert marked == np.bincount(labels[0, ::2], minlength=2).tolist()


@pytest.mark.parametrize("present", [[], [0], [1, 4]])
def test_an_image_as_a_whole_is_one_position(present):
    columns = np.zeros(6, np.uint8)
    columns[present] = 1
    patterns = Patterns.of_whole(columns)
    assert patterns.columns.tolist() == present
    assert patterns.marks.tolist() == [[1.0] * len(present)]
    whole = Runs(*(torch.tensor([number], dtype=torch.int32) for number in (0, 0, 0, 1)))
    table = MarkTable.of([patterns], (1, 1))
    assert table.marked(whole, whole.regions()).sum() == len(present)
