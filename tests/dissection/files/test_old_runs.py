"""Runs that older versions wrote still open, with what they say; what was added since has its default."""

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import unitlens as ul
from unitlens.ablation.files import read_effects
from unitlens.dissection.run_record import OLDEST, SCHEMA
from unitlens.dissection.table import COLUMNS
from unitlens.errors import UnitlensError
from unitlens.records import LATER, check_types, read_record, write_record

OLD_RUNS = Path(__file__).parents[2] / "old_runs"
"""A run folder of each schema, as it was written: two layers of the coloured world, a control, groups and effects."""


@pytest.fixture(params=range(OLDEST, SCHEMA + 1), ids=lambda schema: f"schema {schema}")
def old(request, tmp_path):
    return shutil.copytree(OLD_RUNS / f"schema_{request.param}", tmp_path / "run")


def test_an_old_run_opens(old):
    run = ul.open_run(old)
    assert run.layers == ("0", "4")
    table = run["0"].table()
    assert table["concept"].tolist()[:3] == ["red", "green", "blue"]
    assert table["iou"].tolist()[:3] == pytest.approx([0.6274, 0.6520, 0.4890], abs=1e-4)
    assert list(table.columns) == list(COLUMNS)
    assert run["0"].units_for("red", 1) == [0]
    assert run.controls()["control"].unique().tolist() == ["none", "untrained"]
    assert len(set(run.groups.values())) == 13
    assert run["0"].strip(0)


def test_its_effects_open(old):
    (effects,) = read_effects(old).results
    assert effects.units == (0, 1)
    assert effects.effect("recall").round(4).tolist() == [-0.5, 0.0, 0.8]


def test_it_is_saved_as_a_run_of_today(old, tmp_path):
    again = ul.open_run(ul.open_run(old).save(tmp_path / "again"))
    assert again.table().equals(ul.open_run(old).table())


def test_its_page_is_written(old):
    from unitlens.pages.writing import write_page

    write_page(old)
    assert "untrained" in (old / "report.html").read_text()


@dataclass(frozen=True)
class _Before:
    count: int

    def __post_init__(self):
        check_types(self)


@dataclass(frozen=True)
class _Since(_Before):
    name: str = field(default="none", metadata=LATER)
    other: str = "none"


def test_a_field_that_came_later_has_its_default_in_older_files():
    older = write_record(_Before(3)) | {"other": "none"}
    assert read_record(_Since, older, what="it") == _Since(3)
    for lacking in ({"count": 3}, {"name": "a", "other": "none"}):
        with pytest.raises(UnitlensError, match=r"it lacks (count|other)"):
            read_record(_Since, lacking, what="it")
    assert read_record(_Since, json.loads(json.dumps(write_record(_Since(3, "a")))), what="it").name == "a"


def test_what_came_later_has_a_default():
    for kind in _records():
        for one in dataclasses.fields(kind):
            has_default = one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
            assert has_default or not one.metadata.get("later"), f"{kind.__name__}.{one.name}"


def _records():
    from unitlens.ablation import effects_record, measurement
    from unitlens.dissection import run_record, settings
    from unitlens.editing.saving import record

    modules = (run_record, settings, effects_record, measurement, record)
    return {kind for module in modules for kind in vars(module).values() if dataclasses.is_dataclass(kind)}
