"""Questions that were asked before, in a cache of their own."""

import pytest


@pytest.fixture
def old_files(tmp_path, monkeypatch):
    """As if every file were old."""
    monkeypatch.setenv("UNITLENS_ANSWERS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("unitlens.dissection.repeating.answers._SETTLED", -1000.0)
