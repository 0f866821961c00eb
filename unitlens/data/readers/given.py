"""Images that are given one by one: files of any folder, and arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept, Data, DataDescription, Example, described
from unitlens.data.images import encoded_image
from unitlens.data.inmemory.images import exact_pixels, pixels_of
from unitlens.data.reading import Subset, decoded
from unitlens.errors import UnitlensError, did_you_mean, first_twice

Given = str | Path | npt.NDArray[Any]
"""A file, or an array of pixels, (height, width, 3), or of other bands."""


@dataclass(frozen=True, eq=False, repr=False)
class GivenImages:
    """Images in which nothing is marked; a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    images : tuple of Path or array
    names : tuple of str
        Of files their paths; of arrays their places.
    exact : tuple of array or None
        Of each floats as they were given, see `Example.exact`.
    """

    images: tuple[Path | npt.NDArray[Any], ...]
    names: tuple[str, ...]
    exact: tuple[npt.NDArray[Any] | None, ...] = ()

    concepts: Sequence[Concept] = ()

    @property
    def description(self) -> DataDescription:
        """Nothing is known but their names."""
        return DataDescription(source="images that were given", names=self.names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Example:
        return decoded(self.encoded(index))

    def encoded(self, index: int, /) -> Example:
        """The example of an index, with a file that is not decoded yet."""
        image = self.images[index]
        if isinstance(image, np.ndarray):
            return Example(image, {}, self.names[index], exact=self.exact[index] if self.exact else None)
        read = encoded_image(image)
        return Example(read, {}, self.names[index], file_digest=read.digest)  # type: ignore[arg-type]


def given_images(images: Given | Sequence[Given] | Data) -> Data:
    """Open images that are given: a file or an array, several of them, or a data set, which is returned as it is.

    Parameters
    ----------
    images : str, Path, array of (height, width, bands), a sequence of them, or Data

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If none is given, one is there twice or is neither a file nor such an array.

    Examples
    --------
    >>> import numpy as np
    >>> given_images([np.zeros((4, 6, 3), np.uint8)])[0].name
    'image 0'
    """
    if hasattr(images, "concepts"):
        return images  # type: ignore[return-value]
    listed: Sequence[Any] = [images] if isinstance(images, str | Path | np.ndarray) else list(images)
    if not listed:
        raise UnitlensError("No image was given: give files, or arrays of pixels, (height, width, 3).")
    opened = tuple(_opened(image, place) for place, image in enumerate(listed))
    names = tuple(
        f"image {place}" if isinstance(image, np.ndarray) else image.as_posix() for place, image in enumerate(opened)
    )
    twice = first_twice(names)
    if twice is not None:
        raise UnitlensError(f"{twice} is given twice: give each image once.")
    exact = tuple(exact_pixels(image, name) for image, name in zip(listed, names, strict=True))
    return GivenImages(opened, names, exact)


def _opened(image: Any, place: int) -> Path | npt.NDArray[Any]:
    if isinstance(image, str | Path):
        path = Path(image)
        if path.is_dir():
            raise UnitlensError(
                f"{path} is a folder, where an image file is meant: open it with unitlens.open_data, or name its files."
            )
        if not path.is_file():
            raise UnitlensError(f"There is no image file {path}.")
        return path
    return pixels_of(image, str(place))


def images_of(data: Data, *, names: Sequence[str] | None = None, of_class: str | int | None = None) -> Data:
    """Some images of a data set, by their names or by their class; all, unless one of the two is given.

    Raises
    ------
    UnitlensError
        If there is no image of such a name or class.
    """
    if names is None and of_class is None:
        return data
    known, classes = _names_and_classes(data)
    if names is not None:
        missing = next((name for name in names if name not in known), None)
        if missing is not None:
            raise UnitlensError(
                f"There is no image {missing} in {described(data).source}{did_you_mean(missing, known)}; there are "
                f"{', '.join(known[:5])}{', ...' if len(known) > 5 else ''}."
            )
        place = {name: index for index, name in enumerate(known)}
        return Subset(data, [place[name] for name in names])
    indices = [index for index, class_ in enumerate(classes) if class_ is not None and str(class_) == str(of_class)]
    if not indices:
        there = sorted({str(class_) for class_ in classes if class_ is not None})
        listed = ", ".join(there[:12]) + (", ..." if len(there) > 12 else "") if there else "none: images have no class"
        raise UnitlensError(
            f"There is no image of the class {of_class} in {described(data).source}"
            f"{did_you_mean(str(of_class), there)}; there are {listed}."
        )
    return Subset(data, indices)


def _names_and_classes(data: Data) -> tuple[list[str], list[str | int | None]]:
    """Of every image; those that the data do not list are read."""
    description = described(data)
    names, classes = description.names, description.classes
    if names is not None and classes is not None and len(names) == len(classes) == len(data):
        return list(names), list(classes)
    examples = [data[index] for index in range(len(data))]
    return [example.name for example in examples], [example.class_ for example in examples]
