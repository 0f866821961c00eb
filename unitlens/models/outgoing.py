"""The weights with which the next layers read a layer's units."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.models.hooks import edit
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.scores import Floats

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Their weights have the units that they read along the first dimension."""

_READERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)

_BETWEEN = (
    *("Relu", "Hardtanh", "LeakyRelu", "Gelu", "Silu", "Hardswish", "Elu", "Softplus", "Mish"),
    *("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "Mean", "Upsample"),
    *("View", "UnsafeView", "ReshapeAlias", "Clone", "Alias", "Squeeze", "NativeDropout", "FeatureDropout"),
)
"""Operations between a layer and its readers, as autograd calls them, that leave units apart and in their order."""


def outgoing_weights(net: Network, layer: str) -> Floats | None:
    """Return how strongly the next layers read each unit, (U,): the norm of the weights that it is multiplied by.

    They can be read where the units, along dimension 1, reach linear or convolutional layers (transposed ones too) by
    activation functions, pooling, resizing and flattening alone.

    Parameters
    ----------
    net : Network
    layer : str

    Returns
    -------
    float64 array, (U,)
        None where no such layer follows.
    """
    image = net.example_inputs().clone()
    starts: list[Tensor] = []
    squares: list[Tensor] = []

    def start(activation: Tensor) -> Tensor:
        starts.append(activation.detach().clone().requires_grad_())
        return starts[-1].clone()

    def read(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        if starts and given is not None and starts[0].ndim > 1 and _reached(given.grad_fn, starts[0]):
            found = _squares(module, starts[0].shape[1])
            if found is not None:
                squares.append(found)

    with evaluating(net.model), torch.inference_mode(False), torch.enable_grad(), _watched(net.model, read):
        try:
            with edit(net.model, {layer: start}):
                net.model(image)
        except RuntimeError:  # the network cannot be run with gradients
            return None
    if not squares:
        return None
    return np.asarray(torch.stack(squares).sum(0).sqrt().cpu(), np.float64)


@contextmanager
def _watched(model: nn.Module, read: Any) -> Iterator[None]:
    """Call a function with each linear or convolutional layer and its inputs."""
    hooks = [module.register_forward_pre_hook(read) for module in model.modules() if isinstance(module, _READERS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _reached(step: Any, start: Tensor) -> bool:
    """Whether a tensor, by the step that made it, comes from another by nothing that mixes units."""
    while step is not None:
        if getattr(step, "variable", None) is start:
            return True
        name = type(step).__name__
        followed = [before for before, _ in step.next_functions if before is not None]
        if not name.startswith(_BETWEEN) or len(followed) != 1:
            return False
        step = followed[0]
    return False


def _squares(module: nn.Module, units: int) -> Tensor | None:
    """Sum of squared weights of each unit, (U,); None where they are not read one by one."""
    weight = module.weight
    assert isinstance(weight, Tensor)  # all readers have one
    axis = 0 if isinstance(module, _TRANSPOSED) else 1
    if getattr(module, "groups", 1) != 1 or weight.shape[axis] % units:
        return None
    # A flattened map has the positions of each unit side by side.
    return (weight.detach().double().movedim(axis, 0).reshape(units, -1) ** 2).sum(1)
