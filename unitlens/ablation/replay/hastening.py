"""Give a cut a front that computes faster, and measure on real images what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unitlens.ablation.replay.cut import Cut
from unitlens.ablation.replay.cutting import narrowed, ways_to_split
from unitlens.ablation.replay.fast_front import FastFront
from unitlens.ablation.replay.nests import tensors
from unitlens.ablation.replay.splits import Independent, Split, Untraceable
from unitlens.models.fast.copies import FastCopy, fast_copy, largest_difference
from unitlens.models.fast.precision import Fast
from unitlens.models.layers import LayerRef, display_name, find_layers
from unitlens.models.network import Network
from unitlens.models.passes import evaluating

IMAGES = 16
"""On so many images at most the fast front is compared with the network itself."""


@dataclass(frozen=True)
class Hastened:
    """A cut, and what a fast front changes in it.

    Attributes
    ----------
    cut : Cut
        With a fast front, where that can be.
    described : dict or None
        What is recorded; see `unitlens.ablation.effects_record.FrontRecord`. None where the front is as it was.
    notes : tuple of str
        What could not be done, and why.
    """

    cut: Cut
    described: dict[str, Any] | None
    notes: tuple[str, ...]


def hasten(cut: Cut, net: Network, precision: Fast, images: Tensor) -> Hastened:
    """Let a fast copy of the network compute the front of a cut; the tail stays the network's own.

    Parameters
    ----------
    cut : Cut
    net : Network
        What was cut.
    precision : {"float32", "bfloat16"}
        Of the front.
    images : Tensor
        Real ones, as the network takes them: what the fast front changes is measured on the first 16.
    """
    layers = (cut.layer, *cut.later)
    if cut.split is None:
        return Hastened(cut, None, (f"The network runs as it is, not faster: {cut.reason}",))
    made = fast_copy(net, layers, precision)
    split = _split_alike(cut.split, made, layers, images[:3])
    if split is None:
        why = f"The front of the cut at {display_name(cut.layer)} runs as it is: its fast copy has other steps."
        return Hastened(cut, None, (*made.notes, why))
    fast = replace(cut, fast=FastFront(split, made.prepare))
    return Hastened(fast, made.describe() | _differences(cut, fast, images[:IMAGES]), made.notes)


def _split_alike(split: Split, made: FastCopy, layers: Sequence[str], images: Tensor) -> Split | None:
    """Split a fast copy where the network was split, with the same values crossing the cut; None if that fails."""
    refs: list[LayerRef] = find_layers(made.net.model, layers)
    images = made.prepare(images[torch.arange(3, device=images.device) % len(images)])
    with evaluating(made.net.model):
        for split_by in ways_to_split(made.net.model, refs, images):
            try:
                found = narrowed(split_by(), images)
            except (Untraceable, Independent):
                continue
            if _names(found) == _names(split):
                return found
    return None


def _names(split: Split) -> list[str]:
    return [node.name for node in (split.activation, *split.crossing)]


def _differences(exact: Cut, fast: Cut, images: Tensor) -> dict[str, Any]:
    """What the fast front changes: activations, outputs, and predictions where the network returns scores."""
    one, other = exact.front(images), fast.front(images)
    predictions = None
    if isinstance(one.output, Tensor) and isinstance(other.output, Tensor) and one.output.ndim == 2:
        predictions = int((one.output.argmax(1) != other.output.argmax(1)).sum())
    pairs = zip(tensors(one.output), tensors(other.output), strict=True)
    return {
        "images": len(images),
        "activation": largest_difference(one.activation, other.activation),
        "output": max((largest_difference(mine, theirs) for mine, theirs in pairs if mine.numel()), default=0.0),
        "predictions": predictions,
    }
