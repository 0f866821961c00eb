"""What strange files do: lead out of the folder, are missing, hold unknown codes, are not what they seem."""

import re
import shutil
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from tests.data.readers import layouts
from tests.data.readers.broken_layouts import mutate
from tests.data.readers.test_layouts import WRITERS
from tests.faults.hostile import CODINGS
from tests.worlds.coloured import blocks, write_world
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.readers import files
from unitlens.data.readers.formats import find_layout, open_format

IMAGES = [blocks(seed) for seed in range(3)]
OUT = ["../secret.png", "/etc/secret.png", "a/../../secret.png", "..\\secret.png", "C:\\secret.png", ""]


@pytest.mark.parametrize("name", OUT)
def test_no_path_leads_out(name, tmp_path):
    with pytest.raises(ul.UnitlensError, match="leads out of the data set"):
        files.inside(name, tmp_path / "list.csv")


@given(st.text(max_size=20))
def test_a_clean_path_stays_inside(name):
    try:
        clean = files.inside(name, "list.csv")
    except ul.UnitlensError:
        return
    assert not clean.startswith("/")
    assert ".." not in clean.split("/")


@pytest.mark.parametrize("outside", OUT[:3])
def test_broden_stays_in_its_folder(outside, tmp_path):
    layouts.broden(tmp_path, IMAGES)
    layouts.replace_text(tmp_path / "index.csv", "ade20k/ADE_train_00000001_object.png", outside)
    data = ul.open_data(tmp_path)
    with pytest.raises(ul.UnitlensError, match="which leads out of the data set"):
        data[1]
    layouts.replace_text(tmp_path / "index.csv", "ade20k/ADE_train_00000001.jpg", outside)
    with pytest.raises(
        ul.UnitlensError, match=r"index\.csv names the file .* leads out of the data set: mend the list"
    ):
        ul.open_data(tmp_path)


def test_lists_of_voc_and_openimages_stay_in_their_folders(tmp_path):
    layouts.voc(tmp_path / "voc", IMAGES)
    (tmp_path / "voc" / "ImageSets" / "Segmentation" / "odd.txt").write_text("../../x\n")
    with pytest.raises(ul.UnitlensError, match=r"odd\.txt names the file '../../x', which leads out"):
        ul.open_data(tmp_path / "voc", split="odd")
    layouts.openimages(tmp_path / "oi", IMAGES)
    path = tmp_path / "oi" / "validation-annotations-object-segmentation.csv"
    layouts.replace_text(path, "0000000000000000_m01g317_00000001.png", "../../x.png")
    with pytest.raises(ul.UnitlensError, match=r"names the file '\.\./\.\./x\.png', which leads out"):
        ul.open_data(tmp_path / "oi")


@pytest.mark.parametrize(
    ("write", "file"),
    [
        (layouts.broden, "images/ade20k/ADE_train_00000000.jpg"),
        (layouts.broden, "images/ade20k/ADE_train_00000000_object.png"),
        (layouts.ade20k, "annotations/validation/ADE_val_00000000.png"),
        (layouts.cityscapes, "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png"),
        (layouts.coco_panoptic, "annotations/panoptic_val2017/000000000139.png"),
        (layouts.coco_panoptic, "val2017/000000000139.jpg"),
        (layouts.openimages, "masks/0000000000000000_m01g317_00000001.png"),
    ],
)
def test_a_missing_file_leaves_out_its_image_only(write, file, tmp_path, net):
    write(tmp_path, IMAGES)
    (tmp_path / file).unlink()
    data = ul.open_data(tmp_path)
    index = 2 if write in (layouts.ade20k, layouts.cityscapes) else 0  # the split val comes last
    with pytest.raises(UnreadableError, match=f"There is no file .*{file.rsplit('/', 1)[1]}, which the data set"):
        data[index]
    with pytest.warns(ul.UnitlensWarning, match="1 files? .* left out, such as"):
        result = ul.dissect(net, "0", data, quantile=0.15, evidence=False, exemplars=0)
    assert result.info["data"]["images"] == 2
    assert [left_out["image"] for left_out in result.info["data"]["skipped"]] == [data.names[index]]


@pytest.mark.parametrize("cut", [0, 40])
def test_a_damaged_mask_leaves_out_its_image_only(cut, tmp_path):
    layouts.voc(tmp_path, IMAGES)
    path = tmp_path / "SegmentationClass" / "2007_000001.png"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UnreadableError, match=r"2007_000001\.png"):
        ul.open_data(tmp_path)[1]


@pytest.mark.parametrize(
    ("write", "file", "sentence"),
    [
        (layouts.broden, "images/ade20k/ADE_train_00000000_object.png", "which the list of object labels"),
        (layouts.ade20k, "annotations/validation/ADE_val_00000000.png", "which objectInfo150.txt does not name"),
        (layouts.voc, "SegmentationClass/2007_000000.png", "which Pascal VOC does not name"),
        (layouts.cityscapes, "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png", "which Cityscapes does not"),
        (layouts.coco_panoptic, "annotations/panoptic_val2017/000000000139.png", "which the panoptic list does not"),
        (layouts.ade20k_full, "images/validation/s/street/ADE_train_00000000_seg.png", "the list of class names does"),
    ],
)
def test_an_unknown_code_is_a_sentence(write, file, sentence, tmp_path):
    write(tmp_path, IMAGES)
    grey = "objectInfo" in sentence or "VOC" in sentence or "Cityscapes" in sentence
    layouts.save_png(tmp_path / file, np.full((8, 8) if grey else (8, 8, 3), 99, np.uint8))
    data = ul.open_data(tmp_path)
    with pytest.raises(ul.UnitlensError, match=rf"holds the code \d+, .*{sentence}"):
        [data[i] for i in range(len(data))]


def test_a_whole_image_label_must_be_known_too(tmp_path):
    layouts.broden(tmp_path, IMAGES)
    layouts.replace_text(tmp_path / "index.csv", "314;194", "314;77")
    with pytest.raises(ul.UnitlensError, match=r"in the row of ade20k/ADE_train_00000000\.jpg, holds the code 77"):
        ul.open_data(tmp_path)[0]


def test_an_unknown_colour_is_shown(tmp_path):
    layouts.camvid(tmp_path, IMAGES)
    layouts.save_png(tmp_path / "LabeledApproved_full" / "0001TP_000000_L.png", np.full((8, 8, 3), 7, np.uint8))
    with pytest.raises(ul.UnitlensError, match=r"1 colour that label_colors\.txt does not name, such as \(7, 7, 7\)"):
        ul.open_data(tmp_path)[0]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("1 2 3\n", "line 1: '1 2 3' is not red green blue name"),
        ("1 2 300 sky\n", "line 1: '1 2 300' is not a colour of three numbers"),
        ("1 2 3 sky\n1 2 3 tree\n", "line 2: the colour 1 2 3 stands for two names"),
        ("0 0 0 void\n", "names no concept"),
    ],
)
def test_a_colour_table_may_be_wrong(table, sentence, tmp_path):
    layouts.camvid(tmp_path, IMAGES)
    (tmp_path / "label_colors.txt").write_text(table)
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.open_data(tmp_path)


def test_a_colour_table_without_masks(tmp_path):
    layouts.save_png(tmp_path / "images" / "a.png", IMAGES[0][0])
    (tmp_path / "label_colors.txt").write_text("0 0 0 sky\n")
    with pytest.raises(ul.UnitlensError, match="no image with its mask"):
        ul.open_data(tmp_path)


@pytest.mark.parametrize(
    ("write", "splits"),
    [
        (layouts.broden, {"train": 2, "val": 1}),
        (layouts.voc, {"train": 2, "val": 1, "trainval": 3}),
        (layouts.ade20k, {"training": 2, "validation": 1}),
        (layouts.ade20k_full, {"training": 2, "validation": 1}),
        (layouts.cityscapes, {"train": 2, "val": 1}),
        (layouts.coco_panoptic, {"val2017": 3}),
        (layouts.openimages, {"validation": 3}),
        (layouts.class_dict, {"train": 1, "val": 2}),
    ],
)
def test_splits(write, splits, tmp_path):
    write(tmp_path, IMAGES)
    for split, count in splits.items():
        assert len(ul.open_data(tmp_path, split=split)) == count
    with pytest.raises(ul.UnitlensError, match=r"has no split 'trian'.*; it has "):
        ul.open_data(tmp_path, split="trian")


def test_a_folder_without_splits(world):
    with pytest.raises(ul.UnitlensError, match="has no splits to choose 'train' from"):
        ul.open_data(world, split="train")


def test_formats_by_name(tmp_path, world):
    layouts.voc(tmp_path / "VOCdevkit" / "VOC2012", IMAGES)
    assert len(ul.open_data(tmp_path / "VOCdevkit", format="voc")) == 3
    assert len(ul.open_data(world, format="folder")) == len(list((world / "images").iterdir()))
    assert len(ul.open_data(tmp_path / "VOCdevkit" / "VOC2012", format="images")) == 7
    with pytest.raises(ul.UnitlensError, match=r"no data format 'brodn' \(did you mean broden\?\); there are folder, "):
        ul.open_data(tmp_path, format="brodn")
    with pytest.raises(ul.UnitlensError, match=r"does not have the layout of coco, which needs lists such as"):
        ul.open_data(world, format="coco")
    with pytest.raises(ul.UnitlensError, match=r"There is no folder .*nowhere"):
        ul.open_data(tmp_path / "nowhere", format="voc")
    with pytest.raises(ul.UnitlensError, match=r"There is no format 'vok' \(did you mean voc\?\)"):
        open_format(tmp_path, "vok")


def test_a_list_of_masks_in_one_folder_does_not_speak_for_its_neighbours(tmp_path):
    layouts.openimages(tmp_path / "openimages", IMAGES)
    assert find_layout(tmp_path).format == "openimages"
    layouts.voc(tmp_path / "VOC2012", IMAGES)
    with pytest.raises(ul.UnitlensError, match=r"holds several data sets, .*VOC2012, .*openimages: give one of them"):
        ul.open_data(tmp_path)


def test_what_could_be_several_is_asked_for(tmp_path):
    layouts.voc(tmp_path / "VOC2010", IMAGES)
    layouts.pascal_context(tmp_path / "VOC2010", IMAGES)
    with pytest.raises(ul.UnitlensError, match="could be voc or pascal-context: say which with format="):
        find_layout(tmp_path / "VOC2010")
    layouts.cityscapes(tmp_path / "streets", IMAGES)
    with pytest.raises(ul.UnitlensError, match=r"holds several data sets, .*VOC2010, .*streets: give one of them"):
        ul.open_data(tmp_path)


def test_empty_lists(tmp_path):
    layouts.voc(tmp_path / "voc", IMAGES)
    (tmp_path / "voc" / "ImageSets" / "Segmentation" / "train.txt").write_text("\n")
    with pytest.raises(ul.UnitlensError, match=r"train\.txt is empty"):
        ul.open_data(tmp_path / "voc", split="train")
    for path in (tmp_path / "voc" / "SegmentationClass").iterdir():
        path.unlink()
    with pytest.raises(ul.UnitlensError, match="was read as voc, but it lists no image"):
        ul.open_data(tmp_path / "voc")


def test_lists_of_broden_may_be_wrong(tmp_path):
    layouts.broden(tmp_path, IMAGES)
    layouts.replace_text(tmp_path / "c_object.csv", "300", "301")
    with pytest.raises(ul.UnitlensError, match=r"c_object\.csv has the number 301, which .*label\.csv does not"):
        ul.open_data(tmp_path)
    layouts.replace_text(tmp_path / "c_object.csv", "301", "tree")
    with pytest.raises(ul.UnitlensError, match=r"c_object\.csv, line \d: 'tree' is not a whole number"):
        ul.open_data(tmp_path)
    layouts.replace_text(tmp_path / "index.csv", "split", "part2")
    with pytest.raises(ul.UnitlensError, match=r"index\.csv has no column split; its first line names image, part2"):
        ul.open_data(tmp_path)


def test_broden_without_its_dense_codes(tmp_path):
    layouts.broden(tmp_path, IMAGES)
    full = set(ul.open_data(tmp_path).concepts)
    for path in tmp_path.glob("c_*.csv"):
        path.unlink()
    assert set(ul.open_data(tmp_path).concepts) == full | {ul.Concept("part", 17, "sky")} == full


def test_text_in_another_encoding(tmp_path):
    layouts.ade20k(tmp_path, IMAGES)
    (tmp_path / "objectInfo150.txt").write_bytes("Idx\tRatio\tTrain\tVal\tName\n1\t0\t0\t0\tcafé".encode("latin-1"))
    with pytest.raises(ul.UnitlensError, match=r"objectInfo150\.txt is not UTF-8 text"):
        ul.open_data(tmp_path)
    (tmp_path / "objectInfo150.txt").write_text("Idx\nx\n")
    with pytest.raises(ul.UnitlensError, match="has the row 'x', which is not Idx, Ratio, Train, Val, Name"):
        ul.open_data(tmp_path)


def test_synonyms_are_shortened_where_that_is_unique(tmp_path):
    layouts.ade20k(tmp_path, IMAGES)
    names = [concept.name for concept in ul.open_data(tmp_path).concepts]
    assert names == ["wall", "building", "sky", "screen, silver screen", "screen, CRT screen", "bathroom", "street"]


def test_the_scene_of_ade20k_is_a_class_and_a_concept(tmp_path):
    layouts.ade20k(tmp_path, IMAGES)
    examples = list(ul.open_data(tmp_path))
    assert [example.class_ for example in examples] == ["bathroom", "street", "street"]
    assert [int(example.planes["scene"][0].item()) for example in examples] == [1, 2, 2]
    (tmp_path / "sceneCategories.txt").unlink()
    assert list(ul.open_data(tmp_path)[0].planes) == ["object"]


@pytest.mark.parametrize("names", ["json", "atr"])
def test_ade20k_without_its_index(names, tmp_path):
    layouts.ade20k_full(tmp_path / "mat", IMAGES)
    layouts.ade20k_full(tmp_path / names, IMAGES, names=names)
    (tmp_path / names / "index_ade20k.pkl").write_bytes(b"cposix\nsystem\n(S'false'\ntR.")
    expected, data = ul.open_data(tmp_path / "mat"), ul.open_data(tmp_path / names)
    assert data.concepts == expected.concepts
    assert {c.category for c in data.concepts if c.name in ("doorknob", "screw")} == {"part"}
    assert [len(example.planes["part"]) for example in data] == [2, 2, 2]


def test_ade20k_without_any_names(tmp_path):
    layouts.ade20k_full(tmp_path, IMAGES, names="none")
    with pytest.raises(ul.UnitlensError, match=r"have no names: index_ade20k\.mat is missing or unreadable"):
        ul.open_data(tmp_path)
    (tmp_path / "index_ade20k.mat").write_bytes(b"nothing of MATLAB's")
    with pytest.raises(ul.UnitlensError, match=r"index_ade20k\.mat is not ADE20K's index, or it is damaged"):
        ul.open_data(tmp_path)


def test_ade20k_described_in_another_way(tmp_path):
    layouts.ade20k_full(tmp_path, IMAGES, names="json")
    next(tmp_path.rglob("*.json")).write_text('{"annotation": {}}')
    with pytest.raises(ul.UnitlensError, match="does not describe an image of ADE20K"):
        ul.open_data(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "fact"),
    [
        ("id", "1e999", "cannot convert float infinity"),
        ("part_level", "-Infinity", "cannot convert float infinity"),
        ("name_ndx", "9" * 26, f"the class {'9' * 26}"),
        ("name_ndx", "[" * 100_000, "not JSON that can be read"),
    ],
)
def test_numbers_of_ade20k_may_be_none(field, value, fact, tmp_path):
    layouts.ade20k_full(tmp_path, IMAGES, names="json")
    path = next(tmp_path.rglob("*.json"))
    path.write_text(re.sub(rf'"{field}": \d+', f'"{field}": {value}', path.read_text(), count=1))
    with pytest.raises(ul.UnitlensError, match=rf"{path.name} .*{fact}"):
        ul.open_data(tmp_path)


def test_names_that_no_file_can_have_are_refused(tmp_path):
    layouts.broden(tmp_path, IMAGES)
    layouts.replace_text(tmp_path / "index.csv", "314;194", "9" * 5000)
    with pytest.raises(ul.UnitlensError, match=r"index\.csv names the file 9{40}\.\.\., a name too long for a file"):
        ul.open_data(tmp_path)[0]


def test_what_cityscapes_does_not_evaluate_is_not_judged(tmp_path):
    layouts.cityscapes(tmp_path, IMAGES)
    data = ul.open_data(tmp_path)
    assert len(data.concepts) == 19
    assert (data[2].planes["object"][0][IMAGES[0][1] == 0] == 65535).all()
    assert not [name for name in data.names if name.startswith("test")]
    (tmp_path / "gtFine").rename(tmp_path / "gtCoarse")
    for path in list(tmp_path.rglob("*_gtFine_labelIds.png")):
        path.rename(path.with_name(path.name.replace("gtFine", "gtCoarse")))
    assert ul.open_data(tmp_path)[0].planes["object"][0].any()


def test_overlapping_masks_lie_on_further_planes():
    left, right = np.zeros((2, 4, 4), bool)
    left[:, :3], right[:, 2:] = True, True
    planes = files.layered([(1, left), (2, right), (1, right), (3, np.ones((2, 2), bool))])
    assert [plane.shape for plane in planes] == [(4, 4), (4, 4), (2, 2)]
    assert (planes[0] == 1).all()
    assert ((planes[1] == 2) == right).all()


def test_pascal_files_may_be_strange(tmp_path):
    layouts.pascal_part(tmp_path / "part", IMAGES)
    layouts.replace_text(tmp_path / "part" / "part2ind.m", "'body'", "'hull'")
    with pytest.raises(ul.UnitlensError, match=r"has the part 'body', which part2ind\.m does not name"):
        ul.open_data(tmp_path / "part")[0]
    (tmp_path / "part" / "part2ind.m").write_text("function nothing\n")
    with pytest.raises(ul.UnitlensError, match=r"part2ind\.m names no part: it comes with Pascal Part"):
        ul.open_data(tmp_path / "part")
    layouts.pascal_context(tmp_path / "context", IMAGES)
    (tmp_path / "context" / "trainval" / "2008_000000.mat").write_bytes(b"x" * 200)
    with pytest.raises(UnreadableError, match=r"2008_000000\.mat is not a MATLAB file with LabelMap"):
        ul.open_data(tmp_path / "context")[0]
    (tmp_path / "context" / "labels.txt").write_text("one\n")
    with pytest.raises(ul.UnitlensError, match=r"labels\.txt has the line 'one', which is not a label such as"):
        ul.open_data(tmp_path / "context")


def test_numbered_parts_are_one_concept(tmp_path):
    layouts.pascal_part(tmp_path, IMAGES)
    data = ul.open_data(tmp_path)
    assert [c.name for c in data.concepts if c.category == "part"] == ["body", "engine", "fwheel"]
    truth = IMAGES[0][1]
    engine = np.logical_or.reduce([plane == 2 for plane in data[0].planes["part"]])
    assert (engine == ((truth == 1) | (truth == 2))).all()


def test_images_only(tmp_path):
    layouts.save_png(tmp_path / "cats" / "a.png", IMAGES[0][0])
    layouts.save_png(tmp_path / "dogs" / "b.png", IMAGES[1][0])
    (tmp_path / "notes.txt").write_text("not an image")
    data = ul.open_data(tmp_path)
    assert data.names == ("cats/a.png", "dogs/b.png")
    assert [(example.class_, dict(example.planes)) for example in data] == [("cats", {}), ("dogs", {})]
    assert data.concepts == ()
    assert ul.open_data(tmp_path, format="images", split="dogs").names == ("dogs/b.png",)
    with pytest.raises(ul.UnitlensError, match="has no split 'dgos'"):
        ul.open_data(tmp_path, format="images", split="dgos")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ul.UnitlensError, match="holds no image"):
        ul.open_data(tmp_path / "empty")


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """A small data set in every layout."""
    root = tmp_path_factory.mktemp("intact")
    for name, (_, write) in WRITERS.items():
        if name != "coco_instances" or find_spec("pycocotools"):
            write(root / name, IMAGES)
    write_world(root / "annotated", images=3)
    (root / "annotated" / "classes.csv").write_text("image,class,index\n00.png,cat,1\n01.png,dog,2\n02.png,cat,1\n")
    return root


@pytest.mark.parametrize("change", CODINGS.values(), ids=CODINGS)
def test_lists_of_every_layout_in_other_codings(intact, tmp_path, change):
    for layout in sorted(intact.iterdir()):
        lists = [path for path in layout.rglob("*") if path.suffix in (".csv", ".txt", ".json", ".m")]
        for suffix in sorted({path.suffix for path in lists}):
            root = shutil.copytree(layout, tmp_path / layout.name / suffix[1:])
            for path in lists:
                if path.suffix == suffix:
                    copy = root / path.relative_to(layout)
                    copy.write_bytes(change(copy.read_bytes()))
            with suppress(ul.UnitlensError):
                data = ul.open_data(root)
                for index in range(len(data)):
                    with suppress(ul.UnitlensError):
                        data[index]


@pytest.mark.parametrize(
    "first", [0, 40, *(pytest.param(first, marks=pytest.mark.slow) for first in range(80, 800, 40))]
)
def test_whatever_is_wrong_with_files_is_a_sentence(intact, tmp_path, first):
    layouts_there = sorted(path.name for path in intact.iterdir())
    for seed in range(first, first + 40):
        root = tmp_path / str(seed)
        shutil.copytree(intact / layouts_there[seed % len(layouts_there)], root)
        mutate(root, seed, times=1 + seed % 2)
        try:
            data = ul.open_data(root)
        except ul.UnitlensError:
            continue
        for index in range(len(data)):
            with suppress(ul.UnitlensError):
                data[index]
