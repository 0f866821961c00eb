"""causal_labels.csv in the folder of a run: written, and read back with its rows checked against units.csv."""

from pathlib import Path
from typing import TYPE_CHECKING

from unitlens.ablation.validation import read_table
from unitlens.dissection.files import RUN, read_run
from unitlens.errors import UnitlensError
from unitlens.explaining.pairs.causal_labels_result import COLUMNS, TEXT, VERDICTS, CausalLabels
from unitlens.files import another_or_overwrite, write_whole

if TYPE_CHECKING:
    import pandas as pd

CAUSAL_LABELS = "causal_labels.csv"


def write_causal_labels(folder: Path, labels: CausalLabels, *, overwrite: bool) -> None:
    """Write the table into the run whose labels they are.

    Raises
    ------
    UnitlensError
        If there is one already, or the folder holds no run, or one of other labels.
    """
    if not (folder / RUN).is_file():
        raise UnitlensError(f"{folder} holds no run, and causal labels belong to one: save the dissection with them.")
    if (folder / CAUSAL_LABELS).exists() and not overwrite:
        raise UnitlensError(f"{folder / CAUSAL_LABELS} is there already: {another_or_overwrite()}.")
    _check_rows(labels.rows, read_run(folder).units)
    for name, text in labels.files().items():
        write_whole(folder / name, text)


def read_causal_labels(folder: Path, units: "pd.DataFrame") -> "pd.DataFrame | None":
    """Read the table of a run with these units; None where there is none.

    Raises
    ------
    UnitlensError
        If it is damaged, or of other labels.
    """
    if not (folder / CAUSAL_LABELS).exists():
        return None
    try:
        rows = read_table(folder / CAUSAL_LABELS, list(COLUMNS), text=TEXT)
        _check_rows(rows, units)
        return rows.astype({"unit": int, "pairs": int, "others": int})
    except (UnitlensError, ValueError) as error:
        fact = str(error).rstrip(".")
        raise UnitlensError(
            f"{folder / CAUSAL_LABELS} is damaged, or of another run ({fact}): measure causal labels again."
        ) from None


def _check_rows(rows: "pd.DataFrame", units: "pd.DataFrame") -> None:
    labelled = units[units["concept"].notna()]
    key = ["layer", "unit", "concept", "category", "verdict"]
    if len(rows) != len(labelled) or not (rows[key].to_numpy(object) == labelled[key].to_numpy(object)).all():
        raise UnitlensError("the labels of units.csv are others")
    unknown = set(rows["causal_verdict"]) - {*VERDICTS, ""}
    if unknown:
        raise UnitlensError(f"there is no causal verdict {sorted(unknown)[0]!r}")
