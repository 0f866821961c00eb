"""Latents as data: drawn reproducibly, given in arrays and files, with masks, and marked once they are drawn."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import unitlens as ul
from tests.worlds.generators import Squares, painted, painter
from unitlens.data.batches import Batches
from unitlens.data.concepts import described
from unitlens.data.reading import Reading

SHAPE = (3, 2)


def read(data, *, net=None, **reading):
    """Every batch of data, seen with a network if one is given, and the record."""
    prepared = (net or ul.load("bundled:scenes")).preprocessing
    batches = Batches(data, prepared, Reading(**reading), grid=(8, 8))
    seen = []
    for batch in batches:
        with ul.evaluating(net.model) if net else torch.inference_mode():
            outputs = net.model(net.prepare(batch.images)) if net else None
        seen.append(batches.seen(batch, net.images(batch.images, outputs)) if net else batch)
    return seen, batches.record


def test_the_first_latents_are_the_first_however_many_there_are():
    few, many = ul.latents(SHAPE, 3), ul.latents(SHAPE, 50)
    for index in range(3):
        assert few[index].name == many[index].name
        np.testing.assert_array_equal(few[index].image, many[index].image)
    assert (many[0].image != many[1].image).all()
    assert (ul.latents(SHAPE, 3, seed=1)[0].image != few[0].image).all()
    values = np.stack([many[index].image for index in range(50)])
    assert abs(values.mean()) < 0.3
    assert values.dtype == np.float32


def test_a_limit_takes_the_first_of_drawn_latents():
    (batch,), _ = read(ul.latents(SHAPE, 50), limit=4)
    assert batch.names == [f"latent-{n:06d}" for n in range(4)]


def test_array_file_and_draw_are_the_same_latents_with_the_same_folds(tmp_path):
    drawn = ul.latents(SHAPE, 12)
    array = np.stack([drawn[index].image for index in range(12)])
    np.save(tmp_path / "z.npy", array)
    save_file({"z": array}, tmp_path / "z.safetensors")
    sources = [drawn, ul.latents(array), ul.latents(torch.from_numpy(array))]
    sources += [ul.latents(tmp_path / name) for name in ("z.npy", "z.safetensors")]
    sources += [ul.open_data(f"latents:{tmp_path / 'z.npy'}"), ul.open_data("latents:3x2,seed=0", images=12)]
    records = [read(data)[1] for data in sources]
    assert all(record.hashes == records[0].hashes for record in records)
    assert len({record.sha256(()) for record in records}) == 1
    assert len(set(records[0].hashes)) == 12


def test_classes_stand_behind_the_numbers_of_a_latent_and_take_turns():
    data = ul.latents(SHAPE, 5, classes=3)
    assert [data[index].class_ for index in range(5)] == [0, 1, 2, 0, 1]
    assert data[4].image.shape == (7,)
    assert data[4].image[-1] == 1
    np.testing.assert_array_equal(data[4].image[:-1], ul.latents(SHAPE, 5)[4].image.ravel())
    assert ul.latents(SHAPE, 2, classes=[7, 5])[1].class_ == 5
    given = ul.latents(np.zeros((2, 3)), classes=[4, 2])
    assert given[1].image.tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize("classes", [None, 10, [3, 5]])
def test_latents_are_drawn_again_by_their_name(classes):
    data = ul.latents(SHAPE, 4, seed=7, classes=classes)
    assert ul.open_data(described(data).source, images=4) == data


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda tmp: ul.latents(SHAPE, 0), ("0 latents", "1 or more")),
        (lambda tmp: ul.latents((), 3), ("(100, 1, 1)",)),
        (lambda tmp: ul.latents((3, 0), 3), ("(3, 0)",)),
        (lambda tmp: ul.latents(SHAPE, seed=-1), ("seed=-1",)),
        (lambda tmp: ul.latents(SHAPE, classes=[]), ("classes",)),
        (lambda tmp: ul.latents(SHAPE, masks=ul.Scenes(3)), ("masks=",)),
        (lambda tmp: ul.latents(np.zeros(3)), ("(3,)",)),
        (lambda tmp: ul.latents(np.array([["a"]])), ("numbers",)),
        (lambda tmp: ul.latents(np.zeros((3, 2)), 4), ("3 latents", "4")),
        (lambda tmp: ul.latents(np.zeros((3, 2)), classes=3), ("class of each",)),
        (lambda tmp: ul.latents(np.zeros((3, 2)), classes=[1]), ("1 classes", "3 latents")),
        (lambda tmp: ul.latents(np.zeros((3, 2)), masks=ul.Scenes(2)), ("2 masked images", "3 latents")),
        (lambda tmp: ul.latents(np.zeros((3, 2)), masks=ul.latents(SHAPE, 3)), ("annotated images",)),
        (lambda tmp: ul.latents(tmp / "none.npy"), ("no file",)),
        (lambda tmp: ul.latents(tmp / "z.pt"), (".npy or .safetensors",)),
        (lambda tmp: ul.latents(tmp / "pickled.npy"), ("cannot be read",)),
        (lambda tmp: ul.latents(tmp / "two.safetensors"), ("2 arrays",)),
        (lambda tmp: ul.open_data("latents:3y2"), ("latents:100x1x1",)),
        (lambda tmp: ul.open_data("latents:3x2,sed=3"), ("latents:100x1x1",)),
        (lambda tmp: ul.open_data("latents:3x2", split="train"), ("splits",)),
        (lambda tmp: ul.check(ul.latents(SHAPE, 3)), ("no images", "dissect")),
        (lambda tmp: read(ul.latents(np.array([[1.0], [np.nan]]))), ("latent-000001", "NaN")),
        (lambda tmp: read(_Uneven()), ("2 and 3", "one shape")),
        (lambda tmp: ul.dissect(painter(), "layer", painted(), groups="auto"), ("groups='auto'", "latents")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_latents_cannot_be_is_said_in_one_sentence(make, facts, tmp_path):
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    save_file({"a": np.zeros((2, 2)), "b": np.zeros((2, 2))}, tmp_path / "two.safetensors")
    with pytest.raises(ul.UnitlensError) as raised:
        make(tmp_path)
    assert all(fact in str(raised.value) for fact in facts), raised.value


class _Uneven:
    concepts, of_latents = (), True

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return ul.Example(np.zeros(3 - index, np.float32), {}, str(index))


def test_sources_look_at_what_was_drawn_and_given_masks_count_with_them():
    net, marked = painter(), painted(6)
    batches, record = read(marked, net=net, batch_size=4)
    images = torch.cat([batch.images for batch in batches]).permute(0, 2, 3, 1).numpy()
    planes = np.stack([plane for batch in batches for plane in batch.planes])
    expected = np.stack([Squares().planes(image, "")["color"][0][2::4, 2::4].reshape(1, 64) for image in images])
    np.testing.assert_array_equal(planes, expected)
    assert record.annotated == [1] * 6
    assert len(record.fingerprints) == 6
    given = ul.latents(np.stack([marked[n].image for n in range(6)]), masks=_Marked(images))
    again, of_given = read(given, net=net)
    np.testing.assert_array_equal(np.stack(again[0].planes), expected)
    assert of_given.names == [f"photo {n}" for n in range(6)]
    assert of_given.hashes == record.hashes


class _Marked:
    """Images with their squares marked, of half the size."""

    concepts = Squares.concepts

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        planes = {"color": [Squares().planes(self.images[index], "")["color"][0]]}
        return ul.Example(self.images[index], planes, f"photo {index}")


def test_the_digest_is_of_latent_class_masks_and_sources():
    def digest(data):
        return read(data)[1].sha256(data.concepts)

    plain = ul.latents(SHAPE, 4)
    assert digest(ul.with_concepts(plain, ul.Colors())) == digest(ul.with_concepts(plain, ul.Colors()))
    others = [plain, ul.latents(SHAPE, 4, seed=1), ul.latents(SHAPE, 4, classes=2)]
    others += [ul.with_concepts(plain, ul.Colors()), ul.with_concepts(plain, Squares())]
    assert len(set(map(digest, others))) == len(others)


def test_the_digest_is_of_a_segmenters_weights():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 2, 1)
    sources = [ul.segmenter(network, labels=["nothing", "a"], cache=None)]
    digest = read(ul.with_concepts(ul.latents(SHAPE, 2), *sources))[1].sha256([])
    again = ul.segmenter(network, labels=["nothing", "a"], cache=None)
    assert read(ul.with_concepts(ul.latents(SHAPE, 2), again))[1].sha256([]) == digest
    with torch.no_grad():
        network.bias += 1
    other = ul.segmenter(network, labels=["nothing", "a"], cache=None)
    assert read(ul.with_concepts(ul.latents(SHAPE, 2), other))[1].sha256([]) != digest


def test_a_source_that_fails_on_what_was_drawn_is_named():
    class Broken(Squares):
        def planes(self, image, name):
            raise ValueError("no such colour")

    data = ul.with_concepts(ul.latents(20, 4), Broken())
    with pytest.raises(ul.UnitlensError, match=r"squares fails on the images.*ValueError: no such colour"):
        read(data, net=painter())
