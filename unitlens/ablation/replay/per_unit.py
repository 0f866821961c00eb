"""Follow what a single unit changes behind a layer, for all units at once, as long as nothing mixes them.

Right behind a layer, most networks treat every unit alone (activations, pooling, normalisation, a skip connection that
is added). As far as that goes, two runs serve all units: one with no unit ablated, one with every unit ablated. The
first step that mixes units is often a Linear or a convolution, and there only the product of its weights with the one
unit's difference is added to the result without ablation. Which steps are of which kind is read off the traced steps.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from unitlens.ablation.replay.splits import Step
from unitlens.models.units.space import UnitSpace


class PerUnit(NamedTuple):
    """A value in which every unit still has places of its own along one dimension, as channels of its own.

    Attributes
    ----------
    base : Tensor, (N, S, ...)
        With no unit ablated.
    ablated : Tensor, (N, S, ...)
        With every unit ablated. A unit that is ablated alone changes its own places of ``base`` into these, and no
        others.
    first : int
        Where the places of unit 0 begin.
    each : int
        Places of one unit: those of unit u begin at ``first + u * each``.
    units : int
        How many units there are.
    axis : int
        The dimension along which the places lie; 1 unless said otherwise.
    """

    base: Tensor
    ablated: Tensor
    first: int
    each: int
    units: int
    axis: int = 1

    def apart(self, value: Tensor) -> Tensor:
        """Return the units' places of a value that is shaped like ``base``: (N, units, each, ...), a view of it."""
        places = value.movedim(self.axis, 1).narrow(1, self.first, self.units * self.each)
        return places.view(len(places), self.units, self.each, *places.shape[2:])

    def changed(self) -> Tensor:
        """Return in which images ablating which unit changes this value: bool, (N, units)."""
        return (self.apart(self.ablated) != self.apart(self.base)).flatten(2).any(2)

    def rows(self, units: Tensor, images: Tensor) -> Tensor:
        """Return rows of the value: row i is image ``images[i]`` with unit ``units[i]`` ablated, (rows, S, ...)."""
        # Row by row the image with nothing ablated, in which the places of one unit are overwritten.
        out = self.base.index_select(0, images)
        row = torch.arange(len(units), device=out.device)
        self.apart(out)[row, units] = self.apart(self.ablated)[images, units]
        return out


class Mixed(NamedTuple):
    """The result of a linear step that mixes units: the part that all units share, and how to add one unit's own.

    Attributes
    ----------
    base : Tensor, (N, O, ...)
        With no unit ablated.
    source : PerUnit
        The value that the step reads.
    rows : callable or None
        ``rows(units, images)`` gives row i with unit ``units[i]`` ablated in image ``images[i]``: (rows, O, ...).
    grid : callable or None
        In its place: ``grid(units, images)`` gives a range of units in a range of images: (units, images, O).
    """

    base: Tensor
    source: PerUnit
    rows: Callable[[Tensor, Tensor], Tensor] | None
    grid: Callable[[range, range], Tensor] | None


class Spread(NamedTuple):
    """A value in which every unit changes all channels, each in its own proportions, as directions do.

    Attributes
    ----------
    base : Tensor, (N, C, ...)
        With no unit ablated.
    source : PerUnit
        The units' own activations, (N, U, ...), at the same positions.
    decoder : Tensor, (U, C)
        What one more of each unit adds to the channels.
    axis : int
        The dimension along which the channels lie.
    """

    base: Tensor
    source: PerUnit
    decoder: Tensor
    axis: int

    def rows(self, units: Tensor, images: Tensor) -> Tensor:
        """Return rows of the value: row i is image ``images[i]`` with unit ``units[i]`` ablated."""
        moved = self.source.ablated[images, units] - self.source.base[images, units]
        shape = [-1, self.decoder.shape[1], *[1] * (self.base.ndim - 2)]
        added = moved.unsqueeze(1) * self.decoder.index_select(0, units).view(shape)
        return self.base.index_select(0, images).add_(added.movedim(1, self.axis))


def units_apart(space: UnitSpace, activation: Tensor, before: Tensor, ablated: Tensor) -> PerUnit | Spread:
    """Return a layer's output, with each of its units to be ablated alone.

    Parameters
    ----------
    space : UnitSpace
        Where the units are in it.
    activation : Tensor
        What the layer returned.
    before, ablated : Tensor, (N, U, ...)
        Activations of all units, as `UnitSpace.read` returns them, and what each becomes.
    """
    if space.basis is None:
        laid_out = ablated.movedim(1, space.axis).contiguous()
        return PerUnit(activation, laid_out, 0, space.each, space.count(activation), space.axis)
    return Spread(
        activation, PerUnit(before, ablated, 0, 1, before.shape[1]), space.basis.decoder.T.to(before), space.axis
    )


def _follow_spread(step: Step, args: Any, kwargs: Any) -> Any:
    """Follow units that change all channels, as long as channels are averaged over positions alone, then are read."""
    value, kind = args[0] if args else None, kind_of(step)
    if not isinstance(value, Spread) or value.axis != 1 or len(step.node.all_input_nodes) != 1:
        return None
    if kind is nn.Linear and value.base.ndim == 2:
        columns = value.decoder @ step.call.weight.T  # type: ignore[attr-defined]
        base, difference = step.call(value.base), value.source.ablated - value.source.base

        def grid(units: range, images: range) -> Tensor:
            of_images, of_units = slice(images.start, images.stop), slice(units.start, units.stop)
            moved = difference[of_images, of_units].T.unsqueeze(2)
            return torch.addcmul(base[of_images], moved, columns[of_units].unsqueeze(1))

        return Mixed(base, value.source, None, grid)
    averages = kind in _AVERAGES and value.base.ndim > 2
    if not averages and not (kind in _FLATTENING and value.base.shape[2:].numel() == 1):
        return None
    base, before, ablated = (
        step.call(each, *args[1:], **kwargs) for each in (value.base, value.source.base, value.source.ablated)
    )
    # what is averaged over other dimensions, or not flattened to images x channels, is left to the rows
    if base.shape[:2] != value.base.shape[:2] or (base.ndim not in (2, value.base.ndim)):
        return None
    return Spread(base, PerUnit(before, ablated, 0, 1, value.source.units), value.decoder, 1)


def follow(step: Step, value_of: Callable[[fx.Node], Any]) -> Any:
    """Follow every unit by itself through one step.

    Parameters
    ----------
    step : Step
        At least one of the values that it reads is a `PerUnit`.
    value_of : callable
        Gives the value that a node has: a `PerUnit`, or what is the same whichever unit is ablated.

    Returns
    -------
    PerUnit or Mixed or object
        What the step gives, for all units; a plain value where the step asks for a shape; None where the step mixes
        units in another way, or is not known here.
    """
    args, kwargs = map_arg((step.node.args, step.node.kwargs), value_of)
    if any(isinstance(value_of(node), Spread) for node in step.node.all_input_nodes):
        return _follow_spread(step, args, kwargs)
    sources = [value for value in map(value_of, step.node.all_input_nodes) if isinstance(value, PerUnit)]
    kind = kind_of(step)
    # What a step asks of shapes and types is the same for every unit.
    if kind in ("size", "dim") or (kind is getattr and args[1] in ("shape", "ndim", "dtype", "device")):
        return step.call(*_pick(args, "base"), **kwargs)
    # The first step that mixes units, if it is linear: one unit's share is added to the result without ablation.
    if kind in (nn.Linear, nn.Conv2d) and len(args) == 1 and isinstance(args[0], PerUnit):
        mixing = _linear(step.call, args[0]) if kind is nn.Linear else _convolution(step.call, args[0])
        if mixing is not None:
            return mixing
    # A step that treats every unit by itself: it runs twice, for all units together, and the rule tells where in the
    # result each unit stands.
    rule = _rule(step)
    if rule is None:
        return None
    base, ablated = (step.call(*_pick(args, name), **_pick(kwargs, name)) for name in ("base", "ablated"))
    if not isinstance(base, Tensor) or base.shape != ablated.shape or base.ndim < 2:
        return None
    places = rule(base, sources, args, kwargs)
    if places is None:
        return None
    return PerUnit(base, ablated, places.first, places.each, sources[0].units, places.axis)


def kind_of(step: Step) -> Any:
    """Return what tells a step's arithmetic: the type of a module, the function, or the method's name.

    None where a module's hooks may do something else.
    """
    if step.node.op == "call_method":
        return step.node.target
    if not isinstance(step.call, nn.Module):
        return step.call
    hooked = step.call._forward_hooks or step.call._forward_pre_hooks
    return None if hooked or step.call.training else type(step.call)


def _pick(values: Any, name: str) -> Any:
    """Replace every `PerUnit` in nested arguments by one of its two tensors."""
    if isinstance(values, PerUnit):
        return getattr(values, name)
    if isinstance(values, dict):
        return {key: _pick(value, name) for key, value in values.items()}
    if isinstance(values, (list, tuple)) and type(values) in (list, tuple, fx.immutable_collections.immutable_list):
        return type(values)(_pick(value, name) for value in values)
    return values


def _linear(layer: Any, source: PerUnit) -> Mixed | None:
    """Add one unit's share of a Linear's result: its columns of the weight matrix times its difference."""
    if source.base.ndim != 2:
        return None
    base = layer(source.base)
    difference = source.apart(source.ablated - source.base)  # (N, units, each)
    weight = source.apart(layer.weight)  # (O, units, each)
    columns = weight[:, :, 0].T.contiguous() if source.each == 1 else weight.permute(1, 2, 0)

    def grid(units: range, images: range) -> Tensor:
        of_images, of_units = slice(images.start, images.stop), slice(units.start, units.stop)
        moved = difference[of_images, of_units].transpose(0, 1)  # (units, N, each)
        if source.each == 1:
            return torch.addcmul(base[of_images], moved, columns[of_units].unsqueeze(1))
        return torch.bmm(moved, columns[of_units]).add_(base[of_images])

    return Mixed(base, source, None, grid)


def _convolution(layer: Any, source: PerUnit) -> Mixed | None:
    """Add one unit's share of a convolution's result: the convolution of its difference with its own kernels."""
    if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    if source.base.ndim != 4 or source.axis != 1:
        return None
    base = layer(source.base)
    difference = source.apart(source.ablated - source.base)  # (N, units, each, h, w)
    kernels = source.apart(layer.weight).permute(1, 0, 2, 3, 4).flatten(2)  # (units, O, each * kernel)

    def rows(units: Tensor, images: Tensor) -> Tensor:
        windows = F.unfold(difference[images, units], layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        untouched = base.flatten(2).index_select(0, images)
        moved = torch.baddbmm(untouched, kernels.index_select(0, units), windows)
        return moved.reshape(len(units), *base.shape[1:])

    return Mixed(base, source, rows, None)


class Places(NamedTuple):
    """Where units stand in a result: the dimension, where the first begins, and how many places each has."""

    axis: int
    first: int
    each: int


def _elementwise(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Every position by itself; with several inputs, units must stand in the same places of each."""
    source = sources[0]
    places = {(each.axis, each.first, each.each, each.base.shape[each.axis], each.base.ndim) for each in sources}
    if len(places) > 1 or base.ndim != source.base.ndim or base.shape[source.axis] != source.base.shape[source.axis]:
        return None
    return Places(source.axis, source.first, source.each)


def _over_positions(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Every channel by itself, its positions together: pooling, resizing."""
    source = sources[0]
    ok = source.base.ndim >= 3 and base.shape[:2] == source.base.shape[:2] and base.ndim == source.base.ndim
    return Places(1, source.first, source.each) if ok and source.axis == 1 else None


def _depthwise(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Convolve every channel by itself, into one or several channels of the result."""
    source = sources[0]
    times = base.shape[1] // source.base.shape[1]
    return Places(1, source.first * times, source.each * times) if source.axis == 1 else None


def _reduction(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Reduce over dimensions; allowed where neither images nor units are among them."""
    source = sources[0]
    dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or {dim % source.base.ndim for dim in dims} & {0, source.axis}:
        return None
    gone = sum(dim % source.base.ndim < source.axis for dim in dims) if base.ndim < source.base.ndim else 0
    return Places(source.axis - gone, source.first, source.each)


def _reshaping(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Keep the order in memory; allowed where units end up as whole slices of dimension 1."""
    source = sources[0]
    inner, slice_ = source.base[0, 0].numel(), base[0, 0].numel()
    if base.shape[0] != source.base.shape[0] or slice_ == 0 or source.axis != 1:
        return None
    first, each = divmod(source.first * inner, slice_), divmod(source.each * inner, slice_)
    return Places(1, first[0], each[0]) if first[1] == each[1] == 0 and each[0] > 0 else None


def _concatenation(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Join along the units' dimension, where one of the inputs holds the units."""
    parts = args[0] if args else kwargs.get("tensors", ())
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    axis = sources[0].axis
    if dim not in (axis, axis - base.ndim) or sum(isinstance(part, PerUnit) for part in parts) != 1:
        return None
    where = next(index for index, part in enumerate(parts) if isinstance(part, PerUnit))
    in_front = sum(part.shape[axis] for part in parts[:where])
    return Places(axis, in_front + parts[where].first, parts[where].each)


def _picking(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Pick positions, such as one of the tokens; allowed where all images and all places of units are kept."""
    source, index = args
    index = index if isinstance(index, tuple) else (index,)
    if not isinstance(source, PerUnit) or not all(type(part) in (int, slice) for part in index):
        return None
    everything = [part == slice(None) for part in index] + [True] * (source.base.ndim - len(index))
    if not (everything[0] and everything[source.axis]):
        return None
    gone = sum(type(part) is int for part in index[: source.axis])
    return Places(source.axis - gone, source.first, source.each)


def _swapping(base: Tensor, sources: list[PerUnit], args: Any, kwargs: Any) -> Places | None:
    """Exchange two dimensions, neither of them that of the images."""
    source = sources[0]
    if len(args) != 3 or kwargs:
        return None
    one, other = (dim % base.ndim for dim in args[1:])
    if 0 in (one, other):
        return None
    return Places({one: other, other: one}.get(source.axis, source.axis), source.first, source.each)


# fmt: off
ELEMENTWISE: tuple[Any, ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Threshold, nn.LogSigmoid, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.softplus, F.hardswish, F.hardsigmoid,
    F.hardtanh, F.sigmoid, F.tanh, torch.relu, torch.sigmoid, torch.tanh, torch.clamp, torch.abs, torch.exp,
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pow,
    torch.add, torch.sub, torch.mul, torch.div, torch.neg, torch.pow, torch.sqrt, torch.square,
    "relu", "sigmoid", "tanh", "clamp", "abs", "exp", "add", "sub", "mul", "div", "neg", "pow", "sqrt", "square",
    "contiguous", "clone", "float", "double",
)
_OVER_POSITIONS: tuple[Any, ...] = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.Upsample,
    F.max_pool1d, F.max_pool2d, F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
    F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.interpolate,
)
# fmt: on
_AVERAGES: tuple[Any, ...] = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.Identity,
    F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d,
    F.avg_pool1d,
    F.avg_pool2d,
)  # fmt: skip
_FLATTENING: tuple[Any, ...] = (nn.Flatten, torch.flatten, "flatten")
_RULES: dict[Any, Callable[[Tensor, list[PerUnit], Any, Any], Places | None]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(_OVER_POSITIONS, _over_positions),
    **dict.fromkeys((torch.mean, torch.sum, torch.amax, "mean", "sum", "amax"), _reduction),
    **dict.fromkeys((nn.Flatten, torch.flatten, torch.reshape, "flatten", "reshape", "view"), _reshaping),
    **dict.fromkeys((torch.cat, torch.concat), _concatenation),
    **dict.fromkeys((torch.transpose, "transpose"), _swapping),
    operator.getitem: _picking,
}


def _rule(step: Step) -> Callable[[Tensor, list[PerUnit], Any, Any], Places | None] | None:
    """Find how a step treats units; None where it is not known to leave every unit to itself."""
    kind, call = kind_of(step), step.call
    if kind is F.dropout:
        args, kwargs = step.node.args, step.node.kwargs
        return None if kwargs.get("training", args[2] if len(args) > 2 else True) else _elementwise
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        return _elementwise if getattr(call, "running_mean", None) is not None else None
    if kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return _depthwise if call.groups == call.in_channels else None  # type: ignore[attr-defined]
    if kind is nn.Linear:
        return _over_positions  # along the last dimension, where _linear found that this is not the units'
    try:
        return _RULES.get(kind)
    except TypeError:  # a callable without a hash is none of those known here
        return None
