"""Every format: recognised, read to the pixel, dissected."""

import csv
import pickle
from pathlib import PurePosixPath

import numpy as np
import pytest
import tifffile

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import blocks
from unitlens.data.colors import Colors
from unitlens.data.readers.formats import FORMATS, find_layout
from unitlens.data.sources import with_concepts

WRITERS = {
    "broden": ("broden", layouts.broden),
    "voc": ("voc", layouts.voc),
    "ade20k": ("ade20k", layouts.ade20k),
    "ade20k_full": ("ade20k-full", layouts.ade20k_full),
    "cityscapes": ("cityscapes", layouts.cityscapes),
    "coco_panoptic": ("coco", layouts.coco_panoptic),
    "coco_instances": ("coco", layouts.coco_instances),
    "coco_stuff": ("coco", layouts.coco_stuff),
    "cocostuff": ("coco-stuff", layouts.cocostuff),
    "openimages": ("openimages", layouts.openimages),
    "camvid": ("colored", layouts.camvid),
    "class_dict": ("colored", layouts.class_dict),
    "msrc": ("colored", layouts.msrc),
    "pascal_context": ("pascal-context", layouts.pascal_context),
    "pascal_part": ("pascal-part", layouts.pascal_part),
}
IMAGES = [blocks(seed) for seed in range(6)]


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    if request.param == "coco_instances":
        pytest.importorskip("pycocotools")
    name, write = WRITERS[request.param]
    return tmp_path / "data", name, write(tmp_path / "data", IMAGES)


def shown(data):
    names = [concept.name for concept in data.concepts]
    return {c.name if names.count(c.name) == 1 else f"{c.category}/{c.name}": c for c in data.concepts}


def test_a_layout_is_recognised_and_no_other_is(written):
    root, name, _ = written
    assert find_layout(root) == (name, root)
    assert [other for other, one in FORMATS.items() if other != "images" and one.matches(root)] == [name]
    assert isinstance(ul.open_data(root), ul.Data)
    assert len(ul.open_data(root.parent)) == len(IMAGES)


def test_images_of_any_bands_and_depth_are_read_in_every_layout(written, tmp_path):
    root, name, _ = written
    before = ul.open_data(root)
    planes = [before[index].planes for index in range(len(before))]
    kept = {}
    for number, image in enumerate(before.names):
        path = before.images / image
        height, width = before[number].image.shape[:2]
        pixels = np.random.default_rng(number).integers(0, 4096, (height, width, 5), dtype=np.uint16)
        kept[PurePosixPath(image).with_suffix("")] = pixels
        if number % 2:
            tifffile.imwrite(path.with_suffix(".tif"), pixels, planarconfig="contig", photometric="minisblack")
        else:
            np.save(path.with_suffix(".npy"), pixels)
        path.unlink()
        for listed in [*root.rglob("*.json"), *root.rglob("index.csv")]:  # which name their images
            named = listed.read_text().replace(path.name, path.with_suffix(".tif" if number % 2 else ".npy").name)
            listed.write_text(named)
    after = ul.open_data(root, format=name)
    assert len(after) == len(before)
    for index, of_image in enumerate(planes):
        example = after[index]
        assert (example.image == kept[PurePosixPath(example.name).with_suffix("")]).all()
        assert example.image.dtype == np.uint16
        assert all(
            np.array_equal(one, other)
            for category in of_image
            for one, other in zip(of_image[category], example.planes[category], strict=True)
        )


def test_every_pixel_has_its_concept(written):
    root, _, words = written
    data = ul.open_data(root)
    concepts = shown(data)
    assert len(data) == len(IMAGES)
    for example in data:
        truth = next(t for p, t in IMAGES if np.abs(p.astype(int) - example.image).mean() < 4)
        for label, word in enumerate(words, 1):
            concept = concepts[word]
            planes = [np.asarray(plane) for plane in example.planes[concept.category]]
            marked = np.logical_or.reduce([plane == concept.label for plane in planes])
            judged = np.logical_and.reduce([plane != np.iinfo(plane.dtype).max for plane in planes])
            step = len(truth) // len(marked)
            assert ((truth[::step, ::step] == label) == marked)[judged].all()
            assert judged.mean() > 0.4


def test_units_find_their_concepts(written, net):
    root, _, words = written
    table = ul.dissect(net, "0", root, quantile=0.15, evidence=False, exemplars=0).table()
    best = [f"{c}/{n}" if n == "sky" else n for c, n in zip(table["category"], table["concept"], strict=True)]
    for unit, word in enumerate(words):
        if len(words) < 3 and unit:  # labels that overlap with others
            continue
        own = {word, "doorknob", "wheel", "body"} if unit == 0 else {word}
        assert best[unit].removeprefix("object/") in {w.removeprefix("object/") for w in own}
        assert table["iou"][unit] > 0.3


def test_examples_say_what_they_were_read_from(written):
    root, _, _ = written
    first, again = ul.open_data(root), ul.open_data(root)
    digests = [example.file_digest for example in first]
    assert digests == [example.file_digest for example in again]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)
    assert list(first.names) == sorted(first.names) == [example.name for example in first]
    assert str(len(first)) in repr(first)
    assert str(root) in repr(first)


def test_a_changed_mask_changes_the_digest(tmp_path):
    layouts.voc(tmp_path, IMAGES)
    before = ul.open_data(tmp_path)[0].file_digest
    layouts.save_png(tmp_path / "SegmentationClass" / "2007_000000.png", IMAGES[1][1])
    assert ul.open_data(tmp_path)[0].file_digest != before


@pytest.mark.parametrize("name", ["broden", "voc", "ade20k", "cityscapes", "coco_panoptic", "cocostuff"])
def test_from_the_shell(name, tmp_path, shell, sees):
    root = tmp_path / "data"
    words = WRITERS[name][1](root, IMAGES)
    said = shell("dissect", *sees, "--data", root, "--no-evidence", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    with (tmp_path / "run" / "units.csv").open(newline="") as file:
        found = [row["concept"] for row in csv.DictReader(file)]
    assert found[0] in {words[0], "wheel"}
    assert found[1] == words[1]


def test_other_processes_can_have_it(written):
    root, _, _ = written
    data = ul.open_data(root)
    again = pickle.loads(pickle.dumps(with_concepts(data, Colors(), masks=False)))
    assert again.names == data.names
    assert again.data[0].file_digest == data[0].file_digest


def test_tabs_behind_the_names_of_ade20k_are_no_names(tmp_path):
    layouts.ade20k(tmp_path, IMAGES[:2])
    listed, plain = tmp_path / "objectInfo150.txt", ul.open_data(tmp_path).concepts
    listed.write_text("".join(f"{row}\t\t \n" for row in listed.read_text().splitlines()))
    assert ul.open_data(tmp_path).concepts == plain
