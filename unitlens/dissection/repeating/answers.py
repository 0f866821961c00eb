"""Questions that were answered before: from what decides a result to the folder of the run that has it.

In the user's cache lies a small file for each question, under the hash of all that its answer follows from. The answer
itself is the run, where it was written; it is taken only as long as its files are what they were.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch

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
    task : Task
    content : Content
        Of the data, before the run.
    began : float
        When the data were opened, in seconds since 1970.
    """

    key: str
    task: Task
    content: Content
    began: float

    @classmethod
    def of(cls, task: Task, *, recorded: Mapping[str, Any], began: float) -> Self | None:
        """Hash what the result of a task follows from.

        Not in it: how many workers and threads there are, which may round otherwise, and the processor; a result says
        where it was made.

        Returns
        -------
        Question or None
            None where that cannot be known cheaply: networks that are code of somebody else, images in memory, data
            sets that are code, segmenters without a fingerprint, files that have changed just now.
        """
        structure = _structure(task.net)
        if os.environ.get(NEVER) == "none" or structure is None:
            return None
        content = content_of(task.data)
        if content is None or content.changed > began - _SETTLED:
            return None
        asked = Asked.of(task, recorded=recorded).to_json()
        del asked["machine"]
        decisive = {
            "schema": SCHEMA,
            "asked": asked,
            "structure": structure,
            "data": content.described,
            "code": code_sha256(),
            "packages": _packages(),
        }
        text = json.dumps(decisive, sort_keys=True)
        return cls(hashlib.sha256(encoded(text)).hexdigest(), task, content, began)

    @property
    def file(self) -> Path:
        """In the user's cache."""
        return cache_folder("answers") / f"{self.key}.json"

    def answer(self) -> tuple[Path, Dissection] | None:
        """The run that has the answer and its folder, if it is still there as it was written."""
        try:
            saved = read_json(self.file)
            folder = Path(saved["run"])
            if saved["files"] != _hashes(folder):
                return None
            return folder, open_run(folder)
        except (UnitlensError, OSError, KeyError, TypeError, ValueError):
            return None

    def remember(self, folder: Path, result: Dissection) -> None:
        """Note that a run has the answer: not where images could not be read, or files changed meanwhile."""
        if result.info["data"]["skipped"] or content_of(self.task.data) != self.content:
            return
        with suppress(UnitlensError, OSError):  # the next one computes it again
            make_folder(self.file.parent)
            entry = {"run": str(folder.resolve()), "files": _hashes(folder)}
            write_whole(self.file, json_text(entry))


def _structure(net: Network) -> str | None:
    """What tells a network from others of its name and weights; None where its code may be changed at any time."""
    if net.name.startswith(_HUBS):
        config = getattr(net.model, "config", None)  # of Hugging Face's networks
        return fingerprint_of(net.model, repr(config), weights="")
    known = net.name.startswith(_KNOWN_CODE) and "quant" not in net.name  # whose weights are packed away
    return "" if known else None


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a run that is there."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _FILES if (folder / name).is_file()
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
