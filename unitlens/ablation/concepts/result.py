"""The result of ablating the best units of every concept: in a run, in tables, and beside another one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unitlens.dissection.beside.belonging import MeasuredOf
from unitlens.dissection.beside.layer_file import LayerFile
from unitlens.dissection.run_record import MOST, check_hash
from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError, argument, spelled
from unitlens.plurals import counted
from unitlens.records import check_interval, check_range, check_types, write_record
from unitlens.stats.folds import FOLDS, left_out_half_width
from unitlens.stats.recounts import Interval
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

_LARGEST = 1e100
"""Effects are smaller than this, so that their squares can be summed."""

COLUMNS = {
    "layer": "name of the layer",
    "units": "units of the layer: its own, directions or features",
    "top": "how many units are ablated together for a concept: those of the highest IoU with it, on other images",
    "concepts": "how many concepts: those that are in images of 8 folds or more",
    "images": "images that were measured: those with a class",
    "draws": "sets of as many units, drawn at random",
    "measure": "logit: the output of an image's own class; accuracy: whether that class is predicted, 1 or 0",
    "effect": "change in the images that contain a concept when its units are ablated, the mean over concepts",
    "low": "lower end of the 95 % interval (jackknife over folds)",
    "high": "upper end",
    "random_effect": "the same for sets that are drawn at random, in the same images",
    "beyond_random": "effect - random_effect",
    "beyond_random_low": "lower end of the 95 % interval, which also says that not all sets were drawn",
    "beyond_random_high": "upper end",
}
"""Name and meaning of every column of `ConceptEffects.table`, in order."""

CONCEPT_COLUMNS = {
    "layer": "name of the layer",
    "category": "category of the concept",
    "concept": "name of the concept",
    "images": "images with a class that contain it",
    "units": "units that are ablated in images of the odd folds, chosen on those of the even ones; joined by spaces",
    "units_in_even": "those that are ablated in images of the even folds, chosen on those of the odd ones",
    "measure": "as in the table of all concepts",
    "effect": "change in the images that contain the concept when these units are ablated",
    "low": "lower end of the 95 % interval (jackknife over folds)",
    "high": "upper end",
    "random_effect": "the same for sets that are drawn at random",
}
"""Name and meaning of every column of `ConceptEffects.concepts_table`, in order."""


@dataclass(frozen=True, kw_only=True)
class MeanEffect:
    """The mean effect over concepts on one measure; `COLUMNS` says what the numbers are.

    Attributes
    ----------
    left_out : tuple of float or None
        ``beyond_random`` without the images of each of the 32 folds; None where a fold has none.
    draws_half_width : float
        What not having drawn every set adds to half of the interval of ``beyond_random``.
    """

    effect: float
    low: float | None
    high: float | None
    random_effect: float
    beyond_random: float
    left_out: tuple[float | None, ...]
    draws_half_width: float

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.left_out) != FOLDS:
            raise UnitlensError(f"left_out has {len(self.left_out)} values; there are {FOLDS} folds.")
        _check_effect(self)
        for value in (self.beyond_random, *self.left_out):
            check_range("an effect", value or 0.0, -_LARGEST, _LARGEST)
        check_range("draws_half_width", self.draws_half_width, 0.0, _LARGEST)

    def interval(self) -> Interval:
        """``beyond_random``, with its 95 % interval."""
        half = float(np.hypot(left_out_half_width(self._left_out()), self.draws_half_width))
        return Interval(self.beyond_random, self.beyond_random - half, self.beyond_random + half)

    def minus(self, other: "MeanEffect", *, paired: bool) -> Interval:
        """How much larger ``beyond_random`` is than that of other units, on the same images or on others."""
        here, there = self._left_out(), other._left_out()
        parts = [here - there] if paired else [here, there]
        squares = sum(left_out_half_width(part) ** 2 for part in parts)
        half = float(np.sqrt(squares + self.draws_half_width**2 + other.draws_half_width**2))
        value = self.beyond_random - other.beyond_random
        return Interval(value, value - half, value + half)

    def _left_out(self) -> Floats:
        return np.array(self.left_out, np.float64)  # None becomes NaN


@dataclass(frozen=True, kw_only=True)
class OneEffect:
    """The effect on one concept and measure; `CONCEPT_COLUMNS` says what the numbers are."""

    effect: float
    low: float | None
    high: float | None
    random_effect: float

    def __post_init__(self) -> None:
        check_types(self)
        _check_effect(self)


def _check_effect(one: MeanEffect | OneEffect) -> None:
    """Make sure that an effect is one that can be, and lies in its interval."""
    for value in (one.effect, one.random_effect, one.low, one.high):
        check_range("an effect", value or 0.0, -_LARGEST, _LARGEST)
    check_interval("an effect", one.effect, one.low, one.high)


@dataclass(frozen=True, kw_only=True)
class EffectsOfConcept:
    """The effects of ablating the units of one concept."""

    category: str
    name: str
    images: int
    units: tuple[int, ...]
    units_in_even: tuple[int, ...]
    logit: OneEffect
    accuracy: OneEffect

    def __post_init__(self) -> None:
        check_types(self)
        check_range(f"the images of {self.name}", self.images, 1, MOST)


@dataclass(frozen=True, kw_only=True)
class ConceptEffects:
    """What ablating the units that fit a concept best does in images that contain it; see `unitlens.concept_effects`.

    Attributes
    ----------
    choice_sha256 : str
        Of the run that chose the units: a hash of its counts (`unitlens.dissection.beside.belonging.choice_sha256`).
    folds_sha256 : str
        Of the folds of the images: how many of each contain each concept, and their groups.
    logit, accuracy : MeanEffect
        The mean over concepts.
    concepts : tuple of EffectsOfConcept
        Those that are in images of 8 folds or more.
    """

    layer: str
    basis: BasisRecord | None
    network_sha256: str
    data_sha256: str
    choice_sha256: str
    folds_sha256: str
    units: int
    top: int
    ablation: str
    draws: int
    images: int
    logit: MeanEffect
    accuracy: MeanEffect
    concepts: tuple[EffectsOfConcept, ...]

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("network_sha256", "data_sha256", "choice_sha256", "folds_sha256"):
            check_hash(name, getattr(self, name))
        for name, least in (("units", 2), ("top", 1), ("draws", 2), ("images", 1)):
            check_range(name, getattr(self, name), least, MOST)
        pairs = [(one.category, one.name) for one in self.concepts]
        if not pairs or len(set(pairs)) < len(pairs):
            raise UnitlensError("there is no concept, or one is listed twice")
        for one in self.concepts:
            for units in (one.units, one.units_in_even):
                if len(set(units)) != self.top or not all(0 <= unit < self.units for unit in units):
                    raise UnitlensError(f"the units for {one.name} are not {self.top} of {self.units}")

    def __repr__(self) -> str:
        return f"<ConceptEffects of {self}>"

    def __str__(self) -> str:
        found = self.logit.interval()
        what = "the best unit" if self.top == 1 else f"the {self.top} best units"
        text = (
            f"{counted(len(self.concepts), 'concept')} in {self.images} images: ablating {what} changes the logit of "
            f"an image's own class by {self.logit.effect:+.3g}, and drawn ones by {self.logit.random_effect:+.3g}; "
            f"difference {found.value:+.3g}"
        )
        return text if np.isnan(found.low) else f"{text} ({found.low:+.3g} to {found.high:+.3g})"

    @property
    def measured_of(self) -> MeasuredOf:
        """What it was measured of, which says to which runs it belongs."""
        return MeasuredOf(
            "effects of concepts", self.layer, self.basis, self.network_sha256, self.data_sha256, self.choice_sha256
        )

    def is_comparable(self, other: "ConceptEffects") -> bool:
        """Whether as many units were ablated in the same way for the same concepts."""
        here, there = (
            (one.top, one.ablation, {(each.category, each.name) for each in one.concepts}) for one in (self, other)
        )
        return here == there

    def same_images(self, other: "ConceptEffects") -> bool:
        """Whether both were measured on the same images, in the same folds."""
        here, there = ((one.data_sha256, one.folds_sha256, one.images) for one in (self, other))
        return here == there

    def table(self) -> "pd.DataFrame":
        """A row for each measure, with the columns `COLUMNS`."""
        import pandas as pd

        shared = {name: getattr(self, name) for name in ("layer", "units", "top", "images", "draws")}
        rows = []
        for measure, effect in (("logit", self.logit), ("accuracy", self.accuracy)):
            beyond = effect.interval()
            numbers = {name: getattr(effect, name) for name in ("effect", "low", "high", "random_effect")}
            numbers |= {"beyond_random": beyond.value, "beyond_random_low": beyond.low}
            numbers |= {"beyond_random_high": beyond.high}
            rows.append({**shared, "concepts": len(self.concepts), "measure": measure, **numbers})
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def concepts_table(self) -> "pd.DataFrame":
        """A row for each concept and measure, with the columns `CONCEPT_COLUMNS`."""
        import pandas as pd

        rows = [
            {
                "layer": self.layer,
                "category": concept.category,
                "concept": concept.name,
                "images": concept.images,
                "units": " ".join(map(str, concept.units)),
                "units_in_even": " ".join(map(str, concept.units_in_even)),
                "measure": measure,
                **write_record(effect),
            }
            for concept in self.concepts
            for measure, effect in (("logit", concept.logit), ("accuracy", concept.accuracy))
        ]
        return pd.DataFrame(rows, columns=list(CONCEPT_COLUMNS))

    def save(self, run: str | Path, *, overwrite: bool = False) -> Path:
        """Write it into the folder of a run, beside those of its other layers, for `unitlens.compare`.

        Parameters
        ----------
        run : str or Path
        overwrite : bool
            Whether effects of more or fewer units, or of another ablation, may be replaced, or a damaged file.

        Raises
        ------
        UnitlensError
            If there is no run, or one of other units, of another network, or that did not choose the units; or others
            are there.

        Warns
        -----
        UnitlensWarning
            If it was measured on other images than those of the run.
        """
        from unitlens.dissection.result import open_run

        folder = Path(run)
        dissection = open_run(folder)
        check_replaceable(folder, self.layer, top=self.top, ablation=self.ablation, overwrite=overwrite)
        return FILE.save(self, dissection, folder, overwrite=overwrite)


FILE = LayerFile(
    "concept_effects.json",
    ConceptEffects,
    lambda: spelled(
        python="save it again with overwrite=True", shell="`unitlens ablate RUN --each-concept --overwrite`"
    ),
)
"""In the folder of a run."""


def check_replaceable(folder: Path, layer: str, *, top: int, ablation: str, overwrite: bool) -> None:
    """Make sure that effects of a layer that are in a run were measured in the same way, or may be replaced.

    Raises
    ------
    UnitlensError
        If not, or if they are damaged.
    """
    there = next((one for one in FILE.read(folder, overwrite=overwrite) if one.layer == layer), None)
    if there is None or overwrite or (there.top, there.ablation) == (top, ablation):
        return
    raise UnitlensError(
        f"The run in {folder} has the effects of {counted(there.top, 'unit')} for each concept in {layer}, "
        f"{there.ablation}; now they would be of {top}, {ablation}: replace them with {argument('overwrite', True)}."
    )
