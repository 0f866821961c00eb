"""However a stream of active positions is cut into pieces, it is counted the same."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import painted, painter
from unitlens import packed
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.dissection import counting, scanning
from unitlens.dissection.memory import blocks_together
from unitlens.dissection.positions import marks
from unitlens.dissection.positions.waiting import WaitingRuns
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps
from unitlens.dissection.store.temporary import temporary_store
from unitlens.progress import Progress
from unitlens.stats.draws.partners import choose_partners
from unitlens.stats.masks import Active
from unitlens.stats.regions.runs import Runs


@pytest.mark.parametrize(("enough", "at_once"), [(1, 1 << 19), (40, 1 << 19), (1 << 14, 64), (1 << 14, 640)])
def test_pieces_of_a_stream_are_joined_without_a_change(monkeypatch, enough, at_once):
    monkeypatch.setattr(scanning, "CHUNK_VALUES", 1 << 12)  # a few images a piece
    whole = ul.dissect(painter(), "layer", painted(48), exemplars=0)
    monkeypatch.setattr(marks, "ENOUGH", enough)
    monkeypatch.setattr(marks, "AT_ONCE", at_once)
    cut = ul.dissect(painter(), "layer", painted(48), exemplars=0)
    assert np.array_equal(whole.counts.intersection, cut.counts.intersection)
    assert np.array_equal(whole.counts.activated, cut.counts.activated)
    assert whole.table().equals(cut.table())


@pytest.mark.parametrize("in_memory", [10, 1 << 16])
def test_runs_that_wait_come_back_piece_by_piece(monkeypatch, in_memory):
    monkeypatch.setattr(packed, "IN_MEMORY", in_memory)
    rng = torch.Generator().manual_seed(0)
    pieces = [Runs(*torch.randint(0, 2**31 - 1, (4, runs), dtype=torch.int32, generator=rng)) for runs in (3, 0, 50, 1)]
    waiting = WaitingRuns(most=150)
    first, second = waiting.add(iter(pieces)), waiting.add(iter(pieces[::-1]))
    assert waiting.add(iter(pieces)) is None  # 42 have room
    assert waiting.add(iter([])) is None
    third = waiting.add(iter(pieces[:2]))
    for found, expected in ((third, pieces[:2]), (first, pieces), (second, pieces[::-1])):
        for runs, piece in zip(found, expected, strict=True):
            assert all(map(torch.equal, runs, piece))


@pytest.mark.parametrize("rectified", [False, True])
def test_levels_are_guessed_from_a_few_maps_at_a_time_as_from_all_at_once(rectified):
    maps = torch.randn(50, 6, 7, 5, generator=torch.Generator().manual_seed(0))
    maps[:, 4] = maps[:, 4].sub(4) if rectified else maps[:, 4]
    maps = maps.clamp_min(0) if rectified else maps  # of the fifth unit nearly all is 0 then
    with temporary_store() as store:
        layer = LayerMaps.start("layer", maps, (14, 20), store)
        layer.add(ArrivingMaps.of(maps, (14, 20)))
        few, all_ = (
            list(scanning.Scanner(layer, slice(0, 6), (14, 20), "edges", pieces_of=pieces).guesses(0.2))
            for pieces in (7, 50)
        )
    assert all(torch.equal(one, other) for one, other in zip(few, all_, strict=True))
    assert (few[0][4] == 0) == rectified
    shares = (maps > few[0][:, None, None]).double().mean((0, 2, 3))
    assert (shares[:4] > 0.2).all()  # a guess lies below the threshold
    assert (shares[:4] < 0.4).all()


@pytest.mark.parametrize("draws", [0, 12])
@pytest.mark.parametrize("planes", [1, 3])
def test_what_is_looked_up_one_by_one_and_what_is_summed_run_by_run_are_the_same(monkeypatch, planes, draws):
    rng = np.random.default_rng(planes)
    labels = rng.integers(0, 9, (20, planes, 30)).astype(np.int16)
    seen = marks.Marks.in_planes(lambda images: labels[np.asarray(images)], 9, (5, 6))
    part = rng.integers(0, 32, 20)
    partners = choose_partners(list(range(20)), [1] * 20, draws=draws)
    mask = rng.random((20, 7, 30)) < 0.3
    image, unit, position = map(torch.from_numpy, np.nonzero(mask))
    active = Active(unit, image, position, torch.zeros(len(unit)))
    monkeypatch.setattr(marks, "_TABLE_NUMBERS", 400)  # some draws at a time
    counted = []
    for looked_up in (0.0, 1e9):
        monkeypatch.setattr(marks, "LOOKED_UP", looked_up)
        for room in (0, 1 << 20):
            monkeypatch.setattr(marks, "KEPT_PATTERNS", room)
            counted += marks.count_marks([(marks.as_runs([active], 7, seen), 7)], seen, part, partners)
    for other in counted[1:]:
        assert all(np.array_equal(one, two) for one, two in zip(counted[0], other, strict=True))
    expected = np.zeros((7, draws, 2, 9), np.int64)
    for image, unit, position in np.argwhere(mask):
        for draw, partner in enumerate(partners.of([image])[:, 0]):
            for label in labels[partner, :, position]:
                expected[unit, draw, part[image] % 2, label] += 1
    assert np.array_equal(counted[0].shifted, expected)
    assert np.array_equal(counted[0].images, mask.any(2).sum(0))


@pytest.mark.parametrize("room", [0, 3000, 1 << 27])
def test_labels_that_are_noise_are_summed_in_parts(monkeypatch, room):
    """As of formulas: an image may have as many different numbers as it has positions."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10**6, (4, 1, 300)).astype(np.int32)
    most = []
    of_images = marks.MarkTable.of.__func__

    def made(cls, images, grid):
        table = of_images(cls, images, grid)
        most.append(table.up_to.numel())
        return table

    monkeypatch.setattr(marks.MarkTable, "of", classmethod(made))
    monkeypatch.setattr(marks, "_TABLE_NUMBERS", 10_000)
    monkeypatch.setattr(marks, "KEPT_PATTERNS", room)
    monkeypatch.setattr(marks, "LOOKED_UP", 1e9)
    numbers = {number: place for place, number in enumerate(np.unique(labels))}
    small = np.vectorize(numbers.get)(labels).astype(np.int32)
    seen = marks.Marks.in_planes(lambda images: small[np.asarray(images)], len(numbers), (15, 20))
    mask = rng.random((4, 2, 300)) < 0.5
    image, unit, position = map(torch.from_numpy, np.nonzero(mask))
    active = Active(unit, image, position, torch.zeros(len(unit)))
    partners = choose_partners(list(range(4)), [0] * 4, draws=2)
    (counts,) = marks.count_marks([(marks.as_runs([active], 2, seen), 2)], seen, np.arange(4), partners)
    assert max(most) <= 10_000
    expected = np.zeros((2, 2, 2, len(numbers)), np.int64)
    for image, unit, position in np.argwhere(mask):
        for draw, partner in enumerate(partners.of(range(4))[:, image]):
            expected[unit, draw, image % 2, small[partner, 0, position]] += 1
    assert np.array_equal(counts.shifted, expected)


def test_each_reading_of_labels_serves_all_blocks_of_units(monkeypatch):
    rows = []

    def read(labels, images):
        rows.append(len(images))
        return labels_read(labels, images)

    labels_read = LabelPlanes.read
    monkeypatch.setattr(LabelPlanes, "read", read)
    monkeypatch.setattr("unitlens.dissection.store.labels.KEPT_PLANES", 0)  # as of very many images
    monkeypatch.setattr(scanning, "CHUNK_VALUES", 1 << 12)
    found = []
    for units in (64, 2):
        monkeypatch.setattr("unitlens.dissection.counting.BLOCK_UNITS", units)
        rows.clear()
        found.append((ul.dissect(painter(), "layer", painted(48), exemplars=0).table(), sum(rows)))
    (whole, once), (parts, again) = found
    assert len(whole) > 4  # three blocks or more
    assert whole.equals(parts)
    assert once == again


def test_as_many_blocks_are_counted_together_as_have_room():
    columns = Columns.of([Concept("object", 1 + c, f"thing {c}") for c in range(100)])
    assert blocks_together(columns, draws=40, positions=10**7) == 71
    assert blocks_together(columns, draws=40, positions=10**9) == 45  # counts have 64 bits
    many = Columns.of([Concept("object", 1 + c, f"thing {c}") for c in range(5000)])
    assert blocks_together(many, draws=200, positions=10**7) == 1


@pytest.mark.parametrize("units", [64, 3])
def test_a_bar_is_told_of_every_unit_while_blocks_are_counted_together(monkeypatch, units):
    told = []
    monkeypatch.setattr(scanning, "CHUNK_VALUES", 1 << 12)
    monkeypatch.setattr(marks, "AT_ONCE", 640)
    monkeypatch.setattr(counting, "BLOCK_UNITS", units)
    monkeypatch.setattr(Progress, "update", lambda bar, count: told.append(count) if bar._unit == "units" else None)
    found = ul.dissect(painter(), "layer", painted(48), exemplars=0).table()
    assert sum(told) == len(found)
    assert sum(count > 0 for count in told) > 3  # not all at the end
