import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.dissection.settings import BasisRecord, Settings, recorded_choice

SETTINGS = Settings(
    layers=("layer3", "layer4"),
    grid=(8, 12),
    quantile=0.05,
    upsampling="zeros",
    layout="tokens",
    basis=BasisRecord("in memory", "ab" * 32, (2, 8)),
    control=("untrained",),
    limit=100,
)


def test_settings_read_from_json_are_those_that_were_written():
    assert Settings.from_json(json.loads(json.dumps(SETTINGS.to_json()))) == SETTINGS


@given(
    st.builds(
        Settings,
        layers=st.lists(st.text(), max_size=3).map(tuple),
        grid=st.tuples(st.integers(1, 99), st.integers(1, 99)),
        quantile=st.floats(0, 1, exclude_min=True, exclude_max=True),
        limit=st.none() | st.integers(1, 2**63 - 1),
        control=st.sampled_from([(), ("untrained",), ("untrained", "rotated")]),
        fast=st.sampled_from([False, True, "bfloat16"]),
    )
)
def test_any_settings_survive_json(settings):
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_a_run_carries_the_settings_that_run_json_records(tmp_path):
    d = ul.dissect(colour_net(), ["pool", "head"], ColourWorld(64), quantile=0.05, grid=8, exemplars=0, evidence=False)
    d.save(tmp_path / "run")
    for run in (d, ul.open_run(tmp_path / "run")):
        assert run.settings == Settings(
            layers=("pool", "head"), grid=(8, 8), quantile=0.05, exemplars=0, evidence=False
        )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"] == d.settings.to_json()
    assert d["head"].settings == replace(d.settings, layers=("head",))


def test_numbers_of_numpy_become_plain_ones():
    settings = Settings(layers=["a"], grid=np.array([4, 5]).tolist(), quantile=np.float32(0.5), limit=np.int64(3))
    assert json.dumps(settings.to_json())
    assert (settings.layers, settings.grid, settings.quantile, settings.limit) == (("a",), (4, 5), 0.5, 3)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"quantile": "0.01"}, ("quantile", "0.01")),
        ({"quantile": 1.5}, ("quantile", "1.5", "between 0 and 1")),
        ({"quantile": float("nan")}, ("quantile", "nan")),
        ({"min_iou": -0.1}, ("min_iou", "-0.1")),
        ({"fdr": 0}, ("fdr", "0")),
        ({"evidence": 1}, ("evidence", "True or False")),
        ({"batch_size": True}, ("batch_size", "True")),
        ({"batch_size": 0}, ("batch_size", "0", "1 or more")),
        ({"limit": 0}, ("limit", "1 or more")),
        ({"exemplars": -1}, ("exemplars", "-1")),
        ({"grid": [8]}, ("grid", "2 values")),
        ({"grid": [0, 8]}, ("grid", "0x8")),
        ({"layers": "layer4"}, ("layers", "layer4")),
        ({"upsampling": "edge"}, ("upsampling", "'edge'", "edges", "zeros")),
        ({"score": "iuo"}, ("score", "'iuo'", "did you mean iou?")),
        ({"control": ["untraind"]}, ("control", "did you mean untrained?", "rotated")),
        ({"control": ["rotated"], "evidence": False}, ("control", "evidence")),
        ({"preset": "pnas"}, ("preset", "pnas2020")),
        ({"basis": {"source": "x"}}, ("basis", "sha256")),
        ({"colour": 1}, ("colour", "unknown")),
        ({"seed": None}, ("seed", "None")),
    ],
)
def test_a_record_that_was_changed_is_one_sentence(change, facts):
    with pytest.raises(ul.UnitlensError) as refused:
        Settings.from_json({**SETTINGS.to_json(), **change})
    assert all(fact in str(refused.value) for fact in facts), refused.value


def test_a_record_that_lacks_a_field_says_which():
    record = SETTINGS.to_json()
    del record["union"]
    with pytest.raises(ul.UnitlensError, match="lacks union"):
        Settings.from_json(record)


@pytest.mark.parametrize("content", [None, [], "settings", 3])
def test_what_is_not_a_record_is_refused(content):
    with pytest.raises(ul.UnitlensError, match="record of the settings"):
        Settings.from_json(content)


def test_what_was_given_in_memory_is_recorded_by_its_hash():
    assert recorded_choice("sequence:3") == "sequence:3"
    assert recorded_choice(None) is None
    assert recorded_choice({"a": "p"}) == recorded_choice({"a": "p"}) != recorded_choice({"a": "q"})
