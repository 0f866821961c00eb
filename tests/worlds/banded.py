"""A small world of four bands, in which one concept shows in the fourth band alone."""

import io

import numpy as np
import tifffile
import torch
from PIL import Image
from torch import nn

import unitlens as ul

SIDE, COUNT, BANDS = 32, 24, 4
DEEP = {np.uint8: 255, np.uint16: 4000, np.float32: 4000.0}
"""What is bright in images of a type; of two types only a range of 0 to 4000 says so."""


def drawn(index):
    """An image in [0, 1], (SIDE, SIDE, BANDS), and where the concept is: bright in the fourth band."""
    draws = np.random.default_rng(index)
    plant = np.zeros((SIDE, SIDE), np.uint8)
    top, left = draws.integers(0, SIDE // 8, 2) * 4
    plant[top : top + 16, left : left + 12] = 1
    image = draws.integers(0, 2, (SIDE // 4, SIDE // 4, BANDS)).repeat(4, 0).repeat(4, 1) * 0.8
    image[:, :, 3] = plant * 0.8
    return image, plant


def as_type(image, dtype):
    """An image in the numbers of a type."""
    scaled = image * DEEP[dtype]
    return scaled.round().astype(dtype) if np.dtype(dtype).kind == "u" else scaled.astype(dtype)


def file_of(image, ending):
    """The bytes of an image's file: .npy with bands first, .npz, .tif of pages or of samples, .png with a fourth."""
    file = io.BytesIO()
    if ending == ".npy":
        np.save(file, image.transpose(2, 0, 1))
    elif ending == ".npz":
        np.savez_compressed(file, image=image, other=image[:2])
    elif ending == ".png":
        Image.fromarray(image, "RGBA" if image.shape[2] == 4 else None).save(file, "PNG")
    elif ending == "pages.tif":
        tifffile.imwrite(file, image.transpose(2, 0, 1), photometric="minisblack", compression="zlib")
    else:
        planar = {} if image.shape[2] == 1 else {"planarconfig": "contig"}
        tifffile.imwrite(file, image, photometric="minisblack", **planar)
    return file.getvalue()


def write_banded(root, *, dtype=np.uint16, ending=".tif", count=COUNT):
    """An annotated folder of such images."""
    (root / "images").mkdir(parents=True)
    (root / "labels" / "object").mkdir(parents=True)
    rows = ["image,class"]
    for index in range(count):
        image, plant = drawn(index)
        (root / "images" / f"{index:02d}{ending}").write_bytes(file_of(as_type(image, dtype), ending))
        stem = f"{index:02d}{ending}".rpartition(".")[0]
        Image.fromarray(plant).save(root / "labels" / "object" / f"{stem}.png")
        rows.append(f"{index:02d}{ending},{'even' if index % 2 == 0 else 'odd'}")
    (root / "concepts.csv").write_text("category,label,name\nobject,1,plant\n")
    (root / "classes.csv").write_text("\n".join(rows) + "\n")
    return root


def banded_model():
    """Units 0 to 3 are the four bands; two classes, of the bands' means."""
    model = nn.Sequential(nn.Conv2d(BANDS, BANDS, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(BANDS, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(BANDS)[:, :, None, None])
        model[0].bias.zero_()
        model[3].weight.copy_(torch.tensor([[0.0, 0, 0, 1], [0, 0, 1, 0]]))
        model[3].bias.zero_()
    return model


def banded_network(**settings):
    """It takes images of four bands, of SIDE x SIDE."""
    given = {"image_size": SIDE, "mean": (0.5,), "std": (0.5,), "classes": ("even", "odd"), **settings}
    return ul.classifier(banded_model(), **given)


def loaded_model():
    """For the shell: what `tests/worlds/banded.py:loaded_model` names."""
    return banded_model()
