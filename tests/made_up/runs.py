"""A made-up run for the tests of the report: everything that the page shows, with nothing dissected."""

import json

import numpy as np
import pandas as pd

from unitlens.dissection.settings import Settings
from unitlens.drawing.strips import draw_strip, strip_limit, strip_size, tile_masks

CONCEPTS = {
    "object": ["tree", "car", "building", "person", "lamp", "boat", "bed", "mountain", "red"],
    "part": ["wheel", "window", "roof", "head"],
    "material": ["brick", "wood", "water"],
    "texture": ["striped", "dotted"],
    "color": ["red", "green", "blue"],
}


def shown(category, name):
    return f"{category}/{name}" if name == "red" else name


def photos(count, side=96, seed=0):
    """Noise with the spectrum of photographs (amplitude falls as 1 / frequency): its JPEGs are as large as theirs."""
    random = np.random.default_rng(seed)
    across, down = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))
    fall = 1 / np.maximum(np.hypot(across, down), 1 / side)
    grey = np.fft.ifft2(np.fft.fft2(random.normal(size=(count, side, side))) * fall).real
    colour = np.fft.ifft2(np.fft.fft2(random.normal(size=(count, 3, side, side))) * fall).real
    mixed = grey[:, None] + 0.35 * colour
    scaled = 128 + 55 * (mixed - mixed.mean()) / mixed.std()
    return np.clip(scaled, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def strips_of(keys, *, tiles=8, images=None, seed=0):
    """A strip for each key; 40 different ones, in turn, since drawing thousands is slow and shows nothing more."""
    random = np.random.default_rng(seed)
    images = photos(64, seed=seed) if images is None else images
    size = strip_size(len(keys), tiles=tiles)
    drawn = []
    for _ in range(min(40, len(keys))):
        maps = random.normal(size=(tiles, 7, 7)) + random.normal(size=(tiles, 1, 1))
        chosen = images[random.integers(0, len(images), tiles)]
        drawn.append(draw_strip(chosen, tile_masks(maps, 1.4, size), size=size, limit=strip_limit(len(keys))))
    return {key: drawn[place % len(drawn)] for place, key in enumerate(keys)}


def unit_rows(count, layer, random, *, evidence=True):
    """Rows of units.csv, every verdict among them."""
    concepts = [(category, name) for category, names in CONCEPTS.items() for name in names]
    popular = random.permutation(len(concepts))
    return [_row(layer, unit, concepts, popular, random, evidence=evidence) for unit in range(count)]


def _row(layer, unit, concepts, popular, random, *, evidence):
    place = min(int(random.exponential(5)), len(concepts) - 2)
    first, second = popular[place], popular[place + 1]
    iou, chance = float(random.beta(1.6, 12)) + 0.012, float(random.beta(4, 110))
    kind = "silent" if unit % 29 == 5 else "nonfinite" if unit % 61 == 7 else "seen"
    q = float(min(1, 2.5 * np.exp(-5 * (iou / chance - 1)))) if kind == "seen" else np.nan
    verdict = kind if kind != "seen" else "chance" if q > 0.05 else "weak" if iou <= 0.04 else "detector"
    if verdict == "detector" and unit % 17 == 3:
        verdict = "untrained"
    row = {
        "layer": layer,
        "unit": unit,
        "threshold": float(random.gamma(3)) if kind != "nonfinite" else np.nan,
        "active_share": 0.00998 if kind == "seen" else 0.0,
        "silent": kind == "silent",
        "nonfinite": kind == "nonfinite",
        "evaluated_on": "grid",
        "detector": verdict == "detector" if evidence else kind == "seen" and iou > 0.04,
        "above_min_iou": kind == "seen" and iou > 0.04,
    }
    if kind == "seen":
        area, marked = int(random.integers(4000, 7300)), int(random.integers(4000, 9000))
        row |= {"concept": shown(*concepts[first]), "category": concepts[first][0], "iou": iou}
        row |= {
            "second_concept": shown(*concepts[second]),
            "second_category": concepts[second][0],
            "second_iou": iou * 0.7,
        }
        row |= {"activated_pixels": area, "concept_pixels": marked}
        row |= {"intersection": round(iou * (area + marked) / (1 + iou))}
    if evidence:
        row |= {"verdict": verdict}
    if evidence and kind == "seen":
        half = 0.12 * iou + 0.006
        row |= {"iou_low": max(iou - half, 0), "iou_high": iou + half, "heldout_iou": iou * 0.93, "chance_iou": chance}
        row |= {"concept_stability": float(random.uniform(0.4, 1)), "p_value": q / 2, "q_value": q}
        row |= {"concept_set": json.dumps(sorted({row["concept"], row["second_concept"]}))}
        row |= {"presence_accuracy": float(random.uniform(0.5, 0.95))}
    return row


def exemplar_rows(keys, *, tiles=8, seed=0):
    random = np.random.default_rng(seed)
    return [
        {
            "layer": layer,
            "unit": unit,
            "rank": rank,
            "image": f"street/{random.integers(0, 200):04d}_frame.jpg",
            "value": 9.5 - rank / 3,
            "peak_y": 0.5,
            "peak_x": 0.25,
        }
        for layer, unit in keys
        for rank in range(tiles)
    ]


def run_info(layers, units, *, images=233, grid=(56, 56)):
    concepts = [
        {"category": category, "label": i + 1, "name": name, "images": 60 + i, "positions": 9000 * (i + 1)}
        for category, names in CONCEPTS.items()
        for i, name in enumerate(names)
    ]
    concepts.append({"category": "object", "label": 99, "name": "road", "images": 233, "positions": 233 * 56 * 20})
    return {
        "unitlens": "0.1.0",
        "created": "2026-11-22T17:20:29+00:00",
        "command": "unitlens dissect resnet18 --weights DEFAULT --layer layer4 --data street --out run",
        "network": {
            "name": "torchvision.models:resnet18",
            "weights": "DEFAULT",
            "sha256": "5c10" * 16,
            "preprocessing": {
                "image_size": [224, 224],
                "resize": 256,
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
                "interpolation": "bilinear",
            },
            "classes": ["tench", "goldfish"],
            "image": "input",
            "latents": None,
        },
        "data": {
            "source": "photos/street",
            "sha256": "ab12" * 16,
            "images": images,
            "skipped": [{"image": "street/broken.jpg", "reason": "the file ends too early"}],
            "categories": {category: {"images": images} for category in CONCEPTS},
            "concepts": concepts,
        },
        "settings": Settings(layers=tuple(layers), grid=grid).to_json(),
        "layers": {layer: {"units": units, "grid": [7, 7], "silent": 0, "nonfinite": 0} for layer in layers},
        "timings": {"forward": 12.25, "counting": 2.5},
        "comparison": [],
        "warnings": ["layer4: 2 units hold NaN or infinity and are marked nonfinite"],
        "versions": {"torch": "2.9.0", "python": "3.11.7"},
    }


def made_up_run(units=64, layers=("layer4",), *, evidence=True, images=None, seed=0):
    """The keyword arguments of `render_dissection`."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame([row for layer in layers for row in unit_rows(units, layer, random, evidence=evidence)])
    keys = [(layer, unit) for layer in layers for unit in range(units)]
    info = run_info(layers, units)
    for layer, rows in table.groupby("layer"):
        info["layers"][layer] |= {name: int(rows[name].sum()) for name in ("silent", "nonfinite")}
    return {
        "info": info,
        "units": table,
        "exemplars": pd.DataFrame(exemplar_rows(keys, seed=seed)),
        "strips": strips_of(keys, images=images, seed=seed),
    }
