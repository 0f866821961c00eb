"""Batch norms are folded where nobody sees that, and nowhere else."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import unitlens as ul
from unitlens.models.fast.folding import count_norms, find_norm_pairs, fold_norms

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def settle(model):
    """Give batch norms statistics and weights of their own, and the network evaluation mode."""
    draw = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(generator=draw)
            module.running_var.uniform_(0.5, 2, generator=draw)
        for parameter in module.parameters(recurse=False):
            parameter.data.normal_(generator=draw)
    return model.eval()


class Plain(nn.Module):
    """conv -> norm, with an option on what else happens to what the convolution returned."""

    def __init__(self, *, conv=None, norm=None):
        super().__init__()
        self.conv = conv or nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = norm or nn.BatchNorm2d(4)

    def forward(self, x):
        return functional.relu(self.norm(self.conv(x)))


class ReadTwice(Plain):
    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


class ReadByMethod(Plain):
    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) * x.amax()


class ReadAsData(Plain):
    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) * x.data


class Returned(Plain):
    def forward(self, x):
        x = self.conv(x)
        return {"features": x, "out": self.norm(x)}


class Overwritten(Plain):
    def forward(self, x):
        x = self.conv(x)
        x += 1
        return self.norm(x)


class CalledTwice(Plain):
    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv(x + 1)


class OnlyAsked(Plain):
    """Asks for the shape, which reads nothing."""

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) if (x.shape[1], x.dim(), x.is_floating_point()) == (4, 4, True) and x.size(0) else None


def pairs(model, *layers):
    with ul.evaluating(model):
        return [tuple(pair) for pair in find_norm_pairs(model, layers, lambda: model(IMAGES))]


@pytest.mark.parametrize(
    "model",
    [
        Plain(),
        OnlyAsked(),
        Plain(conv=nn.Conv2d(3, 4, 3, stride=2, groups=1)),
        Plain(conv=nn.ConvTranspose2d(3, 4, 3)),
        Plain(norm=nn.BatchNorm2d(4, affine=False)),
        Plain(conv=nn.Conv2d(3, 4, 3, padding=2, padding_mode="circular")),
    ],
)
def test_a_norm_behind_a_convolution_is_folded_and_nothing_changes_but_rounding(model):
    model = settle(copy.deepcopy(model))
    assert pairs(model) == [("conv", "norm")]
    folded = copy.deepcopy(model)
    with ul.evaluating(model):
        fold_norms(folded, find_norm_pairs(model, [], lambda: model(IMAGES)))
        torch.testing.assert_close(folded(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    assert isinstance(folded.norm, nn.Identity)
    assert isinstance(model.norm, nn.BatchNorm2d)


@pytest.mark.parametrize("kind", [ReadTwice, ReadByMethod, ReadAsData, Returned, Overwritten, CalledTwice])
def test_what_somebody_else_reads_is_not_folded(kind):
    assert pairs(settle(kind())) == []


@pytest.mark.parametrize(
    ("conv", "norm"),
    [
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1)), None),
        (None, nn.BatchNorm2d(4, track_running_stats=False)),
        (None, nn.InstanceNorm2d(4)),
        (type("Own", (nn.Conv2d,), {})(3, 4, 1), None),
    ],
)
def test_what_is_not_just_a_convolution_and_a_batch_norm_is_not_folded(conv, norm):
    assert pairs(settle(Plain(conv=conv, norm=norm))) == []


def test_what_hooks_see_is_not_folded():
    model = settle(Plain())
    model.conv.register_forward_hook(lambda *args: None)
    assert pairs(model) == []


def test_a_layer_that_is_read_is_as_it_was():
    model = settle(
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    )
    assert pairs(model, "3") == [("0.0", "1"), ("2", "3")]
    assert pairs(model, "0.0", "3") == [("2", "3")]
    assert pairs(model, "0") == [("2", "3")]  # what it returns is what the convolution in it returned
    assert pairs(model, "1", "2") == [("0.0", "1")]


def test_a_norm_of_several_names_is_folded_under_all():
    model = settle(Plain())
    model.same = model.norm
    fold_norms(model, find_norm_pairs(model, [], lambda: model(IMAGES)))
    assert isinstance(model.norm, nn.Identity)
    assert isinstance(model.same, nn.Identity)


def check_folded(model):
    """A model with a norm of another package is folded, and nothing changes but rounding."""
    norm = settle(model).norm
    norm.running_mean.normal_(generator=torch.Generator().manual_seed(2))
    norm.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(3))
    before = copy.deepcopy(model)
    found = find_norm_pairs(model, ["norm"], lambda: model(IMAGES))
    assert found == [("conv", "norm")]
    assert count_norms(model) == 1
    fold_norms(model, found)
    assert count_norms(model) == 0
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), before(IMAGES), rtol=1e-4, atol=1e-5)
    return model.norm


def test_frozen_norms_of_torchvision_are_folded():
    from torchvision.ops import FrozenBatchNorm2d

    assert isinstance(check_folded(Plain(norm=FrozenBatchNorm2d(4))), nn.Identity)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["BatchNormAct2d", "FrozenBatchNormAct2d"])
def test_norms_of_timm_leave_their_activation_behind(kind):
    norm_act = pytest.importorskip("timm.layers.norm_act")
    left = check_folded(Plain(norm=getattr(norm_act, kind)(4, act_layer=nn.SiLU)))
    assert isinstance(left.act, nn.SiLU)
