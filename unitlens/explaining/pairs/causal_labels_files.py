"""causal_labels.csv in the folder of a run: written, and read back with its rows checked against units.csv."""

from pathlib import Path
from typing import TYPE_CHECKING

from unitlens.ablation.validation import read_table
from unitlens.errors import UnitlensError
from unitlens.explaining.pairs.causal_labels_result import COLUMNS, TEXT, VERDICTS
from unitlens.files import another_or_overwrite
from unitlens.journal import changing, settle

if TYPE_CHECKING:
    import pandas as pd

CAUSAL_LABELS = "causal_labels.csv"


def check_no_causal_labels(folder: Path, *, overwrite: bool) -> None:
    """Make sure that causal labels may be written into a folder.

    Raises
    ------
    UnitlensError
        If there are some already, and they may not be replaced.
    """
    settle(folder)
    if (folder / CAUSAL_LABELS).exists() and not overwrite:
        raise UnitlensError(f"{folder / CAUSAL_LABELS} is there already: {another_or_overwrite()}.")


def write_causal_labels(folder: Path, rows: "pd.DataFrame", units: "pd.DataFrame") -> None:
    """Write the table into the run whose labels they are.

    Parameters
    ----------
    folder : Path
    rows : DataFrame
        Of `CausalLabels`.
    units : DataFrame
        units.csv of the run.

    Raises
    ------
    UnitlensError
        If the run has other labels.
    """
    _check_rows(rows, units)
    with changing(folder) as change:
        change.write(CAUSAL_LABELS, rows.to_csv(index=False))


def read_causal_labels(folder: Path, units: "pd.DataFrame") -> "pd.DataFrame | None":
    """Read the table of a run with these units; None where there is none.

    Raises
    ------
    UnitlensError
        If it is damaged, or of other labels.
    """
    settle(folder)
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
