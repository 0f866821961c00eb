"""Measurements that were asked for before: as long as what they follow from is what it was, they are kept."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unitlens.cli.text import echo, shown_warnings
from unitlens.errors import UnitlensWarning

if TYPE_CHECKING:
    from unitlens.cli.targets import Source
    from unitlens.dissection.repeating.answers import Question
    from unitlens.processes import Processes

_DECIDES_NOTHING = ("quiet", "threads", "workers", "store_limit", "overwrite", "again", "out", "trust", "config")

_BY_IMAGES = ("centroids", "neighbours")
"""Options by which a network has its classes from other images, of which results do not say whether all were read."""


def question_of(
    target: str | Path,
    source: "Source",
    *,
    out: Path,
    files: tuple[str, ...],
    began: float,
    processes: "Processes | None" = None,
    images: tuple[Path, ...] = (),
    packages: tuple[str, ...] = (),
) -> "Question | None":
    """What the files of a measurement follow from, as it was typed.

    None where that cannot be known cheaply: where several processes measure, or other images give the network classes.

    Parameters
    ----------
    target : str or Path
        The run, or the network.
    source : Source
        What it came to, before anything gives its network other classes.
    out : Path
        Where the files are, or will be.
    files : tuple of str
        That the command writes there, or patterns of their names.
    began : float
        When the source was opened, in seconds since 1970.
    processes : Processes, optional
        That measure.
    images : tuple of Path
        Images, or folders of them, that are looked at in place of the source's.
    packages : tuple of str
        That measure, beside those on which all results rest.
    """
    from unitlens.dissection.provenance import describe_use
    from unitlens.dissection.repeating.answers import Question, file_hashes
    from unitlens.dissection.repeating.content import content_of, content_of_files

    typed = click.get_current_context()  # whose parameters nobody takes options out of
    if (processes is not None and processes.count > 1) or any(typed.params.get(name) for name in _BY_IMAGES):
        return None

    def asked() -> dict[str, Any]:
        return {
            "out": str(out.resolve()),
            "command": typed.command.name,
            "options": {
                name: _described(value) for name, value in typed.params.items() if name not in _DECIDES_NOTHING
            },
            "run": file_hashes(Path(target)) if source.dissection is not None else str(target),
            "network": [source.sha256, describe_use(source.net)],
            "basis": None if source.basis is None else source.basis.sha256,
            "layers": list(source.layers),
            "images": [source.limit, source.seed],
        }

    return Question.about(
        source.net,
        lambda: content_of_files(*images) if images else content_of(source.data),
        asked,
        files=files,
        began=began,
        packages=packages,
    )


def is_there(
    question: "Question | None", out: Path, what: str, *, quiet: bool, anew: str = "--overwrite measures them anew"
) -> bool:
    """Whether a folder has the answer; if so, say that it is kept, and what was said when it was measured.

    Parameters
    ----------
    question : Question or None
    out : Path
    what : str
        What the answer is, in the plural.
    quiet : bool
        Whether warnings alone are repeated.
    anew : str
        How it is made once more.
    """
    known = None if question is None else question.answer()
    if known is None:
        return False
    for warning in known.warnings:
        warnings.warn(warning, UnitlensWarning, stacklevel=2)
    echo(f"unitlens: {out} has these {what} already, and keeps them; {anew}.", err=True)
    if known.said and not quiet:
        echo(known.said)
    return True


def remember(question: "Question | None", out: Path, infos: Sequence[Mapping[str, Any]], said: str) -> None:
    """Note that a folder has the answer, and of what this command has warned.

    Parameters
    ----------
    question : Question or None
    out : Path
    infos : sequence of mapping
        What its results say of the images.
    said : str
        What whoever asked is told of it.
    """
    if question is not None:
        skipped = [name for info in infos for name in info["data"]["skipped"]]
        question.remember(out, skipped=skipped, said=said, warnings=tuple(shown_warnings()))


def _described(value: Any) -> Any:
    """A value of an option as JSON holds it: of what names a file, the file's content, too."""
    from unitlens.dissection.repeating.content import file_sha256

    if isinstance(value, tuple | list):
        return [_described(one) for one in value]
    texts = [str(value), str(value).partition(":")[2]] if isinstance(value, str | Path) else []
    files = [Path(text) for text in texts if text and len(text) < 1000 and Path(text).is_file()]
    return [repr(value), *map(file_sha256, files)]
