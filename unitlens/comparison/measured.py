"""What was measured of the units of a run beside its dissection: read from its folder, or given with it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from unitlens.ablation.concepts.result import ConceptEffects, read_concept_effects
from unitlens.dissection.dictionaries.result import Reconstruction, read_reconstructions
from unitlens.errors import UnitlensError, argument

if TYPE_CHECKING:
    from unitlens.comparison.entries import Entry

Result = Reconstruction | ConceptEffects
"""What may be given beside dissections."""

_Kind = TypeVar("_Kind", Reconstruction, ConceptEffects)


class Measured(NamedTuple):
    """What was measured of one layer of a run; None where it was not.

    Attributes
    ----------
    reconstruction : Reconstruction or None
        What its directions or features hold of the layer.
    effects : ConceptEffects or None
        What the network uses the units for that fit concepts best.
    """

    reconstruction: Reconstruction | None = None
    effects: ConceptEffects | None = None


def find_measured(entries: Sequence["Entry"], given: Sequence[Result]) -> dict[str, Measured]:
    """What was measured of each entry, by its name: what is given, else what is in the folder of the run.

    Parameters
    ----------
    entries : sequence of Entry
    given : sequence of Reconstruction or ConceptEffects
        Each belongs to the entries of its layer, units and network; those of the same images come first.

    Raises
    ------
    UnitlensError
        If one of them is of no entry, or a file is damaged.
    """
    _check_given(entries, given)
    return {entry.name: _of_entry(entry, given) for entry in entries}


def measured_elsewhere(entries: Sequence["Entry"], measured: Mapping[str, Measured]) -> dict[str, list[str]]:
    """What was measured on other images than those of the run, and of which entries."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for one in measured[entry.name]:
            if one is not None and not one.measured_of.is_of_images(entry.run.info):
                found.setdefault(one.measured_of.what, []).append(entry.name)
    return found


def _of_entry(entry: "Entry", given: Sequence[Result]) -> Measured:
    info = entry.run.info
    known: list[Result] = [one for one in given if _is_of(one, entry)]
    known.sort(key=lambda one: not one.measured_of.is_of_images(info))
    if entry.folder is not None:
        saved: list[Result] = [*read_reconstructions(entry.folder), *read_concept_effects(entry.folder)]
        known += [one for one in saved if one.layer == entry.layer]
    return Measured(_first(known, Reconstruction), _first(known, ConceptEffects))


def _check_given(entries: Sequence["Entry"], given: Sequence[Result]) -> None:
    """Make sure that every result that was given is one, and of an entry."""
    for one in given:
        if not isinstance(one, Result):
            raise UnitlensError(
                f"{argument('measured')} takes what ul.reconstruction and ul.concept_effects return, not "
                f"{type(one).__name__}."
            )
        if not any(_is_of(one, entry) for entry in entries):
            units = "the layer's own units" if one.basis is None else str(one.basis)
            raise UnitlensError(
                f"{argument('measured')} has the {one.measured_of.what} of {one.layer} ({units}), and no run is of "
                "these units and their network: give those of the runs that are compared."
            )


def _is_of(one: Result, entry: "Entry") -> bool:
    info = entry.run.info
    return one.layer == entry.layer and one.measured_of.is_of_units(info) and one.measured_of.is_of_network(info)


def _first(results: Sequence[Result], kind: type[_Kind]) -> _Kind | None:
    return next((one for one in results if isinstance(one, kind)), None)
