"""Tables of text that fit the width of the terminal."""

import shutil
import sys
import unicodedata
from collections.abc import Sequence

from unitlens.errors import is_number

GAP = 2
"""Blanks between two columns."""

NARROWEST = 8
"""No column of words is cut to less than this."""

Rows = Sequence[tuple[str, ...]]


def terminal_width() -> int | None:
    """The width of the terminal; None where lines go to a file or a pipe, and may be of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for an accent.

    Examples
    --------
    >>> width_of("sky"), width_of("\u7a7a")
    (3, 2)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def fit(rows: Rows, width: int | None) -> str:
    """Return a table as lines of text, none of them wider than the terminal.

    Words that are too long end in an ellipsis, the longest first; numbers are never cut. Where that is not enough,
    columns are left out from the right, and a last line names them.

    Parameters
    ----------
    rows : sequence of tuple of str
        The first holds the names of the columns.
    width : int or None
        None: as wide as it is.

    Examples
    --------
    >>> print(fit([("unit", "concept", "iou"), ("7", "swimming pool", "0.21")], 22))
    unit  concept     iou
    7     swimming …  0.21
    """
    widths = [max(width_of(row[column]) for row in rows) for column in range(len(rows[0]))]
    if width is None:
        return _lines(rows, widths)
    least = [_least(rows, column, full) for column, full in enumerate(widths)]
    shown = len(widths)
    while shown > 1 and _total(least[:shown]) > width:
        shown -= 1
    fitted = _shrunk(widths[:shown], least[:shown], width)
    text = _lines([row[:shown] for row in rows], fitted)
    left_out = rows[0][shown:]
    return f"{text}\n{_left_out(left_out, width)}" if left_out else text


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _least(rows: Rows, column: int, full: int) -> int:
    """How narrow a column may become: that of numbers stays as it is, and so do names of columns."""
    cells = [row[column] for row in rows[1:]]
    if all(is_quantity(cell) for cell in cells):
        return full
    return min(full, max(NARROWEST, width_of(rows[0][column])))


def is_quantity(text: str) -> bool:
    """Whether a cell holds a number, with its unit or interval, or nothing; such a cell is not cut.

    Examples
    --------
    >>> is_quantity("0.12 (0.1 to 0.3)"), is_quantity("56x56"), is_quantity("7"), is_quantity("conv2d 3")
    (True, True, True, False)
    """
    return not text or all(is_number(part[:1]) or part[:1] in "+-(%.[" or part == "to" for part in text.split())


def _shrunk(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Cut the widest columns until all fit, or no column can be narrower."""
    fitted = list(widths)
    while _total(fitted) > width:
        able = [column for column, own in enumerate(fitted) if own > least[column]]
        if not able:
            return fitted
        fitted[max(able, key=fitted.__getitem__)] -= 1
    return fitted


def _lines(rows: Rows, widths: Sequence[int]) -> str:
    return "\n".join(
        (" " * GAP).join(_cell(text, own) for text, own in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(text: str, width: int) -> str:
    if width_of(text) > width:
        mark = "…" if _shows("…") else "~"
        while width_of(text) >= width:
            text = text[:-1]
        text += mark
    return text + " " * (width - width_of(text))


def _shows(character: str) -> bool:
    """Whether the terminal has a character."""
    try:
        character.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _left_out(names: Sequence[str], width: int) -> str:
    """Name the columns that are not shown, in lines of the terminal's width."""
    said = f"not shown for want of width (a pipe takes all): {', '.join(names)}"
    lines = [""]
    for word in said.split():
        longer = f"{lines[-1]} {word}".strip()
        lines[-1:] = [longer] if width_of(longer) <= width else [lines[-1], word]
    return "\n".join(filter(None, lines))
