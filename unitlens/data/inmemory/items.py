"""Where the image, its marks, class and name stand in the items of a data set, found from the first one."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from unitlens.data.inmemory.images import array_of, describe_image, is_image
from unitlens.data.inmemory.marks import kind_of
from unitlens.errors import UnitlensError

IMAGE = ("image", "img", "pixel_values", "pixels", "image_path", "file", "path", "filename", "file_name")
MASK = ("mask", "masks", "label_map", "annotation", "annotations", "segmentation", "semantic_mask", "seg", "mask_path")
CLASS = ("class", "class_", "class_name", "label", "target", "fine_label", "y")
NAME = ("name", "image_id", "id", "file_name", "filename")
GROUP = ("group", "patient", "video", "scene", "place")

Key = str | int | None
"""Of a part of an item: a field, a place, or None where it has none."""


@dataclass(frozen=True)
class Layout:
    """Where things stand in an item.

    Attributes
    ----------
    image : str, int or None
        Field or place of the image; None: the item itself is the image.
    marks : str, int or None
        Of what is marked in it, of ``kind``; None: nothing is.
    kind : str
        As `unitlens.data.inmemory.marks.kind_of` says it; "nothing" where nothing is marked.
    class_, name, group : str, int or None
        Of the image's class, name and group.
    said : str
        What was understood, in a few words.
    """

    image: Key
    marks: Key
    kind: str
    class_: Key
    name: Key
    group: Key
    said: str

    @classmethod
    def of(cls, item: Any, what: str) -> "Layout":
        """Find out from an item.

        Parameters
        ----------
        item : object
            The first one of a data set.
        what : str
            The data set, for errors.

        Raises
        ------
        UnitlensError
            If no image is found in it, or what stands beside it is of no known kind.
        """
        if isinstance(item, Mapping):
            return cls._of_mapping(item, what)
        if isinstance(item, tuple | list) and not _is_pixels(item):
            return cls._of_sequence(item, what)
        if not is_image(item):
            raise UnitlensError(
                f"{what} gives {_shown(item)}, which is {_no_image(item)}; it gives images, (image, mask), (image, "
                "class), or dictionaries with 'image' and 'mask' or 'class'."
            )
        return cls(None, None, "nothing", None, None, None, f"{describe_image(item)}, with nothing beside them")

    @classmethod
    def _of_sequence(cls, item: Any, what: str) -> "Layout":
        if not item or not is_image(item[0]):
            given = _shown(item[0]) if item else "nothing"
            why = f", {_no_image(item[0])}" if item else ""
            raise UnitlensError(f"{what} gives tuples that begin with {given}{why}; they begin with the image.")
        image = describe_image(item[0])
        kinds = [(place, kind_of(part)) for place, part in enumerate(item) if place > 0]
        unknown = [place for place, kind in kinds if kind is None]
        marks = next(((place, kind) for place, kind in kinds if kind not in (None, "class", "nothing")), None)
        class_ = next((place for place, kind in kinds if kind == "class"), None)
        if unknown and marks is None and class_ is None:
            raise UnitlensError(
                f"{what} gives {image} with {_shown(item[unknown[0]])} beside them, which is neither a class, a label "
                "map (one whole number at each pixel; map colours to numbers first), nor objects (a dictionary with "
                "'labels' and 'masks' or 'boxes')."
            )
        place, kind = (None, "nothing") if marks is None else (marks[0], str(marks[1]))
        return cls(0, place, kind, class_, None, None, _said(image, kind, class_))

    @classmethod
    def _of_mapping(cls, item: Mapping[str, Any], what: str) -> "Layout":
        image = next((key for key in IMAGE if key in item and is_image(item[key])), None)
        if image is None:
            fields = ", ".join(map(str, list(item)[:8]))
            raise UnitlensError(
                f"{what} gives dictionaries of {fields}; the image is sought in {', '.join(IMAGE[:4])}, ..."
            )
        marks = next(
            (key for key in MASK if key in item and kind_of(item[key]) not in (None, "class", "nothing")), None
        )
        kind = "nothing" if marks is None else str(kind_of(item[marks]))
        if marks is None and kind_of(item) in ("objects", "annotations"):
            kind = str(kind_of(item))
            marks = ""
        class_ = next((key for key in CLASS if key in item and kind_of(item[key]) == "class"), None)
        name = next(
            (key for key in NAME if key in item and isinstance(item[key], str | Integral) and key != image), None
        )
        group = next((key for key in GROUP if key in item and isinstance(item[key], str | Integral)), None)
        return cls(image, marks, kind, class_, name, group, _said(describe_image(item[image]), kind, class_))

    def part(self, item: Any, key: Key) -> Any:
        """A part of an item; the item itself for the empty field, None where it has none."""
        if key is None:
            return None
        return item if key == "" else item[key]

    def image_of(self, item: Any) -> Any:
        """The image of an item."""
        return item if self.image is None else item[self.image]


def _said(image: str, kind: str, class_: Key) -> str:
    words = {
        "label map": "a label map",
        "label maps": "label maps by category",
        "objects": "objects with labels",
        "annotations": "annotations as COCO has them",
    }
    beside = [words[kind]] if kind in words else []
    beside += [] if class_ is None else ["a class"]
    return f"{image}, each with {' and '.join(beside) or 'nothing'} beside it"


def _is_pixels(item: Any) -> bool:
    array = array_of(item)
    return array is not None and array.ndim in (2, 3)


def _no_image(value: Any) -> str:
    """Why a value is no image."""
    array = array_of(value)
    if array is not None and array.ndim > 3:
        return "no single image: video clips and volumes are not read for now"
    return "no image"


def _shown(value: Any) -> str:
    array = array_of(value)
    if array is None or array.ndim == 0:
        return f"a {type(value).__name__}"
    return f"{array.dtype} of {' x '.join(map(str, array.shape))}"
