import json
import os

import numpy as np
import pytest
from PIL import Image

import unitlens as ul
from tests.worlds.coloured import blocks, write_world
from unitlens.data.concepts import Concept, Data


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path / "world", images=8)


def grey(path, value=1, size=(32, 32), dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, dtype)).save(path)


def refused(folder, sentence):
    with pytest.raises(ul.UnitlensError) as error:
        ul.annotated(folder)
    assert str(error.value).replace(str(folder), "WORLD") == sentence


def test_a_folder_is_data(world):
    data = ul.annotated(world)
    assert isinstance(data, Data)
    assert len(data) == 8
    assert data.names[:2] == ("00.png", "01.png")
    assert data.concepts == (Concept("color", 1, "red"), Concept("color", 2, "green"), Concept("color", 3, "blue"))
    assert data.source == str(world)
    assert repr(data) == f"AnnotatedFolder({str(world)!r}: 8 images, 3 concepts of color)"


def test_an_example_is_an_image_and_its_planes(world):
    image, labels = blocks(3)
    example = ul.annotated(str(world))[3]
    np.testing.assert_array_equal(example.image, image)
    assert list(example.planes) == ["color"]
    np.testing.assert_array_equal(example.planes["color"][0], labels)
    assert (example.name, example.class_) == ("03.png", None)


def test_an_image_without_a_map_is_not_annotated_for_the_category(world):
    (world / "labels" / "color" / "02.png").unlink()
    data = ul.annotated(world)
    assert data[2].planes == {}
    assert list(data[1].planes) == ["color"]


def test_images_lie_in_folders_and_their_maps_too(world):
    (world / "images" / "deep" / "er").mkdir(parents=True)
    (world / "images" / "00.png").rename(world / "images" / "deep" / "er" / "a.b.png")
    (world / "labels" / "color" / "deep" / "er").mkdir(parents=True)
    (world / "labels" / "color" / "00.png").rename(world / "labels" / "color" / "deep" / "er" / "a.b.png")
    data = ul.annotated(world)
    assert data.names[-1] == "deep/er/a.b.png"
    np.testing.assert_array_equal(data[7].planes["color"][0], blocks(0)[1])


def test_other_files_are_named_and_hidden_ones_left_out(world):
    (world / "images" / "notes.txt").write_text("hello")
    (world / "images" / ".hidden.png").write_text("no image")
    data = ul.annotated(world)
    assert data.not_images == ("notes.txt",)
    assert len(data) == 8


def test_linked_folders_are_entered_once_and_a_link_to_nothing_is_no_image(world):
    (world / "images").rename(world.parent / "elsewhere")
    (world / "images").mkdir()
    (world / "images" / "far").symlink_to(world.parent / "elsewhere")
    (world / "images" / "again").symlink_to(".")
    (world / "images" / "gone.png").symlink_to("nowhere.png")
    (world / "labels" / "color").rename(world / "labels" / "far")
    (world / "labels" / "color").mkdir()
    (world / "labels" / "far").rename(world / "labels" / "color" / "far")
    data = ul.annotated(world)
    assert data.names == tuple(f"far/{number:02}.png" for number in range(8))
    assert data.not_images == ("gone.png",)
    assert list(data[0].planes) == ["color"]


def test_a_name_that_is_no_text(world):
    os.rename(world / "images" / "00.png", os.fsencode(world / "images") + b"/caf\xe9.png")
    refused(world, "WORLD/images holds a file whose name is not UTF-8, 'caf\\udce9.png': rename it.")


def test_a_folder_that_may_not_be_read(world, monkeypatch):
    def walk(top, *, followlinks, onerror):
        onerror(PermissionError(13, "Permission denied", str(top / "deep")))

    monkeypatch.setattr(os, "walk", walk)  # root may read everything
    refused(world, "The folder WORLD/images/deep cannot be read: Permission denied.")


def test_labels_and_concepts_may_be_absent(tmp_path):
    grey(tmp_path / "images" / "a.png")
    data = ul.annotated(tmp_path)
    assert (data.concepts, data[0].planes) == ((), {})


@pytest.mark.parametrize("change", ["image", "labels", "gone", "class"])
def test_the_digest_of_an_example_changes_with_all_that_it_says(world, change):
    from unitlens.data.preparing import example_digest

    before = example_digest(ul.annotated(world)[0])
    assert before == example_digest(ul.annotated(world)[0])
    assert before != example_digest(ul.annotated(world)[1])
    plane = world / "labels" / "color" / "00.png"
    if change == "image":
        Image.fromarray(blocks(99)[0]).save(world / "images" / "00.png")
    elif change == "labels":
        Image.fromarray(blocks(99)[1]).save(plane)
    elif change == "gone":
        plane.unlink()
    else:
        (world / "classes.csv").write_text("image,class\n00.png,cat\n")
    assert before != example_digest(ul.annotated(world)[0])


def test_no_folder(tmp_path):
    refused(tmp_path / "gone", "There is no folder WORLD.")


def test_a_folder_without_images(tmp_path):
    refused(tmp_path, "WORLD has no folder images/: put the images into WORLD/images.")


def test_an_empty_folder(tmp_path):
    (tmp_path / "images").mkdir()
    refused(tmp_path, "WORLD/images holds no image: put files such as NAME.jpg or NAME.png into it.")


def test_two_images_of_one_name(world):
    grey(world / "images" / "00.jpg")
    refused(
        world,
        "WORLD/images holds two images of one name, 00.jpg and 00.png, which would share their label maps: rename or "
        "remove one.",
    )


def test_labels_without_concepts(world):
    (world / "concepts.csv").unlink()
    refused(world, "WORLD has labels/ but no concepts.csv: add one with the columns category,label,name.")


def test_a_category_without_concepts(world):
    (world / "concepts.csv").write_text("category,label,name\ncolour,1,red\n")
    refused(
        world,
        "WORLD/labels/color holds label maps, but concepts.csv names no concept of the category color "
        "(did you mean colour?): add its rows to WORLD/concepts.csv.",
    )


def test_label_maps_of_other_names_than_the_images(world):
    for path in list((world / "labels" / "color").iterdir()):
        path.rename(path.with_name(f"map-{path.name}"))
    refused(
        world, "WORLD/labels/color holds no map of any image; the map of 00.png would be WORLD/labels/color/00.png."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "color,1,red\ncolor,1,green\n",
            ", lines 2 and 3 both stand for 1 in the category color: give each concept one label and one name.",
        ),
        (
            "color,1,red\ncolor,2,red\n",
            ", lines 2 and 3 both stand for 'red' in the category color: give each concept one label and one name.",
        ),
        ("color,0,none\n", ", line 2: the label is 0; a label lies between 1 and 65534."),
        ("color,65535,x\n", ", line 2: the label is 65535; a label lies between 1 and 65534."),
        ("color,-1,x\n", ", line 2: the label is -1; a label lies between 1 and 65534."),
        ("color,one,red\n", ", line 2: 'one' is not a whole number."),
        ("color,1.0,red\n", ", line 2: '1.0' is not a whole number."),
        ("color,1,\n", ", line 2: name is empty."),
        ("color,1\n", ", line 2: name is empty."),
        (",1,red\n", ", line 2: category is empty."),
    ],
)
def test_concepts_that_contradict_themselves(world, text, sentence):
    (world / "concepts.csv").write_text("category,label,name\n" + text)
    refused(world, "WORLD/concepts.csv" + sentence)


def test_the_same_label_and_name_may_stand_in_two_categories(world):
    (world / "concepts.csv").write_text("category,label,name\ncolor,1,red\nobject,1,red\n")
    assert len(ul.annotated(world).concepts) == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has no column category, label, name; its first line names nothing, and category,label,name are needed."),
        (
            b"category,label\ncolor,1\n",
            "has no column name; its first line names category, label, and category,label,name are needed.",
        ),
        (
            b"category;label\n",
            "has no column category, label, name (did you mean category;label?); its first line names category;label, "
            "and category,label,name are needed.",
        ),
        ("category,label,name\ncolor,1,grün\n".encode("latin-1"), "is not UTF-8 text: save it in UTF-8."),
        ("category,label,name\ncolor,1,red\n".encode("utf-16"), "is not UTF-8 text: save it in UTF-8."),
    ],
)
def test_concepts_that_cannot_be_read(world, content, sentence):
    (world / "concepts.csv").write_bytes(content)
    refused(world, f"WORLD/concepts.csv {sentence}")


def test_what_spreadsheets_write_is_read(world):
    text = '\ufeffcategory, label ,name,note\r\n\r\ncolor,1, red ,x\r\ncolor,2,"gr\u00fcn, hell",y,z\r\n'.replace(
        " label ", "label"
    )
    (world / "concepts.csv").write_bytes(text.encode())
    assert ul.annotated(world).concepts == (Concept("color", 1, "red"), Concept("color", 2, "grün, hell"))


def classes(data):
    return [data[index].class_ for index in range(len(data))]


@pytest.fixture
def small(tmp_path):
    for name in ("a.png", "b.png", "sub/c.png"):
        grey(tmp_path / "images" / name)
    return tmp_path


def test_classes_without_an_index(small):
    (small / "classes.csv").write_text("image,class\na.png,cat\nsub/c.png,dog\ngone.png,cat\n")
    data = ul.annotated(small)
    assert (classes(data), data.class_index) == (["cat", None, "dog"], {})


def test_classes_with_an_index(small):
    (small / "classes.csv").write_text("image,class,index\na.png,cat,281\nb.png,dog,207\nsub/c.png,cat,281\n")
    data = ul.annotated(small)
    assert (classes(data), data.class_index) == (["cat", "dog", "cat"], {"cat": 281, "dog": 207})


def test_classes_of_one_name_are_distinguished_by_their_indices(small):
    (small / "classes.csv").write_text("image,class,index\na.png,crane,134\nb.png,crane,517\nsub/c.png,dog,\n")
    data = ul.annotated(small)
    assert classes(data) == ["crane (134)", "crane (517)", "dog"]
    assert data.class_index == {"crane (134)": 134, "crane (517)": 517}


def test_folders_are_classes_where_all_images_lie_in_some(small):
    assert classes(ul.annotated(small)) == [None, None, None]
    for name in ("a.png", "b.png"):
        (small / "images" / name).rename(small / "images" / "sub" / name)
    (small / "images" / "other" / "x").mkdir(parents=True)
    (small / "images" / "sub" / "b.png").rename(small / "images" / "other" / "x" / "b.png")
    assert classes(ul.annotated(small)) == ["other/x", "sub", "sub"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,class\n../a.png,cat\n", ", line 2: ../a.png leads out of images/; paths are relative to images/."),
        (
            "image,class\nsub/../../a.png,cat\n",
            ", line 2: sub/../../a.png leads out of images/; paths are relative to images/.",
        ),
        ("image,class\n/etc/a.png,cat\n", ", line 2: /etc/a.png leads out of images/; paths are relative to images/."),
        (
            "image,class\na.png,cat\na.png,dog\n",
            ", line 3: the class of a.png is dog, before it was cat.",
        ),
        (
            "image,class,index\na.png,cat,1\na.png,cat,2\n",
            ", line 3: the index of a.png is 2, before it was 1.",
        ),
        (
            "image,class,index\na.png,cat,1\nb.png,cat,2\nsub/c.png,cat,\n",
            " gives the class cat several indices, 1, 2, and sub/c.png none of them: give it one.",
        ),
        ("image,class,index\na.png,cat,x\n", ", line 2: 'x' is not a whole number."),
        ("image,class,index\na.png,cat,-1\n", ", line 2: the index is -1; outputs are counted from 0."),
        ("image,class\na.png,\n", ", line 2: class of a.png is empty."),
        ("image\na.png\n", " has no column class; its first line names image, and image,class are needed."),
        (
            "image,class\nimages/sub/c.png,cat\n",
            " names no image that is there; its first is images/sub/c.png (did you mean sub/c.png?): paths "
            "are relative to images/.",
        ),
    ],
)
def test_classes_that_contradict_themselves(small, text, sentence):
    (small / "classes.csv").write_text(text)
    refused(small, f"WORLD/classes.csv{sentence}")


def test_what_is_skipped_is_named_in_the_run(net, tmp_path):
    world = write_world(tmp_path / "world")
    path = world / "images" / "03.png"
    path.write_bytes(path.read_bytes()[:200])
    (world / "labels" / "color" / "05.png").write_text("no map")
    (world / "images" / "read.me").write_text("hello")
    with pytest.warns(ul.UnitlensWarning, match=r"^3 files were left out, such as "):
        result = ul.dissect(net, "0", world, quantile=0.1)
    assert result.info["data"]["images"] == 12
    skipped = {entry["image"]: entry["reason"] for entry in result.info["data"]["skipped"]}
    assert set(skipped) == {"03.png", "05.png", "read.me"}
    assert "03.png is damaged" in skipped["03.png"]
    assert skipped["05.png"].endswith("labels/color/05.png is not an image that can be read")
    assert json.dumps(result.info)
