"""Numbers of single images as a response: kept image by image, untouched and under every intervention."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from unitlens.ablation.replay.nests import Output, describe
from unitlens.ablation.responses.response import Arrays
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Class, Data
from unitlens.errors import UnitlensError
from unitlens.models.network import Network
from unitlens.stats.scores import Bools, Floats, Ints

if TYPE_CHECKING:
    from unitlens.ablation.replay.replayed import MeasuredImages, Replayed

Read = Callable[["MeasuredImages", Tensor], Tensor]
"""From N images and what the network returns for them under V interventions, (V, N, ...), to M numbers, (V, N, M)."""


class ImageValues(NamedTuple):
    """Numbers of N images, in the order in which they were read.

    Attributes
    ----------
    names : list of str
    classes : list of str, int or None
    indices : int64 array, (N,)
        In the data set.
    folds : int64 array, (N,)
    before : float64 array, (N, M)
        Untouched.
    after : float64 array, (N, V, M)
        Under each intervention.
    """

    names: list[str]
    classes: list[Class | None]
    indices: Ints
    folds: Ints
    before: Floats
    after: Floats


@dataclass(frozen=True, eq=False)
class PerImage:
    """What some numbers of every image are, untouched and under every intervention.

    Attributes
    ----------
    read : callable
        From images and outputs to the numbers.
    with_class : bool
        Whether only images that have a class are measured.
    """

    read: Read
    with_class: bool = False
    adds: ClassVar[bool] = True

    def measurable(self, batch: Batch) -> Bools:
        """Every image, or those with a class."""
        return np.array([class_ is not None or not self.with_class for class_ in batch.classes], bool)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """Where classes are needed, there is none."""
        return f"None of the {len(read.names)} images that were read has a class." if self.with_class else None

    def notes(self, read: ImageRecord) -> list[str]:
        """Images without a class were left out, where classes are needed."""
        count = read.classes.count(None) if self.with_class else 0
        return [f"{count} of {len(read.classes)} images have no class and count for nothing."] if count else []

    def start(
        self, net: Network, data: Data, images: "MeasuredImages", outputs: Output, variants: int
    ) -> "_ImageCounter":
        """Begin; outputs are one tensor."""
        if not isinstance(outputs, Tensor):
            raise UnitlensError(
                f"The network returns {describe(outputs)}, not one tensor with a row for each image: wrap it in a "
                "module that returns such a tensor."
            )
        return _ImageCounter(self.read, variants)


@dataclass(frozen=True, eq=False)
class _ImageCounter:
    read: Read
    variants: int
    parts: list[ImageValues] = field(default_factory=list)

    def add(self, replayed: "Replayed") -> None:
        """Read the numbers of some images."""
        images = replayed.images
        before = self._numbers(images, replayed.output[None])[0]
        after = np.zeros((len(before), self.variants, before.shape[1]))
        for first, outputs in replayed.outputs():
            after[:, first : first + len(outputs)] = self._numbers(images, outputs).swapaxes(0, 1)
        rows, batch = images.chosen.tolist(), images.batch
        names, classes = [batch.names[row] for row in rows], [batch.classes[row] for row in rows]
        indices = np.array([batch.indices[row] for row in rows], np.int64)
        self.parts.append(ImageValues(names, classes, indices, images.folds, before, after))

    def _numbers(self, images: "MeasuredImages", outputs: Tensor) -> Floats:
        numbers = np.asarray(self.read(images, outputs).double().cpu())
        wrong = int((~np.isfinite(numbers)).any(-1).sum())
        if wrong:
            raise UnitlensError(
                f"The network's outputs are nan or infinite for {wrong} of {numbers[..., 0].size} images, with or "
                "without units ablated: check the network's weights, and the range of its input (mean and std)."
            )
        return numbers

    def counts(self) -> ImageValues:
        """The numbers of all images."""
        columns = list(zip(*self.parts, strict=True))
        names, classes = ([one for part in column for one in part] for column in columns[:2])
        return ImageValues(names, classes, *map(np.concatenate, columns[2:]))

    def state(self) -> Arrays:
        """The numbers of all images, and as JSON what they are called; nothing of no images."""
        if not self.parts:
            return {}
        names, classes, *arrays = self.counts()
        text = np.frombuffer(json.dumps([names, classes], default=str).encode(), np.uint8)
        return dict(zip(ImageValues._fields[2:], arrays, strict=True)) | {"named": text}

    def merge(self, state: Arrays) -> None:
        """Take the numbers of further images."""
        if not state:
            return
        names, classes = json.loads(state["named"].tobytes())
        self.parts.append(ImageValues(names, classes, *(state[name] for name in ImageValues._fields[2:])))
