"""How strongly the next layers read each unit, beside loops over their weights."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from unitlens.models.outgoing import outgoing_weights


def generator(*behind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (4, 2, 2)), nn.ReLU(), *behind)
    return ul.generator(model, latents=16, rescale=(-1, 1))


def by_loops(reader, units, axis):
    weight = reader.weight.detach().double().numpy()
    return np.sqrt([(np.take(weight, [unit], axis) ** 2).sum() for unit in range(units)])


@pytest.mark.parametrize(
    ("reader", "axis"),
    [(nn.Conv2d(4, 3, 3, padding=1), 1), (nn.ConvTranspose2d(4, 3, 4, stride=2), 0), (nn.ConvTranspose2d(4, 3, 2), 0)],
)
@pytest.mark.parametrize("between", [(), (nn.ReLU(),), (nn.Upsample(scale_factor=2),)])
def test_each_unit_is_read_by_its_own_weights(reader, axis, between):
    found = outgoing_weights(generator(*between, reader), "1")
    assert found == pytest.approx(by_loops(reader, 4, axis))


def test_readers_in_groups_are_not_read():
    assert outgoing_weights(generator(nn.ConvTranspose2d(4, 4, 2, groups=2), nn.Conv2d(4, 3, 1)), "1") is None
