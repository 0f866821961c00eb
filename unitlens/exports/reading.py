"""Read the tables of a saved run in their types, and write them for other programs."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.exports.catalogue import TABLES, TEXT
from unitlens.files import another_or_overwrite, check_readable
from unitlens.journal import changing, settle
from unitlens.tables.latex import latex_table

if TYPE_CHECKING:
    import pandas as pd

FORMATS = {"csv": ".csv", "parquet": ".parquet", "json": ".json", "latex": ".tex"}
"""What tables are written as, and how the files' names end."""


def open_tables(folder: str | Path) -> "dict[str, pd.DataFrame]":
    """Open the tables of a saved run, as they are in its folder.

    Nothing is computed and no network is opened. What columns mean stands in docs/tables.md.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    dict of str to pandas.DataFrame
        By the names of the files without their ending, such as units and effects. Text stays text, where it looks like
        numbers too; whole numbers are Int64 where some are missing.

    Raises
    ------
    UnitlensError
        If there is no table, or one cannot be read.
    """
    folder = Path(folder)
    settle(folder)
    paths = [folder / name for name in TABLES if (folder / name).is_file()]
    if not paths:
        raise UnitlensError(f"{folder} holds no tables of a run (there is no {folder / 'units.csv'}).")
    return {path.name.removesuffix(".csv"): _read(path) for path in paths}


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    check_readable(path)
    try:
        # without a header: a row that is longer than the first one is an error then, and no column is renamed
        whole = pd.read_csv(
            path, header=None, dtype=object, keep_default_na=False, na_values=[""], encoding_errors="surrogateescape"
        )
    except (OSError, ValueError) as error:
        raise UnitlensError(f"{path} cannot be read ({str(error).strip()}).") from None
    names, rows = [str(name) for name in whole.iloc[0]], whole.iloc[1:].reset_index(drop=True)
    return pd.DataFrame({name: _typed(name, rows[column]) for column, name in enumerate(names)}, index=rows.index)


def _typed(name: str, texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column in its type: as it is for text, else True and False, whole numbers or numbers."""
    known = texts.dropna()
    if name in TEXT or not len(known):
        return texts if name in TEXT else texts.astype("float64")
    if known.isin(["True", "False"]).all():
        answers = texts.map({"True": True, "False": False})
        return answers.astype("bool" if len(known) == len(texts) else "boolean")
    whole = known.str.fullmatch(r"-?\d{1,18}").all()
    try:
        if whole:
            numbers = texts.map(lambda text: text if text != text else int(text))
            return numbers.astype("int64" if len(known) == len(texts) else "Int64")
        return texts.astype("float64")
    except ValueError:
        return texts


def write_tables(
    folder: str | Path, tables: "Mapping[str, pd.DataFrame]", *, format: str = "parquet", overwrite: bool = False
) -> list[str]:
    """Write tables into a folder, each as a file.

    Parameters
    ----------
    folder : str or Path
    tables : mapping of str to pandas.DataFrame
        By their names, as of `open_tables`.
    format : {"csv", "parquet", "json", "latex"}
        JSON is a list of rows. LaTeX has the columns and first rows that a paper shows.
    overwrite : bool
        Whether files that are there are replaced.

    Returns
    -------
    list of str
        The names of the files.

    Raises
    ------
    UnitlensError
        If there is no such format, pyarrow is missing, or files are there already.
    """
    if format not in FORMATS:
        raise UnitlensError(
            f"There is no format {format!r}{did_you_mean(format, FORMATS)}; there are {', '.join(FORMATS)}."
        )
    folder = Path(folder)
    contents = {f"{name}{FORMATS[format]}": _content(name, table, format) for name, table in tables.items()}
    there = [name for name in contents if (folder / name).exists()]
    if there and not overwrite:
        raise UnitlensError(f"{folder} holds {there[0]} already: {another_or_overwrite()}.")
    with changing(folder) as change:
        for name, content in contents.items():
            change.write(name, content)
    return list(contents)


def _content(name: str, table: "pd.DataFrame", format: str) -> str | bytes:
    if format == "csv":
        return str(table.to_csv(index=False))
    if format == "json":
        return str(table.to_json(orient="records", indent=1, double_precision=15))
    if format == "latex":
        return _latex(name, table)
    return _parquet(table)


def _parquet(table: "pd.DataFrame") -> bytes:
    file = io.BytesIO()
    try:
        table.to_parquet(file, index=False, engine="pyarrow")
    except ImportError:
        raise UnitlensError(
            "Parquet needs pyarrow, which is not installed: pip install 'unitlens[parquet]', or choose csv or json."
        ) from None
    except UnicodeEncodeError as error:
        raise UnitlensError(
            f"Parquet holds text in Unicode alone, and the name {error.object!r} is none: choose csv."
        ) from None
    return file.getvalue()


def _latex(name: str, table: "pd.DataFrame") -> str:
    """Return what a paper shows: detectors of highest IoU, or the first rows."""
    if name == "units" and {"detector", "iou"} <= set(table.columns):
        table = table[table["detector"]].sort_values("iou", ascending=False, kind="stable")
    known = TABLES.get(f"{name}.csv")
    columns = [column for column in known.in_paper if column in table.columns] if known else list(table.columns)
    return latex_table(table, columns=columns, rows=20) + "\n"
