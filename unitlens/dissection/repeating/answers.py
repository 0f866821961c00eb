"""Questions that were answered before: from what decides a result to the folder of the run that has it.

In the user's cache lies a small file for each question, under the hash of all that its answer follows from. The answer
itself is the run, or what was measured and written into one; it is taken only as long as its files are what they were.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from unitlens.data.segmentation.segments import fingerprint_of
from unitlens.dissection.files import CONTROLS, COUNTS, EXEMPLARS, GROUPS, RUN, STRIPS, UNITS
from unitlens.dissection.provenance import versions
from unitlens.dissection.repeating.beginning import file_sha256, is_settled
from unitlens.dissection.repeating.content import Content, code_sha256, content_of
from unitlens.dissection.result import Dissection, open_run
from unitlens.dissection.work.task import Asked, Task
from unitlens.errors import UnitlensError
from unitlens.files import cache_folder, encoded, json_text, make_folder, read_json, uninterrupted, write_whole
from unitlens.models.network import Network

NEVER = "UNITLENS_ANSWERS"
"""Where this variable of the environment is ``none``, nothing is answered from earlier runs, or remembered."""

SCHEMA = 1

FILES = (RUN, UNITS, COUNTS, EXEMPLARS, STRIPS, CONTROLS, GROUPS)
"""Of a run, that say what was found."""

_KNOWN_CODE = ("bundled:", "torchvision.models:")
"""Networks whose code is known by versions of packages; any other code may be changed at any time."""

_HUBS = ("timm:", "hf:")
"""Networks whose code is known likewise, but whose structure is said by a configuration that may be a file."""


class KnownAnswer(NamedTuple):
    """An answer that was remembered.

    Attributes
    ----------
    folder : Path
        Of the run, or of what was measured.
    files : mapping of str to str
        SHA-256 of its files there, by their names.
    said : str
        What whoever asked for it was told of it.
    warnings : tuple of str
        Of which they were warned.
    """

    folder: Path
    files: Mapping[str, str]
    said: str
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a file of the cache; None where it is not there, or holds no answer."""
        try:
            saved = read_json(path)
            return cls(Path(saved["run"]), dict(saved["files"]), str(saved["said"]), tuple(map(str, saved["warnings"])))
        except (UnitlensError, OSError, KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Question:
    """What a result follows from, as a hash.

    Attributes
    ----------
    key : str
    files : tuple of str
        That hold an answer, or patterns of their names, as far as they are there; see `file_hashes`.
    key_now : callable
        Returns the key of the same question by now: another one, or None, where what the result follows from has
        changed.
    """

    key: str
    files: tuple[str, ...]
    key_now: Callable[[], str | None] = field(compare=False, repr=False)

    @classmethod
    def of(cls, task: Task, *, recorded: Mapping[str, Any], began: float) -> Self | None:
        """Hash what a dissection follows from; see `about`."""

        @cache
        def asked() -> dict[str, Any]:
            return {
                name: value for name, value in Asked.of(task, recorded=recorded).to_json().items() if name != "machine"
            }

        return cls.about(task.net, lambda: content_of(task.data), asked, files=FILES, began=began)

    @classmethod
    def about(
        cls,
        net: Network | None,
        content: Callable[[], Content | None],
        asked: Callable[[], Mapping[str, Any] | None],
        *,
        files: tuple[str, ...],
        began: float,
        packages: Sequence[str] = (),
    ) -> Self | None:
        """Hash what is asked of a network and images.

        Not in it: how many workers and threads there are, which may round otherwise, and the processor; a result says
        where it was made.

        Parameters
        ----------
        net : Network or None
            None where none is looked at.
        content : callable
            Returns what tells the images from others; None where that is not known.
        asked : callable
            Returns all else that the answer follows from, the network's weights among it, as JSON may hold it; None
            where that is not known.
        files : tuple of str
            In which an answer is saved, those that may be missing among them.
        began : float
            When the data were opened, in seconds since 1970.
        packages : sequence of str
            Whose arithmetic the answer rests on, beside those on which all do.

        Returns
        -------
        Question or None
            None where that cannot be known cheaply: networks that are code of somebody else, images in memory, data
            sets that are code, segmenters without a fingerprint, files that have changed just now.
        """
        structure = "" if net is None else _structure(net)
        if _is_off() or structure is None:
            return None

        def key_now() -> str | None:
            try:
                known = content()
                if known is None or not is_settled(known.changed, began):
                    return None
                words = asked()
                if words is None:
                    return None
                decisive = {
                    "schema": SCHEMA,
                    "asked": words,
                    "structure": structure,
                    "data": known.described,
                    "code": code_sha256(),
                    "packages": _packages(packages),
                }
            except OSError:  # a file that cannot be read: whoever reads it says so
                return None
            return hashlib.sha256(encoded(json.dumps(decisive, sort_keys=True))).hexdigest()

        key = key_now()
        return None if key is None else cls(key, files, key_now)

    @property
    def file(self) -> Path:
        """In the user's cache."""
        return _cache() / f"{self.key}.json"

    def answer(self) -> KnownAnswer | None:
        """The answer, if its files are still what they were."""
        known = KnownAnswer.read(self.file)
        try:
            same = known is not None and known.files and known.files == file_hashes(known.folder, self.files)
        except (OSError, ValueError):
            return None
        return known if same else None

    def answering_run(self) -> tuple[Path, Dissection] | None:
        """The run that has the answer and its folder, if it is still there as it was written."""
        known = self.answer()
        try:
            return None if known is None else (known.folder, open_run(known.folder))
        except UnitlensError:
            return None

    def remember(self, folder: Path, *, skipped: Sequence[Any], said: str = "", warnings: Sequence[str] = ()) -> None:
        """Note that a folder has the answer: not where images could not be read, or files changed meanwhile.

        Parameters
        ----------
        folder : Path
        skipped : sequence
            Images that could not be read.
        said, warnings : optional
            As in `KnownAnswer`.
        """
        if skipped:
            return
        with uninterrupted(), suppress(UnitlensError, OSError):  # else the next one computes it again
            files = file_hashes(folder, self.files)  # first, as another process may write there meanwhile
            if self.key_now() != self.key:
                return
            make_folder(self.file.parent)
            entry = {"run": str(folder.resolve()), "files": files, "said": said, "warnings": list(warnings)}
            write_whole(self.file, json_text(entry))


def is_answer(file: Path) -> bool:
    """Whether a file is, as it is, all of the answer to any question that was asked before.

    It looks through all that was remembered, which takes less time than to open a network and its images.
    """
    if _is_off():
        return False
    try:
        folder, files = file.parent.resolve(), {file.name: file_sha256(file)}
    except OSError:  # it is not there, a folder, or cannot be read
        return False
    remembered = (KnownAnswer.read(path) for path in _cache().glob("*.json"))
    return any(known is not None and (known.folder, known.files) == (folder, files) for known in remembered)


def _is_off() -> bool:
    """Whether the environment switches off that questions are answered from earlier runs."""
    return os.environ.get(NEVER) == "none"


def _cache() -> Path:
    return cache_folder("answers")


def _structure(net: Network) -> str | None:
    """What tells a network from others of its name and weights; None where its code may be changed at any time."""
    if net.name.startswith(_HUBS):
        config = getattr(net.model, "config", None)  # of Hugging Face's networks
        return fingerprint_of(net.model, repr(config), weights="")
    known = net.name.startswith(_KNOWN_CODE) and "quant" not in net.name  # whose weights are packed away
    return "" if known else None


def file_hashes(folder: Path, names: Sequence[str] = FILES) -> dict[str, str]:
    """SHA-256 of files of a run, or of what was measured, by their names; of folders among them, of all files inside.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        Names, or patterns of names such as ``explanation.*``; those of which there is nothing are left out.
    """
    found: dict[str, str] = {}
    for path in sorted(path for name in names for path in folder.glob(name)):
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found |= {file.relative_to(folder).as_posix(): file_sha256(file) for file in inside if file.is_file()}
    return found


def _packages(further: Sequence[str]) -> dict[str, str]:
    """Packages whose arithmetic a result rests on: those that run.json names, a few that all use, and further ones."""
    found = versions() | {"torch": f"{torch.__version__} {torch.version.git_version}"}
    for package in ("scipy", "pandas", "safetensors", *further):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
