"""One network, layer and data set to measure effects on, with the settings that every measurement of them shares."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from unitlens.concepts import Data
from unitlens.effect_result import Effects
from unitlens.errors import UnitlensWarning
from unitlens.holding import Holding, hold
from unitlens.layers import find_layers
from unitlens.measuring import Measured, Plan, Units, measure
from unitlens.network import Network, classifier
from unitlens.observation import Reading
from unitlens.outcomes import Outcome, logit, outcomes_of
from unitlens.provenance import describe_network, versions
from unitlens.sources import open_data
from unitlens.tallies import Folds

_MODAL = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
"""Modules that do something else in training mode."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """What is measured, on what.

    Attributes
    ----------
    net : Network
    layer : str
    data : Data
    measures : tuple of str
        Of each class.
    outcomes : dict of str to callable
        Those of the measures that are sums; always the logit, which ranks units that change no call.
    reading : Reading
    seed : int
    """

    net: Network
    layer: str
    data: Data
    measures: tuple[str, ...]
    outcomes: dict[str, Outcome]
    reading: Reading
    seed: int

    @classmethod
    def of(
        cls,
        net: Network | nn.Module,
        layer: str,
        data: Data | str | Path,
        measures: Iterable[str | Outcome],
        reading: Reading,
        seed: int,
    ) -> "Experiment":
        """Take what the public functions are given; a network in training mode is warned about."""
        net = net if isinstance(net, Network) else classifier(net)
        data = open_data(data) if isinstance(data, str | Path) else data
        find_layers(net.model, layer)
        if any(module.training and isinstance(module, _MODAL) for module in net.model.modules()):
            warnings.warn(
                "The network is in training mode; effects are measured in evaluation mode (dropout off, batch norm "
                "with its stored means), and training mode is restored afterwards.",
                UnitlensWarning,
                stacklevel=4,
            )
        names, outcomes = outcomes_of(measures)
        return cls(net, layer, data, names, {"logit": logit, **outcomes}, reading, seed)

    def effects(
        self, sets: tuple[Units, ...] | None, holding: Holding, *, folds: Folds = "all", ranked: str | None = None
    ) -> Effects:
        """Measure some sets of units, or every unit alone.

        Parameters
        ----------
        sets : tuple of tuple of int, optional
            None: every unit.
        holding : Holding
            What they are held at.
        folds : {"all", "even", "odd"}
            The pictures to measure on.
        ranked : {"all", "even", "odd"}, optional
            The pictures that chose the sets.
        """
        ready = hold(holding, self.net, self.layer, self.data, self.reading, seed=self.seed)
        found = measure(self.net, self.data, Plan(self.layer, sets, self.outcomes, folds, ready), self.reading)
        done = tuple((unit,) for unit in range(found.units)) if sets is None else sets
        notes = found.info.pop("notes")
        notes += [found.info["replay"]["reason"]] if found.info["replay"]["reason"] else []
        for note in notes:
            warnings.warn(note, UnitlensWarning, stacklevel=4)
        settings = {
            **{"layer": self.layer, "held": str(holding), "measures": list(self.measures), "folds": folds},
            **{"ranked": ranked, "limit": self.reading.limit, "batch_size": self.reading.batch_size},
            **{"strict": self.reading.strict, "seed": self.seed},
        }
        return Effects(self._describe(found, settings, notes), done, found.tally, found.classes, found.peaks)

    def _describe(self, found: Measured, settings: dict[str, Any], notes: list[str]) -> dict[str, Any]:
        """Where the result comes from."""
        source = str(getattr(self.data, "source", repr(self.data)))
        return {
            "unitlens": versions()["unitlens"],
            "network": describe_network(self.net),
            "data": {"source": source, **{k: found.info[k] for k in ("sha256", "pictures", "measured", "skipped")}},
            "settings": settings,
            "units": found.units,
            "classes": {"names": list(found.classes.names), "output_of": dict(found.classes.output_of)},
            "replay": found.info["replay"],
            "timings": {"seconds": found.info["seconds"]},
            "warnings": notes,
            "versions": versions(),
        }
