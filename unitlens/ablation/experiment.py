"""One network, its layers and data to measure effects on, with the settings that every measurement of them shares."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unitlens.ablation.activity import LayerValues, find_values, unit_peaks
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.measurement import EffectSettings, Measurement
from unitlens.ablation.measuring import Design, Measured, measure
from unitlens.ablation.outcomes import OUTCOMES, Measure, Outcome, outcomes_of
from unitlens.ablation.random_sets import draw_sets
from unitlens.ablation.result import SetEffects, UnitEffects
from unitlens.ablation.table import LayerUnits, UnitSet, named_units
from unitlens.ablation.tallies import Folds
from unitlens.data.classes import join_classes
from unitlens.data.concepts import Data, described
from unitlens.data.opening import open_data
from unitlens.data.reading import Reading
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
    """One network and images to measure effects on, and the settings that all measurements share.

    Attributes
    ----------
    net : Network
    layers : tuple of str
    data : Data
    replacement : Replacement
        What units are set to or multiplied by.
    measures : tuple of str
        Of each class.
    outcomes : mapping of str to Outcome
        Those of the measures that are summed; always the logit too, which ranks units that change no prediction.
    reading : Reading
    seed : int
    means : mapping of str to Tensor, (U,)
        Mean activations of layers, where they are known.
    described : mapping
        What to record of the data beside what is read from them, such as how they were opened.
    """

    net: Network
    layers: tuple[str, ...]
    data: Data
    replacement: Replacement
    measures: tuple[str, ...]
    outcomes: Mapping[str, Outcome]
    reading: Reading
    seed: int
    means: Mapping[str, Tensor] = field(default_factory=dict)
    described: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        net: Network | nn.Module,
        layers: str | Sequence[str],
        data: Data | str | Path,
        *,
        replacement: Replacement,
        measures: Iterable[Measure],
        reading: Reading,
        seed: int = 0,
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
        outcomes = {"logit": OUTCOMES["logit"], **outcomes}
        return cls(net, layers, data, replacement, names, outcomes, reading, seed)

    def check_classes(self, classes: Sequence[str | int]) -> None:
        """Make sure before a long pass that there are such classes, where the data list theirs.

        Raises
        ------
        UnitlensError
            If there is no class of a name.
        """
        outputs = self.net.output_count()
        if outputs is None or described(self.data).classes is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitlensWarning)  # the pass says it
            known = join_classes(self.data, self.net.classes, outputs)
        for class_ in classes:
            known.output(class_)

    def unit_effects(self) -> UnitEffects:
        """Measure every unit of the one layer alone, on all images."""
        return UnitEffects(self.measure(None))

    def set_effects(
        self,
        units: LayerUnits,
        draws: int,
        *,
        folds: Folds = "all",
        ranked: Folds | None = None,
        activity: Sequence[Floats] | None = None,
    ) -> SetEffects:
        """Measure one set of units, and in the same pass sets that are drawn to compare it with.

        Parameters
        ----------
        units : tuple of tuple of int
            The units of each layer.
        draws : int
            Sets at random, and as many matched in activation.
        folds, ranked
            As for `measure`.
        activity : sequence of float64 arrays, (U,), optional
            How active every unit of each layer is, where it is known; else the network is run on some of the images.
        """
        if activity is None and draws:
            activity = [unit_peaks(self.net, layer, self.data, self.reading, seed=self.seed) for layer in self.layers]
        drawn = draw_sets(units, activity or (), draws, seed=self.seed)
        sets = (units, *(one for own in drawn.values() for one in own))
        measured = self.measure(sets, folds=folds, ranked=ranked)
        first = {kind: 1 + place * draws for place, kind in enumerate(drawn)}
        beside = {kind: measured.only(range(start, start + draws)) for kind, start in first.items()}
        return SetEffects(measured.only([0]), beside)

    def measure(
        self, sets: Sequence[LayerUnits] | None, *, folds: Folds = "all", ranked: Folds | None = None
    ) -> Measurement:
        """Measure some sets of units, or every unit alone.

        Parameters
        ----------
        sets : sequence of tuple of tuple of int, optional
            For each set the units of each layer; None: every unit of the one layer.
        folds : {"all", "even", "odd"}
            The images to measure on.
        ranked : {"all", "even", "odd"}, optional
            The images that chose the sets.
        """
        values = tuple(self._values(layer) for layer in self.layers)
        design = Design(self.layers, values, None if sets is None else tuple(sets), self.outcomes, folds)
        found = measure(self.net, self.data, design, self.reading)
        for note in found.notes:
            warnings.warn(note, UnitlensWarning, stacklevel=5)
        settings = EffectSettings(
            layers=self.layers,
            ablation=str(self.replacement),
            where_sha256=self.replacement.where_sha256,
            measures=self.measures,
            folds=folds,
            ranked=ranked,
            limit=self.reading.limit,
            batch_size=self.reading.batch_size,
            strict=self.reading.strict,
            seed=self.seed,
        )
        every = [((unit,),) for unit in range(found.units[0])] if sets is None else sets
        named: tuple[UnitSet, ...] = tuple(named_units(self.layers, units) for units in every)
        return Measurement(settings, self._describe(found), named, found.tally, found.outputs, found.peaks)

    def _values(self, layer: str) -> LayerValues:
        return find_values(self.replacement, self.net, layer, self.data, self.reading, seed=self.seed, means=self.means)

    def _describe(self, found: Measured) -> dict[str, Any]:
        """Where the result comes from."""
        source = described(self.data).source
        return {
            "unitlens": versions()["unitlens"],
            "network": describe_network(self.net),
            "data": {"source": source, "opened": {}, **found.data, **self.described},
            "replay": found.replay,
            "timings": {"seconds": found.seconds},
            "warnings": found.notes,
            "versions": versions(),
        }
