"""The one error and the one warning of unitlens, and how their sentences name what the reader can change."""

import difflib
import unicodedata
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar


def printable(text: str) -> str:
    r"""Return text for a terminal: characters that would steer it, such as an escape, become question marks.

    Names of concepts, layers, classes and networks come from files, which anybody may have written. Line ends stay.

    Examples
    --------
    >>> printable("red\x1b]0;evil\x07")
    'red?]0;evil?'
    """
    return "".join(c if c.isprintable() or c == "\n" or unicodedata.category(c) == "Zs" else "?" for c in text)


def is_number(text: str) -> bool:
    """Whether a text is a whole number in decimal digits, 0 or more, for which an int64 has room.

    Python itself takes more: digits of any script, blanks around them, and so many that it refuses to read them.

    Examples
    --------
    >>> is_number("17"), is_number("-1"), is_number("9" * 5000)
    (True, False, False)
    """
    return text.isascii() and text.isdigit() and len(text) < 19


T = TypeVar("T", bound=Hashable)


def first_twice(values: Iterable[T]) -> T | None:
    """The first of some values that was there before; None where all are different.

    Examples
    --------
    >>> first_twice(["a", "b", "b", "a"]), first_twice(["a", "b"])
    ('b', None)
    """
    seen = set[T]()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


class UnitlensError(Exception):
    """Something the user can mend; its text says what was given, what is possible and what to do."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UnitlensWarning(UserWarning):
    """Something the user should know; the run goes on."""

    def __str__(self) -> str:
        return printable(super().__str__())


# Sentences also end up in warnings, in notes and in run.json, where they are plain text. So each is written for its
# reader when it is made, and this says who that is.
_IN_SHELL: ContextVar[bool] = ContextVar("unitlens.in_shell", default=False)


@contextmanager
def shell_sentences() -> Iterator[None]:
    """Write sentences for the shell, inside of this ``with``: they name options in place of Python's arguments."""
    token = _IN_SHELL.set(True)
    try:
        yield
    finally:
        _IN_SHELL.reset(token)


def spelled(*, python: str, shell: str) -> str:
    """Return the words for the reader of the sentence.

    Parameters
    ----------
    python, shell : str
        The same thing, as it is written in Python and in the shell.

    Examples
    --------
    >>> spelled(python="net.layers()", shell="`unitlens layers`")
    'net.layers()'
    """
    return shell if _IN_SHELL.get() else python


def argument(name: str, value: object = None, *, option: str | None = None) -> str:
    """Name an argument in a sentence, as the reader of the sentence gives it.

    Parameters
    ----------
    name : str
        The argument's name in Python.
    value : object, optional
        The value that it has, or that it should get.
    option : str, optional
        The shell's option, where it is not the name with dashes.

    Examples
    --------
    >>> argument("image_size"), argument("evidence", False), argument("min_iou", 2.0)
    ('image_size=', 'evidence=False', 'min_iou=2.0')
    >>> with shell_sentences():
    ...     argument("image_size"), argument("evidence", False), argument("min_iou", 2.0)
    ('--image-size', '--no-evidence', '--min-iou 2.0')
    """
    dashed = name.replace("_", "-")
    option = option or (f"--no-{dashed}" if value is False else f"--{dashed}")
    if value is None:
        return spelled(python=f"{name}=", shell=option)
    return spelled(python=f"{name}={value!r}", shell=option if isinstance(value, bool) else f"{option} {value}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest of the known names.

    Parameters
    ----------
    name : str
        What was given.
    known : iterable of str
        What is possible.

    Returns
    -------
    str
        ``" (did you mean layer4?)"``, with the space in front, or an empty string if nothing is near.

    Examples
    --------
    >>> did_you_mean("layr4", ["layer3", "layer4", "fc"])
    ' (did you mean layer4?)'
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
