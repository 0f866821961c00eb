import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import naive
from unitlens.stats.masks import Axis, SamplePlan, at_most_grid, enlarge, interpolate

SIDES = st.integers(1, 9)


def maps_of(seed, *shape):
    """Multiples of 1/16, on which arithmetic with ratios that are powers of 2 is exact."""
    return torch.randint(-16, 17, shape, generator=torch.Generator().manual_seed(seed)) / 16


@given(h=SIDES, w=SIDES, rows=SIDES, columns=SIDES, seed=st.integers(0, 99), zeros=st.booleans())
@settings(max_examples=60)
def test_upsampling_equals_the_loops(h, w, rows, columns, seed, zeros):
    maps = maps_of(seed, 1, 1, h, w)
    plan = SamplePlan((h, w), (rows, columns), "zeros" if zeros else "edges")
    expected = naive.upsample(maps[0, 0].numpy(), (rows, columns), zeros)
    np.testing.assert_allclose(plan.upsample(maps)[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "grid"), [((7, 7), (56, 56)), ((13, 13), (56, 56)), ((14, 10), (28, 30)), ((40, 9), (8, 20))]
)
def test_upsampling_equals_torch(layer, grid):
    maps = torch.randn(3, 5, *layer, generator=torch.Generator().manual_seed(0))
    # In float64: in float32 torch rounds the places of the cells, and is ten times further off than we are.
    expected = torch.nn.functional.interpolate(maps.double(), size=grid, mode="bilinear", align_corners=False)
    torch.testing.assert_close(SamplePlan(layer, grid).upsample(maps), expected.float(), atol=2e-6, rtol=0)


@given(
    seed=st.integers(0, 999),
    h=SIDES,
    w=SIDES,
    rows=SIDES,
    columns=SIDES,
    level=st.integers(-16, 16),
    zeros=st.booleans(),
)
@settings(max_examples=80)
def test_positions_above_a_level_are_those_of_the_upsampled_map(seed, h, w, rows, columns, level, zeros):
    plan = SamplePlan((h, w), (rows, columns), "zeros" if zeros else "edges")
    maps = maps_of(seed, 3, 2, h, w)
    levels = torch.tensor([level / 16, level / 32])
    active = plan.above(maps, levels)
    whole = plan.upsample(maps).flatten(2)
    expected = {(u, p, x) for p, u, x in torch.nonzero(whole > levels[:, None]).tolist()}
    found = list(zip(active.unit.tolist(), active.image.tolist(), active.position.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert torch.equal(active.value, whole[active.image, active.unit, active.position])


@given(value=st.floats(-(2.0**100), 2.0**100, width=32), h=SIDES, w=SIDES, rows=SIDES, columns=SIDES)
def test_a_constant_map_stays_constant_to_the_bit(value, h, w, rows, columns):
    maps = torch.full((1, 1, h, w), value)
    assert (SamplePlan((h, w), (rows, columns)).upsample(maps) == maps[0, 0, 0, 0]).all()


@given(seed=st.integers(0, 99), h=SIDES, w=SIDES, rows=SIDES, columns=SIDES)
def test_interpolated_values_lie_between_their_neighbours(seed, h, w, rows, columns):
    maps = torch.randn(2, 2, h, w, generator=torch.Generator().manual_seed(seed)) ** 5
    whole = SamplePlan((h, w), (rows, columns)).upsample(maps)
    assert (whole.amax((2, 3)) <= maps.amax((2, 3))).all()
    assert (whole.amin((2, 3)) >= maps.amin((2, 3))).all()


@given(seed=st.integers(0, 99), split=st.integers(1, 6))
@settings(max_examples=20)
def test_values_have_the_same_bits_in_any_batch(seed, split):
    maps = torch.randn(7, 3, 5, 4, generator=torch.Generator().manual_seed(seed))
    plan = SamplePlan((5, 4), (11, 13))
    parts = torch.cat([plan.upsample(part) for part in (maps[:split], maps[split:])])
    assert torch.equal(plan.upsample(maps), parts)


@pytest.mark.parametrize(("size", "cells"), [(1, 7), (2, 13), (7, 56), (7, 112), (5, 47), (9, 10)])
@pytest.mark.parametrize("upsampling", ["edges", "zeros"])
def test_enlarging_gives_the_bits_of_the_interpolation(size, cells, upsampling):
    maps = torch.randn(size + 2 * (upsampling == "zeros"), 3, 11, generator=torch.Generator().manual_seed(size))
    axis = Axis.between(size, cells, upsampling=upsampling)
    assert torch.equal(enlarge(maps, axis), interpolate(maps, axis, dim=0))


def test_a_layer_finer_than_the_grid_is_sampled_once():
    maps = maps_of(0, 2, 3, 16, 4)
    reduced = at_most_grid(maps, (8, 8))
    assert reduced.shape == (2, 3, 8, 4)
    twice, once = SamplePlan((8, 4), (8, 8)).upsample(reduced), SamplePlan((16, 4), (8, 8)).upsample(maps)
    assert torch.equal(twice, once)
