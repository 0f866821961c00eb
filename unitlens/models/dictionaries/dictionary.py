"""A dictionary of features: how it reads a layer's units, and what one more of a feature adds to them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unitlens.errors import UnitlensError, printable
from unitlens.files import write_whole
from unitlens.models.bases import IN_MEMORY
from unitlens.models.dictionaries.activations import SPARSE, Activation

METADATA = "unitlens.dictionary"
"""Key of a safetensors file's metadata under which `Dictionary.save` writes the kind."""

_LAYER, _NETWORK = "unitlens.layer", "unitlens.network"
"""Keys under which it writes what the dictionary was fitted to."""


@dataclass(frozen=True)
class FittedTo:
    """Of what a dictionary describes the activations.

    Attributes
    ----------
    layer : str
    network : str
        SHA-256 of the network.
    """

    layer: str
    network: str

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> "FittedTo | None":
        """Take it from what a file says of itself; None where it does not say it."""
        layer, network = metadata.get(_LAYER), metadata.get(_NETWORK)
        return cls(layer, network) if isinstance(layer, str) and isinstance(network, str) else None

    @property
    def metadata(self) -> dict[str, str]:
        """What a file says of it."""
        return {_LAYER: self.layer, _NETWORK: self.network}


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Features of a layer: a = activation(E x + b), and x is reconstructed as D a + c.

    A feature is edited through the decoder: x' = x + D (a' - a). All other features, and what the dictionary does not
    reconstruct, stay as they are.

    Attributes
    ----------
    encoder : float32 tensor, (F, C)
        E: a row for each feature, a column for each of the layer's units.
    decoder : float32 tensor, (C, F)
        D: what one more of each feature adds to the units.
    bias : float32 tensor, (F,)
        b; what is subtracted from x before it is encoded, and by what it is multiplied, is part of b and E.
    offset : float32 tensor, (C,)
        c.
    activation : Activation
    source : str
        The file it came from; "in memory" for arrays and modules.
    read_as : str, optional
        The kind as it was given, where the file does not say it.
    fitted_to : FittedTo, optional
        The layer and the network whose activations it was fitted to, where that is known.
    """

    encoder: Tensor
    decoder: Tensor
    bias: Tensor
    offset: Tensor
    activation: Activation
    source: str = IN_MEMORY
    read_as: str | None = None
    fitted_to: FittedTo | None = None

    def __str__(self) -> str:
        return "features " + (self.source if self.source == IN_MEMORY else f"of {self.source}")

    @property
    def count(self) -> int:
        """How many features there are."""
        return len(self.encoder)

    @property
    def width(self) -> int:
        """How many units the layer has."""
        return self.encoder.shape[1]

    @property
    def kind(self) -> str:
        """How its features get their activations, such as ``relu`` or ``topk:32``."""
        return str(self.activation)

    @property
    def sparse(self) -> bool:
        """Whether most activations are 0, and none is below."""
        return self.activation.kind in SPARSE

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its numbers by name, as `save` writes them; the decoder with a row for each feature."""
        tensors = {
            "encoder": self.encoder,
            "decoder": self.decoder.T.contiguous(),
            "bias": self.bias,
            "offset": self.offset,
        }
        thresholds = self.activation.thresholds
        return tensors if thresholds is None else {**tensors, "thresholds": thresholds}

    @property
    def sha256(self) -> str:
        """Hash of its kind, shapes and values, the same for every kind of file."""
        hashed = hashlib.sha256(f"{self.kind}\n".encode())
        for name, tensor in self.tensors.items():
            hashed.update(f"{name} {tuple(tensor.shape)}\n".encode() + tensor.contiguous().numpy().tobytes())
        return hashed.hexdigest()

    @property
    def dependence(self) -> str | None:
        """Nothing: a feature is changed through its own column of the decoder."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return its description for run.json."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "shape": [self.count, self.width],
            "kind": self.kind,
            "read_as": self.read_as,
        }

    def check_width(self, units: int, layer: str) -> None:
        """Make sure that it is of as many units as a layer has.

        Raises
        ------
        UnitlensError
            If it is not.
        """
        if units != self.width:
            raise UnitlensError(
                f"The {self} read {self.width} units, but {layer} has {units}: a dictionary belongs to the layer on "
                "whose activations it was trained."
            )

    def misfit(self, layer: str, network: str) -> str | None:
        """Say that it was fitted to another layer, or another network, than these; None where not, or not known.

        Parameters
        ----------
        layer : str
        network : str
            SHA-256 of the network.
        """
        if self.fitted_to is None or (self.fitted_to.layer, self.fitted_to.network) == (layer, network):
            return None
        other = f"the layer {printable(self.fitted_to.layer)}" if self.fitted_to.layer != layer else layer
        if self.fitted_to.network != network:
            sha256 = printable(self.fitted_to.network[:8])
            other += f" of another network (its SHA-256 begins with {sha256}, this one's with {network[:8]})"
        return (
            f"The {self} were fitted to {other}, and are read from {layer} here: what they reconstruct of it may be "
            "little."
        )

    def apply(self, maps: Tensor, layer: str, rows: Sequence[int] | None = None) -> Tensor:
        """Return the activations of all features, or of some, at every position.

        Parameters
        ----------
        maps : tensor, (N, C, h, w), or of other positions, (N, C, ...)
        layer : str
            The layer's name, for errors.
        rows : sequence of int, optional
            Which features.

        Returns
        -------
        tensor, (N, F, h, w)

        Raises
        ------
        UnitlensError
            If the layer has another number of units.
        """
        self.check_width(maps.shape[1], layer)
        encoder, bias = (part.to(maps.device, maps.dtype) for part in (self.encoder, self.bias))
        # one product of two plain matrices takes a fifth of the time of one along a dimension that is not the last
        positions = maps.movedim(1, -1)
        active = self.activation(torch.nn.functional.linear(positions.reshape(-1, self.width), encoder, bias))
        if rows is not None:  # which of them are the largest is seen among all
            active = active[:, list(rows)]
        return active.view(*positions.shape[:-1], -1).movedim(-1, 1)

    def decode(self, change: Tensor, rows: Sequence[int]) -> Tensor:
        """Return what a change of some features is in the layer's units.

        Parameters
        ----------
        change : tensor, (N, len(rows), ...)
        rows : sequence of int
            Which features.

        Returns
        -------
        tensor, (N, C, ...)
        """
        decoder = self.decoder[:, list(rows)].to(change.device, change.dtype)
        return torch.einsum("cf,nf...->nc...", decoder, change)

    def reconstruct(self, active: Tensor) -> Tensor:
        """Return D a + c, (N, C, ...), for activations of all features, (N, F, ...)."""
        decoder, offset = (part.to(active.device, active.dtype) for part in (self.decoder, self.offset))
        return torch.nn.functional.linear(active.movedim(1, -1), decoder, offset).movedim(-1, 1)

    def from_source(self, source: str) -> "Dictionary":
        """The same, under the name of another file."""
        return replace(self, source=source)

    def save(self, file: str | Path) -> Path:
        """Write it as a safetensors file, which `unitlens.features` and ``--features`` read.

        The file says to which layer of which network it was fitted, where that is known.

        Raises
        ------
        UnitlensError
            If the file's name does not end in .safetensors, or it cannot be written.
        """
        from safetensors.torch import save

        path = Path(file)
        check_name(path)
        fitted_to = {} if self.fitted_to is None else self.fitted_to.metadata
        write_whole(path, save(self.tensors, metadata={METADATA: self.kind, **fitted_to}))
        return path


def check_name(path: Path) -> None:
    """Make sure that a file has a name for a dictionary.

    Raises
    ------
    UnitlensError
        If it does not end in .safetensors.
    """
    if path.suffix != ".safetensors":
        raise UnitlensError(f"{path} is not a name for a dictionary: it should end in .safetensors.")
