"""Results of interventions are read back from their counts, and refused where these cannot have been counted."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import unitlens as ul
from tests.editing.test_concept_sets import SoftSquares
from tests.worlds.generators import Measured, painted, painter
from unitlens.editing.saving.files import SavedInterventions, read_interventions, write_interventions


@pytest.fixture(scope="module")
def saved():
    """One result of each kind; not to be changed."""
    net, latents = painter(8), painted(80, source=Measured())
    results = (
        ul.intervene(net, "layer", [0, 3], latents, draws=2, concept="red", examples=2),
        ul.causal_effects(net, "layer", latents, insert=0.1),
        ul.insertion_map(net, "layer", [2], "blue", latents, value=1.0, size=8),
        ul.concept_set(net, "layer", "green", latents, SoftSquares(), method="optimise", most=3, steps=4),
        ul.drawn_detectors(net, "layer", "yellow", latents, units=[3, 1]),
    )
    return SavedInterventions.of(
        results, dissection=ul.dissect(net, "layer", latents, evidence=False, exemplars=0), command="unitlens"
    )


@pytest.fixture
def folder(saved, tmp_path):
    write_interventions(tmp_path / "run", saved)
    return tmp_path / "run"


def test_links_among_the_images_are_refused(folder, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"\x89PNG\r\n\x1a\nof the reader")
    image = next((folder / "interventions").iterdir())
    image.unlink()
    image.symlink_to(tmp_path / "mine.png")
    with pytest.raises(ul.UnitlensError, match=f"{image.name} is a link"):
        read_interventions(folder)


def test_what_was_saved_is_read_back_with_every_count(saved, folder):
    read = read_interventions(folder)
    assert read.images == saved.images
    assert read.command == "unitlens"
    tables = read.tables()
    assert tables.keys() == saved.tables().keys()
    record = json.loads((folder / "interventions.json").read_text())
    assert [one["concepts"] for one in record["results"]] == [0, 0, 0, 1, 0]  # those of another source are others
    changes = tables["interventions.what_changed.csv"].set_index(["before", "after"]).loc[("red", "nothing")]
    assert changes["before_segmenter_iou"] == 0.9
    assert np.isnan(changes["after_segmenter_iou"])
    for name, table in saved.tables().items():
        pd.testing.assert_frame_equal(tables[name], table, check_dtype=False)
    one, sweep, door, found, detectors = read.results
    own, own_sweep, own_door, own_found, own_detectors = saved.results
    for tally, of in ((one.tally, own.tally), (sweep.insertion, own_sweep.insertion), (found.tally, own_found.tally)):
        for field in ("positions", "images", "present", "before", "change", "moved"):
            assert np.array_equal(getattr(tally, field), getattr(of, field)), field
    assert one.moved_by_drawn("matched") == own.moved_by_drawn("matched")
    assert one.took_its_place("red").equals(own.took_its_place("red"))
    assert (one.distance, one.examples_of) == (own.distance, "red")
    assert np.array_equal(door.appeared(), own_door.appeared())
    assert (door.draws, door.usual_area) == (1, own_door.usual_area)
    assert np.array_equal(found.weights, own_found.weights)
    assert (found.units, repr(found)) == (own_found.units, repr(own_found))
    assert sweep.beside_others("red").equals(own_sweep.beside_others("red"))
    assert np.array_equal(detectors.peaks, own_detectors.peaks)


def changed(name, change):
    def of(arrays):
        arrays[name] = change(arrays[name])

    return of


CHANGES = {
    "one array less": (lambda arrays: arrays.pop("0/change"), "change is missing"),
    "one too much": (lambda arrays: arrays.update({"0/more": np.zeros(1)}), "more is not one of the counts"),
    "of no result": (
        lambda arrays: arrays.update({"9/change": np.zeros(1)}),
        "9/change, which is not of a measurement",
    ),
    "other numbers": (changed("1/before", lambda a: a.astype(float)), "before is float64"),
    "another shape": (changed("1/change", lambda a: a[:, :-1]), "change is"),
    "less than nothing": (changed("1/moved", lambda a: a - 1), "moved has counts below 0"),
    "more images": (changed("0/images", lambda a: a + 1), "images, and 80 were measured"),
    "more area than there is": (changed("0/before", lambda a: a + 10**6), "more area than its images"),
    "less than no area": (changed("3/change", lambda a: a - 10**6), "below 0, or larger than the images"),
    "other effects": (changed("1/change", lambda a: a // 2), r"causal_effects\.csv: .* does not agree with the counts"),
    "other takers": (changed("0/became", lambda a: a * 0), "what_changed.csv"),
    "a concept everywhere": (changed("2/appeared", lambda a: a + 10**6), "at more places than there are"),
    "random sets everywhere": (changed("2/by_random", lambda a: a + 10**6), "at more places than there are"),
    "an image too little": (changed("2/areas", lambda a: a[:-1]), "areas is"),
    "a concept beyond the image": (changed("2/areas", lambda a: a + 10**6), "more area than an image"),
    "another usual area": (changed("2/areas", lambda a: a * 0), r"insertions\.csv: usual_area"),
    "places that do not add up": (changed("2/appeared_at", lambda a: a[::-1] * 0), "by thing and by place"),
    "peaks that are none": (changed("4/peaks", lambda a: a * np.nan), "peaks has values that are not finite"),
    "another half": (changed("4/folds", lambda a: a ^ 1), r"drawn_detectors\.csv"),
    "a fold beyond": (changed("4/folds", lambda a: a + 31), "a fold beyond the 32"),
}


@pytest.mark.parametrize(("change", "fact"), CHANGES.values(), ids=CHANGES)
def test_counts_that_cannot_have_been_counted_are_refused(folder, change, fact):
    arrays = load_file(folder / "interventions.safetensors")
    change(arrays)
    save_file(arrays, folder / "interventions.safetensors")
    with pytest.raises(ul.UnitlensError, match=fact):
        read_interventions(folder)


RECORDS = {
    "an older schema": (lambda record: record.update(schema=2), "schema 2, and this version of unitlens reads 5"),
    "no result": (lambda record: record.update(results=[]), "there are no results"),
    "a unit twice": (lambda record: record["results"][0].update(units=[3, 3]), "one twice"),
    "a concept that is not there": (lambda record: record["results"][2].update(column=9), "column of a concept"),
    "concepts of no list": (lambda record: record["results"][0].update(concepts=2), "the list of a result's concepts"),
    "a concept twice": (lambda record: record["concepts"][0].append(record["concepts"][0][0]), "listed twice"),
    "sizes that fall": (lambda record: record["results"][3].update(sizes=[2, 1, 3]), "not rising"),
    "a better segmenter": (
        lambda record: record["concepts"][0][0].update(segmenter_iou=1.0),
        "segmenter_iou",
    ),
    "another network": (lambda record: record["results"][0]["info"]["network"].update(sha256="0" * 64), "different"),
}


@pytest.mark.parametrize(("change", "fact"), RECORDS.values(), ids=RECORDS)
def test_records_that_cannot_be_are_refused(folder, change, fact):
    path = folder / "interventions.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(ul.UnitlensError, match=fact):
        read_interventions(folder)
