"""Bases: directions in the space of a layer's units, read and changed in place of the units.

Other codings, such as the dictionary of an autoencoder, are the same to all who read and change units: see `Coding`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from unitlens.errors import UnitlensError, did_you_mean, spelled
from unitlens.files import check_readable, read_npy
from unitlens.models.layers import describe_error, display_shape
from unitlens.models.weights import PLAIN, kind_of_numbers, load_tensors

IN_MEMORY = "in memory"
SUFFIXES = (".npy", ".safetensors", ".pt", ".pth")


@runtime_checkable
class Coding(Protocol):
    """How numbers are read from a layer's units, a = E(x), and how a change of them is written back, D(a' - a)."""

    @property
    def source(self) -> str:
        """The file it came from."""

    @property
    def count(self) -> int:
        """How many numbers are read at a position: they are the units then."""

    @property
    def width(self) -> int:
        """Of how many of the layer's own units they are read."""

    @property
    def sha256(self) -> str:
        """Hash of all that decides what is read and written."""

    @property
    def sparse(self) -> bool:
        """Whether most of what is read is 0, and nothing is below."""

    @property
    def decoder(self) -> Tensor:
        """What one more of each adds to the layer's units, (width, count)."""

    @property
    def dependence(self) -> str | None:
        """Why one of its numbers cannot be changed by itself, as a sentence; None where each can."""

    def describe(self) -> dict[str, Any]:
        """Return its description for run.json."""

    def check_width(self, units: int, layer: str) -> None:
        """Raise an error if a layer has another number of units."""

    def apply(self, maps: Tensor, layer: str, rows: Sequence[int] | None = None) -> Tensor:
        """Return E(x) at every position, (N, count, ...), or some of its rows, of maps, (N, width, ...)."""

    def decode(self, change: Tensor, rows: Sequence[int]) -> Tensor:
        """Return what a change of some rows, (N, len(rows), ...), is in the layer's units, (N, width, ...)."""

    def reconstruct(self, active: Tensor) -> Tensor:
        """Return what the layer's units would be if what is read of them, (N, F, ...), were all, (N, width, ...)."""

    def from_source(self, source: str) -> "Coding":
        """The same, under the name of another file."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Directions in the space of a layer's units: principal components, a sparse autoencoder's, concept vectors, ...

    Attributes
    ----------
    matrix : float32 tensor, (D, U)
        A direction in each row.
    source : str
        The file it came from; "in memory" for a matrix that was passed in.
    """

    matrix: Tensor
    source: str

    def __str__(self) -> str:
        return "directions " + (self.source if self.source == IN_MEMORY else f"in {self.source}")

    @property
    def count(self) -> int:
        """How many directions there are."""
        return len(self.matrix)

    @property
    def width(self) -> int:
        """How many units the layer has."""
        return self.matrix.shape[1]

    @property
    def sparse(self) -> bool:
        """No: what directions read may be anything."""
        return False

    @property
    def sha256(self) -> str:
        """Hash of its shape and values, the same for every kind of file."""
        header = f"{tuple(self.matrix.shape)}\n".encode()
        return hashlib.sha256(header + self.matrix.contiguous().numpy().tobytes()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return its description for run.json."""
        return {"source": self.source, "sha256": self.sha256, "shape": list(self.matrix.shape)}

    @cached_property
    def decoder(self) -> Tensor:
        """What one more of each direction adds to the units, float64 (U, D): the pseudo-inverse of the matrix.

        Of orthonormal rows it is the transpose. Where rows are independent, one direction can be changed without what
        the others read; else the change is the smallest whose readings come nearest to it.
        """
        decoder: Tensor = torch.linalg.pinv(self.matrix.double(), rtol=self._rounding)
        return decoder

    @cached_property
    def dependence(self) -> str | None:
        """That directions depend on each other, if they do."""
        rank = int(torch.linalg.matrix_rank(self.matrix.double(), rtol=self._rounding))
        if rank == self.count:
            return None
        return (
            f"The {self.count} {self} depend on each other (their rank is {rank}), so that one cannot be changed "
            "without what others read: the change made is the smallest one whose readings come nearest (least squares)."
        )

    @property
    def _rounding(self) -> float:
        """Which share of the largest singular value is nothing but rounding of float32."""
        return max(self.matrix.shape) * torch.finfo(torch.float32).eps

    def decode(self, change: Tensor, rows: Sequence[int]) -> Tensor:
        """Return what a change of some of the directions is in the units.

        Parameters
        ----------
        change : tensor, (N, len(rows), ...)
        rows : sequence of int
            Which directions.

        Returns
        -------
        tensor, (N, U, ...)
        """
        decoder = self.decoder[:, list(rows)].to(change.device, change.dtype)
        return torch.einsum("ud,nd...->nu...", decoder, change)

    def check_width(self, units: int, layer: str) -> None:
        """Make sure that the rows are as long as a layer has units.

        Raises
        ------
        UnitlensError
            If they are not.
        """
        directions, width = self.matrix.shape
        if units != width:
            raise UnitlensError(
                f"The basis {self.source} has {directions} rows of {width} numbers, but {layer} has {units} "
                "units: a basis has a column for each unit of the layer."
            )

    def apply(self, maps: Tensor, layer: str, rows: Sequence[int] | None = None) -> Tensor:
        """Return the maps of the directions, or of some.

        Parameters
        ----------
        maps : tensor, (N, U, h, w), or of other positions, (N, U, ...)
        layer : str
            The layer's name, for errors.
        rows : sequence of int, optional
            Which directions.

        Returns
        -------
        tensor, (N, D, h, w)
            At every position, the products of the rows with the units' activations; nothing is added or cut off.

        Raises
        ------
        UnitlensError
            If the layer has another number of units than the rows are long.
        """
        self.check_width(maps.shape[1], layer)
        matrix = self.matrix if rows is None else self.matrix[list(rows)]
        return torch.einsum("du,nu...->nd...", matrix.to(maps.device, maps.dtype), maps)

    def reconstruct(self, active: Tensor) -> Tensor:
        """Return what the directions hold of the units, (N, U, ...): of all directions of a rotation, everything."""
        return self.decode(active, range(self.count))

    def from_source(self, source: str) -> "Basis":
        """The same, under the name of another file."""
        return Basis(self.matrix, source)


BasisLike = Coding | Tensor | np.ndarray[Any, Any] | str | Path
"""Directions or features as they are given: a matrix, or a file of one; a dictionary (see `unitlens.features`)."""


def as_basis(given: Any) -> Coding:
    """Read a basis from a file, or take a matrix as one; what is a basis or a dictionary already stays so.

    Parameters
    ----------
    given : Basis, Dictionary, str, Path, array or tensor
        A ``.npy``, ``.safetensors``, ``.pt`` or ``.pth`` file that holds exactly one matrix, or a matrix, (D, U).

    Raises
    ------
    UnitlensError
        If there is no such file, it holds none or several matrices, or one with NaN or infinite numbers.
    """
    if isinstance(given, Coding):
        return given
    if isinstance(given, str | Path):
        return _checked(_read(Path(given)), str(given))
    return _checked(given, IN_MEMORY)


def _checked(values: Any, source: str) -> Basis:
    try:
        given = torch.as_tensor(values).detach()
        kind = kind_of_numbers(given)
        if kind != PLAIN:
            raise UnitlensError(f"The basis {source} is not a matrix of numbers ({kind}).")
        matrix = given.to("cpu", torch.float32).clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UnitlensError(f"The basis {source} is not a matrix of numbers ({describe_error(error)}).") from None
    if matrix.dim() != 2 or not matrix.numel():
        raise UnitlensError(
            f"The basis {source} is {display_shape(matrix.shape)}; it is a matrix, with a direction in each row and a "
            "column for each unit of the layer."
        )
    if not bool(torch.isfinite(matrix).all()):
        raise UnitlensError(f"The basis {source} holds NaN or infinite numbers.")
    return Basis(matrix, source)


def _read(path: Path) -> Any:
    if not path.is_file():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*")))
        raise UnitlensError(f"There is no file {path}{near}; a basis is a {', '.join(SUFFIXES)} file with one matrix.")
    if path.suffix not in SUFFIXES:
        raise UnitlensError(f"{path} is not a basis: its name should end in one of {', '.join(SUFFIXES)}.")
    try:
        content = _loaded(path)
    except Exception as error:  # damaged bytes make the readers raise nearly anything
        raise UnitlensError(
            f"{path} cannot be read as a matrix ({describe_error(error)}); files that hold Python objects are left "
            "closed, as opening one could run anybody's code."
        ) from error
    return _only_matrix(content, path)


def _loaded(path: Path) -> Any:
    if path.suffix == ".npy":
        return read_npy(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        check_readable(path)
        return load_file(path)
    return load_tensors(path)


def _only_matrix(content: Any, path: Path) -> Any:
    """Return the only matrix of a file that names its tensors."""
    if not isinstance(content, Mapping):
        return content
    matrices = {str(name): value for name, value in content.items() if isinstance(value, Tensor) and value.dim() == 2}
    if len(matrices) != 1:
        names = f": {', '.join(matrices)}" if matrices else ""
        whole = spelled(python="give ul.features(file)", shell="give it with --features") if matrices else ""
        features = f", or, if they are the encoder and decoder of features, {whole}" if whole else ""
        raise UnitlensError(
            f"{path} holds {len(matrices)} matrices{names}; save the one that is meant by itself{features}."
        )
    return next(iter(matrices.values()))
