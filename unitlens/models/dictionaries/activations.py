"""From what an encoder computes to the activations of features: ReLU, the k largest, thresholds, or non-negative."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unitlens.errors import UnitlensError, argument, did_you_mean, is_number

KINDS = {
    "relu": "what is above 0",
    "topk": "the k largest of what is above 0, at every position, such as topk:32",
    "batchtopk": "what is above one threshold, such as batchtopk:0.7",
    "jumprelu": "what is above a threshold of each feature, or above one for all, such as jumprelu:0.1",
    "linear": "as it is",
    "pca": "as it is, of principal components",
    "nmf": "what reconstructs the layer best with no negative activation",
}
"""How features get their activations, by the words that ``kind=`` takes."""

SPARSE = ("relu", "topk", "batchtopk", "jumprelu", "nmf")
"""Kinds of which most activations are 0, and none is below."""

NMF_STEPS = 200
"""Steps of the accelerated projected gradient by which activations of NMF are found; a number of steps, so that no
position depends on another one."""


@dataclass(frozen=True)
class Kind:
    """How features get their activations, as it is written: ``relu``, ``topk:32``, ``jumprelu,centred``.

    Attributes
    ----------
    name : str
        A key of `KINDS`.
    number : float, optional
        The k of topk, or a threshold.
    centred : bool, optional
        Whether the decoder's bias is subtracted from what is encoded; None: as the file says.
    """

    name: str
    number: float | None = None
    centred: bool | None = None

    @classmethod
    def parse(cls, text: str) -> "Kind":
        """Read a kind.

        Raises
        ------
        UnitlensError
            If it is not one.

        Examples
        --------
        >>> Kind.parse("topk:32")
        Kind(name='topk', number=32.0, centred=None)
        """
        kind, *rest = str(text).replace(" ", "").split(",")
        name, colon, number = kind.partition(":")
        words = {"centred": True, "uncentred": False}
        if name not in KINDS:
            raise UnitlensError(f"{_named(text)} is not known{did_you_mean(name, KINDS)}; there are {_kinds()}.")
        if len(rest) > 1 or any(word not in words for word in rest):
            raise UnitlensError(
                f"{_named(text)} is not known; behind a comma stands centred, where the decoder's bias is subtracted "
                "from what is encoded, or uncentred, where it is not."
            )
        value = _number(name, number) if colon else None
        if (value is None and colon) or (name in ("topk", "batchtopk") and value is None):
            raise UnitlensError(f"{_named(text)} lacks its number, a whole one from 1 for topk; there are {_kinds()}.")
        if colon and name not in ("topk", "batchtopk", "jumprelu"):
            raise UnitlensError(f"{_named(text)} is not known, as {name} takes no number; there are {_kinds()}.")
        return cls(name, value, words[rest[0]] if rest else None)

    def __str__(self) -> str:
        centred = {True: ",centred", False: ",uncentred", None: ""}[self.centred]
        return self.name + ("" if self.number is None else f":{self.number:.9g}") + centred


def _number(name: str, text: str) -> float | None:
    if name == "topk":
        return float(text) if is_number(text) and int(text) > 0 else None
    try:
        return float(text) if math.isfinite(float(text)) else None
    except ValueError:
        return None


def _named(kind: Any) -> str:
    return argument("kind", kind, option="--features-kind")


def _kinds() -> str:
    numbered = {"topk": "topk:K", "batchtopk": "batchtopk:THRESHOLD", "jumprelu": "jumprelu or jumprelu:THRESHOLD"}
    return ", ".join(numbered.get(name, name) for name in KINDS)


@dataclass(frozen=True, eq=False)
class Activation:
    """How features get their activations from what the encoder computes.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    k : int, optional
        Of topk: how many features are active at a position, at most; those that tie with the last one are active too.
    thresholds : float32 tensor, (F,), optional
        Of batchtopk and jumprelu: what has to be exceeded.
    gram : float32 tensor, (F, F), optional
        Of nmf: products of the rows of the dictionary with each other.
    """

    kind: str
    k: int | None = None
    thresholds: Tensor | None = None
    gram: Tensor | None = None

    def __str__(self) -> str:
        if self.kind == "batchtopk" and self.thresholds is not None:
            return f"{self.kind}:{float(self.thresholds[0]):.9g}"
        return self.kind if self.k is None else f"{self.kind}:{self.k}"

    def __call__(self, encoded: Tensor) -> Tensor:
        """Return the activations, (..., F), of what the encoder computed, (..., F)."""
        if self.kind == "nmf":
            return self._nonnegative(encoded)
        if self.kind in ("linear", "pca"):
            return encoded
        if self.thresholds is not None:
            over = encoded > self.thresholds.to(encoded.device, encoded.dtype)
            return torch.where(over, encoded, 0.0).clamp(min=0.0)
        active = encoded.clamp(min=0.0)
        if self.k is None or self.k >= encoded.shape[-1]:
            return active
        least = active.topk(self.k, dim=-1).values[..., -1:]
        return active.masked_fill_((active >= least).logical_not_(), 0.0)  # half as long as without another copy

    @cached_property
    def _unit_gram(self) -> tuple[Tensor, Tensor, float]:
        """The lengths of the rows, products of rows of unit length, and the largest eigenvalue of these."""
        assert self.gram is not None
        lengths = self.gram.diagonal().sqrt().clamp(min=1e-30)
        gram = self.gram / lengths / lengths[:, None]
        return lengths, gram, max(float(torch.linalg.eigvalsh(gram.double())[-1]), 1e-30)

    def _nonnegative(self, encoded: Tensor) -> Tensor:
        """The activations a >= 0 of which x - a H is shortest, with H H' given and x H' encoded.

        Source: Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sci. 2 (2009).
        """
        lengths, gram, eigenvalue = self._unit_gram  # of rows of one length, fewer steps are needed by far
        lengths, gram = (part.to(encoded.device, encoded.dtype) for part in (lengths, gram))
        encoded, step = encoded / lengths, 1 / eigenvalue
        active = ahead = torch.zeros_like(encoded)
        momentum = 1.0
        for _ in range(NMF_STEPS):
            before, active = active, (ahead - step * (ahead @ gram - encoded)).clamp(min=0.0)
            later = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead, momentum = active + (momentum - 1) / later * (active - before), later
        return active / lengths
