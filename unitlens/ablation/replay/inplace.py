"""Steps that write into memory, replaced by steps that leave their inputs as they are.

A network may overwrite a value (``relu_``, ``+=``, ``x[:, 0] = 1``), and with it every other value in the same memory:
the tensor that it is a view of, and other views of that. A replay keeps values and reads them again, so it must not
overwrite any: every later reader is pointed to the changed value instead.
"""

import copy
import inspect
import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import fx, nn

View = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]
"""How a view is taken: the function, and its arguments behind the value that is viewed."""

# fmt: off
_VIEWS = (
    "chunk", "detach", "diagonal", "expand", "expand_as", "flatten", "moveaxis", "movedim", "narrow", "permute",
    "ravel", "reshape", "select", "split", "squeeze", "swapaxes", "swapdims", "t", "tensor_split", "transpose",
    "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as",
)
# fmt: on
"""Functions and methods whose result is, nearly always, in the memory of their first argument."""

_VIEW_ATTRIBUTES = ("T", "mT", "data")

_VIEW_MODULES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def read_changed_values(graph: fx.Graph, root: nn.Module) -> None:
    """Let every later reader of a value that a step changes in place read the changed value instead.

    After this no step has to work in place. Views are recognised by the functions that take them; where values share
    memory in another way, the check on real images finds it.

    Parameters
    ----------
    graph : fx.Graph
        Changed in place.
    root : nn.Module
        The module that was traced.
    """
    passed: set[fx.Node] = set()
    for node in list(graph.nodes):
        passed.add(node)
        changed = changed_value(node, root)
        if changed is None:
            continue
        base = _base(changed, root)
        aliases = [base, *_views_of(base, root, passed)]
        stale = [alias for alias in aliases if not passed.issuperset(alias.users)]
        with graph.inserting_before(node.next):
            if all(alias is changed for alias in stale):  # nothing else in this memory is read again
                fresh = {changed: node}
            elif changed is base:
                fresh = {base: node}
            else:
                # A view was written into: do the same in a copy of the whole, and take the views from that. Readers of
                # the step's own result take the view too, so that writing into that later reaches the whole again.
                views: Any = _views_between(base, changed, root)
                fresh = {base: graph.call_function(_written, (base, node, views))}
                fresh[node] = _taken_from(fresh, changed, graph, root)
                stale.append(node)
            renewed = {alias: _taken_from(fresh, alias, graph, root) for alias in stale}
        passed.update(fresh.values())
        for alias, value in renewed.items():
            for reader in [user for user in alias.users if user not in passed]:
                reader.replace_input_with(alias, value)


def changed_value(node: fx.Node, root: nn.Module) -> fx.Node | None:
    """Return the value that a step changes in place, if it does."""
    out = node.kwargs.get("out")
    if isinstance(out, fx.Node):
        return out
    if not node.args or not isinstance(node.args[0], fx.Node):
        return None
    return node.args[0] if _is_inplace(node, root) else None


def call_in_front(node: fx.Node, root: nn.Module) -> Callable[..., Any]:
    """Return what a step in front of the cut runs: in place only where nothing else reads the value that it changes."""
    changed = changed_value(node, root)
    if changed is None:
        return _as_written(node, root)
    is_free = len(changed.users) == 1 and changed.op not in ("placeholder", "get_attr")
    if is_free and _viewed(changed, root) is None and node.target is not operator.setitem:
        return _as_written(node, root)
    return call_sparing(node, root)


def call_sparing(node: fx.Node, root: nn.Module) -> Callable[..., Any]:
    """Return what a step runs so that it changes none of its inputs."""
    call = _as_written(node, root)
    if changed_value(node, root) is None:
        return call if _is_torchs_own(call) else partial(_with_copies, call)
    if isinstance(call, nn.Module):
        alike: Callable[..., Any] = copy.copy(call)  # shares parameters and buffers with the model's module
        alike.inplace = False  # type: ignore[attr-defined]
        return alike
    if node.target in _OUT_OF_PLACE:
        return _OUT_OF_PLACE[node.target]
    return partial(_with_copies, call)


def _viewed(node: fx.Node, root: nn.Module) -> fx.Node | None:
    """Return the value that a step takes a view of, if it does."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return None
    if "is_view" in node.meta:  # of a pass that was recorded, where the memory was seen
        is_view = node.meta["is_view"]
    elif node.op == "call_module":
        is_view = isinstance(root.get_submodule(str(node.target)), _VIEW_MODULES)
    elif node.op == "call_method":
        is_view = node.target in _VIEWS
    elif node.target is operator.getitem:
        index = node.args[1]
        is_view = all(isinstance(part, int | slice | None) or part is ... for part in _as_tuple(index))
    elif node.target is getattr:
        is_view = node.args[1] in _VIEW_ATTRIBUTES
    else:
        is_view = getattr(node.target, "__name__", "") in _VIEWS
    return node.args[0] if is_view else None


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _base(node: fx.Node, root: nn.Module) -> fx.Node:
    """Return the value that a value is a view of, or a view of a view and so on; itself if it is none."""
    viewed = _viewed(node, root)
    return node if viewed is None else _base(viewed, root)


def _views_of(node: fx.Node, root: nn.Module, among: set[fx.Node]) -> list[fx.Node]:
    """Return the views of a value, their views, and so on."""
    views = [user for user in node.users if user in among and _viewed(user, root) is node]
    return views + [inner for view in views for inner in _views_of(view, root, among)]


def _views_between(base: fx.Node, node: fx.Node, root: nn.Module) -> tuple[View, ...]:
    """Return how to get from a value to one of its views."""
    viewed = _viewed(node, root)
    if node is base or viewed is None:
        return ()
    return (*_views_between(base, viewed, root), (_as_written(node, root), node.args[1:], node.kwargs))


def _taken_from(fresh: dict[fx.Node, fx.Node], view: fx.Node, graph: fx.Graph, root: nn.Module) -> fx.Node:
    """Take a view anew, of the fresh value of what it is a view of; all that is new is noted in ``fresh``."""
    if view not in fresh:
        viewed = _viewed(view, root)
        assert viewed is not None
        source = _taken_from(fresh, viewed, graph, root)
        fresh[view] = graph.node_copy(view, lambda node: source if node is viewed else node)
    return fresh[view]


def _written(base: Any, value: torch.Tensor, views: tuple[View, ...]) -> Any:
    """Return a copy of ``base`` that has ``value`` where the views, one of the other, lead."""
    changed = part = _copied(base)
    for call, args, kwargs in views:
        part = call(part, *args, **kwargs)
    part.copy_(value)
    return changed


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    return type(value)(map(_copied, value)) if isinstance(value, tuple | list) else value


def _with_item(value: torch.Tensor, index: Any, item: Any) -> torch.Tensor:
    changed = value.clone()
    changed[index] = item
    return changed


_OUT_OF_PLACE: Mapping[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
    operator.setitem: _with_item,
}


def _is_inplace(node: fx.Node, root: nn.Module) -> bool:
    """Say whether a step changes its first argument."""
    if node.op == "call_module":
        return getattr(root.get_submodule(str(node.target)), "inplace", False) is True
    if node.op == "call_method":
        return _ends_in_one_underscore(str(node.target))
    if node.op != "call_function" or not callable(node.target):
        return False
    name = getattr(node.target, "__name__", "")
    return node.target in _OUT_OF_PLACE or _ends_in_one_underscore(name) or _inplace_argument(node) is True


def _ends_in_one_underscore(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _inplace_argument(node: fx.Node) -> Any:
    """Return the value of a function's ``inplace`` argument, None where it has no such argument."""
    if "inplace" in node.kwargs:
        return node.kwargs["inplace"]
    if len(node.args) < 2:
        return None
    try:
        names = list(inspect.signature(node.target).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # functions written in C have no signature, and no such argument
        return None
    given = dict(zip(names, node.args, strict=False))
    return given.get("inplace")


def _as_written(node: fx.Node, root: nn.Module) -> Callable[..., Any]:
    if node.op == "call_module":
        return root.get_submodule(str(node.target))
    if node.op == "call_method":
        return partial(_call_method, str(node.target))
    if node.op == "get_attr":
        return partial(operator.attrgetter(str(node.target)), root)
    return cast(Callable[..., Any], node.target)


def _call_method(name: str, value: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(value, name)(*args, **kwargs)


def _is_torchs_own(call: Callable[..., Any]) -> bool:
    """Say whether a step is known to leave its inputs alone: a function, or one of torch's modules with none inside."""
    if not isinstance(call, nn.Module):
        return True
    return type(call).__module__.startswith("torch.nn.") and not any(call.children())


def _with_copies(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a step on copies of the tensors that it is given."""
    copied = {name: _copied(value) if isinstance(value, torch.Tensor) else value for name, value in kwargs.items()}
    return call(*(arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args), **copied)
