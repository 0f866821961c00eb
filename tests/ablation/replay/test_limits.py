"""Where a network cannot be cut: full passes, with a reason, or a clear error."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.ablation.replay.replaying import close, made, naive_sweep, only_traced, residual, shown, swept
from unitlens.ablation.replay.cutting import cut_network
from unitlens.errors import UnitlensError


class Unforeseeable(nn.Module):
    """Control flow on values around the layer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if float(x.sum()) > 1e9:
            x = -x
        return self.head(F.relu(x).mean((2, 3)))


def test_a_network_that_decides_by_values_takes_full_passes_and_says_so():
    model, images = made(Unforeseeable), shown()
    cut = cut_network(model, "conv", images)
    assert not cut.replays
    assert cut.reason == (
        "Every intervention at conv takes a full pass of the network, as it looks at values inside (__float__), by "
        "which another pass may differ."
    )
    state = cut.front(images)
    close(swept(cut, state, 0.5), naive_sweep(model, "conv", images, 8, 0.5))
    twice = torch.cat([state.activation, torch.zeros_like(state.activation)])
    close(cut.back(state, twice)[:3], state.output)
    assert not model.conv._forward_hooks


class Peeking(nn.Module):
    """Keeps the layer's output by a function that is no view but for once, and changes it in place behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        view = x.contiguous().view(x.shape[0], 8, -1)
        x = F.relu(x, inplace=True)
        return self.head(torch.cat([view.mean(2), x.amax((2, 3))], 1))


def test_a_replay_that_disagrees_is_not_trusted_and_the_reason_says_by_how_much(monkeypatch):
    only_traced(monkeypatch)
    model, images = made(Peeking), shown()
    cut = cut_network(model, "conv", images)
    assert not cut.replays
    assert "are off by 0." in cut.reason
    assert "more than 0.0001 of it" in cut.reason
    close(swept(cut, cut.front(images)), naive_sweep(model, "conv", images, 8))


def test_a_network_that_mixes_its_images_takes_full_passes():
    model, images = made(residual), shown()
    model[1].norm = nn.BatchNorm2d(8, track_running_stats=False).eval()
    cut = cut_network(model, "1.conv1", images)
    assert not cut.replays
    close(swept(cut, cut.front(images)), naive_sweep(model, "1.conv1", images, 8))


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.unused, self.lstm = nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.LSTM(8, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).flatten(2).transpose(1, 2)
        self.unused(x)
        return self.lstm(x)[0][:, -1]


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("cnv", r"There is no layer 'cnv' in this Several \(did you mean conv\?\)"),
        ("lstm", r"lstm returned 3 tensors; choose one of lstm:0, lstm:1\.0, lstm:1\.1"),
        ("conv[1]", r"conv\[1\] was never reached in this pass"),
        ("unused", "The output of the network does not depend on what unused returns"),
    ],
)
def test_a_layer_that_cannot_be_cut_is_a_clear_error(layer, sentence):
    model = made(Several)
    with pytest.raises(UnitlensError, match=sentence):
        cut_network(model, layer, shown())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_is_called_twice_needs_a_choice():
    with pytest.raises(UnitlensError, match=r"1\.relu is called several times in one pass; choose"):
        cut_network(made(residual), "1.relu", shown())


def test_an_output_without_a_row_for_each_image_is_a_clear_error():
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": self.conv(x).sum(0)}

    with pytest.raises(UnitlensError, match="returns a dict of tensors of 8 x 10 x 10 for 2 images, not tensors with"):
        cut_network(made(Summed), "conv", shown())


def test_activations_of_another_shape_are_a_clear_error():
    cut = cut_network(made(residual), "2", shown())
    state = cut.front(shown())
    for wrong in (state.activation[:2], state.activation[:, :7]):
        with pytest.raises(UnitlensError, match=r"it must be that of 2, \(3, 8, 12, 12\), or a multiple"):
            cut.back(state, wrong)
