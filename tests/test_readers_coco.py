"""COCO's lists: strange ones, and those of other layouts."""

import json
import sys

import numpy as np
import pytest

import unitlens as ul
from tests import layouts
from tests.coloured import blocks
from unitlens.readers import recognised

PICTURES = [blocks(seed) for seed in range(3)]


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_coco_stays_in_its_folder(tmp_path):
    layouts.coco_panoptic(tmp_path, PICTURES)
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    edit_json(path, lambda content: content["annotations"][0].update(file_name="../../x.png"))
    with pytest.raises(
        ul.UnitlensError, match=r"panoptic_val2017\.json names the file '../../x\.png', which leads out"
    ):
        ul.open_data(tmp_path)
    edit_json(path, lambda content: content["images"][0].update(file_name="/x.jpg"))
    with pytest.raises(ul.UnitlensError, match=r"'/x\.jpg', which leads out"):
        ul.open_data(tmp_path)


def test_coco_without_pycocotools(tmp_path, monkeypatch):
    layouts.coco_instances(tmp_path, PICTURES)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ul.UnitlensError, match=r"pycocotools, which is not installed: pip install 'unitlens\[coco\]'"):
        ul.open_data(tmp_path)
    layouts.coco_panoptic(tmp_path, PICTURES)  # needs none, and is preferred
    assert ul.open_data(tmp_path)[0].planes["stuff"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"segmentation": {"counts": [5], "size": [32, 32]}}, "run lengths do not fill the picture"),
        ({"segmentation": {"counts": [-1, 1025], "size": [32, 32]}}, "run lengths do not fill the picture"),
        ({"segmentation": {"counts": [4], "size": [2, 2]}}, r"its size is \[2, 2\], not \[32, 32\]"),
        ({"segmentation": {"counts": "not a code", "size": [32, 32]}}, "The annotation 0 of COCO cannot be drawn"),
        ({"segmentation": [["a"] * 6]}, "The annotation 0 of COCO cannot be drawn"),
        ({"category_id": 77}, "has the category 77, which the list does not name"),
    ],
)
def test_strange_annotations_of_coco(change, sentence, tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_instances(tmp_path, PICTURES)
    path = tmp_path / "annotations" / "instances_val2017.json"
    edit_json(path, lambda content: content["annotations"][0].update(change))
    data = ul.open_data(tmp_path)
    with pytest.raises(ul.UnitlensError, match=sentence):
        data[0]


def test_degenerate_polygons_are_nothing(tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_instances(tmp_path, PICTURES[:1])
    edit_json(
        tmp_path / "annotations" / "instances_val2017.json",
        lambda content: [a.update(segmentation=[[1, 1, 30, 30]]) for a in content["annotations"]],
    )
    planes = ul.open_data(tmp_path)[0].planes["object"]
    assert [plane.any() for plane in planes] == [False]


def test_stuff_from_run_lengths_equals_stuff_from_maps(tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_stuff(tmp_path / "maps", PICTURES)
    layouts.coco_stuff(tmp_path / "drawn", PICTURES, maps=False)
    for with_maps, drawn in zip(ul.open_data(tmp_path / "maps"), ul.open_data(tmp_path / "drawn"), strict=True):
        assert np.array_equal(with_maps.planes["stuff"][0], drawn.planes["stuff"][0])


def test_coco_in_the_layout_of_roboflow(tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_instances(tmp_path, PICTURES)
    (tmp_path / "annotations" / "instances_val2017.json").rename(tmp_path / "val2017" / "_annotations.coco.json")
    assert recognised(tmp_path).format == "coco"
    assert len(ul.open_data(tmp_path, split="val2017").concepts) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON that can be read"),
        ('{"images": 3}', "is not a list in COCO's format"),
        ("[" * 100_000, "is not JSON that can be read"),
        ('{"images": [], "annotations": [], "categories": []}', "are nowhere: put them into"),
    ],
)
def test_what_is_no_list_of_coco(text, sentence, tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.open_data(tmp_path)


def test_two_lists_of_coco_that_differ(tmp_path):
    layouts.coco_panoptic(tmp_path, PICTURES)
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    other = path.with_name("panoptic_train2017.json")
    other.write_text(path.read_text().replace('"car"', '"cart"'))
    (tmp_path / "train2017").symlink_to(tmp_path / "val2017")
    (tmp_path / "annotations" / "panoptic_train2017").symlink_to(tmp_path / "annotations" / "panoptic_val2017")
    with pytest.raises(ul.UnitlensError, match="calls the category 3 'car', another list 'cart'"):
        ul.open_data(tmp_path)
    other.write_text(path.read_text())
    assert len(ul.open_data(tmp_path)) == 6
