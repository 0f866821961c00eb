"""Torchvision's data sets with regions in them, passed in from Python or opened by name."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from unitlens.data.concepts import NOT_JUDGED, Concept, Example
from unitlens.data.images import to_rgb
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.readers.cityscapes import cityscapes_concepts, cityscapes_table
from unitlens.data.readers.coco.masks import painted
from unitlens.data.readers.files import layered, must_exist, relabelled
from unitlens.data.readers.matlab import read_variable
from unitlens.data.readers.voc import voc_concepts, voc_table
from unitlens.errors import UnitlensError
from unitlens.files import check_readable
from unitlens.plurals import counted

KITTI = ("Car", "Cyclist", "Misc", "Pedestrian", "Person_sitting", "Tram", "Truck", "Van")
TRIMAP = {1: 1, 2: 0, 3: NOT_JUDGED}
"""Oxford-IIIT Pet: the animal, what is behind it, and the outline between them."""

Planes = dict[str, list[npt.NDArray[Any]]]


class Marked(NamedTuple):
    """What a target says: label maps, and the class of the whole image."""

    planes: Planes
    class_: str | None = None


class _Kind(NamedTuple):
    """How one of torchvision's data sets is read: its concepts, the marks of (target, image), and a check of files."""

    concepts: tuple[Concept, ...]
    marks: Callable[[Any, Image.Image], Marked]
    check: Callable[[Any, int], None] = lambda dataset, index: None


@dataclass(frozen=True, repr=False)
class TorchvisionData:
    """One of torchvision's data sets as a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    dataset : torchvision data set
        As it was passed in.
    names : tuple of str
        File names of the images, or numbers where those are not unique.
    kind : _Kind
        How its targets are read.
    source : str
        What it was made from: its class, or the name that ``--data`` takes.
    """

    dataset: Any
    names: tuple[str, ...]
    kind: _Kind
    source: str

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """Every concept that may be marked."""
        return self.kind.concepts

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        return f"<{self.source}: {counted(len(self), 'image')}, {counted(len(self.concepts), 'concept')}>"

    def __getitem__(self, index: int, /) -> Example:
        name = self.names[index]
        self.kind.check(self.dataset, index)
        try:
            image, target = self.dataset[index]
        except OSError as error:
            raise UnreadableError(f"{name} of {self.source} cannot be read ({str(error).rstrip('.')}).") from None
        try:
            if not isinstance(image, Image.Image):
                raise UnitlensError(
                    f"{self.source} gives a {type(image).__name__} in place of an image: make the data set without "
                    "transforms."
                )
            marked = self.kind.marks(target, image)
            return Example(np.asarray(to_rgb(image)), marked.planes, name, marked.class_)
        finally:
            _close(image, *(target if isinstance(target, tuple) else (target,)))


def _close(*items: Any) -> None:
    """Close files of images, which torchvision leaves open."""
    for item in items:
        if isinstance(item, Image.Image):
            item.close()


def from_torchvision(dataset: Any, *, source: str | None = None) -> TorchvisionData:
    """Wrap one of torchvision's data sets.

    Parameters
    ----------
    dataset : torchvision data set, without transforms
        VOCSegmentation; SBDataset(mode="segmentation"); Cityscapes(target_type="semantic"), where what is left out of
        the evaluation is not judged; OxfordIIITPet(target_types="segmentation"), whose concept is pet, or cat and dog
        with "binary-category" in the list, and whose classes are the breeds with "category"; CocoDetection, with
        pycocotools; Kitti(train=True), whose boxes count as regions, all of a box (category "box"), and where
        "DontCare" is not judged.
    source : str, optional
        What to call it in run.json and in sentences; torchvision's class.

    Raises
    ------
    UnitlensError
        If it is another data set, or has no regions as it was made.
    """
    name = known_kind(dataset)
    if name is None:
        raise UnitlensError(
            f"A {type(dataset).__name__} has no regions that could be read; of torchvision's data sets these have: "
            f"{', '.join(_KINDS)}."
        )
    source = source or f"torchvision.datasets.{type(dataset).__name__}"
    return TorchvisionData(dataset, _names(dataset), _KINDS[name](dataset), source)


def known_kind(dataset: Any) -> str | None:
    """Which of torchvision's data sets with regions it is, if it is one."""
    classes = [c.__name__ for c in type(dataset).__mro__ if c.__module__.startswith("torchvision.datasets")]
    return next((name for name in classes if name in _KINDS), None)


def _names(dataset: Any) -> tuple[str, ...]:
    if hasattr(dataset, "coco"):
        files = [dataset.coco.loadImgs(number)[0]["file_name"] for number in dataset.ids]
    else:
        files = list(getattr(dataset, "images", None) or getattr(dataset, "_images", None) or [])
    names = [Path(file).name for file in files]
    if len(names) != len(dataset) or max(Counter(names).values(), default=0) > 1:
        return tuple(f"{number:06}" for number in range(len(dataset)))
    return tuple(names)


def _map(target: Any, _: Image.Image, *, index: int | None, table: Mapping[int, int], what: str) -> Marked:
    """One label map, alone or at an index of several targets."""
    plane = np.asarray(target if index is None else target[index])
    return Marked({"object": [relabelled(plane, table, "A target", what)]})


def _voc(dataset: Any) -> _Kind:
    if getattr(dataset, "mode", "segmentation") != "segmentation":
        raise UnitlensError(f"This SBDataset has {dataset.mode}, not regions: make it with mode='segmentation'.")
    return _Kind(voc_concepts(), partial(_map, index=None, table=voc_table(), what="Pascal VOC"))


def _sbd(dataset: Any) -> _Kind:
    return _voc(dataset)._replace(check=_check_matlab)


def _check_matlab(dataset: Any, index: int) -> None:
    """Read a file of SBD as torchvision does, once it is known that its reader will not crash on it."""
    path = Path(dataset.masks[index])
    must_exist(path)
    check_readable(path)
    try:
        read_variable(path.read_bytes(), "GTcls")
    except Exception:  # damaged bytes make it raise nearly anything
        raise UnreadableError(f"{path} is not a MATLAB file with GTcls, or it is damaged.") from None


def _cityscapes(dataset: Any) -> _Kind:
    types = list(dataset.target_type)
    if "semantic" not in types:
        raise UnitlensError(
            f"This Cityscapes data set has {', '.join(types)} as its target: make it with target_type='semantic'."
        )
    index = types.index("semantic") if len(types) > 1 else None
    return _Kind(cityscapes_concepts(), partial(_map, index=index, table=cityscapes_table(), what="Cityscapes"))


def _pet(dataset: Any) -> _Kind:
    types = tuple(dataset._target_types)
    if "segmentation" not in types:
        raise UnitlensError(
            f"This OxfordIIITPet data set has {', '.join(types) or 'nothing'} as its target: make it with "
            "target_types='segmentation'."
        )
    words = ("cat", "dog") if "binary-category" in types else ("pet",)
    concepts = tuple(Concept("object", label, word) for label, word in enumerate(words, 1))
    return _Kind(concepts, partial(_trimap, types=types, breeds=tuple(dataset.classes)))


def _trimap(target: Any, _: Image.Image, *, types: tuple[str, ...], breeds: tuple[str, ...]) -> Marked:
    """The animal, and which one it is where the targets say so."""
    targets = dict(zip(types, target if len(types) > 1 else (target,), strict=True))
    table = {**TRIMAP, 1: 1 + int(targets.get("binary-category", 0))}
    plane = relabelled(np.asarray(targets["segmentation"]), table, "A target", "Oxford-IIIT Pet")
    return Marked({"object": [plane]}, breeds[targets["category"]] if "category" in targets else None)


def _kitti(dataset: Any) -> _Kind:
    if not dataset.train:
        raise UnitlensError("Kitti's test images have no labels: make the data set with train=True.")
    return _Kind(tuple(Concept("box", label, name) for label, name in enumerate(KITTI, 1)), _boxes)


def _boxes(target: Any, image: Image.Image) -> Marked:
    """Each box as a region; nobody judged what is called DontCare."""
    regions, judged = [], np.ones((image.height, image.width), bool)
    for item in target:
        left, top, right, bottom = (round(side) for side in item["bbox"])
        mask = np.zeros_like(judged)
        mask[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
        if item["type"] == "DontCare":
            judged &= ~mask
        elif item["type"] in KITTI:
            regions.append((1 + KITTI.index(item["type"]), mask))
        else:
            raise UnitlensError(f"A target of Kitti has the type {item['type']!r}; known are {', '.join(KITTI)}.")
    planes = layered(regions) or [np.zeros(judged.shape, np.uint16)]
    planes[0][~judged] = NOT_JUDGED
    return Marked({"box": list(planes)})


def _coco(dataset: Any) -> _Kind:
    categories = sorted(dataset.coco.dataset["categories"], key=lambda category: int(category["id"]))
    concepts = tuple(Concept("object", label, category["name"]) for label, category in enumerate(categories, 1))
    return _Kind(concepts, partial(_painted, labels={c["id"]: label for label, c in enumerate(categories, 1)}))


def _painted(target: Any, image: Image.Image, *, labels: Mapping[int, int]) -> Marked:
    """The annotations of an image, drawn."""
    planes = layered((labels[number], mask) for number, mask in painted(target, image.height, image.width))
    return Marked({"object": list(planes) or [np.zeros((image.height, image.width), np.uint16)]})


_KINDS: Mapping[str, Callable[[Any], _Kind]] = {
    "VOCSegmentation": _voc,
    "SBDataset": _sbd,
    "Cityscapes": _cityscapes,
    "OxfordIIITPet": _pet,
    "CocoDetection": _coco,
    "Kitti": _kitti,
}
