"""Tables for a paper: LaTeX that fits a column."""

import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unitlens.errors import UnitlensError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    "iou": "IoU",
    "iou_low": "low",
    "iou_high": "high",
    "heldout_iou": "held out",
    "chance_iou": "chance",
    "second_iou": "second IoU",
    "q_value": "$q$",
    "p_value": "$p$",
}
"""How columns are headed, where it is not their name with blanks."""

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # \textquotedbl is not in every encoding
    **{character: f"\\{character}" for character in "&%$#_"},
}


def escape_latex(text: str) -> str:
    r"""Return text as LaTeX prints it; what no line of text holds becomes a blank.

    Examples
    --------
    >>> print(escape_latex("50 % of a_b {c} \\d"))
    50 \% of a\_b \{c\} \textbackslash{}d
    """
    shown = (c if c.isprintable() or unicodedata.category(c) == "Zs" else " " for c in text)
    return "".join(_ESCAPED.get(character, character) for character in shown)


_WORDS = r">{\raggedright\arraybackslash\hspace{0pt}}X"
"""A column of words: lines are broken, and behind a space of no width TeX divides the first word of a cell, too."""

_LONG_WORD = 12
"""A word of more characters may be broken behind its points, slashes, hyphens and underscores, and before a number."""


def _breakable(text: str) -> str:
    r"""Return text as LaTeX, in which long names may be broken.

    Examples
    --------
    >>> print(_breakable("ski slope of features.conv_12"))
    ski slope of features.\allowbreak{}conv\_\allowbreak{}12
    """
    parts = (
        re.split(r"(?<=[./_:-])(?=[^./_:-])|(?<=[a-z])(?=\d)", word) if len(word) > _LONG_WORD else [word]
        for word in text.split(" ")
    )
    return " ".join(r"\allowbreak{}".join(map(escape_latex, part)) for part in parts)


def latex_table(
    table: "pd.DataFrame",
    *,
    columns: Mapping[str, str] | list[str] | None = None,
    rows: int | None = None,
    digits: int = 3,
    width: str = r"\columnwidth",
) -> str:
    r"""Write a table as LaTeX that is as wide as a column of text, and no wider.

    Columns of words share the width that numbers leave, and break their lines; the table is set in ``\small``, its
    columns close together. It needs ``booktabs`` and ``tabularx``, and XeLaTeX or LuaLaTeX where words are not in Latin
    letters.

    Parameters
    ----------
    table : pandas.DataFrame
        Such as ``d.detectors()``, ``effects.table()`` or ``comparison.table()``.
    columns : mapping of str to str, or list of str, optional
        Which, and their headings (LaTeX); all.
    rows : int, optional
        So many of its first rows.
    digits : int
        Behind the point.
    width : str
        A length of LaTeX.

    Returns
    -------
    str
        A ``tabularx``, for a ``table`` of the paper.

    Raises
    ------
    UnitlensError
        If there is no such column.

    Examples
    --------
    >>> import pandas as pd
    >>> print(latex_table(pd.DataFrame({"unit": [7], "concept": ["sea & sky"], "iou": [0.25]}), digits=2))
    % \usepackage{booktabs, tabularx}
    {\small\setlength{\tabcolsep}{3pt}%
    \begin{tabularx}{\columnwidth}{@{}r>{\raggedright\arraybackslash\hspace{0pt}}Xr@{}}
    \toprule
    unit & concept & IoU \\
    \midrule
    7 & sea \& sky & 0.25 \\
    \bottomrule
    \end{tabularx}}
    """
    names = list(table.columns) if columns is None else list(columns)
    headings = columns if isinstance(columns, Mapping) else {}
    for name in names:
        if name not in table.columns:
            known = list(map(str, table.columns))
            raise UnitlensError(
                f"The table has no column {name!r}{did_you_mean(str(name), known)}; it has {', '.join(known)}."
            )
    shown = table[names] if rows is None else table[names].head(rows)
    of_words = [not _of_numbers(shown[name]) for name in names]
    layout = "".join(_WORDS if words else "r" for words in of_words)
    environment = "tabularx" if any(of_words) else "tabular*"
    stretch = "" if any(of_words) else r"\extracolsep{\fill}"
    head = [headings.get(name, HEADINGS.get(name, escape_latex(str(name).replace("_", " ")))) for name in names]
    body = [[_cell(value, digits) for value in row] for row in shown.itertuples(index=False)]
    lines = [" & ".join(cells) + r" \\" for cells in (head, *body)]
    return "\n".join(
        [
            r"% \usepackage{booktabs, tabularx}",
            r"{\small\setlength{\tabcolsep}{3pt}%",
            rf"\begin{{{environment}}}{{{width}}}{{@{{{stretch}}}{layout}@{{}}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            rf"\end{{{environment}}}}}",
        ]
    )


def _of_numbers(column: "pd.Series[Any]") -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(column) and not is_bool_dtype(column))


def _cell(value: Any, digits: int) -> str:
    """A value of the table: a dash where it is missing, a minus in front of what is below 0."""
    import pandas as pd

    if pd.isna(value):
        return "--"
    if isinstance(value, bool) or not isinstance(value, int | float):
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, bool):
            return "yes" if plain else "no"
        return _breakable(str(plain)) if not isinstance(plain, int | float) else _cell(plain, digits)
    text = f"{value:.{digits}f}" if isinstance(value, float) else str(value)
    return f"$-${text[1:]}" if text.startswith("-") else text
