"""The two passes of an audit: over the images of the run, labelled with other settings, and over images with noise."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitlens.comparison.audit_checks import CheckedConcepts, LayerCheck, check_halves, overlapping_concepts
from unitlens.comparison.entries import Entry
from unitlens.data.concepts import Data, described
from unitlens.dissection.draws import plan_draws
from unitlens.dissection.forward import Resources, observe
from unitlens.dissection.labelling import LabelledLayer, label_units
from unitlens.dissection.reopening import check_data
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.errors import UnitlensError, argument
from unitlens.models.network import Network
from unitlens.plurals import counted
from unitlens.stats.thresholds import TooFewPositionsError

NOISE = 0.02
"""Standard deviation of the noise, images being in [0, 1]: up to 28 % of units change their concept (ICCV 2023)."""


class PassChecks(NamedTuple):
    """What the passes found.

    Attributes
    ----------
    checks : list of LayerCheck
    overlaps : list of dict
        See `unitlens.comparison.audit_checks.overlapping_concepts`.
    notes : list of str
        What could not be checked, and why; a sentence each.
    failed : bool
        Whether a check is left out that may be well the next time: not where the settings do not allow it.
    """

    checks: list[LayerCheck]
    overlaps: list[dict[str, Any]]
    notes: list[str]
    failed: bool


class _Note(NamedTuple):
    """What a pass has to say, and whether it is of a check that failed."""

    text: str
    failed: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class _NoisyNetwork(Network):
    """A network that is given its images, or latents, with noise, drawn one by one: batch sizes do not matter."""

    noise: float = NOISE
    generator: torch.Generator | None = None

    def prepare(self, inputs: Tensor, *, noise: Tensor | None = None) -> Tensor:
        drawn = torch.stack([torch.randn(inputs.shape[1:], generator=self.generator) for _ in inputs])
        return super().prepare(inputs, noise=self.noise * drawn)


def with_noise(net: Network, *, noise: float = NOISE, seed: int = 0) -> Network:
    """Make a network that is given its images, or latents, with Gaussian noise of a standard deviation."""
    of_net = {field.name: getattr(net, field.name) for field in fields(Network)}
    return _NoisyNetwork(**of_net, noise=noise, generator=torch.Generator().manual_seed(seed))


def check_noise(noise: float) -> None:
    """Make sure that noise is a standard deviation, or 0 for none.

    Raises
    ------
    UnitlensError
        If it is not.
    """
    if not 0 <= noise < math.inf:
        raise UnitlensError(f"{argument('noise', noise)} must be a standard deviation, such as {NOISE}, or 0 for none.")


def run_passes(
    run: Dissection,
    net: Network,
    data: Data,
    *,
    entries: Mapping[str, Entry],
    batch_size: int,
    resources: Resources,
    noise: float,
    seed: int,
    halves: bool = False,
) -> PassChecks:
    """Label the units of a run again, with other settings and with noise.

    Parameters
    ----------
    run : Dissection
    net, data
        Those of the run.
    entries : mapping of str to Entry
        The layers of the run, by their names.
    batch_size : int
    resources : Resources
    noise : float
        Standard deviation of the noise; with 0 there is one pass only.
    seed : int
        Of the noise.
    halves : bool
        Whether to compare halves of the images too, as their groups are others than those of the run.

    Raises
    ------
    UnitlensError
        If the images are not those of the run.
    """
    # Settings of the run without what takes time and changes no concept.
    settings = replace(
        run.settings, batch_size=batch_size, strict=False, evidence=False, levels=False, control=(), exemplars=0
    )
    checks: list[LayerCheck] = []
    notes: list[_Note] = []
    with temporary_store() as store:
        stored = observe(net, data, settings, store, resources=resources)
        check_data(stored.sha256, run.info, described(data).source)
        if halves:
            checks += _halves_by_group(stored, settings, entries, notes, show=resources.show)
        for name, changed in _variants(settings):
            checks += _label_again(stored, name, changed, entries, notes, show=resources.show)
        overlaps = overlapping_concepts(stored.labels, stored.images, run.concepts)
    if noise:
        with temporary_store() as store:
            stored = observe(with_noise(net, noise=noise, seed=seed), data, settings, store, resources=resources)
            checks += _label_again(stored, "noise", settings, entries, notes, show=resources.show)
    return PassChecks(checks, overlaps, [note.text for note in notes], failed=any(note.failed for note in notes))


def _halves_by_group(
    stored: StoredPass, settings: Settings, entries: Mapping[str, Entry], notes: list[_Note], *, show: bool
) -> list[LayerCheck]:
    """Compare the halves that the groups of the images make."""
    checks: list[LayerCheck] = []
    for name, entry in entries.items():
        labelled = label_units(stored, stored.layers[name], settings, plan_draws(stored, settings), show=show)
        checks += check_halves(entry, labelled.counts)
    if checks:
        groups = counted(len(set(stored.record.groups)), "group")
        notes.append(_Note(f"Halves of the data are those of the {groups} that were given."))
    return checks


def _variants(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Names of the checks and the changed settings, for which the same pass serves."""
    yield "half quantile", replace(settings, quantile=settings.quantile / 2)
    if settings.quantile < 0.5:
        yield "double quantile", replace(settings, quantile=settings.quantile * 2)
    yield "other upsampling", replace(settings, upsampling="edges" if settings.upsampling == "zeros" else "zeros")


def _label_again(
    stored: StoredPass, check: str, settings: Settings, entries: Mapping[str, Entry], notes: list[_Note], *, show: bool
) -> list[LayerCheck]:
    """Label the layers of a pass; a note is added where that is not possible."""
    checks = []
    for layer in stored.layers.values():
        upsampled = layer.layer_grid is not None
        if layer.name not in entries or (check == "other upsampling" and not upsampled):
            continue
        try:
            labelled = label_units(stored, layer, settings, plan_draws(stored, settings), show=show)
        except UnitlensError as error:
            failed = not isinstance(error, TooFewPositionsError)
            notes.append(_Note(f"{layer.name} was not checked under {check}: {error}", failed=failed))
            continue
        checks.append(LayerCheck(layer.name, check, _checked_concepts(labelled, entries[layer.name])))
    return checks


def _checked_concepts(labelled: LabelledLayer, entry: Entry) -> CheckedConcepts:
    """Concepts as columns of the run, with their IoU and that of the run's concepts."""
    pairs = zip(labelled.table["category"], labelled.table["concept"], strict=True)
    concept = np.array([entry.column_of.get(pair, -1) for pair in pairs], np.int64)
    iou, units = labelled.counts.iou, np.arange(len(concept))
    return CheckedConcepts(concept, iou[units, np.maximum(concept, 0)], iou[units, entry.concept])
