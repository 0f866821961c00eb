"""Where the activations of a run are that it kept."""

from pathlib import Path

ACTIVATIONS = "activations"
"""In the folder of a run: the stores of the parts of its first pass, as folders 1, 2, ..."""

NETWORK_PASS = "0-network"
"""In a folder of passes: that of the network itself, see `unitlens.dissection.work.passes.Pass`."""


def kept_activations(folder: Path) -> Path | None:
    """Where a run, or a folder of passes, keeps the activations of its units; None if it does not."""
    for kept in (folder / ACTIVATIONS, folder / NETWORK_PASS):
        if kept.is_dir():
            return kept
    return None


def number_of(folder: Path) -> int:
    """The number at the end of a folder's name, 0 where there is none."""
    text = folder.name.rpartition("-")[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
