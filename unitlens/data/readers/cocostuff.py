"""COCO-Stuff: every pixel of COCO's images one of 91 things or 91 kinds of stuff."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unitlens.data.concepts import NOT_JUDGED, Concept, Finding, name_findings
from unitlens.data.images import read_label_map
from unitlens.data.readers.files import image_names, must_exist, names_under, relabelled, subfolders
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits

_THINGS = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, street sign,
    stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, hat,
    backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite,
    baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, plate, wine glass, cup, fork, knife,
    spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
    potted plant, bed, mirror, dining table, window, desk, toilet, door, tv, laptop, mouse, remote, keyboard, cell
    phone, microwave, oven, toaster, sink, refrigerator, blender, book, clock, vase, scissors, teddy bear, hair
    drier, toothbrush, hair brush
"""
_STUFF = """
    banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other,
    ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence,
    floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other,
    grass, gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin,
    net, paper, pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road,
    rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
    structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other,
    wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""
_NEVER = "street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush"
"""Things that have a number and that nobody marked."""

VOID = 255
_SPLITS = re.compile(r"(train|val|test)20\d\d")


def _listed(text: str) -> list[str]:
    return [" ".join(name.split()) for name in text.split(",")]


def _names() -> dict[int, tuple[str, str]]:
    """Category and name of each value of a map, those that nobody marked left out."""
    never = set(_listed(_NEVER))
    named = [("object", name) for name in _listed(_THINGS)] + [("stuff", name) for name in _listed(_STUFF)]
    return {value: pair for value, pair in enumerate(named) if pair[1] not in never}


def is_cocostuff(root: Path) -> bool:
    """Whether there are folders of label maps beside those of images."""
    return bool(_folders(root))


def open_cocostuff(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open COCO-Stuff: the label maps of ``stuffthingmaps_trainval2017.zip``, and COCO's images.

    Maps lie in ``stuffthingmaps_trainval2017/SPLIT/`` or ``annotations/SPLIT/``, images in ``SPLIT/`` or
    ``images/SPLIT/``. A map's 0 to 90 are things (category "object"), 91 to 181 stuff, each one less than the number in
    the authors' ``labels.txt``; 255 is not judged. Eleven things that nobody marked are no concepts.

    Parameters
    ----------
    root : Path
        The folder of both.
    split : str, optional
        "train2017" or "val2017"; else all whose images are there.

    Source: Caesar, Uijlings, Ferrari, "COCO-Stuff", CVPR 2018, and the README of its repository.
    """
    folders = _folders(root)
    splits = chosen_splits(split, sorted(folders), root)
    maps: dict[str, Path] = {}
    for one in splits:
        images, of_maps = folders[one]
        stems = [name.removesuffix(".png") for name in names_under(of_maps, suffixes=[".png"])]
        for name in image_names(images, stems):
            path = f"{images.relative_to(root).as_posix()}/{name}"
            maps[path] = of_maps / f"{name.rpartition('.')[0]}.png"
    concepts = tuple(Concept(category, value + 1, name) for value, (category, name) in _names().items())
    check_files = partial(_without_map, root, [folders[one][0] for one in splits], maps)
    return MarkedImages(
        "coco-stuff", root, root, tuple(sorted(maps)), concepts, CocoStuffMarks(maps), check_files=check_files
    )


def _without_map(root: Path, folders: Sequence[Path], maps: Mapping[str, Path]) -> Iterator[Finding]:
    for folder in folders:
        images = [f"{folder.relative_to(root).as_posix()}/{name}" for name in names_under(folder)]
        text = "{name} has no label map, and is left out."
        yield from name_findings("missing pair", [name for name in images if name not in maps], text)


def _folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """Folders of images and of label maps, by split."""
    inner = root / "annotations"
    places = [*sorted(root.glob("stuffthingmaps*")), *sorted(inner.glob("stuffthingmaps*")), inner]
    folders: dict[str, tuple[Path, Path]] = {}
    for maps in (parent / name for parent in places for name in subfolders(parent) if _SPLITS.fullmatch(name)):
        images = next((p for p in (root / maps.name, root / "images" / maps.name) if p.is_dir()), None)
        if images is not None and next(maps.glob("*.png"), None) is not None:
            folders.setdefault(maps.name, (images, maps))
    return folders


@dataclass(frozen=True)
class CocoStuffMarks:
    """Reads the label map of an image."""

    maps: Mapping[str, Path]

    def __call__(self, name: str, /) -> Marks:
        """Things on one map, stuff on another."""
        path = self.maps[name]
        must_exist(path)
        codes, digest = read_label_map(path)
        known = _names()
        planes = {}
        for category in ("object", "stuff"):
            table = {value: value + 1 if of == category else 0 for value, (of, _) in known.items()}
            planes[category] = [relabelled(codes, {**table, VOID: NOT_JUDGED}, path, "COCO-Stuff")]
        return Marks(planes, [digest])
