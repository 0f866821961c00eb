"""A network, images and settings to measure effects on predictions with: what all such measurements share."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unitlens.ablation.activity import Contributions, LayerValues, find_values, unit_contributions, unit_count
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.measurement import EffectSettings, Measurement
from unitlens.ablation.measuring import Design, Measured, few_folds, measure
from unitlens.ablation.outcomes.measures import OUTCOMES, Measure, Outcome, outcomes_of
from unitlens.ablation.random_sets import DRAWS, FEW_DRAWS, MOST_PASSES, describe_matching, draw_sets
from unitlens.ablation.replay.cut import replayed_share
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.responses.predictions import Predictions
from unitlens.ablation.result import SetEffects, UnitEffects
from unitlens.ablation.table import LayerUnits, UnitSet, named_units
from unitlens.ablation.tallies import HALF_ROWS, fills_enough
from unitlens.ablation.work.kept import NOTHING_KEPT, Kept, measurement_key
from unitlens.data.classes import join_classes
from unitlens.data.concepts import Data, described
from unitlens.data.groups import Groups, grouped
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading
from unitlens.dissection.provenance import describe_network, versions
from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError, UnitlensWarning, spelled
from unitlens.models.bases import BasisLike, Coding, as_basis
from unitlens.models.fast.precision import Fast, chosen_precision
from unitlens.models.layers import find_layers
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.stats.folds import Folds

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
    kept : Kept
        Where measurements are kept, so that they go on from there after they were stopped.
    fast : {"float32", "bfloat16"}, optional
        What a fast copy computes all in front of the layers in; None: the network itself does.
    basis : Coding, optional
        Directions that are the units of the layers.
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
    kept: Kept = NOTHING_KEPT
    fast: Fast | None = None
    basis: Coding | None = None

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
        groups: Groups | None = None,
        fast: bool | Fast = False,
        kept: Kept = NOTHING_KEPT,
        basis: BasisLike | None = None,
    ) -> "Experiment":
        """Take what the public functions are given; a network in training mode is warned about."""
        net = net if isinstance(net, Network) else classifier(net)
        if net.image == "output":
            ways = spelled(python="ul.intervene or ul.causal_effects", shell="`unitlens intervene`")
            raise UnitlensError(f"{net.name} draws images and predicts no classes: measure what it draws by {ways}.")
        data = as_data(data)
        data = grouped(data, groups, limit=reading.limit, seed=reading.seed)
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
        chosen = chosen_precision(fast)
        directions = None if basis is None else as_basis(basis)
        return cls(
            net, layers, data, replacement, names, outcomes, reading, seed, kept=kept, fast=chosen, basis=directions
        )

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
        self, units: LayerUnits, draws: int | None, *, folds: Folds = "all", ranked: Folds | None = None
    ) -> SetEffects:
        """Measure one set of units, and in the same pass sets that are drawn to compare it with.

        Parameters
        ----------
        units : tuple of tuple of int
            The units of each layer.
        draws : int, optional
            Sets at random, and as many matched in what their units hand on: 199, or 39 where these would take more than
            10 passes of the network an image.
        folds, ranked
            As for `measure`.
        """
        draws = self.draw_count(draws)
        handed = [self.contributions(layer) for layer in self.layers] if draws else []
        drawn = draw_sets(units, [each.values for each in handed], draws, seed=self.seed)
        sets = (units, *chain.from_iterable(drawn.values()))
        matching = describe_matching(self.layers, units, handed) if drawn else None
        measured = self.measure(sets, folds=folds, ranked=ranked, matched_in=matching)
        first = {kind: 1 + number * draws for number, kind in enumerate(drawn)}
        beside = {kind: measured.only(range(start, start + draws)) for kind, start in first.items()}
        return SetEffects(measured.only([0]), beside)

    def unit_count(self, layer: str) -> int:
        """How many units a layer has."""
        return unit_count(self.net, layer, self.basis)

    def contributions(self, layer: str) -> Contributions:
        """What units of a layer hand on, in which sets are matched."""
        handed = unit_contributions(self.net, layer, self.data, self.reading, seed=self.seed, basis=self.basis)
        return self.kept.processes.of_first(handed)

    def draw_count(self, draws: int | None) -> int:
        """How many sets are drawn: as many as are asked for; else fewer where replaying them is dear."""
        if draws is not None:
            return draws
        image = self.net.example_inputs()
        passes = 2 * DRAWS * replayed_share(cut_network(self.net.model, self.layers, image), image)
        return DRAWS if passes <= MOST_PASSES else FEW_DRAWS

    def measure(
        self,
        sets: Sequence[LayerUnits] | None,
        *,
        folds: Folds = "all",
        ranked: Folds | None = None,
        matched_in: str | None = None,
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
        matched_in : str, optional
            What sets are matched in.
        """
        values = tuple(self.values(layer) for layer in self.layers)
        design = Design(
            layers=self.layers,
            values=values,
            response=Predictions(self.outcomes),
            sets=None if sets is None else tuple(sets),
            folds=folds,
            fast=self.fast,
            basis=self.basis,
        )
        measured = measure(self.net, self.data, design, self.reading, self.kept)
        tally, outputs = measured.counts
        filled = tally.images[HALF_ROWS[folds]]
        if tally.grouped and not fills_enough(filled):
            measured.notes.append(few_folds(measured.data, filled))
        for note in measured.notes:
            warnings.warn(note, UnitlensWarning, stacklevel=5)
        settings = self.settings(self.measures, folds=folds, ranked=ranked, matched_in=matched_in)
        every = [((unit,),) for unit in range(measured.units[0])] if sets is None else sets
        named: tuple[UnitSet, ...] = tuple(named_units(self.layers, units) for units in every)
        return Measurement(settings, self.describe(measured), named, tally, outputs, measured.peaks)

    def settings(
        self, measures: Sequence[str], *, folds: Folds, ranked: Folds | None, matched_in: str | None
    ) -> EffectSettings:
        """What a measurement is recorded with."""
        return EffectSettings(
            layers=self.layers,
            ablation=str(self.replacement) + ("" if self.basis is None else f", {self.basis}"),
            where_sha256=self.replacement.where_sha256,
            measures=tuple(measures),
            folds=folds,
            ranked=ranked,
            limit=self.reading.limit,
            batch_size=self.reading.batch_size,
            strict=self.reading.strict,
            seed=self.seed,
            matched_in=matched_in,
            fast=self.fast,
            basis=None if self.basis is None else BasisRecord(**self.basis.describe()),
        )

    def values(self, layer: str) -> LayerValues:
        """What the units of a layer are replaced by, with all that is found in the data."""
        values = find_values(
            self.replacement,
            self.net,
            layer,
            self.data,
            self.reading,
            seed=self.seed,
            means=self.means,
            keep=partial(self.kept.tensor, self._key(layer, self.replacement.value, self.basis)),
            basis=self.basis,
        )
        return self.kept.processes.of_first(values)

    def _key(self, *asked: Any) -> str | None:
        return measurement_key(self.net, self.data, self.reading, *asked) if self.kept.folder else None

    def describe(self, measured: Measured[Any]) -> dict[str, Any]:
        """Where the result comes from."""
        source = described(self.data).source
        return {
            "unitlens": versions()["unitlens"],
            "network": describe_network(self.net),
            "data": {"source": source, "opened": {}, **measured.data, **self.described},
            "replay": measured.replay,
            "timings": {"seconds": measured.seconds},
            "warnings": measured.notes,
            "versions": versions(),
        }
