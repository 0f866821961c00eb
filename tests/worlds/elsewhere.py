"""A device that no machine has, on which everything is computed as here: what is mixed or waited for is an error.

Tensors there say that they are on the device "meta", and hold one of this process. As with a GPU, they do not go into
operations with tensors of this process (but for single numbers and indices), nor into NumPy; random numbers of a
generator of this process cannot be drawn there; and integers have no matrix products.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from unitlens.dissection import forward
from unitlens.models import transfers

DEVICE = torch.device("meta")

aten = torch.ops.aten

BETWEEN_DEVICES = {aten.copy_.default, aten._to_copy.default}

INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._unsafe_index.Tensor}

PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.mv.default, aten.convolution.default}

MIXED = "Expected all tensors to be on the same device, but found at least two devices, there and here"


class There(torch.Tensor):
    """A tensor on the device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here):
        form = {"strides": here.stride(), "storage_offset": here.storage_offset(), "dtype": here.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, here.size(), **form, device=DEVICE)

    def __init__(self, here):
        self.here = here

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})

    def __deepcopy__(self, memo):
        with torch.no_grad():
            copied = There(self.here.clone())
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied

    def __getitem__(self, index):
        return super().__getitem__(as_tensors(index))

    def __setitem__(self, index, value):
        super().__setitem__(as_tensors(index), value)

    def tolist(self):
        return self.here.tolist()

    def numpy(self, *, force=False):
        if not force:
            raise TypeError("can't convert a tensor of another device to numpy")
        return self.here.detach().numpy()

    def __array__(self, *_, **__):
        return self.numpy()


def as_tensors(index):
    """Lists in an index as tensors, which torch would make itself on the device, where nothing is."""
    if isinstance(index, tuple):
        return tuple(map(as_tensors, index))
    return torch.tensor(index) if isinstance(index, list | np.ndarray) else index


def computed(function, args, kwargs):
    """What an operation gives; an error where a GPU would refuse it."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there, here = ([t for t in tensors if isinstance(t, There) == is_there] for is_there in (True, False))
    if any(tensor.device == DEVICE for tensor in here):
        raise RuntimeError(f"{function} is given a tensor without values")
    target = kwargs.get("device")
    gives_there = bool(there) if target is None else torch.device(target) == DEVICE
    if function in BETWEEN_DEVICES:
        gives_there = isinstance(args[0], There) if function is aten.copy_.default else gives_there
    else:
        check_device(function, args, there, here, gives_there, kwargs)
    args, kwargs = tree_map(lambda leaf: leaf.here if isinstance(leaf, There) else leaf, (args, kwargs))
    if target is not None:
        kwargs |= {"device": torch.device("cpu")}
    result = function(*args, **{key: value for key, value in kwargs.items() if key != "non_blocking"})
    given = {id(tensor.here): tensor for tensor in there}
    return tree_map(lambda leaf: moved(leaf, given), result) if gives_there else result


def check_device(function, args, there, here, gives_there, kwargs):
    if function in INDEXING:
        here = [arg for arg in (args[0], *args[2:3]) if isinstance(arg, torch.Tensor) and not isinstance(arg, There)]
    if there and any(tensor.ndim for tensor in here):
        raise RuntimeError(f"{MIXED} ({function})")
    if gives_there and kwargs.get("generator") is not None:
        raise RuntimeError(f"{function} draws on the device from a generator that is here")
    if function in PRODUCTS and there and not there[0].is_floating_point():
        raise RuntimeError(f"{function} is not implemented on the device for {there[0].dtype}")


def moved(result, given):
    if not isinstance(result, torch.Tensor):
        return result
    return given[id(result)] if id(result) in given else There(result.detach())


class _Elsewhere(TorchDispatchMode):
    """What is made for the device, or brought there, is there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return computed(function, args, kwargs or {})


class _Event:
    def synchronize(self):
        pass


def _made_there(make):
    """`torch.tensor` and the like, which go around all modes."""

    def made(data, *args, device=None, **kwargs):
        if isinstance(data, There):
            return data.to(device=device, **kwargs)
        result = make(data, *args, **kwargs)
        return result if device is None else result.to(device)

    return made


@contextmanager
def another_device(patch):
    """Inside the ``with``, `DEVICE` is a device that works ahead, as a GPU does."""
    patch.setattr(transfers, "_pinned", lambda tensor: tensor)
    patch.setattr(transfers, "_room", lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
    patch.setattr(transfers, "_event", lambda device: _Event())
    for module in (transfers, forward):
        patch.setattr(module, "is_ahead", lambda device: device == DEVICE)
    for name in ("tensor", "as_tensor"):
        patch.setattr(torch, name, _made_there(getattr(torch, name)))
    # such tensors cannot be made in inference mode
    patch.setattr(torch, "inference_mode", lambda mode=True: torch.set_grad_enabled(not mode))
    with _Elsewhere():
        yield
