"""A world of coloured blocks whose colour is their label, and networks that see it."""

import os

import numpy as np
from PIL import Image

COLOURS = np.array([[90, 90, 90], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
CONCEPTS = "category,label,name\ncolor,1,red\ncolor,2,green\ncolor,3,blue\n"

NET = """
import time

import torch
from torch import nn


def build():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():  # units for red, green and blue, and a dead one
        net[0].weight.copy_(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [0, 0, 0]])[:, :, None, None])
        net[0].bias.zero_()
        net[4].weight.copy_(torch.eye(3, 4))
        net[4].bias.zero_()
    return net


def broken():
    net = build()
    with torch.no_grad():
        net[0].bias[1] = float("nan")
    return net


class Exiting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        raise SystemExit(3)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = Spectrum()

    def forward(self, images):
        return self.layer(images).abs()


class Spectrum(nn.Module):
    def forward(self, images):
        return torch.fft.fft2(images)


class Hungry(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        if len(self.layer(images)) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9000 GiB.")


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        time.sleep(0.2)
        return self.layer(images)


a_number = 7
"""


def blocks(seed, size=32, cells=4):
    """An image of coloured blocks of many shades, and the label of each pixel."""
    rng = np.random.default_rng(seed)
    side = size // cells
    labels = rng.integers(0, 4, (cells, cells)).repeat(side, 0).repeat(side, 1).astype(np.uint8)
    shade = rng.uniform(0.5, 1, (size, size, 1))
    return (COLOURS[labels] * shade).astype(np.uint8), labels


def write_world(root, images=14):
    """An annotated folder of such images; 14 of them fill 11 folds, so that there is evidence."""
    (root / "images").mkdir(parents=True)
    (root / "labels" / "color").mkdir(parents=True)
    for number in range(images):
        image, labels = blocks(number)
        Image.fromarray(image).save(root / "images" / f"{number:02}.png")
        Image.fromarray(labels).save(root / "labels" / "color" / f"{number:02}.png")
    (root / "concepts.csv").write_text(CONCEPTS)
    return root


def everything_below(folder):
    """Paths of all files and folders in a folder."""
    return {os.path.relpath(path, folder) for path in folder.rglob("*")}
