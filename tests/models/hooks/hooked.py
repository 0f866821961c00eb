"""A network with a bit of everything, for the tests of hooks."""

import itertools

import torch
from torch import nn


class Net(nn.Module):
    """A bit of everything: in-place operations, a module called twice, one under two names, containers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.again = self.conv2 = nn.Conv2d(4, 4, 1)
        self.unused = nn.Linear(2, 2)
        self.pack = Pack()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

    def forward(self, x, *, fail=None):
        x = self.relu(self.norm(self.conv(x)))
        x = self.relu(self.again(x))
        if fail is not None:
            raise fail
        x = self.conv2(x)
        return self.head(self.pack(x)["one"][0])


class Pack(nn.Module):
    def forward(self, x):
        return {"one": (x * 1, None), "two": [x * 2, x * 3]}


def hook_dicts(module):
    return {key: list(value.items()) for key, value in vars(module).items() if "hooks" in key and value is not None}


def state_of(model):
    return {
        "hooks": [hook_dicts(module) for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "training": [module.training for module in model.modules()],
        "tensors": {
            name: (id(t), t.clone(), t.requires_grad)
            for name, t in itertools.chain(model.named_parameters(), model.named_buffers())
        },
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def assert_as_before(before, after):
    for key in ("hooks", "attributes", "training", "grad mode"):
        assert before[key] == after[key], key
    assert before["tensors"].keys() == after["tensors"].keys()
    for name, (identity, value, needs_grad) in before["tensors"].items():
        assert after["tensors"][name][0] == identity
        assert torch.equal(after["tensors"][name][1], value), name
        assert after["tensors"][name][2] == needs_grad


class OwnError(Exception):
    pass


class Make(nn.Module):
    """Returns its input and its double in a container, through a layer."""

    def __init__(self, make):
        super().__init__()
        self.layer = nn.Module()
        self.layer.forward = make

    def forward(self, x):
        return self.layer(x)
