"""What an explorer finds, as the page shows it: rows, sentences, images."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from starlette.responses import Response

from unitlens.app.answers import png
from unitlens.drawing.figures import category_colours
from unitlens.explaining.explanation import Explanation
from unitlens.explaining.exploring.viewed import probabilities
from unitlens.explaining.sentences import sentence
from unitlens.pages.formats import percent, rows_of
from unitlens.pages.units.ranked import VERDICTS, verdict_of
from unitlens.plurals import counted
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    from unitlens.explaining.exploring.explorer import Explorer

CLASSES = 6
"""So many classes are shown: those of the largest outputs, before and after."""

LISTED = 4
"""A sentence names so many units at most."""

SHOWN = ("unit", "concept", "category", "iou", "heldout_iou", "chance_iou", "threshold")
JUDGED = ("verdict", "q_value", "nonfinite", "silent", "above_min_iou")
"""Columns of units.csv that are shown of a unit, and those that its verdict follows from."""

_AT = {"mean": ("at its mean", "at their means"), "on": ("at its threshold", "at their thresholds")}
"""How units are that are switched, one and several."""


def described_layer(explorer: "Explorer") -> Mapping[str, Any]:
    """The units and concepts of a layer, with what the dissection says of them."""
    part = explorer.dissection[explorer.layer]
    table = part.table()
    means = explorer.values("mean")
    units = rows_of(table.reindex(columns=[*SHOWN, *JUDGED]))
    colours = category_colours(table["category"].dropna())
    return {
        "layer": explorer.layer,
        "positions": explorer.positions,
        "units": [
            {name: row[name] for name in SHOWN}
            | {"verdict": verdict_of(row), "mean": mean, "exemplars": part.strip(row["unit"]) is not None}
            for row, mean in zip(units, means.tolist(), strict=True)
        ],
        "concepts": [concept._asdict() for concept in explorer.labelled.concepts],
        "colours": {name: colour._asdict() for name, colour in colours.items()},
        "verdicts": VERDICTS,
    }


def described_reasons(one: Explanation, explorer: "Explorer") -> Mapping[str, Any]:
    """What each unit alone, and each concept's units together, do to the class that is followed."""
    classes = explorer.classes.names
    return {
        "followed": one.explained,
        "before": one.before.probability,
        "sentence": sentence(one, explorer.labelled, classes),
        "units": {
            "logit": one.logit_effect,
            "probability": one.probability_effect,
            "prediction": one.units.prediction,
            "area": one.area,
            "peak": one.peak,
        },
        "concepts": {
            "logit": [ablated.answer.logit - one.before.logit for ablated in one.concepts],
            "probability": [ablated.answer.probability - one.before.probability for ablated in one.concepts],
            "prediction": [ablated.answer.prediction for ablated in one.concepts],
            "area": one.concept_area,
        },
    }


def class_changes(before: Floats, after: Floats, names: Sequence[str], *, also: Sequence[int]) -> list[dict[str, Any]]:
    """The classes of the largest outputs, before and after, and some others: the likeliest before come first."""
    first = {int(k) for outputs in (before, after) for k in np.argsort(-outputs, kind="stable")[:CLASSES]}
    shares = probabilities(before), probabilities(after)
    order = sorted({*first, *also}, key=lambda output: (-before[output], output))
    return [
        {
            "output": output,
            "name": names[output],
            "logit": [before[output], after[output]],
            "probability": [shares[0][output], shares[1][output]],
        }
        for output in order
    ]


def describe_switched(
    groups: Mapping[str, Sequence[int]],
    before: Floats,
    after: Floats,
    names: Sequence[str],
    *,
    followed: int,
    partly: bool,
) -> str:
    r"""Say in one sentence what switches did.

    Parameters
    ----------
    groups : mapping of str to sequence of int
        The units at each position of their switches, off, mean or on.
    before, after : float64 arrays, (K,)
        The outputs.
    names : sequence of str
        Of the classes.
    followed : int
        The class that is spoken of.
    partly : bool
        Whether units are held at some positions only.

    Examples
    --------
    >>> before, after = np.log([[0.71, 0.29], [0.22, 0.78]])
    >>> describe_switched({"off": [3, 17]}, before, after, ["bedroom", "kitchen"], followed=0, partly=False)
    'Without units 3 and 17: bedroom 71\xa0% → 22\xa0%, now kitchen (78\xa0%).'
    """
    share = probabilities(before), probabilities(after)
    predicted = int(before.argmax()), int(after.argmax())
    if not groups:
        return f"As it is: {names[predicted[0]]} ({percent(share[0][predicted[0]])})."
    switched = ", ".join(_switched_units(position, units) for position, units in groups.items())
    where = " where it is painted" if partly else ""
    moved = f"{names[followed]} {percent(share[0][followed])} \N{RIGHTWARDS ARROW} {percent(share[1][followed])}"
    answer = f"now {names[predicted[1]]}" if predicted[0] != predicted[1] else f"still {names[predicted[1]]}"
    if predicted[1] != followed:
        answer += f" ({percent(share[1][predicted[1]])})"
    return f"{switched[0].upper()}{switched[1:]}{where}: {moved}, {answer}."


def _switched_units(position: str, units: Sequence[int]) -> str:
    one = len(units) == 1
    if len(units) > LISTED:
        named = counted(len(units), "unit")
    else:
        listed = [str(unit) for unit in units]
        named = f"unit {listed[0]}" if one else f"units {', '.join(listed[:-1])} and {listed[-1]}"
    return f"without {named}" if position == "off" else f"with {named} {_AT[position][not one]}"


def encoded_maps(maps: npt.NDArray[np.float32]) -> Mapping[str, Any]:
    """Maps of units, (n, h, w), as base64 of little-endian floats."""
    content = np.ascontiguousarray(maps, "<f4").tobytes()
    return {"shape": maps.shape, "maps": base64.b64encode(content).decode()}


def image_file(pixels: npt.NDArray[np.uint8], size: int | None) -> Response:
    """An image as a file: as it is, as PNG; or small, as JPEG, its shorter side of so many pixels."""
    if size is None:
        return Response(png(pixels), media_type="image/png")
    image, file = Image.fromarray(pixels), io.BytesIO()
    scale = size / min(image.size)
    image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC).save(file, "JPEG")
    return Response(file.getvalue(), media_type="image/jpeg")
