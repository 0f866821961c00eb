"""What the page of a run shows of minimal pairs: how many labels pass, and which do not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.explaining.labelled_units import GOOD
from unitlens.explaining.pairs.causal_labels_result import VERDICTS, describe_shares, label_shares

if TYPE_CHECKING:
    import pandas as pd

MOST = 12
"""Rows of labels that do not pass."""


class CausalLabelsView(NamedTuple):
    """A sentence, rows by the verdict of the dissection, and rows of detectors whose label does not pass."""

    summary: str
    shares: list[dict[str, Any]]
    failing: list[dict[str, Any]]
    more: int
    layers: int
    verdicts: Mapping[str, str]


def causal_view(rows: "pd.DataFrame") -> CausalLabelsView:
    """Gather what is shown of the rows of causal_labels.csv."""
    detectors = rows[(rows["verdict"] == GOOD) & ~rows["causal_verdict"].isin(["passes", ""])]
    failing = _records(detectors.sort_values("iou", ascending=False))
    return CausalLabelsView(
        summary=describe_shares(rows),
        shares=_records(label_shares(rows)),
        failing=failing[:MOST],
        more=max(len(failing) - MOST, 0),
        layers=rows["layer"].nunique(),
        verdicts=VERDICTS,
    )


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
