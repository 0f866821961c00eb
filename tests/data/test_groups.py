from types import SimpleNamespace

import numpy as np
import pytest

import unitlens as ul
from unitlens.data.batches import Batches
from unitlens.data.groups import grouped
from unitlens.data.reading import Reading, as_example
from unitlens.errors import UnitlensError
from unitlens.models.preprocessing import Preprocessing

NAMES = ("a/1_x.png", "a/2_x.png", "a/10_y.png", "b/1_x.png", "b/2_z.png")
PLAIN = Preprocessing((8, 8), None, (0.0,) * 3, (1.0,) * 3)


def images(names=NAMES, **more):
    """Images in memory, each of another brightness."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(names), 8, 8, 3), np.uint8)

    class Images:
        concepts = ()

        def __len__(self):
            return len(names)

        def __getitem__(self, index):
            return ul.Example(pixels[index], {}, names[index])

    data = Images()
    for name, value in {"names": names, **more}.items():
        setattr(data, name, value)
    return data


def groups_of(data):
    return [data[index].group for index in range(len(data))]


def record_of(data, **reading):
    batches = Batches(data, PLAIN, Reading(**reading))
    list(batches)
    return batches.record


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("folder", ["a", "a", "a", "b", "b"]),
        (r"re:_(\w)", ["x", "x", "y", "x", "z"]),
        ("sequence:2", ["a/10_y.png", "a/2_x.png", "a/10_y.png", "b/1_x.png", "b/1_x.png"]),
        (dict(zip(NAMES, "ppqqr", strict=True)), list("ppqqr")),
        (list("ppqqr"), list("ppqqr")),
    ],
)
def test_groups_are_taken_from_names_mappings_and_sequences(groups, expected):
    assert groups_of(grouped(images(), groups)) == expected


def test_groups_are_read_from_a_file(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("group,image\n" + "\n".join(f"p{n // 2},{name}" for n, name in enumerate(NAMES)))
    assert groups_of(grouped(images(), str(file))) == ["p0", "p0", "p1", "p1", "p2"]
    assert groups_of(grouped(images(), file)) == ["p0", "p0", "p1", "p1", "p2"]


def test_auto_groups_are_copies():
    data = images((*NAMES, "a/copy.png"))
    first = data[0].image
    copied = type(data).__getitem__
    type(data).__getitem__ = lambda self, index: copied(self, index)._replace(
        image=first if index == 5 else copied(self, index).image
    )
    assert groups_of(grouped(data, "auto")) == ["a/1_x.png", *NAMES[1:], "a/1_x.png"]


@pytest.mark.parametrize(
    ("groups", "facts"),
    [
        ("foldre", ["foldre", "folder"]),
        ("sequence:1", ["sequence:1", "2"]),
        ("sequence:ten", ["sequence:ten"]),
        ("re:x", ["re:x", "group"]),
        ("re:(", ["re:(", "regular expression"]),
        ("re:q(w)", ["none of the 5 images"]),
        ("re:_(x)", ["a/10_y.png", "1 more"]),
        ("nowhere.csv", ["nowhere.csv"]),
        ({"a/1_x.png": "p"}, ["a/2_x.png", "3 more"]),
        (["p", "q"], ["2 groups", "5 images"]),
    ],
)
def test_errors_name_what_was_given_and_which_image_is_left(groups, facts):
    with pytest.raises(UnitlensError) as raised:
        grouped(images(), groups)
    assert all(fact in str(raised.value) for fact in facts), raised.value


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("image,grp\na,b\n", ["group"]),
        ("image,group\na/1_x.png,p\n", ["a/2_x.png"]),
        ("image,group\na/1_x.png,p\na/1_x.png,q\n", ["a/1_x.png", "p", "q"]),
        ("image,group\na/1_x.png,\n", ["a/1_x.png"]),
    ],
)
def test_errors_of_a_file_name_it_and_the_image(tmp_path, text, facts):
    file = tmp_path / "groups.csv"
    file.write_text(text)
    with pytest.raises(UnitlensError) as raised:
        grouped(images(), str(file))
    assert all(fact in str(raised.value) for fact in [*facts, "groups.csv"])


def test_folder_needs_folders():
    with pytest.raises(UnitlensError, match=r"c\.png"):
        grouped(images(("a/b.png", "c.png")), "folder")


def test_images_of_a_group_fall_into_one_fold():
    record = record_of(grouped(images(), "folder"))
    assert record.groups == ["a", "a", "a", "b", "b"]
    assert record.grouped
    assert len(set(record.hashes)) == 2
    alone = record_of(images())
    assert alone.groups == list(NAMES)
    assert not alone.grouped
    assert len(set(alone.hashes)) == 5
    assert alone.sha256(()) == record.sha256(())


def test_a_column_of_classes_csv_serves(tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "classes.csv").write_text("image,class,group\na.png,cat,p\nb.png,cat,p\nc.png,dog,\n")
    data = ul.open_data(tmp_path)
    assert groups_of(data) == ["p", "p", None]
    assert record_of(data).groups == ["p", "p", "c.png"]
    assert groups_of(ul.open_data(tmp_path, concepts=["colors"])) == ["p", "p", None]


def test_an_example_may_have_a_group_as_an_attribute():
    example = SimpleNamespace(image=np.zeros((8, 8, 3), np.uint8), planes={}, name="a", group=3)
    assert as_example(example).group == "3"
