"""Measurements that were asked for before: as long as what they follow from is what it was, they are kept."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unitlens.cli.text import echo

if TYPE_CHECKING:
    from unitlens.cli.targets import Source
    from unitlens.dissection.repeating.answers import Question
    from unitlens.processes import Processes

_DECIDES_NOTHING = ("quiet", "threads", "workers", "overwrite", "out", "trust", "config")


def question_of(
    target: str,
    source: "Source",
    options: Mapping[str, Any],
    processes: "Processes",
    *,
    out: Path,
    files: tuple[str, ...],
    began: float,
) -> "Question | None":
    """What the files of a measurement follow from, as it was typed.

    None where that cannot be known cheaply, and where several processes measure.

    Parameters
    ----------
    target : str
        The run, or the network.
    source : Source
        What it came to.
    options : mapping
        Of the command.
    processes : Processes
    out : Path
        Where the files are, or will be.
    files : tuple of str
        That the command writes there.
    began : float
        When the source was opened, in seconds since 1970.
    """
    from unitlens.dissection.repeating.answers import Question, file_hashes

    if processes.count > 1:
        return None

    def asked() -> dict[str, Any]:
        return {
            "out": str(out.resolve()),
            "command": click.get_current_context().command.name,
            "options": {name: _described(value) for name, value in options.items() if name not in _DECIDES_NOTHING},
            "run": file_hashes(Path(target)) if source.dissection is not None else target,
            "network": source.sha256,
            "layers": list(source.layers),
            "images": [source.limit, source.seed],
        }

    return Question.about(source.net, source.data, asked, files=files, began=began)


def is_there(question: "Question | None", out: Path, what: str) -> bool:
    """Whether a folder has the answer; if so, say that it is kept."""
    if question is None or question.folder() is None:
        return False
    echo(f"unitlens: {out} has these {what} already, and keeps them; --overwrite measures them anew.", err=True)
    return True


def remember(question: "Question | None", out: Path, info: Mapping[str, Any]) -> None:
    """Note that a folder has the answer, of which this is what its results say of the images."""
    if question is not None:
        question.remember(out, skipped=info["data"]["skipped"])


def _described(value: Any) -> Any:
    """A value of an option as JSON holds it: of what names a file, the file's content, too."""
    if isinstance(value, tuple | list):
        return [_described(one) for one in value]
    texts = [str(value), str(value).partition(":")[2]] if isinstance(value, str | Path) else []
    files = [Path(text) for text in texts if text and len(text) < 1000 and Path(text).is_file()]
    return [repr(value), *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)]
