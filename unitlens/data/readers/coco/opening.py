"""COCO: instances, stuff and panoptic lists, and the maps that belong to them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import NOT_JUDGED, Concept, Finding, name_findings
from unitlens.data.images import read_label_map
from unitlens.data.readers.coco.lists import CocoList, ListedImage, find_lists, has_lists, read_list
from unitlens.data.readers.coco.masks import painted, pycocotools
from unitlens.data.readers.files import layered, must_exist, read_colors, record_digest, relabelled
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.errors import UnitlensError

_OTHER = "other"


def is_coco(root: Path) -> bool:
    """Whether a list in COCO's JSON is there."""
    return has_lists(root)


def open_coco(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open COCO, or data in its format.

    Lists are ``annotations/{instances,stuff,panoptic}_SPLIT.json``, or ``SPLIT/_annotations.coco.json`` beside the
    images; images lie in ``SPLIT/``, ``images/SPLIT/``, ``images/`` or the folder itself. For a split with a
    panoptic list, that one is read: each pixel of ``panoptic_SPLIT/NAME.png`` is red + 256 green + 65536 blue, the id
    of a segment; things are objects, the rest is stuff; 0 is not judged. Without one, instances are objects, drawn from
    polygons and run lengths (crowds too; what is not drawn is none), and stuff comes from ``stuff_SPLIT_pixelmaps/``
    (the category's id, 0 not judged) or is drawn (what is not drawn is not judged); "other" is none.

    Parameters
    ----------
    root : Path
        The folder.
    split : str, optional
        "val2017", "train2017", ...

    Source: Lin and others, "Microsoft COCO", ECCV 2014; Caesar and others, "COCO-Stuff", CVPR 2018; Kirillov and
    others, "Panoptic Segmentation", CVPR 2019; the format as described on cocodataset.org.
    """
    lists = find_lists(root)
    splits = chosen_splits(split, sorted({one_list.split for one_list in lists}), root)
    lists = [one_list for one_list in lists if one_list.split in splits]
    panoptic = {one_list.split for one_list in lists if one_list.kind == "panoptic"}
    read = [
        read_list(root, one_list) for one_list in lists if one_list.kind == "panoptic" or one_list.split not in panoptic
    ]
    labels = _labels(read)
    concepts = [Concept(category, label, name) for (category, _), (label, name) in labels.items() if label]
    images: dict[str, dict[str, ListedImage]] = {}
    for one in read:
        for name, image in one.images.items():
            images.setdefault(name, {})[one.kind] = image
    if any(kind != "panoptic" and image.map is None for of in images.values() for kind, image in of.items()):
        pycocotools()
    marks = CocoMarks(images, {key: label for key, (label, _) in labels.items()})
    check_files = partial(_without_map, {one.path.name: one.without_map for one in read})
    return MarkedImages("coco", root, root, tuple(sorted(images)), tuple(concepts), marks, check_files=check_files)


def _without_map(without_map: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    for listed_in, names in without_map.items():
        yield from name_findings("missing pair", names, f"{listed_in} names {{name}} and no map of it: it is left out.")


def _labels(lists: list[CocoList]) -> dict[tuple[str, int], tuple[int, str]]:
    """Label and name of each (category, COCO's id): 1, 2, ... in the order of the ids; 0 for "other" stuff."""
    names: dict[tuple[str, int], str] = {}
    for one in lists:
        for key, name in one.categories.items():
            if names.setdefault(key, name) != name:
                raise UnitlensError(f"{one.path} calls the category {key[1]} {name!r}, another list {names[key]!r}.")
    labels: dict[tuple[str, int], tuple[int, str]] = {}
    counted = {"object": 0, "stuff": 0}
    for category, number in sorted(names):
        name = names[category, number]
        if category == "stuff" and name == _OTHER:
            labels[category, number] = (0, name)
            continue
        counted[category] += 1
        labels[category, number] = (counted[category], name)
    return labels


@dataclass(frozen=True)
class CocoMarks:
    """Reads or draws what the lists say of an image."""

    images: Mapping[str, Mapping[str, ListedImage]]
    labels: Mapping[tuple[str, int], int]

    def __call__(self, name: str, /) -> Marks:
        """Objects, and stuff where a list has it."""
        planes: dict[str, list[npt.NDArray[Any]]] = {}
        digests = []
        for kind, image in self.images[name].items():
            read = {"panoptic": self._panoptic, "instances": self._instances, "stuff": self._stuff}[kind](image)
            planes.update(read.planes)  # type: ignore[arg-type]
            digests += [record_digest([image.height, image.width, image.annotations]), *read.digests]
        return Marks(planes, digests)

    def _panoptic(self, image: ListedImage) -> Marks:
        path = _map_of(image)
        codes, digest = read_colors(path, (1, 256, 65536))
        planes = {}
        for category in dict.fromkeys(category for category, _ in self.labels):
            label = {number: label for (of, number), label in self.labels.items() if of == category}
            segments = {int(s["id"]): label.get(int(s["category_id"]), 0) for s in image.annotations}
            planes[category] = [relabelled(codes, {**segments, 0: NOT_JUDGED}, path, "the panoptic list")]
        return Marks(planes, [digest])

    def _instances(self, image: ListedImage) -> Marks:
        regions = painted(image.annotations, image.height, image.width)
        planes = layered((self._label("object", number), mask) for number, mask in regions)
        return Marks({"object": planes or [np.zeros((image.height, image.width), np.uint16)]}, [])

    def _stuff(self, image: ListedImage) -> Marks:
        if image.map is not None:
            must_exist(image.map)
            codes, digest = read_label_map(image.map)
            table = {number: label for (category, number), label in self.labels.items() if category == "stuff"}
            plane = relabelled(codes, {**table, 0: NOT_JUDGED}, image.map, "the stuff list")
            return Marks({"stuff": [plane]}, [digest])
        plane = np.full((image.height, image.width), NOT_JUDGED, np.uint16)
        for number, mask in painted(image.annotations, image.height, image.width):
            plane[mask] = self._label("stuff", number)
        return Marks({"stuff": [plane]}, [])

    def _label(self, category: str, number: int) -> int:
        if (category, number) not in self.labels:
            raise UnitlensError(f"An annotation of COCO has the category {number}, which the list does not name.")
        return self.labels[category, number]


def _map_of(image: ListedImage) -> Path:
    if image.map is None:
        raise UnitlensError("A panoptic list names no map for one of its images.")
    return image.map
