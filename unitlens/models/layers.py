"""Find a layer by its name, and a tensor in its output.

A layer is named ``NAME``, ``NAME[CALL]``, ``NAME:ITEM`` or ``NAME[CALL]:ITEM``:

NAME
    A name in ``model.named_modules(remove_duplicate=False)``; the empty name is the model itself.
CALL
    Which call, for a module that is called several times in one pass; from 0.
ITEM
    ``heads``, of a module of attention: the outputs of its heads, side by side, before they are projected. Else which
    tensor, for a layer that returns a tuple, list or mapping: positions, keys and fields, joined by dots, as in
    ``lstm:1.0`` or ``backbone:out``. A container with exactly one tensor needs none.
"""

import copy
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

from torch import Tensor, jit, nn

from unitlens.errors import UnitlensError, did_you_mean, spelled
from unitlens.models.units.heads import Joint, find_heads
from unitlens.plurals import counted

HEADS = "heads"
"""The item of a module of attention that is the outputs of its heads, before they are projected."""

Way = tuple[str, ...]
"""The way to a tensor in what a layer returned: a position, key or field for each container; () is the whole."""

_SYNTAX = re.compile(r"(?P<name>.*?)(?:\[(?P<call>\d+)\])?(?::(?P<item>[^:\[\]]+))?")


class LayerRef(NamedTuple):
    """A layer's name, resolved: the module, which of its calls, and which tensor of its output.

    Attributes
    ----------
    given : str
        The name as it was given, e.g. ``"layer1.0.relu[1]"``.
    name : str
        The module's name alone.
    module : nn.Module
        The module itself.
    call : int or None
        Which of its calls in a pass, from 0; None if not given.
    item : str or None
        Which tensor of its output, e.g. ``"1.0"``; None if not given.
    heads : int or None
        Where the layer is not what the module returns but what it is given, the outputs of so many heads of attention
        side by side; None where it is what it returns.
    joint : Joint or None
        What has to be taken apart for these to be seen, see `unitlens.models.units.heads.taken_apart`.
    """

    given: str
    name: str
    module: nn.Module
    call: int | None
    item: str | None
    heads: int | None = None
    joint: Joint | None = None

    @property
    def place(self) -> tuple[nn.Module, bool]:
        """The module, and whether the layer is what it is given: where hooks are attached."""
        return self.module, self.heads is not None

    @property
    def base(self) -> str:
        """The name as it was given, without the item."""
        return self.given if self.item is None else self.given.removesuffix(f":{self.item}")


def find_layers(model: nn.Module, layers: str | Sequence[str]) -> list[LayerRef]:
    """Find layers by name, each once, in the order given.

    Raises
    ------
    UnitlensError
        If one does not exist, or lies in TorchScript, where no hook can be attached.
    """
    names = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    modules = dict(uncompiled(model).named_modules(remove_duplicate=False))
    return [_find(name, modules) for name in names]


def listing_hint() -> str:
    """Say what lists all layers, where the sentence is read."""
    return spelled(python="net.layers() lists all layers", shell="`unitlens layers` lists all layers")


def _find(given: str, modules: Mapping[str, nn.Module]) -> LayerRef:
    if not isinstance(given, str):
        raise UnitlensError(f"A layer is named by a string such as 'layer4', not by a {type(given).__name__}.")
    match = _SYNTAX.fullmatch(given)
    name, call, item = match.group("name", "call", "item") if match else (given, None, None)
    if given in modules:  # a module's name may itself contain brackets or colons
        name, call, item = given, None, None
    attention = modules.get(name)
    if item == HEADS and attention is not None:
        found = find_heads(attention, name, modules)
        if found is not None:
            inner = f"{name}.{found.projection}".removeprefix(".")
            number = None if call is None else int(call)
            return LayerRef(given, inner, modules[inner], number, None, found.number, found.joint)
    if name not in modules:
        top = ", ".join(name for name, _ in modules[""].named_children()) or "none"
        near = did_you_mean(name, modules) or f" (at the top there are: {top})"
        kind = type(modules[""]).__name__
        raise UnitlensError(f"There is no layer {name!r} in this {kind}{near}; {listing_hint()}.")
    if isinstance(modules[name], jit.ScriptModule) or isinstance(modules[""], jit.ScriptModule):
        raise UnitlensError(
            f"{display_name(given)} is TorchScript, where no hook can be attached: "
            "build the network from its Python code and load its weights into that."
        )
    return LayerRef(given, name, modules[name], None if call is None else int(call), item)


def uncompiled(model: nn.Module) -> nn.Module:
    """Return the module that `torch.compile` wrapped, or the module itself."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else model


def display_name(layer: str) -> str:
    """Return a layer's name for a sentence: the empty one is the model itself."""
    return layer or "the model itself"


def check_units(layer: str, units: Iterable[int], count: int) -> None:
    """Make sure that a layer of so many units has some of them.

    Raises
    ------
    UnitlensError
        If it has not.
    """
    outside = next((unit for unit in units if not 0 <= unit < count), None)
    if outside is not None:
        raise UnitlensError(
            f"{display_name(layer)} has {counted(count, 'unit')}, 0 to {count - 1}; unit {outside} is not among them."
        )


def whole_numbers(units: object) -> tuple[int, ...]:
    """Take units as they are given: one, or any collection, array or tensor of them.

    Raises
    ------
    UnitlensError
        If one is not a whole number.
    """
    given = units.tolist() if hasattr(units, "tolist") else units
    numbers = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    wrong = [unit for unit in numbers if isinstance(unit, bool) or not isinstance(unit, Integral)]
    if wrong:
        raise UnitlensError(f"Units are whole numbers from 0, not {wrong[0]!r}.")
    return tuple(map(int, numbers))


def display_shape(shape: Sequence[int]) -> str:
    """Return a shape for a sentence: ``1 x 512 x 7 x 7``."""
    return " x ".join(map(str, shape)) or "a single number"


def describe_error(error: BaseException) -> str:
    """Return the kind of an error and its first line, for a sentence."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ").removesuffix(".")


def tensors_in(output: Any, way: Way = ()) -> Iterator[tuple[Way, Tensor]]:
    """Yield every tensor in a layer's output.

    Parameters
    ----------
    output : object
        A tensor, or a tuple, list, mapping or dataclass of such, however nested; anything else holds no tensor.
    way : tuple of str, optional
        The way to ``output``.

    Yields
    ------
    tuple of (tuple of str, Tensor)
        The way to each tensor, and the tensor.

    Examples
    --------
    >>> import torch
    >>> [way for way, tensor in tensors_in((torch.ones(1), {"h": torch.ones(1), "n": 3}))]
    [('0',), ('1', 'h')]
    """
    if isinstance(output, Tensor):
        yield way, output
    else:
        for key, part in _parts(output).items():
            yield from tensors_in(part, (*way, str(key)))


def one_tensor(ref: LayerRef, output: Any) -> tuple[Way, Tensor]:
    """Find the tensor that a ref means in what its layer returned.

    Parameters
    ----------
    ref : LayerRef
        Where to look.
    output : object
        What the layer returned.

    Returns
    -------
    tuple of (tuple of str, Tensor)
        The way to the tensor, and the tensor.

    Raises
    ------
    UnitlensError
        If there is none, or the choice between several is open.
    """
    if isinstance(output, Tensor) and ref.item is None:  # nearly always; nothing to look for
        return (), output
    matching = [(way, tensor) for way, tensor in tensors_in(output) if _inside(".".join(way), ref.item)]
    if len(matching) == 1:
        return matching[0]
    kind = type(output).__name__
    all_ways = [way for way, _ in tensors_in(output)]
    if not all_ways:
        raise UnitlensError(f"{display_name(ref.base)} returned a {kind} without a tensor, so it has no units.")
    if all_ways == [()]:
        raise UnitlensError(f"{display_name(ref.base)} returned one tensor, so leave out ':{ref.item}'.")
    ways = [way for way, _ in matching] or all_ways
    choices = ", ".join(f"{ref.base}:{'.'.join(way)}" for way in ways)
    what = f"{len(ways)} tensors" if matching else f"nothing at ':{ref.item}'"
    raise UnitlensError(f"{display_name(ref.base)} returned {what}; choose one of {choices}.")


def with_tensor(output: Any, way: Way, tensor: Tensor) -> Any:
    """Return a copy of what a layer returned, with another tensor at the end of the way; ``output`` stays as it is."""
    if not way:
        return tensor
    parts = _parts(output)
    key = next(key for key in parts if str(key) == way[0])
    part = with_tensor(parts[key], way[1:], tensor)
    if isinstance(output, tuple):
        values = [part if other == key else value for other, value in parts.items()]
        return output._make(values) if hasattr(output, "_make") else type(output)(values)
    if isinstance(output, Mapping) and not isinstance(output, MutableMapping):
        return {**output, key: part}
    changed = copy.copy(output)
    if isinstance(output, (list, MutableMapping)):
        changed[key] = part
    else:
        object.__setattr__(changed, key, part)  # a dataclass, perhaps a frozen one
    return changed


def _parts(container: Any) -> dict[Any, Any]:
    """Return the items of a container by key, position or field; none if it is not a container."""
    if isinstance(container, Mapping):
        return dict(container.items())
    if isinstance(container, (tuple, list)):
        return dict(enumerate(container))
    if dataclasses.is_dataclass(container) and not isinstance(container, type):
        return {field.name: getattr(container, field.name) for field in dataclasses.fields(container)}
    return {}


def _inside(way: str, item: str | None) -> bool:
    return item is None or way == item or way.startswith(f"{item}.")
