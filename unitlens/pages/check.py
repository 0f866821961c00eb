"""The page of a check: what is wrong, a table of the concepts, and images of each with its mask drawn in."""

from itertools import groupby
from pathlib import Path

from unitlens.data.checks import Check
from unitlens.dissection.provenance import versions
from unitlens.errors import UnitlensError
from unitlens.files import another_or_overwrite, make_folder, write_whole
from unitlens.pages.document import document

PAGE = "check.html"


def write_check(folder: str | Path, check: Check, *, overwrite: bool = False) -> Path:
    """Write the page of a check.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there; other files in it stay.
    check : Check
    overwrite : bool
        Whether a page that is there may be replaced.

    Returns
    -------
    Path
        check.html in the folder: one file that opens by double click.

    Raises
    ------
    UnitlensError
        If there is a page already, or nothing can be written there.
    """
    path = Path(folder) / PAGE
    if path.exists() and not overwrite:
        raise UnitlensError(f"{path} is there already: {another_or_overwrite()}.")
    make_folder(path.parent)
    write_whole(path, render_check(check))
    return path


def render_check(check: Check) -> str:
    """The page as text: self-contained, and without scripts."""
    concepts = sorted(check.concepts, key=lambda one: (one.concept.category, -one.positions, one.concept.name))
    findings = sorted(check.findings, key=lambda finding: finding.kind)
    return document(
        "check.html",
        version=versions()["unitlens"],
        categories=[one.concept.category for one in concepts],
        check=check,
        concepts=concepts,
        held=any(one.segmenter_iou is not None for one in concepts),
        numbers={one.concept: number for number, one in enumerate(concepts, 1)},
        findings=[(kind, list(own)) for kind, own in groupby(findings, key=lambda finding: finding.kind)],
    )
