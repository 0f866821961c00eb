"""List a network's layers, by passing one image through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, jit, nn

from unitlens.models.hooks import attached
from unitlens.models.layers import HEADS, LayerRef, find_layers, tensors_in, uncompiled
from unitlens.models.layouts import find_layout
from unitlens.models.units.heads import find_heads

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerInfo:
    """One layer, or one tensor of a layer that returns several.

    Attributes
    ----------
    name : str
        As `unitlens.record` takes it, ``lstm:1.0`` for a tensor of several; where ``calls`` is above 1, ``[CALL]`` has
        to be added.
    kind : str
        The class of the module.
    shape : tuple of int or None
        What it returns for one image, without the batch dimension, in its first call. None if it is never reached
        or returns no tensor.
    units : int or None
        How many units it has; None if its output is in none of the layouts of `unitlens.models.layouts`.
    grid : (int, int) or None
        h and w; None where there is no grid.
    calls : int
        How often it is called in one pass; 0 if never.
    layout : str or None
        How its output is laid out: "units" for (N, U), or a key of `unitlens.models.layouts.ORDERS`.
    """

    name: str
    kind: str
    shape: Shape | None
    units: int | None
    grid: tuple[int, int] | None
    calls: int
    layout: str | None = None


class Survey(NamedTuple):
    """The layers of one pass, in the order in which they returned, and the shapes of the model's outputs."""

    layers: list[LayerInfo]
    outputs: list[Shape]


def survey(model: nn.Module, image: Tensor, *, image_size: tuple[int, int]) -> Survey:
    """Pass one image through a network, and note the shape of every layer's output.

    Parameters
    ----------
    model : nn.Module
        The network, in the mode in which it is.
    image : Tensor, (1, ...)
        The network's input.
    image_size : (int, int)
        Height and width of the image that units are compared with.

    Returns
    -------
    Survey
        Layers that are never reached come last, in the order of their names in the network.

    Raises
    ------
    UnitlensError
        If the network is TorchScript. Errors of the pass come through as they are.
    """
    root = find_layers(model, "")[0].module
    names: dict[nn.Module, list[str]] = {}
    for name, module in root.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    watched = [module for module in names if module is not root and not isinstance(module, jit.ScriptModule)]
    seen: dict[nn.Module, list[dict[str, Shape]]] = {}

    def note(module: nn.Module, args: Any, output: Any) -> None:
        seen.setdefault(module, []).append({".".join(way): tuple(t.shape) for way, t in tensors_in(output)})

    modules = dict(root.named_modules(remove_duplicate=False))
    attention = [module for module in watched if find_heads(module, names[module][0], modules) is not None]
    heads = {ref.given: ref for module in attention for ref in _heads_of(root, names[module])}
    with attached(model, [(module, note) for module in watched], before=lambda *_: seen.clear()):
        output = uncompiled(model)(image)
    given = _given_to(list(heads.values()), model, image) if heads else {}
    reached = []
    for module, calls in seen.items():
        for name in names[module]:
            ref = heads.get(f"{name}:{HEADS}")
            reached += [] if ref is None else _infos_of_heads(ref, given.get(ref.given, []), image_size)
            reached += _infos(name, module, calls, image_size)
    missed = [
        info
        for module in names
        if module not in seen and module is not root
        for name in names[module]
        for info in _infos(name, module, [], image_size)
    ]
    return Survey(reached + missed, [tuple(t.shape) for _, t in tensors_in(output)])


def _given_to(heads: Sequence[LayerRef], model: nn.Module, image: Tensor) -> dict[str, list[Shape]]:
    """The shapes of heads in each call, by a pass of their own: what is taken apart for them calls other modules."""
    given: dict[str, list[Shape]] = {}

    def note(ref: LayerRef, module: nn.Module, args: Any, value: Tensor) -> None:
        given.setdefault(ref.given, []).append(tuple(value.shape))

    hooks = [(ref, partial(note, ref)) for ref in heads]
    with attached(model, hooks, before=lambda *_: given.clear()):
        uncompiled(model)(image)
    return given


def _heads_of(root: nn.Module, names: Sequence[str]) -> list[LayerRef]:
    return find_layers(root, [f"{name}:{HEADS}" for name in names])


def _infos_of_heads(ref: LayerRef, shapes: Sequence[Shape], image: tuple[int, int]) -> list[LayerInfo]:
    """The heads of a module of attention, each of which is a unit; nothing where it has windows of tokens."""
    layout = find_layout(shapes[0], ref.module, image, name=ref.name) if shapes and shapes[0][:1] == (1,) else None
    if layout is None:
        return []
    return [LayerInfo(ref.given, "heads", shapes[0][1:], ref.heads, layout.grid, len(shapes), layout.order)]


def _infos(name: str, module: nn.Module, calls: Sequence[dict[str, Shape]], image: tuple[int, int]) -> list[LayerInfo]:
    kind, shapes = type(module).__name__, calls[0] if calls else {}
    if not shapes:
        return [LayerInfo(name, kind, None, None, None, len(calls))]
    infos = []
    for way, whole in shapes.items():
        given = f"{name}:{way}" if len(shapes) > 1 else name
        layout = find_layout(whole, module, image, name=name) if whole[:1] == (1,) else None
        shape = whole[1:] if whole[:1] == (1,) else whole
        units, grid, order = (layout.units, layout.grid, layout.order) if layout else (None, None, None)
        infos.append(LayerInfo(given, kind, shape, units, grid, len(calls), order))
    return infos
