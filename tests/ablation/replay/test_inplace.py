"""A network that overwrites its values is replayed as it computes, or not trusted."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.ablation.replay.replaying import Untraced, close, made, naive_sweep, only_traced, shown, swept
from unitlens.ablation.replay.cutting import cut_network


def assigned(x):
    x[:, :2] = 0.5


def assigned_by_mask(x):
    x[x > 0.2] = 0.1


def multiplied(x):
    x[:, 1] *= 2


def twice(x):
    view = x[:, 2:]
    view.mul_(2)
    view.add_(1)


def result_written_again(x):
    x.flatten(2).neg_().transpose(1, 2)[:, :, 3].add_(1)


WRITES = {
    "a slice": lambda x: x[:, :3].mul_(3),
    "one chunk": lambda x: x.chunk(2, 1)[1].neg_(),
    "a view of a view": lambda x: x.unflatten(1, (2, 4))[:, 0].transpose(1, 2).tanh_(),
    "a function's inplace": lambda x: F.relu(x[:, 2:], inplace=True),
    "data": lambda x: x.data.mul_(2),
    "out": lambda x: torch.mul(x, 2, out=x),
    "an assignment": assigned,
    "an assignment by mask": assigned_by_mask,
    "an augmented assignment": multiplied,
    "twice into one view": twice,
    "into the result of a write": result_written_again,
}


class Writing(nn.Module):
    """Writes into memory that is read later: in front of `conv`, behind it, and from behind into what is in front."""

    def __init__(self, write, at: str) -> None:
        super().__init__()
        self.write, self.at = write, at
        self.stem, self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        early = x[:, 1:].sum((1, 2, 3)) + images.sum((1, 2, 3))
        seen = x.transpose(1, 2)  # taken before, read after
        if self.at == "front":
            self.write(x)
        y = self.conv(x)
        look = y.flatten(2)
        if self.at == "behind":
            self.write(y)
        if self.at == "across":
            x[:, 0].copy_(y[:, 1])
            self.write(x)
        joined = torch.cat([look.mean(2), seen.amax((1, 3)) + F.relu(y).mean((2, 3))], 1)
        return self.head(joined) + early[:, None]


@pytest.mark.parametrize("at", ["front", "behind", "across"])
@pytest.mark.parametrize("write", WRITES)
def test_writes_into_views_are_replayed_as_the_network_computes(write, at):
    model, images = made(lambda: Writing(WRITES[write], at)), shown()
    kept = images.clone()
    with torch.no_grad():
        expected = model(images)
    cut = cut_network(model, "conv", images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    close(state.output, expected)
    for alone in (True, False):
        close(swept(cut, state, 0.5, alone=alone), naive_sweep(model, "conv", images, 8, 0.5))
    close(cut.back(state, state.activation), expected)
    assert torch.equal(images, kept)


@pytest.mark.parametrize("at", [*(pytest.param(at, marks=pytest.mark.slow) for at in ("front", "behind")), "across"])
@pytest.mark.parametrize("write", WRITES)
def test_writes_into_views_are_recorded_as_the_network_computes(write, at):
    model, images = Untraced(made(lambda: Writing(WRITES[write], at))), shown()
    kept = images.clone()
    cut = cut_network(model, "network.conv", images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    close(swept(cut, state, 0.5), naive_sweep(model, "network.conv", images, 8, 0.5))
    close(cut.back(state, state.activation), state.output)
    assert torch.equal(images, kept)


class WritingUnseen(Writing):
    """Writes through memory that no view shows to a tracer; a pass shows it."""

    def __init__(self, at: str) -> None:
        super().__init__(lambda x: x.contiguous().mul_(3), at)


@pytest.mark.parametrize("at", ["front", "behind", "across"])
def test_a_trace_that_drops_a_write_is_not_trusted(at, monkeypatch):
    only_traced(monkeypatch)
    model, images = made(lambda: WritingUnseen(at)), shown()
    cut = cut_network(model, "conv", images)
    with torch.no_grad():
        close(cut.front(images).output, model(images))
    assert not cut.replays
    assert "off by" in cut.reason


def test_a_write_in_front_of_the_layer_is_missed_in_the_untouched_network(monkeypatch):
    only_traced(monkeypatch)
    cut = cut_network(made(lambda: WritingUnseen("front")), "conv", shown())
    assert "the outputs of the unchanged network are off by" in cut.reason


@pytest.mark.parametrize("at", [*(pytest.param(at, marks=pytest.mark.slow) for at in ("front", "behind")), "across"])
def test_a_recorded_pass_has_the_writes_that_a_trace_drops(at):
    model, images = made(lambda: WritingUnseen(at)), shown()
    cut = cut_network(model, "conv", images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    with torch.no_grad():
        close(state.output, model(images))
    close(swept(cut, state), naive_sweep(model, "conv", images, 8))
