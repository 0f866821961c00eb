"""Where units are in what a layer returns: how they are read from it, and how a change of them is written back.

Whatever units are, an edit is x' = x + D(a' - a): a = E(x) are the units' activations, a' what they become, and all of
the layer's output that no unit reads stays as it is. Of channels, E picks numbers of the output and D puts them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument, did_you_mean, spelled
from unitlens.models.bases import Coding
from unitlens.models.layers import LayerRef, display_name
from unitlens.models.layouts import find_layout, left_out, unit_axis

Size = tuple[int, int]

TOKENS = {"class": "at the class token", "patches": "at the patches"}
"""Words for the positions of a layer of tokens, and how they are described."""


@dataclass(frozen=True, eq=False)
class UnitSpace:
    """Where the units of a layer are in what it returns.

    Attributes
    ----------
    axis : int
        The dimension of the layer's output along which its channels lie.
    each : int
        How many channels in a row are one unit: 1, or the numbers of a head.
    basis : Coding, optional
        Directions in the space of the channels, or features of a dictionary, which are the units in their place.
    layer : str
        Its name, for errors.
    special : int
        Tokens in front that are no patches.
    class_token : bool
        Whether the first of these is known to be a class token.
    """

    axis: int = 1
    each: int = 1
    basis: Coding | None = None
    layer: str = "the layer"
    special: int = 0
    class_token: bool = False

    def count(self, activation: Tensor) -> int:
        """How many units there are."""
        channels = activation.shape[self.axis] if activation.ndim > self.axis else 0
        return channels // self.each if self.basis is None else self.basis.count

    def places(self, units: Sequence[int]) -> list[int]:
        """Where the numbers of some units are in what `read` returns for all of them."""
        return [unit * self.each + place for unit in units for place in range(self.each)]

    def read(self, activation: Tensor, units: Sequence[int] | None = None) -> Tensor:
        """Return the activations of all units, or of some: E(x).

        Parameters
        ----------
        activation : Tensor, (N, C, ...)
            What the layer returned, its channels along ``axis``.
        units : sequence of int, optional

        Returns
        -------
        Tensor, (N, U * each, ...)
            Of channels not copied, where all are read.
        """
        if self.basis is not None:
            return self.basis.apply(activation.movedim(self.axis, 1), self.layer, units)
        if units is None:
            return activation.movedim(self.axis, 1)
        return activation.index_select(self.axis, self._index(units, activation)).movedim(self.axis, 1)

    def write(self, activation: Tensor, units: Sequence[int], before: Tensor, after: Tensor) -> Tensor:
        """Return the layer's output with other activations of some units: x + D(a' - a).

        Parameters
        ----------
        activation : Tensor, (N, C, ...)
            What the layer returned; it stays as it is, and gradients flow from the result to it.
        units : sequence of int
        before, after : Tensor, (N, len(units) * each, ...)
            Their activations, as `read` returns them, and what they become.

        Returns
        -------
        Tensor
            Of the same shape, and in the same order in memory: another one may round differently.
        """
        if self.basis is not None:
            return activation.clone().add_(self.basis.decode(after - before, units).movedim(1, self.axis))
        index = self._index(units, activation)
        return activation.clone().index_copy_(self.axis, index, after.movedim(1, self.axis))

    def strengths(self, values: Tensor) -> Tensor:
        """One number of each unit at each position, (N, U, ...), of what `read` returns: of a head, its length."""
        if self.each == 1:
            return values
        lengths: Tensor = values.reshape(len(values), -1, self.each, *values.shape[2:]).norm(dim=2)
        return lengths

    def positions(self, tokens: str, activation: Tensor) -> Tensor:
        """Where the tokens of a word of `TOKENS` are: bool, (T,).

        Raises
        ------
        UnitlensError
            If there is no such word, or the layer has no such tokens.
        """
        name, where = display_name(self.layer), argument("where", checked_word(tokens))
        if not self.special:
            raise UnitlensError(
                f"{name} has no class token beside its patches, of which {where} speaks: choose a layer of tokens that "
                "has one in front, or leave it out."
            )
        if tokens == "class" and not self.class_token:
            raise UnitlensError(
                f"Which of the {self.special} tokens in front of the patches of {name} is the class token, of which "
                f"{where} speaks, is not known: "
                + spelled(python="give the positions as a tensor, one for each token.", shell="choose another layer.")
            )
        count = activation.shape[3 - self.axis]
        place = torch.arange(count, device=activation.device)
        return place == 0 if tokens == "class" else place >= self.special

    def _index(self, units: Sequence[int], activation: Tensor) -> Tensor:
        return torch.tensor(self.places(units), dtype=torch.int64, device=activation.device)


def checked_word(tokens: str) -> str:
    """Make sure that a word names positions.

    Raises
    ------
    UnitlensError
        If it does not.
    """
    if tokens not in TOKENS:
        raise UnitlensError(
            f"where is {tokens!r}{did_you_mean(tokens, TOKENS)}; it is a tensor: bool, yes or no for each position, or "
            f"how far each is replaced, from 0 to 1; or, of tokens, {' or '.join(TOKENS)}."
        )
    return tokens


CHANNELS = UnitSpace()
"""Every channel along dimension 1 is a unit."""


def find_space(
    model: nn.Module, ref: LayerRef, activation: Tensor, image: Size, *, basis: Coding | None = None
) -> UnitSpace:
    """Find where the units of a layer are.

    Parameters
    ----------
    model : nn.Module
        The network; which tokens are no patches is known by the names of its parameters.
    ref : LayerRef
        The layer.
    activation : Tensor
        What it returned.
    image : (int, int)
        Height and width of the network's input.
    basis : Coding, optional
        Directions or features that are its units.

    Raises
    ------
    UnitlensError
        If they lie along no dimension, it is not clear along which, or the basis is of another number of channels.
    """
    axis, heads = unit_axis(ref, activation, image), ref.heads if basis is None else None
    each = 1 if heads is None else activation.shape[axis] // heads
    if basis is not None:
        basis.check_width(activation.shape[axis], display_name(ref.given))
    layout = find_layout(tuple(activation.shape), ref.module, image, name=ref.name)
    kinds = left_out(model, layout) if layout is not None and layout.order == "tokens" else {}
    return UnitSpace(axis, each, basis, layer=ref.given, special=sum(kinds.values()), class_token="class" in kinds)
