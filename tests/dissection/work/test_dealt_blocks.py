"""Blocks of the units of all layers are dealt to processes: whoever counts them, and beside which, changes nothing."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.dissection.work.small_world import IMAGES, Stopping, assert_same, dissect
from unitlens.data.columns import Columns
from unitlens.dissection import counting, scanning
from unitlens.dissection.counting import block_units, blocks_of, count_block, count_dealt
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps
from unitlens.dissection.store.temporary import temporary_store
from unitlens.dissection.work.concluding import conclude_together
from unitlens.dissection.work.merging import find_parts
from unitlens.processes import Processes
from unitlens.stats.draws.partners import choose_partners

COLUMNS = Columns.of([("object", 1, "cat"), ("object", 2, "dog"), ("part", 7, "leg")])
SETTINGS = Settings(layers=("any",), grid=(8, 8), quantile=0.1)


@dataclass(frozen=True)
class InTurn(Processes):
    """Processes that run one after another in this one, the first one last: it finds what the others have sent."""

    sent: list = field(default_factory=list)

    def gather(self, value):
        if not self.first:
            self.sent.append(value)
            return None
        return [value, *(values.pop(0) for values in self.sent)]


def in_turn(count, work):
    """What the first process comes to, after all others."""
    sent = [[] for _ in range(1, count)]
    for rank in range(1, count):
        assert work(InTurn(rank, count, sent[rank - 1])) is None
    return work(InTurn(0, count, sent))


@pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")
@pytest.mark.parametrize("levels", [False, True])
def test_any_number_of_processes_concludes_the_same(tmp_path, monkeypatch, levels):
    alone = dissect(Stopping(), tmp_path, levels=levels, control="rotated", fdr=0.2)
    monkeypatch.setattr(counting, "BLOCK_UNITS", 3)  # 3 blocks of each layer
    passes = find_parts([tmp_path])
    for count in (1, 2, 3, 7):
        assert_same(in_turn(count, lambda processes: conclude_together(passes.asked, passes, processes)), alone)


LAYERS = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([(1, 1), (2, 2), (3, 5), (8, 8), (16, 16)])), min_size=1, max_size=4
)


@example([(2, (3, 5)), (3, (3, 5))], 4, 1, 300, 1 << 28)  # 10 and 6 images would fit a cache
@examples(max_examples=10)
@given(LAYERS, st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 40, 300]), st.sampled_from([1, 5000, 1 << 28]))
def test_blocks_of_several_layers_are_counted_as_if_each_was_alone(layers, of_block, processes, chunk, room):
    rng, partners = np.random.default_rng(0), choose_partners(list(range(IMAGES)), [0] * IMAGES, draws=2)
    folds, told, found = np.arange(IMAGES) % 5, list[int](), {}
    with temporary_store() as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "BLOCK_UNITS", of_block)
        patch.setattr(scanning, "CHUNK_VALUES", chunk)  # how many images of a layer are looked at together
        patch.setattr("unitlens.dissection.memory.TOGETHER", room)
        labels = LabelPlanes.start(COLUMNS, SETTINGS.grid, store)
        labels.add(list(rng.integers(0, 4, (IMAGES, 2, 64)).astype(np.int16)), folds.tolist())
        blocks = []
        for number, (units, grid) in enumerate(layers):
            maps = torch.from_numpy(rng.integers(-32, 32, (IMAGES, units, *grid)).astype(np.float32) / 16)
            layer = LayerMaps.start(f"layer{number}", maps, SETTINGS.grid, store)
            layer.add(ArrivingMaps.of(maps, SETTINGS.grid))
            blocks += blocks_of(layer, SETTINGS.grid, SETTINGS)
        for rank in range(processes):
            own = dict(
                count_dealt(
                    blocks,
                    labels,
                    folds,
                    SETTINGS,
                    partners=partners,
                    processes=Processes(rank, processes),
                    advance=told.append,
                )
            )
            assert len(own) in (len(blocks) // processes, -(-len(blocks) // processes))
            assert not own or sum(told) == sum(map(block_units, blocks))  # the bar comes to its end
            told.clear()
            assert not found.keys() & own.keys()
            found |= own
        assert len(found) == len(blocks)
        for number, (layer, units, rank) in enumerate(blocks):
            alone = count_block(layer, units, labels, folds, SETTINGS, rank=rank, partners=partners)
            for name, there in vars(alone).items():
                assert np.array_equal(getattr(found[number], name), there), name
