"""Which images are read, and what becomes of one that cannot be."""

import re
import warnings
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from tests.cli.test_ablate import name_classes
from tests.worlds.coloured import write_world
from unitlens.data.batches import Batches
from unitlens.data.colors import Colors
from unitlens.data.concepts import DataDescription, Example, described
from unitlens.data.reading import Reading, Subset, chosen_images, read_examples
from unitlens.data.scenes.world import Scenes
from unitlens.models.preprocessing import Preprocessing

SAME = Preprocessing(image_size=(4, 4), resize=None, mean=(0, 0, 0), std=(1, 1, 1))


class Plain:
    """The least that is data: images of one gray each, in which nothing is marked."""

    concepts = ()

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return Example(np.full((4, 4, 3), index, np.uint8), {}, f"{index:03}", "abcde"[index * 5 // self.count])


class Classed(Plain):
    """The same, sorted by classes that it lists."""

    classes = tuple("abcde")


class Raising(Plain):
    """The same, but for an image that raises an error."""

    def __init__(self, count, error):
        super().__init__(count)
        self.error = error

    def __getitem__(self, index):
        if index == 2:
            raise self.error
        return super().__getitem__(index)


def names(data, **reading):
    batches = Batches(data, SAME, Reading(batch_size=3, **reading))
    return [name for batch in batches for name in batch.names], batches.record


@given(st.integers(1, 200), st.integers(1, 220), st.integers(0, 5))
def test_a_limit_takes_one_image_of_each_stretch(total, limit, seed):
    chosen = list(chosen_images(Plain(total), limit, seed=seed))
    assert len(chosen) == min(limit, total)
    assert all(one < other for one, other in pairwise(chosen))
    if limit < total:
        assert all(k * total // limit <= index < (k + 1) * total // limit for k, index in enumerate(chosen))
    assert chosen == list(chosen_images(Plain(total), limit, seed=seed))


def test_another_seed_takes_other_images():
    assert chosen_images(Plain(100), 10, seed=0) != chosen_images(Plain(100), 10, seed=1)


def test_of_exchangeable_images_the_first_are_taken():
    assert list(chosen_images(Scenes(50), 7)) == list(range(7))
    colored = ul.with_concepts(Scenes(50), Colors(), masks=False)
    assert list(chosen_images(colored, 7)) == list(range(7))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_limit_leaves_every_class_of_sorted_images(workers):
    read, record = names(Classed(50), limit=10, workers=workers)
    assert read == sorted(read)
    assert {class_: record.classes.count(class_) for class_ in "abcde"} == dict.fromkeys("abcde", 2)
    assert record.notes == []


def test_classes_that_a_limit_misses_are_named():
    record = names(Classed(50), limit=3)[1]
    (note,) = record.notes
    missing = [class_ for class_ in "abcde" if class_ not in record.classes]
    assert "2 of 5 classes" in note
    assert ", ".join(missing) in note


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [StopIteration(), KeyError("who"), RuntimeError("DataLoader worker"), MemoryError()])
def test_an_image_that_raises_is_left_out_and_named(error, workers):
    read, record = names(Raising(8, error), workers=workers)
    assert read == ["000", "001", "003", "004", "005", "006", "007"]
    ((image, reason),) = record.unread
    assert image == "image 2"
    assert type(error).__name__ in reason
    assert str(error) in reason
    assert "image 2" in record.notes[0]


def test_a_strict_reading_ends_at_an_image_that_raises():
    cause = StopIteration("gone")
    with pytest.raises(ul.UnitlensError, match=r"image 2 .*StopIteration: gone") as raised:
        names(Raising(8, cause), strict=True)
    assert raised.value.__cause__ is cause


def test_an_error_of_a_data_set_names_the_image_where_names_are_listed():
    data = Raising(4, ValueError("no"))
    data.names = ("a", "b", "c", "d")
    assert names(data)[1].unread[0].image == "c"


def test_data_of_which_nothing_can_be_read_are_an_error_with_the_reason():
    with pytest.raises(ul.UnitlensError, match=r"None of the 1 images .*ValueError: no"):
        names(Subset(Raising(4, ValueError("no")), [2]))


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_leaves_the_random_state_of_torch_alone(workers):
    before = torch.get_rng_state()
    names(Plain(7), workers=workers)
    list(read_examples(Plain(3)))
    assert torch.equal(before, torch.get_rng_state())


def test_the_record_holds_what_was_read_in_its_order():
    batches = Batches(Plain(8), SAME, Reading(batch_size=3))
    read = list(batches)
    record = batches.record
    assert (record.total, len(read)) == (8, 3)
    for field in ("names", "classes", "digests", "hashes", "annotated"):
        assert getattr(record, field) == [value for batch in read for value in getattr(batch, field)]


def test_a_second_pass_is_the_first_again():
    batches = Batches(Plain(8), SAME, Reading(batch_size=3))
    first = [batch.names for batch in batches]
    record = batches.record
    assert [batch.names for batch in batches] == first
    assert batches.record.names == record.names


def test_a_subset_describes_itself_as_the_data_do():
    data = Classed(10)
    data.names, data.source = tuple(map(str, range(10))), "photos"
    some = described(Subset(data, [1, 4]))
    assert (some.names, some.classes, some.source) == (("1", "4"), tuple("abcde"), "photos")
    assert [Subset(data, [1, 4])[k].name for k in range(2)] == ["001", "004"]


def test_data_that_say_nothing_of_themselves_are_described_by_their_repr():
    plain = Plain(3)
    assert described(plain) == DataDescription(source=repr(plain))


def test_a_description_reads_every_optional_member():
    given_ = {
        "source": "photos",
        "names": ("a",),
        "classes": ("x", None),
        "class_index": {"x": 3},
        "categories": ("object",),
        "not_images": ("b.txt",),
        "exchangeable": True,
    }
    assert described(SimpleNamespace(**given_)) == DataDescription(**given_)


@pytest.mark.parametrize(("setting", "value"), [("batch_size", 0), ("workers", -1), ("limit", 0)])
def test_settings_out_of_their_range_are_refused(setting, value):
    with pytest.raises(ul.UnitlensError, match=f"{setting}={value} "):
        Reading(**{setting: value})


FEW = {"method": "topk:2", "count": 4, "steps": 2, "positions": 200}
SHORT = {"evidence": False, "exemplars": 0, "quantile": 0.1}
LOOPS = {
    "dissect": lambda net, data: ul.dissect(net, "relu6", data, **SHORT),
    "class_centroids": ul.class_centroids,
    "nearest_neighbours": lambda net, data: ul.nearest_neighbours(net, data, k=2),
    "fit_features": lambda net, data: ul.fit_features(net, "relu6", data, **FEW),
    "reconstruction": lambda net, data: ul.reconstruction(net, "relu6", data, basis=torch.eye(4, 128)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_all_that_look_at_images_warn_alike_of_those_that_cannot_be_read(tmp_path, name):
    world, net = name_classes(write_world(tmp_path / "world", images=12), images=12), ul.load("bundled:scenes")
    image = world / "images" / "03.png"
    readable = image.read_bytes()
    image.write_bytes(b"")
    with pytest.warns(ul.UnitlensWarning) as warned:
        LOOPS[name](net, ul.annotated(world))
    (sentence,) = [one for one in warned if "left out" in str(one.message)]
    assert re.match(r"1 file was left out, such as 03\.png: .*[^.]\.$", str(sentence.message))
    image.write_bytes(readable)
    with warnings.catch_warnings(record=True) as warned:
        LOOPS[name](net, ul.annotated(world))
    assert not [one for one in warned if "left out" in str(one.message)]


def test_a_dictionary_of_a_run_warns_once_of_each_image_that_cannot_be_read(tmp_path):
    world, net = write_world(tmp_path / "world", images=12), ul.load("bundled:scenes")
    for number in (3, 7):
        (world / "images" / f"{number:02}.png").write_bytes(b"")
    with pytest.warns(ul.UnitlensWarning, match=r"2 files were left out, such as 03\.png"):
        run = LOOPS["dissect"](net, world)
    with pytest.warns(ul.UnitlensWarning, match=r"2 files were left out, such as 03\.png") as warned:
        ul.fit_features(run, "relu6", world, net=net, **FEW)
    assert {one.filename for one in warned} == {__file__}
