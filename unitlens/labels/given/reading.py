"""Labels that came from elsewhere: a file or table of them, as labels of the units of a run."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, argument, did_you_mean, first_twice, spelled
from unitlens.labels.columns import BUILT_IN, is_unicode, one_line
from unitlens.labels.csv_files import csv_rows
from unitlens.labels.footing.meanings import ConceptNames
from unitlens.labels.result import Labels

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 1000
"""Letters of a label, at most."""

MOST_OF_UNIT = 100
"""Labels of a unit, at most."""

_LAST = 10**6
"""The highest rank."""

_MOST_BYTES = 1 << 28
"""Bytes of a file, at most."""

ChosenOn = Literal["other", "even", "these"]
"""Which images chose labels: none of those of the run, those of its even folds, or its own."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "layer": ("layer", "layer_name", "module"),
    "unit": ("unit", "neuron", "unit_id", "neuron_id", "channel", "feature"),
    "label": ("label", "description", "explanation", "formula", "concept", "caption"),
    "score": ("score", "similarity", "auc", "iou"),
    "rank": ("rank",),
    "chosen_on": ("chosen_on",),
}
"""What the columns of a file may be called, the first that is there: CLIP-Dissect and MILAN write ``description``, with
``similarity``; INVERT and compositional explanations write ``explanation`` or ``formula``."""


class GivenLabel(NamedTuple):
    """A label as it was given."""

    layer: str
    unit: int
    label: str
    score: float | None
    rank: int


@dataclass(frozen=True)
class Given:
    """Labels as they were given.

    Attributes
    ----------
    labels : tuple of GivenLabel
    chosen_on : str, optional
        Which images chose them, where the file says it.
    understood : str
        Which columns were taken for which; empty where they have the names that are documented.
    """

    labels: tuple[GivenLabel, ...]
    chosen_on: ChosenOn | None = None
    understood: str = ""


def given_labels(
    run: Dissection,
    given: "str | Path | pd.DataFrame | Mapping[int, str] | Sequence[str]",
    *,
    method: str | None = None,
    chosen_on: ChosenOn | None = None,
) -> Labels:
    """Take labels from elsewhere: by CLIP-Dissect, MILAN, INVERT, a language model, a person.

    Parameters
    ----------
    run : Dissection
    given : str, Path, DataFrame, mapping or sequence
        A CSV file, or a table, with the columns unit and label, and if need be layer, score, rank and chosen_on; or the
        labels by their units, or one for each unit in their order. Units without a label are left out. Columns may have
        the names that other programs give them: see `ALIASES`.
    method : str, optional
        What named them: the name of the file without its ending, or given. The names of unitlens' own methods, such as
        formulas, are theirs.
    chosen_on : {"other", "even", "these"}, optional
        Which images the labels were chosen on, which decides on which they are held out: other images than those of the
        run (what is assumed: all of its images are held out), those of its even folds, or its own (none is held out).

    Returns
    -------
    Labels
        ``score`` is as it was given; ``iou`` is that of the unit and the concept of the run that the label names, where
        there is one. `measure_labels` measures the rest, and weighs them.

    Raises
    ------
    UnitlensError
        If the file cannot be read, lacks a column, or names a layer or unit that the run does not have; or if the
        method has a name of unitlens' own.

    Examples
    --------
    >>> import unitlens as ul
    >>> run = ul.dissect(ul.load("bundled:scenes"), None, ul.Scenes(24), evidence=False, exemplars=0)
    >>> ul.given_labels(run, {3: "sky", 5: "something else"}).table()[["unit", "label", "verdict"]].values.tolist()
    [[3, 'sky', 'untested'], [5, 'something else', 'untested']]
    """
    start = time.perf_counter()
    source = str(given) if isinstance(given, str | Path) else "given in memory"
    name = _method(method, given)
    read, names = read_given(run, given), ConceptNames.of(run)
    images = chosen_on or read.chosen_on or "other"
    if images not in get_args(ChosenOn):
        raise UnitlensError(f"chosen_on is {images!r:.60}; it is one of {', '.join(get_args(ChosenOn))}.")
    return Labels.of(
        run,
        name,
        [_measured(run, label, names) for label in read.labels],
        settings={"source": source, "chosen_on": images},
        seconds=time.perf_counter() - start,
        notes=[read.understood] if read.understood else [],
    )


def _method(method: str | None, given: object) -> str:
    """The name of what named the labels."""
    named = method or (Path(given).stem if isinstance(given, str | Path) else "given")
    if not isinstance(named, str) or not is_unicode(named) or not 1 <= len(named.strip()) <= LONGEST:
        what = argument("method", option="The name of the file")
        raise UnitlensError(f"{what} is {named!r:.60}; it is a text of 1 to {LONGEST} letters.")
    name = one_line(named).strip()
    if name in BUILT_IN:
        mending = spelled(python="say method=, another name", shell="rename the file, which names the method")
        raise UnitlensError(f"Labels from elsewhere cannot be of the method {name!r}, which unitlens has: {mending}.")
    return name


def read_given(run: Dissection, given: "str | Path | pd.DataFrame | Mapping[int, str] | Sequence[str]") -> Given:
    """Labels as they were given, of units that the run has.

    Raises
    ------
    UnitlensError
        As for `given_labels`.
    """
    if isinstance(given, str | Path):
        with csv_rows(Path(given), most=_MOST_BYTES, of="a file of labels has a row for each") as (table, columns):
            return _of_table(run, table, columns, str(given))
    if isinstance(given, Mapping):
        rows = [{"unit": unit, "label": label} for unit, label in given.items()]
        return Given(tuple(_of_rows(run, rows, "the labels")))
    if hasattr(given, "itertuples"):
        columns = list(map(str, given))
        table = (dict(zip(columns, row, strict=True)) for row in given.itertuples(index=False, name=None))
        return _of_table(run, table, columns, "the table of labels")
    if not isinstance(given, Iterable):
        raise UnitlensError(
            f"The labels are {given!r:.60}; they are a CSV file, a table, labels by units, or one for each unit."
        )
    rows = [{"unit": unit, "label": label} for unit, label in enumerate(given)]
    return Given(tuple(_of_rows(run, rows, "the labels")))


def _of_table(run: Dissection, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], source: str) -> Given:
    """Rows of a table, whose columns may have the names of other programs."""
    named = [column for column in columns if column.strip()]
    if twice := first_twice(named):
        raise UnitlensError(f"{source} has two columns {twice!r:.60}: leave one of them out.")
    plain = {column.strip().casefold(): column for column in reversed(columns)}
    taken = {
        name: plain[next(alias for alias in aliases if alias in plain)]
        for name, aliases in ALIASES.items()
        if any(alias in plain for alias in aliases)
    }
    missing = [name for name in ("unit", "label") if name not in taken]
    if missing:
        raise UnitlensError(
            f"{source} has no column {missing[0]}{did_you_mean(missing[0], columns)}; its columns are "
            f"{', '.join(columns) or 'none'}, and a file of labels has unit and label, and if need be layer, score and "
            f"rank; in place of {missing[0]} it may be {' or '.join(ALIASES[missing[0]][1:])}."
        )
    said = set[str]()
    renamed = ({name: row.get(column) for name, column in taken.items()} for row in rows)
    labels = tuple(_of_rows(run, _of_one_choice(renamed, said, source), source))
    other = {column: name for name, column in taken.items() if column != name}
    understood = ", ".join(f"{column} was taken for {name}" for column, name in other.items())
    left_out = [column for column in columns if column not in taken.values()]
    if other and left_out:
        understood += f"; {', '.join(left_out[:6])} left out"
    return Given(labels, next(iter(said), None), f"Of {source}, {understood}." if other else "")  # type: ignore[arg-type]


def _of_one_choice(rows: Iterable[Mapping[str, Any]], said: set[str], source: str) -> Iterator[Mapping[str, Any]]:
    """The same rows; adds to ``said`` which images chose their labels, and makes sure that all say the same."""
    for row in rows:
        if not _is_missing(row.get("chosen_on")):
            said.add(str(row["chosen_on"]))
        if len(said) > 1:
            raise UnitlensError(
                f"{source} says of its labels that several sets of images chose them ({', '.join(sorted(said))}): make "
                "it a file for each."
            )
        yield row


def _of_rows(run: Dissection, rows: Iterable[Mapping[str, Any]], source: str) -> list[GivenLabel]:
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
        if seen[layer, unit] > MOST_OF_UNIT:
            raise UnitlensError(f"{where}: unit {unit} has more than {MOST_OF_UNIT} labels; the best ones are enough.")
        rank = _number(row.get("rank"), "rank", where)
        found.append(
            GivenLabel(
                layer,
                unit,
                label,
                _number(row.get("score"), "score", where),
                seen[layer, unit] if rank is None else _rank(rank, where),
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
    if _is_missing(value):
        return ""
    if not np.isscalar(value):
        raise UnitlensError(f"{where}: the label is {value!r:.60}; it is a text of up to {LONGEST} letters.")
    text = one_line(str(value)).strip()
    if len(text) > LONGEST:
        raise UnitlensError(f"{where}: the label has {len(text)} letters; it is a text of up to {LONGEST}.")
    if not is_unicode(text):
        raise UnitlensError(f"{where}: the label {text!r:.60} has half a character (a surrogate): it is Unicode text.")
    return text


def _rank(number: float, where: str) -> int:
    if number != int(number) or not 1 <= number <= _LAST:
        raise UnitlensError(f"{where}: rank is {number:g}; it is 1 for the best label of a unit, 2 for the next.")
    return int(number)


def _number(value: Any, column: str, where: str) -> float | None:
    if _is_missing(value):
        return None
    try:
        number = float(value)
    except OverflowError:
        raise UnitlensError(f"{where}: {column} is too large a number.") from None
    except (TypeError, ValueError):
        raise UnitlensError(f"{where}: {column} is {str(value)!r:.60}; it is a number.") from None
    if not np.isfinite(number):
        raise UnitlensError(f"{where}: {column} is {value}; it is a finite number.")
    return number


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (np.isscalar(value) and (value == "" or value != value))


def _measured(run: Dissection, given: GivenLabel, names: ConceptNames) -> dict[str, Any]:
    """A row of labels.csv."""
    row = {**given._asdict(), "score": np.nan if given.score is None else given.score, "verdict": "untested"}
    column = names.find(given.label)
    if column is not None:
        row["iou"] = run[given.layer].counts.iou[given.unit, column]
    return row
