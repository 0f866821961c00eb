"""ADE20K as the scene parsing challenge has it: 150 classes on one map, and the scene of each image."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from unitlens.data.concepts import Concept, Finding, name_findings
from unitlens.data.images import read_label_map
from unitlens.data.readers.files import first_words, must_exist, names_under, read_text, relabelled, subfolders
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.errors import UnitlensError, is_number

CLASSES, SCENES = "objectInfo150.txt", "sceneCategories.txt"


def is_ade20k(root: Path) -> bool:
    """Whether the list of the 150 classes, images and annotations are there."""
    return (root / CLASSES).is_file() and (root / "images").is_dir() and (root / "annotations").is_dir()


def open_ade20k(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open ADE20K's scene parsing data (``ADEChallengeData2016``).

    Parameters
    ----------
    root : Path
        With ``images/{training,validation}``, ``annotations/``, ``objectInfo150.txt`` and ``sceneCategories.txt``; the
        last may be absent.
    split : str, optional
        "training" or "validation".

    Source: Zhou and others, "Scene Parsing through ADE20K Dataset", CVPR 2017. A map's 0 is "none of the 150".
    """
    splits = chosen_splits(split, subfolders(root / "images"), root)
    names = tuple(name for name in names_under(root / "images") if name.split("/")[0] in splits)
    scenes = _scenes(root / SCENES, names)
    labels = {scene: label for label, scene in enumerate(sorted(set(scenes.values())), 1)}
    concepts = (*_classes(root / CLASSES), *(Concept("scene", label, scene) for scene, label in labels.items()))
    marks = Ade20kMarks(root / "annotations", concepts, {name: labels[scene] for name, scene in scenes.items()})
    check_files = partial(_without_image, root, splits, frozenset(Path(name).stem for name in names))
    return MarkedImages("ade20k", root, root / "images", names, concepts, marks, scenes, check_files)


def _without_image(root: Path, splits: Sequence[str], stems: Set[str]) -> Iterator[Finding]:
    """Annotations of images that are not there."""
    annotations = names_under(root / "annotations", suffixes=[".png"])
    absent = [name for name in annotations if name.split("/")[0] in splits and Path(name).stem not in stems]
    yield from name_findings("missing image", absent, "annotations/{name} is of an image that is not there.")


def _classes(path: Path) -> list[Concept]:
    """Rows of Idx, Ratio, Train, Val, Name, with tabs (or several spaces) between them, and at times behind them."""
    numbers, names = [], []
    for row in (line.rstrip() for line in read_text(path).splitlines()[1:]):
        cells = [cell.strip() for cell in row.split("\t")] if "\t" in row else row.split(maxsplit=4)
        if not cells or not cells[0]:
            continue
        if len(cells) < 5 or not is_number(cells[0]):
            raise UnitlensError(f"{path} has the row {row!r}, which is not Idx, Ratio, Train, Val, Name.")
        numbers.append(int(cells[0]))
        names.append(cells[-1])
    return [Concept("object", number, name) for number, name in zip(numbers, first_words(names), strict=True)]


def _scenes(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The scene of each image, where the file is there: rows of an image without its extension, and a scene."""
    if not path.is_file():
        return {}
    of_stem = dict(line.split()[:2] for line in read_text(path).splitlines() if len(line.split()) >= 2)
    return {name: of_stem[Path(name).stem] for name in names if Path(name).stem in of_stem}


@dataclass(frozen=True)
class Ade20kMarks:
    """Reads ``annotations/SPLIT/NAME.png``, and adds the scene."""

    folder: Path
    concepts: tuple[Concept, ...]
    scene: Mapping[str, int]

    def __call__(self, name: str, /) -> Marks:
        """The classes on one map, and the scene of the whole image."""
        path = (self.folder / name).with_suffix(".png")
        must_exist(path)
        codes, digest = read_label_map(path)
        table = {0: 0, **{c.label: c.label for c in self.concepts if c.category == "object"}}
        planes = {"object": [relabelled(codes, table, path, CLASSES)]}
        if name not in self.scene:
            return Marks(planes, [digest])
        return Marks(planes | {"scene": [np.array([[self.scene[name]]], np.uint16)]}, [digest, str(self.scene[name])])
