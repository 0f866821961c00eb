"""What stands beside detectors and concepts in a comparison: held-out IoU, reconstructions and effects of concepts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.comparison.columns import RECONSTRUCTION, interval_columns
from unitlens.comparison.heldout import MeanHeldout
from unitlens.errors import spelled

if TYPE_CHECKING:
    from unitlens.comparison.entries import Entry
    from unitlens.comparison.measured import Measured


class Beside(NamedTuple):
    """What is known of an entry beside its counts.

    Attributes
    ----------
    heldout : MeanHeldout
    measured : Measured
    """

    heldout: MeanHeldout
    measured: "Measured"


def columns_beside(known: Beside) -> dict[str, Any]:
    """Columns of one entry."""
    row: dict[str, Any] = interval_columns("heldout_iou", "heldout", known.heldout.interval())
    row |= {name: getattr(known.measured.reconstruction, name, None) for name in RECONSTRUCTION}
    effects = known.measured.effects
    if effects is None:
        return row
    logit = effects.logit
    row |= {"concept_effect": logit.effect, "concept_effect_low": logit.low, "concept_effect_high": logit.high}
    row["concept_effect_random"] = logit.random_effect
    row |= interval_columns("concept_effect_beyond", "concept_effect_beyond", logit.interval())
    return row | interval_columns("concept_accuracy_beyond", "concept_accuracy_beyond", effects.accuracy.interval())


def differences_beside(known: Beside, reference: Beside, *, paired: bool) -> dict[str, Any]:
    """Columns of the differences between an entry and the one that it is compared with."""
    more = known.heldout.minus(reference.heldout, paired=paired)
    row: dict[str, Any] = interval_columns("heldout_difference", "heldout_difference", more)
    here, there = known.measured.effects, reference.measured.effects
    if here is None or there is None or not here.is_comparable(there):
        return row
    paired = here.same_images(there)
    logit = here.logit.minus(there.logit, paired=paired)
    accuracy = here.accuracy.minus(there.accuracy, paired=paired)
    row |= interval_columns("concept_effect_difference", "concept_effect_difference", logit)
    return row | interval_columns("concept_accuracy_difference", "concept_accuracy_difference", accuracy)


def summary_beside(name: str, known: Beside) -> str:
    """What was measured of an entry, in a line of text; nothing where nothing was."""
    parts = [str(one) for one in known.measured if one is not None]
    return f"{name}: {'; '.join(parts)}" if parts else ""


def notes_beside(entries: Sequence["Entry"], measured: Mapping[str, "Measured"]) -> list[str]:
    """Say what was not measured of entries, and how that is done, where there are dictionaries or others have it."""
    notes = []
    coded = [entry for entry in entries if entry.run.settings.basis is not None]
    without = [entry.name for entry in coded if measured[entry.name].reconstruction is None]
    if without:
        how = spelled(python="ul.reconstruction", shell="`unitlens reconstruct RUN`")
        notes.append(f"How much of the layer {' and '.join(without)} hold was not measured: {how} does.")
    without = [entry.name for entry in entries if measured[entry.name].effects is None]
    if without and (coded or len(without) < len(entries)):
        how = spelled(python="ul.concept_effects", shell="`unitlens ablate RUN --each-concept`")
        notes.append(f"What ablating the best units of concepts does in {' and '.join(without)} was not: {how} does.")
    return notes + _not_comparable(measured)


def _not_comparable(measured: Mapping[str, "Measured"]) -> list[str]:
    """Say that effects were not measured in the same way, so that there are no differences."""
    known = {name: one.effects for name, one in measured.items() if one.effects is not None}
    first = next(iter(known.values()), None)
    if first is None or all(one.is_comparable(first) for one in known.values()):
        return []
    ways = (
        f"{name}: {one.top} for each of {len(one.concepts)} concepts, {one.ablation}" for name, one in known.items()
    )
    return [f"Units were not ablated in the same way ({'; '.join(ways)}), so that some effects are not compared."]
