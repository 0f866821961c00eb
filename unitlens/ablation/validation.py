"""Whether saved effects can be believed: each count possible, all of one measurement, and the tables made from them.

Effects may come from anybody, and may have been edited. So nothing is taken over that could not have been measured:
what follows from the counts is computed again, and compared with the tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unitlens.ablation.estimates import OF_COUNTS
from unitlens.ablation.measurement import Measurement
from unitlens.ablation.random_sets import KINDS
from unitlens.ablation.result import Curve, Member, SetEffects, UnitEffects
from unitlens.ablation.table import LayerUnit, UnitSet
from unitlens.ablation.tallies import BY_FOLD, HALVES, Sums, Tally
from unitlens.data.classes import output_names
from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError
from unitlens.files import another_folder
from unitlens.models.bases import Coding

if TYPE_CHECKING:
    import pandas as pd

Arrays = Mapping[str, npt.NDArray[Any]]
Result = UnitEffects | SetEffects | Curve

_CURVE = {"most": 1, "least": 1, "kept": 1, "random": None, "matched": None}
"""Kinds of sets of a curve, and how many there are of each size."""

_FEW, _MANY = ("images", "right", "predicted"), ("gained", "lost", "false_gained", "false_lost")
_SAME = 1e-6  # of numbers that another machine may round otherwise


def read_tally(arrays: Arrays, *, sets: int, classes: int, measures: Sequence[str], images: int) -> Tally:
    """Take counts, and make sure that they can have come from predictions.

    Parameters
    ----------
    arrays : mapping of str to array
        As `Tally.arrays` gives them.
    sets, classes : int
        How many.
    measures : sequence of str
        Those that are not counts are summed, and so is the logit.
    images : int
        How many were measured.

    Raises
    ------
    UnitlensError
        If an array is missing, too much, or of another shape or type; if counts contradict each other.
    """
    sums = dict.fromkeys(["logit", *(measure for measure in measures if measure not in OF_COUNTS)])
    expected = {*_FEW, *_MANY, *(f"{name}/{part}" for name in sums for part in Sums._fields)}
    if arrays.keys() != expected:
        name = min(arrays.keys() ^ expected)
        raise UnitlensError(f"{name} is {'missing in' if name in expected else 'not one of'} the counts")
    rows = len(arrays["images"]) if arrays["images"].ndim == 2 else 0
    _require(rows in (HALVES, *BY_FOLD), f"images have {rows} rows, not {HALVES} or {', '.join(map(str, BY_FOLD))}")
    for name, array in arrays.items():
        few = name in _FEW or name.endswith("/before")
        shape = (rows, classes) if few else (rows, sets, classes)
        dtype = "float64" if "/" in name else "int64"
        _require(
            array.dtype == dtype and array.shape == shape,
            f"{name} is {array.dtype} {array.shape}, not {dtype} {shape}",
        )
        possible = np.isfinite(array) if "/" in name else (array >= 0) & (array <= images)
        possible &= (array >= 0) | (few if "/" in name else True)
        _require(bool(possible.all()), f"{name} has values that no count of {images} images has")
    tally = Tally.of(arrays)
    _require(sum(tally.images.ravel().tolist()) == images, f"the images of the classes are not {images} in all")
    _check_counts(tally)
    for name, own in tally.sums.items():
        _check_sums(name, own, tally)
    return tally


def _check_counts(tally: Tally) -> None:
    """Check that each count is a part of what it is counted in, and that each image has one prediction."""
    images, right = tally.images, tally.right
    wrong = tally.predicted - right  # images of other classes for which the class is predicted
    others = images.sum(1, keepdims=True) - images
    bounds = {
        "right": (right, images),
        "predicted": (wrong, others),
        "lost": (tally.lost, right[:, None]),
        "gained": (tally.gained, (images - right)[:, None]),
        "false_lost": (tally.false_lost, wrong[:, None]),
        "false_gained": (tally.false_gained, (others - wrong)[:, None]),
    }
    for name, (count, most) in bounds.items():
        _require(bool((count <= most).all() and (wrong >= 0).all()), f"{name} counts more images than there are")
    one_each = (tally.predicted.sum(1) == images.sum(1)).all()
    lost, gained = (tally.lost + tally.false_lost).sum(2), (tally.gained + tally.false_gained).sum(2)
    _require(bool(one_each and (lost == gained).all()), "there are more or fewer predictions than images")


def _check_sums(name: str, sums: Sums, tally: Tally) -> None:
    """Check that sums over no image are 0, and that squares are as large as the sums make them, and no larger."""
    images = tally.images[:, None]
    empty = ~(sums.rise + sums.fall + np.abs(sums.before[:, None]) > 0)
    _require(bool((empty | (images > 0)).all()), f"{name} is summed over no image")
    for part, total, squares in (("rise", sums.rise, sums.rise_squares), ("fall", sums.fall, sums.fall_squares)):
        with np.errstate(over="ignore"):
            least, most = total**2 / np.maximum(images, 1), total**2
        few, many = squares >= least * (1 - _SAME), squares <= most * (1 + _SAME)
        _require(bool(few.all()), f"{name}/{part}_squares are too small for its sums")
        _require(bool(many.all()), f"{name}/{part}_squares are too large for its sums")


def check_measurement(measured: Measurement, network_classes: Sequence[str] | None) -> None:
    """Make sure that a measurement's sets, outputs and peaks fit each other and its settings.

    Raises
    ------
    UnitlensError
        If a unit does not exist or stands twice in a set, an output has another name, or images of other folds count.
    """
    settings, outputs, peaks = measured.settings, measured.outputs, measured.peaks
    _require(peaks.dtype == "float64" and peaks.ndim == 1 and len(peaks) > 0, "peaks are not one number a unit")
    names = output_names(network_classes, outputs.output_of, len(outputs.names))
    _require(outputs.names == names, "the outputs have other names than the classes of the network or the data")
    with_images = set(np.flatnonzero(measured.tally.images.sum(0)).tolist())
    _require(with_images <= set(outputs.output_of.values()), "an output has images, and no class of the data is its")
    if settings.folds != "all":
        other = 0 if settings.folds == "odd" else 1
        _require(not measured.tally.images[other::2].any(), f"not all images are of the {settings.folds} folds")
    for units in measured.sets:
        _require(len(set(units)) == len(units), "a set has a unit twice")
        for unit in units:
            several = isinstance(unit, LayerUnit)
            _require(several == (len(settings.layers) > 1), "units of several layers are named with their layers")
            _require(not isinstance(unit, LayerUnit) or unit.layer in settings.layers, "a unit is of another layer")
            number = unit.unit if isinstance(unit, LayerUnit) else unit
            _require(0 <= number < len(peaks), f"a set has unit {number} of {len(peaks)}")


def read_set(content: Any) -> UnitSet:
    """Take the units of a set, each a whole number or [layer, whole number].

    Raises
    ------
    UnitlensError
        If it is not such a list.
    """
    _require(isinstance(content, list | tuple), "a set of units is not a list")
    return tuple(map(_read_unit, content))


def _read_unit(content: Any) -> int | LayerUnit:
    if type(content) is int:
        return content
    pair = content if isinstance(content, list | tuple) and len(content) == 2 else (None, None)
    _require(isinstance(pair[0], str) and type(pair[1]) is int, "a unit is not a whole number, or a layer and one")
    return LayerUnit(*pair)


def read_member(content: Any) -> Member:
    """Take what a set of a curve is.

    Raises
    ------
    UnitlensError
        If it is not a known kind with two whole numbers.
    """
    _require(isinstance(content, list | tuple) and len(content) == len(Member._fields), "a set of a curve is unknown")
    kind, k, draw = content
    known = isinstance(kind, str) and kind in _CURVE and type(k) is type(draw) is int
    _require(known and k >= 1 and draw >= 0, f"a set of a curve is none of {', '.join(_CURVE)} of some size")
    return Member(kind, k, draw)


def check_result(result: Result) -> None:
    """Make sure that the parts of a result belong together.

    Raises
    ------
    UnitlensError
        If they do not.
    """
    match result:
        case UnitEffects():
            _check_units(result.measured)
        case SetEffects():
            _check_set(result)
        case Curve():
            _check_units(result.ranking.measured)
            _check_curve(result)


def _check_units(measured: Measurement) -> None:
    alone = tuple((unit,) for unit in range(len(measured.peaks)))
    _require(measured.sets == alone, "effects of every unit alone do not have each unit once, in order")


def _check_set(effects: SetEffects) -> None:
    measured = effects.measured
    _require(len(measured.sets) == 1, f"one set has the counts of {len(measured.sets)}")
    for kind, drawn in effects.drawn.items():
        _require(kind in KINDS and len(drawn.sets) > 0, f"drawn sets are none of {', '.join(KINDS)}")
        _require(_alike(drawn, measured), "a set and those drawn were measured in other ways, or on other images")
        sizes = {tuple(map(_layer_of, units)) for units in drawn.sets}
        _require(sizes == {tuple(map(_layer_of, effects.units))}, "a drawn set has another size")


def _layer_of(unit: int | LayerUnit) -> str | None:
    return unit.layer if isinstance(unit, LayerUnit) else None


def _alike(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements have the same settings, source and untouched network."""
    untouched = [
        np.array_equal(array, other.tally.arrays()[name])
        for name, array in one.tally.arrays().items()
        if array.ndim == 2
    ]
    return all(
        (
            one.settings == other.settings,
            one.info == other.info,
            one.outputs == other.outputs,
            np.array_equal(one.peaks, other.peaks, equal_nan=True),
            all(untouched),
        )
    )


def _check_curve(curve: Curve) -> None:
    """Check that a curve has each set once, of the right size, growing, and none beside what it is compared with."""
    measured, members = curve.measured, curve.members
    every = frozenset(range(len(measured.peaks)))
    _require(len(members) == len(measured.sets), "a curve has more or fewer sets than counts")
    _require(curve.class_ in measured.classes, "a curve is of a class that has no images")
    ranked = curve.ranking.measured
    same = (ranked.settings.layers, ranked.outputs) == (measured.settings.layers, measured.outputs)
    _require(same and len(ranked.peaks) == len(every), "a curve and the effects that rank its units are of two layers")
    sets = {member: frozenset(units) for member, units in zip(members, measured.sets, strict=True)}
    _require(len(sets) == len(members), "a curve has a set twice")
    wanted = {Member(kind, k, 0) for k in curve.sizes for kind, count in _CURVE.items() if count}
    given = {member for member in sets if _CURVE[member.kind]}
    _require(wanted == given, "a curve does not have one set of the most and of the least important units a size")
    for member, units in sets.items():
        most = sets[Member("most", member.k, 0)]
        _require(len(units) == (len(every) - member.k if member.kind == "kept" else member.k), "a set has another size")
        _require(member.kind != "kept" or units == every - most, "the units kept are not the most important ones")
        _require(member.kind != "matched" or not units & most, "a set is compared with its own units")
    for smaller, larger in pairwise(curve.sizes):
        for kind in ("most", "least"):
            grows = sets[Member(kind, smaller, 0)] < sets[Member(kind, larger, 0)]
            _require(grows, "a larger set of a curve does not contain the smaller one")


def check_networks(measurements: Iterable[Measurement]) -> None:
    """Make sure that effects that are saved together are of one network.

    Raises
    ------
    UnitlensError
        If they are not.
    """
    if len({measured.info["network"]["sha256"] for measured in measurements}) > 1:
        raise UnitlensError("The effects are of different networks, or of different weights: save them apart.")


def read_table(path: Path, columns: Sequence[str], *, text: Sequence[str]) -> "pd.DataFrame":
    """Read a table with these columns: texts as they are, all others as float64.

    Raises
    ------
    UnitlensError
        If it is not there, has other columns, or no numbers where they should be.
    """
    import pandas as pd

    _require(path.is_file(), f"there is no file {path.name}")
    types: dict[Any, Any] = {name: object if name in text else np.float64 for name in columns}
    empty = {name: [""] for name in columns if name not in text}
    try:
        table = pd.read_csv(
            path,
            dtype=types,
            keep_default_na=False,
            na_values=empty,
            low_memory=False,
            encoding_errors="surrogateescape",
        )
    except (OSError, ValueError) as error:
        raise UnitlensError(f"{path.name} cannot be read ({str(error).strip()})") from None
    same = list(table.columns) == list(columns) and isinstance(table.index, pd.RangeIndex)
    _require(same, f"{path.name} has other columns than those of this version")
    return table


def check_table(file: str, table: "pd.DataFrame", expected: "pd.DataFrame") -> None:
    """Make sure that a table is what the counts give.

    Parameters
    ----------
    file : str
    table : DataFrame
        Its texts as objects, its numbers as float64.
    expected : DataFrame

    Raises
    ------
    UnitlensError
        If a row is missing or too much, or a value is another.
    """
    _require(len(table) == len(expected), f"{file} has {len(table)} rows, and the counts give {len(expected)}")
    for name in expected.columns:
        given, own = table[name].to_numpy(), expected[name]
        if given.dtype.kind == "f":
            same = np.isclose(given, own.to_numpy(np.float64), rtol=_SAME, atol=1e-9, equal_nan=True)
        else:
            same = np.asarray(given == own.to_numpy(object), bool)
        if not same.all():
            raise UnitlensError(f"{file}: {name} in row {int(np.argmin(same)) + 1} does not agree with the counts")


def check_agreement(table: "pd.DataFrame", effects: UnitEffects | None) -> None:
    """Make sure that a table of the agreement with attributions is possible.

    Parameters
    ----------
    table : DataFrame
        With the columns `unitlens.ablation.agreement.AGREEMENT_COLUMNS`.
    effects : UnitEffects, optional
        What the attributions are compared with.

    Raises
    ------
    UnitlensError
        If it is not.
    """
    _require(effects is not None, "there are no effects of every unit alone that attributions could agree with")
    assert effects is not None
    _require(bool((table["layer"] == effects.layer).all()), "another layer is attributed to")
    _require(bool(table["class"].isin(effects.classes).all()), "there is a class without images")
    _require(not table.duplicated(["method", "class"]).any(), "there is a class twice")
    known = table["spearman"].isna() | table["spearman"].between(-1, 1)
    shares = table["overlap"].between(0, 1) & table["chance"].between(0, 1)
    _require(bool((known & shares).all()), "a correlation or a share is beyond its limits")
    _require(bool(table["top"].between(1, effects.units).all()), "top is not a number of units")
    same = np.isclose(table["chance"], table["top"] / effects.units, rtol=_SAME)
    _require(bool(same.all()), "chance does not agree with top")
    images = table["class"].map(dict(zip(effects.classes, _images(effects), strict=True)))
    _require(bool(((table["images"] >= 1) & (table["images"] <= images)).all()), "images are more than there are")


def _images(effects: UnitEffects) -> list[int]:
    """Images of each class that has any."""
    counted = effects.measured.counted().images
    return [int(count) for count in counted[np.flatnonzero(counted)]]


def _require(true: bool, fact: str) -> None:
    if not true:
        raise UnitlensError(fact)


def check_units_alike(folder: Path, basis: Coding | BasisRecord | None, of_run: BasisRecord | None) -> None:
    """Make sure that effects are of the units that a run has: the layer's own, directions of a basis, or features.

    Parameters
    ----------
    folder : Path
        Of the run.
    basis, of_run : Coding, BasisRecord or None
        Of the effects, and of the run.

    Raises
    ------
    UnitlensError
        If they are of others.
    """
    effects, run = (None if one is None else one.sha256 for one in (basis, of_run))
    if effects != run:
        nouns = ["features" if getattr(one, "kind", None) else "directions" for one in (basis, of_run)]
        hashes = zip(nouns, (effects, run), strict=True)
        kinds = ["the layer's own units" if one is None else f"{noun} ({one[:8]})" for noun, one in hashes]
        raise UnitlensError(
            f"The effects are of {kinds[0]}, and the run in {folder} is of {kinds[1]}: {another_folder()}."
        )
