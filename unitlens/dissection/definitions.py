"""The choices that papers differ in, each set of them under one name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from unitlens.data.batches import NotJudged, Union
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.hooks import Tap
from unitlens.stats.masks import Upsampling

ThresholdOn = Literal["upsampled", "raw"]
Unique = Literal["label", "category"]


@dataclass(frozen=True)
class Definitions:
    """What exactly is counted.

    Attributes
    ----------
    quantile : float
        Share of all positions that may lie above a unit's threshold.
    min_iou : float
        The papers' rule: a unit matches where its best IoU is larger.
    threshold_on : {"upsampled", "raw"}
        Whether the values that are ranked are those on the label grid or those on the layer's own.
    upsampling : {"edges", "zeros"}
        What lies outside of a map: its edge repeated, or zeros.
    grid : tuple of int or None
        (H, W) of the label grid; None: a quarter of the network's input, rounded down.
    union : {"annotated", "all"}
        Whose images count in a union: those annotated for the concept's category, or all.
    not_judged : {"left_out", "none"}
        Whether not-judged positions count for nothing, or as none of the concepts.
    tap : {"output", "after_inplace"}
        The activation: what the layer returned, or what stands in that memory after the pass.
    unique : {"label", "category"}
        How unique concepts are counted: one label a unit, or the best label of each category.
    """

    quantile: float = 0.01
    min_iou: float = 0.04
    threshold_on: ThresholdOn = "upsampled"
    upsampling: Upsampling = "edges"
    grid: tuple[int, int] | None = None
    union: Union = "annotated"
    not_judged: NotJudged = "left_out"
    tap: Tap = "output"
    unique: Unique = "label"


PRESETS: Mapping[str, Definitions] = {
    "unitlens": Definitions(),
    "pnas2020": Definitions(upsampling="zeros", union="all", not_judged="none", tap="after_inplace"),
    "netdissect2017": Definitions(
        quantile=0.005, threshold_on="raw", grid=(112, 112), not_judged="none", unique="category"
    ),
}
"""By the names that ``preset=`` takes."""


def definitions(preset: str = "unitlens", **overrides: Any) -> Definitions:
    """A preset, with the choices that were made beside it.

    Parameters
    ----------
    preset : str
        A key of `PRESETS`.
    **overrides
        Fields of `Definitions`; None leaves the preset's choice.

    Raises
    ------
    UnitlensError
        If there is no such preset or choice.

    Examples
    --------
    >>> definitions("netdissect2017", grid=(56, 56)).quantile
    0.005
    """
    if preset not in PRESETS:
        raise UnitlensError(
            f"There is no preset {preset!r}{did_you_mean(preset, PRESETS)}; there are {', '.join(PRESETS)}."
        )
    chosen = replace(PRESETS[preset], **{name: value for name, value in overrides.items() if value is not None})
    for field in fields(Definitions):
        value, choices = getattr(chosen, field.name), get_args(field.type)
        if all(isinstance(choice, str) for choice in choices) and choices and value not in choices:
            raise UnitlensError(f"{field.name} is {value!r}; it may be {' or '.join(map(repr, choices))}.")
    if not 0 < chosen.quantile < 1:
        raise UnitlensError(f"The quantile is {chosen.quantile}; it must lie between 0 and 1, such as 0.01.")
    if not 0 <= chosen.min_iou <= 1:
        raise UnitlensError(f"min_iou is {chosen.min_iou}; it must lie between 0 and 1, such as 0.04.")
    if chosen.grid is not None and min(chosen.grid) < 1:
        raise UnitlensError(f"The label grid is {chosen.grid[0]}x{chosen.grid[1]}; it has at least one row and column.")
    return chosen
