"""COCO's lists: strange ones, and those of other layouts."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import blocks
from unitlens.data.readers.coco.masks import painted
from unitlens.data.readers.formats import find_layout

IMAGES = [blocks(seed) for seed in range(3)]


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_coco_stays_in_its_folder(tmp_path):
    layouts.coco_panoptic(tmp_path, IMAGES)
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
    layouts.coco_instances(tmp_path, IMAGES)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ul.UnitlensError, match=r"pycocotools, which is not installed: pip install 'unitlens\[coco\]'"):
        ul.open_data(tmp_path)
    layouts.coco_panoptic(tmp_path, IMAGES)  # needs none, and is preferred
    assert ul.open_data(tmp_path)[0].planes["stuff"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"segmentation": {"counts": [5], "size": [32, 32]}}, "run lengths do not fill the image"),
        ({"segmentation": {"counts": [-1, 1025], "size": [32, 32]}}, "run lengths do not fill the image"),
        ({"segmentation": {"counts": [4], "size": [2, 2]}}, r"its size is \[2, 2\], not \[32, 32\]"),
        ({"segmentation": {"counts": "not a code", "size": [32, 32]}}, "An annotation of COCO cannot be drawn"),
        ({"segmentation": [["a"] * 6]}, "An annotation of COCO cannot be drawn"),
        ({"segmentation": [[0, 0, 2**70, 9, 9, 9]]}, "An annotation of COCO cannot be drawn .* none beyond 320"),
        ({"category_id": 77}, "has the category 77, which the list does not name"),
    ],
)
def test_strange_annotations_of_coco(change, sentence, tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_instances(tmp_path, IMAGES)
    path = tmp_path / "annotations" / "instances_val2017.json"
    edit_json(path, lambda content: content["annotations"][0].update(change))
    data = ul.open_data(tmp_path)
    with pytest.raises(ul.UnitlensError, match=sentence):
        data[0]


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_run_lengths_are_those_of_pycocotools(seed, height, width, share):
    coder = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(seed).random((height, width)) < share
    code = coder.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = np.diff(np.flatnonzero(np.diff(mask.T.ravel(), prepend=False, append=~mask.T.ravel()[-1])), prepend=0)
    for given_ in (code["counts"], code["counts"].decode(), counts.tolist()):
        annotation = {"segmentation": {"counts": given_, "size": [height, width]}, "category_id": 3}
        ((category, drawn),) = painted([annotation], height, width)
        assert category == 3
        np.testing.assert_array_equal(drawn, mask)


def test_degenerate_polygons_are_nothing(tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_instances(tmp_path, IMAGES[:1])
    edit_json(
        tmp_path / "annotations" / "instances_val2017.json",
        lambda content: [a.update(segmentation=[[1, 1, 30, 30]]) for a in content["annotations"]],
    )
    planes = ul.open_data(tmp_path)[0].planes["object"]
    assert [plane.any() for plane in planes] == [False]


def test_stuff_from_run_lengths_equals_stuff_from_maps(tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_stuff(tmp_path / "maps", IMAGES)
    layouts.coco_stuff(tmp_path / "drawn", IMAGES, maps=False)
    for with_maps, drawn in zip(ul.open_data(tmp_path / "maps"), ul.open_data(tmp_path / "drawn"), strict=True):
        assert np.array_equal(with_maps.planes["stuff"][0], drawn.planes["stuff"][0])


def test_coco_stuff_as_its_authors_unpack_it(tmp_path):
    layouts.cocostuff(tmp_path, IMAGES, maps="annotations", photos="images")
    assert find_layout(tmp_path).format == "coco-stuff"
    data = ul.open_data(tmp_path)
    assert data.names[-1] == "images/val2017/000000000000.jpg"
    assert len(ul.open_data(tmp_path, split="train2017")) == 2
    assert (len(data.concepts), {c.label for c in data.concepts if c.category == "stuff"}) == (171, set(range(92, 183)))
    assert {c.name: c.label for c in data.concepts}["stop sign"] == 13
    things, stuff = (data[-1].planes[category][0] for category in ("object", "stuff"))
    assert (set(np.unique(things)), set(np.unique(stuff))) == ({0, 1, 3, 65535}, {0, 92, 182, 65535})
    with pytest.raises(ul.UnitlensError, match=r"has no split 'test2017'.*; it has train2017, val2017"):
        ul.open_data(tmp_path, split="test2017")


def test_coco_stuff_without_its_images_or_with_strange_values(tmp_path):
    layouts.cocostuff(tmp_path / "a", IMAGES[:1])
    layouts.save_png(tmp_path / "a/stuffthingmaps_trainval2017/val2017/000000000000.png", np.full((32, 32), 11, "u1"))
    with pytest.raises(ul.UnitlensError, match=r"000000000000\.png holds the code 11, which COCO-Stuff does not name"):
        ul.open_data(tmp_path / "a")[0]
    (tmp_path / "a" / "val2017").rename(tmp_path / "a" / "elsewhere")
    assert not find_layout(tmp_path / "a")
    with pytest.raises(
        ul.UnitlensError, match=r"does not have the layout of coco-stuff, which needs stuffthingmaps_tr"
    ):
        ul.open_data(tmp_path / "a", format="coco-stuff")


def test_lists_and_maps_of_coco_in_one_folder_are_a_question(tmp_path):
    layouts.coco_panoptic(tmp_path, IMAGES[:1])
    layouts.cocostuff(tmp_path, IMAGES[:1])
    with pytest.raises(ul.UnitlensError, match="could be coco or coco-stuff: say which with format="):
        ul.open_data(tmp_path)
    assert len(ul.open_data(tmp_path, format="coco-stuff")) == 1


def test_coco_in_the_layout_of_roboflow(tmp_path):
    pytest.importorskip("pycocotools")
    layouts.coco_instances(tmp_path, IMAGES)
    (tmp_path / "annotations" / "instances_val2017.json").rename(tmp_path / "val2017" / "_annotations.coco.json")
    assert find_layout(tmp_path).format == "coco"
    assert len(ul.open_data(tmp_path, split="val2017").concepts) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON that can be read"),
        ('{"images": 3}', "is not a list in COCO's format"),
        ("[" * 100_000, "is not JSON that can be read"),
        ('{"images": [], "annotations": [], "categories": []}', "are not there: put them into"),
    ],
)
def test_what_is_no_list_of_coco(text, sentence, tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.open_data(tmp_path)


def test_two_lists_of_coco_that_differ(tmp_path):
    layouts.coco_panoptic(tmp_path, IMAGES)
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    other = path.with_name("panoptic_train2017.json")
    other.write_text(path.read_text().replace('"car"', '"cart"'))
    (tmp_path / "train2017").symlink_to(tmp_path / "val2017")
    (tmp_path / "annotations" / "panoptic_train2017").symlink_to(tmp_path / "annotations" / "panoptic_val2017")
    with pytest.raises(ul.UnitlensError, match="calls the category 3 'car', another list 'cart'"):
        ul.open_data(tmp_path)
    other.write_text(path.read_text())
    assert len(ul.open_data(tmp_path)) == 6
