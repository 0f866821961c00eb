"""labels.csv and labels.json in the folder of a run, and answers of people beside them: written, read and checked."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.validation import read_table
from unitlens.dissection.files import RUN, RunFiles, read_run
from unitlens.dissection.searching.unit_vectors import VECTORS, read_vectors
from unitlens.errors import UnitlensError, spelled
from unitlens.files import json_text, read_json
from unitlens.journal import changing, settle
from unitlens.labels.columns import COLUMNS, REFERENCES, TEXT, VERDICTS, WHOLE
from unitlens.labels.people.files import ANSWERS, read_ratings, write_ratings
from unitlens.labels.result import Agreement, Labels, MethodRecord, with_all_columns
from unitlens.records import LATER, check_types, read_versioned, write_record

if TYPE_CHECKING:
    import pandas as pd

LABELS, RECORD = "labels.csv", "labels.json"

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class LabelsRecord:
    """labels.json.

    Attributes
    ----------
    schema : int
    network, data : str
        SHA-256 of the network's weights and of the images, as in run.json.
    methods : mapping of str to MethodRecord
    agreement : tuple of Agreement
        Of every two methods that were measured together.
    """

    schema: int
    network: str
    data: str
    methods: Mapping[str, MethodRecord]
    agreement: tuple[Agreement, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self)


def check_no_labels(folder: Path, methods: Iterable[str], *, overwrite: bool, overwrite_answers: bool = False) -> None:
    """Make sure that labels of some methods may be written into a run; those that others are compared with always may.

    Parameters
    ----------
    folder : Path
    methods : iterable of str
        Empty where answers alone are written.
    overwrite, overwrite_answers : bool
        Whether labels, and answers, are replaced that are there already, damaged ones too.

    Raises
    ------
    UnitlensError
        If there are some already, and they may not be replaced; or what is not replaced is damaged.
    """
    methods = list(methods)
    there = read_labels(folder, overwrite=overwrite and bool(methods), overwrite_answers=overwrite_answers)
    saved = () if there is None or overwrite else there.methods
    both = [method for method in methods if method in saved and method not in REFERENCES]
    if both:
        how = spelled(python="replace them with overwrite=True", shell="replace them with --overwrite")
        raise UnitlensError(f"{folder} has labels by {', '.join(both)} already: {how}.")


def write_labels(folder: Path, labels: Labels, info: Mapping[str, Any], units: "pd.DataFrame") -> None:
    """Write the labels of a run with this run.json and units.csv, in place of those that are there.

    Raises
    ------
    UnitlensError
        If they are of another run.
    """
    _check_of_run(labels, info, units)
    with changing(folder) as change:
        record = LabelsRecord(
            schema=SCHEMA,
            network=labels.network,
            data=labels.data,
            methods=labels.methods,
            agreement=labels.agreement,
        )
        if labels.methods:
            change.write(LABELS, labels.rows.to_csv(index=False))
            change.write(RECORD, json_text(write_record(record)))
        if labels.answers is not None:
            write_ratings(change, labels.answers)
        if labels.vectors is not None:
            change.write(VECTORS, labels.vectors.to_bytes())


def open_labels(folder: str | Path) -> Labels:
    """Open the labels that were saved in a run, with what people answered about them.

    Raises
    ------
    UnitlensError
        If there is no run, it has no labels, or they are damaged.
    """
    folder = Path(folder)
    labels = read_labels(folder)
    if labels is None:
        read_run(folder)  # where there is none, the error says so
        making = spelled(python="ul.formulas, ul.words and others make them", shell="`unitlens label` makes them")
        raise UnitlensError(f"{folder} has no labels but the concepts in units.csv: {making}.")
    return labels


def read_labels(folder: Path, *, overwrite: bool = False, overwrite_answers: bool = False) -> Labels | None:
    """Read the labels of a run; None where there are none.

    Parameters
    ----------
    folder : Path
    overwrite : bool
        Whether labels that cannot be read count as none, as others take their place.
    overwrite_answers : bool
        The same of what people answered: labels that take the place of others leave the answers as they are.

    Raises
    ------
    UnitlensError
        If they are damaged, or of another run.
    """
    settle(folder)
    if not any((folder / name).exists() for name in (RECORD, LABELS, ANSWERS)):
        return None
    run = read_run(folder) if (folder / RUN).is_file() else None
    labels = _read_saved(folder, run, overwrite=overwrite)
    answers = read_ratings(folder, None if run is None else run.info, overwrite=overwrite_answers)
    if answers is None:
        return labels
    return Labels.answered(answers) if labels is None else replace(labels, answers=answers)


def _read_saved(folder: Path, run: RunFiles | None, *, overwrite: bool) -> Labels | None:
    """The labels themselves; see `read_labels`."""
    if not (folder / RECORD).exists() and not (folder / LABELS).exists():
        return None
    try:
        record = read_versioned(LabelsRecord, read_json(folder / RECORD), schema=SCHEMA, file=RECORD)
        rows = _read_rows(folder / LABELS)
        vectors = read_vectors(folder / VECTORS) if (folder / VECTORS).exists() else None
        labels = Labels(rows, record.methods, record.network, record.data, vectors, record.agreement)
        if run is not None:
            _check_of_run(labels, run.info, run.units)
    except UnitlensError as error:
        if overwrite:
            return None
        fact, again = str(error).rstrip("."), spelled(python="with overwrite=True", shell="with --overwrite")
        raise UnitlensError(
            f"{folder / LABELS} is damaged, or of another run ({fact}): label the run again {again}."
        ) from None
    return labels


def _read_rows(path: Path) -> "pd.DataFrame":
    """The rows of labels.csv; columns that an older version did not have yet are empty."""
    columns = _header(path)
    known = [name for name in COLUMNS if name in columns]
    missing = [name for name in _FIRST if name not in columns]
    if columns != known or missing:
        raise UnitlensError(f"{path.name} has other columns than those of this version")
    return with_all_columns(_typed(read_table(path, columns, text=columns)))


_FIRST = ("layer", "unit", "method", "rank", "label", "verdict")
"""Columns without which there is no label."""


def _header(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return next(csv.reader(file), [])
    except (OSError, csv.Error) as error:
        raise UnitlensError(f"{path.name} cannot be read ({error})") from None


def _typed(texts: "pd.DataFrame") -> "pd.DataFrame":
    """The columns of a table of texts in their types, and numbers as they were written, to the last bit."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, values in texts.items():
        try:
            if name in TEXT:
                columns[str(name)] = values
            elif name in WHOLE:
                columns[str(name)] = pd.Series([int(text) for text in values], dtype=np.int64)
            else:
                columns[str(name)] = pd.Series([float(text) if text else np.nan for text in values], dtype=np.float64)
        except (ValueError, OverflowError):
            raise UnitlensError(f"{LABELS}: {name} has a value that is no number of its kind") from None
    return pd.DataFrame(columns)


def _check_of_run(labels: Labels, info: Mapping[str, Any], units: "pd.DataFrame") -> None:
    """Make sure that labels are of the units of a run, and of no other."""
    if (labels.network, labels.data) != (info["network"]["sha256"], info["data"]["sha256"]):
        raise UnitlensError("the labels are of another network, or of other images, than the run")
    there = set(zip(units["layer"], units["unit"], strict=True))
    strangers = [pair for pair in zip(labels.rows["layer"], labels.rows["unit"], strict=True) if pair not in there]
    if strangers:
        layer, unit = strangers[0]
        raise UnitlensError(f"the run has no unit {unit} of {layer}")
    of_layer = units.groupby("layer").size()
    for layer, vectors in () if labels.vectors is None else labels.vectors.units.items():
        if len(vectors) != of_layer.get(layer, 0):
            raise UnitlensError(f"{VECTORS} has {len(vectors)} units of {layer}, and the run {of_layer.get(layer, 0)}")
    if unknown := sorted(set(labels.rows["verdict"]) - set(VERDICTS)):
        raise UnitlensError(f"there is no verdict {unknown[0]!r}; there are {', '.join(VERDICTS)}")
    if not all(map(_is_list_of_texts, set(labels.rows["also"]) - {""})):
        raise UnitlensError("also is a JSON list of texts, or empty")
    if others := sorted(set(labels.rows["method"]) - set(labels.methods)):
        raise UnitlensError(f"{RECORD} says nothing of the method {others[0]!r}")
    compared = {method for one in labels.agreement for method in (one.first, one.second)}
    if strange := sorted(compared - set(labels.methods)):
        raise UnitlensError(f"{RECORD} compares the method {strange[0]!r}, which is not there")


def _is_list_of_texts(text: str) -> bool:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(listed, list) and all(isinstance(one, str) for one in listed)
