from types import SimpleNamespace

import numpy as np
import pytest

import unitlens as ul
from unitlens.data.classes import classes_of, join_classes
from unitlens.data.concepts import Example


def data(*classes, index=None):
    told = {"classes": classes} | ({"class_index": index} if index else {})
    return SimpleNamespace(source="photos", **told)


def test_an_index_of_the_data_comes_before_the_networks_names():
    with pytest.warns(ul.UnitlensWarning, match="cat the index 2, and the network calls output 0 so .*2 of 2 classes"):
        joined = join_classes(data("cat", "dog", index={"cat": 2, "dog": 0}), ("cat", "dog", "emu"), 3)
    assert joined.output_of == {"cat": 2, "dog": 0}
    assert joined.names == ("cat", "dog", "emu")


def test_the_networks_names_come_before_numbers_and_order():
    assert join_classes(data("emu", "cat"), ("dog", "cat", "emu"), 3).output_of == {"cat": 1, "emu": 2}
    assert join_classes(data("1", "0"), ("1", "0"), 2).output_of == {"1": 0, "0": 1}
    assert join_classes(data("2", "cat"), ("dog", "cat", "emu"), 3).output_of == {"2": 2, "cat": 1}


def test_whole_numbers_are_the_index_and_names_their_sorted_order():
    assert join_classes(data("10", "2"), None, 11).output_of == {"10": 10, "2": 2}
    assert join_classes(data(3, 1), None, 4).output_of == {"1": 1, "3": 3}
    joined = join_classes(data("b", "c", "a"), None, 3)
    assert joined.output_of == {"a": 0, "b": 1, "c": 2}
    assert joined.names == ("a", "b", "c")
    with pytest.warns(ul.UnitlensWarning, match="2 classes and the network has 5 outputs.*a is taken as output 0"):
        assert join_classes(data("b", "a"), None, 5).names == ("a", "b", "2", "3", "4")


def test_classes_of_a_plain_protocol_are_looked_up_in_its_images():
    named = ["b", None, "a"]

    class Plain:
        concepts = ()

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return Example(np.zeros((2, 2, 3), np.uint8), {}, str(index), named[index])

    assert classes_of(Plain()) == ("a", "b")


@pytest.mark.parametrize(
    ("classes", "index", "names", "sentence"),
    [
        ((), None, None, "No image of photos has a class, so that nothing can be measured"),
        (("cat",), None, ("a", "b"), "The network has 3 outputs, but 2 class names"),
        (("doog",), None, ("cat", "dog", "emu"), r"class doog is none of the network's \(did you mean dog\?\)"),
        (("a", "b", "c", "d"), None, None, "The data name 4 classes, more than the 3 outputs"),
        ((7,), None, None, "The class 7 has the index 7, but the network has 3 outputs, 0 to 2"),
        (("a", "b"), {"a": 1}, None, "The class b has no index in classes.csv"),
        (("crane",), None, ("crane", "crane", "x"), r"2 outputs .* called crane: .*crane \(0\) or crane \(1\)"),
    ],
)
def test_what_cannot_be_joined_is_said(classes, index, names, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        join_classes(data(*classes, index=index), names, 3)


def test_a_class_is_found_by_the_datas_name_the_networks_name_or_its_number():
    joined = join_classes(data("kitty", index={"kitty": 1}), ("dog", "cat"), 2)
    assert [joined.output(name) for name in ("kitty", "cat", 1, "1")] == [1, 1, 1, 1]
    with pytest.raises(ul.UnitlensError, match=r"no class 'kity' \(did you mean kitty\?\); there are kitty, dog, cat"):
        joined.output("kity")


def test_folders_and_lists_of_an_annotated_folder_give_the_classes(world):
    (world / "classes.csv").write_text("image,class,index\n00.png,red,2\n01.png,blue,0\n")
    opened = ul.annotated(world)
    assert opened.classes == ("blue", "red")
    assert join_classes(opened, None, 3).output_of == {"blue": 0, "red": 2}


def test_outputs_of_one_name_are_distinguished_by_their_numbers():
    names = ("crane", "heron", "crane")
    joined = join_classes(data("crane (2)", "heron"), names, 3)
    assert joined.names == ("crane (0)", "heron", "crane (2)")
    assert joined.output_of == {"crane (2)": 2, "heron": 1}
    assert joined.output("crane (0)") == 0
    by_index = join_classes(data("crane (0)", "crane (2)", index={"crane (0)": 0, "crane (2)": 2}), names, 3)
    assert by_index.output_of == {"crane (0)": 0, "crane (2)": 2}
    alone = join_classes(data("crane", index={"crane": 2}), names, 3)
    assert (alone.output("crane"), alone.names[2]) == (2, "crane (2)")
