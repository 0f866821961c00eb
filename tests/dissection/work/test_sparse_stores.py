"""Whether maps are kept whole or as what is not 0 changes no result, of whatever part and after whatever stop."""

import os
import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import unitlens as ul
from tests.dissection.work.small_world import NET, OPTIONS, Stopping, assert_same, commit_always, dissect
from tests.dissection.work.test_kills import killed
from tests.dissection.work.test_merging import parts_of
from unitlens.data.columns import Columns
from unitlens.dissection.counting import count_block, count_levels
from unitlens.dissection.scanning import Scanner
from unitlens.dissection.settings import Settings
from unitlens.dissection.store import folder as store_folder
from unitlens.dissection.store import layers as store_layers
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps, layer_bytes
from unitlens.dissection.store.temporary import temporary_store
from unitlens.stats.draws.partners import choose_partners

ALWAYS, NEVER = 1.0, -1.0
COLUMNS = Columns.of([("object", 1, "cat"), ("object", 2, "dog"), ("part", 7, "leg")])


@contextmanager
def kept(sparsely):
    """Keep what is not 0 always or never, however much it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_folder, "SPARSE", sparsely)
        patch.setattr(store_layers, "FEW", sparsely)
        yield


def sae(features=80):
    """Features of the world's network of which one is active at a position."""
    rows = torch.randn(features, 8, generator=torch.Generator().manual_seed(0))
    return ul.features({"encoder": rows, "decoder": rows, "bias": -0.1 * torch.ones(features)}, kind="topk:1")


def drawn_maps(images, units, grid, *, seed, filled, below):
    """Maps with few numbers that are not 0, multiples of 1/16, so that many are the same."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(-32 if below else 1, 32, (images, units, *grid)) / 16
    return torch.from_numpy(np.where(rng.random(maps.shape) < filled, maps, 0.0).astype(np.float32))


def counts_of(maps, batches, settings, planes):
    """All that is counted of maps: by thresholds, and at levels."""
    images, rank = len(maps), max(1, int(settings.quantile * maps[:, 0].numel()))
    with temporary_store() as store:
        labels = LabelPlanes.start(COLUMNS, settings.grid, store)
        labels.add(planes, [0] * images)
        layer = LayerMaps.start("layer", maps, settings.grid, store)
        for of_batch in torch.split(maps, batches):
            layer.add(ArrivingMaps.of(of_batch, settings.grid))
        assert (layer.maps.nonzero(range(1), slice(0, 1)) is not None) == (store_folder.SPARSE == ALWAYS)
        folds, partners = np.arange(images) % 5, choose_partners(list(range(images)), [0] * images, draws=1)
        units = slice(1, layer.units)
        counted = count_block(layer, units, labels, folds, settings, rank=rank, partners=partners)
        scan = Scanner(layer, slice(62, 66), settings.grid, settings.upsampling)
        levels = count_levels(scan, [0.2, 0.5], labels, folds)
        said = [layer.smallest, layer.largest, layer.total, *vars(counted).values()]
        return said + [array for half in levels for array in half]


@examples(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1 << 16),
    filled=st.sampled_from([0.0, 0.01, 0.1, 0.9]),
    below=st.booleans(),
    grid=st.sampled_from([(1, 1), (2, 3), (9, 3)]),
    upsampling=st.sampled_from(["edges", "zeros"]),
    threshold_on=st.sampled_from(["raw", "upsampled"]),
    batches=st.integers(1, 7),
)
def test_counts_are_those_of_maps_that_are_kept_whole(seed, filled, below, grid, upsampling, threshold_on, batches):
    maps = drawn_maps(7, 70, grid, seed=seed, filled=filled, below=below)
    settings = Settings(
        layers=("layer",), grid=(4, 6), quantile=0.1, upsampling=upsampling, threshold_on=threshold_on, exemplars=0
    )
    rng = np.random.default_rng(seed)
    planes = [rng.integers(0, COLUMNS.count, (2, 24)).astype(np.int16) for _ in maps]
    found = []
    for sparsely in (NEVER, ALWAYS):
        with kept(sparsely):
            found.append(counts_of(maps, batches, settings, planes))
    for here, there in zip(*found, strict=True):
        assert np.array_equal(here, there)


def test_a_dissection_is_the_same():
    with kept(NEVER):
        whole = dissect(Stopping(), levels=True)
    with kept(ALWAYS):
        assert_same(dissect(Stopping(), levels=True), whole)


def test_features_are_kept_sparsely_and_are_the_same(tmp_path):
    def labelled():
        return ul.dissect(NET, "pool", Stopping(), basis=sae(), **OPTIONS)

    with kept(NEVER):
        whole = labelled()
        with ul.activations(whole, NET, Stopping(), basis=sae()) as there:
            maps = there.layers["pool"].maps.read(range(there.images))
    assert_same(run := labelled(), whole)
    run.save(tmp_path / "run")
    with ul.activations(ul.open_run(tmp_path / "run"), NET, Stopping(), basis=sae()) as here:
        layer = here.layers["pool"]
        assert np.array_equal(layer.maps.read(range(here.images)), maps)
        assert 0 < layer.maps.filled < 1 / 16
        every = (layer.maps, layer.peaks, layer.lows, layer.sums)
        assert sum(rows.row_bytes for rows in every) < 0.2 * layer_bytes(layer.units, layer.layer_grid, (8, 8))


def test_parts_are_merged_however_each_is_kept(tmp_path):
    with kept(NEVER):
        whole = dissect(Stopping(), evidence=False)
        folders = parts_of(tmp_path, 3, evidence=False)
    with kept(ALWAYS):
        sparse = parts_of(tmp_path / "sparse", 3, evidence=False)
    assert_same(ul.merge([folders[0], *sparse[1:]]), whole)
    assert_same(ul.merge(sparse), whole)


def test_a_dissection_that_was_stopped_goes_on(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    with kept(NEVER):
        whole = dissect(Stopping(), evidence=False)
    for at in (5, 9, 13):
        with kept(ALWAYS), pytest.raises(KeyboardInterrupt):
            dissect(Stopping(at=at), tmp_path / str(at), evidence=False)
        assert_same(dissect(Stopping(), tmp_path / str(at), evidence=False), whole)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_dissection_that_is_killed_goes_on(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    few, draws = {"evidence": False, "exemplars": 1}, random.Random(1)
    with kept(NEVER):
        whole = dissect(Stopping(), **few)
    with kept(ALWAYS):
        for number in range(6):
            folder, longest = tmp_path / str(number), 0.02
            for _ in range(8):
                if killed(folder, draws.uniform(0, longest), **few):
                    break
                longest *= 2
            assert_same(dissect(Stopping(), folder, **few), whole)
