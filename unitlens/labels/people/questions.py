"""Questions about labels: images from the whole range of a unit's activation, and the label among distractors."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np

from unitlens.dissection.result import Dissection
from unitlens.dissection.store.passes import StoredPass
from unitlens.drawing.strips import draw_tiles, tile_masks
from unitlens.errors import UnitlensError, argument
from unitlens.labels.columns import BASELINES
from unitlens.labels.footing.meanings import plain
from unitlens.labels.people.key import MOST_CHOICES, MOST_QUESTIONS, Question, SheetKey
from unitlens.labels.result import Labels, best_of_mask
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

BINS = 5
"""Images are drawn from so many quantiles of a unit's peaks, from those that excite it most to those that do least."""

_SIZE = 128  # pixels of a tile


class SheetSettings(TypedDict, total=False):
    """Keywords of `make_sheet`, which those who open activations for it hand on."""

    methods: Sequence[str] | None
    units: int | Sequence[int]
    per_unit: int
    choices: int
    seed: int


class Shown(NamedTuple):
    """What the page shows of a question.

    Attributes
    ----------
    tiles : list of list of bytes
        JPEG files, by quantile of the unit's peaks, the highest first.
    choices : tuple of str
    """

    tiles: list[list[bytes]]
    choices: tuple[str, ...]


class Sheet(NamedTuple):
    """A sheet: its key, and what its page shows, question by question."""

    key: SheetKey
    shown: list[Shown]


def make_sheet(
    run: Dissection,
    labels: Labels,
    stored: StoredPass,
    *,
    methods: Sequence[str] | None = None,
    units: int | Sequence[int] = 20,
    per_unit: int = 15,
    choices: int = 4,
    seed: int = 0,
) -> Sheet:
    """Draw the questions of a sheet.

    Parameters
    ----------
    run : Dissection
    labels : Labels
    stored : StoredPass
        With thumbnails.
    methods : sequence of str, optional
        Whose labels are asked about; all but the trivial ones.
    units : int or sequence of int
        How many units of each layer are drawn, or which.
    per_unit : int
        Images of each unit.
    choices : int
        Labels to choose from: one is the method's, the others are labels of other units by the same method and, where
        these are too few, by others.
    seed : int

    Raises
    ------
    UnitlensError
        If there are not enough different labels, no images, or more than 10,000 questions.
    """
    if stored.thumbnails is None:
        raise UnitlensError("The activations hold no images: give the network and the images of the run.")
    if not 2 <= choices <= MOST_CHOICES or per_unit < BINS:
        raise UnitlensError(f"A sheet has 2 to {MOST_CHOICES} choices, and {BINS} images a unit or more.")
    rng, best = np.random.default_rng(seed), best_of_mask(labels.rows)
    asked = [one for one in labels.methods if one not in BASELINES] if methods is None else list(methods)
    for method in asked:
        labels[method]  # where there is none, the error says so
    chosen = _chosen_units(best[best["method"].isin(asked)], units, rng)
    rows = [row for row in best.to_dict("records") if row["method"] in asked and (row["layer"], row["unit"]) in chosen]
    if len(rows) > MOST_QUESTIONS:
        raise UnitlensError(
            f"These are {len(rows)} questions; a sheet has up to {MOST_QUESTIONS}: ask about fewer units with "
            f"{argument('units')}."
        )
    pools = {method: sorted(set(best.loc[best["method"] == method, "label"])) for method in labels.methods}
    of_unit: dict[tuple[str, int], set[str]] = {}
    for row in best.to_dict("records"):
        of_unit.setdefault((row["layer"], row["unit"]), set()).add(plain(row["label"]))
    questions = []
    for number in rng.permutation(len(rows)).tolist():
        row = rows[number]
        known = of_unit[row["layer"], row["unit"]]
        others = _distractors(row["method"], pools, known, choices - 1, rng)
        place = int(rng.integers(choices))
        offered = (*others[:place], row["label"], *others[place:])
        questions.append(
            Question(layer=row["layer"], unit=row["unit"], method=row["method"], choices=offered, right=place)
        )
    if not questions:
        raise UnitlensError(f"No unit that was asked for has a label by {', '.join(asked) or 'any method'}.")
    tiles = {unit: _tiles(run, stored, *unit, per_unit, rng) for unit in sorted(chosen)}
    name = hashlib.sha256(repr((run.info["network"]["sha256"], seed, questions)).encode()).hexdigest()[:12]
    key = SheetKey(
        schema=1,
        sheet=name,
        network=run.info["network"]["sha256"],
        data=run.info["data"]["sha256"],
        seed=seed,
        questions=tuple(questions),
    )
    return Sheet(key, [Shown(tiles[one.layer, one.unit], one.choices) for one in questions])


def _chosen_units(rows: "pd.DataFrame", units: int | Sequence[int], rng: np.random.Generator) -> set[tuple[str, int]]:
    """Units of each layer, drawn or given."""
    pairs = sorted(set(zip(rows["layer"], rows["unit"], strict=True)))
    if not isinstance(units, int):
        missing = sorted(set(units) - {unit for _, unit in pairs})
        if missing:
            raise UnitlensError(f"Unit {missing[0]} has no label: {argument('units')} takes those that have one.")
        return {pair for pair in pairs if pair[1] in units}
    chosen: set[tuple[str, int]] = set()
    for layer in dict.fromkeys(layer for layer, _ in pairs):
        of_layer = [pair for pair in pairs if pair[0] == layer]
        chosen |= {of_layer[place] for place in rng.permutation(len(of_layer))[:units].tolist()}
    return chosen


def _distractors(
    method: str, pools: Mapping[str, list[str]], known: set[str], count: int, rng: np.random.Generator
) -> list[str]:
    """Labels that no method gives the unit: by the same method, then by others."""
    found: dict[str, str] = {}
    for pool in (pools[method], sorted(label for other, of in pools.items() if other != method for label in of)):
        for place in rng.permutation(len(pool)).tolist():
            if plain(pool[place]) not in known and len(found) < count:
                found.setdefault(plain(pool[place]), pool[place])
    if len(found) < count:
        raise UnitlensError(
            f"There are {len(found)} different labels of other units to choose from; {count} are needed: ask with "
            f"fewer choices, by {argument('choices')}."
        )
    return list(found.values())


def _tiles(
    run: Dissection, stored: StoredPass, layer: str, unit: int, count: int, rng: np.random.Generator
) -> list[list[bytes]]:
    """Images from the whole range of a unit's peaks, the unit's mask drawn on each."""
    assert stored.thumbnails is not None
    maps = stored.layers[layer]
    peaks = maps.peaks.read(range(stored.images), slice(unit, unit + 1))[:, 0]
    bins = list(_drawn_from_bins(peaks, count, rng))
    threshold = float(run[layer].table()["threshold"].iloc[unit])
    tiles = []
    for images in bins:
        values = maps.maps.read(images, slice(unit, unit + 1))[:, 0]
        pictures = stored.thumbnails.read(images)
        whole = np.ones((len(images), 1, 1), bool)  # of a layer without a grid, no part of an image stands out
        masks = whole if maps.layer_grid is None else tile_masks(values, threshold, _SIZE)
        tiles.append([_jpeg(tile) for tile in draw_tiles(pictures, masks, size=_SIZE)])
    return tiles


def _drawn_from_bins(peaks: Floats, count: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Images of each quantile of the peaks, the highest first; together so many."""
    order = np.argsort(-peaks, kind="stable")
    for number, some in enumerate(np.array_split(order, BINS)):
        share = count // BINS + (number < count % BINS)
        yield np.sort(rng.permutation(some)[:share])


def _jpeg(tile: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG", quality=80)
    return file.getvalue()
