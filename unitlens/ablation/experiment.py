"""One network, its layers and data to measure effects on, with the settings that every measurement of them shares."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from unitlens.ablation.holding import Holding, hold, unit_peaks
from unitlens.ablation.measuring import Measured, Plan, measure
from unitlens.ablation.outcomes import Outcome, logit, outcomes_of
from unitlens.ablation.random_sets import draw_sets
from unitlens.ablation.result import Effects
from unitlens.ablation.table import Held, LayerUnit
from unitlens.ablation.tallies import Folds
from unitlens.data.classes import join_classes
from unitlens.data.concepts import Data
from unitlens.data.opening import open_data
from unitlens.dissection.forward import Reading
from unitlens.dissection.provenance import describe_network, versions
from unitlens.errors import UnitlensWarning
from unitlens.models.layers import find_layers
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.stats.scores import Floats

_MODAL = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
"""Modules that do something else in training mode."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """What is measured, on what.

    Attributes
    ----------
    net : Network
    layers : tuple of str
    data : Data
    measures : tuple of str
        Of each class.
    outcomes : dict of str to callable
        Those of the measures that are sums; always the logit, which ranks units that change no call.
    reading : Reading
    seed : int
    """

    net: Network
    layers: tuple[str, ...]
    data: Data
    measures: tuple[str, ...]
    outcomes: dict[str, Outcome]
    reading: Reading
    seed: int

    @classmethod
    def of(
        cls,
        net: Network | nn.Module,
        layers: str | Sequence[str],
        data: Data | str | Path,
        measures: Iterable[str | Outcome],
        reading: Reading,
        seed: int,
    ) -> "Experiment":
        """Take what the public functions are given; a network in training mode is warned about."""
        net = net if isinstance(net, Network) else classifier(net)
        data = open_data(data) if isinstance(data, str | Path) else data
        layers = (layers,) if isinstance(layers, str) else tuple(layers)
        find_layers(net.model, layers)
        if any(module.training and isinstance(module, _MODAL) for module in net.model.modules()):
            warnings.warn(
                "The network is in training mode; effects are measured in evaluation mode (dropout off, batch norm "
                "with its stored means), and training mode is restored afterwards.",
                UnitlensWarning,
                stacklevel=4,
            )
        names, outcomes = outcomes_of(measures)
        return cls(net, layers, data, names, {"logit": logit, **outcomes}, reading, seed)

    def check_classes(self, classes: Sequence[str | int]) -> None:
        """Make sure before a long pass that there are such classes, where the data list theirs.

        Raises
        ------
        UnitlensError
            If there is no class of a name.
        """
        outputs = self.net.output_count()
        if outputs is None or getattr(self.data, "classes", None) is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitlensWarning)  # the pass says it
            known = join_classes(self.data, self.net.classes, outputs)
        for class_ in classes:
            known.output(class_)

    def effects(
        self, sets: tuple[Held, ...] | None, holding: Holding, *, folds: Folds = "all", ranked: str | None = None
    ) -> Effects:
        """Measure some sets of units, or every unit alone.

        Parameters
        ----------
        sets : tuple of tuple of tuple of int, optional
            For each set the units of each layer; None: every unit of the one layer.
        holding : Holding
            What they are held at.
        folds : {"all", "even", "odd"}
            The images to measure on.
        ranked : {"all", "even", "odd"}, optional
            The images that chose the sets.
        """
        ready = tuple(hold(holding, self.net, n, self.data, self.reading, seed=self.seed) for n in self.layers)
        found = measure(self.net, self.data, Plan(self.layers, ready, sets, self.outcomes, folds), self.reading)
        done = [((unit,),) for unit in range(found.units[0])] if sets is None else sets
        notes = found.info.pop("notes")
        notes += [found.info["replay"]["reason"]] if found.info["replay"]["reason"] else []
        for note in notes:
            warnings.warn(note, UnitlensWarning, stacklevel=4)
        settings = {
            **{"layer": ";".join(self.layers), "held": str(holding), "measures": list(self.measures), "folds": folds},
            **{"ranked": ranked, "limit": self.reading.limit, "batch_size": self.reading.batch_size},
            **{"strict": self.reading.strict, "seed": self.seed},
        }
        sets_of_units = tuple(map(self._units, done))
        return Effects(self._describe(found, settings, notes), sets_of_units, found.tally, found.classes, found.peaks)

    def beside(
        self,
        held: Held,
        holding: Holding,
        draws: int,
        *,
        folds: Folds = "all",
        ranked: str | None = None,
        activity: Sequence[Floats] | None = None,
    ) -> Effects:
        """Measure one set of units, and in the same pass sets that are drawn to compare it with.

        Parameters
        ----------
        held : tuple of tuple of int
            The units of each layer.
        holding, folds, ranked
            As for `effects`.
        draws : int
            Sets at random, and as many matched in activation.
        activity : sequence of float64 arrays, (U,), optional
            How active every unit of each layer is, where it is known; else some of the images are shown to the
            network for it.
        """
        if activity is None and draws:
            peaks = (unit_peaks(self.net, name, self.data, self.reading, seed=self.seed) for name in self.layers)
            activity = tuple(peaks)
        drawn = draw_sets(held, activity or (), draws, seed=self.seed)
        sets = (held, *(one for own in drawn.values() for one in own))
        found = self.effects(sets, holding, folds=folds, ranked=ranked)
        first = {kind: 1 + place * draws for place, kind in enumerate(drawn)}
        beside = {kind: found.only(range(start, start + draws)) for kind, start in first.items()}
        return replace(found.only([0]), drawn=beside)

    def _units(self, held: Held) -> tuple[int | LayerUnit, ...]:
        """The units of a set; of several layers, with their layers."""
        if len(self.layers) == 1:
            return held[0]
        own = zip(self.layers, held, strict=True)
        return tuple(LayerUnit(name, unit) for name, units in own for unit in units)

    def _describe(self, found: Measured, settings: dict[str, Any], notes: list[str]) -> dict[str, Any]:
        """Where the result comes from."""
        source = str(getattr(self.data, "source", repr(self.data)))
        return {
            "unitlens": versions()["unitlens"],
            "network": describe_network(self.net),
            "data": {"source": source, **{k: found.info[k] for k in ("sha256", "images", "measured", "skipped")}},
            "settings": settings,
            "units": sum(found.units),
            "classes": {"names": list(found.classes.names), "output_of": dict(found.classes.output_of)},
            "replay": found.info["replay"],
            "timings": {"seconds": found.info["seconds"]},
            "warnings": notes,
            "versions": versions(),
        }
