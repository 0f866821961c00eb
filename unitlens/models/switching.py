"""Switch units of a layer off for good: in its weights where these alone make them, else in a module around it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unitlens.models.layers import Way, tensors_in, with_tensor

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SwitchedOff(nn.Module):
    """A layer, some units of which have the same values whatever its input is.

    Parameters
    ----------
    layer : nn.Module
    units : sequence of int
    values : Tensor, (len(units),)
        What they are.
    axis : int
        The dimension of the layer's output along which units lie, counted from 0.
    way : tuple of str
        The way to the tensor in what the layer returns, see `unitlens.models.layers`.
    """

    def __init__(self, layer: nn.Module, units: Sequence[int], values: Tensor, *, axis: int, way: Way = ()) -> None:
        super().__init__()
        self.axis, self.way = axis, way
        self.register_buffer("units", torch.tensor(units, dtype=torch.int64, device=values.device))
        self.register_buffer("values", values)
        self.layer = layer  # the last: from now on, what this module lacks is the layer's

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer returns, with the units at their values."""
        output = self.layer(*args, **kwargs)
        if not self.way:
            return self._switched(output)
        tensor = next(tensor for way, tensor in tensors_in(output) if way == self.way)
        return with_tensor(output, self.way, self._switched(tensor))

    def __getattr__(self, name: str) -> Any:
        """What this module lacks is the layer's: a network may read ``layer.weight``, or its sizes."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def extra_repr(self) -> str:
        """Which units, for those who print the module."""
        return f"units={self.units.tolist()}, values={self.values.tolist()}"

    def _switched(self, tensor: Tensor) -> Tensor:
        shape = [1] * tensor.ndim
        shape[self.axis] = -1
        sizes = [*tensor.shape[: self.axis], len(self.units), *tensor.shape[self.axis + 1 :]]
        return tensor.index_copy(self.axis, self.units, self.values.to(tensor).reshape(shape).expand(sizes))


def switch_weights(model: nn.Module, module: nn.Module, units: Sequence[int], values: Tensor, *, axis: int) -> bool:
    """Switch units off in the weights of their layer, where that is the same for every input.

    It is so of linear and convolutional layers, batch norms and layer norms whose weights nothing else uses: of a unit
    whose weights are 0, only its bias is left.

    Parameters
    ----------
    model : nn.Module
    module : nn.Module
        The layer in it; its weights are changed.
    units : sequence of int
    values : Tensor, (len(units),)
    axis : int
        The dimension of its output along which units lie.

    Returns
    -------
    bool
        Whether that was done; else nothing was.
    """
    if not _makes_units(module, axis) or _shared(model, module) or module._forward_pre_hooks or module._forward_hooks:
        return False
    weight: Any = module.weight
    bias: Any = module.bias
    if weight is None or (bias is None and bool(values.any())):
        return False
    index = torch.tensor(units, dtype=torch.int64, device=weight.device)
    with torch.no_grad():
        weight.index_fill_(0, index, 0.0)
        if bias is not None:
            bias.index_copy_(0, index, values.to(bias))
    return True


def switch_inputs(model: nn.Module, module: nn.Module, inputs: Sequence[int], values: Tensor) -> bool:
    """Hold some of the numbers that a linear layer is given at values, in its weights.

    Their columns become 0, and what they add at these values becomes part of the bias.

    Parameters
    ----------
    model : nn.Module
    module : nn.Module
        The layer in it; its weights are changed.
    inputs : sequence of int
    values : Tensor, (len(inputs),)

    Returns
    -------
    bool
        Whether that was done; else nothing was.
    """
    if not isinstance(module, nn.Linear) or _shared(model, module):
        return False
    weight: Any = module.weight
    bias: Any = module.bias
    if bias is None and bool(values.any()):
        return False
    index = torch.tensor(inputs, dtype=torch.int64, device=weight.device)
    with torch.no_grad():
        if bias is not None:
            bias.add_(weight[:, index] @ values.to(weight))
        weight.index_fill_(1, index, 0.0)
    return True


def wrapped(
    model: nn.Module, module: nn.Module, units: Sequence[int], values: Tensor, *, axis: int, way: Way
) -> nn.Module:
    """Put a `SwitchedOff` in place of a layer, wherever the model holds it; returns the model, which may be it."""
    switched = SwitchedOff(module, units, values, axis=axis, way=way)
    if module is model:
        return switched
    holders = [parent for parent in model.modules() if parent is not switched]
    for parent in holders:
        for name, child in list(parent._modules.items()):  # one child may have several names
            if child is module:
                parent._modules[name] = switched
    return model


def _makes_units(module: nn.Module, axis: int) -> bool:
    """Whether each unit is affine in a row of the layer's own weights; subclasses may do anything else with them."""
    kind = type(module)
    if kind is nn.Linear or kind in _CONVOLUTIONS:
        return kind is nn.Linear or axis == 1
    if kind in _NORMS:
        return axis == 1
    return isinstance(module, nn.LayerNorm) and kind is nn.LayerNorm and len(module.normalized_shape) == 1


def _shared(model: nn.Module, module: nn.Module) -> bool:
    """Whether the model uses any of the layer's weights, or the layer itself, in another place."""
    own = {id(parameter) for parameter in module.parameters()}
    uses = sum(id(parameter) in own for _, parameter in model.named_parameters(remove_duplicate=False))
    return uses > len(own)
