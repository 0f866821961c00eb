"""What `unitlens intervene` prints of its results."""

from collections.abc import Sequence
from typing import Any

from unitlens.cli.text import align_columns, format_cell


def summarize_intervention(result: Any) -> str:
    """Return one result in a few lines."""
    from unitlens.editing.causal_result import CausalEffects
    from unitlens.editing.concept_set_result import ConceptSet
    from unitlens.editing.detector_result import DrawnDetectors
    from unitlens.editing.insertion_result import InsertionMap

    table = result.table().dropna(axis=1, how="all")
    if isinstance(result, CausalEffects):
        order = table["average_causal_effect"].abs().sort_values(ascending=False, kind="stable").index
        table = table.reindex(order)
        columns = ["unit", "concept", "removed", "inserted", "average_causal_effect", "low", "high", "q_value"]
        return _rows(repr(result), table, [*columns, "random_mean", "segmenter_iou"])
    if isinstance(result, ConceptSet):
        return _rows(repr(result), table, ["units", "added", "chosen_on", "removed", "low", "high", "others_lost"])
    if isinstance(result, DrawnDetectors):
        return _rows(repr(result), table, ["unit", "level", "balanced_accuracy", "low", "high", "chosen_on"])
    if isinstance(result, InsertionMap):
        return _rows(repr(result), table, ["before", "places", "appeared", "low", "high", "random_appeared", "area"])
    if "removed" in table:
        table = table.assign(removed=table["removed"].where(table["removed"] >= 0))  # of what grew, nothing is gone
    of_set = ["concept", "before", "after", "effect", "low", "high", "q_value", "random_mean", "matched_mean"]
    return _rows(repr(result), table, [*of_set, "removed", "segmenter_iou"])


def _rows(title: str, table: Any, columns: Sequence[str], most: int = 10) -> str:
    """The first rows, with those of the columns that are there."""
    table = table[[name for name in columns if name in table]]
    cells = [tuple(format_cell(value)[:40] for value in row) for row in table.head(most).itertuples(index=False)]
    return f"{title[1:-1]}\n{align_columns([tuple(map(str, table.columns)), *cells])}"
