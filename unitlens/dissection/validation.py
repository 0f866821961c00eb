"""Whether the tables and counts of a saved run can be believed: each of them possible, and all of one dissection.

A run folder may come from anybody, and may have been edited. So nothing is taken over that could not have been written
by a dissection: what can be computed from the counts is computed, and compared.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unitlens.dissection.run_record import MOST, RunRecord
from unitlens.dissection.table import COLUMNS, UNTRAINED_SHARE, iou_ceiling, passes_rule, verdicts
from unitlens.errors import UnitlensError
from unitlens.stats.counts import Counts
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import LEVEL_SCORES, Bools, Floats, Ints, score_function, share

if TYPE_CHECKING:
    import pandas as pd

Arrays = Mapping[str, npt.NDArray[Any]]
Strips = Mapping[tuple[str, int], bytes]

EXEMPLAR_COLUMNS = ("layer", "unit", "rank", "image", "value", "peak_y", "peak_x")

# fmt: off
_SHARES = (
    "iou", "second_iou", "iou_low", "iou_high", "concept_stability", "heldout_iou", "chance_iou", "chance_sd",
    "p_value", "q_value", "q_over_layers", "concept_p_value", "concept_q_value", "context_iou", "context_p",
    "context_q", "untrained_percentile", "untrained_percentile_all", "untrained_share", "presence_accuracy",
    "active_share", "precision", "iou_ceiling", "segmenter_iou", "heldout_low", "heldout_high", "needed_precision",
)
# fmt: on
_VERDICTS = ("nonfinite", "silent", "chance", "context", "weak", "untrained", "detector")
_EVIDENCE = (
    "iou_low",
    "iou_high",
    "concept_stability",
    "concept_set",
    "heldout_iou",
    "heldout_low",
    "heldout_high",
    "concepts_needed",
    "needed_concepts",
    "needed_precision",
    "chance_iou",
    "chance_sd",
    "p_value",
    "q_value",
    "q_over_layers",
    "concept_p_value",
    "concept_q_value",
    "context_iou",
    "context_p",
    "context_q",
)
_SAME = 1e-9  # of ratios that another machine may round otherwise
_AT_ONCE = 1 << 20  # intersections that are looked at together
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")


def check_counts(layer: str, arrays: Arrays, record: RunRecord) -> Counts:
    """Make sure that the counts of a layer are possible.

    Parameters
    ----------
    layer : str
    arrays : mapping of str to array
        The layer's part of counts.safetensors.
    record : RunRecord
        Of the same run.

    Returns
    -------
    Counts

    Raises
    ------
    UnitlensError
        If an array is missing, too much, or of another shape or type; if a count is negative or larger than what it is
        a part of.
    """
    units, concepts, categories = record.layers[layer].units, len(record.data.concepts), len(record.data.categories)
    shapes: dict[str, tuple[int, ...]] = {
        "category_of": (concepts,),
        "activated_by_fold": (units, FOLDS, categories),
        "active": (units,),
        "concept_by_fold": (FOLDS, concepts),
        "judged_by_fold": (FOLDS, categories),
        "positions": (1,),
    }
    levels = dict.fromkeys(LEVEL_SCORES if record.settings.needs_levels else (), (units, concepts))
    expected = {*shapes, "index", "value", *levels}
    if arrays.keys() != expected:
        name = min(arrays.keys() ^ expected)
        raise UnitlensError(f"{layer}/{name} is {'missing in' if name in expected else 'not one of'} the counts")
    for name, shape in {**shapes, **levels}.items():
        _check_array(f"{layer}/{name}", arrays[name], shape, "float64" if name in levels else "int64")
    for name in levels:
        _require(bool((np.abs(arrays[name]) <= 1 + _SAME).all()), f"{layer}/{name} lies beyond -1 and 1")
    counts = Counts.from_arrays(arrays)
    _check_bounds(layer, counts, record)
    _check_intersections(layer, counts)
    return counts


def _check_array(what: str, array: npt.NDArray[Any], shape: tuple[int, ...], dtype: str) -> None:
    _require(
        array.dtype == dtype and array.shape == shape, f"{what} is {array.dtype} {array.shape}, not {dtype} {shape}"
    )


def _check_bounds(layer: str, counts: Counts, record: RunRecord) -> None:
    """Check the counts that are no intersections: each is a part of what is judged, or of all positions."""
    category = {name: k for k, name in enumerate(record.data.categories)}
    recorded = [category[concept.category] for concept in record.data.concepts]
    positions = record.positions(layer)
    _require(counts.category_of.tolist() == recorded, f"{layer}/category_of has other categories than run.json")
    _require(counts.positions == positions <= MOST, f"{layer} has {counts.positions} positions, run.json {positions}")
    for name in ("activated_by_fold", "active", "concept_by_fold", "judged_by_fold"):
        array = getattr(counts, name)
        _require(bool(((array >= 0) & (array <= positions)).all()), f"{layer}/{name} lies beyond 0 and {positions}")
    judged, activated = counts.judged_by_fold, counts.activated_by_fold
    parts = {
        "judged positions": judged.sum(0) <= positions,
        "activated positions by fold": activated <= judged,
        "activated positions": activated.sum(1) <= counts.active[:, None],
        "positions of a concept": counts.concept_by_fold <= judged[:, counts.category_of],
    }
    for name, true in parts.items():
        _require(bool(true.all()), f"{layer}: {name} are more than what they are a part of")


def _check_intersections(layer: str, counts: Counts) -> None:
    """Check that intersections are counts, and no larger than mask and concept in the same fold."""
    index, value = counts.index, counts.value
    units, folds, concepts = counts.shape
    whole = all(array.ndim == 1 and array.dtype in (np.int32, np.int64) for array in (index, value))
    _require(whole and len(index) == len(value), f"{layer}/index and value are not whole numbers, one for the other")
    if not len(index):
        return
    rising = bool((index[1:] > index[:-1]).all()) and index[0] >= 0 and int(index[-1]) < units * folds * concepts
    _require(rising and bool((value > 0).all()), f"{layer}/index and value are not counts of pairs")
    for first in range(0, len(index), _AT_ONCE):
        position, both = (array[first : first + _AT_ONCE].astype(np.int64) for array in (index, value))
        unit, fold, concept = position // (folds * concepts), position // concepts % folds, position % concepts
        mask = counts.activated_by_fold[unit, fold, counts.category_of[concept]]
        possible = both <= np.minimum(mask, counts.concept_by_fold[fold, concept])
        _require(bool(possible.all()), f"{layer}: an intersection is larger than the mask or the concept")


def check_units(table: "pd.DataFrame", arrays: Arrays, counts: Mapping[str, Counts], record: RunRecord) -> None:
    """Make sure that units.csv is what the counts give.

    Parameters
    ----------
    table : DataFrame
        units.csv.
    arrays : mapping of str to array
        counts.safetensors, for scores at several levels.
    counts : mapping of str to Counts
        By layer.
    record : RunRecord

    Raises
    ------
    UnitlensError
        If a column or row is missing, too much or impossible, or says something else than the counts.
    """
    _require(list(table.columns) == list(COLUMNS), "units.csv has other columns than those of this version")
    rows = [(layer, unit) for layer, one in record.layers.items() for unit in range(one.units)]
    given = list(zip(table["layer"], table["unit"], strict=True))
    _require(given == rows, "units.csv has other units than run.json: a row each, in their order")
    _check_values(table, record, "units.csv")
    first = 0
    for layer, layer_counts in counts.items():
        part = table.iloc[first : first + record.layers[layer].units]
        first += len(part)
        score = record.settings.score
        scores = arrays[f"{layer}/{score}"] if score in LEVEL_SCORES else score_function(score)(layer_counts.overlap)
        _check_layer(layer, part, layer_counts, scores, record)


def _check_values(table: "pd.DataFrame", record: RunRecord, file: str) -> None:
    """Check what can be seen in a table itself: ranges, known words, and columns that belong together."""
    for name in _SHARES:
        values = table[name].to_numpy(np.float64)
        _require(
            bool((np.isnan(values) | ((values >= 0) & (values <= 1))).all()), f"{file}: {name} lies beyond 0 and 1"
        )
    _require(bool(np.isfinite(table["threshold"]).all()), f"{file}: a threshold is not finite")
    _require(bool((table["nonfinite"] >= 0).all()), f"{file}: nonfinite is negative")
    _require(bool(table["verdict"].isin(_VERDICTS).all()), f"{file}: a verdict is none of {', '.join(_VERDICTS)}")
    detector = (table["verdict"] == "detector").to_numpy(bool)
    _require(bool((table["detector"] == detector).all()), f"{file}: detector and verdict contradict each other")
    for ends in (("iou_low", "iou_high"), ("heldout_low", "heldout_high")):
        low, high = (table[name].to_numpy(np.float64) for name in ends)
        same = (np.isnan(low) == np.isnan(high)) & ~(low > high)
        _require(bool(same.all()), f"{file}: {' and '.join(ends)} are not ends of an interval")
    images = table["active_images"].to_numpy(np.int64)
    _require(
        bool(((images >= 0) & (images <= record.data.images)).all()),
        f"{file}: active_images lies beyond 0 and {record.data.images}",
    )
    for prefix in ("", "second_"):
        _columns(table, record, prefix, file)
    names = set(record.concept_names())
    for column in ("concept_set", "needed_concepts"):
        for text in table[column]:
            if isinstance(text, str):
                _require(names.issuperset(_json_list(text)), f"{file}: {text} is not a JSON list of concepts")


def _json_list(text: str) -> Sequence[Any]:
    """Read a JSON list of texts; another one than any concept's name where it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return (None,)
    return content if isinstance(content, list) and all(isinstance(one, str) for one in content) else (None,)


def _columns(table: "pd.DataFrame", record: RunRecord, prefix: str, file: str) -> Ints:
    """Return the columns of the counts of the concepts that a table names, -1 where it names none."""
    column_of = {
        (concept.category, name): column
        for column, (concept, name) in enumerate(zip(record.data.concepts, record.concept_names(), strict=True))
    }
    category, concept = table[f"{prefix}category"], table[f"{prefix}concept"]
    missing = concept.isna().to_numpy(bool)
    _require(bool((category.isna() == missing).all()), f"{file}: a {prefix}concept without its category")
    pairs = zip(category, concept, missing, strict=True)
    columns = np.array([-1 if absent else column_of.get((kind, name), -2) for kind, name, absent in pairs], np.int64)
    if (columns == -2).any():
        name = concept.iloc[int(np.argmax(columns == -2))]
        raise UnitlensError(f"{file}: {name} is not a concept of the data, or of another category")
    return columns


def _check_layer(layer: str, table: "pd.DataFrame", counts: Counts, scores: Floats, record: RunRecord) -> None:
    """Compare the rows of a layer with its counts."""
    where = f"units.csv: {layer}"
    settings = record.settings
    nonfinite = table["nonfinite"].to_numpy(np.int64) > 0
    silent = (counts.active == 0) & ~nonfinite
    mute = silent | nonfinite
    column, second = (_columns(table, record, prefix, where) for prefix in ("", "second_"))
    labelled = column >= 0
    _require(int(nonfinite.sum()) == record.layers[layer].nonfinite, f"{where} has other nonfinite units than run.json")
    _agree(where, "silent", table["silent"].to_numpy(bool) == silent)
    _agree(where, "concept", labelled == (~mute & (counts.intersection > 0).any(1)))
    _agree(where, "second_concept", ~(second >= 0) | labelled & (second != column))
    _check_best(where, column, labelled, counts, scores)
    _check_counted(where, table, column, labelled, counts)
    _check_ratio(where, table, "iou", np.where(labelled, counts.iou[np.arange(len(column)), column], 0.0), ~mute)
    _check_ratio(where, table, "second_iou", counts.iou[np.arange(len(second)), second], second >= 0)
    unit = np.arange(len(column))
    activated, concept = counts.activated[unit, column], counts.concept[column]
    _check_ratio(where, table, "precision", share(counts.intersection[unit, column], activated), labelled)
    _check_ratio(where, table, "iou_ceiling", iou_ceiling(activated, concept), labelled)
    segmenter = np.array([one.segmenter_iou for one in record.data.concepts], np.float64)
    _check_ratio(where, table, "segmenter_iou", segmenter[column], labelled)
    images = table["active_images"].to_numpy(np.int64)
    _agree(where, "active_images", (images <= counts.active) & ((images > 0) == (counts.active > 0)))
    _check_needed(where, table, column, counts, record)
    _check_ratio(where, table, "active_share", counts.active / counts.positions, np.ones(len(column), bool))
    above = (table["iou"].to_numpy(np.float64) > settings.min_iou) & ~mute
    _agree(where, "above_min_iou", table["above_min_iou"].to_numpy(bool) == above)
    _agree(where, "evaluated_on", table["evaluated_on"] == ("image" if record.layers[layer].grid is None else "grid"))
    if not settings.evidence:
        _agree(where, "evidence that was not computed", table[list(_EVIDENCE)].isna().all(axis=1))
    q_value = table["q_value"].to_numpy(np.float64) if settings.evidence else None
    context_q = table["context_q"].to_numpy(np.float64) if settings.evidence else None
    iou, heldout, low = (table[name].to_numpy(np.float64) for name in ("iou", "heldout_iou", "iou_low"))
    passes = above & passes_rule(settings.rule, min_iou=settings.min_iou, iou=iou, heldout=heldout, low=low)
    expected = verdicts(silent, nonfinite, passes, q_value, context_q, fdr=settings.fdr)
    given = table["verdict"].to_numpy(str)
    untrained = (expected == "detector") & (table["untrained_share"].to_numpy(np.float64) >= UNTRAINED_SHARE)
    expected = np.where(untrained, "untrained", expected)
    _agree(where, "verdict", given == expected)


def _check_best(where: str, column: Ints, labelled: Bools, counts: Counts, scores: Floats) -> None:
    """Check that each unit's concept is the one of highest score among those that its mask meets."""
    met = np.where(counts.intersection > 0, np.nan_to_num(scores, nan=-np.inf), -np.inf)
    score, best = met[np.arange(len(column)), column], met.max(1, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        _agree(where, "concept", ~labelled | (score == best) | (score >= best - _SAME * np.abs(best)))


def _check_counted(where: str, table: "pd.DataFrame", column: Ints, labelled: Bools, counts: Counts) -> None:
    row = np.arange(len(column))
    counted = {
        "activated_pixels": counts.activated[row, column],
        "concept_pixels": counts.concept[column],
        "intersection": counts.intersection[row, column],
    }
    for name, expected in counted.items():
        values = table[name].to_numpy(np.float64, na_value=np.nan)
        _agree(where, name, np.where(labelled, values == expected, np.isnan(values)))


def _check_needed(where: str, table: "pd.DataFrame", column: Ints, counts: Counts, record: RunRecord) -> None:
    """Check that as many concepts are listed as are needed, all of one category, and the share of the mask in them."""
    names = record.concept_names()
    number = table["concepts_needed"].to_numpy(np.float64, na_value=np.nan)
    listed = [_json_list(text) if isinstance(text, str) else () for text in table["needed_concepts"]]
    columns = [np.array([names.index(name) for name in one], np.int64) for one in listed]
    _agree(
        where,
        "concepts_needed",
        [len(set(one)) == np.nan_to_num(count) for one, count in zip(listed, number, strict=True)],
    )
    category_of = counts.category_of
    _agree(
        where,
        "needed_concepts",
        [(category_of[c] == category_of[own]).all() for c, own in zip(columns, column, strict=True)],
    )
    covered = np.array([counts.intersection[unit, c].sum() for unit, c in enumerate(columns)])
    precision = share(covered, counts.activated[np.arange(len(column)), column])
    _check_ratio(where, table, "needed_precision", precision, np.isfinite(number))


def _check_ratio(where: str, table: "pd.DataFrame", name: str, expected: Floats, known: Bools) -> None:
    """Check a column of ratios, which is empty where nothing is known."""
    values = table[name].to_numpy(np.float64)
    both_nan = np.isnan(values) & np.isnan(expected)
    _agree(where, name, np.where(known, both_nan | (np.abs(values - expected) <= _SAME), np.isnan(values)))


def check_controls(controls: "pd.DataFrame | None", units: "pd.DataFrame", record: RunRecord) -> None:
    """Make sure that controls.csv is there where a control ran, and is possible.

    Raises
    ------
    UnitlensError
        If it is not, or its rows of the network are other ones than those of units.csv.
    """
    names = [control.name for control in record.settings.control_passes]
    _require((controls is None) == (not names), "controls.csv is there without a control in run.json, or missing")
    if controls is None:
        return
    file = "controls.csv"
    _require(list(controls.columns) == ["control", *COLUMNS], f"{file} has other columns than those of this version")
    _check_values(controls, record, file)
    of_network = controls[controls["control"] == "none"].drop(columns="control").reset_index(drop=True)
    _require(of_network.equals(units), f"{file} has other rows of the network than units.csv")
    for name in names:
        part = controls[controls["control"] == name]
        rows = [(layer, unit) for layer in record.layers for unit in range(int((part["layer"] == layer).sum()))]
        given = list(zip(part["layer"], part["unit"], strict=True))
        _require(given == rows and len(rows) > 0, f"{file} has other units of the control {name} than one row each")
    _require(bool(controls["control"].isin(["none", *names]).all()), f"{file} has a control that run.json has not")


def check_exemplars(exemplars: "pd.DataFrame", strips: Strips, record: RunRecord) -> None:
    """Make sure that every unit has its exemplars, and that the strips are images.

    Raises
    ------
    UnitlensError
        If exemplars are missing or of other units, or a strip is no image.
    """
    file, ranks = "exemplars.csv", min(record.settings.exemplars, record.data.images)
    _require(list(exemplars.columns) == list(EXEMPLAR_COLUMNS), f"{file} has other columns than those of this version")
    units = [(layer, unit) for layer, one in record.layers.items() for unit in range(one.units)]
    rows = [(layer, unit, rank) for layer, unit in units for rank in range(1, ranks + 1)]
    given = list(zip(exemplars["layer"], exemplars["unit"], exemplars["rank"], strict=True))
    _require(given == rows, f"{file} has other rows than {ranks} ranks of each unit")
    _require(bool(exemplars["image"].notna().all()), f"{file}: an image has no name")
    _require(bool(np.isfinite(exemplars["value"].to_numpy(np.float64)).all()), f"{file}: a value is not finite")
    for name in ("peak_y", "peak_x"):
        peak = exemplars[name].to_numpy(np.float64)
        _require(bool(((peak >= 0) & (peak <= 1)).all()), f"{file}: {name} lies beyond 0 and 1")
    _require(strips.keys() <= set(units if ranks else ()), "a strip is of a unit that the run does not show")
    _require(all(map(_is_image, strips.values())), "a strip is not a JPEG, PNG or WebP file")


def _is_image(content: bytes) -> bool:
    return content.startswith(_IMAGES) and (not content.startswith(b"RIFF") or content[8:12] == b"WEBP")


def _agree(where: str, name: str, true: Any) -> None:
    """Raise an error that names the first unit of which a column does not agree with the counts."""
    wrong = ~np.asarray(true, bool)
    if wrong.any():
        raise UnitlensError(f"{where}: {name} of unit {int(np.argmax(wrong))} does not agree with the counts")


def _require(true: bool, fact: str) -> None:
    if not true:
        raise UnitlensError(fact)
