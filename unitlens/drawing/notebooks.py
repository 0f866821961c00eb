"""What a notebook shows of a result: a line about it, and the first rows of its table."""

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST = 10
"""Rows that are shown."""


def table_html(description: str, table: "pd.DataFrame", *, most: int | None = MOST, numbers: str = "{:.4g}") -> str:
    """Return a description and a table as HTML.

    Parameters
    ----------
    description : str
        The result's ``repr``, in its angle brackets.
    table : pandas.DataFrame
    most : int or None
        So many of its first rows; None: all.
    numbers : str
        How numbers are written.
    """
    rows = table if most is None else table.head(most)
    return f"<p>{html.escape(description[1:-1])}</p>" + str(rows.to_html(index=False, float_format=numbers.format))
