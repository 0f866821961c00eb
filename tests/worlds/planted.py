"""Networks whose units are known, and images to show them."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

import unitlens as ul


class Said(nn.Upsample):
    """Hands on what it gets; as it is one of the layers of maps, its units come first, however odd the grid."""

    def forward(self, maps):
        return maps


class Lookup(nn.Module):
    """Says the maps that were put in: image number n, drawn as the grey level n, gets ``maps[n]``."""

    def __init__(self, maps):
        super().__init__()
        self.register_buffer("maps", torch.as_tensor(np.asarray(maps), dtype=torch.float32))
        self.layer = Said()

    def forward(self, images):
        number = (images[:, 0, 0, 0] * 255).round().long()
        return self.layer(self.maps[number])


def lookup(maps, *, image_size=16):
    """A network for `Lookup`."""
    return ul.classifier(Lookup(maps), image_size=image_size, mean=(0, 0, 0), std=(1, 1, 1))


class InMemory:
    """Annotated images in lists: grey level n for image n."""

    def __init__(self, planes, concepts, *, size=16, classes=None, offset=0):
        self.planes, self.concepts = planes, concepts
        self.size, self.classes, self.offset = size, classes, offset

    def __len__(self):
        return len(self.planes)

    def __getitem__(self, index):
        image = np.full((self.size, self.size, 3), index + self.offset, np.uint8)
        class_ = self.classes[index] if self.classes else None
        return SimpleNamespace(image=image, planes=self.planes[index], name=f"image {index}", class_=class_)


COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220), "yellow": (230, 220, 40)}


class ColourWorld:
    """Squares of four colours on grey, each marked with its colour; every second image is also marked for parts."""

    concepts = (
        *(ul.Concept("color", label, name) for label, name in enumerate(COLOURS, 1)),
        ul.Concept("part", 1, "upper half"),
    )

    def __init__(self, images=64, *, seed=0, size=32):
        self.images, self.seed, self.size = images, seed, size

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, index])
        image = np.full((self.size, self.size, 3), 128, np.uint8)
        labels = np.zeros((self.size, self.size), np.int64)
        for label, colour in enumerate(COLOURS.values(), 1):
            y, x = rng.integers(0, self.size - 8, 2)
            image[y : y + 8, x : x + 8] = colour
            labels[y : y + 8, x : x + 8] = label
        planes = {"color": [labels]}
        if index % 2:
            planes["part"] = [(np.arange(self.size) < self.size // 2)[:, None].repeat(self.size, 1).astype(np.int64)]
        return ul.Example(image, planes, f"square {index}")


class ColourNet(nn.Module):
    """One unit a colour: how near the pixel is to it, on a grid of a quarter of the image, and random ones."""

    def __init__(self, extra=4):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        colours = torch.tensor(list(COLOURS.values())) / 255 - 128 / 255
        directions = colours / colours.norm(dim=1, keepdim=True)
        weight = torch.cat([directions, torch.randn(extra, 3, generator=generator)])
        self.conv = nn.Conv2d(3, len(weight), 1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(4)
        self.head = nn.Linear(len(weight), 4)
        with torch.no_grad():
            self.conv.weight.copy_(weight[:, :, None, None])
            self.conv.bias.copy_(-weight.sum(1) * 128 / 255 - 0.3)

    def forward(self, images):
        maps = self.pool(self.relu(self.conv(images)))
        return self.head(maps.amax((2, 3)))


def colour_net(extra=4):
    """The network of the colour world, 32 pixels."""
    return ul.classifier(ColourNet(extra), image_size=32, mean=(0, 0, 0), std=(1, 1, 1), classes=list(COLOURS))
