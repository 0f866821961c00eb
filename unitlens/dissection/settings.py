"""The settings of a dissection: one value, recorded in run.json as it is and read back as it is."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from unitlens.data.columns import NotJudged, Union
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import encoded
from unitlens.models.fast.precision import Fast, chosen_precision
from unitlens.models.hooks import Tap
from unitlens.models.layouts import Order
from unitlens.records import LATER, check_types, read_record, write_record
from unitlens.stats.chance import draws_for
from unitlens.stats.masks import Upsampling
from unitlens.stats.scores import LEVEL_SCORES, SCORES

ThresholdOn = Literal["upsampled", "raw"]
Unique = Literal["unit", "category"]
DetectorRule = Literal["plain", "heldout", "lower"]

CONTROLS: Mapping[str, str] = {
    "untrained": "the same architecture with fresh weights",
    "rotated": "the layer's units turned by a random orthogonal matrix",
    "random-dictionary": "a dictionary of random rows",
    "shuffled-dictionary": "the dictionary with each row shuffled among the units",
}
"""By the names that ``control=`` takes."""

OF_DICTIONARIES = ("random-dictionary", "shuffled-dictionary")
"""Controls that take the place of a dictionary."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "unitlens": {},
    "pnas2020": {
        "upsampling": "zeros",
        "union": "all",
        "not_judged": "none",
        "tap": "after_inplace",
        "detector_rule": "plain",
    },
    "netdissect2017": {
        "quantile": 0.005,
        "threshold_on": "raw",
        "grid": (112, 112),
        "not_judged": "none",
        "unique": "category",
        "detector_rule": "plain",
    },
}
"""By the names that ``preset=`` takes: the choices that papers differ in, where they are not the defaults."""


DETECTOR_RULES: Mapping[str, str] = {
    "plain": "IoU above",
    "heldout": "IoU and held-out IoU above",
    "lower": "lower end of the IoU's 95 % interval above",
}
"""What has to be above the minimum IoU, by the names that ``detector_rule=`` takes."""


class ControlPass(NamedTuple):
    """One network that is dissected for comparison.

    Attributes
    ----------
    name : str
        As controls.csv has it.
    kind : str
        A key of `CONTROLS`.
    seed : int
        Of its weights, or of its rotation.
    """

    name: str
    kind: str
    seed: int


@dataclass(frozen=True)
class BasisRecord:
    """What is recorded of a basis or a dictionary: where it came from, and what tells it from others.

    Attributes
    ----------
    source, sha256 : str
    shape : (int, int)
        How many directions or features there are, and of how many units they are read.
    kind : str or None
        How features get their activations, such as ``topk:32``; None: they are directions.
    read_as : str or None
        The kind as it was given, where the file does not say it.
    """

    source: str
    sha256: str
    shape: tuple[int, int]
    kind: str | None = field(default=None, metadata=LATER)
    read_as: str | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self)

    def __str__(self) -> str:
        return f"{self.shape[0]} {self.noun}, {self.sha256[:8]}"

    @property
    def noun(self) -> str:
        """What its units are called."""
        return "directions" if self.kind is None else "features"

    @property
    def of(self) -> str:
        """What they belong to."""
        return "basis" if self.kind is None else "dictionary"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides what a dissection of a network with given images comes to.

    Attributes
    ----------
    layers : tuple of str
    grid : (int, int)
        Rows and columns of the label grid, (H, W).
    preset : str
        A key of `PRESETS`: where the choices came from that were not made one by one.
    quantile : float
        Share of all positions that may lie above a unit's threshold.
    min_iou : float
        The papers' rule: a unit matches where its best IoU is larger.
    detector_rule : {"plain", "heldout", "lower"}
        What else has to be larger in a detector; see `DETECTOR_RULES`. Without evidence it is plain.
    threshold_on : {"upsampled", "raw"}
        Whether the values that are ranked are those on the label grid or those on the layer's own.
    upsampling : {"edges", "zeros"}
        What lies outside of a map: its edge repeated, or zeros.
    union : {"annotated", "all"}
        Whose images count in a union: those annotated for the concept's category, or all.
    not_judged : {"left_out", "none"}
        Whether not-judged positions count for nothing, or as none of the concepts.
    tap : {"output", "after_inplace"}
        The activation: what the layer returned, or what stands in that memory after the pass.
    unique : {"unit", "category"}
        How unique concepts are counted: the concept of each unit, or its best one of each category.
    layout : str or None
        How the layers' outputs are laid out; None: by the rule of `unitlens.models.layouts`.
    basis : BasisRecord or None
        Of the directions that are the units; None: the layers' own units.
    score : str
        What chooses the concept: a key of `SCORES` or of `LEVEL_SCORES`.
    levels : bool
        Whether counts at several levels are made though the score needs none.
    evidence : bool
        Whether intervals, held-out checks and chance levels are computed.
    fdr : float
        False discovery rate of the verdict.
    control : tuple of str
        Keys of `CONTROLS`; ``untrained:8`` for 8 untrained copies.
    exemplars : int
        Images kept for each unit.
    exemplar_size : int or None
        Side of each of them in pixels, a multiple of 16; None: by how many there are, so that the page stays small.
    seed : int
        Of resamples and draws.
    groups : str or None
        Which images belong together: as typed, see `unitlens.data.groups.grouped`; "given" and a hash of what was given
        in memory; None: as the data set says itself.
    within : str or None
        The kinds of images, within which labels are exchanged to test for context: as typed, see
        `unitlens.data.strata.read_strata`; "given" and a hash of what was given in memory; None: the images' classes,
        or else sets of concepts.
    limit : int or None
        How many images were asked for; None: all.
    batch_size : int
        Images at a time.
    strict : bool
        Whether an image that cannot be read ends the run.
    fast : {"float32", "bfloat16"} or None
        What a copy of the network that runs in its place computes in, with folded batch norms, channels last and by
        Winograd's algorithm; see `unitlens.models.fast.copies`. None: the network itself runs. True stands for float32.
    """

    layers: tuple[str, ...]
    grid: tuple[int, int]
    preset: str = "unitlens"
    quantile: float = 0.01
    min_iou: float = 0.04
    detector_rule: DetectorRule = "heldout"
    threshold_on: ThresholdOn = "upsampled"
    upsampling: Upsampling = "edges"
    union: Union = "annotated"
    not_judged: NotJudged = "left_out"
    tap: Tap = "output"
    unique: Unique = "unit"
    layout: Order | None = None
    basis: BasisRecord | None = None
    score: str = "iou"
    levels: bool = False
    evidence: bool = True
    fdr: float = 0.05
    control: tuple[str, ...] = ()
    exemplars: int = 8
    exemplar_size: int | None = field(default=None, metadata=LATER)
    seed: int = 0
    groups: str | None = None
    within: str | None = None
    limit: int | None = None
    batch_size: int = 32
    strict: bool = False
    fast: Fast | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fast", chosen_precision(self.fast))
        check_types(self)
        _check_known("preset", self.preset, PRESETS)
        _check_known("score", self.score, {**SCORES, **LEVEL_SCORES})
        for control in self.control:
            _check_control(control, self.basis)
        if len({control.partition(":")[0] for control in self.control}) < len(self.control):
            raise UnitlensError(f"{argument('control')} names a control twice: {', '.join(self.control)}.")
        _check_share("quantile", self.quantile, 0 < self.quantile < 1, such_as=0.01)
        _check_share("min_iou", self.min_iou, 0 <= self.min_iou <= 1, such_as=0.04)
        _check_share("fdr", self.fdr, 0 < self.fdr < 1, such_as=0.05)
        _check_least("exemplars", self.exemplars, 0)
        if self.exemplar_size is not None and self.exemplar_size not in range(16, 1025, 16):
            raise UnitlensError(
                f"{argument('exemplar_size', self.exemplar_size)} is the side of an image in pixels: a multiple of 16 "
                "up to 1024, such as 224."
            )
        _check_least("batch_size", self.batch_size, 1)
        if self.limit is not None:
            _check_least("limit", self.limit, 1)
        if min(self.grid) < 1:
            raise UnitlensError(f"The label grid is {self.grid[0]}x{self.grid[1]}; it has at least one row and column.")
        if self.control and not self.evidence:
            raise UnitlensError(f"A control is compared with the evidence: leave out {argument('evidence', False)}.")

    @classmethod
    def of_preset(cls, preset: str, *, default_grid: tuple[int, int], **given: Any) -> Self:
        """A preset's choices, and those that were made beside it.

        Parameters
        ----------
        preset : str
            A key of `PRESETS`.
        default_grid : (int, int)
            The label grid where neither the preset nor ``grid`` says one.
        **given
            Fields of `Settings`; None leaves the preset's choice.

        Raises
        ------
        UnitlensError
            If there is no such preset, or a value is not possible.

        Examples
        --------
        >>> Settings.of_preset("netdissect2017", default_grid=(56, 56), layers=("layer4",), quantile=0.01).grid
        (112, 112)
        """
        _check_known("preset", preset, PRESETS)
        chosen = {name: value for name, value in given.items() if value is not None}
        if not chosen.get("evidence", True) and chosen.get("detector_rule", "plain") != "plain":
            raise UnitlensError(
                f"{argument('detector_rule', chosen['detector_rule'])} needs the evidence: leave out "
                f"{argument('evidence', False)}, or take {argument('detector_rule', 'plain')}."
            )
        return cls(**{"grid": default_grid, **PRESETS[preset], **chosen, "preset": preset})

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Read what `to_json` made.

        Raises
        ------
        UnitlensError
            If a field is missing, unknown, of another type or not possible.
        """
        return read_record(cls, content, what="The record of the settings")

    def to_json(self) -> dict[str, Any]:
        """Every field under its name, as run.json holds it."""
        return write_record(self)

    @property
    def draws(self) -> int:
        """How often images are given the labels of others."""
        return draws_for(self.fdr) if self.evidence else 0

    @property
    def units(self) -> str:
        """What the units are: the layer's own, or directions or features of which basis."""
        return "the layer's own" if self.basis is None else str(self.basis)

    @property
    def rule(self) -> DetectorRule:
        """The rule for a detector that can be applied: without evidence, plain."""
        return self.detector_rule if self.evidence else "plain"

    @property
    def control_passes(self) -> tuple[ControlPass, ...]:
        """Every network that is dissected for comparison; several untrained copies are named after their seeds."""
        passes: list[ControlPass] = []
        for control in self.control:
            kind, _, count = control.partition(":")
            copies = int(count or 1)
            for seed in range(self.seed, self.seed + copies):
                passes.append(ControlPass(kind if copies == 1 else f"{kind} seed {seed}", kind, seed))
        return tuple(passes)

    @property
    def needs_levels(self) -> bool:
        """Whether counts at several levels are made."""
        return self.levels or self.score in LEVEL_SCORES


def _check_known(what: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise UnitlensError(f"There is no {what} {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}.")


def _check_control(control: str, basis: BasisRecord | None) -> None:
    """Check the name of a control, how many copies of it are asked for, and that there is what it is a control of."""
    kind, colon, count = control.partition(":")
    _check_known("control", kind, CONTROLS)
    features = basis is not None and basis.kind is not None
    if kind in OF_DICTIONARIES and not features:
        raise UnitlensError(
            f"{argument('control', kind)} is of the features of a dictionary, and units are not features here: leave "
            f"it out, or take {argument('control', 'rotated')}."
        )
    if kind == "rotated" and features:
        raise UnitlensError(
            f"{argument('control', kind)} turns units or directions, and the features of a dictionary are not turned: "
            f"take {argument('control', OF_DICTIONARIES[0])}."
        )
    if colon and (kind != "untrained" or not (count.isascii() and count.isdigit() and 1 <= int(count[:9]) <= 1000)):
        raise UnitlensError(
            f"{argument('control', control)} is not a control and a number of copies: untrained:8 stands for 8 "
            "untrained copies (up to 1000); other controls have none."
        )


def _check_share(name: str, value: float, possible: bool, *, such_as: float) -> None:
    if not possible:
        raise UnitlensError(f"{argument(name, value)} must lie between 0 and 1, such as {such_as}.")


def _check_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UnitlensError(f"{argument(name, value)} must be {least} or more.")


def recorded_choice(given: str | Path | Mapping[str, str] | Sequence[str] | None) -> str | None:
    """What settings say of groups or kinds of images: as typed, or "given" and a hash of what was given in memory.

    Examples
    --------
    >>> recorded_choice("folder"), recorded_choice({"a.jpg": "1"})
    ('folder', 'given:abc75fa0')
    """
    if given is None or isinstance(given, str | Path):
        return None if given is None else str(given)
    pairs = sorted(given.items()) if isinstance(given, Mapping) else list(enumerate(given))
    return f"given:{hashlib.sha256(encoded(repr(pairs))).hexdigest()[:8]}"
