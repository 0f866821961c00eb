"""What several commands do: load what was named, save what came out, and set tables in lines."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unitlens.errors import UnitlensError, did_you_mean


def prepare(threads: int | None, workers: int | None) -> int:
    """Set the threads; how many workers there will be."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return min(4, cores() - 1) if workers is None else workers


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_network(model: str, options: dict[str, Any]) -> Any:
    """The network, with the options that are its own taken out; the seed stays, it is the run's too."""
    from unitlens.models.network import load

    own = {name: options.pop(name) for name in ("weights", "image_size", "resize", "mean", "std", "device")}
    return load(model, seed=options["seed"], **own)


def how_opened(options: dict[str, Any]) -> dict[str, Any]:
    """What was said about the data beside where they are, taken out of the options; as `open_data` takes it."""
    segmenter = {name: options.pop(f"segmenter_{name}") for name in ("weights", "labels", "category", "size", "cache")}
    segmenter["confidence"] = options.pop("confidence")
    opened = {
        "format": options.pop("data_format"),
        "split": options.pop("split"),
        "concepts": list(options.pop("concepts")),
        "segmenter_options": {name: value for name, value in segmenter.items() if value is not None},
        "root": options.pop("data_root"),
        "download": options.pop("download"),
    }
    return {name: value for name, value in opened.items() if value}


def open_again(opened: dict[str, Any]) -> dict[str, Any]:
    """What run.json keeps of that: to open the same data once more, nothing is downloaded."""
    return {name: value for name, value in opened.items() if name != "download"}


def open_images(model: str, data: str | None, limit: int | None, seed: int, **opened: Any) -> Any:
    """The images that were named, or those that come with a bundled network."""
    from unitlens.data.opening import open_data

    if data is None and not model.startswith("bundled:"):
        raise UnitlensError("No images were named: say --data FOLDER (an annotated folder) or --data bundled:scenes.")
    return open_data(data or model, images=limit, seed=seed, **opened)


def publish(result: Any, out: Path, *, overwrite: bool) -> Path:
    """Save a dissection and its page; the page's path."""
    from unitlens.pages.writing import report

    return report(out, result, overwrite=overwrite)


def summary(result: Any) -> str:
    """What was found, in a sentence."""
    table, detectors = result.table(), result.detectors()
    unique = len(detectors[["category", "concept"]].drop_duplicates())
    silent, kinds = int(table["silent"].sum()), detectors["category"].nunique()
    said = f"{len(detectors)} of {len(table)} units {_word(len(detectors), 'is a detector', 'are detectors')}"
    if unique:
        said += (
            f", of {unique} {_word(unique, 'concept', 'concepts')} in {kinds} {_word(kinds, 'category', 'categories')}"
        )
    said += f"; {silent} {_word(silent, 'is', 'are')} silent" if silent else ""
    without = [note for note in result.info["warnings"] if "there are no intervals" in note]
    return "\n".join([said, *without])


def _word(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def paper_lines(curve: Any) -> str:
    """The table of Bau et al. for one class, as lines of text."""
    rows = [(curve.class_, "balanced accuracy", "accuracy over all classes")]
    paper = curve.paper_table().itertuples()
    lines = aligned([*rows, *((row.what, f"{row.balanced_accuracy:.1%}", f"{row.accuracy:.1%}") for row in paper)])
    bands = [(kind, curve.band(kind)) for kind in ("random", "matched")]
    return "\n".join([lines, *(_band(kind, band.iloc[-1]) for kind, band in bands if len(band))])


def _band(kind: str, row: Any) -> str:
    what = {"random": "random ones", "matched": "about as active"}[kind]
    return f"{row['k']:.0f} {what} removed: balanced accuracy {row['low']:.1%} to {row['high']:.1%} (95 % of the draws)"


def unit_lines(result: Any, *, concept: str | None = None, sort: str = "iou", rows: int | None = None) -> str:
    """The table of a dissection as lines of text.

    Parameters
    ----------
    result : Dissection
    concept : str, optional
        Units that match it, by their IoU with it.
    sort : str
        A column; numbers fall, words rise.
    rows : int, optional
        How many rows; all.
    """
    table = result.table()
    if sort not in table.columns:
        raise UnitlensError(
            f"There is no column {sort!r} in units.csv to sort by{did_you_mean(sort, table.columns)}; there are "
            f"{', '.join(table.columns)}."
        )
    shown = ["layer", "unit", "concept", "category", "iou", "heldout_iou", "chance_iou", "verdict"]
    if concept is not None:
        wanted = result.units_for(concept)
        table = table.set_index("unit", drop=False).loc[wanted]
        table.insert(0, "iou_with", result.scores("iou")[wanted, result.column(concept)])
        shown.insert(2, "iou_with")
    numeric = table[sort].dtype.kind in "fiub"
    table = (
        table
        if concept is not None and sort == "iou"
        else table.sort_values(sort, ascending=not numeric, kind="stable")
    )
    shown += [] if sort in shown else [sort]
    table = table[shown].head(rows) if rows else table[shown]
    cells = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return aligned([tuple(table.columns), *map(tuple, cells)])


def cell(value: Any) -> str:
    """A value as it is shown in a table; nothing for what is missing."""
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as lines, their columns padded to one width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
