"""The two passes of an audit: the images of a run once more, judged in other ways, and under noise."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unitlens.comparison.audit_checks import Labelled, overlapping_concepts
from unitlens.comparison.entries import Entry, entries_of
from unitlens.data.concepts import Data
from unitlens.dissection.forward import Resources, observe
from unitlens.dissection.labelling import LabelledLayer, label_units
from unitlens.dissection.reopening import check_data
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.errors import UnitlensError
from unitlens.models.network import Network

NOISE = 0.02
"""Standard deviation of the noise, images being in [0, 1]: it changes up to 28 % of labels (ICCV 2023)."""


Checks = list[tuple[str, str, Labelled]]
"""Layer, check, and the labels under it."""


@dataclass(frozen=True, eq=False, repr=False)
class _Noisy(Network):
    """A network that sees its images under noise, drawn image by image: batches of any size see the same."""

    noise: float = NOISE
    drawn: torch.Generator | None = None

    def prepare(self, images: Tensor) -> Tensor:
        shown = images.to(self.device).float().div_(255)
        noise = torch.stack([torch.randn(shown.shape[1:], generator=self.drawn) for _ in shown])
        shown = (shown + self.noise * noise.to(self.device)).clamp_(0, 1)
        return self.preprocessing.normalise(shown).to(self.dtype)


def noisy(net: Network, *, noise: float = NOISE, seed: int = 0) -> Network:
    """The same network, shown images with Gaussian noise of a standard deviation, kept in [0, 1]."""
    own = {field.name: getattr(net, field.name) for field in fields(Network)}
    return _Noisy(**own, noise=noise, drawn=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Passes:
    """The two passes over the images of a run: as they were, judged in several ways, and under noise."""

    run: Dissection
    net: Network
    data: Data
    settings: Settings
    resources: Resources
    noise: float
    seed: int
    notes: list[str]

    @classmethod
    def of(
        cls,
        run: Dissection,
        net: Network,
        data: Data,
        resources: Resources,
        *,
        batch_size: int,
        noise: float,
        seed: int,
    ) -> "Passes":
        """Take the settings of the run, without what costs time and changes no label."""
        settings = replace(
            run.settings, batch_size=batch_size, strict=False, evidence=False, levels=False, control=(), exemplars=0
        )
        return cls(run, net, data, settings, resources, noise, seed, [])

    def look(self, checks: Checks) -> list[dict[str, Any]]:
        """Add what the passes tell to the checks; the concepts whose regions overlap most."""
        with temporary_store() as store:
            stored = self._observe(self.net, store)
            check_data(stored.sha256, self.run.info, str(getattr(self.data, "source", "the data")))
            for check, settings in self._variants():
                checks += self._labels(stored, check, settings)
            overlaps = overlapping_concepts(stored.labels, stored.images, self.run.concepts)
        if self.noise:
            with temporary_store() as store:
                stored = self._observe(noisy(self.net, noise=self.noise, seed=self.seed), store)
                checks += self._labels(stored, "noise", self.settings)
        return overlaps

    def _observe(self, net: Network, store: Store) -> StoredPass:
        return observe(net, self.data, self.settings, store, resources=self.resources)

    def _variants(self) -> Iterator[tuple[str, Settings]]:
        settings = self.settings
        yield "half quantile", replace(settings, quantile=settings.quantile / 2)
        if settings.quantile < 0.5:
            yield "double quantile", replace(settings, quantile=settings.quantile * 2)
        yield "other upsampling", replace(settings, upsampling="edges" if settings.upsampling == "zeros" else "zeros")

    def _labels(self, stored: StoredPass, check: str, settings: Settings) -> Checks:
        """Labels of all layers under other settings, or other images."""
        found: Checks = []
        for layer in stored.layers.values():
            if layer.layer_grid is None and check == "other upsampling":
                continue
            if layer.name not in self.run.layers:
                continue
            try:
                labelled = label_units(stored, layer, settings, show=self.resources.show)
            except UnitlensError as error:
                self.notes.append(f"{layer.name} was not checked under {check}: {error}")
                continue
            found.append((layer.name, check, _compared_labels(labelled, entries_of([self.run[layer.name]], None)[0])))
        return found


def _compared_labels(labelled: LabelledLayer, entry: Entry) -> Labelled:
    names = {(category, name): c for c, (category, name) in enumerate(_written(entry))}
    pairs = zip(labelled.table["category"], labelled.table["concept"], strict=True)
    label = np.array([names.get(pair, -1) for pair in pairs], np.int64)
    units = np.arange(len(label))
    return Labelled(label, labelled.counts.iou[units, np.maximum(label, 0)], labelled.counts.iou[units, entry.label])


def _written(entry: Entry) -> list[tuple[str, str]]:
    """Category and name of the concepts as tables write them."""
    return [(key[0], name) for key, name in zip(entry.keys, entry.run.concepts, strict=True)]
