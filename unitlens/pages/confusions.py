"""The page of errors: pairs of classes that are confused, their images, and the concepts that pull the wrong way."""

from typing import Any, NamedTuple

from unitlens.drawing.sheets import sheet
from unitlens.explaining.confusions_result import ConfusedPair, Confusions
from unitlens.pages.document import document
from unitlens.pages.formats import image_uri, rows_of

MOST = 8
"""Rows of a pair's table."""

SIZE = 128
"""Height of images in pixels."""


class PairSection(NamedTuple):
    """A pair of classes: its images in one picture as a URI, and the first rows of its table."""

    pair: ConfusedPair
    own: str
    predicted: str
    images: str
    rows: list[dict[str, Any]]


def render_confusions(confusions: Confusions) -> str:
    """Return the page as text: one self-contained HTML file."""
    table = confusions.table()
    return document(
        "confusions.html",
        version=confusions.info["unitlens"],
        warnings=confusions.info["warnings"],
        styles=("comparison.css", "explanations.css"),
        info=confusions.info,
        confusions=confusions,
        sections=[_section(confusions, pair, table) for pair in confusions.pairs],
    )


def _section(confusions: Confusions, pair: ConfusedPair, table: Any) -> PairSection:
    own, predicted = confusions.classes[pair.class_], confusions.classes[pair.predicted]
    rows = table[(table["class"] == own) & (table["predicted"] == predicted) & (table["pull"] > 0)].head(MOST)
    drawn = sheet([image[None] for image in pair.shown], size=SIZE)
    return PairSection(pair, own, predicted, image_uri(drawn), rows_of(rows))
