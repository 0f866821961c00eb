"""Which units are ablated: those that are given, checked; and the images that they are measured on."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from unitlens.ablation.result import Ranking
from unitlens.ablation.table import Units
from unitlens.errors import UnitlensError
from unitlens.models.layers import check_units, display_name, whole_numbers
from unitlens.stats.folds import Folds

Chosen = int | Sequence[int] | Tensor
"""Units, as they are given."""


def units_by_layer(layer: str | Mapping[str, Chosen], units: Chosen | None) -> Mapping[str, Chosen]:
    """Return the given units of each layer, as `unitlens.ablate` takes them.

    Raises
    ------
    UnitlensError
        If units are given in both ways, or in none.
    """
    if isinstance(layer, Mapping):
        if units is not None:
            raise UnitlensError("The units of several layers are given with them: give the images as data=.")
        if not layer:
            raise UnitlensError("No layer is given: name at least one, such as {'layer4': [3, 17]}.")
        return layer
    if units is None:
        raise UnitlensError(f"No units of {display_name(layer)} are given, such as [3, 17].")
    return {layer: units}


def measured_on(chosen: Iterable[Chosen]) -> tuple[Folds, Folds | None]:
    """Return the folds that units are measured on, and those that they were ranked on, if they were.

    Units that were ranked on even or odd folds are measured on the others; where that leaves none, on all.
    """
    ranked_on = {units.folds for units in chosen if isinstance(units, Ranking)}
    if not ranked_on:
        return "all", None
    ranked = ranked_on.pop() if len(ranked_on) == 1 else "all"
    others: dict[Folds, Folds] = {"even": "odd", "odd": "even", "all": "all"}
    return others[ranked], ranked


def chosen_units(units: Chosen, layer: str, count: int, *, keep: bool = False) -> Units:
    """Check which units are meant, and with ``keep`` return all the others.

    Raises
    ------
    UnitlensError
        If none is given, one is no whole number, out of range or twice there, or nothing is left to keep or to ablate.
    """
    given = whole_numbers(units)
    check_units(layer, given, count)
    if len(set(given)) < len(given):
        twice = next(unit for unit in given if given.count(unit) > 1)
        raise UnitlensError(f"Unit {twice} of {display_name(layer)} is given twice; give each once.")
    if not given:
        left = "nothing of the layer would be left" if keep else "nothing would change"
        raise UnitlensError(f"No unit of {display_name(layer)} is given, so that {left}; give at least one.")
    if keep and len(given) == count:
        raise UnitlensError(f"All {count} units of {display_name(layer)} would be kept, so that nothing would change.")
    return tuple(unit for unit in range(count) if unit not in set(given)) if keep else tuple(given)
