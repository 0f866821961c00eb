import numpy as np
import pytest

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import blocks
from unitlens.data.colors import Colors
from unitlens.data.readers.formats import images_only
from unitlens.data.sources import with_concepts
from unitlens.data.tags import Tags, check_names, folder_tags, tags


class Halves:
    """Marks the left half."""

    concepts = (ul.Concept("part", 1, "left"),)

    def planes(self, image, name):
        return {"part": [np.array([[1, 0]], np.uint8)]}


class InMemory:
    concepts = (("color", 1, "red"),)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        image, labels = blocks(index)
        return image, {"color": [labels]}, "one"


def folder(root, names=("a/1.png", "b/2.png", "b/3.png")):
    for seed, name in enumerate(names):
        layouts.save_png(root / name, blocks(seed)[0])
    return images_only(root)


def test_sources_are_stacked(world):
    native = ul.open_data(world, format="folder")
    data = with_concepts(native, Halves())
    assert isinstance(data, ul.Data)
    assert [c.name for c in data.concepts] == ["red", "green", "blue", "left"]
    example = data[0]
    assert sorted(example.planes) == ["color", "part"]
    assert np.array_equal(example.planes["color"][0], native[0].planes["color"][0])
    assert (data.names, len(data), data.not_images) == (native.names, len(native), native.not_images)
    assert example.name == native[0].name
    assert "Halves" in data.source
    assert str(len(data)) in repr(data)


def test_the_digest_is_of_all_that_is_marked(tmp_path):
    plain = folder(tmp_path)
    first, second = with_concepts(plain, Halves()), with_concepts(plain, Colors())
    digests = {data[0].file_digest for data in (plain, first, second, with_concepts(plain, Halves(), Colors()))}
    assert len(digests) == 4
    assert first[0].file_digest == with_concepts(plain, Halves())[0].file_digest
    assert with_concepts(InMemory(), Halves())[0].file_digest is None


def test_examples_of_any_kind_are_stacked_on():
    example = with_concepts(InMemory(), Halves())[0]
    assert (example.name, example.class_, sorted(example.planes)) == ("one", None, ["color", "part"])

    class Item:
        image, planes, name, class_ = blocks(0)[0], {}, "other", "x"

    class Items(InMemory):
        concepts = ()

        def __getitem__(self, index):
            return Item()

    assert with_concepts(Items(), Halves())[0].class_ == "x"


def test_a_category_belongs_to_one_source(world):
    native = ul.open_data(world, format="folder")
    with pytest.raises(ul.UnitlensError, match=r"color is marked by the data itself and by colors: .*category="):
        with_concepts(native, Colors())
    with pytest.raises(ul.UnitlensError, match="category color is marked by colors and by colors"):
        with_concepts(native, Colors(), Colors(), masks=False)
    assert len(with_concepts(native, Colors(), masks=False).concepts) == 11


def test_what_is_no_source(world):
    with pytest.raises(ul.UnitlensError, match=r"A str is not a concept source: it needs concepts and planes\(image"):
        with_concepts(ul.open_data(world, format="folder"), "colors")


def test_tags_are_for_whole_images(tmp_path):
    data = folder(tmp_path / "images")
    path = tmp_path / "tags.csv"
    path.write_text("image,tag,category\na/1.png,beach,\na/1.png,sunny,weather\na/1.png,beach,\nb/2.png,attic,\n")
    stacked = with_concepts(data, tags(path))
    assert [tuple(c) for c in stacked.concepts] == [
        ("scene", 1, "attic"),
        ("scene", 2, "beach"),
        ("weather", 1, "sunny"),
    ]
    found = [{category: [p.tolist() for p in planes] for category, planes in e.planes.items()} for e in stacked]
    assert found == [{"scene": [[[2]]], "weather": [[[1]]]}, {"scene": [[[1]]]}, {}]
    assert "tags.csv" in stacked.source


def test_a_list_of_classes_is_a_list_of_tags(tmp_path):
    (tmp_path / "classes.csv").write_text("image,class,index\na.png,cat,3\n")
    assert tags(tmp_path / "classes.csv", category="animal").concepts == (ul.Concept("animal", 1, "cat"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,label\na,b\n", "needs the columns image and tag, and has image, label"),
        ("", "needs the columns image and tag, and has no row"),
        ("image,tag\nä,ö\n".encode("latin-1"), r"tags\.csv is not UTF-8 text"),
    ],
)
def test_what_is_no_list_of_tags(text, sentence, tmp_path):
    path = tmp_path / "tags.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ul.UnitlensError, match=sentence):
        tags(path)
    with pytest.raises(ul.UnitlensError, match=r"nowhere\.csv cannot be read"):
        tags(tmp_path / "nowhere.csv")


def test_tags_of_other_images(tmp_path):
    data = folder(tmp_path)
    with pytest.raises(ul.UnitlensError, match=r"name no image of the data; the first is 1\.png.*, an image a/1\.png"):
        check_names(Tags({"1.png": [("scene", "x")]}, "tags"), data)
    check_names(Tags({"a/1.png": [("scene", "x")]}, "tags"), data)


def test_folders_are_tags(tmp_path):
    found = folder_tags(folder(tmp_path), category="place")
    assert [tuple(c) for c in found.concepts] == [("place", 1, "a"), ("place", 2, "b")]
    assert found.planes(blocks(0)[0], "b/3.png")["place"][0].tolist() == [[2]]
    (tmp_path / "flat").mkdir()
    with pytest.raises(ul.UnitlensError, match="do not lie in folders whose names could be their tags"):
        folder_tags(folder(tmp_path / "flat", ("1.png",)))


def test_a_dissection_of_tags(tmp_path, net):
    data = folder(tmp_path)
    table = ul.dissect(
        net, "4", with_concepts(data, folder_tags(data)), quantile=0.4, evidence=False, exemplars=0
    ).table()
    assert set(table["concept"].dropna()) <= {"a", "b"}
    assert table["evaluated_on"].tolist() == ["image"] * 3
