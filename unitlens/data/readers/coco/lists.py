"""COCO's JSON lists: which there are, and what they say of each image."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from unitlens.data.readers.files import inside, read_json
from unitlens.errors import UnitlensError

_NAMED = re.compile(r"(panoptic|instances|stuff)_(.+)\.json")
_OTHERS = ("captions_", "person_keypoints_", "image_info_")
_BESIDE = "_annotations.coco.json"


class ListFile(NamedTuple):
    """A list by its file name; kind "any" where only its content can tell."""

    kind: str
    split: str
    path: Path


class ListedImage(NamedTuple):
    """The content of a list for one image.

    Attributes
    ----------
    height, width : int
        In pixels.
    annotations : list of dict
        Annotations, or the segments of a panoptic map.
    map : Path or None
        The file of its label map.
    """

    height: int
    width: int
    annotations: list[dict[str, Any]]
    map: Path | None


class CocoList(NamedTuple):
    """The content of a list.

    Attributes
    ----------
    kind : {"panoptic", "instances", "stuff"}
    path : Path
        The file.
    categories : mapping of (category, int) to str
        The name of each of COCO's ids, as an object or as stuff.
    images : mapping of str to ListedImage
        By the path of the image under the folder that was opened.
    without_map : tuple of str
        Images of a panoptic list that have no map in it, and are left out.
    """

    kind: str
    path: Path
    categories: Mapping[tuple[str, int], str]
    images: Mapping[str, ListedImage]
    without_map: tuple[str, ...] = ()


def has_lists(root: Path) -> bool:
    """Whether there are lists by name, or by their first lines."""
    files = find_lists(root)
    return any(file.kind != "any" for file in files) or any(_looks_like_coco(file.path) for file in files)


def _looks_like_coco(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    return any(f'"{key}"'.encode() in start for key in ("images", "annotations", "categories"))


def find_lists(root: Path) -> list[ListFile]:
    """The lists in the folder and in ``annotations/``; those with COCO's names, if there are any."""
    files = sorted({*root.glob("*.json"), *root.glob("annotations/*.json"), *root.glob(f"*/{_BESIDE}")})
    lists = []
    for path in files:
        named = _NAMED.fullmatch(path.name)
        if named:
            lists.append(ListFile(named[1], named[2], path))
        elif path.name == _BESIDE:
            lists.append(ListFile("instances", "all" if path.parent == root else path.parent.name, path))
        elif not path.name.startswith((*_OTHERS, ".")):
            lists.append(ListFile("any", path.stem, path))
    return [one for one in lists if one.kind != "any"] or lists


def read_list(root: Path, file: ListFile) -> CocoList:
    """Read a list.

    Raises
    ------
    UnitlensError
        If it is not one of COCO's, names files outside of the folder, or its images are nowhere.
    """
    content = read_json(file.path)
    try:
        return _parsed(root, file, content)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else repr(error)
        raise UnitlensError(f"{file.path} is not a list in COCO's format ({what}).") from None


def _parsed(root: Path, file: ListFile, content: Any) -> CocoList:
    """The content of a list; whatever Python raises where it has another form."""
    listed = {entry["id"]: entry for entry in content["images"]}
    by_image: dict[Any, list[dict[str, Any]]] = {number: [] for number in listed}
    maps: dict[Any, str] = {}
    kind = file.kind
    for annotation in content["annotations"]:
        if "segments_info" in annotation:
            kind, maps[annotation["image_id"]] = "panoptic", annotation["file_name"]
            by_image[annotation["image_id"]] = [
                _with_numbers(s, "id", "category_id") for s in annotation["segments_info"]
            ]
        elif annotation.get("segmentation"):
            by_image[annotation["image_id"]].append(_with_numbers(annotation, "category_id"))
    kind = "instances" if kind == "any" else kind
    folder = _image_folder(root, file, [str(entry["file_name"]) for entry in listed.values()])
    images = {}
    for number, entry in listed.items():
        if kind == "panoptic" and number not in maps:
            continue
        name = inside(f"{folder}/{inside(entry['file_name'], file.path)}", file.path)
        height, width = int(entry["height"]), int(entry["width"])
        if min(height, width) < 1 or height * width > 2 * (Image.MAX_IMAGE_PIXELS or 1 << 28):
            raise ValueError(f"an image of {height} x {width}")
        label_map = _map_file(root, file, kind, name, maps.get(number))
        images[name] = ListedImage(height, width, by_image[number], label_map)
    categories = {(_category(kind, c), _id(c["id"])): str(c["name"]) for c in content["categories"]}
    without_map = tuple(str(e["file_name"]) for n, e in listed.items() if kind == "panoptic" and n not in maps)
    return CocoList(kind, file.path, categories, images, without_map)


def _with_numbers(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A record in which some keys have whole numbers."""
    return {**record, **{key: _id(record[key]) for key in keys}}


def _id(value: Any) -> int:
    number = int(value)
    if not 0 <= number < 1 << 32:
        raise ValueError(f"the id {number}")
    return number


def _category(kind: str, category: Mapping[str, Any]) -> str:
    stuff = kind == "stuff" or (kind == "panoptic" and not category.get("isthing", 1))
    return "stuff" if stuff else "object"


def _image_folder(root: Path, file: ListFile, names: list[str]) -> str:
    """The folder that file names are relative to, as a path under the root."""
    beside = file.path.parent.relative_to(root).as_posix()
    folders = [file.split, f"images/{file.split}", "images", ".", beside, f"{beside}/images"]
    checked = [inside(name, file.path) for name in names[:100]]
    for folder in folders:
        if any((root / folder / name).is_file() for name in checked):
            return folder
    raise UnitlensError(
        f"The images of {file.path} are not there: put them into {root / file.split} (looked in "
        f"{', '.join(dict.fromkeys(folders))} for {checked[0] if checked else 'none, as it lists none'}, ...)."
    )


def _map_file(root: Path, file: ListFile, kind: str, name: str, listed: str | None) -> Path | None:
    """The label map of an image: listed for panoptic, by the image's name for stuff, none for instances."""
    if kind == "panoptic":
        folders = [file.path.with_suffix(""), root / file.path.stem]
        return next((f for f in folders if f.is_dir()), folders[0]) / inside(str(listed), file.path)
    if kind == "stuff":
        folders = [folder / f"stuff_{file.split}_pixelmaps" for folder in (file.path.parent, root)]
        maps = next((folder for folder in folders if folder.is_dir()), None)
        return maps / f"{Path(name).stem}.png" if maps else None
    return None
