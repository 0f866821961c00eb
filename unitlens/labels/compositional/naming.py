"""Name the units of a run by formulas of its concepts: their masks, or ranges of their activation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from unitlens.dissection.draws import plain_draws
from unitlens.dissection.work.run_pass import PassOptions, activations
from unitlens.labels.compositional.activation_ranges import range_masks
from unitlens.labels.compositional.evidence import NamedMask, label_rows
from unitlens.labels.compositional.masks import MasksOf, counted_masks, unit_masks
from unitlens.labels.compositional.settings import (
    RangesBy,
    RangeSettings,
    range_settings,
    recorded_settings,
    search_settings,
)
from unitlens.labels.compositional.signatures import StoredSignatures, signatures_of
from unitlens.labels.halves import one_half_note
from unitlens.labels.result import Labels
from unitlens.progress import progress as bar_of
from unitlens.stats.formulas.search import SearchSettings
from unitlens.stats.formulas.weighing import Weighing

if TYPE_CHECKING:
    from torch import nn

    from unitlens.data.concepts import Data
    from unitlens.dissection.result import Dissection
    from unitlens.dissection.store.passes import StoredPass
    from unitlens.models.network import Network


def formulas(
    run: "Dissection",
    net: "Network | nn.Module | None" = None,
    data: "Data | str | Path | None" = None,
    *,
    length: int = 3,
    beam: int = 10,
    budget: int = 1000,
    **passing: Unpack[PassOptions],
) -> Labels:
    """Name every unit by the formula of concepts (AND, OR, AND NOT) that fits its mask best.

    Every step joins one concept to all that stands before it, and each concept stands in it once. Of three concepts
    that is every formula of these operators but those that leave out a part of a concept, ``a AND NOT (b AND c)`` and
    ``a AND NOT (b AND NOT c)``; of four, those that join two pairs, ``(a AND b) OR (c AND d)``, are left out too.

    Parameters
    ----------
    run : Dissection
    net, data : optional
        Those of the run; needed where it did not keep its activations, see `unitlens.activations`.
    length : int
        Concepts of a formula, at most.
    beam : int
        Formulas of each length that are extended by every concept.
    budget : int
        Further formulas that may be extended, for each unit, to prove that none fits better; 0 for none.
    **passing
        ``basis``, ``batch_size``, ``workers``, ``store_limit`` and ``progress``, as for `unitlens.activations`.

    Returns
    -------
    Labels
        A row for each unit whose mask meets a concept. ``score`` is the IoU, ``bound`` what no formula of the length
        exceeds. Of the formulas that are supported it is the longest; where none is, that of highest IoU.

    Raises
    ------
    UnitlensError
        If a setting is not possible, or the activations are not those of the run.

    References
    ----------
    Mu and Andreas, "Compositional explanations of neurons" (NeurIPS 2020).

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> run = ul.dissect(net, "relu6", data, exemplars=0)
    >>> ul.formulas(run, net, data, length=2).table()["label"].str.contains(" OR ").any()
    np.True_
    """
    search = search_settings(length=length, beam=beam, budget=budget)  # before a pass is made
    with activations(run, net, data, **passing) as stored:
        return formulas_of(run, stored, search, progress=passing.get("progress", False))


def formulas_of(run: "Dissection", stored: "StoredPass", search: SearchSettings, *, progress: bool = False) -> Labels:
    """Do the same with activations that are open; see `formulas`."""

    def of_layer(stored: "StoredPass", layer: str) -> MasksOf:
        return unit_masks(run[layer].table()["threshold"].to_numpy(np.float32))

    return _labels(
        run, stored, _Method("formulas", of_layer, 1, False, search, recorded_settings(search)), show=progress
    )


def ranges(
    run: "Dissection",
    net: "Network | nn.Module | None" = None,
    data: "Data | str | Path | None" = None,
    *,
    k: int = 5,
    by: RangesBy = "quantiles",
    length: int = 1,
    beam: int = 10,
    budget: int = 1000,
    **passing: Unpack[PassOptions],
) -> Labels:
    """Name k ranges of every unit's activation: what it says when it is weakly on, and when strongly.

    Parameters
    ----------
    run, net, data
        As for `unitlens.formulas`.
    k : int
        Ranges of a unit.
    by : {"quantiles", "clusters"}
        Whether each range has as many of the unit's positive values, or they are clusters of these (k-means).
    length, beam, budget, **passing
        As for `unitlens.formulas`; by default a range is named by one concept.

    Returns
    -------
    Labels
        A row for each range whose positions meet a concept, from the weakest. ``share`` of its positions lie in the
        label.

    Raises
    ------
    UnitlensError
        As for `unitlens.formulas`.

    References
    ----------
    La Rosa, Gilpin and Capobianco, "Towards a fuller understanding of neurons with clustered compositional
    explanations" (NeurIPS 2023).
    """
    asked = range_settings(k=k, by=by, length=length, beam=beam, budget=budget)  # before a pass is made
    with activations(run, net, data, **passing) as stored:
        return ranges_of(run, stored, asked, progress=passing.get("progress", False))


def ranges_of(run: "Dissection", stored: "StoredPass", asked: RangeSettings, *, progress: bool = False) -> Labels:
    """Do the same with activations that are open; see `ranges`."""

    def of_layer(stored: "StoredPass", layer: str) -> MasksOf:
        return range_masks(asked.k, asked.by, stored.layers[layer].largest)

    method = _Method("ranges", of_layer, asked.k, True, asked.search, recorded_settings(asked))
    return _labels(run, stored, method, show=progress)


@dataclass(frozen=True, eq=False)
class _Method:
    """What is named, and how.

    Attributes
    ----------
    name : str
        As labels.csv has it.
    masks_of : callable
        The masks of a layer of a pass.
    each : int
        Masks of a unit.
    of_ranges : bool
        Whether they are ranges of its activation.
    search : SearchSettings
    recorded : dict
        Everything that was chosen.
    """

    name: str
    masks_of: Callable[["StoredPass", str], MasksOf]
    each: int
    of_ranges: bool
    search: SearchSettings
    recorded: dict[str, Any]


def _labels(run: "Dissection", stored: "StoredPass", method: _Method, *, show: bool) -> Labels:
    """Name the masks of all layers of a run."""
    start, rows, notes = time.perf_counter(), list[dict[str, Any]](), list[str]()
    for layer in run.layers:
        with signatures_of(stored, grid=stored.layers[layer].layer_grid is not None) as signed:
            named = _named(run, stored, layer, signed, method, show=show)
            names = stored.labels.columns.names()
            of_layer = label_rows(layer, named, names, fdr=run.settings.fdr, of_ranges=method.of_ranges)
            notes += _notes(layer, of_layer, signed, method.search)
        rows += of_layer
    notes += one_half_note(stored.folds)
    seconds = time.perf_counter() - start
    return Labels.of(run, method.name, rows, settings=method.recorded, seconds=seconds, notes=notes)


def _named(
    run: "Dissection", stored: "StoredPass", layer: str, signed: StoredSignatures, method: _Method, *, show: bool
) -> list[NamedMask]:
    """All masks of a layer that meet a concept, with their formulas; those of silent units are left out."""
    weighing = Weighing(signed.signatures, method.search)
    mute = run[layer].table()["verdict"].isin(["silent", "nonfinite"]).to_numpy()
    partners = plain_draws(stored, replace(run.settings, evidence=True)).partners
    named = []
    with bar_of(len(mute), f"naming {layer}", unit="units", show=show) as bar:
        for counted in counted_masks(
            stored,
            layer,
            signed,
            method.masks_of(stored, layer),
            each=method.each,
            upsampling=run.settings.upsampling,
            partners=partners,
        ):
            weighed = None if mute[counted.unit] else weighing.weigh(counted.by_fold, counted.shifted)
            if weighed is not None:
                named.append(NamedMask.of(counted, weighed, signed.signatures))
            bar.update(int(counted.number == method.each - 1))
    return named


def _notes(layer: str, rows: list[dict[str, Any]], signed: StoredSignatures, settings: SearchSettings) -> list[str]:
    """What the user should know of the search."""
    if not rows or settings.length < 3:
        return []
    open_ = [row["bound"] - row["score"] for row in rows if row["bound"] > row["score"] + 1e-12]
    said = f"{layer}: {len(rows) - len(open_)} of {len(rows)} labels are proven to have the highest IoU of their length"
    if open_:
        said += f"; the others may be up to {max(open_):.3g} below it (a larger budget tells more)"
    return [f"{said}; {signed.count} combinations of concepts are marked in the images."]
