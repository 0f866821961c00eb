"""Broden (1.0 and 1.1): one list of images, label maps and whole-image labels, in unified numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unitlens.data.concepts import Concept
from unitlens.data.readers.files import inside, read_colors, read_rows, record_digest, relabelled, whole_number
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.errors import UnitlensError, is_number

FILES = ("index.csv", "label.csv", "category.csv")


def is_broden(root: Path) -> bool:
    """Whether the three lists of Broden are there."""
    return all((root / name).is_file() for name in FILES)


def open_broden(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open Broden.

    ``index.csv`` has a row an image: image, split, and a column a category. A cell is empty (not annotated), or a
    list separated by semicolons of whole-image labels (numbers) and of maps (PNG files under ``images/``) whose
    pixels are red + 256 green: the number of a label in ``label.csv``, 0 for none. ``c_CATEGORY.csv`` lists the numbers
    that a category has; without it, the column ``category`` of ``label.csv`` does.

    Parameters
    ----------
    root : Path
        The folder.
    split : str, optional
        Only images with this word in the column split ("train", "val").

    Source: Bau, Zhou, Khosla, Oliva, Torralba, "Network Dissection", CVPR 2017, and the README that Broden comes with.
    """
    categories = [row["name"] for _, row in read_rows(root / "category.csv", ["name"])]
    index = root / "index.csv"
    rows = {inside(row["image"], index): row for _, row in read_rows(index, ["image", "split", *categories])}
    splits = chosen_splits(split, sorted({row["split"] for row in rows.values()}), root)
    rows = {name: row for name, row in rows.items() if row["split"] in splits}
    concepts = _concepts(root, categories)
    cells = {name: {c: row[c] for c in categories if row[c]} for name, row in rows.items()}
    return MarkedImages(
        "broden", root, root / "images", tuple(sorted(rows)), concepts, BrodenMarks(root, concepts, cells)
    )


def _concepts(root: Path, categories: list[str]) -> tuple[Concept, ...]:
    path = root / "label.csv"
    labels: dict[int, tuple[str, list[str]]] = {}
    for line, row in read_rows(path, ["number", "name", "category"]):
        # "color(289);object(3)": categories with the number of images in each
        members = [re.sub(r"\(\d+\)$", "", part.strip()) for part in row["category"].split(";")]
        labels[whole_number(row["number"], path, line)] = (row["name"], members)
    concepts = []
    for category in categories:
        for number in _numbers(root / inside(f"c_{category}.csv", root / "category.csv")) or [
            n for n in labels if category in labels[n][1]
        ]:
            if number not in labels:
                raise UnitlensError(f"{root / f'c_{category}.csv'} has the number {number}, which {path} does not.")
            concepts.append(Concept(category, number, labels[number][0]))
    return tuple(concepts)


def _numbers(path: Path) -> list[int]:
    if not path.is_file():
        return []
    return sorted({whole_number(row["number"], path, line) for line, row in read_rows(path, ["number"])})


@dataclass(frozen=True)
class BrodenMarks:
    """Reads the cells of ``index.csv``."""

    root: Path
    concepts: tuple[Concept, ...]
    cells: Mapping[str, Mapping[str, str]]

    def __call__(self, name: str, /) -> Marks:
        """All maps and whole-image labels of an image."""
        planes: dict[str, list[Any]] = {}
        digests = [record_digest(self.cells[name])]
        for category, cell in self.cells[name].items():
            table = {0: 0, **{c.label: c.label for c in self.concepts if c.category == category}}
            for item in (part.strip() for part in cell.split(";") if part.strip()):
                source: Path | str = f"{self.root / 'index.csv'}, in the row of {name},"
                if is_number(item):
                    codes = np.array([[int(item)]])
                else:
                    source = self.root / "images" / inside(item, self.root / "index.csv")
                    codes, digest = read_colors(source, (1, 256, 0))
                    digests.append(digest)
                known_from = f"the list of {category} labels (c_{category}.csv or label.csv)"
                planes.setdefault(category, []).append(relabelled(codes, table, source, known_from))
        return Marks(planes, digests)
