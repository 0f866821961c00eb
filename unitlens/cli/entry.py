"""The command line: commands by name, and every error as one sentence."""

import builtins
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import click

from unitlens.cli.options import with_precisions
from unitlens.cli.text import echo, shown_warnings
from unitlens.errors import UnitlensError, UnitlensWarning, did_you_mean, printable, shell_sentences
from unitlens.files import StoppedAfterWriting
from unitlens.processes import speaks

SECTIONS = {
    "Before": ("demo", "layers", "check", "plan"),
    "What units look for": ("dissect", "fit", "label", "merge", "units", "tables", "figures", "report"),
    "How sure that is": ("compare", "audit", "reconstruct", "rerun"),
    "What they are used for": ("ablate", "intervene", "explain", "compare-images", "attack", "shortcuts", "open"),
}
"""The commands by sections of the help; `unitlens.cli` has a module of the same name for each."""

COMMANDS = tuple(name for section in SECTIONS.values() for name in section)

_LONG = 200

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What stops a command."""

_ROOMS = {
    **dict.fromkeys(("explain", "compare-images", "attack", "shortcuts"), "unitlens.cli.explaining"),
    **dict.fromkeys(("fit", "reconstruct"), "unitlens.cli.dictionaries"),
    "intervene": "unitlens.cli.editing",
    **dict.fromkeys(("units", "tables", "figures", "report"), "unitlens.cli.results"),
}
"""Packages of commands that `unitlens.cli` itself has no module for."""


class _Commands(click.Group):
    """Import a command when it is used; an error for an unknown one suggests the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = import_module(f"{_ROOMS.get(cmd_name, 'unitlens.cli')}.{name}")
        command: click.Command = getattr(module, f"{name}_" if name in dir(builtins) else name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS.items():
            commands = [(name, command) for name in names if (command := self.get_command(ctx, name))]
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(_LONG)) for name, command in commands])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        if ctx.resilient_parsing:  # the shell completes what is not whole yet
            return super().resolve_command(ctx, args)
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            known = ", ".join(COMMANDS)
            raise UnitlensError(f"There is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}; there are {known}.")
        return super().resolve_command(ctx, args)


_EPILOG = """\b
`unitlens COMMAND --help` lists the options of a command.
To complete them by TAB, add to ~/.bashrc (or ~/.zshrc with zsh_source):
    eval "$(_UNITLENS_COMPLETE=bash_source unitlens)"
In fish: _UNITLENS_COMPLETE=fish_source unitlens | source
"""


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="unitlens", message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """What the individual units of a trained vision network look for, how sure that is, and what they are used for."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of unitlens as a sentence, any other with its kind in front; each once per command."""
    text = str(message) if issubclass(category, UnitlensWarning) else f"{category.__name__}: {message}"
    shown = shown_warnings()
    if text not in shown and speaks():
        echo(f"unitlens: {text.rstrip()}", err=True)
    shown[text] = None


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C: temporary files are removed."""


def _terminate(*_: object) -> None:
    """Stop the command; launchers send SIGTERM again and again, and cleaning up must not be stopped."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C stop what is in the ``with``; nothing stops `main` from saying how that has ended."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit: 0 done, 1 problems found, 2 bad input, 130 interrupted, 143 terminated."""
    warnings.showwarning = _show_warning
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        with shell_sentences():
            code = _run(arguments)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        for word in words:
            if "\0" in word:
                raise UnitlensError(f"{word!r} holds a NUL character, which no name or number has.")
        with _stoppable():
            code = cli.main(
                args=with_precisions(words),
                prog_name="unitlens",
                standalone_mode=False,
                obj=shlex.join(["unitlens", *words]),
            )
    except UnitlensError as error:
        _say(*(f"unitlens: {_shortened(sentence, words)}" for sentence in (str(error), *_notes(error))))
        code = 2
    except click.ClickException as error:
        _say(f"unitlens: {_shortened(_sentence(error), words)}")
        code = 2
    except (KeyboardInterrupt, click.Abort) as error:
        written = "all was written before" if _comes_from(error, StoppedAfterWriting) else "nothing was written"
        _say(f"unitlens: stopped; {written}." if not _notes(error) else f"unitlens: stopped. {' '.join(_notes(error))}")
        code = 143 if _comes_from(error, _Terminated) else 130
    except UnicodeEncodeError as error:  # of files, and of pandas' tables where pyarrow is installed
        sentence = f"the name {error.object!r} is not Unicode, and cannot be used here: rename it."
        _say(f"unitlens: {_shortened(sentence, words)}")
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:  # a file or folder that could not be used, wherever that came up
        if error.filename is None:
            raise
        sentence = f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}."
        _say(f"unitlens: {_shortened(sentence, words)}")
        code = 2
    return code if isinstance(code, int) else 0


def _shortened(sentence: str, words: Sequence[str]) -> str:
    """Return a sentence without the length of words of the command line that nobody would read to the end."""
    for word in (word for word in words if len(word) > _LONG):
        for written in (word, str(Path(word))):  # without what a path may lack, such as a slash at its end
            sentence = sentence.replace(printable(written), f"{printable(written)[: _LONG // 2]}...")
    return sentence


def _say(*lines: str) -> None:
    """Print why the command ends; of several processes that were started together, the first one does."""
    if speaks():
        echo("\n".join(lines), err=True)


def _comes_from(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error is of a kind, or was raised for one that is: click raises its own Abort for Ctrl-C."""
    return error is not None and (isinstance(error, kind) or _comes_from(error.__context__, kind))


def _notes(error: BaseException | None) -> list[str]:
    """What was noted of an error, or of the one it was raised for: what is kept."""
    return [] if error is None else [*getattr(error, "__notes__", ()), *_notes(error.__context__)]


def _sentence(error: click.ClickException) -> str:
    """Return what click says as one sentence, with the help to look at."""
    text = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.ctx:
        known = [name for option in error.ctx.command.params for name in option.opts if name.startswith("-")]
        text = f"There is no option {error.option_name}{did_you_mean(error.option_name, known)}"
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "unitlens"
    return f"{text.rstrip('.')} (see {command} --help)."
