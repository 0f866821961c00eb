"""Measure the labels of all methods in the same way, and weigh those that came without evidence."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
from torch import nn

from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading
from unitlens.dissection.draws import plan_draws
from unitlens.dissection.reopening import check_network, regrouped, run_basis
from unitlens.dissection.result import Dissection
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.work.run_pass import BATCH_SIZE, PassOptions, activations
from unitlens.errors import UnitlensError, argument
from unitlens.labels.by_words.vectors import Sight
from unitlens.labels.columns import DISSECTION
from unitlens.labels.footing.agreement import agreements
from unitlens.labels.footing.by_encoder import check_texts, weigh_by_encoder
from unitlens.labels.footing.meanings import ConceptNames, Meaning, OneConcept, meanings_of, unmatched_note
from unitlens.labels.footing.pairs import FEW_UNITS, Pairs, PairScores, score_pairs
from unitlens.labels.footing.planes import areas, with_meanings
from unitlens.labels.footing.references import baseline_labels, dissection_labels
from unitlens.labels.footing.removal import Removals, check_removals, mean_effect, measure_removals
from unitlens.labels.footing.simulation import simulation
from unitlens.labels.footing.weighing import CHOSEN_ON, held_out_halves, weigh, weighs_itself
from unitlens.labels.result import Labels
from unitlens.models.network import Network
from unitlens.models.words.encoder import TextImageEncoder
from unitlens.models.words.opening import encoder as open_encoder
from unitlens.progress import tell
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.partners import Partners
from unitlens.stats.scores import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

MOST_PLANES = 16
"""Labels other than concepts that are scored together, at most."""

MOST_AREAS = 256
"""Labels whose areas in all images are held together, at most."""

Predictions = Mapping[str, Mapping[str, npt.ArrayLike]]
"""Numbers of each image of the run, in its order, by method and label."""


def measure_labels(
    run: Dissection,
    labels: Labels,
    net: Network | nn.Module | None = None,
    data: Data | str | Path | None = None,
    *,
    references: bool = True,
    effects: bool = False,
    encoder: str | TextImageEncoder | None = None,
    predictions: Predictions | None = None,
    seed: int = 0,
    **passing: Unpack[PassOptions],
) -> Labels:
    """Measure labels of all methods in the same way, whoever named the units and however.

    Where a label is a concept of the run, its masks say what it means, and it gets ``iou``, ``auprc`` and
    ``correlation`` with its unit. ``simulation`` is the correlation of the unit's peaks in images with how much of each
    is marked with the concept, over images that did not choose the label: where all images choose labels, those of the
    even folds choose once more (``even_label``), and those of the odd folds are predicted. ``effect`` is the mean
    change of the logit of an image's own class when the unit is set to 0, in images that hold the concept.

    Labels without evidence of their own, such as those from elsewhere, are weighed by IoU: ``heldout_score`` in images
    that did not choose them, ``chance_score`` with the labels of other images, and the p-value, q-value and verdict
    that follow. Those that are no concept of the run are weighed by an ``encoder`` of images and words, where one is
    given: what they predict of an image is how near the encoder finds it to the label, and the held-out score, the same
    by chance, and the simulation are correlations of that with the unit's peaks.

    Parameters
    ----------
    run : Dissection
    labels : Labels
    net, data : optional
        Those of the run; needed where it did not keep its activations, and for effects.
    references : bool
        Whether the concepts of the dissection and trivial labels (`baseline_labels`) are measured too, as methods
        beside the others, in every layer that has labels.
    effects : bool
        Whether units are removed. Only what comes behind the layer is computed again, once for each unit.
    encoder : str or TextImageEncoder, optional
        As for `unitlens.encoder`: weighs labels from elsewhere that are no concept.
    predictions : mapping of str to mapping of str to array, (N,), optional
        What labels predict of each image, where something else says it than masks: by method and label a number for
        each image, in the order of the run's activations, such as its similarity to the label by an encoder.
    seed : int
        Of the trivial labels.
    **passing
        ``basis``, ``batch_size``, ``workers``, ``store_limit`` and ``progress``, as for `unitlens.activations`.

    Returns
    -------
    Labels
        The same labels, and those of the references.

    Raises
    ------
    UnitlensError
        As for `unitlens.activations`; if effects cannot be measured; and if there is no such encoder, or it can read
        none of the labels.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> run = ul.dissect(net, "relu6", data, evidence=False, exemplars=0)
    >>> labels = ul.measure_labels(run, ul.given_labels(run, {3: "Skies", 5: "joy"}), net, data, references=False)
    >>> labels.table()["iou"].notna().tolist()
    [True, False]
    """
    if effects and (net is None or data is None):
        raise UnitlensError(f"Effects take the network and the images: give {argument('net')} and {argument('data')}.")
    progress = passing.get("progress", False)
    if effects and net is not None and data is not None:
        check_effects(run, check_network(net, run.info), data)
    opened = None if encoder is None else open_encoder(encoder)
    if opened is not None:
        check_texts(labels, ConceptNames.of(run), opened)
    with activations(run, net, data, images=opened is not None, **passing) as stored:
        measured = measure_on(
            run,
            labels,
            stored,
            references=references,
            sight=None if opened is None else Sight(stored, opened, progress),
            predictions=predictions,
            seed=seed,
            progress=progress,
        )
        if effects and net is not None and data is not None:
            measured = with_effects(run, measured, stored, check_network(net, run.info), data, **passing)
    return measured


def measure_on(
    run: Dissection,
    labels: Labels,
    stored: StoredPass,
    *,
    references: bool = True,
    sight: Sight | None = None,
    predictions: Predictions | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Labels:
    """Measure labels on the activations of a run, but for their effects; see `measure_labels`."""
    start = time.perf_counter()
    if references:
        labels = _with_references(run, labels, seed=seed)
    names = ConceptNames.of(run)
    meanings = meanings_of([*labels.rows["label"], *filter(None, labels.rows["even_label"])], names)
    footing = Footing(run, stored, meanings, predictions or {})
    rows = labels.rows.reset_index(drop=True)  # rows are told apart by their places
    for layer in dict.fromkeys(rows["layer"]):
        footing.measure(rows, labels, layer)
    if progress:
        tell(f"measured {len(rows)} labels in {time.perf_counter() - start:.1f} s")
    agreement = agreements(stored, rows, list(labels.methods), meanings)
    labels = _noted(replace(labels, rows=rows, agreement=agreement), meanings, names)
    if sight is None:
        return labels
    return weigh_by_encoder(labels, footing.without_masks(rows), sight, footing.partners, fdr=run.settings.fdr)


def _with_references(run: Dissection, labels: Labels, *, seed: int) -> Labels:
    """Labels beside those that they are compared with, in every layer that has labels; what is there already stays."""
    import pandas as pd

    concepts = dissection_labels(run)
    beside, labels = concepts.joined(baseline_labels(run, seed=seed)), _with_even_labels(labels, concepts)
    layers = set(labels.rows["layer"])
    for method in beside.methods:
        made, there = beside[method], labels.rows[labels.rows["method"] == method]
        added = made.rows[made.rows["layer"].isin(layers - set(there["layer"]))]
        if len(added) or method not in labels.methods:
            parts = [rows for rows in (there, added) if len(rows)]
            rows = pd.concat(parts, ignore_index=True) if parts else added
            labels = labels.joined(replace(made, rows=rows))
    return labels


def _with_even_labels(labels: Labels, concepts: Labels) -> Labels:
    """Labels where those of the dissection have what the even folds choose, which older files do not say."""
    rows = labels.rows.reset_index(drop=True)
    own = rows.index[rows["method"] == DISSECTION]
    known = concepts.rows.set_index(["layer", "unit"])["even_label"].to_dict()
    units = zip(rows.loc[own, "layer"], rows.loc[own, "unit"], strict=True)
    rows.loc[own, "even_label"] = [known.get(unit, "") for unit in units]
    return replace(labels, rows=rows)


@dataclass(frozen=True, eq=False)
class Footing:
    """What labels are measured with.

    Attributes
    ----------
    run : Dissection
    stored : StoredPass
    meanings : mapping of str to Meaning
        What labels mean in images, as far as it is known.
    predictions : mapping of str to mapping of str to array, (N,)
        What labels of some methods predict otherwise.
    """

    run: Dissection
    stored: StoredPass
    meanings: Mapping[str, Meaning]
    predictions: Predictions

    def measure(self, rows: "pd.DataFrame", labels: Labels, layer: str) -> None:
        """Fill in what is measured of the labels of a layer."""
        maps = self.stored.layers[layer]
        of_mask = rows["range_low"].isna() & rows["range_high"].isna()  # a label of a range is not of the unit's mask
        known = rows["label"].isin(list(self.meanings)) & of_mask & (rows["layer"] == layer)
        chosen = rows.index[known].to_numpy()
        if len(chosen):
            scores = PairScores.unknown(len(chosen), len(self.partners))
            for some in self._together(rows, chosen):
                found = self._score(rows.loc[chosen[some]], labels, maps)
                for into, values in zip(scores, found, strict=True):
                    into[some] = values
            self._add_scores(rows, chosen, scores, labels, layer)
        self._simulate(rows, rows.index[of_mask & (rows["layer"] == layer)].to_numpy(), labels, maps)

    def without_masks(self, rows: "pd.DataFrame") -> Ints:
        """Places of labels of units' masks of which neither masks nor what was given say what they predict."""
        of_mask = rows["range_low"].isna() & rows["range_high"].isna()
        unknown = ~rows["label"].isin(list(self.meanings)) & ~rows["method"].isin(list(self.predictions))
        return rows.index[of_mask & unknown].to_numpy(np.int64)

    @cached_property
    def partners(self) -> Partners:
        """For each draw and image, the image whose labels it is given."""
        return plan_draws(self.stored, replace(self.run.settings, evidence=True, control=())).plain.partners

    def _together(self, rows: "pd.DataFrame", chosen: Ints) -> Iterator[Ints]:
        """Places of rows that are scored together: labels that are concepts, then few others of few units at a time.

        Each of the others takes a plane of its own, which is held and looked up for all units that are counted
        together.
        """
        labels, units = rows.loc[chosen, "label"].to_numpy(), rows.loc[chosen, "unit"].to_numpy(np.int64)
        concept = np.array([isinstance(self.meanings[label], OneConcept) for label in labels], bool)
        block = np.where(concept, -1, units // FEW_UNITS)
        for number in np.unique(block):
            together = np.flatnonzero(block == number)
            label = np.unique(labels[together], return_inverse=True)[1]
            part = label // MOST_PLANES if number >= 0 else np.zeros_like(label)
            yield from (together[part == one] for one in np.unique(part))

    def _score(self, some: "pd.DataFrame", labels: Labels, maps: LayerMaps) -> PairScores:
        """Scores by masks of some labels."""
        methods, meaning = some["method"].tolist(), list(dict.fromkeys(some["label"]))
        weighed = not all(weighs_itself(labels, method, maps.name) for method in set(methods))
        grid = maps.layer_grid is not None
        with with_meanings(self.stored, [self.meanings[label] for label in meaning], grid=grid) as (stored, columns):
            column_of = dict(zip(meaning, columns, strict=True))
            concept = np.array([column_of[label] for label in some["label"]], np.int64)
            held_out = np.array([held_out_halves(labels, method) for method in methods], bool)
            pairs = Pairs(some["unit"].to_numpy(np.int64), concept, held_out)
            scores = score_pairs(
                stored, maps, pairs, self.run.settings, self.partners if weighed else Partners(stored.images)
            )
        return scores if weighed else scores._replace(drawn=np.full((len(some), len(self.partners)), np.nan))

    def _add_scores(self, rows: "pd.DataFrame", chosen: Ints, scores: PairScores, labels: Labels, layer: str) -> None:
        """Fill in scores by masks, and for methods without evidence of their own what follows from them."""
        for name in ("iou", "auprc", "correlation"):
            rows.loc[chosen, name] = np.where(scores.silent, np.nan, getattr(scores, name))
        methods = rows.loc[chosen, "method"].to_numpy()
        for method in dict.fromkeys(methods):
            if not weighs_itself(labels, method, layer):
                own = methods == method
                some, silent = chosen[own], scores.silent[own]
                weigh(rows, some, scores.held_out[own], scores.drawn[own], silent, fdr=self.run.settings.fdr)
                rows.loc[some, "score"] = rows.loc[some, "score"].fillna(rows.loc[some, "iou"])

    def _simulate(self, rows: "pd.DataFrame", chosen: Ints, labels: Labels, maps: LayerMaps) -> None:
        """Fill in how well labels predict peaks: by what was given, or else by what they mean."""
        asked = [_Simulated.of(row, rows.loc[row], labels) for row in chosen.tolist()]
        self._compare(rows, maps, [(one, self._given(one)) for one in asked if one.label in self._given_of(one.method)])
        known = [one for one in asked if one.method not in self.predictions and one.label in self.meanings]
        distinct = list(dict.fromkeys(one.label for one in known))
        for some in in_blocks(len(distinct), MOST_AREAS):
            place = {label: column for column, label in enumerate(distinct[some])}
            area = areas(self.stored, [self.meanings[label] for label in place], grid=maps.layer_grid is not None)
            self._compare(rows, maps, [(one, area[:, place[one.label]]) for one in known if one.label in place])

    def _given_of(self, method: str) -> Mapping[str, npt.ArrayLike]:
        return self.predictions.get(method, {})

    def _given(self, one: "_Simulated") -> Floats:
        """What was given as the prediction of a label, for each image."""
        numbers = np.asarray(self._given_of(one.method)[one.label], np.float64)
        if numbers.shape != (self.stored.images,):
            raise UnitlensError(
                f"The predictions of {one.label!r:.60} have the shape {numbers.shape}; there is one for each of "
                f"the {self.stored.images} images of the run."
            )
        return numbers

    def _compare(self, rows: "pd.DataFrame", maps: LayerMaps, predicted: Sequence[tuple["_Simulated", Floats]]) -> None:
        """Compare predictions with peaks."""
        folds, peaks = self.stored.folds, maps.peaks_by_unit(one.unit for one, _ in predicted)
        for one, numbers in predicted:
            held_out = np.asarray(one.halves, bool)[folds % 2]
            found = simulation(numbers, peaks.read(one.unit), folds, held_out)
            rows.loc[one.row, ["simulation", "simulation_low", "simulation_high"]] = tuple(found)


class _Simulated(NamedTuple):
    """The row of a label, its unit and method, the label that predicts, and which halves of the folds it did not see.

    Where all images choose labels, that is the one which those of the even folds choose.
    """

    row: int
    unit: int
    method: str
    label: str
    halves: tuple[bool, bool]

    @classmethod
    def of(cls, place: int, row: "pd.Series[Any]", labels: Labels) -> "_Simulated":
        """The row of a table at some place."""
        unit, method, even = int(row["unit"]), row["method"], row["even_label"]
        halves = CHOSEN_ON["even"] if even else held_out_halves(labels, method)
        return cls(place, unit, method, even or row["label"], halves)


def check_effects(run: Dissection, net: Network, data: Data | str | Path) -> None:
    """Make sure before anything is computed that effects of removing units can be measured.

    Raises
    ------
    UnitlensError
        If the network predicts no classes, as a generator, or no image has one.
    """
    reading = Reading(limit=run.settings.limit, seed=run.settings.seed)
    check_removals(net, run.layers, regrouped(as_data(data), run.groups), reading)


def with_effects(
    run: Dissection,
    labels: Labels,
    stored: StoredPass,
    net: Network,
    data: Data | str | Path,
    **passing: Unpack[PassOptions],
) -> Labels:
    """Labels with what removing their units does in images that hold what they mean; see `measure_labels`."""
    directions, images = run_basis(run.settings, passing.get("basis")), regrouped(as_data(data), run.groups)
    reading = Reading(
        batch_size=passing.get("batch_size", BATCH_SIZE),
        workers=passing.get("workers", 0),
        limit=run.settings.limit,
        seed=run.settings.seed,
        progress=passing.get("progress", False),
    )
    rows = labels.rows.copy()
    meanings = meanings_of(rows["label"].tolist(), ConceptNames.of(run))
    for layer in dict.fromkeys(rows["layer"]):
        known = rows[(rows["layer"] == layer) & rows["label"].isin(list(meanings))]
        if not len(known):
            continue
        units = sorted(set(known["unit"]))
        found = measure_removals(net, layer, images, units, reading, basis=directions)
        holding = _holding(stored, meanings, known["label"].tolist(), found, layer)
        for row in known.index:
            column = units.index(known.loc[row, "unit"])
            effect = mean_effect(found.change[:, column], found.folds, holding[known.loc[row, "label"]])
            rows.loc[row, ["effect", "effect_low", "effect_high"]] = tuple(effect)
    return replace(labels, rows=rows)


def _holding(
    stored: StoredPass, meanings: Mapping[str, Meaning], labels: list[str], removals: Removals, layer: str
) -> dict[str, Bools]:
    """Which of the images in which units were removed hold what each label means."""
    distinct = list(dict.fromkeys(labels))
    grid = stored.layers[layer].layer_grid is not None
    place = {name: number for number, name in enumerate(stored.record.names)}
    images = np.array([place[name] for name in removals.names], np.int64)
    with with_meanings(stored, [meanings[label] for label in distinct], grid=grid) as (marked, columns):
        there = marked.labels.shares(columns, grid=grid)[images] > 0
    return dict(zip(distinct, there.T, strict=True))


def _noted(labels: Labels, meanings: Mapping[str, Meaning], names: ConceptNames) -> Labels:
    """Labels with what the user should know of those that are no concept of the run."""
    methods = dict(labels.methods)
    for method, record in labels.methods.items():
        own = labels.rows.loc[labels.rows["method"] == method, "label"].tolist()
        note = unmatched_note(method, own, meanings, names)
        if note and note not in record.notes:
            methods[method] = replace(record, notes=(*record.notes, note))
    return replace(labels, methods=methods)
