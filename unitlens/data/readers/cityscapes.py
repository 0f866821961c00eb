"""Cityscapes: streets of fifty cities, every pixel one of 34 labels, 19 of them judged."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unitlens.data.concepts import NOT_JUDGED, Concept, Finding, name_findings
from unitlens.data.images import read_label_map
from unitlens.data.readers.files import image_names, must_exist, names_under, relabelled, subfolders
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.errors import UnitlensError

LABELS = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Ids that the benchmark evaluates."""

IGNORED = (*range(7), 9, 10, 14, 15, 16, 18, 29, 30, 255)
"""Ids with ignoreInEval: unlabeled, ego vehicle, borders, static, dynamic, ground, parking, rail track, guard rail,
bridge, tunnel, polegroup, caravan, trailer; and 255, the licence plate (-1) in 8 bits."""

ENDING = "_leftImg8bit"
"""Of an image's name, before the point."""


def is_cityscapes(root: Path) -> bool:
    """Whether the left images and fine or coarse labels are there."""
    return (root / "leftImg8bit").is_dir() and any((root / name).is_dir() for name in ("gtFine", "gtCoarse"))


def open_cityscapes(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open Cityscapes: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and ``gtFine/SPLIT/CITY/*_gtFine_labelIds.png``.

    Parameters
    ----------
    root : Path
        The folder of both. Where there is no ``gtFine``, ``gtCoarse`` is read.
    split : str, optional
        "train", "val", "train_extra"; else all but "test", whose labels are withheld.

    Source: Cordts and others, "The Cityscapes Dataset", CVPR 2016; labels as in the authors' scripts (labels.py). What
    they leave out of the evaluation is not judged.
    """
    truth = "gtFine" if (root / "gtFine").is_dir() else "gtCoarse"
    labelled = [name for name in subfolders(root / truth) if name != "test"]
    splits = chosen_splits(split, labelled, root)
    stems = [name.rpartition(".")[0] for name in names_under(root / "leftImg8bit")]
    chosen = {stem for stem in stems if stem.endswith(ENDING) and stem.split("/")[0] in splits}
    if stems and not chosen:
        known = ", ".join(splits) or truth
        raise UnitlensError(f"{root / 'leftImg8bit'} has no SPLIT/CITY/NAME{ENDING}.png for {known}.")
    names = image_names(root / "leftImg8bit", chosen, usual=".png")
    return MarkedImages(
        "cityscapes",
        root,
        root / "leftImg8bit",
        names,
        cityscapes_concepts(),
        CityscapesMarks(root / truth, truth),
        check_files=partial(_without_image, root / truth, f"_{truth}_labelIds.png", splits, chosen),
    )


def _without_image(folder: Path, ending: str, splits: Sequence[str], stems: Set[str]) -> Iterator[Finding]:
    """Label maps of images that are not there."""
    maps = [name for name in names_under(folder, suffixes=[".png"]) if name.endswith(ending)]
    absent = [m for m in maps if m.split("/")[0] in splits and m.removesuffix(ending) + ENDING not in stems]
    yield from name_findings(
        "missing image", absent, f"{folder.name}/{{name}} is the map of an image that is not there."
    )


def cityscapes_concepts() -> tuple[Concept, ...]:
    """The classes that are evaluated, as objects."""
    return tuple(Concept("object", label, name) for label, name in LABELS.items())


def cityscapes_table() -> dict[int, int]:
    """The label of each value of a map."""
    return {**dict.fromkeys(IGNORED, NOT_JUDGED), **{label: label for label in LABELS}}


@dataclass(frozen=True)
class CityscapesMarks:
    """Reads ``*_labelIds.png``."""

    folder: Path
    truth: str

    def __call__(self, name: str, /) -> Marks:
        """The evaluated classes, on one map."""
        path = self.folder / f"{name.rpartition('.')[0].removesuffix(ENDING)}_{self.truth}_labelIds.png"
        must_exist(path)
        codes, digest = read_label_map(path)
        return Marks({"object": [relabelled(codes, cityscapes_table(), path, "Cityscapes")]}, [digest])
