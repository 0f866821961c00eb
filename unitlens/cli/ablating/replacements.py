"""What `unitlens ablate` sets units to."""

from typing import Any

from unitlens.errors import UnitlensError


def replacement_of(value: str, scale: float | None, where: str | None) -> Any:
    """Read what --value, --scale and --where say."""
    from unitlens.ablation.interventions import FROM_DATA, Replacement, quantile_of

    if value in FROM_DATA or quantile_of(value):
        return Replacement(value, scale, where)
    try:
        number = float(value)
    except ValueError:
        raise UnitlensError(
            f"--value is {value!r}; units are set to a number, mean, a quantile such as q0.99, or resample."
        ) from None
    return Replacement(number, scale, where)
