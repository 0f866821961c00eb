"""Pixels classified by a network: its output for an image, the names of its classes, and how it is run."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from unitlens.data.readers.files import read_json, read_rows, read_text, say_once
from unitlens.errors import UnitlensError, first_twice
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.plurals import counted

Labels = Sequence[str | None] | Mapping[int, str | None]
Pixels = npt.NDArray[np.uint8]
NOTHING = frozenset({"__background__", "background", "unlabeled", "void", "n/a", ""})
"""Names of classes that mean "none of the others"."""


class Segments(NamedTuple):
    """The class of every pixel of an image, as a network predicts it.

    Attributes
    ----------
    classes : int64 array, (rows, columns)
        The class of each pixel of the whole image, at any resolution.
    confidence : float array, (rows, columns), or None
        In [0, 1], where the network has one.
    """

    classes: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32] | None


class Predictor(NamedTuple):
    """Something that labels pixels.

    Attributes
    ----------
    predict : callable
        Of an image, uint8 (height, width, 3), gives its `Segments`.
    names : mapping of int to str
        The class's name by its number; classes that mean "nothing" are left out.
    title : str
        What to call it.
    fingerprint : str or None
        Changes whenever its output may change; None where that cannot be known.
    network : PixelNetwork or None
        The network that labels many images at a time; None where they are labelled one by one.
    weights : str or None
        The hash of its weights alone, on every machine and version the same; None where it has none.
    """

    predict: Callable[[Pixels], Segments]
    names: Mapping[int, str]
    title: str
    fingerprint: str | None
    network: "PixelNetwork | None" = None
    weights: str | None = None


class PixelNetwork(NamedTuple):
    """A network that labels pixels, and how images are prepared for it.

    Attributes
    ----------
    module : nn.Module
    normalise : callable or None
        Of images in [0, 1].
    size : int or None
        The shorter side that images are scaled to; None: they stay as they are.
    """

    module: nn.Module
    normalise: Callable[[Tensor], Tensor] | None = None
    size: int | None = None

    def __call__(self, images: Tensor) -> Any:
        """What the network returns for images, float (N, 3, height, width) in [0, 1], on its device."""
        first = next(self.module.parameters(), torch.zeros(1))
        images = images.to(first.device, first.dtype)
        return self.module(images if self.normalise is None else self.normalise(images))

    def scores(self, images: Tensor) -> Tensor | None:
        """Scores of classes, (N, classes, rows, columns), through which gradients flow; None where there are none."""
        if self.size is not None and min(images.shape[2:]) != self.size:
            factor = self.size / min(images.shape[2:])
            sides = [max(self.size, round(side * factor)) for side in images.shape[2:]]
            images = functional.interpolate(images, sides, mode="bilinear", antialias=True, align_corners=False)
        output = self(images)
        output = output["out"] if isinstance(output, Mapping) and "out" in output else output
        scored = isinstance(output, Tensor) and output.ndim == 4 and output.is_floating_point()
        return output if scored else None

    def segments(self, images: Sequence[Pixels] | Pixels, *, confidence: bool = True) -> Segments:
        """Label images, in evaluation mode: as `many_segments`."""
        scaled_images = torch.cat([scaled(image, self.size) for image in images])
        with evaluating(self.module):
            return many_segments(self(scaled_images), len(images), confidence=confidence)

    def one_image(self, image: Pixels) -> Segments:
        """Label one image."""
        classes, confidence = self.segments([image])
        return Segments(classes[0], None if confidence is None else confidence[0])


def fingerprint_of(module: nn.Module, *settings: Any, weights: str) -> str:
    """One hash of all that a network's answers depend on.

    Parameters
    ----------
    module : nn.Module
        Its structure counts, and the files that the classes of its modules are written in, those of PyTorch's and
        Hugging Face's packages aside.
    *settings : Any
        What else counts, by its repr. The versions of those packages and of Pillow always do.
    weights : str
        The hash of its parameters and buffers, from `weights_of`.
    """
    classes = {type(part) for part in module.modules()}
    sources = sorted({_source(one) for one in classes if one.__module__.partition(".")[0] not in _PACKAGES})
    content = (weights, repr(module), sources, settings, [_version(package) for package in _PACKAGES])
    return hashlib.sha256(repr(content).encode()).hexdigest()


def weights_of(module: nn.Module) -> str:
    """The hash of a network's weights: `Network.fingerprint`."""
    nothing: Any = None  # which does not depend on the preprocessing
    return Network(module, nothing, None, "").fingerprint()


_PACKAGES = ("torch", "torchvision", "transformers", "timm", "pillow")


def _source(class_: type) -> str:
    """The file of a class; where there is none, as in a notebook, the class itself, or its name."""
    try:
        file = inspect.getsourcefile(class_)
        text = Path(file).read_text(encoding="utf-8") if file and Path(file).is_file() else inspect.getsource(class_)
    except (OSError, TypeError, UnicodeDecodeError):
        return class_.__qualname__
    return text


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def table_of(labels: Labels) -> dict[int, str]:
    """Name of each class by its number, without those that mean nothing.

    Raises
    ------
    UnitlensError
        If two classes have one name, or none has any.
    """
    pairs = labels.items() if isinstance(labels, Mapping) else enumerate(labels)
    named = {int(number): str(name).strip() for number, name in pairs if name is not None}
    names = {number: name for number, name in named.items() if number >= 0 and name.lower() not in NOTHING}
    if isinstance(labels, str) or not names:
        raise UnitlensError(f"labels is {labels!r}; it is a name for each class, in their order or by their numbers.")
    twice = first_twice(names.values())
    if twice is not None:
        raise UnitlensError(f"Two classes are called {twice!r}: give each a name of its own, or None to one.")
    return names


def read_labels(path: str | Path) -> Labels:
    """Read the names of classes from a file.

    Parameters
    ----------
    path : str or Path
        ``.json``: a list in the order of the classes, or names by number, also under "id2label" as in Hugging Face's
        config.json. ``.csv``: a column number (or label, id, index) and a column name (or class, category). Any other:
        a name a line, in the order of the classes; an empty line is a class that means nothing.

    Raises
    ------
    UnitlensError
        If there is no such file, or it has none of these forms.
    """
    path = Path(path)
    if not path.exists():
        raise UnitlensError(f"The labels in {path} cannot be read: No such file or directory.")
    try:
        if path.suffix.lower() == ".json":
            names = read_json(path)
            names = names.get("id2label", names) if isinstance(names, dict) else names
            return {int(k): v for k, v in names.items()} if isinstance(names, dict) else list(names)
        if path.suffix.lower() != ".csv":
            return [line.strip() or None for line in read_text(path).splitlines()]
        rows = [{key.lower(): cell for key, cell in row.items()} for _, row in read_rows(path, ())]
        number, name = (next((key for key in keys if key in rows[0]), "") for keys in (_NUMBERS, _NAMES))
        return {int(row[number]): row[name] for row in rows}
    except (ValueError, TypeError, LookupError, OverflowError):
        raise UnitlensError(
            f"{path} is not a table of class names: give a .json list or names by number, a .csv with the columns "
            "number and name, or a name a line."
        ) from None


def read_ious(path: str | Path, category: str) -> dict[str, float]:
    """Read from a file how good a segmenter is at its concepts, by their names.

    Parameters
    ----------
    path : str or Path
        A CSV file with the columns concept and iou, and, optionally, category: rows of other categories are left out,
        and so are those without an IoU.
    category : str
        Of the segmenter's concepts.

    Raises
    ------
    UnitlensError
        If there is no such file, it has no such columns, says nothing of the category or two things of a concept, or an
        IoU is not a number from 0 to 1.
    """
    path, ious = Path(path), dict[str, float]()
    for line, row in read_rows(path, ("concept", "iou"), filled=("concept",)):
        if row.get("category", category) == category and row["iou"]:
            place = f"{path}, line {line}"
            say_once(ious, row["concept"], _iou(row["iou"], place), column="iou", place=place)
    if not ious:
        raise UnitlensError(f"{path} has no IoU with a concept of the category {category}: give the segmenter's own.")
    return ious


def _iou(text: str, place: str) -> float:
    try:
        iou = float(text)
    except ValueError:
        iou = -1.0
    if not 0 <= iou <= 1:
        raise UnitlensError(f"{place}: {text!r} is not an IoU, which is a number from 0 to 1.")
    return iou


_NUMBERS, _NAMES = ("number", "label", "id", "index"), ("name", "class", "category")


def scaled(image: Pixels, size: int | None) -> Tensor:
    """An image as a batch of one, (1, 3, height, width) in [0, 1], its shorter side scaled to a size (bilinear)."""
    resized = Image.fromarray(image)
    if size is not None and min(resized.size) != size:
        factor = size / min(resized.size)
        width, height = (max(size, round(side * factor)) for side in resized.size)
        resized = resized.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255


def run_callable(image: Pixels, *, function: Callable[[Tensor], Any], size: int | None) -> Segments:
    """Give an image to a function."""
    with torch.inference_mode():
        return to_segments(function(scaled(image, size)))


def to_segments(output: Any) -> Segments:
    """Read what a network returns for one image.

    Parameters
    ----------
    output : Tensor or array, or a mapping with one under "out"
        Scores (1, classes, rows, columns), of which a softmax is taken; or classes (1, rows, columns), whole numbers.

    Raises
    ------
    UnitlensError
        If it is neither.
    """
    classes, confidence = many_segments(output, 1)
    return Segments(classes[0], None if confidence is None else confidence[0])


def many_segments(output: Any, count: int, *, confidence: bool = True) -> Segments:
    """Read what a network returns for so many images: as `to_segments`, all along a first dimension.

    Without ``confidence`` that is left out, and with it the softmax.
    """
    if isinstance(output, Mapping) and "out" in output:
        output = output["out"]
    tensor = torch.as_tensor(output) if isinstance(output, (Tensor, np.ndarray)) else None
    if tensor is not None and tensor.ndim == 4 and len(tensor) == count and tensor.is_floating_point():
        if not confidence:
            return Segments(tensor.argmax(1).cpu().numpy(), None)
        largest, classes = functional.softmax(tensor.float(), 1).max(1)
        return Segments(classes.cpu().numpy(), largest.cpu().numpy())
    if tensor is not None and tensor.ndim == 3 and len(tensor) == count and not tensor.is_floating_point():
        return Segments(tensor.cpu().numpy().astype(np.int64), None)
    shape = f" of shape {tuple(tensor.shape)} and type {tensor.dtype}" if tensor is not None else ""
    images = "an image" if count == 1 else counted(count, "image")
    raise UnitlensError(
        f"A segmenter returned a {type(output).__name__}{shape} for {images} ({count}, 3, height, width); it returns "
        f"scores ({count}, classes, rows, columns), or whole numbers ({count}, rows, columns)."
    )
