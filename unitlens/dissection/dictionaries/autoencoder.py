"""Train a small sparse autoencoder of which k features are active at a position, on activations in memory.

Sources: Gao et al., "Scaling and evaluating sparse autoencoders", ICLR 2025 (TopK, the auxiliary loss of features that
are never active); Bricken et al., "Towards monosemanticity", 2023 (rows of unit length).
"""

import math

import torch
from torch import Tensor

from unitlens.errors import UnitlensError, argument
from unitlens.models.dictionaries.dictionary import Dictionary
from unitlens.models.dictionaries.files import features

BATCH = 1024
"""Positions of a step."""

RATE = 2e-3
"""Of Adam; over the last fifth of the steps it falls to 0."""

_UNUSED_STEPS = 200
"""A feature that was active in none of so many steps is fitted to what the others leave over."""

_AUXILIARY = 1 / 32
"""Weight of that."""


def train_autoencoder(seen: Tensor, count: int, k: int, *, steps: int, seed: int) -> Dictionary:
    """Train it.

    Parameters
    ----------
    seen : float32 tensor, (positions, U)
    count : int
        How many features.
    k : int
        How many of them are active at a position, at most.
    steps : int
    seed : int

    Raises
    ------
    UnitlensError
        If there are fewer features than are active, or no steps.
    """
    if k > count or steps < 1:
        raise UnitlensError(
            f"Of {count} features {k} are to be active, and there are {steps} steps of training: raise "
            f"{argument('count')} or {argument('steps')}."
        )
    draw = torch.Generator().manual_seed(seed)
    mean = seen.mean(0)
    scale = (seen - mean).square().sum(1).mean().sqrt().clamp(min=1e-12) / math.sqrt(seen.shape[1])
    with torch.enable_grad():
        encoder, decoder, bias, offset = _train((seen - mean) / scale, count, k, steps, draw)
    arrays = {"encoder": encoder, "decoder": decoder, "bias": bias - encoder @ offset, "offset": offset}
    return features({**arrays, "mean": mean, "scale": scale}, kind=f"topk:{k}")


def _train(seen: Tensor, count: int, k: int, steps: int, draw: torch.Generator) -> tuple[Tensor, ...]:
    rows = torch.randn(count, seen.shape[1], generator=draw)
    decoder = (rows / rows.norm(dim=1, keepdim=True)).requires_grad_()
    encoder = decoder.detach().clone().requires_grad_()
    bias, offset = torch.zeros(count, requires_grad=True), torch.zeros(seen.shape[1], requires_grad=True)
    weights = (encoder, decoder, bias, offset)
    adam = torch.optim.Adam(weights, RATE)
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1.0, 5 * (1 - step / steps)))
    last_active = torch.zeros(count)
    for step in range(steps):
        x = seen[torch.randint(len(seen), (BATCH,), generator=draw)]
        before = torch.nn.functional.linear(x - offset, encoder, bias)
        kept = before.relu().topk(k, dim=1)
        active = torch.zeros_like(before).scatter(1, kept.indices, kept.values)
        rest = x - offset - active @ decoder
        loss = rest.square().mean()
        last_active[kept.indices[kept.values > 0]] = step
        unused = torch.nonzero(last_active < step - _UNUSED_STEPS)[:, 0]
        if len(unused):
            most = before[:, unused].topk(min(len(unused), 2 * k), dim=1)
            helped = torch.zeros(len(x), len(unused)).scatter(1, most.indices, most.values.relu())
            loss = loss + _AUXILIARY * (rest.detach() - helped @ decoder[unused]).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return tuple(weight.detach() for weight in weights)
