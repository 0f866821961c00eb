"""Outcomes of networks that return numbers: one of them, how far an embedding moves, and what it is like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unitlens.ablation.outcomes.reading import Measured, Numbers, Read, Seen, class_number, main_tensor
from unitlens.ablation.replay.nests import Output
from unitlens.errors import UnitlensError
from unitlens.files import check_readable, read_arrays, read_npy

Metric = Literal["cosine", "euclidean"]

CLIP_SCALE = 100.0
"""What CLIP multiplies similarities by before their softmax."""


def vectors_of(outputs: Output, outcome: str) -> Tensor:
    """One vector of each image, (R, D), in float64."""
    tensor = main_tensor(outputs, f"{outcome} is of a network that returns numbers for each image", _is_vectors)
    return tensor.reshape(len(tensor), -1).double()


def _is_vectors(tensor: Tensor) -> bool:
    return tensor.ndim >= 1 and tensor[:1].numel() == (tensor.shape[1] if tensor.ndim > 1 else 1)


@dataclass(frozen=True)
class OneOutput:
    """One of the network's numbers, such as a class's logit or what a regression predicts.

    Attributes
    ----------
    output : str, optional
        Its number, or its name where the network has names; None where there is one.
    """

    output: str | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return "output" if self.output is None else f"output:{self.output}"

    def start(self, measured: Measured) -> Read:
        """Find the number."""
        count = vectors_of(measured.outputs, self.name).shape[1]
        if self.output is None and count > 1:
            raise UnitlensError(f"The network returns {count} numbers for each image: name one, such as output:0.")
        names = measured.net.classes if measured.net.classes and len(measured.net.classes) == count else None
        number = 0 if self.output is None else class_number(self.output, names, count, outcome=self.name)

        def read(outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
            return {self.name: Numbers(vectors_of(outputs, self.name)[:, number])}

        return read


@dataclass(frozen=True)
class Distance:
    """How far what the network returns for an image is from what it returns untouched.

    Attributes
    ----------
    metric : {"cosine", "euclidean"}
        1 - the cosine of the angle between the two, or the length of their difference.
    """

    metric: Metric = "cosine"

    @property
    def name(self) -> str:
        """What it is called."""
        return f"distance:{self.metric}"

    def start(self, measured: Measured) -> Read:
        """Make sure that there are vectors."""
        vectors_of(measured.outputs, self.name)
        return self._read

    def _read(self, outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
        untouched, vectors = vectors_of(seen.untouched, self.name), vectors_of(outputs, self.name)
        if self.metric == "cosine":
            # half the squared distance of unit vectors: 1 - cosine, and exactly 0 where nothing moved
            untouched, vectors = functional.normalize(untouched), functional.normalize(vectors)
        moved = vectors.reshape(-1, *untouched.shape) - untouched
        squares = moved.square().sum(-1).flatten()
        return {self.name: Numbers(squares / 2 if self.metric == "cosine" else squares.sqrt())}


@dataclass(frozen=True, eq=False)
class Similarity:
    """Cosines of what the network returns with given vectors, such as those of a text encoder.

    Attributes
    ----------
    vectors : array or Tensor, (M, D)
    names : sequence of str, optional
        Of the vectors; their numbers, unless given.
    scale : float, optional
        The share that each vector has in the softmax of the cosines times this, in place of the cosines: the
        probabilities of zero-shot classes (CLIP's scale is 100).

    Raises
    ------
    UnitlensError
        If the vectors are not finite numbers, (M, D), or names are not theirs.

    Examples
    --------
    >>> import numpy as np
    >>> Similarity(np.eye(2), names=["cat", "dog"], scale=100).outcomes
    ('zero_shot:cat', 'zero_shot:dog')
    """

    vectors: Any
    names: Sequence[str] | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        try:
            vectors = torch.as_tensor(self.vectors).detach()
            if vectors.is_complex():
                raise TypeError("complex numbers")
            vectors = vectors.double().cpu()
        except (TypeError, ValueError, RuntimeError):
            raise UnitlensError(
                f"vectors is a {type(self.vectors).__name__}; it is an array, vectors x numbers."
            ) from None
        if vectors.ndim != 2 or not vectors.numel() or not bool(vectors.isfinite().all()):
            raise UnitlensError(f"vectors are {tuple(vectors.shape)}; they are finite numbers, vectors x numbers.")
        names = tuple(map(str, range(len(vectors)) if self.names is None else self.names))
        if len(names) != len(vectors) or len(set(names)) < len(names):
            raise UnitlensError(f"There are {len(vectors)} vectors and {len(set(names))} different names: name each.")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "names", names)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What each is called."""
        kind = "similarity" if self.scale is None else "zero_shot"
        return tuple(f"{kind}:{name}" for name in self.names or ())

    def start(self, measured: Measured) -> Read:
        """Make sure that there are vectors of as many numbers."""
        size = vectors_of(measured.outputs, self.outcomes[0]).shape[1]
        if size != self.vectors.shape[1]:
            raise UnitlensError(
                f"The given vectors have {self.vectors.shape[1]} numbers, and the network returns {size} for each "
                "image: give vectors of the same space."
            )
        return self._read

    def _read(self, outputs: Output, seen: Seen) -> Mapping[str, Numbers]:
        vectors = vectors_of(outputs, self.outcomes[0])
        given = functional.normalize(self.vectors.to(vectors.device))
        cosines = functional.normalize(vectors) @ given.T
        values = cosines if self.scale is None else (self.scale * cosines).softmax(1)
        return {name: Numbers(value) for name, value in zip(self.outcomes, values.unbind(1), strict=True)}


def read_vectors(path: str, *, scale: float | None) -> Similarity:
    """Vectors from a file: ``.npy`` (M, D); ``.safetensors``, one by name; ``.csv``, a name and numbers in each row.

    Raises
    ------
    UnitlensError
        If there is no such file, or it holds no vectors.
    """
    file = Path(path)
    try:
        if file.suffix == ".npy":
            return Similarity(read_npy(file), scale=scale)
        if file.suffix == ".safetensors":
            arrays = read_arrays(file)
            return Similarity(np.stack([array.ravel() for array in arrays.values()]), tuple(arrays), scale)
        if file.suffix == ".csv":
            import pandas as pd

            check_readable(file)
            table = pd.read_csv(file, header=None, dtype={0: str}, keep_default_na=False, low_memory=False)
            return Similarity(table.iloc[:, 1:].to_numpy(np.float64, copy=True), table[0].tolist(), scale)
    except (OSError, ValueError) as error:
        raise UnitlensError(f"The vectors in {path} cannot be read ({str(error).splitlines()[0]}).") from None
    raise UnitlensError(f"Vectors are read from .npy, .safetensors and .csv files, and {path} is none of these.")
