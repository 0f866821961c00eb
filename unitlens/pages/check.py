"""The page of a check: problems, a table of the concepts, and images of each with its mask drawn in."""

from itertools import groupby

from unitlens.data.findings import Check
from unitlens.dissection.provenance import versions
from unitlens.pages.document import document


def render_check(check: Check) -> str:
    """Return the page as text: one self-contained HTML file."""
    concepts = sorted(check.concepts, key=lambda one: (one.concept.category, -one.positions, one.concept.name))
    findings = sorted(check.findings, key=lambda finding: finding.kind)
    return document(
        "check.html",
        version=versions()["unitlens"],
        categories=[one.concept.category for one in concepts],
        styles=("check.css",),
        check=check,
        concepts=concepts,
        segmented=any(one.segmenter_iou is not None for one in concepts),
        numbers={one.concept: number for number, one in enumerate(concepts, 1)},
        findings=[(kind, list(listed)) for kind, listed in groupby(findings, key=lambda finding: finding.kind)],
    )
