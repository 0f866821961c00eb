"""Words for whole images, from a list or from the names of their folders: a concept source."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept, Data, Finding, described, name_findings
from unitlens.data.readers.files import read_rows
from unitlens.errors import UnitlensError, did_you_mean


@dataclass(frozen=True, repr=False)
class Tags:
    """Words for whole images: a concept source.

    Attributes
    ----------
    of_image : mapping of str to sequence of (category, word)
        By the image's name. An image without a word of a category is not annotated for it.
    title : str
        Where they come from.
    """

    of_image: Mapping[str, Sequence[tuple[str, str]]]
    title: str

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The words of each category, in the order of the alphabet."""
        words = sorted({pair for pairs in self.of_image.values() for pair in pairs})
        labels: dict[str, int] = {}
        concepts = []
        for category, word in words:
            labels[category] = labels.get(category, 0) + 1
            concepts.append(Concept(category, labels[category], word))
        return tuple(concepts)

    def planes(self, image: npt.NDArray[np.uint8], name: str) -> Mapping[str, Sequence[npt.NDArray[np.uint16]]]:
        """One map of a single cell for each word."""
        label = {(concept.category, concept.name): concept.label for concept in self.concepts}
        planes: dict[str, list[npt.NDArray[np.uint16]]] = {}
        for category, word in self.of_image.get(name, ()):
            planes.setdefault(category, []).append(np.array([[label[category, word]]], np.uint16))
        return planes

    def findings(self, names: Sequence[str]) -> Iterator[Finding]:
        """Images that have tags and are not there."""
        absent = sorted(self.of_image.keys() - set(names))
        yield from name_findings("missing image", absent, f"The {self} name {{name}}, which is not there.")

    def __repr__(self) -> str:
        return self.title


def tags(path: str | Path, *, category: str = "scene") -> Tags:
    """Read words for whole images from a CSV file.

    Parameters
    ----------
    path : str or Path
        With a column image (the image's name in its data set), a column tag (or class, concept, scene, name), and
        possibly a column category. An image may have several rows.
    category : str
        Of rows that name none.

    Raises
    ------
    UnitlensError
        If there is no such file, it lacks a column, or has no tag.
    """
    path = Path(path)
    rows = [row for _, row in read_rows(path, ())]
    columns = rows[0].keys() if rows else ()
    word = next((name for name in ("tag", "class", "concept", "scene", "name") if name in columns), None)
    if "image" not in columns or word is None:
        raise UnitlensError(
            f"{path} is not a list of tags: it needs the columns image and tag, and has "
            f"{', '.join(columns) or 'no row'}."
        )
    of_image: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        pair = (row.get("category") or category, row[word])
        if row[word] and pair not in of_image.setdefault(row["image"], []):
            of_image[row["image"]].append(pair)
    return Tags(of_image, f"tags of {path}")


def folder_tags(data: Data, *, category: str = "scene") -> Tags:
    """Take the name of each image's folder as a word for it.

    Parameters
    ----------
    data : Data
        With names that are paths.
    category : str
        Of the words.

    Raises
    ------
    UnitlensError
        If the images do not lie in folders.
    """
    names = described(data).names or ()
    folders = {name: PurePosixPath(name).parent.as_posix() for name in names}
    if not any(folder != "." for folder in folders.values()):
        raise UnitlensError(f"The images of {data!r} do not lie in folders whose names could be their tags.")
    return Tags({name: [(category, folder)] for name, folder in folders.items() if folder != "."}, "names of folders")


def check_names(tagged: Tags, data: Data) -> None:
    """Make sure that tags are about the images of a data set.

    Raises
    ------
    UnitlensError
        If none of them is.
    """
    names = described(data).names
    if names and not set(names) & tagged.of_image.keys():
        first = next(iter(tagged.of_image), "nothing")
        raise UnitlensError(
            f"The {tagged} name no image of the data; the first is {first}{did_you_mean(first, names)}, an image "
            f"{names[0]}."
        )
