"""Questions that were answered before: from what decides a result to the folder of the run that has it.

In the user's cache lies a small file for each question, under the hash of all that its answer follows from. The answer
itself is the run, or what was measured and written into one; it is taken only as long as its files are what they were.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch

from unitlens.data.concepts import Data
from unitlens.data.segmentation.segments import fingerprint_of
from unitlens.dissection.files import CONTROLS, COUNTS, EXEMPLARS, GROUPS, RUN, STRIPS, UNITS
from unitlens.dissection.repeating.content import Content, code_sha256, content_of
from unitlens.dissection.result import Dissection, open_run
from unitlens.dissection.work.task import Asked, Task
from unitlens.errors import UnitlensError
from unitlens.files import cache_folder, encoded, json_text, make_folder, read_json, write_whole
from unitlens.models.network import Network

NEVER = "UNITLENS_ANSWERS"
"""Where this variable of the environment is ``none``, nothing is answered from earlier runs, or remembered."""

SCHEMA = 1

_FILES = (RUN, UNITS, COUNTS, EXEMPLARS, STRIPS, CONTROLS, GROUPS)

_SETTLED = 2.0
"""Files have to be older than a run by so many seconds: times of files are coarse, and clocks differ."""

_KNOWN_CODE = ("bundled:", "torchvision.models:")
"""Networks whose code is known by versions of packages; any other code may be changed at any time."""

_HUBS = ("timm:", "hf:")
"""Networks whose code is known likewise, but whose structure is said by a configuration that may be a file."""


@dataclass(frozen=True)
class Question:
    """What a result follows from, as a hash.

    Attributes
    ----------
    key : str
    data : Data
    content : Content
        Of the data, before the run.
    files : tuple of str
        That hold an answer, as far as they are there.
    """

    key: str
    data: Data
    content: Content
    files: tuple[str, ...]

    @classmethod
    def of(cls, task: Task, *, recorded: Mapping[str, Any], began: float) -> Self | None:
        """Hash what a dissection follows from; see `about`."""

        def asked() -> dict[str, Any]:
            return {
                name: value for name, value in Asked.of(task, recorded=recorded).to_json().items() if name != "machine"
            }

        return cls.about(task.net, task.data, asked, files=_FILES, began=began)

    @classmethod
    def about(
        cls,
        net: Network,
        data: Data,
        asked: Callable[[], Mapping[str, Any]],
        *,
        files: tuple[str, ...],
        began: float,
    ) -> Self | None:
        """Hash what is asked of a network and images.

        Not in it: how many workers and threads there are, which may round otherwise, and the processor; a result says
        where it was made.

        Parameters
        ----------
        net : Network
        data : Data
        asked : callable
            Returns all else that the answer follows from, the network's weights among it, as JSON may hold it.
        files : tuple of str
            In which an answer is saved, those that may be missing among them.
        began : float
            When the data were opened, in seconds since 1970.

        Returns
        -------
        Question or None
            None where that cannot be known cheaply: networks that are code of somebody else, images in memory, data
            sets that are code, segmenters without a fingerprint, files that have changed just now.
        """
        structure = _structure(net)
        if os.environ.get(NEVER) == "none" or structure is None:
            return None
        content = content_of(data)
        if content is None or content.changed > began - _SETTLED:
            return None
        decisive = {
            "schema": SCHEMA,
            "asked": asked(),
            "structure": structure,
            "data": content.described,
            "code": code_sha256(),
            "packages": _packages(),
        }
        text = json.dumps(decisive, sort_keys=True)
        return cls(hashlib.sha256(encoded(text)).hexdigest(), data, content, files)

    @property
    def file(self) -> Path:
        """In the user's cache."""
        return cache_folder("answers") / f"{self.key}.json"

    def folder(self) -> Path | None:
        """The folder that has the answer, if its files are still what they were."""
        try:
            saved = read_json(self.file)
            folder = Path(saved["run"])
            return folder if saved["files"] and saved["files"] == file_hashes(folder, self.files) else None
        except (UnitlensError, OSError, KeyError, TypeError, ValueError):
            return None

    def answer(self) -> tuple[Path, Dissection] | None:
        """The run that has the answer and its folder, if it is still there as it was written."""
        folder = self.folder()
        try:
            return None if folder is None else (folder, open_run(folder))
        except UnitlensError:
            return None

    def remember(self, folder: Path, *, skipped: Sequence[Any]) -> None:
        """Note that a folder has the answer: not where images could not be read, or files changed meanwhile."""
        if skipped or content_of(self.data) != self.content:
            return
        with suppress(UnitlensError, OSError):  # the next one computes it again
            make_folder(self.file.parent)
            entry = {"run": str(folder.resolve()), "files": file_hashes(folder, self.files)}
            write_whole(self.file, json_text(entry))


def _structure(net: Network) -> str | None:
    """What tells a network from others of its name and weights; None where its code may be changed at any time."""
    if net.name.startswith(_HUBS):
        config = getattr(net.model, "config", None)  # of Hugging Face's networks
        return fingerprint_of(net.model, repr(config), weights="")
    known = net.name.startswith(_KNOWN_CODE) and "quant" not in net.name  # whose weights are packed away
    return "" if known else None


def file_hashes(folder: Path, names: Sequence[str] = _FILES) -> dict[str, str]:
    """SHA-256 of each file of some names that is there, of a run or of what was measured."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names if (folder / name).is_file()
    }


def _packages() -> dict[str, str]:
    """Packages whose arithmetic a result rests on, beside those that run.json names."""
    found = {"torch": f"{torch.__version__} {torch.version.git_version}"}
    for package in ("scipy", "pandas", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
