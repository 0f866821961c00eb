"""The pages of images in pairs and of attacks: which units change, which concepts come and go, and does it matter."""

from typing import Any

from unitlens.explaining.pairs.attack_result import Attack
from unitlens.explaining.pairs.image_changes import ALPHA, ImageChanges
from unitlens.pages.document import document
from unitlens.pages.formats import image_uri, rows_of

MOST, MOST_CONCEPTS, MOST_PAIRS = 20, 8, 40
"""Rows of the tables of units, of concepts that come or go, and of pairs."""


def render_changes(changes: ImageChanges) -> str:
    """The page of images in pairs as text: one self-contained HTML file."""
    return _page(changes, changes.info, attack=None, rows=changes.images(), prefix="pairs")


def render_attack(attack: Attack) -> str:
    """The page of an attack as text: one self-contained HTML file."""
    return _page(attack.changes, attack.info, attack=attack, rows=attack.table(), prefix="attack")


def _page(changes: ImageChanges, info: Any, *, attack: Attack | None, rows: Any, prefix: str) -> str:
    units, concepts = changes.table(), changes.concepts()
    return document(
        "changes.html",
        version=info["unitlens"],
        warnings=info["warnings"],
        styles=("comparison.css", "explanations.css"),
        info=info,
        changes=changes,
        attack=attack,
        prefix=prefix,
        interval=round(100 * changes.interval),
        changed=int(changes.changed.sum()),
        classes=changes.classes_named(),
        figure=image_uri(changes.figure()._repr_png_()),  # type: ignore[attr-defined]
        units=rows_of(units.head(MOST)),
        significant=int((units["peak_q_value"] <= ALPHA).sum()),
        more=max(len(units) - MOST, 0),
        added=rows_of(concepts[concepts["area_change"] > 0].head(MOST_CONCEPTS)),
        removed=rows_of(concepts[concepts["area_change"] < 0].iloc[::-1].head(MOST_CONCEPTS)),
        matter=rows_of(changes.matter()),
        pairs=rows_of(rows.head(MOST_PAIRS)),
        pairs_more=max(len(rows) - MOST_PAIRS, 0),
    )
