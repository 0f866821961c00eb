"""concept_effects.json and reconstruction.json: whatever is wrong with one is one sentence that names the file."""

import copy
import json
import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from tests.faults.hostile import spoiled
from unitlens.ablation.concepts import result as effects
from unitlens.dissection.beside import layer_file
from unitlens.dissection.dictionaries import result as reconstructions
from unitlens.records import read_record, write_record

HASHES = {"network_sha256": "a" * 64, "data_sha256": "b" * 64}
BASIS = {"source": "sae.safetensors", "sha256": "c" * 64, "shape": [12, 8], "kind": "topk:3", "read_as": None}
NUMBERS = ("active", "explained", "explained_low", "explained_high", "accuracy", "accuracy_kept")
RECONSTRUCTION = {
    **{"layer": "relu6", "basis": BASIS, **HASHES, "images": 48},
    **dict(zip(NUMBERS, (2.5, 0.75, 0.5, 1.0, 0.9, 0.8), strict=True)),
    **{"accuracy_effect": -0.1, "accuracy_effect_low": -0.2, "accuracy_effect_high": 0.0},
}
ONE = {"effect": -0.5, "low": -0.6, "high": -0.4, "random_effect": -0.1}
MEAN = {**ONE, "beyond_random": -0.4, "left_out": [None, *[-0.4] * 31], "draws_half_width": 0.01}
CONCEPT = {"category": "object", "name": "tree", "images": 9, "units": [3], "units_in_even": [4]}
EFFECTS = {
    **{"layer": "relu6", "basis": BASIS, **HASHES, "choice_sha256": "d" * 64, "folds_sha256": "e" * 64},
    **{"units": 12, "top": 1, "ablation": "0", "draws": 12, "images": 48, "logit": MEAN, "accuracy": MEAN},
    "concepts": [{**CONCEPT, "logit": ONE, "accuracy": ONE}],
}
FILES = [(reconstructions.FILE, RECONSTRUCTION), (effects.FILE, EFFECTS)]
BOTH = pytest.mark.parametrize(("file", "record"), FILES, ids=lambda value: getattr(value, "name", ""))


def without(record, name):
    return {key: value for key, value in record.items() if key != name}


@BOTH
def test_what_was_written_is_read(tmp_path, file, record):
    assert file.read(tmp_path) == []
    (tmp_path / file.name).write_text(json.dumps([record, record | {"layer": "relu5"}]))
    first, second = file.read(tmp_path)
    assert write_record(first) == record
    assert second.layer == "relu5"


@BOTH
def test_every_damage_is_one_sentence_that_names_the_file(tmp_path, file, record):
    whole, path = json.dumps([record]), tmp_path / file.name
    for content, fact in (
        (whole[:-9], "cannot be read"),
        ("", "cannot be read"),
        ("layer,unit\n", "cannot be read"),
        (b"\xff\xfe[", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[" + '{"a":' * 100_000, "cannot be read"),
        (whole.replace('"layer"', '"images": 1, "layer"'), "'images' is there twice"),
        (json.dumps(record), "it is not a list"),
        ("null", "it is not a list"),
        ("[3]", "entry 1 is 3; it has the fields"),
        (json.dumps([record, [record]]), "entry 2 is .*; it has the fields"),
        (json.dumps([record, record]), "the layer relu6 is there twice"),
        (json.dumps([without(record, "images")]), "entry 1 lacks images"),
        (json.dumps([record | {"color": 1}]), "entry 1 has an unknown field 'color'"),
        (json.dumps([record | {"images": "48"}]), "images is '48'; it is a whole number"),
        (json.dumps([record | {"images": True}]), "images is True; it is a whole number"),
        (json.dumps([record | {"images": 10**400}]), "images is too large"),
        (json.dumps([record | {"images": 0}]), "images is 0; it lies between 1 and"),
        (json.dumps([record | {"layer": None}]), "layer is None; it is a text"),
        (json.dumps([record | {"data_sha256": "b"}]), "data_sha256 is 'b', not a SHA-256"),
        (json.dumps([record | {"basis": without(BASIS, "shape")}]), "basis lacks shape"),
        (json.dumps([record | {"basis": BASIS | {"shape": [1, 2, 3]}}]), "shape is .*; it is a list of 2"),
    ):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ul.UnitlensError, match=rf"{file.name} is damaged \(.*{fact}.*\): save it again .* remove"):
            file.read(tmp_path)
        assert file.read(tmp_path, overwrite=True) == []


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"explained": float("nan")}, "explained is nan; it is a finite number"),
        ({"explained": float("-inf")}, "explained is -inf; it is a finite number"),
        ({"explained": 1.5}, "explained is 1.5; it lies between -inf and 1"),
        ({"explained_low": None}, "the interval of explained has one end"),
        ({"explained_low": 0.8}, "explained is 0.75, and its interval 0.8 to 1.0"),
        ({"active": 12.5}, "active is 12.5; it lies between 0 and 12"),
        ({"accuracy": 1.5}, "accuracy is 1.5; it lies between 0 and 1"),
        ({"accuracy": None}, "accuracy, accuracy_kept and accuracy_effect are numbers, or all of them are missing"),
        ({"basis": None}, "basis is None"),
    ],
)
def test_a_reconstruction_that_cannot_be_is_refused(tmp_path, changed, fact):
    (tmp_path / "reconstruction.json").write_text(json.dumps([RECONSTRUCTION | changed]))
    with pytest.raises(ul.UnitlensError, match=rf"reconstruction.json is damaged \({fact}"):
        reconstructions.FILE.read(tmp_path)


@BOTH
def test_a_file_is_no_larger_than_memory_allows(tmp_path, file, record, monkeypatch):
    path = tmp_path / file.name
    path.touch()
    os.truncate(path, 2_000_000_000)  # as many entries as that; it takes no disk
    with pytest.raises(ul.UnitlensError, match=r"has 2,000.0 MB, more than the 67.1 that are read"):
        file.read(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ul.UnitlensError, match=rf"{file.name} is damaged .*{file.name} is not a file"):
        file.read(tmp_path)
    path.rmdir()
    path.write_text(json.dumps([record]))
    monkeypatch.setattr(layer_file, "MOST_BYTES", 10)
    with pytest.raises(ul.UnitlensError, match=r"more than the 0\.0 that are read"):
        file.read(tmp_path)


STRANGE = st.sampled_from([None, True, -1, 0, 3, 1 << 70, 0.5, float("nan"), float("inf"), "", "x", [], [1], {}])


def places(value):
    """All places in a value of JSON: what holds it, and its key there."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


@given(st.data())
def test_one_value_in_place_of_another_is_read_or_refused(data):
    file, record = data.draw(st.sampled_from(FILES))
    changed = copy.deepcopy(record)
    held, key = data.draw(st.sampled_from(list(places(changed))))
    held[key] = data.draw(STRANGE)
    with suppress(ul.UnitlensError):
        read = read_record(file.kind, changed, what="entry 1")
        assert str(read)
        assert len(read.table())


@BOTH
def test_spoiled_files_are_read_or_refused(tmp_path, file, record):
    whole = json.dumps([record]).encode()
    for seed in range(60):
        (tmp_path / file.name).write_bytes(spoiled(whole, np.random.default_rng(seed)))
        with suppress(ul.UnitlensError):
            file.read(tmp_path)
