"""What ``fast=`` asks for."""

from typing import Literal, get_args

from unitlens.errors import UnitlensError, argument, did_you_mean

Fast = Literal["float32", "bfloat16"]
"""What a fast copy computes in."""


def chosen_precision(fast: bool | str | None) -> Fast | None:
    """Return what ``fast=`` asks for: True is float32, False and None are the network as it is.

    Raises
    ------
    UnitlensError
        If it is something else.

    Examples
    --------
    >>> chosen_precision(True), chosen_precision("bfloat16"), chosen_precision(False)
    ('float32', 'bfloat16', None)
    """
    if fast is None or isinstance(fast, bool):
        return "float32" if fast else None
    known: tuple[Fast, ...] = get_args(Fast)
    for name in known:
        if fast == name:
            return name
    near = did_you_mean(fast, known) if isinstance(fast, str) else ""
    raise UnitlensError(
        f"{argument('fast', fast)} is not a way to compute faster{near}; it can be {' or '.join(known)}, or left out."
    )
