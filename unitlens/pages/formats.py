"""Values as the texts of a page: numbers, shares, names of files, rows of tables."""

import base64
import json
import math
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

Row = Mapping[str, Any]
"""One row of a table by its columns; None where a value is missing."""


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, a whole one in full; a dash for None."""
    if value is None:
        return "-"
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else f"{float(f'{value:.{digits}g}'):g}"


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as a percentage with so many significant digits; a dash for None."""
    return "-" if share is None else f"{float(f'{100 * share:.{digits}g}'):g}\N{NO-BREAK SPACE}%"


def decimals(
    value: float, low: float | None = None, high: float | None = None, *, signed: bool = False, at_least: int = 0
) -> list[str]:
    """Return a number and the ends of its interval, all with the same decimals.

    Parameters
    ----------
    value : float
    low, high : float, optional
        Without them the number stands alone.
    signed : bool
        Whether positive numbers have a plus.
    at_least : int
        Decimals. There are more where that is needed for two significant digits of the interval's width, or of the
        number where there is no interval: so the ends differ.

    Examples
    --------
    >>> decimals(0.0391, 0.0353, 0.0428)
    ['0.0391', '0.0353', '0.0428']
    >>> decimals(3, -1.6, 7.6, signed=True)
    ['+3.0', '-1.6', '+7.6']
    """
    given = [value, *(end for end in (low, high) if end is not None)]
    size = (max(given) - min(given)) or abs(value)
    places = 1 - math.floor(math.log10(size)) if size and math.isfinite(size) else 0
    places = min(max(places, at_least), 12)
    return [f"{one:{'+' if signed else ''}.{places}f}" for one in given]


def base_name(source: str) -> str:
    """Return the name of a data set, a network or a file of weights; of an absolute path only the last part.

    Examples
    --------
    >>> base_name("/home/me/photos"), base_name("hf:facebook/dinov2-small"), base_name("/data/street + colors")
    ('photos', 'hf:facebook/dinov2-small', 'street + colors')
    """
    return " + ".join(_last_part(part) for part in str(source).split(" + "))


def _last_part(source: str) -> str:
    absolute = PurePosixPath(source).is_absolute() or PureWindowsPath(source).is_absolute()
    return (PureWindowsPath(source).name if absolute else "") or source


def script_json(value: object) -> "Markup":
    """Return a value as JSON inside of a script element: as short as can be, and nothing in it ends the element."""
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def slug(text: str) -> str:
    """Return text as a part of a link's fragment; different texts stay different."""
    return quote(text, safe="", errors="surrogateescape").replace("~", "%7E").replace("%", "~")


def base64_text(content: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(content).decode()


def image_uri(content: bytes) -> str:
    """Return an image file as an address that needs no network."""
    return f"data:image/{image_kind(content)};base64,{base64_text(content)}"


def image_kind(content: bytes) -> str:
    """Which kind of image a file is: webp, png or jpeg."""
    return "webp" if content[8:12] == b"WEBP" else "png" if content.startswith(b"\x89PNG") else "jpeg"


def rows_of(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries, with None where a value is missing."""
    values = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in values.to_dict("records")]
