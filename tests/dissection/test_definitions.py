import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unitlens as ul
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.dissection.counting import count_at
from unitlens.dissection.forward import Resources, columns_of, observe
from unitlens.dissection.scanning import Scanner
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.temporary import temporary_store
from unitlens.stats.scores import iou, matches

DATA = Path(__file__).parents[3] / "shared" / "data"
NETDISSECT, REFERENCE = DATA / "netdissect2017", DATA / "reference" / "dissect_squeezenet_camvid.npz"

needs_tables = pytest.mark.skipif(not NETDISSECT.is_dir(), reason="the authors' tables are not here")
needs_reference = pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference run is not here")

AUTHORS = {
    # network: units, units above 0.04, unique concepts by label and by category
    "ResNet-152-model_places365": (2048, 1452, 278, 347),
    "caffe_reference_imagenet": (256, 97, 50, 61),
    "caffe_reference_places205": (256, 107, 60, 79),
    "caffe_reference_places365": (256, 118, 72, 91),
}


def authors_table(name):
    """IoU and counts of units x best concept of each category, and the category of each concept."""
    with (NETDISSECT / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    categories = sorted(field.removesuffix("-iou") for field in rows[0] if field.endswith("-iou"))
    concepts = sorted({(c, row[f"{c}-label"]) for row in rows for c in categories})
    column = {concept: place for place, concept in enumerate(concepts)}
    counts = np.zeros((3, len(rows), len(concepts)), np.int64)
    theirs = np.zeros((len(rows), len(concepts)))
    for unit, row in enumerate(rows):
        for c in categories:
            place = column[c, row[f"{c}-label"]]
            counts[:, unit, place] = [int(float(row[f"{c}-{what}"])) for what in ("intersect", "activation", "truth")]
            theirs[unit, place] = float(row[f"{c}-iou"])
    return counts, theirs, np.array([categories.index(c) for c, _ in concepts])


@needs_tables
@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_counts_give_their_ious_and_their_published_numbers(name):
    (intersection, activated, concept), theirs, category_of = authors_table(name)
    ours = iou(intersection, activated, concept)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    units, above, by_unit, by_category = AUTHORS[name]
    assert len(ours) == units
    one = matches(ours, category_of, min_iou=0.04, unique="unit")
    each = matches(ours, category_of, min_iou=0.04, unique="category")
    assert one.any(1).sum() == each.any(1).sum() == above
    assert one.any(0).sum() == by_unit
    assert each.any(0).sum() == by_category


@pytest.fixture(scope="module")
def camvid(tmp_path_factory):
    """CamVid with what is not judged made nothing, as in the reference run."""
    folder = tmp_path_factory.mktemp("camvid") / "data"
    (folder / "labels").mkdir(parents=True)
    shutil.copytree(DATA / "camvid" / "images", folder / "images")
    shutil.copy(DATA / "camvid" / "concepts.csv", folder)
    for path in sorted((DATA / "camvid" / "labels").rglob("*.png")):
        into = folder / path.relative_to(DATA / "camvid")
        into.parent.mkdir(parents=True, exist_ok=True)
        labels = np.array(Image.open(path))
        Image.fromarray(np.where(labels == 255, 0, labels).astype(np.uint8)).save(into)
    return ul.annotated(folder)


def squeezenet():
    # the function of the file, as a network that is passed in
    sys.path.insert(0, str(DATA))
    try:
        from models import squeezenet as build
    finally:
        sys.path.remove(str(DATA))
    return ul.classifier(build(), image_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE, allow_pickle=False) as file:
        return dict(file)


def agreeing_concepts(found, reference, *, apart):
    """Units whose best concept is the same, or whose two best are closer than that."""
    two = np.sort(reference, 1)[:, -2:]
    return (found.argmax(1) == reference.argmax(1)) | (two[:, 1] - two[:, 0] < apart)


@needs_reference
@pytest.mark.slow
def test_squeezenet_on_camvid_is_the_reference_within_its_tolerances(camvid, reference):
    d = ul.dissect(squeezenet(), "features.12", camvid, exemplars=1, evidence=False)
    order = [[c["label"] for c in d.info["data"]["concepts"]].index(label) for label in reference["concept_labels"]]
    assert np.array_equal(d.counts.concept[order], reference["truth"])
    # Kernels of another processor move a threshold by 5e-4 of itself; what holds everywhere is a share of the range.
    largest = d.files().exemplars.groupby("unit")["value"].max().to_numpy()
    assert (np.abs(d.table()["threshold"] - reference["threshold_halfpixel"]) <= 1e-5 * largest).all()
    assert np.abs(d.counts.intersection[:, order] - reference["intersect"]).max() <= 3
    assert np.abs(d.counts.active - reference["active"]).max() <= 3
    assert np.abs(d.scores().to_numpy()[:, order] - reference["iou_halfpixel"]).max() <= 3e-4
    assert agreeing_concepts(d.scores().to_numpy()[:, order], reference["iou_halfpixel"], apart=3e-4).all()


@needs_reference
@pytest.mark.slow
def test_the_published_code_at_its_thresholds_with_zeros_around_the_maps(camvid, reference):
    net = squeezenet()
    settings = Settings.of_preset("pnas2020", layers=("features.12",), default_grid=(56, 56))
    columns = columns_of(camvid, settings)
    order = [[c.label for c in columns.concepts].index(label) for label in reference["concept_labels"]]
    thresholds = torch.from_numpy(reference["threshold_dissect"]).float()
    found = []
    with temporary_store() as store:
        seen = observe(net, camvid, settings, store, resources=Resources())
        layer = seen.layers["features.12"]
        for first in range(0, 512, 64):
            units = slice(first, first + 64)
            scan = Scanner(layer, units, (56, 56), settings.upsampling)
            block = count_at(scan, thresholds[units], seen.labels, seen.folds)
            concepts = 1 + len(columns.concepts)
            activated = block.active.sum(1)[:, None] - block.by_fold.sum(1)[:, concepts:]
            truth = seen.labels.by_fold(grid=True)[:, 1:concepts].sum(0)
            found.append(iou(block.by_fold.sum(1)[:, 1:concepts], activated, truth)[:, order])
    ours = np.concatenate(found)
    assert np.abs(ours - reference["iou_dissect"]).max() < 1e-3
    assert agreeing_concepts(ours, reference["iou_dissect"], apart=1e-3).all()


def test_unique_concepts_of_a_run_by_either_rule():
    d = ul.dissect(colour_net(), "pool", ColourWorld(64), quantile=0.05, grid=8, exemplars=0)
    for unique in ("unit", "category"):
        pairs = matches(d.scores().to_numpy(), d.counts.category_of, min_iou=0.04, unique=unique)
        kept = d.table()["detector"].to_numpy(bool)
        assert d.unique_concepts(unique=unique) == [d.concepts[c] for c in np.flatnonzero(pairs[kept].any(0))]
        papers = d.unique_concepts(unique=unique, detectors=False)
        assert papers == [d.concepts[c] for c in np.flatnonzero(pairs.any(0))]
    assert set(d.unique_concepts()) <= set(d.unique_concepts(unique="category"))
    assert d.unique_concepts() == d.unique_concepts(unique="unit")


def of_preset(preset, **given):
    return Settings.of_preset(preset, layers=("4",), default_grid=(8, 8), **given)


def test_a_preset_is_what_the_design_says_and_an_option_beside_it_overrides_it():
    assert of_preset("unitlens") == Settings(layers=("4",), grid=(8, 8))
    old = of_preset("netdissect2017", grid=(56, 56), quantile=None)
    assert (old.quantile, old.threshold_on, old.grid, old.unique) == (0.005, "raw", (56, 56), "category")
    assert of_preset("netdissect2017").grid == (112, 112)
    assert [of_preset(name).detector_rule for name in ("unitlens", "pnas2020", "netdissect2017")] == [
        "heldout", "plain", "plain"
    ]  # fmt: skip
    code = of_preset("pnas2020")
    assert (code.upsampling, code.tap, code.union, code.not_judged) == ("zeros", "after_inplace", "all", "none")
    with pytest.raises(ul.UnitlensError, match=r"did you mean pnas2020\?"):
        of_preset("pnas202")


def test_the_settings_of_a_preset_are_in_the_run():
    d = ul.dissect(colour_net(), "pool", ColourWorld(64), preset="netdissect2017", grid=8, quantile=0.05, exemplars=0)
    said = json.loads(json.dumps(d.info["settings"]))
    assert (said["preset"], said["grid"], said["threshold_on"], said["not_judged"]) == (
        *("netdissect2017", [8, 8], "raw", "none"),
    )
