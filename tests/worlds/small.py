"""A small classifier with a skip connection, noise to show it, and what full passes say of interventions."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

import unitlens as ul
from unitlens.ablation.interventions import intervening
from unitlens.ablation.outcomes.measures import OUTCOMES


class Net(nn.Module):
    """A small classifier with a skip connection behind its first layer."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
            self.second = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
            self.head = nn.Linear(6, 3)
        self.aside = nn.Linear(2, 2)

    def forward(self, images):
        x = self.first(images)
        return self.head((x + self.second(x)).mean((2, 3)))


class Noise:
    """Random images of three classes, class k being brighter in channel k."""

    concepts = ()
    classes = ("a", "b", "c")

    def __init__(self, images=40, *, classless=()):
        self.images, self.classless = images, classless

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 200, (8, 8, 3)).astype(np.uint8)
        image[..., index % 3] += 55
        class_ = None if index in self.classless else self.classes[index % 3]
        return SimpleNamespace(image=image, planes={}, name=f"p{index}", class_=class_)


def classifier():
    return ul.classifier(Net().eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])


def outputs_of(net, data, *interventions):
    """Outputs image by image of the full network, and the truth."""
    found = []
    with torch.no_grad(), intervening(net, *interventions):
        for index in range(len(data)):
            image = torch.from_numpy(data[index].image.transpose(2, 0, 1)[None].copy())
            found.append(net.model(net.prepare(image))[0])
    return torch.stack(found), torch.tensor([index % 3 for index in range(len(data))])


def expected(net, data, *interventions):
    """Recall of each class and mean logit, before and after, by full passes."""
    results = []
    for some in ((), interventions):
        outputs, truth = outputs_of(net, data, *some)
        right = outputs.argmax(1) == truth
        recall = [float(right[truth == k].double().mean()) for k in range(3)]
        logits = OUTCOMES["logit"](outputs, truth)
        results.append((recall, [float(logits[truth == k].double().mean()) for k in range(3)]))
    return results
