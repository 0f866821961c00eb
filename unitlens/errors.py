"""The one error and the one warning of unitlens: a clear sentence each, for a person to act on."""

import difflib
from collections.abc import Iterable


class UnitlensError(Exception):
    """Something the user can mend; its text says what was given, what is possible and what to do."""


class UnitlensWarning(UserWarning):
    """Something the user should know; the run goes on."""


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
