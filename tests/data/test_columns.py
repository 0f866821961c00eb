import numpy as np
import pytest

import unitlens as ul
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept, Example
from unitlens.data.pixels.fit import Fit
from unitlens.models.preprocessing import Preprocessing

FIT = Fit.of(4, 4, Preprocessing(image_size=(4, 4), resize=None, mean=(0, 0, 0), std=(1, 1, 1)))
CONCEPTS = [("object", 1, "tree"), ("part", 7, "leaf"), ("object", 9, "car")]
NOTHING, TREE, LEAF, CAR, NO_OBJECT, NO_PART = range(6)
IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def row(*labels, dtype=np.uint8):
    """A 4 x 4 map whose rows are these."""
    return np.array(labels, dtype).repeat(4).reshape(4, 4)


def planes(by_category, **how):
    columns = Columns.of(CONCEPTS, **how)
    found = columns.planes(Example(IMAGE, by_category, "a"), FIT, (4, 4))
    assert found.dtype == np.int16
    return [plane.reshape(4, 4)[:, 0].tolist() for plane in found]


def sets(by_category, **how):
    """Of each row, the columns that it counts for."""
    return [set(row) - {NOTHING} for row in zip(*planes(by_category, **how), strict=True)]


def test_columns():
    columns = Columns.of(CONCEPTS)
    assert columns.concepts == tuple(Concept(*concept) for concept in CONCEPTS)
    assert columns.categories == ("object", "part")
    assert columns.category_of.tolist() == [0, 1, 0]
    assert columns.count == 6
    assert columns.names() == ["tree", "leaf", "car"]


def test_a_name_in_two_categories_is_written_with_its_category():
    columns = Columns.of([("color", 1, "orange"), ("object", 1, "orange"), ("object", 2, "sky")])
    assert columns.names() == ["color/orange", "object/orange", "sky"]


@pytest.mark.parametrize("none", [NOTHING, 255])
def test_labels_become_columns(none):
    found = sets({"object": [row(0, 1, 9, none)], "part": [row(7, 7, 0, 0)]})
    assert found == [{LEAF}, {TREE, LEAF}, {CAR}, {NO_OBJECT} if none else set()]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(np.uint8, 255), (np.uint16, 65535), (np.int64, -1), (np.int64, 255), (np.int32, 65535), (np.int8, -7)],
)
def test_not_judged_is_the_largest_of_an_unsigned_type_or_a_negative_number(dtype, value):
    plane = {"object": [row(0, 1, 9, value, dtype=dtype)], "part": [row(0, 0, 0, 0)]}
    assert sets(plane) == [set(), {TREE}, {CAR}, {NO_OBJECT}]
    assert sets(plane, not_judged="none") == [set(), {TREE}, {CAR}, set()]


def test_255_is_a_label_of_16_bits():
    columns = Columns.of([("object", 255, "tree")])
    found = columns.planes(Example(IMAGE, {"object": [row(255, 65535, 0, 0, dtype=np.uint16)]}, "a"), FIT, (4, 4))
    assert found.reshape(4, 4)[:, 0].tolist() == [1, 2, 0, 0]


def test_maps_of_true_and_false():
    assert sets({"object": [row(True, False, True, False, dtype=bool)], "part": [row(0, 0, 0, 0)]}) == [
        {TREE}, set(), {TREE}, set()
    ]  # fmt: skip


def test_a_category_without_a_map_counts_for_nothing_or_with_union_all_as_none_of_it():
    assert sets({"part": [row(7, 0, 0, 0)]}) == [{LEAF, NO_OBJECT}, {NO_OBJECT}, {NO_OBJECT}, {NO_OBJECT}]
    assert sets({"part": [row(7, 0, 0, 0)]}, union="all") == [{LEAF}, set(), set(), set()]
    assert sets({"object": [], "part": [row(7, 0, 0, 0)]})[0] == {LEAF, NO_OBJECT}


def test_not_judged_is_left_out_also_with_union_all():
    assert sets({"object": [row(255, 1, 0, 0)]}, union="all") == [{NO_OBJECT}, {TREE}, set(), set()]


def test_what_two_planes_of_a_category_hold_counts_once():
    found = planes({"object": [row(1, 1, 9, 0), row(1, 9, 0, 0), row(1, 1, 9, 9)], "part": [row(0, 0, 0, 0)]})
    assert [sorted(set(column) - {0}) for column in zip(*found, strict=True)] == [[TREE], [TREE, CAR], [CAR], [CAR]]
    assert all(len([c for c in column if c]) == len(set(column) - {0}) for column in zip(*found, strict=True))


def test_a_position_is_not_judged_where_any_plane_says_so():
    by_category = {"object": [row(1, 255, 9, 255), row(255, 1, 9, 255)], "part": [row(0, 0, 0, 0)]}
    assert sets(by_category) == [{NO_OBJECT}, {NO_OBJECT}, {CAR}, {NO_OBJECT}]
    assert sets(by_category, not_judged="none") == [set(), set(), {CAR}, set()]


@pytest.mark.parametrize(
    ("concepts", "sentence"),
    [
        (
            [("object", 1, "tree"), ("object", 2, "tree")],
            "Two concepts of the category object have the name 'tree': give each concept one name and one label.",
        ),
        (
            [("object", 1, "tree"), ("object", 1, "car")],
            "Two concepts of the category object have the label 1: give each concept one name and one label.",
        ),
        (
            [("object", 0, "tree")],
            "The concept object/tree has the label 0; a label lies between 1 and 65534.",
        ),
        (
            [("object", "tree")],
            "('object', 'tree') is not a concept: a concept is (category, label, name), such as ('object', 3, 'tree').",
        ),
        (
            [("object", "tree", 1)],
            "('object', 'tree', 1) is not a concept: a concept is (category, label, name), such as "
            "('object', 3, 'tree').",
        ),
        (
            [("object", label, f"thing {label}") for label in range(1, 33000)],
            "The data mark 32999 concepts; at most about 32,000 are possible.",
        ),
    ],
)
def test_concepts_that_contradict_themselves(concepts, sentence):
    with pytest.raises(ul.UnitlensError) as error:
        Columns.of(concepts)
    assert str(error.value) == sentence
