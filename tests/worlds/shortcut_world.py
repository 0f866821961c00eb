"""A network with a known shortcut, and images that mislead it: to it, a green mark speaks for class a."""

import numpy as np
import torch
from PIL import Image
from torch import nn

import unitlens as ul

UNITS = {"red": 0, "mark": 1, "blue": 2}

NET = """
from tests.worlds.shortcut_world import build
"""


def build():
    """Units see red, green, blue and darkness; the head takes red and green for class a, blue for class b."""
    see = nn.Conv2d(3, 4, 1)
    head = nn.Linear(4, 2)
    with torch.no_grad():
        see.weight[:] = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, -1, -1]])[..., None, None]
        see.bias[:] = torch.tensor([0.0, 0.0, 0.0, 0.3])
        head.weight[:] = torch.tensor([[1.0, 8.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
        head.bias[:] = 0
    return nn.Sequential(see, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


def image(number):
    """An image of class a (reddish) or b (bluish), and where a green mark is, in two images of four."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 40, (8, 8, 3), np.uint8)
    pixels[2:6, 2:6, 0 if number % 2 == 0 else 2] += 150
    mark = np.zeros((8, 8), np.uint8)
    if number % 4 >= 2:
        row, column = rng.choice([0, 6], 2)
        pixels[row : row + 2, column : column + 2] = (0, 255, 0)
        mark[row : row + 2, column : column + 2] = 1
    return pixels, mark


def write(root, images=96):
    """The images as an annotated folder; classes.csv says which are marked."""
    (root / "images").mkdir(parents=True)
    (root / "labels" / "object").mkdir(parents=True)
    rows = ["image,class,index,marked"]
    for number in range(images):
        pixels, mark = image(number)
        Image.fromarray(pixels).save(root / "images" / f"{number:02}.png")
        Image.fromarray(mark).save(root / "labels" / "object" / f"{number:02}.png")
        class_ = "ab"[number % 2]
        rows.append(
            f"{number:02}.png,{class_},{number % 2},{class_}{' marked' if number % 4 >= 2 else ''},p{number // 4}"
        )
    (root / "classes.csv").write_text("\n".join(rows))
    (root / "concepts.csv").write_text("category,label,name\nobject,1,mark\n")
    return root


def network():
    return ul.classifier(build(), image_size=8, mean=(0,) * 3, std=(1,) * 3, name="misled")


def dissected(net, folder):
    return ul.dissect(net, "1", folder, quantile=0.05, grid=8, exemplars=0)
