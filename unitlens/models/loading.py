"""Build the network that a name stands for: ``resnet18``, ``timm:NAME``, ``file.py:callable``, ..."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.export import ExportedProgram

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.hubs import HUBS, hub_network
from unitlens.models.layers import told, uncompiled
from unitlens.models.preprocessing import Said, said_by
from unitlens.models.torchvision import other_names, zoo_names, zoo_network
from unitlens.models.weights import put_weights, read_weights


class Built(NamedTuple):
    """A network, and what is known about it.

    Attributes
    ----------
    model : nn.Module
        The module.
    name : str
        Its full name, ``torchvision.models:resnet18`` for ``resnet18``.
    said : Said
        What it says about images.
    classes : tuple of str or None
        The names of its outputs, where known.
    default_layer : str or None
        The layer to look at if none is named.
    """

    model: nn.Module
    name: str
    said: Said
    classes: tuple[str, ...] | None = None
    default_layer: str | None = None


def build(spec: str, *, weights: str | None, seed: int) -> Built:
    """Build the network that ``spec`` names; see `unitlens.models.network.load`.

    Weights that are drawn at random are drawn under ``seed``; PyTorch's own generator is as before afterwards.
    """
    source, _, attribute = spec.rpartition(":")
    if source == "bundled" or spec == "bundled":
        return _bundled(spec, weights, seed)
    hub, _, name = spec.partition(":")
    with _seeded(seed):
        if hub in HUBS and name:
            model, said, classes = hub_network(hub, name, weights)
            return Built(model, spec, said, classes)
        if source == "" or _is_torchvisions(source, attribute):
            name = _zoo_name(attribute if "quantization" not in source else f"quantized_{attribute}")
            model, said, classes = zoo_network(name, weights)
            return Built(model, f"{zoo_names()[name]}:{name}", said, classes)
        model = _called(spec, source, attribute)
    if weights == "DEFAULT":
        raise UnitlensError(
            f"DEFAULT weights are there for networks of torchvision, timm and Hugging Face, not for {spec}: give a "
            "file of weights, or nothing to take the network as it is returned."
        )
    if weights not in (None, "none"):
        put_weights(model, read_weights(weights), weights)
    return Built(model, spec, said_by(model))


def _bundled(spec: str, weights: str | None, seed: int) -> Built:
    if spec != "bundled:scenes":
        raise UnitlensError(f"There is no network {spec!r}; the one that comes along is bundled:scenes.")
    from unitlens.models import bundled

    trained = weights in (None, "DEFAULT")
    model = bundled.scene_net(weights=None if trained else "none", seed=seed)
    if not trained and weights != "none":
        put_weights(model, read_weights(str(weights)), str(weights))
    side = bundled.IMAGE_SIZE
    said = Said((side, side), None, bundled.MEAN, bundled.STD)
    return Built(model, spec, said, tuple(bundled.CLASSES), bundled.DEFAULT_LAYER)


def _is_torchvisions(source: str, attribute: str) -> bool:
    own = source.split(".")[:2] == ["torchvision", "models"]
    return own and (attribute in zoo_names() or attribute in other_names())


def _zoo_name(name: str) -> str:
    if name in zoo_names():
        return name
    if name.endswith(_FILES):
        raise UnitlensError(
            f"{name} is no network by name; a file of weights goes with --weights to the network that they are for, "
            "and TorchScript or an exported program is loaded in a function of yours: path/to/file.py:callable."
        )
    if name.endswith(".py"):
        raise UnitlensError(f"{name} is a file; say which function of it returns the network: {name}:NAME.")
    if name in other_names():
        raise UnitlensError(
            f"{name} of torchvision is left out, as it {other_names()[name]}: unitlens shows a network single "
            "images, in floating-point numbers."
        )
    raise UnitlensError(
        f"There is no network {name!r} in torchvision{did_you_mean(name, zoo_names())}; a network of another origin "
        "is given as package.module:callable or path/to/file.py:callable."
    )


_FILES = (".pt", ".pth", ".pt2", ".bin", ".onnx", ".safetensors", ".ckpt")


def _called(spec: str, source: str, attribute: str) -> nn.Module:
    """Import what a spec names, and call it unless it is a network already."""
    if source.endswith(".py"):
        with _importable(Path(source).parent):
            return _network(spec, _attribute(_file(source), source, attribute))
    return _network(spec, _attribute(_module(source), source, attribute))


def _file(source: str) -> ModuleType:
    path = Path(source).resolve()
    if not path.is_file():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*.py")))
        raise UnitlensError(f"There is no file {source!r}{near}.")
    name = f"unitlens_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UnitlensError(f"{source!r} cannot be imported as a Python file.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by name
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UnitlensError(f"Importing {source} failed: {told(error)}.") from error
    return module


def _module(source: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name and (source == error.name or source.startswith(f"{error.name}.")):
            raise UnitlensError(
                f"There is no module {error.name!r} to import {source!r} from; is it installed in this Python? "
                "A file is given as path/to/file.py:callable."
            ) from None
        raise UnitlensError(f"Importing {source} failed: {told(error)}.") from error
    except (Exception, SystemExit) as error:
        raise UnitlensError(f"Importing {source} failed: {told(error)}.") from error


def _attribute(module: ModuleType, source: str, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnitlensError(f"There is no {attribute!r} in {source}{did_you_mean(part, dir(found))}.")
        found = getattr(found, part)
    return found


def _network(spec: str, found: Any) -> nn.Module:
    if callable(found) and not isinstance(found, nn.Module | ExportedProgram):
        try:
            found = found()
        except UnitlensError:
            raise
        except (Exception, SystemExit) as error:
            raise UnitlensError(f"{spec}() failed: {told(error)}.") from error
        what = "returned"
    else:
        what = "is"
    model = as_module(found)
    if model is None:
        raise UnitlensError(
            f"{spec} {what} a {type(found).__name__}; it must be a torch.nn.Module, or a function without arguments "
            "that returns one."
        )
    return model


def as_module(found: Any) -> nn.Module | None:
    """What a network is as a module in which hooks can be attached; None if it is no network.

    Of a compiled one it is the original, and of an exported program the modules that it was exported from.
    """
    if isinstance(found, ExportedProgram):
        from torch.export.unflatten import unflatten

        return unflatten(found)
    return uncompiled(found) if isinstance(found, nn.Module) else None


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours while it is loaded.

    What it imported is forgotten by name afterwards, so that a file in another folder gets its own neighbours.
    """
    path = str(folder.resolve())
    if path in sys.path:
        yield
        return
    before = set(sys.modules)
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)
        tops = {name for name in set(sys.modules) - before if "." not in name and _lies_in(sys.modules[name], path)}
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in tops:
                del sys.modules[name]


def _lies_in(module: ModuleType, folder: str) -> bool:
    """Say if a module is a file in the folder, or a package whose own folder is."""
    file = Path(getattr(module, "__file__", None) or "/")
    home = file.parent.parent if file.name == "__init__.py" else file.parent
    return str(home) == folder and not module.__name__.startswith("unitlens_file_")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        yield
