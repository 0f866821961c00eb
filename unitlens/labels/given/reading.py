"""Labels that came from elsewhere: a file or table of them, as labels of the units of a run."""

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.files import check_readable
from unitlens.labels.result import Labels

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 1000
"""Letters of a label, at most."""

_KNOWN = ("layer", "unit", "label", "score", "rank")


class GivenLabel(NamedTuple):
    """A label as it was given."""

    layer: str
    unit: int
    label: str
    score: float | None
    rank: int


def given_labels(
    run: Dissection,
    given: "str | Path | pd.DataFrame | Mapping[int, str] | Sequence[str]",
    *,
    method: str | None = None,
) -> Labels:
    """Take labels from elsewhere: by CLIP-Dissect, MILAN, INVERT, a language model, a person.

    Parameters
    ----------
    run : Dissection
    given : str, Path, DataFrame, mapping or sequence
        A CSV file, or a table, with the columns unit and label, and if need be layer, score and rank; or the labels by
        their units, or one for each unit in their order. Units without a label are left out.
    method : str, optional
        What named them: the name of the file without its ending, or given.

    Returns
    -------
    Labels
        ``score`` is as it was given; ``iou`` is that of the unit and the concept of the run that has the label as its
        name, where there is one.

    Raises
    ------
    UnitlensError
        If the file cannot be read, lacks a column, or names a layer or unit that the run does not have.

    Examples
    --------
    >>> import unitlens as ul
    >>> run = ul.dissect(ul.load("bundled:scenes"), None, ul.Scenes(24), evidence=False, exemplars=0)
    >>> ul.given_labels(run, {3: "sky", 5: "something else"}).table()[["unit", "label", "verdict"]].values.tolist()
    [[3, 'sky', 'untested'], [5, 'something else', 'untested']]
    """
    start = time.perf_counter()
    source = str(given) if isinstance(given, str | Path) else "given in memory"
    rows = [_measured(run, label) for label in read_given(run, given)]
    name = method or (Path(given).stem if isinstance(given, str | Path) else "given")
    return Labels.of(run, name, rows, settings={"source": source}, seconds=time.perf_counter() - start)


def read_given(
    run: Dissection, given: "str | Path | pd.DataFrame | Mapping[int, str] | Sequence[str]"
) -> list[GivenLabel]:
    """Labels as they were given, of units that the run has.

    Raises
    ------
    UnitlensError
        As for `given_labels`.
    """
    if isinstance(given, str | Path):
        return _of_rows(run, _read_csv(Path(given)), str(given))
    if isinstance(given, Mapping):
        return _of_rows(run, [{"unit": unit, "label": label} for unit, label in given.items()], "the labels")
    if hasattr(given, "to_dict"):
        rows = [{str(name): value for name, value in row.items()} for row in given.to_dict("records")]
        return _of_rows(run, rows, "the table of labels")
    return _of_rows(run, [{"unit": unit, "label": label} for unit, label in enumerate(given)], "the labels")


def _read_csv(path: Path) -> list[dict[str, Any]]:
    check_readable(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            columns = [str(name) for name in reader.fieldnames or ()]
    except (OSError, csv.Error, ValueError) as error:
        fact = error.strerror if isinstance(error, OSError) else error
        raise UnitlensError(f"{path} cannot be read as a CSV file ({fact}).") from None
    missing = [name for name in ("unit", "label") if name not in columns]
    if missing:
        raise UnitlensError(
            f"{path} has no column {missing[0]}{did_you_mean(missing[0], columns)}; its columns are "
            f"{', '.join(columns) or 'none'}, and a file of labels has unit and label, and if need be layer, score and "
            "rank."
        )
    return rows


def _of_rows(run: Dissection, rows: Sequence[Mapping[str, Any]], source: str) -> list[GivenLabel]:
    """Check rows one by one."""
    found, seen = list[GivenLabel](), dict[tuple[str, int], int]()
    units = {layer: len(run[layer].counts.active) for layer in run.layers}
    for number, row in enumerate(rows, start=1):
        where = f"{source}, row {number}"
        layer = _layer(row.get("layer"), units, where)
        unit = _unit(row.get("unit"), units[layer], layer, where)
        label = _label(row.get("label"), where)
        if not label:
            continue
        seen[layer, unit] = seen.get((layer, unit), 0) + 1
        rank = _number(row.get("rank"), "rank", where)
        found.append(
            GivenLabel(
                layer,
                unit,
                label,
                _number(row.get("score"), "score", where),
                seen[layer, unit] if rank is None else max(int(rank), 1),
            )
        )
    if not found:
        raise UnitlensError(f"{source} has no label: a file of labels has a row for each, with unit and label.")
    return found


def _layer(value: Any, units: Mapping[str, int], where: str) -> str:
    if _is_missing(value):
        if len(units) > 1:
            raise UnitlensError(f"{where}: the run has several layers ({', '.join(units)}): add a column layer.")
        return next(iter(units))
    if str(value) not in units:
        raise UnitlensError(
            f"{where}: the run has no layer {value}{did_you_mean(str(value), units)}, but {', '.join(units)}."
        )
    return str(value)


def _unit(value: Any, units: int, layer: str, where: str) -> int:
    number = _number(value, "unit", where)
    if number is None or number != int(number) or not 0 <= number < units:
        raise UnitlensError(f"{where}: there is no unit {value}; {layer} has units 0 to {units - 1}.")
    return int(number)


def _label(value: Any, where: str) -> str:
    text = "" if _is_missing(value) else str(value).strip()
    if len(text) > LONGEST or "\0" in text:
        raise UnitlensError(f"{where}: the label has {len(text)} letters or a NUL; it is a text of up to {LONGEST}.")
    return text


def _number(value: Any, column: str, where: str) -> float | None:
    if _is_missing(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UnitlensError(f"{where}: {column} is {str(value)!r:.60}; it is a number.") from None
    if not np.isfinite(number):
        raise UnitlensError(f"{where}: {column} is {value}; it is a finite number.")
    return number


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and np.isnan(value))


def _measured(run: Dissection, given: GivenLabel) -> dict[str, Any]:
    """A row of labels.csv."""
    row = {**given._asdict(), "score": np.nan if given.score is None else given.score, "verdict": "untested"}
    if given.label in run.concepts:
        row["iou"] = run[given.layer].counts.iou[given.unit, run.column(given.label)]
    return row
