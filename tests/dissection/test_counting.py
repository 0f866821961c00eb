"""However a stream of active positions is cut into pieces, it is counted the same."""

import numpy as np
import pytest

import unitlens as ul
from tests.generators import painted, painter
from unitlens.dissection import counting, scanning


@pytest.mark.parametrize(("enough", "at_once"), [(1, 1 << 19), (40, 1 << 19), (1 << 14, 64), (1 << 14, 640)])
def test_pieces_of_a_stream_are_joined_without_a_change(monkeypatch, enough, at_once):
    monkeypatch.setattr(scanning, "CHUNK_VALUES", 1 << 12)  # a few images a piece
    whole = ul.dissect(painter(), "layer", painted(48), exemplars=0)
    monkeypatch.setattr(counting, "ENOUGH", enough)
    monkeypatch.setattr(counting, "AT_ONCE", at_once)
    cut = ul.dissect(painter(), "layer", painted(48), exemplars=0)
    assert np.array_equal(whole.counts.intersection, cut.counts.intersection)
    assert np.array_equal(whole.counts.activated, cut.counts.activated)
    assert whole.table().equals(cut.table())
