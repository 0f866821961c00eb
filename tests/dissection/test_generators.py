"""Dissections of generators: units are compared with what is drawn, and all that dissects works on them unchanged."""

import unitlens as ul

from ..generators import concept_of, painted, painter


def test_every_painted_unit_is_named_by_what_it_draws():
    d = ul.dissect(painter(extra=2), "layer", painted(extra=2))
    rows = d.table().set_index("unit")
    for unit in range(8):
        assert rows.loc[unit, "concept"] == concept_of(unit)
        assert rows.loc[unit, "verdict"] == "detector"
        assert rows.loc[unit, "iou"] > 0.3
    assert not rows.loc[8:, "detector"].any()
    assert d.info["network"]["image"] == "output"
    assert d.settings.grid == (8, 8)
