"""One HTML file from a template: self-contained, nothing to load, and every value on it as text."""

import base64
import gc
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.drawing.figures import category_colours
from unitlens.pages.formats import base64_text, base_name, decimals, number, percent, script_json

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
"""Folder of the templates, styles and scripts."""


def document(
    template: str,
    *,
    version: str,
    warnings: Sequence[str] = (),
    categories: Iterable[str] = (),
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    **values: Any,
) -> str:
    """Render a page from a template that extends ``base.html``.

    Parameters
    ----------
    template : str
        Its file name.
    version : str
        The version of unitlens that the page names.
    warnings : sequence of str
        Shown below the heading.
    categories : iterable of str
        Those whose colours the page uses; repeated or not.
    styles, scripts : sequence of str
        File names beside the templates, in addition to those that every page has. The template includes each script
        itself, as ``scripts["report.js"]``.
    **values
        Variables of the template.

    Returns
    -------
    str
        HTML. A policy in its head forbids all requests, and all scripts but these.
    """
    colours = category_colours(categories)
    sources = {name: _read(name) for name in ("first.js", "theme.js", "saving.js", *scripts)}
    with _no_collections():
        page: str = (
            environment()
            .get_template(template)
            .render(
                version=version,
                warnings=warnings,
                colours=list(colours.values()),
                colour_of={category: f"c{index}" for index, category in enumerate(colours)},
                style="".join(map(_read, ("base.css", *styles))),
                policy=policy(sources.values()),
                scripts=sources,
                **values,
            )
        )
    return page.encode(errors="replace").decode()  # file names that are not Unicode get question marks


@contextmanager
def _no_collections() -> Iterator[None]:
    """Let Python not look for cycles among all objects of the process: a page is made of many, and has no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def policy(scripts: Iterable[str]) -> str:
    """Return the content security policy of a page: its own images and these scripts, and nothing else."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


@cache
def environment() -> "jinja2.Environment":
    """Return the templates, each compiled once, which escape every value and refuse unknown variables."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"number": number, "percent": percent, "base64": base64_text, "base_name": base_name}
    templates.filters["script_json"] = script_json
    templates.globals["decimals"] = decimals
    return templates


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
