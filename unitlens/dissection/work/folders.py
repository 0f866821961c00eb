"""Folders in which passes are kept: their names, and what they hold of a run that is not written yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unitlens.dissection.store.manifest import FILE as MANIFEST
from unitlens.dissection.store.manifest import Manifest
from unitlens.errors import UnitlensError, spelled
from unitlens.files import read_json

FOLDER = ".unitlens-work"
"""In the folder of a run: the passes of a dissection that was not finished, or of a part of its images."""

ASKED = "asked.json"
"""In the folder of passes: what they are of, see `unitlens.dissection.work.task.Asked`."""

PART = "part-"
"""What the folders of the passes of several processes begin with, inside of the one that they share."""


def describe_kept(folder: Path) -> str | None:
    """Say of a folder without a run what is kept there of one; None if nothing is."""
    kept = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    if not (kept / ASKED).is_file():
        return None
    asked = read_json(kept / ASKED)
    part, parts, images = (_number(asked, name) for name in ("part", "parts", "images"))
    if parts > 1 and not any(kept.glob(f"{PART}*")):
        merging = spelled(python="ul.merge", shell="`unitlens merge`")
        return (
            f"{folder} holds no run but part {part + 1} of {parts} of the images of one: {merging} puts the parts "
            "together when all are there."
        )
    looked = sum(_looked_at(path.parent) for path in kept.rglob(f"0-*/{MANIFEST}"))
    again = spelled(python="the same call with the same checkpoint=", shell="the same command")
    return (
        f"{folder} holds no run yet, but passes over the images are kept there ({looked:,} of {images:,} images were "
        f"looked at): {again} goes on with them."
    )


def _number(asked: Any, name: str) -> int:
    value = asked.get(name) if isinstance(asked, Mapping) else None
    return value if isinstance(value, int) else 0


def _looked_at(folder: Path) -> int:
    """How many images the network has looked at for a pass; none where its manifest is damaged."""
    try:
        return Manifest.read(folder).looked_at
    except UnitlensError:
        return 0
