"""The page of shortcuts: accuracy by subgroup, what removing units does to it, and images of the worst one."""

from typing import Any, NamedTuple

from unitlens.drawing.sheets import sheet
from unitlens.explaining.subgroups.result import EVERY, Shortcuts
from unitlens.pages.document import document
from unitlens.pages.formats import image_uri, rows_of

SIZE = 128
"""Height of images in pixels."""

KINDS = {
    "unit": ("Single units", "one at a time; the five that helped the worst subgroup most on the images that chose"),
    "concept": ("Concepts", "all detectors of one together; the five that helped most on the images that chose"),
    "set": ("Sets", "a unit or a concept at a time, so that the mean accuracy of the subgroups rises most"),
}


class ShownImage(NamedTuple):
    """An image as a URI, its class, and the predictions untouched and without the chosen units."""

    image: str
    class_: str
    before: str
    after: str


class RemovalRow(NamedTuple):
    """A removal: its kind, units and concepts, and a row of the table for each subgroup."""

    kind: str
    units: str
    concept: str
    chosen: bool
    effects: list[dict[str, Any]]


def render_shortcuts(shortcuts: Shortcuts) -> str:
    """Return the page as text: one self-contained HTML file."""
    accuracy = rows_of(shortcuts.accuracy())
    rows = rows_of(shortcuts.table())
    count = len(shortcuts.subgroups)
    removals = [rows[start : start + count] for start in range(0, len(rows), count)]
    kinds: dict[str, list[RemovalRow]] = {kind: [] for kind in KINDS}
    for place, effects in enumerate(removals):
        first = effects[0]
        row = RemovalRow(first["kind"], first["units"], first["concept"], place == shortcuts.chosen, effects)
        kinds[first["kind"]].append(row)
    compared = [row for of_kind in kinds.values() for row in of_kind if row.effects[0].get("random_mean") is not None]
    return document(
        "shortcuts.html",
        version=shortcuts.info["unitlens"],
        warnings=shortcuts.info["warnings"],
        styles=("comparison.css", "explanations.css", "shortcuts.css"),
        info=shortcuts.info,
        shortcuts=shortcuts,
        worst=shortcuts.subgroups[shortcuts.worst],
        chosen=removals[shortcuts.chosen],
        overall=[row for row in accuracy if row["class"] == EVERY],
        by_class=[row for row in accuracy if row["class"] != EVERY],
        sections=[(*KINDS[kind], found) for kind, found in kinds.items() if found],
        compared=compared,
        images=_images(shortcuts),
    )


def _images(shortcuts: Shortcuts) -> list[ShownImage]:
    shown = shortcuts.shown
    uris = [image_uri(sheet([image[None]], size=SIZE)) for image in shown.images]
    return [ShownImage(*values) for values in zip(uris, shown.classes, shown.before, shown.after, strict=True)]
