"""Results as lines of text: tables, and what was found in a sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from unitlens.cli.shell.fitting import fit, terminal_width
from unitlens.errors import UnitlensError, argument, did_you_mean, is_number, printable
from unitlens.plurals import agreeing, counted, detectors_of


def size_of(path: Path) -> str:
    """How large a file is, or a folder with all that is in it, to be read."""
    from unitlens.dissection.store.limit import in_bytes

    files = [path] if path.is_file() else filter(Path.is_file, path.rglob("*"))
    return in_bytes(sum(file.stat().st_size for file in files))


def tell_activations(run: Path, *, kept: bool) -> None:
    """Say how much of activations a run keeps."""
    if kept:
        echo(f"kept {size_of(run / 'activations')} of activations in {run}/activations/")


def echo(text: str, *, err: bool = False) -> None:
    """Print text on the terminal, which it cannot steer; every command prints by this."""
    click.echo(printable(text), err=err)


def shown_warnings() -> dict[str, None]:
    """The warnings of this command so far, in their order; whoever shows one adds it."""
    context = click.get_current_context(silent=True)
    shown: dict[str, None] = {} if context is None else context.meta.setdefault("unitlens.warnings", {})
    return shown


def summarize(result: Any) -> str:
    """Say in a sentence how many units are detectors, of how many concepts, and what they were compared with.

    Where the weights are random, that is said first.
    """
    from unitlens.dissection.sentences.headline import (
        RANDOM_WEIGHTS,
        describe_comparison,
        describe_context,
        has_random_weights,
    )

    table, detectors = result.table(), result.detectors()
    concepts = len(detectors[["category", "concept"]].drop_duplicates())
    categories, silent = detectors["category"].nunique(), int(table["silent"].sum())
    sentence = detectors_of(len(detectors), len(table), concepts)
    if concepts:
        sentence += f" in {counted(categories, 'category', 'categories')}"
    if context := describe_context(table):
        sentence += f"; {context}"
    if silent:
        sentence += f"; {silent} {agreeing(silent, 'is', 'are')} silent"
    hint = argument("control", "untrained")
    sentence += f"; {describe_comparison(result.info, evidence=result.settings.evidence, hint=hint)}"
    if has_random_weights(result.info):
        sentence = f"{RANDOM_WEIGHTS}: {sentence}"
    without_intervals = [note for note in result.info["warnings"] if "there are no intervals" in note]
    return "\n".join([sentence, *without_intervals])


def curve_table(curve: Any) -> str:
    """Return the table of Bau et al. for one class as lines of text."""
    rows = [(curve.class_, "balanced accuracy", "accuracy over all classes")]
    for row in curve.paper_table().itertuples():
        rows.append((row.what, f"{row.balanced_accuracy:.1%}", f"{row.accuracy:.1%}"))
    lines = [align_columns(rows)]
    for kind, units in (("random", "random units"), ("matched", "matched units")):
        band = curve.band(kind)
        if len(band):
            last = band.iloc[-1]
            between = f"{last['low']:.1%} to {last['high']:.1%}"
            lines.append(f"{last['k']:.0f} {units} ablated: balanced accuracy {between} (holds {last['holds']:.0%})")
    return "\n".join(lines)


def unit_table(result: Any, *, concept: str | None = None, sort: str = "iou", rows: int | None = None) -> str:
    """Return the table of a dissection as lines of text.

    Parameters
    ----------
    result : Dissection
    concept : str, optional
        Order the units by their IoU with it, and print that.
    sort : str
        A column; numbers fall, words rise.
    rows : int, optional
        Print at most this many rows; all by default.
    """
    table = result.table()
    if sort not in table.columns:
        raise UnitlensError(
            f"There is no column {sort!r} in units.csv to sort by{did_you_mean(sort, table.columns)}; there are "
            f"{', '.join(table.columns)}."
        )
    columns = ["layer", "unit", "concept", "category", "iou", "heldout_iou", "chance_iou", "verdict"]
    if concept is not None:
        ranked = result.units_for(concept)
        table = table.set_index("unit", drop=False).loc[ranked]
        table.insert(0, "iou_with", result.scores("iou").to_numpy()[ranked, result.column(concept)])
        columns.insert(2, "iou_with")
    if concept is None or sort != "iou":
        is_number = table[sort].dtype.kind in "fiub"
        table = table.sort_values(sort, ascending=not is_number, kind="stable")
    if sort not in columns:
        columns.append(sort)
    table = table[columns].head(rows) if rows else table[columns]
    cells = [tuple(format_cell(value) for value in row) for row in table.itertuples(index=False)]
    return align_columns([tuple(table.columns), *cells])


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read the value of --units, such as 3,17."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(is_number(part) for part in parts):
        raise UnitlensError(f"--units is {text!r}; units are whole numbers from 0, joined by commas, such as 3,17.")
    return tuple(map(int, parts))


def format_cell(value: Any) -> str:
    """Return a value as a table shows it: nothing where it is missing."""
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def align_columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as lines, each column padded to one width; on a terminal no line is wider than that."""
    rows = [tuple(printable(text).replace("\n", "?") for text in row) for row in rows]
    return fit(rows, terminal_width())


def summarize_changes(changes: Any, rows: int = 6) -> str:
    """Return the concepts that come and go, and the units whose peak changes most."""
    concepts = changes.concepts()
    said = []
    for word, table in (("added", concepts), ("removed", concepts.iloc[::-1])):
        few = table[table["change"] == word].head(rows)
        names = ", ".join(f"{one.concept} ({100 * one.area_change:+.2f} %)" for one in few.itertuples())
        said.append(f"{word}: {names or 'no concept surely'}")
    units = changes.table().head(rows)
    columns = ["unit", "concept", "verdict", "peak_change", "peak_low", "peak_high", "area_change", "margin_change"]
    cells = [tuple(format_cell(value)[:24] for value in row) for row in units[columns].itertuples(index=False)]
    return "\n".join([*said, align_columns([tuple(columns), *cells])])
