"""A small network in which names, order and calls of layers all differ."""

import torch
from torch import nn


class Net(nn.Module):
    """Layers in another order than their names, one called twice under two names, one never, one with two outputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 5)
        self.unused = nn.Conv2d(1, 1, 1)
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.same = self.relu = nn.ReLU()
        self.pool = nn.AdaptiveMaxPool2d(1, return_indices=True)
        self.lists = nn.ModuleList([nn.Dropout(), nn.BatchNorm2d(4)])
        self.register_buffer("hidden", torch.ones(()), persistent=False)

    def forward(self, x):
        x = self.relu(self.lists[1](self.conv(x)))
        x, _ = self.pool(x)
        return self.head(self.same(x).flatten(1))
