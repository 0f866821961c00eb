"""The names of outcomes, and which outcome is meant."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from unitlens.ablation.outcomes.boxes import SCORE, BestBox, Boxes
from unitlens.ablation.outcomes.maps import Area, Iou
from unitlens.ablation.outcomes.reading import FunctionOutcome, ImageOutcome, listed_outcomes
from unitlens.ablation.outcomes.vectors import CLIP_SCALE, Distance, OneOutput, read_vectors
from unitlens.errors import UnitlensError, did_you_mean, spelled

AnyOutcome = str | ImageOutcome | Callable[[Any], Any]
"""A name of `NAMES`, an outcome, or a function of what the network returns."""

NAMES: Mapping[str, str] = {
    "area:CLASS": "segmentation: the share of positions whose largest score is the class's",
    "iou:CLASS": "segmentation: the IoU of these positions with those at which the data mark a concept of that name",
    "best_box:CLASS": "detection: the highest score of a box of the class; 0 where there is none",
    "boxes": "detection: how many boxes have a score above 0.5; boxes:CLASS of a class, boxes@0.8 above another score",
    "output:K": "one of the network's numbers, such as a logit or a regression's; output where there is one",
    "distance": "embeddings: 1 - cosine of what the network returns with what it returns untouched; distance:euclidean",
    "similarity:FILE": "embeddings: the cosine with each of the vectors of a file (.npy, .safetensors, .csv)",
    "zero_shot:FILE": "embeddings: the softmax of 100 times these cosines, the probabilities of zero-shot classes",
}
"""The outcomes that have names, and what they are."""

_KINDS = [re.split("[:@]", name)[0] for name in NAMES]


def image_outcomes(outcome: AnyOutcome | Iterable[AnyOutcome]) -> list[ImageOutcome]:
    """The outcomes that are meant, one or several.

    Raises
    ------
    UnitlensError
        If there is no such outcome, or none is given.
    """
    outcomes = [_outcome(one) for one in listed_outcomes(outcome)]
    if not outcomes:
        raise UnitlensError(f"No outcome is given: {_possible()}.")
    return outcomes


def _outcome(given: Any) -> ImageOutcome:
    if isinstance(given, ImageOutcome):
        return given
    if isinstance(given, str):
        return _named(given)
    if callable(given):
        return FunctionOutcome(given, getattr(given, "__name__", type(given).__name__))
    raise UnitlensError(f"An outcome is a name or a function, not a {type(given).__name__}: {_possible()}.")


def _named(text: str) -> ImageOutcome:
    kind, colon, rest = text.partition(":")
    of = rest if colon else None
    if kind == "boxes" or kind.startswith("boxes@"):
        return Boxes(_some(of, text), _score(kind, text))
    match kind:
        case "area" if of:
            return Area(of)
        case "iou" if of:
            return Iou(of)
        case "best_box" if of:
            return BestBox(of)
        case "output":
            return OneOutput(_some(of, text))
        case "distance" if of in (None, "cosine"):
            return Distance()
        case "distance" if of == "euclidean":
            return Distance("euclidean")
        case "similarity" if of:
            return read_vectors(of, scale=None)
        case "zero_shot" if of:
            return read_vectors(of, scale=CLIP_SCALE)
    near = "" if kind in _KINDS else did_you_mean(kind, _KINDS)
    raise UnitlensError(f"There is no outcome {text!r}{near}: {_possible()}.")


def _some(of: str | None, text: str) -> str | None:
    """What stands behind the colon; nothing may not."""
    if of == "":
        raise UnitlensError(f"Nothing stands behind the colon of the outcome {text!r}: {_possible()}.")
    return of


def _score(kind: str, text: str) -> float:
    """The level of boxes@0.8."""
    try:
        score = float(kind.partition("@")[2]) if "@" in kind else SCORE
    except ValueError:
        score = -1.0
    if not 0 <= score < 1:
        raise UnitlensError(f"{text!r} counts boxes above a score from 0 to 1, such as boxes@0.8.")
    return score


def _possible() -> str:
    further = spelled(
        python=", or a function of what the network returns; measures of classes are those of ul.ablate",
        shell="; measures of classes are given with --measure",
    )
    return f"there are {', '.join(NAMES)}{further}"
