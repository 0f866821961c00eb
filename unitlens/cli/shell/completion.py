"""What the shell completes by TAB: layers and concepts of a run, names of what is bundled, presets and scores.

Nothing here imports torch or opens a network, so that the shell answers at once; of a run only run.json is read.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, split_arg_string

BUNDLED = (
    *("bundled:scenes", "bundled:scenes-shortcut", "bundled:scenes-infrared"),
    *("bundled:scenes-segmenter", "bundled:scenes-generator"),
)
PRESETS = ("unitlens", "pnas2020", "netdissect2017")
CONTROLS = ("untrained", "rotated", "random-dictionary", "shuffled-dictionary")
SCORES = ("iou", "precision", "recall", "f1", "dice", "lift", "pmi", "iqr", "auprc", "auroc", "correlation")
"""The same as where they are defined, which takes seconds to import; a test compares them."""

_LARGEST = 64 << 20

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def words(*known: str, files: bool = False) -> Complete:
    """Complete to one of some words, or to a file."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*_beginning(incomplete, known), *([CompletionItem(incomplete, type="file")] if files else [])]

    return complete


def layers_of_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete to a layer of the run that the command line names."""
    layers = _run(ctx).get("layers")
    return _beginning(incomplete, layers if isinstance(layers, dict) else ())


def concepts_of_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete to a concept of the run that the command line names."""
    data = _run(ctx).get("data")
    concepts = data.get("concepts") if isinstance(data, dict) else None
    named = [one.get("name") for one in concepts if isinstance(one, dict)] if isinstance(concepts, list) else []
    return _beginning(incomplete, [name for name in named if isinstance(name, str)])


def _beginning(incomplete: str, known: Iterable[str]) -> list[CompletionItem]:
    able = [word for word in dict.fromkeys(known) if word.startswith(incomplete) and word.isprintable()]
    return list(map(CompletionItem, able))


def _run(ctx: click.Context) -> dict[str, Any]:
    """run.json of the folder that the command line names; empty where there is none that can be read.

    Behind an option whose value is to be completed click reads no arguments: the words themselves are looked at.
    """
    given = [str(ctx.params.get(name) or "") for name in ("run", "target")]
    for name in (*given, *split_arg_string(os.environ.get("COMP_WORDS", ""))[1:]):
        path = Path(name, "run.json")
        try:
            if path.is_file() and path.stat().st_size <= _LARGEST:
                content = json.loads(path.read_bytes())
                return content if isinstance(content, dict) else {}
        except (OSError, ValueError, RecursionError):
            return {}
    return {}
