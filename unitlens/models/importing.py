"""Import a network, or anything else that has a name, from a Python module or file."""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.layers import describe_error, uncompiled


def import_network(spec: str) -> nn.Module:
    """Import what ``package.module:callable`` or ``path/to/file.py:callable`` names, and call it.

    A module of PyTorch is taken as it is.

    Raises
    ------
    UnitlensError
        If there is no such file, module or name, importing or calling it fails, or it does not give a network.
    """
    with imported(spec) as target:
        return _network(spec, target)


@contextmanager
def imported(spec: str) -> Iterator[Any]:
    """Import what ``package.module:name`` or ``path/to/file.py:name`` names; inside the ``with`` it may be called.

    Raises
    ------
    UnitlensError
        If there is no such file, module or name, or importing it fails.
    """
    source, _, attribute = spec.rpartition(":")
    if source.endswith(".py"):
        with _importable(Path(source).parent):
            yield _attribute(_file(source), source, attribute)
    else:
        yield _attribute(_module(source), source, attribute)


def _file(source: str) -> ModuleType:
    path = Path(source).resolve()
    if not path.is_file():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*.py")))
        raise UnitlensError(f"There is no file {source!r}{near}.")
    name = f"unitlens_file_{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UnitlensError(f"{source!r} cannot be imported as a Python file.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by name
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UnitlensError(f"Importing {source} failed: {describe_error(error)}.") from error
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
        raise UnitlensError(f"Importing {source} failed: {describe_error(error)}.") from error
    except (Exception, SystemExit) as error:
        raise UnitlensError(f"Importing {source} failed: {describe_error(error)}.") from error


def _attribute(module: ModuleType, source: str, attribute: str) -> Any:
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise UnitlensError(f"There is no {attribute!r} in {source}{did_you_mean(part, dir(value))}.")
        value = getattr(value, part)
    return value


def _network(spec: str, target: Any) -> nn.Module:
    if callable(target) and not isinstance(target, nn.Module | ExportedProgram):
        target = called(spec, target)
        what = "returned"
    else:
        what = "is"
    model = as_module(target)
    if model is None:
        raise UnitlensError(
            f"{spec} {what} a {type(target).__name__}; it must be a torch.nn.Module, or a function without arguments "
            "that returns one."
        )
    return model


def called(spec: str, target: Callable[[], Any]) -> Any:
    """Return what something that was imported gives when it is called without arguments.

    Raises
    ------
    UnitlensError
        If calling it fails.
    """
    try:
        return target()
    except UnitlensError:
        raise
    except (Exception, SystemExit) as error:
        raise UnitlensError(f"{spec}() failed: {describe_error(error)}.") from error


def as_module(target: Any) -> nn.Module | None:
    """Return a network as a module to which hooks can be attached; None if it is not a network.

    Of a compiled one it is the original, and of an exported program the modules that it was exported from.
    """
    if isinstance(target, ExportedProgram):
        from torch.export.unflatten import unflatten

        return unflatten(target)
    return uncompiled(target) if isinstance(target, nn.Module) else None


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
    """Return whether a module is a file in the folder, or a package whose own folder is."""
    file = Path(getattr(module, "__file__", None) or "/")
    home = file.parent.parent if file.name == "__init__.py" else file.parent
    return str(home) == folder and not module.__name__.startswith("unitlens_file_")
