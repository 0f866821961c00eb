"""Regular expressions of somebody else: found in names within a bounded time, whatever they say.

An expression such as ``(a+)+$`` takes longer than anybody waits, on a name that is made for it, and nothing in the same
process can end that. So a process of its own looks for it, which the system ends.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from unitlens.errors import UnitlensError

SECONDS = 10
"""Of processor time; a million names take a second or two."""

_MEMORY = 1 << 30

_CHILD = """
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
except ImportError:
    pass
pattern, texts = json.load(sys.stdin)
try:
    compiled = re.compile(pattern)
except (re.error, RecursionError, OverflowError) as error:
    answer = {"wrong": str(error)}
else:
    found = [compiled.search(text) for text in texts] if compiled.groups else []
    answer = {"groups": compiled.groups, "found": [match and match[1] for match in found]}
json.dump(answer, sys.stdout)
"""

_AT_MOST = 600
"""Seconds that are waited for it where the system does not count processor time, or is busy."""


def first_groups(pattern: str, texts: Sequence[str], *, given: str) -> list[str | None]:
    """What the first group of an expression matches in each text; None where there is no match.

    Parameters
    ----------
    pattern : str
        As Python's `re` reads it.
    texts : sequence of str
    given : str
        How it was given, to begin sentences with.

    Raises
    ------
    UnitlensError
        If it is no expression, has no group, or takes too long or too much memory.

    Examples
    --------
    >>> first_groups("(.*)_[0-9]+", ["walk_01.png", "walk_02.png", "x.png"], given="groups=")
    ['walk', 'walk', None]
    """
    answer = _answer(json.dumps([pattern, list(texts)]))
    if answer is None:
        raise UnitlensError(
            f"{given} is not found in {len(texts)} names within {SECONDS} seconds: write it without repeats inside of "
            "repeats, or name the groups in a file."
        )
    if "wrong" in answer:
        raise UnitlensError(f"{given} is no regular expression: {answer['wrong']}.")
    if not answer["groups"]:
        raise UnitlensError(
            f"{given} has no group: put what tells the groups apart into brackets, such as re:(.*)_[0-9]+."
        )
    found: list[str | None] = answer["found"]
    return found


def _answer(question: str) -> dict[str, Any] | None:
    """What the other process answers; None if it was ended."""
    child = _CHILD.replace("SECONDS", str(SECONDS)).replace("MEMORY", str(_MEMORY))
    command = [sys.executable, "-I", "-S", "-c", child]
    try:
        done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=_AT_MOST, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
