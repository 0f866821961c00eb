import os

import numpy as np
import pytest

from unitlens.dissection.store import peaks
from unitlens.dissection.store.peaks import PeaksByUnit
from unitlens.dissection.store.rows import RowFile, append


@pytest.mark.parametrize("at_once", [1, 7, 1 << 18])
def test_peaks_stored_by_image_are_read_by_unit(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(peaks, "_AT_ONCE", at_once)
    stored = np.random.default_rng(0).random((11, 5)).astype(np.float32)
    rows = RowFile(tmp_path / "peaks.rows", (5,), np.float32)
    append(rows, stored)
    some, every = PeaksByUnit(rows, [3, 1, 3]), PeaksByUnit(rows, range(5))
    assert os.fstat(some._file.descriptor).st_size == 2 * 11 * 4  # nothing waits that is not asked for
    for unit in (3, 1):
        assert np.array_equal(some.read(unit), stored[:, unit])
        assert np.array_equal(every.read(unit), stored[:, unit])
    PeaksByUnit(rows, [])
    rows.close()
