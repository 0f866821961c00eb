"""`dataset`: whatever images people have in Python, as data that every function takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unitlens.data.concepts import Concept, ConceptSource, Data, DataDescription, Example
from unitlens.data.inmemory.images import exact_pixels, pixels_of
from unitlens.data.inmemory.items import Layout
from unitlens.data.inmemory.marks import OBJECT, marked
from unitlens.data.opening import SOURCES, open_data, open_sources
from unitlens.data.readers.torchvision_sets import from_torchvision, known_kind
from unitlens.data.sources import with_concepts
from unitlens.errors import UnitlensError
from unitlens.plurals import counted

Labels = Mapping[int, str] | Sequence[str] | Mapping[str, Mapping[int, str] | Sequence[str]]
"""Names of labels: by their number, of 1, 2, ..., or either of them for each category."""


@dataclass(frozen=True, eq=False, repr=False)
class InMemoryData:
    """Images of a data set in Python; a `unitlens.data.concepts.Data`. Made by `dataset`.

    Attributes
    ----------
    items : sequence
        As they were given.
    layout : Layout
        Where images and marks stand in them.
    concepts : tuple of Concept
    title : str
        What they are.
    given_names : tuple of str or None
        The name of each.
    given_classes : tuple of str or None
        Names of the classes that items number.
    """

    items: Any
    layout: Layout
    concepts: tuple[Concept, ...]
    title: str
    given_names: tuple[str, ...] | None = None
    given_classes: tuple[str, ...] | None = None

    @cached_property
    def description(self) -> DataDescription:
        """What is known before items are read."""
        index = {name: number for number, name in enumerate(self.given_classes or ())}
        return DataDescription(
            source=self.title,
            names=self.given_names,
            classes=self.given_classes,
            class_index=index,
            grouped=self.layout.group is not None,
        )

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        concepts = f", {counted(len(self.concepts), 'concept')}" if self.concepts else ""
        return f"<{counted(len(self), 'image')} of {self.title}: {self.layout.said}{concepts}>"

    def __getitem__(self, index: int, /) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Image {index} of {len(self)}.")
        item, layout = self.items[index], self.layout
        name = self._name(item, index)
        try:
            image = pixels_of(layout.image_of(item), name)
            found = marked(layout.part(item, layout.marks), layout.kind, image.shape[:2], name)
            class_ = layout.part(item, layout.class_)
        except (KeyError, IndexError, TypeError) as error:
            raise UnitlensError(
                f"Image {index} of {self.title} is not like the first one, {layout.said} ({error}): give the same of "
                "every image."
            ) from None
        group = layout.part(item, layout.group)
        exact = exact_pixels(layout.image_of(item), name)
        group = None if group is None else str(group)
        return Example(image, found.planes, name, self._class(class_), group=group, exact=exact)

    def _name(self, item: Any, index: int) -> str:
        if self.given_names is not None:
            return self.given_names[index]
        named = self.layout.part(item, self.layout.name)
        return f"{index:06d}" if named is None else str(named)

    def _class(self, class_: Any) -> str | int | None:
        if class_ is None or isinstance(class_, str):
            return class_
        number = int(np.asarray(class_).item())
        if self.given_classes is None or not 0 <= number < len(self.given_classes):
            return number
        return self.given_classes[number]


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a table as dictionaries."""

    table: Any
    columns: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.table.iloc[index]
        return {str(column): row[column] for column in self.table.columns if not _is_missing(row[column])}


def dataset(
    source: Any,
    *,
    concepts: Labels | str | ConceptSource | Sequence[str | ConceptSource] | None = None,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Data:
    """Take whatever images you have as data. Every function that takes data also takes ``source`` itself.

    What stands where is found from the first image, and said by ``repr``: label maps (whole numbers, rows x columns, 0
    for nothing), objects with labels and masks or boxes as torchvision's detectors have them, annotations as COCO has
    them, classes.

    Parameters
    ----------
    source : torch Dataset or DataLoader, list, Hugging Face Dataset, DataFrame, path, or Data
        Anything with a length and items by index, of images, (image, mask), (image, class), (image, objects), (image,
        mask, class), or dictionaries of these. Images are Pillow images, files, or arrays and tensors with their
        channels first or last, uint8 or from 0 to 1. Of a DataLoader its data set is read. A table has columns such as
        image, mask, class, name, group. A path is opened by `unitlens.open_data`.
    concepts : names of labels, or concept sources, optional
        What the labels are called, ``{1: "tree", 2: "car"}``, ``["tree", "car"]`` (1, 2, ...), or by category,
        ``{"object": {...}, "color": [...]}``; or what marks the images, as for `unitlens.open_data`: ``"colors"``,
        ``"segmenter:..."``, or a concept source.
    classes : sequence of str, optional
        What classes are called that are numbers; else ``source.classes``, where there are any.
    names : sequence of str, optional
        A name for each image; else a field ``name``, or its number.

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If images are not found in it, cannot be read by index, or labels have no names.

    Examples
    --------
    >>> import numpy as np
    >>> image, mask = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), int)
    >>> dataset([(image, mask)], concepts=["tree"])
    <1 image of a list: arrays of 8 x 8 x 3, each with a label map beside it, 1 concept>
    """
    if isinstance(source, str | Path):
        return _marked_by(open_data(source), concepts)
    if hasattr(source, "concepts"):
        return _marked_by(source, concepts)
    if concepts is None and known_kind(source) is not None and not _has_transforms(source):
        return from_torchvision(source)
    items, title = _items(source)
    layout = Layout.of(_first(items, title), title)
    labels = None if _are_sources(concepts) else concepts
    known = _classes(source, layout, classes)
    given = None if names is None else tuple(map(str, names))
    if given is not None and (len(given) != len(items) or len(set(given)) < len(given)):
        raise UnitlensError(f"{len(given)} names were given for {len(items)} images: give each one, of its own.")
    data = InMemoryData(items, layout, _concepts(labels, layout, title), title, given, known)
    return data if labels is not None or concepts is None else _marked_by(data, concepts)


def as_data(source: Any) -> Data:
    """What a function takes for data: data, a path or name, or whatever `dataset` understands."""
    if isinstance(source, str | Path):
        return open_data(source)
    return source if hasattr(source, "concepts") else dataset(source)


def _items(source: Any) -> tuple[Any, str]:
    """What has items by index, and what it is called."""
    kind = type(source).__name__
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return _Rows(source), "a table"
    if hasattr(source, "dataset") and hasattr(source, "batch_size"):  # a DataLoader: batches are made anew
        return _items(source.dataset)
    if isinstance(source, Mapping):
        raise UnitlensError("A dictionary was given for data; give a list of images, or of dictionaries, one for each.")
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise UnitlensError(
            f"A {kind} was given for data, which has no length or no items by index: give a list, or a torch Dataset "
            "that has both."
        )
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return source, f"{article} {kind}"


def _has_transforms(source: Any) -> bool:
    """Whether a data set of torchvision's changes what it has read."""
    return any(getattr(source, name, None) is not None for name in ("transform", "target_transform", "transforms"))


def _first(items: Any, title: str) -> Any:
    if len(items) == 0:
        raise UnitlensError(f"There is no image in {title}.")
    return items[0]


def _classes(source: Any, layout: Layout, classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of classes: as given, of the data set, or of a Hugging Face data set's column."""
    if classes is not None:
        return tuple(map(str, classes))
    if layout.class_ is None:
        return None
    features = getattr(source, "features", None)
    column = features.get(layout.class_) if isinstance(features, Mapping) else None
    known = getattr(column, "names", None) or getattr(source, "classes", None)
    listed = isinstance(known, list | tuple) and all(isinstance(name, str) for name in known)
    return tuple(known) if listed and known else None


def _are_sources(concepts: Any) -> bool:
    """Whether these are concept sources, or their names, and not names of labels."""
    listed = [concepts] if isinstance(concepts, str | ConceptSource) else concepts
    if listed is None or isinstance(listed, Mapping):
        return False
    known = tuple(name.partition(":")[0] for name in SOURCES)
    return bool(listed) and all(
        one.partition(":")[0] in known if isinstance(one, str) else isinstance(one, ConceptSource) for one in listed
    )


def _marked_by(data: Data, concepts: Any) -> Data:
    """The same data with further concept sources."""
    if concepts is None:
        return data
    if not _are_sources(concepts):
        raise UnitlensError(
            f"concepts is {concepts!r}; of data whose labels have names it is what marks them besides, such as "
            "['colors'], or a concept source."
        )
    listed = [concepts] if isinstance(concepts, str | ConceptSource) else list(concepts)
    return with_concepts(data, *open_sources(listed, data), masks="masks" in listed or bool(data.concepts))


def _concepts(labels: Any, layout: Layout, title: str) -> tuple[Concept, ...]:
    """The concepts that labels stand for."""
    if layout.kind == "nothing":
        if labels is not None:
            raise UnitlensError(
                f"Labels were named, and nothing is marked in {title}, which gives {layout.said}: give label maps, or "
                "a concept source, such as concepts='colors'."
            )
        return ()
    if labels is None:
        raise UnitlensError(
            f"{title[0].upper()}{title[1:]} gives {layout.said}, and nothing says what the labels are called: give "
            "concepts={1: 'tree', 2: 'car'}, or a list of the names of 1, 2, ...; or say what else marks them, such as "
            "concepts='colors'."
        )
    by_category = _by_category(labels)
    return tuple(
        Concept(category, int(label), str(name))
        for category, named in by_category.items()
        for label, name in named.items()
    )


def _by_category(labels: Any) -> dict[str, dict[int, str]]:
    if isinstance(labels, Mapping) and labels and all(isinstance(key, str) for key in labels):
        return {category: _numbered(named) for category, named in labels.items()}
    return {OBJECT: _numbered(labels)}


def _numbered(labels: Any) -> dict[int, str]:
    """Labels and their names, without those that mean nothing."""
    pairs = labels.items() if isinstance(labels, Mapping) else enumerate(labels, 1)
    named = {int(label): str(name) for label, name in pairs}
    wrong = next((label for label in named if label < 0), None)
    if wrong is not None:
        raise UnitlensError(f"The label {wrong} was named; labels are whole numbers from 1, and 0 is nothing.")
    return {label: name for label, name in named.items() if label > 0}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
