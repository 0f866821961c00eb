import gc
import hashlib
import multiprocessing
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import unitlens as ul
from tests.worlds.coloured import blocks, write_world
from unitlens import buckets
from unitlens.data import preparing
from unitlens.data.batches import Batches
from unitlens.data.concepts import Example
from unitlens.data.preparing import data_digest, example_digest, image_hash
from unitlens.data.reading import Reading, noting_unread
from unitlens.models.preprocessing import Preprocessing

SAME = Preprocessing(image_size=(4, 4), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
CONCEPTS = [("object", 1, "tree"), ("part", 7, "leaf"), ("object", 9, "car")]
IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path / "world", images=8)


class Listed:
    """The least that is data."""

    def __init__(self, examples, concepts=CONCEPTS):
        self.examples, self.concepts = examples, concepts

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


def row(*labels, dtype=np.uint8):
    """A 4 x 4 map whose rows are these."""
    return np.array(labels, dtype).repeat(4).reshape(4, 4)


def loop(data, *, preprocessing=SAME, grid=(2, 2), batch_size=3, **how):
    return Batches(data, preprocessing, Reading(batch_size=batch_size, **how), grid=grid)


def stream(data, **how):
    return list(loop(data, **how))


def left_out(data, **how):
    batches = loop(data, **how)
    assert list(batches)
    return batches.record.unread


def refused(sentence, examples, **how):
    with pytest.raises(ul.UnitlensError) as error:
        stream(Listed(examples), **how)
    assert str(error.value) == sentence


def one(planes=None, image=IMAGE, name="a"):
    return [Example(image, planes or {}, name)]


def test_labels_without_a_concept_are_an_error_wherever_they_are():
    plane = np.zeros((4, 4), np.uint8)
    plane[3, 3], plane[1, 0] = 2, 77  # between the cells of the grid
    refused(
        "The object label map of a holds the labels 2, 77, which no concept of object has: add rows to concepts.csv or "
        "mend the map (0 is none, 255 is not judged).",
        one({"object": [plane]}),
    )
    refused(
        "The object label map of a holds the label 70000, which no concept of object has: add rows to concepts.csv or "
        "mend the map (0 is none, 255 is not judged).",
        one({"object": [np.full((4, 4), 70000)]}),
    )


def test_a_label_of_another_category_is_stray():
    with pytest.raises(ul.UnitlensError, match="holds the label 7, which no concept of object has"):
        stream(Listed(one({"object": [row(7, 0, 0, 0)]})))


def test_a_map_of_another_aspect_ratio():
    refused(
        "The object label map of a is 8x4 (width x height), its image 4x4: a label map shows the whole image, at "
        "any size of the same aspect ratio.",
        one({"object": [np.zeros((4, 8), np.uint8)]}),
    )


@pytest.mark.parametrize(
    ("plane", "what"),
    [
        (np.zeros((4, 4, 3), np.uint8), "uint8, 4x4x3"),
        (np.zeros((4, 4)), "float64, 4x4"),
        (np.zeros(4, np.uint8), "uint8, flat"),
        (np.zeros((0, 0), np.uint8), "uint8, 0x0"),
    ],
)
def test_a_map_that_is_none(plane, what):
    refused(
        f"The object label map of a is {what}; a category has a list of label maps, each rows x columns of whole "
        "numbers.",
        one({"object": [plane]}),
    )


def test_maps_of_a_category_that_is_not_known():
    refused(
        "a has label maps of the category objects (did you mean object?), of which the data name no concept: add its "
        "concepts or leave the maps out.",
        one({"objects": [row(0, 0, 0, 0)]}),
    )


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (IMAGE.astype(str), "<U3, 4x4x3"),
        (IMAGE[0, 0], "uint8, flat"),
        (np.zeros((4, 4, 33), np.uint8), "uint8, 4x4x33"),
        (np.zeros((2, 4, 4, 3), np.uint8), "uint8, 4x2x4x3"),
        (IMAGE[:0], "uint8, 4x0x3"),
    ],
)
def test_an_image_that_is_none(image, what):
    refused(
        f"The image a is {what}; an image is uint8, uint16 or of floats, height x width x bands, such as 3 (RGB), 32 "
        "at most.",
        one(image=image),
    )


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (IMAGE[..., :2], "The image a has 2 bands, and the network takes 3: give images of 3 bands, or a network that"),
        (np.zeros((4, 4, 5)), "The image a has 5 bands, and the network takes 3: choose them with bands=(1,2,3), or"),
        (IMAGE * 2.0 + 1, "float64 from 1 to 95, and nothing says which values are 0 and 1 for the network: give"),
    ],
)
def test_an_image_that_the_network_does_not_take(image, sentence):
    with pytest.raises(ul.UnitlensError) as error:
        stream(Listed(one(image=image)))
    assert sentence in str(error.value)


@pytest.mark.parametrize("item", [(IMAGE,), SimpleNamespace(image=IMAGE), "a.png", None])
def test_an_item_that_is_no_example(item):
    refused(
        f"The data set gives a {type(item).__name__}, which is not an example: it has image, planes, name and, "
        "optionally, class_ (see unitlens.Example), as attributes or as a tuple in this order.",
        [item],
    )


def test_two_images_of_one_name():
    refused(
        "Two images of the data are called a: give each a name of its own.",
        [Example(IMAGE, {}, name) for name in "abcda"],
    )


def test_examples_tuples_and_anything_alike_say_the_same():
    plane = {"object": [row(0, 1, 9, 255)]}
    kinds = [
        Example(IMAGE, plane, "a", "cat"),
        (IMAGE, plane, "a", "cat"),
        SimpleNamespace(image=IMAGE, planes=plane, name="a", class_="cat"),
    ]
    found = [stream(Listed([kind]))[0] for kind in kinds]
    for batch in found:
        assert (batch.names, batch.classes, batch.annotated) == (["a"], ["cat"], [1])
        assert (batch.digests, batch.hashes) == (found[0].digests, found[0].hashes)
        np.testing.assert_array_equal(batch.planes[0], found[0].planes[0])


def test_names_become_text():
    assert stream(Listed([SimpleNamespace(image=IMAGE, planes={}, name=7)]))[0].names == ["7"]


def test_lists_of_words_are_no_images():
    refused(
        "The image a is <U2, 4x4x3; an image is uint8, uint16 or of floats, height x width x bands, such as 3 (RGB), "
        "32 at most.",
        [SimpleNamespace(image=IMAGE.astype(str).tolist(), planes={}, name="a")],
    )


def test_the_fold_of_a_file_is_that_of_its_name():
    expected = int.from_bytes(hashlib.sha256(b"sub/\xc3\xbc.png").digest()[:8], "big")
    example = Example(IMAGE, {}, "sub/ü.png", None, "0" * 64)
    assert image_hash(example) == expected
    assert image_hash(example._replace(image=IMAGE + 1)) == expected


def test_the_fold_of_an_image_in_memory_is_that_of_its_bytes():
    example = Example(IMAGE, {}, "a")
    assert image_hash(example) == int.from_bytes(hashlib.sha256(IMAGE.tobytes()).digest()[:8], "big")
    assert image_hash(example) == image_hash(example._replace(name="b"))
    turned = np.ascontiguousarray(IMAGE.transpose(1, 0, 2)).transpose(1, 0, 2)  # the same pixels, laid out otherwise
    assert image_hash(example) == image_hash(example._replace(image=turned))


def test_folds_are_hashes_modulo_32():
    data = Listed([Example(IMAGE + k, {}, str(k)) for k in range(9)], [])
    batch = stream(data, batch_size=9)[0]
    assert batch.folds == [hash_ % 32 for hash_ in batch.hashes]
    assert all(hash_ > 1 << 40 for hash_ in batch.hashes)


BASE = Example(IMAGE, {"object": [row(0, 1, 9, 0)]}, "a", "cat")
WIDE = np.zeros((2, 8), np.uint8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BASE, BASE._replace(name="b")),
        (BASE, BASE._replace(class_="dog")),
        (BASE, BASE._replace(class_=None)),
        (BASE._replace(class_=1), BASE._replace(class_="1")),
        (BASE, BASE._replace(image=IMAGE[::-1])),
        (BASE._replace(image=IMAGE.reshape(2, 8, 3)), BASE),
        (BASE, BASE._replace(planes={})),
        (BASE, BASE._replace(planes={"part": BASE.planes["object"]})),
        (BASE, BASE._replace(planes={"object": [row(0, 1, 9, 1)]})),
        (BASE, BASE._replace(planes={"object": BASE.planes["object"] * 2})),
        (BASE._replace(planes={"object": [WIDE]}), BASE._replace(planes={"object": [WIDE.T.copy()]})),
        (BASE._replace(planes={"object": [WIDE]}), BASE._replace(planes={"object": [WIDE.astype(np.int8)]})),
        (BASE._replace(file_digest="00"), BASE._replace(file_digest="01")),
        (BASE._replace(file_digest="00"), BASE._replace(file_digest="00", name="b")),
        (BASE._replace(file_digest="00"), BASE._replace(file_digest="00", class_="dog")),
    ],
)
def test_digests_differ_where_examples_do(one, other):
    assert example_digest(one) == example_digest(one._replace(name=one.name))
    assert example_digest(one) != example_digest(other)


def test_the_digest_of_data_is_of_examples_in_any_order_and_of_what_labels_mean():
    concepts = [ul.Concept("object", 1, "cat"), ul.Concept("object", 2, "dog")]
    digest = data_digest([b"a", b"b"], concepts)
    assert data_digest([b"b", b"a"], concepts) == digest
    swapped = [ul.Concept("object", 2, "cat"), ul.Concept("object", 1, "dog")]
    others = [concepts[:1], swapped, [concepts[0], ul.Concept("part", 2, "dog")], []]
    assert len({digest, data_digest([b"a"], concepts), *(data_digest([b"a", b"b"], o) for o in others)}) == 6


@pytest.mark.parametrize("in_memory", [0, 1 << 19])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_the_digest_of_many_examples_is_that_of_all_sorted_at_once(count, in_memory, monkeypatch):
    monkeypatch.setattr(buckets, "IN_MEMORY", in_memory)
    monkeypatch.setattr(preparing, "_DIGESTS_AT_ONCE", 700)
    digests = [hashlib.sha256(str(number % 2000).encode()).digest() for number in range(count)]
    assert data_digest(digests, []) == hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def as_plain(found):
    return [(batch.images.tolist(), [plane.tolist() for plane in batch.planes], *batch[2:]) for batch in found]


def test_workers_give_the_same_batches(world):
    (world / "images" / "04.png").write_text("no image")
    data, how = ul.annotated(world), {"preprocessing": SAME, "grid": (3, 2)}
    alone = as_plain(stream(data, workers=0, **how))
    assert alone == as_plain(stream(data, workers=2, **how))
    assert [len(batch[3]) for batch in alone] == [3, 2, 2]
    for workers in (0, 2):
        assert [entry.image for entry in left_out(data, workers=workers)] == ["04.png"]


def test_an_error_in_a_worker_keeps_its_sentence():
    with pytest.raises(ul.UnitlensError, match=r"^The image a is float64 from 0 to 47, and nothing says"):
        stream(Listed(one(image=IMAGE.astype(float))), workers=1)


def test_after_an_error_workers_end_by_themselves():
    def fail():
        others = multiprocessing.active_children()
        batches = iter(loop(Listed([*one(), *one(image=IMAGE.astype(float), name="b")]), batch_size=1, workers=1))
        next(batches)
        workers = [worker for worker in multiprocessing.active_children() if worker not in others]
        try:
            next(batches)
        except ul.UnitlensError as error:
            failure = error  # its traceback holds this frame: a cycle, as debuggers and test runners keep them
        return workers, str(failure)

    workers, said = fail()
    gc.collect()
    assert "The image b is float64" in said
    assert [worker.exitcode for worker in workers] == [0]  # not that of a process that had to be killed


class Locked(Listed):
    def __getitem__(self, index):
        if index == 1:
            raise PermissionError(13, "Permission denied", "deep/b.png")
        return self.examples[index]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_the_system_refuses_is_an_image_that_cannot_be_read(workers):
    locked = Locked([*one(), *one(name="b"), *one(name="c")])
    (batch,) = stream(locked, workers=workers)
    assert batch.names == ["a", "c"]
    reason = "deep/b.png cannot be read: Permission denied"
    assert left_out(locked, workers=workers) == [("image 1", reason)]
    with pytest.raises(ul.UnitlensError, match=r"deep/b\.png cannot be read: Permission denied\."):
        stream(locked, workers=workers, strict=True)


class Deadly(Listed):
    def __getitem__(self, index):
        os._exit(1)


def test_a_worker_that_dies_is_said_in_a_sentence():
    with pytest.raises(ul.UnitlensError, match=r"^A worker process that decodes images died, .* workers= .*\.$"):
        stream(Deadly(one()), workers=1)


def test_a_batch_holds_the_networks_input_before_it_is_scaled(world):
    preprocessing = Preprocessing(image_size=(32, 32), resize=None, mean=(9, 9, 9), std=(1, 1, 1))
    batch = stream(ul.annotated(world), preprocessing=preprocessing, batch_size=8)[0]
    for number in range(8):
        np.testing.assert_array_equal(batch.images[number].numpy().transpose(1, 2, 0), blocks(number)[0])
    assert batch.annotated == [1] * 8


def test_a_whole_batch_may_be_unreadable(tmp_path):
    world = write_world(tmp_path / "world", images=4)
    for name in ("00.png", "01.png"):
        (world / "images" / name).write_text("no image")
    found = loop(ul.annotated(world), batch_size=2)
    assert [batch.names for batch in found] == [["02.png", "03.png"]]
    assert [image for image, _ in found.record.unread] == ["00.png", "01.png"]
    assert found.record.unread[0].reason == f"{world}/images/00.png is not an image that can be read"


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_whoever_calls_what_loops_over_images_knows_of_those_that_were_left_out(world, workers):
    (world / "images" / "03.png").write_text("no image")
    (world / "images" / "read.me").write_text("no image")
    data = ul.annotated(world)
    with noting_unread() as outer:
        assert len(stream(data, workers=workers)) == 3
        first = [one.image for one in outer]
        with noting_unread() as inner:
            next(iter(loop(data, workers=workers)))  # which comes to the second of them later
        assert [one.image for one in inner] == ["read.me"]
    stream(data)  # outside
    assert first == ["read.me", "03.png"]
    assert [one.image for one in outer] == [*first, "read.me"]


@pytest.mark.parametrize("name", ["00.png", "read.me"])
def test_strict_ends_at_what_is_no_image(world, name):
    (world / "images" / name).write_text("no image")
    with pytest.raises(ul.UnitlensError, match=rf"{name} is not an image"):
        stream(ul.annotated(world), strict=True)


def test_maps_of_half_the_size_and_other_types_in_one_data_set(world):
    small = blocks(1)[1][::2, ::2]
    Image.fromarray(small).save(world / "labels" / "color" / "01.png")
    Image.fromarray(blocks(2)[1].astype(np.uint16)).save(world / "labels" / "color" / "02.png")
    preprocessing = Preprocessing(image_size=(32, 32), resize=None, mean=(0, 0, 0), std=(1, 1, 1))
    batch = stream(ul.annotated(world), preprocessing=preprocessing, grid=(4, 4))[0]
    for number in range(3):
        np.testing.assert_array_equal(batch.planes[number].reshape(4, 4), blocks(number)[1][4::8, 4::8])


def test_workers_need_no_short_temporary_path(tmp_path, monkeypatch):
    deep = tmp_path / ("deep" * 20) / ("er" * 20)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    data = Listed([Example(IMAGE, {}, f"image {number}") for number in range(6)])
    read = stream(data, batch_size=2, workers=1)
    assert [len(batch.names) for batch in read] == [2, 2, 2]
    assert all(batch.images.is_contiguous() for batch in read)
