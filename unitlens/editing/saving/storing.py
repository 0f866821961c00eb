"""Results as records and counts, and back: the counts of a file are believed where they can have been counted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.ablation.activity import Contributions
from unitlens.ablation.responses.area_tallies import AreaTally, Transitions
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.concept_set_result import ConceptSet
from unitlens.editing.detector_result import DrawnDetectors
from unitlens.editing.insertion_result import InsertionMap, InsertionTally
from unitlens.editing.saving.record import (
    AreaInfoRecord,
    CausalRecord,
    ConceptSetRecord,
    DetectorsRecord,
    DistanceRecord,
    MapRecord,
    MarkedRecord,
    ResultRecord,
    SetRecord,
)
from unitlens.editing.set_result import LayerDistance, SetAreas
from unitlens.errors import UnitlensError
from unitlens.records import read_record, write_record
from unitlens.stats.counts import narrow
from unitlens.stats.folds import FOLDS, chosen_folds

Arrays = Mapping[str, npt.NDArray[Any]]
Result = SetAreas | CausalEffects | InsertionMap | ConceptSet | DrawnDetectors


def describe_concepts(result: Result) -> tuple[MarkedRecord, ...]:
    """The concepts of a result, and how good their source is at each."""
    marked = zip(result.concepts, result.segmenter_iou.tolist(), strict=True)
    return tuple(MarkedRecord(*concept, None if np.isnan(iou) else iou) for concept, iou in marked)


def describe_result(result: Result, *, concepts: int, image: str | None, ranked: bool = False) -> ResultRecord:
    """All of a result but its counts.

    Parameters
    ----------
    result : Result
    concepts : int
        Which of the file's lists its concepts are.
    image : str or None
        The file of its sheet or figure.
    ranked : bool
        Of a sweep: whether its ranking by effect stands beside one by IoU.
    """
    common: dict[str, Any] = {
        "settings": result.settings,
        "info": read_record(AreaInfoRecord, result.info, what="info"),
        "concepts": concepts,
    }
    match result:
        case SetAreas():
            draws = {kind: len(tally.moved[0]) for kind, tally in result.drawn.items()}
            distance = None if result.distance is None else DistanceRecord(**result.distance._asdict())
            return SetRecord(
                **common,
                units=result.units,
                draws=draws,
                chosen_for=result.chosen_for,
                distance=distance,
                sheet=image,
                sheet_of=result.examples_of,
            )
        case CausalEffects():
            weighted = result.handed.weighted
            return CausalRecord(
                **common, units=result.units, inserted_at=result.inserted_at, weighted=weighted, ranked=ranked
            )
        case InsertionMap():
            assert image is not None
            return MapRecord(
                **common,
                units=result.units,
                column=result.column,
                grid=result.grid,
                draws=result.draws,
                figure=image,
            )
        case ConceptSet():
            return ConceptSetRecord(
                **common,
                method=result.method,
                target=result.target,
                ranking=result.ranking,
                sizes=result.sizes,
                column=result.column,
            )
        case DrawnDetectors():
            return DetectorsRecord(**common, units=result.units, column=result.column, least_area=result.least_area)


def arrays_of(result: Result) -> dict[str, npt.NDArray[Any]]:
    """The counts of a result, and what else is computed from."""
    match result:
        case SetAreas():
            tallies = [result.tally, *result.drawn.values()]
            joined = replace(
                result.tally,
                change=np.concatenate([tally.change for tally in tallies], 1),
                moved=np.concatenate([tally.moved for tally in tallies], 1),
            )
            arrays = _of_tally(joined) | {"became": result.transitions.became, "shown": result.transitions.positions}
        case CausalEffects():
            inserted = {"inserted": result.insertion.change, "inserted_moved": result.insertion.moved}
            arrays = _of_tally(result.removal) | inserted | {"handed": result.handed.values}
        case InsertionMap():
            counts = {name: np.atleast_1d(value) for name, value in result.tally._asdict().items()}
            arrays = {**counts, "areas": result.areas}
        case ConceptSet():
            arrays = _of_tally(result.tally) | ({} if result.weights is None else {"weights": result.weights})
        case DrawnDetectors():
            arrays = {"peaks": result.peaks, "area": result.area, "folds": result.folds}
    return {name: narrow(array) if array.dtype == np.int64 else array for name, array in arrays.items()}


def _of_tally(tally: AreaTally) -> dict[str, npt.NDArray[Any]]:
    names = ("positions", "images", "present", "before", "change", "moved")
    return {name: getattr(tally, name) for name in names} | {"numbers": np.array([tally.numbers])}


def restore_result(record: ResultRecord, marked: Sequence[MarkedRecord], arrays: Arrays) -> Result:
    """A result from its record, its concepts and its counts.

    Raises
    ------
    UnitlensError
        If an array is missing, too much, or cannot have been counted.
    """
    read = _Read(record, marked, arrays)
    common: dict[str, Any] = {
        "settings": record.settings,
        "info": write_record(record.info),
        "concepts": tuple(one.concept() for one in marked),
        "segmenter_iou": np.array([one.segmenter_iou for one in marked], np.float64),
    }
    match record:
        case SetRecord():
            result: Result = _restore_set(record, read, common)
        case CausalRecord():
            result = _restore_causal(record, read, common)
        case MapRecord():
            result = _restore_map(record, read, common)
        case ConceptSetRecord():
            result = _restore_concept_set(record, read, common)
        case DetectorsRecord():
            result = _restore_detectors(record, read, common)
        case _:
            raise AssertionError("records are of results")
    read.check_all_used()
    return result


def _restore_set(record: SetRecord, read: "_Read", common: Mapping[str, Any]) -> SetAreas:
    tally = read.tally(1 + sum(record.draws.values()))
    drawn, start = {}, 1
    for kind, count in record.draws.items():
        drawn[kind] = tally.only(slice(start, start + count))
        start += count
    things = read.things
    became = Transitions(read.counts("became", (things, things)), read.counts("shown", (things,)))
    per_position = became.positions * tally.images.sum()
    _require(bool((became.became.sum(1) <= per_position).all()), "more positions became another than there are")
    distance = None if record.distance is None else LayerDistance(**write_record(record.distance))
    return SetAreas(
        **common,
        units=record.units,
        tally=tally.only([0]),
        drawn=drawn,
        transitions=became,
        chosen_for=record.chosen_for,
        distance=distance,
        examples_of=record.sheet_of,
    )


def _restore_causal(record: CausalRecord, read: "_Read", common: Mapping[str, Any]) -> CausalEffects:
    removal = read.tally(record.units)
    shape = (FOLDS, record.units)
    change = read.counts("inserted", (*shape, read.concepts), signed=True)
    insertion = replace(removal, change=change, moved=read.counts("inserted_moved", shape))
    handed = Contributions(read.numbers("handed", (record.units,)), record.weighted)
    _check_areas(insertion)
    return CausalEffects(**common, inserted_at=record.inserted_at, removal=removal, insertion=insertion, handed=handed)


def _restore_map(record: MapRecord, read: "_Read", common: Mapping[str, Any]) -> InsertionMap:
    tally = _insertion_tally(record, read)
    areas = read.counts("areas", (record.info.data.measured,))
    _require(bool((areas <= tally.positions).all()), "a concept has more area than an image")
    return InsertionMap(
        **common,
        column=record.column,
        units=record.units,
        grid=record.grid,
        draws=record.draws,
        areas=areas,
        tally=tally,
    )


def _restore_concept_set(record: ConceptSetRecord, read: "_Read", common: Mapping[str, Any]) -> ConceptSet:
    return ConceptSet(
        **common,
        method=record.method,
        target=record.target,
        ranking=record.ranking,
        sizes=record.sizes,
        column=record.column,
        tally=read.tally(len(record.sizes)),
        weights=read.numbers("weights", None) if record.method == "optimise" else None,
    )


def _restore_detectors(record: DetectorsRecord, read: "_Read", common: Mapping[str, Any]) -> DrawnDetectors:
    images = record.info.data.measured
    return DrawnDetectors(
        **common,
        column=record.column,
        units=record.units,
        least_area=record.least_area,
        peaks=read.numbers("peaks", (images, len(record.units))),
        area=read.numbers("area", (images,)),
        folds=read.folds(),
    )


def _insertion_tally(record: MapRecord, read: "_Read") -> InsertionTally:
    places = record.grid[0] * record.grid[1]
    by_thing, by_place = (FOLDS, read.things), (places,)
    tally = InsertionTally(
        images=read.images(),
        seen=read.counts("seen", by_thing),
        appeared=read.counts("appeared", by_thing),
        by_random=read.counts("by_random", by_thing),
        change=read.counts("change", by_thing, signed=True),
        appeared_at=read.counts("appeared_at", by_place),
        change_at=read.counts("change_at", by_place, signed=True),
        positions=int(read.counts("positions", (1,))[0]),
    )
    _require(tally.positions > 0, "an image has no positions")
    _require(bool((tally.seen.sum(1) == tally.images * places).all()), "things stood at other places than there are")
    appeared = (tally.appeared <= tally.seen).all() and (tally.by_random <= tally.seen * record.draws).all()
    _require(bool(appeared), "a concept appeared at more places than there are")
    same = tally.appeared.sum() == tally.appeared_at.sum() and tally.change.sum() == tally.change_at.sum()
    _require(bool(same), "counts by thing and by place do not agree")
    possible = np.abs(tally.change) <= tally.seen * tally.positions
    _require(bool(possible.all()), "an area changes by more than an image")
    return tally


class _Read:
    """Arrays of one result, each of which is taken once, in its type and shape."""

    def __init__(self, record: ResultRecord, marked: Sequence[MarkedRecord], arrays: Arrays) -> None:
        self.record, self.arrays = record, arrays
        self.concepts = len(marked)
        self.things = self.concepts + len({one.category for one in marked})  # with nothing of each category
        self.used: set[str] = set()

    def _array(self, name: str) -> npt.NDArray[Any]:
        if name not in self.arrays:
            raise UnitlensError(f"{name} is missing in the counts")
        self.used.add(name)
        return self.arrays[name]

    def counts(self, name: str, shape: tuple[int, ...], *, signed: bool = False) -> npt.NDArray[np.int64]:
        """Whole numbers; not below 0 unless they are changes."""
        array = self._array(name)
        whole = array.dtype.kind in "iu" and array.shape == shape
        _require(whole, f"{name} is {array.dtype} {array.shape}, not whole numbers {shape}")
        _require(signed or bool((array >= 0).all()), f"{name} has counts below 0")
        return array.astype(np.int64)

    def numbers(self, name: str, shape: tuple[int, ...] | None) -> npt.NDArray[np.float64]:
        """Finite numbers; of any one-dimensional shape where none is given."""
        array = self._array(name)
        fits = array.ndim == 1 if shape is None else array.shape == shape
        _require(array.dtype == np.float64 and fits, f"{name} is {array.dtype} {array.shape}, not float64 {shape}")
        _require(bool(np.isfinite(array).all()), f"{name} has values that are not finite")
        return array

    def images(self) -> npt.NDArray[np.int64]:
        """How many of each fold were measured."""
        images, settings = self.counts("images", (FOLDS,)), self.record.settings
        measured = self.record.info.data.measured
        _require(int(images.sum()) == measured, f"the folds have {images.sum()} images, and {measured} were measured")
        _require(not images[~chosen_folds(settings.folds)].any(), f"not all images are of the {settings.folds} folds")
        return images

    def folds(self) -> npt.NDArray[np.int64]:
        """The fold of each image."""
        folds = self.counts("folds", (self.record.info.data.measured,))
        _require(bool((folds < FOLDS).all()), f"an image is of a fold beyond the {FOLDS}")
        return folds

    def tally(self, variants: int) -> AreaTally:
        """Areas under so many interventions."""
        of_images, of_variants = (FOLDS, self.concepts), (FOLDS, variants)
        tally = AreaTally(
            positions=self.counts("positions", (self.concepts,)),
            images=self.images(),
            present=self.counts("present", of_images),
            before=self.counts("before", of_images),
            change=self.counts("change", (*of_variants, self.concepts), signed=True),
            moved=self.counts("moved", of_variants),
            numbers=int(self.counts("numbers", (1,))[0]),
        )
        _check_areas(tally)
        return tally

    def check_all_used(self) -> None:
        """No array may be too much."""
        further = sorted(self.arrays.keys() - self.used)
        _require(not further, f"{', '.join(further)} is not one of the counts")


def _check_areas(tally: AreaTally) -> None:
    """Areas lie between nothing and the whole image."""
    images = tally.images[:, None]
    _require(bool((tally.positions > 0).all()) and tally.numbers > 0, "an image has no positions")
    _require(bool((tally.present <= images).all()), "a concept is in more images than there are")
    _require(bool((tally.before <= tally.present * tally.positions).all()), "a concept has more area than its images")
    after = tally.before[:, None] + tally.change
    possible = (after >= 0) & (after <= (images * tally.positions)[:, None])
    _require(bool(possible.all()), "an area under an intervention is below 0, or larger than the images")
    _require(bool((tally.moved <= images * tally.numbers * 255).all()), "images moved further than they can")


def _require(true: bool, fact: str) -> None:
    if not true:
        raise UnitlensError(fact)
