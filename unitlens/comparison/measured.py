"""What was measured of the units of a run beside its dissection: read from its folder, or given with it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from unitlens.ablation.concepts.result import FILE as EFFECTS
from unitlens.ablation.concepts.result import ConceptEffects
from unitlens.dissection.dictionaries.result import FILE as RECONSTRUCTIONS
from unitlens.dissection.dictionaries.result import Reconstruction
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
        Each belongs to the entries of its layer, units and network, effects to those of the run that chose the units;
        those of the same images come first.

    Raises
    ------
    UnitlensError
        If one of them is of no entry, several are of one, or a file is damaged or of another run.
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
    own = [one for one in given if one.measured_of.is_of(entry.run)]
    saved = [] if entry.folder is None else _saved(entry, entry.folder)
    return Measured(_of_kind(own, saved, entry, Reconstruction), _of_kind(own, saved, entry, ConceptEffects))


def _saved(entry: "Entry", folder: Path) -> list[Result]:
    """What the folder of a run has of an entry, if it was measured of this run."""
    saved: list[Result] = [*RECONSTRUCTIONS.read(folder), *EFFECTS.read(folder)]
    of_layer = [one for one in saved if one.layer == entry.layer]
    for one in of_layer:
        one.measured_of.check(entry.run, folder)
    return of_layer


def _of_kind(given: Sequence[Result], saved: Sequence[Result], entry: "Entry", kind: type[_Kind]) -> _Kind | None:
    """The one of a kind: a given one of the run's images, else of others, else the saved one."""
    of_kind = [one for one in given if isinstance(one, kind)]
    on_images = [one for one in of_kind if one.measured_of.is_of_images(entry.run.info)]
    found = on_images or of_kind or [one for one in saved if isinstance(one, kind)]
    if any(one != found[0] for one in found):
        raise UnitlensError(
            f"{argument('measured')} has {len(found)} results of {entry.name} that differ, and each may be its "
            f"{found[0].measured_of.what}: give one of them."
        )
    return found[0] if found else None


def _check_given(entries: Sequence["Entry"], given: Sequence[Result]) -> None:
    """Make sure that every result that was given is one, and of an entry."""
    for one in given:
        if not isinstance(one, Result):
            raise UnitlensError(
                f"{argument('measured')} takes what ul.reconstruction and ul.concept_effects return, not "
                f"{type(one).__name__}."
            )
        if not any(one.measured_of.is_of(entry.run) for entry in entries):
            units = "the layer's own units" if one.basis is None else str(one.basis)
            chosen = "" if one.measured_of.choice_sha256 is None else ", and chose them"
            raise UnitlensError(
                f"{argument('measured')} has the {one.measured_of.what} of {one.layer} ({units}), and no run is of "
                f"these units and their network{chosen}: give those of the runs that are compared."
            )
