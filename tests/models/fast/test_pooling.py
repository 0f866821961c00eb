"""Max pooling channels last returns the same numbers, whatever the size of maps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unitlens.models.fast.pooling import Pooling, can_pool

GEOMETRY = {"kernel_size": 3, "stride": 2, "padding": 1}


@given(
    images=st.integers(0, 3),
    units=st.integers(1, 9),
    sides=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    last=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64]),
    lowest=st.sampled_from([-torch.inf, -0.0, 0.0, 0.5]),
    seed=st.integers(0, 100),
)
@settings(max_examples=80, deadline=None)
def test_it_pools(images, units, sides, last, dtype, lowest, seed):
    torch.manual_seed(seed)
    plain, maps = nn.MaxPool2d(**GEOMETRY), torch.randn(images, units, *sides).clamp(min=lowest).to(dtype)
    maps = maps.contiguous(memory_format=torch.channels_last) if last else maps
    with torch.inference_mode():
        expected, found = plain(maps), Pooling(plain)(maps)
    assert found.dtype == dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lowest", [-torch.inf, 0.0])
def test_what_is_not_finite_stays_so(dtype, lowest):
    maps = torch.randn(2, 4, 9, 9).clamp(min=lowest).to(dtype)
    maps[0, 1, 3, 3], maps[1, 2, 0, 0], maps[1, 3] = torch.nan, torch.inf, lowest
    plain = nn.MaxPool2d(**GEOMETRY)
    with torch.inference_mode():
        torch.testing.assert_close(Pooling(plain)(maps), plain(maps), rtol=0, atol=0, equal_nan=True)


def test_gradients_and_single_images_take_the_usual_way():
    plain, maps = nn.MaxPool2d(**GEOMETRY), torch.randn(2, 4, 8, 8, requires_grad=True)
    Pooling(plain)(maps).sum().backward()
    assert maps.grad is not None
    with torch.inference_mode():
        assert torch.equal(Pooling(plain)(maps[0]), plain(maps[0]))


OTHERS = {"kernel_size": 2, "stride": 1, "padding": 0, "ceil_mode": True, "return_indices": True, "dilation": 2}


@pytest.mark.parametrize("name", OTHERS)
def test_other_poolings_stay_as_they_are(name):
    assert can_pool(nn.MaxPool2d(**GEOMETRY))
    assert can_pool(nn.MaxPool2d((3, 3), (2, 2), (1, 1)))
    assert not can_pool(nn.MaxPool2d(**(GEOMETRY | {name: OTHERS[name]})))
    hooked = nn.MaxPool2d(**GEOMETRY)
    hooked.register_forward_hook(lambda module, args, output: None)
    assert not can_pool(hooked)
