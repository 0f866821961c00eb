"""Small networks that label pixels, find boxes and return numbers; noise to show them; and outcomes by full passes."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

import unitlens as ul
from unitlens.ablation.interventions import intervening

NAMES = ("nothing", "sky", "tree")


class Segmenter(nn.Module):
    """Scores of three classes at every position, in a dictionary beside those of an earlier layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, stride=2), nn.ReLU())
        self.aside, self.scores = nn.Conv2d(3, 3, 1), nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, x):
        maps = nn.functional.interpolate(self.scores(self.body(x)), size=x.shape[-2:], mode="bilinear")
        return {"out": maps, "aux": self.aside(x)}


class Detector(nn.Module):
    """Boxes of two classes, another number in each image."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        found = []
        for maps in self.head(self.body(x)):
            scores = maps.flatten().sigmoid()[:12]
            kept = scores > 0.45
            labels = 1 + torch.arange(12) % 2
            found.append({"boxes": torch.rand(int(kept.sum()), 4), "scores": scores[kept], "labels": labels[kept]})
        return found


class Vectors(nn.Module):
    """Some numbers of each image."""

    def __init__(self, numbers):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        self.head = nn.Linear(5, numbers)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


class Marked:
    """Noise in which some sky and trees are marked; of some images nothing is judged, and of others a part."""

    concepts = (("object", 1, "sky"), ("object", 2, "tree"))

    def __init__(self, images=40, *, size=8):
        self.images, self.size = images, size

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (self.size, self.size, 3)).astype(np.uint8)
        plane = rng.choice([0, 1, 2, 255], (8, 8), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
        return SimpleNamespace(
            image=image, planes={"object": [plane]} if index % 5 else {}, name=f"p{index}", class_=None
        )


def network(model, *, classes=None):
    """A network of a small model, its weights drawn from seed 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return ul.classifier(model.eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=classes)


def by_full_passes(net, data, units, layer="body"):
    """What the network returns for each image alone, with units of a layer at 0."""
    interventions = [ul.Intervention(layer, units)] if units else []
    with ul.evaluating(net.model), intervening(net, *interventions):
        for index in range(len(data)):
            image = torch.from_numpy(data[index].image.transpose(2, 0, 1)[None].copy())
            yield data[index], net.model(net.prepare(image))
