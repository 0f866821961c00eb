"""One HTML file from a template: self-contained, with nothing to fetch, and every value on it as text."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.drawing.figures import category_colours
from unitlens.pages.cards import number, percent

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
"""Where templates, styles and scripts lie."""


def document(
    template: str,
    *,
    version: str,
    categories: Iterable[str] = (),
    styles: Sequence[str] = ("report.css",),
    scripts: Sequence[str] = (),
    **values: Any,
) -> str:
    """Make a page.

    Parameters
    ----------
    template : str
        The name of one that extends ``base.html``.
    version : str
        Of unitlens, which the page says it was made by.
    categories : iterable of str
        Those whose colours the page uses; repeated or not.
    styles, scripts : sequence of str
        Names of files beside the templates. The template says where each script stands: ``scripts["report.js"]``.
    **values
        What the template shows.

    Returns
    -------
    str
        HTML. A policy in its head forbids requests of any kind, and scripts but these.
    """
    colours = category_colours(categories)
    texts = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in scripts}
    page: str = (
        environment()
        .get_template(template)
        .render(
            version=version,
            colours=list(colours.values()),
            colour_of={category: f"c{place}" for place, category in enumerate(colours)},
            style="".join((TEMPLATES / name).read_text(encoding="utf-8") for name in styles),
            policy=policy(texts.values()),
            scripts=texts,
            **values,
        )
    )
    return page


def policy(scripts: Iterable[str]) -> str:
    """What a page may do: show images that it holds, run its own scripts, and nothing else."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    own = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {own}"


def environment() -> "jinja2.Environment":
    """Templates that escape every value, and stop at a name that is not there."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "percent": percent, "base64": _base64}
    return made


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
