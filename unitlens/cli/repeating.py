"""Results that were asked for before: as long as what they follow from is what it was, they are kept."""

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unitlens.cli.opening import set_threads
from unitlens.cli.text import echo, shown_warnings
from unitlens.errors import UnitlensWarning
from unitlens.processes import ALONE, Processes

if TYPE_CHECKING:
    from unitlens.cli.targets import Source
    from unitlens.data.concepts import Data
    from unitlens.dissection.repeating.answers import Question
    from unitlens.dissection.repeating.beginning import Beginning
    from unitlens.dissection.repeating.content import Content

_DECIDES_NOTHING = ("quiet", "threads", "workers", "store_limit", "overwrite", "again", "out", "trust", "config")

_LONGEST_PATH = 1000
"""Longer words name no file."""


class Answer:
    """What a command says while it measures: printed at once, and kept for the next time that the same is asked.

    Attributes
    ----------
    lasting : bool
        Whether the same would come out again; not where something went wrong that may be well next time.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said: list[str] = []
        self.lasting = True

    @property
    def said(self) -> str:
        """All that was said, but for where it was written."""
        return "\n".join(self._said)

    def say(self, text: str) -> None:
        """Print what was found."""
        self._said.append(text)
        if not self._quiet:
            echo(text)

    def say_written(self, text: str) -> None:
        """Print where it was written, which is not repeated."""
        if not self._quiet:
            echo(f"wrote {text}")


def begin(target: str | Path) -> "Beginning":
    """Look at the files that a command names, and at those of the run that it is about, before any is opened."""
    from unitlens.dissection.repeating.beginning import Beginning

    files = {file for value in _deciding_options().values() for file in _may_be_files(value)}
    if (Path(target) / "run.json").is_file():
        from unitlens.dissection.repeating.answers import FILES

        files |= {Path(target, name) for name in FILES}
    return Beginning.of(sorted(files))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a command is asked for, beside the words of the command line.

    Attributes
    ----------
    beginning : Beginning
        Of the command.
    target : str or Path
        The run, or the network.
    source : Source or None
        What it came to, before anything gives its network other classes; None where neither network nor images are
        looked at.
    out : Path
        The folder into which it writes, or the file that it writes.
    what : str
        What that is, in the plural.
    files : tuple of str
        Of a folder: the names of what it writes, or patterns of them.
    processes : Processes
        That measure.
    read : tuple of Path
        Files, or folders of them, that are looked at in place of the source's images.
    further : Data or None
        Images that are looked at beside those.
    without : str, optional
        Why neither network nor images are looked at.
    packages : tuple of str
        That measure, beside those on which all results rest.
    """

    beginning: "Beginning"
    target: str | Path
    source: "Source | None"
    out: Path
    what: str
    files: tuple[str, ...] = ()
    processes: Processes = ALONE
    read: tuple[Path, ...] = ()
    further: "Data | None" = None
    without: str | None = None
    packages: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.out if self.files else self.out.parent

    def question(self) -> "Question | None":
        """What the files follow from.

        None where that cannot be known cheaply, as where several processes measure.
        """
        from unitlens.dissection.repeating.answers import Question

        options = _deciding_options()
        command = click.get_current_context().command.name
        if self.processes.count > 1:
            return None
        return Question.about(
            None if self.source is None else self.source.net,
            self._content,
            lambda: self._described(command, options),
            files=self.files or (escape(self.out.name),),
            began=self.beginning.seconds,
            packages=self.packages,
        )

    def _content(self) -> "Content | None":
        """What tells the images from others."""
        from unitlens.dissection.repeating.content import content_of, content_of_files, joined

        parts = [] if self.further is None else [content_of(self.further)]
        if self.read or self.source is None:
            return joined([content_of_files(*self.read), *parts])
        return joined([content_of(self.source.data), *parts])

    def _described(self, command: str | None, options: dict[str, Any]) -> dict[str, Any] | None:
        """All else that decides; None where a file has changed since it was opened."""
        from unitlens.dissection.provenance import describe_use
        from unitlens.dissection.repeating.answers import file_hashes

        source, target = self.source, Path(self.target)
        described: dict[str, Any] = {
            "out": str(self.out.resolve()),
            "command": command,
            "options": {name: _described(value) for name, value in options.items()},
            "run": file_hashes(target) if (target / "run.json").is_file() else str(target),
            "without": self.without,
        }
        if source is not None:
            described |= {
                "network": [source.sha256, describe_use(source.net)],
                "basis": None if source.basis is None else source.basis.sha256,
                "layers": list(source.layers),
                "images": [source.limit, source.seed],
            }
        return described if self.beginning.is_unchanged() else None


def keep_or_measure(asked: Asked, measure: Callable[[Answer], None]) -> None:
    """Measure what a command is asked for, unless it is there: then say so, and what was said when it was measured.

    Parameters
    ----------
    asked : Asked
    measure : callable
        Measures, writes files, and says to what it is handed what was found.
    """
    from unitlens.data.reading import noting_unread

    options = click.get_current_context().params
    anew = "again" if "again" in options else "overwrite"
    quiet = options["quiet"] or not asked.processes.first
    question = asked.question()
    if not options[anew] and question is not None and _is_kept(question, asked, quiet=quiet, anew=anew):
        return
    set_threads(options["threads"])
    answer = Answer(quiet=quiet)
    with noting_unread() as unread:
        measure(answer)
    if question is not None and answer.lasting:
        question.remember(asked.folder, skipped=unread, said=answer.said, warnings=tuple(shown_warnings()))


def _is_kept(question: "Question", asked: Asked, *, quiet: bool, anew: str) -> bool:
    """Whether the answer is there; if so, say that it is kept, what was said of it, and of what was warned."""
    known = question.answer()
    if known is None:
        return False
    for warning in known.warnings:
        warnings.warn(warning, UnitlensWarning, stacklevel=2)
    echo(f"unitlens: {asked.out} has these {asked.what} already, and keeps them; --{anew} makes them anew.", err=True)
    if known.said and not quiet:
        echo(known.said)
    return True


def _deciding_options() -> dict[str, Any]:
    """The options of the command as they were typed, which nobody takes out here, but for those that decide nothing."""
    typed = click.get_current_context().params
    return {name: value for name, value in typed.items() if name not in _DECIDES_NOTHING}


def _described(value: Any) -> Any:
    """A value of an option as JSON holds it: of what names a file, the file's content, too."""
    from unitlens.dissection.repeating.beginning import file_sha256

    if isinstance(value, tuple | list):
        return [_described(one) for one in value]
    return [repr(value), *(file_sha256(file) for file in _may_be_files(value) if os.path.isfile(file))]


def _may_be_files(value: Any) -> Iterator[Path]:
    """What an option may name, such as FILE, or NAME:FILE; folders are looked at by whoever opens them."""
    if isinstance(value, tuple | list):
        for one in value:
            yield from _may_be_files(one)
    if isinstance(value, str | Path):
        for text in (str(value), str(value).partition(":")[2]):
            if text and len(text) < _LONGEST_PATH and not os.path.isdir(text):
                yield Path(text)
