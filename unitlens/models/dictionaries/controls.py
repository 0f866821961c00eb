"""Dictionaries in which nothing was learnt, to compare one with: random rows, or its own rows shuffled."""

from dataclasses import replace

import torch
from torch import Tensor

from unitlens.models.dictionaries.activations import Activation
from unitlens.models.dictionaries.dictionary import Dictionary
from unitlens.stats.blocks import in_blocks

MATCHED_POSITIONS = 100_000
"""At so many positions at most it is matched, drawn at random of those that are given."""

_AT_ONCE = 1 << 25
"""Numbers that are computed together at most, of positions times features."""


def random_dictionary(dictionary: Dictionary, positions: Tensor, *, seed: int) -> Dictionary:
    """Random directions in place of the rows of encoder and decoder, as long as these.

    Of ReLU and of thresholds, each feature is active at as many positions as the one that it replaces; of TopK, as many
    are active at a position. Features of NMF, whose activations are those of least squares, are not matched.

    Parameters
    ----------
    dictionary : Dictionary
    positions : tensor, (P, C)
        Activations of the layer at some positions, on which it is matched.
    seed : int
    """
    draw = torch.Generator().manual_seed(seed)
    encoder = torch.randn(dictionary.encoder.shape, generator=draw)
    encoder *= dictionary.encoder.norm(dim=1, keepdim=True) / encoder.norm(dim=1, keepdim=True)
    decoder = torch.randn(dictionary.decoder.shape, generator=draw)
    decoder *= dictionary.decoder.norm(dim=0) / decoder.norm(dim=0)
    return _matched(dictionary, encoder, decoder, _some(positions, draw), "a random dictionary")


def shuffled_dictionary(dictionary: Dictionary, positions: Tensor, *, seed: int) -> Dictionary:
    """Numbers of each row shuffled among the layer's units, in encoder and decoder alike; matched as random rows."""
    draw = torch.Generator().manual_seed(seed)
    order = torch.rand(dictionary.encoder.shape, generator=draw).argsort(1)
    encoder, decoder = dictionary.encoder.gather(1, order), dictionary.decoder.T.gather(1, order).T.contiguous()
    return _matched(dictionary, encoder, decoder, _some(positions, draw), "a shuffled dictionary")


def _some(positions: Tensor, draw: torch.Generator) -> Tensor:
    if len(positions) <= MATCHED_POSITIONS:
        return positions
    return positions[torch.randperm(len(positions), generator=draw)[:MATCHED_POSITIONS]]


def _matched(dictionary: Dictionary, encoder: Tensor, decoder: Tensor, positions: Tensor, source: str) -> Dictionary:
    """Choose the bias so that a feature is active at as many positions as before, or where k are chosen, the mean."""
    rows, activation = encoder, dictionary.activation
    if activation.kind == "nmf":  # whose rows are not negative, and encode as they decode
        rows = encoder.abs()
        gram = Activation("nmf", gram=rows @ rows.T)
        return replace(dictionary, encoder=rows, decoder=rows.T.contiguous(), activation=gram, source=source)
    if activation.kind in ("topk", "linear", "pca"):
        mean = positions.double().mean(0)
        bias = dictionary.bias + (dictionary.encoder - rows).double() @ mean
        return replace(dictionary, encoder=rows, decoder=decoder, bias=bias.float(), source=source)
    active = _active(dictionary, positions)
    bias = torch.empty(dictionary.count)
    for block in in_blocks(dictionary.count, _AT_ONCE // len(positions)):
        encoded = rows[block] @ positions.T
        # of so many positions that were active the last one is, and the next one is not
        least = (len(positions) - active[block]).clamp(min=1).tolist()
        bias[block] = -torch.stack([row.kthvalue(k).values for row, k in zip(encoded, least, strict=True)])
    return replace(dictionary, encoder=rows, decoder=decoder, bias=bias, activation=Activation("relu"), source=source)


def _active(dictionary: Dictionary, positions: Tensor) -> Tensor:
    """At how many positions each feature is active, (F,)."""
    active = torch.zeros(dictionary.count, dtype=torch.int64)
    for block in in_blocks(len(positions), _AT_ONCE // dictionary.count):
        active += (dictionary.apply(positions[block], "the layer") > 0).sum(0)
    return active
