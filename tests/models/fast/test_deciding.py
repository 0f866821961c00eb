"""A network that may call a layer once more, by the values of tensors, gets whole passes."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from unitlens.models.activations import Readout, reader
from unitlens.models.fast.ending import EndingPasses

MANY = 100
"""Values of the images below are smaller, but for those that are to be convolved again."""


class Repeating(nn.Module):
    """Calls its convolution until its own code sees small values."""

    def __init__(self, are_large):
        super().__init__()
        self.conv, self.head, self.are_large = nn.Conv2d(3, 3, 1), nn.Linear(3, 2), are_large
        with torch.no_grad():
            self.conv.weight.copy_(0.5 * torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()

    def forward(self, x):
        x = self.conv(x)
        while self.are_large(x):
            x = self.conv(x)
        return self.head(x.mean((2, 3)))


LOOKS = {
    "bool": lambda x: x.max() > MANY,
    "any": lambda x: bool((x > MANY).any()),
    "item": lambda x: x.max().item() > MANY,
    "float": lambda x: float(x.max()) > MANY,
    "int": lambda x: int(x.max()) > MANY,
    "complex": lambda x: complex(x.max()).real > MANY,
    "index": lambda x: (False, True)[(x > MANY).any().long()],
    "tolist": lambda x: max(x.flatten().tolist()) > MANY,
    "numpy": lambda x: x.max().numpy() > MANY,
    "array": lambda x: np.asarray(x).max() > MANY,
    "max": lambda x: max(x.flatten()) > MANY,
    "equal": lambda x: not torch.equal(x, x.clamp(max=MANY)),
    "allclose": lambda x: not torch.allclose(x, x.clamp(max=MANY)),
    "contains": lambda x: True in (x > MANY),
    "is_nonzero": lambda x: torch.is_nonzero((x > MANY).any()),
    "nonzero": lambda x: len((x > MANY).nonzero()) > 0,
    "where": lambda x: len(torch.where(x > MANY)[0]) > 0,
    "masked_select": lambda x: len(x.masked_select(x > MANY)) > 0,
    "bincount": lambda x: len(torch.bincount((x > MANY).long().flatten())) > 1,
    "repeat_interleave": lambda x: len(x.flatten().repeat_interleave((x > MANY).long().flatten())) > 0,
    "mask": lambda x: len(x[x > MANY]) > 0,
    "mask of rows": lambda x: len(x[(x > MANY).any((1, 2, 3)), 0]) > 0,
    "unique_consecutive": lambda x: len(torch.unique_consecutive(x > MANY)) > 1,
    "unique": lambda x: len(torch.unique(x > MANY)) > 1,
}


def net_of(model):
    return ul.classifier(model.eval(), image_size=4, mean=(0, 0, 0), std=(1, 1, 1))


def images(largest):
    batch = torch.full((2, 3, 4, 4), 1.0)
    batch[0, 0, 0, 0] = largest
    return batch


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.filterwarnings("ignore:.*__array__ implementation doesn't accept a copy keyword")
def test_a_layer_that_is_called_again_in_a_later_batch_gets_the_sentence_of_a_whole_pass(look):
    net = net_of(Repeating(LOOKS[look]))
    read = reader(net, Readout(("conv",)), outputs=False)
    with ul.evaluating(net.model):
        for _ in range(3):
            assert read(images(1)).maps["conv"].max() == 0.5
        with pytest.raises(ul.UnitlensError, match=r"conv is called 2 times in one pass; choose one call: conv\[0\]"):
            read(images(3 * MANY))


class Attending(nn.Module):
    """PyTorch computes attention in one go where nobody watches, with other rounding."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True)
        self.patches, self.encoder = nn.Conv2d(3, 16, 2, stride=2), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.filterwarnings("ignore:.*nested_tensor")
@pytest.mark.parametrize("tap", ["output", "after_inplace"])
def test_the_first_batch_is_computed_like_all_others(tap):
    torch.manual_seed(0)
    model = Attending().eval()
    run = EndingPasses(model, ["encoder.layers.1"], tap=tap)
    batch = torch.randn(8, 3, 16, 16)
    with ul.evaluating(model):
        first, second = (run(batch)[0]["encoder.layers.1"].clone() for _ in range(2))
    assert run.whole is False
    assert torch.equal(first, second)


class Writing(nn.Sequential):
    """Writes to what it is given."""

    def forward(self, x):
        return super().forward(x.mul_(2))


def test_what_is_given_is_written_to_by_the_passes_alone():
    model = Writing(nn.Conv2d(3, 2, 1), nn.Flatten()).eval()
    run, batch = EndingPasses(model, ["0"]), images(1)
    with ul.evaluating(model):
        run(batch)
    assert torch.equal(batch, 2 * images(1))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("tap", ["output", "after_inplace"])
def test_scripted_parts_behind_the_layer_are_no_obstacle(tap):
    class Part(nn.Module):
        def forward(self, x):
            return x.flatten(1) if bool(x.max() > 100) else x.flatten(1) * 2

    net = net_of(nn.Sequential(nn.Conv2d(3, 2, 1), torch.jit.script(Part())))
    read = reader(net, Readout(("0",), tap), outputs=False)
    with ul.evaluating(net.model):
        assert torch.equal(*(read(images(1)).maps["0"].clone() for _ in range(2)))


def test_a_network_that_cannot_be_watched_gets_whole_passes():
    class Single(nn.Sequential):
        def forward(self, x):
            assert len(x) > 1
            return super().forward(x)

    model = Single(nn.Conv2d(3, 2, 1), nn.Flatten()).eval()
    run = EndingPasses(model, ["0"])
    with ul.evaluating(model):
        assert [run(images(1))[1] is None for _ in range(2)] == [False, False]
    assert run.whole
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Guarded(nn.Module):
    """A part of it looks at values, which cannot call what is not in it."""

    class Check(nn.Module):
        def forward(self, x):
            assert bool(torch.isfinite(x).all())
            return x

    def __init__(self):
        super().__init__()
        self.check, self.conv, self.head = self.Check(), nn.Conv2d(3, 2, 1), nn.Linear(2, 2)

    def forward(self, x):
        if x.shape[0] > 1000 or not x.is_floating_point() or len(x) == 0:
            raise ValueError(x.shape)
        return self.head(self.check(self.conv(self.check(x))).mean((2, 3)))


@pytest.mark.parametrize(("layers", "whole"), [(["conv"], False), (["conv", "check[0]"], False), (["check[1]"], False)])
def test_parts_that_cannot_call_the_layer_may_look_at_values(layers, whole):
    model = Guarded().eval()
    run = EndingPasses(model, layers)
    with ul.evaluating(model):
        ended = [run(images(1))[1] is None for _ in range(3)]
    assert run.whole is whole
    assert ended == [False, not whole, not whole]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_module_around_the_layer_counts_and_a_failed_pass_leaves_no_hook():
    inner = Repeating(lambda x: x.max() > MANY)
    model = nn.Sequential(nn.Identity(), inner).eval()
    for layer, whole in (("1.conv", True), ("0", False)):
        run = EndingPasses(model, [layer])
        with ul.evaluating(model):
            run(images(1))
            run(images(1))
        assert run.whole is whole, layer
    inner.head = nn.Linear(7, 2)
    run = EndingPasses(model, ["1.conv"])
    with ul.evaluating(model), pytest.raises(RuntimeError):
        run(images(1))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
