"""Lists and files that contradict each other: what reading the images does not tell, `check` does."""

import json
import pickle

import pytest

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import blocks, write_world
from unitlens.data.checking import check
from unitlens.data.concepts import name_findings
from unitlens.data.tags import Tags

IMAGES = [blocks(seed) for seed in range(4)]


def findings(data, *kinds):
    return [finding.text for finding in check(data, image_size=16, quantile=0.2).findings if finding.kind in kinds]


def without(write, file):
    """A layout from which a file was taken away."""

    def broken(root):
        write(root, IMAGES)
        (root / file).unlink()

    return broken


def coco_without_a_map(root):
    layouts.coco_panoptic(root, IMAGES)
    path = root / "annotations" / "panoptic_val2017.json"
    content = json.loads(path.read_text())
    del content["annotations"][1]
    path.write_text(json.dumps(content))


BROKEN = {
    "voc": (without(layouts.voc, "SegmentationClass/2007_000001.png"), "2007_000001"),
    "ade20k": (without(layouts.ade20k, "images/validation/ADE_val_00000000.jpg"), "validation/ADE_val_00000000.png"),
    "ade20k_full": (
        without(layouts.ade20k_full, "images/validation/s/street/ADE_train_00000000_seg.png"),
        "validation/s/street/ADE_train_00000000.jpg",
    ),
    "cityscapes": (
        without(layouts.cityscapes, "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"),
        "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png",
    ),
    "coco": (coco_without_a_map, "000000000140.jpg"),
    "cocostuff": (
        without(layouts.cocostuff, "stuffthingmaps_trainval2017/train2017/000000000001.png"),
        "train2017/000000000001.jpg",
    ),
    "openimages": (without(layouts.openimages, "validation/0000000000000001.jpg"), "0000000000000001"),
}
INTACT = [layouts.voc, layouts.ade20k, layouts.ade20k_full, layouts.cityscapes, layouts.coco_panoptic]
INTACT += [layouts.cocostuff, layouts.openimages, layouts.pascal_part]


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_list_names_and_is_not_there_is_a_finding(name, tmp_path):
    write, missing = BROKEN[name]
    write(tmp_path)
    found = findings(ul.open_data(tmp_path), "missing pair", "missing image")
    assert found
    assert all(missing in text for text in found)


@pytest.mark.parametrize("write", INTACT)
def test_whole_data_sets_have_no_such_findings(write, tmp_path):
    write(tmp_path, IMAGES)
    data = pickle.loads(pickle.dumps(ul.open_data(tmp_path)))
    assert list(data.file_findings()) == []


def test_a_list_of_pascal_part_that_names_an_image_without_parts(tmp_path):
    layouts.pascal_part(tmp_path, IMAGES)
    marked = sorted(path.stem for path in (tmp_path / "Annotations_Part").iterdir())
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "val.txt").write_text(f"{marked[0]}\n2008_999999\n")
    for split in (None, "val"):
        (text,) = (finding.text for finding in ul.open_data(tmp_path, split=split).file_findings())
        assert "ImageSets/Segmentation/val.txt" in text
        assert "2008_999999" in text


def test_a_list_whose_marks_are_all_withheld_is_none(tmp_path):
    layouts.voc(tmp_path, IMAGES)
    (tmp_path / "ImageSets" / "Segmentation" / "test.txt").write_text("2007_999999\n")
    assert list(ul.open_data(tmp_path).file_findings()) == []


def test_classes_of_images_that_are_not_there(tmp_path):
    root = write_world(tmp_path / "world")
    (root / "classes.csv").write_text("image,class\n00.png,a\ngone.png,b\n")
    (text,) = findings(ul.annotated(root), "missing image")
    assert "classes.csv names gone.png" in text


def test_tags_of_images_that_are_not_there(tmp_path):
    data = ul.annotated(write_world(tmp_path / "world"))
    tags = Tags({"00.png": [("scene", "street")], "gone.png": [("scene", "yard")]}, "tags of t.csv")
    (text,) = findings(ul.with_concepts(data, tags), "missing image")
    assert "tags of t.csv name gone.png" in text


def test_many_names_are_counted():
    texts = [finding.text for finding in name_findings("missing image", map(str, range(1500)), "{name} {} is gone.")]
    assert (len(texts), texts[3], texts[-1]) == (21, "3 {} is gone.", "The same is true of 1,480 more.")
