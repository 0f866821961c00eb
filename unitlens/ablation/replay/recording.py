"""Record a pass as a graph of steps, for networks that cannot be traced, and split it at the output of a layer.

The network runs as it is, on two images and on three. Every call of a function, of a tensor's method and of a module
that is not looked into is noted, with what it was given and what it returned. A graph holds what one pass did: where a
network decides by looking at values, another pass may do something else, and such a network is refused.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from unitlens.ablation.replay.image_counts import RecordedPass, count_images
from unitlens.ablation.replay.inplace import changed_value
from unitlens.ablation.replay.nests import tensors
from unitlens.ablation.replay.splits import OneInput, Split, Untraceable, mark, split_graph
from unitlens.models.hooks import eagerly
from unitlens.models.layers import LayerRef, one_tensor, tensors_in, with_tensor
from unitlens.models.units.heads import taken_apart

# fmt: off
_OF_SHAPES = frozenset((
    "__get__", "__hash__", "__len__", "__repr__", "can_cast", "dim", "element_size", "get_device", "is_complex",
    "is_conj", "is_contiguous", "is_floating_point", "is_inference", "is_neg", "is_pinned", "is_same_size", "is_shared",
    "is_signed", "ndimension", "nelement", "numel", "result_type", "size", "storage_offset", "stride", "type",
))
# fmt: on
"""What may be asked of tensors without looking at their values; ``__get__`` reads attributes such as their shape."""

_OPERATORS = {"__getitem__": operator.getitem, "__setitem__": operator.setitem}


def record_network(model: nn.Module, layers: Sequence[LayerRef], images: Tensor, *, fine: bool = True) -> Split:
    """Split a network at the output of one call of one of its layers, by what it does with some images.

    Parameters
    ----------
    model : nn.Module
        In eval mode, without gradients. It is run twice.
    layers : sequence of LayerRef
        The one to split at; further ones, which are called after it, are marked in the tail.
    images : Tensor, (3, 3, height, width)
        As the network takes them.
    fine : bool
        Note what happens in every module that is not torch's own; else only in the modules that contain a layer, so
        that whatever the others do stays theirs.

    Returns
    -------
    Split

    Raises
    ------
    Untraceable
        Where the passes differ in more than the number of images, or the network looks at values.
    Independent
        Where the output does not depend on what a layer returns.
    """
    two, three = (_recorded(model, layers, images[:count], fine) for count in (2, 3))
    count_images(two, three, (2, 3))
    return split_graph(two.graph, two.root, two.marks)


def _recorded(model: nn.Module, layers: Sequence[LayerRef], images: Tensor, fine: bool) -> RecordedPass:
    recorder = _Recorder(model, layers, images)
    with ExitStack() as stack:
        stack.enter_context(eagerly())
        stack.enter_context(taken_apart(ref.joint for ref in layers))
        for module in _leaves(model, {ref.module for ref in layers}, fine):
            enter = module.register_forward_pre_hook(recorder.enter, prepend=True, with_kwargs=True)
            leave = module.register_forward_hook(recorder.leave, with_kwargs=True)
            stack.callback(enter.remove)
            stack.callback(leave.remove)
        for module in {ref.module for ref in layers if ref.heads is None}:
            stack.callback(module.register_forward_hook(recorder.mark).remove)
        for module in {ref.module for ref in layers if ref.heads is not None}:
            stack.callback(module.register_forward_pre_hook(recorder.mark_given, prepend=True).remove)
        try:
            with recorder:
                output = model(images)
        except _Refused:
            pass
    if recorder.refusal:  # the network's own code may have caught the exception
        raise Untraceable(recorder.refusal)
    return recorder.finish(output)


def _leaves(model: nn.Module, layers: set[nn.Module], fine: bool) -> Iterator[nn.Module]:
    """The modules whose calls are single steps: never one that a layer is inside."""
    is_torchs_own = fx.Tracer().is_leaf_module
    for module in model.modules():
        has_layer_inside = any(inner in layers for inner in module.modules() if inner is not module)
        hookable = not isinstance(module, torch.jit.ScriptModule)
        if hookable and module is not model and not has_layer_inside and (not fine or is_torchs_own(module, "")):
            yield module


class _Refused(Exception):
    """The pass ends, as it cannot be recorded."""


class _Call(NamedTuple):
    """A call that is a step: what it is given, as the graph has it."""

    args: Any
    kwargs: Any
    first: Any


class _Recorder(TorchFunctionMode):
    """Notes the steps of one pass in a graph.

    Attributes
    ----------
    graph : fx.Graph
    root : OneInput
        What the graph's steps are of.
    refusal : str
        Why the pass cannot be recorded; empty where it can.
    """

    def __init__(self, model: nn.Module, layers: Sequence[LayerRef], images: Tensor) -> None:
        super().__init__()
        self.graph, self.root, self.refusal = fx.Graph(), OneInput(model), ""
        self._layers = layers
        self._marks: dict[int, fx.Node] = {}
        self._calls = {ref.place: 0 for ref in layers}
        self._modules = {module: f"network.{name}" for name, module in model.named_modules()}
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        # By the tensors themselves, which are let go of when the network lets go of them.
        self._nodes = WeakIdKeyDictionary()
        self._names = {id(tensor): f"network.{name}" for name, tensor in named.items()}
        self._nodes[images] = images_node = self.graph.placeholder("images")
        self._of_images = {images_node}
        self._waiting: list[_Call] = []
        self._constants = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Run a function that takes or returns tensors, and note it; what happens inside of it is not seen here."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self._waiting and not self.refusal:
            self._note_function(func, args, kwargs, result)
        return result

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Begin a step that is a module's call; what happens inside belongs to the step."""
        if self._waiting:  # inside another one already
            self._waiting.append(_Call((), {}, None))
            return
        self._waiting.append(_Call((), {}, None))
        self._waiting[-1] = _Call(self._argument(args), self._argument(kwargs), args[0] if args else None)

    def leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """End a step that is a module's call."""
        if len(self._waiting) == 1 and any(True for _ in tensors_in(output)):
            self._note("call_module", self._modules[module], self._waiting[0], output)
        self._waiting.pop()

    def mark(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Mark a layer's output, and give its readers a copy that is known from what others hold of it."""
        return self._marked((module, False), output)

    def mark_given(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Mark what a module is given, where that is the layer."""
        return (self._marked((module, True), args[0]), *args[1:])

    def _marked(self, place: tuple[nn.Module, bool], output: Any) -> Any:
        call, self._calls[place] = self._calls[place], self._calls[place] + 1
        with self._aside():
            for number, ref in enumerate(self._layers):
                if ref.place == place and (ref.call or 0) == call:
                    way, tensor = one_tensor(ref, output)
                    node = self._marks[number] = self.graph.call_function(mark, (self._argument(tensor),))
                    marked = tensor.clone()
                    self._nodes[marked] = node
                    self._of_images.add(node)
                    output = with_tensor(output, way, marked)
        return output

    def finish(self, output: Any) -> RecordedPass:
        """Return the graph, which ends in the tensors of the network's output."""
        nodes = [self._argument(tensor) for tensor in tensors(output)]
        self.graph.output(nodes[0] if isinstance(output, Tensor) else nodes)
        return RecordedPass(self.graph, self.root, tuple(self._marks[number] for number in range(len(self._layers))))

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Work with tensors inside the pass without noting it."""
        self._waiting.append(_Call((), {}, None))
        try:
            yield
        finally:
            self._waiting.pop()

    def _note_function(self, func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> None:
        name = getattr(func, "__name__", "")
        call = _Call(self._argument(args), self._argument(kwargs), args[0] if args else None)
        if name == "__setitem__":
            result = args[0]
        if not any(True for _ in tensors_in(result)):
            if name not in _OF_SHAPES and self._is_of_images(call):
                self.refusal = f"it looks at values inside ({name}), by which another pass may differ"
                raise _Refused
            return
        if name == "__get__":
            call = _Call((*call.args[:1], func.__self__.__name__), {}, call.first)
            self._note("call_function", getattr, call, result)
        elif name in _OPERATORS:
            self._note("call_function", _OPERATORS[name], call, result)
        elif getattr(torch.Tensor, name, None) is func:
            self._note("call_method", name, call, result)
        else:
            self._note("call_function", func, call, result)

    def _note(self, op: str, target: Any, call: _Call, result: Any) -> None:
        """Add a step to the graph; whoever reads what it returned reads it from there."""
        node = self.graph.create_node(op, target, call.args, call.kwargs)
        is_inplace = changed_value(node, self.root) is not None
        node.meta["is_view"] = not is_inplace and any(_share_memory(call.first, each) for _, each in tensors_in(result))
        made = {node}
        if isinstance(result, Tensor):
            self._nodes[result] = node
        else:
            for position, (way, tensor) in enumerate(tensors_in(result)):
                is_plain = isinstance(result, tuple | list) and way == (str(position),)
                part = self.graph.call_function(operator.getitem if is_plain else _part, (node, position))
                part.meta["is_view"] = True
                self._nodes[tensor] = part
                made.add(part)
        if self._is_of_images(call):
            self._of_images |= made

    def _is_of_images(self, call: _Call) -> bool:
        nodes: list[fx.Node] = []
        fx.node.map_arg((call.args, call.kwargs), nodes.append)
        return any(node in self._of_images for node in nodes)

    def _argument(self, value: Any) -> Any:
        """Return what a step is given as the graph has it, with nodes in place of tensors."""
        if isinstance(value, Tensor):
            return self._node_of(value)
        if type(value) in (tuple, torch.Size):
            return tuple(map(self._argument, value))
        if type(value) is list:
            return list(map(self._argument, value))
        if type(value) is dict:
            return {key: self._argument(item) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*map(self._argument, (value.start, value.stop, value.step)))
        leaves, form = pytree.tree_flatten(value)
        if not any(isinstance(leaf, Tensor) for leaf in leaves):
            return value
        made = self.graph.call_function(_built, (cast(Any, form), list(map(self._argument, leaves))))
        if self._is_of_images(_Call(made.args, {}, None)):
            self._of_images.add(made)
        return made

    def _node_of(self, tensor: Tensor) -> fx.Node:
        """Return the step that gave a tensor; of the model's own tensors, and of those that no step gave, a new one."""
        if tensor not in self._nodes:
            name = self._names.get(id(tensor))
            if name is None:
                name = f"constant_{self._constants}"
                self._constants += 1
                setattr(self.root, name, tensor)
            self._nodes[tensor] = self.graph.get_attr(name)
        node: fx.Node = self._nodes[tensor]
        return node


def _share_memory(one: Any, other: Tensor) -> bool:
    if not isinstance(one, Tensor) or one.layout is not torch.strided or other.layout is not torch.strided:
        return False
    return one.numel() > 0 and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _part(value: Any, position: int) -> Tensor:
    """One of the tensors of what a step returned."""
    return next(tensor for number, (_, tensor) in enumerate(tensors_in(value)) if number == position)


def _built(form: pytree.TreeSpec, leaves: Sequence[Any]) -> Any:
    """A container of the network's own, such as a dataclass, that a step is given."""
    return pytree.tree_unflatten(list(leaves), form)
