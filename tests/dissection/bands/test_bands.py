"""Images of any number of bands and depth: a unit that sees the fourth band gets its concept, in every file format."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import unitlens as ul
from tests.worlds.banded import BANDS, COUNT, SIDE, banded_network, drawn, write_banded
from unitlens.data.batches import Batches
from unitlens.data.copies import find_copies, fingerprint
from unitlens.data.pixels.arrays import network_pixels
from unitlens.data.pixels.fit import Fit
from unitlens.data.readers.given import given_images
from unitlens.data.reading import Reading
from unitlens.models.bands.settings import Bands
from unitlens.models.preprocessing import Preprocessing

FORMATS = [
    (np.uint8, ".npy", {}),
    (np.uint8, ".png", {}),
    (np.uint16, ".tif", {"range": (0, 4000)}),
    (np.uint16, "pages.tif", {"range": (0, 4000)}),
    (np.float32, ".npz", {"range": (0, 4000)}),
]


def dissected(net, data, **settings):
    return ul.dissect(net, "0", data, quantile=0.25, evidence=False, **settings)


@pytest.mark.parametrize(("dtype", "ending", "given"), FORMATS)
def test_the_unit_of_the_fourth_band_gets_the_concept_that_shows_in_it(tmp_path, dtype, ending, given):
    net = banded_network(**given)
    d = dissected(net, ul.annotated(write_banded(tmp_path, dtype=dtype, ending=ending)), exemplars=2)
    table = d.table().set_index("unit")
    assert table.loc[3, "concept"] == "plant"
    assert table.loc[3, "iou"] == table["iou"].max() > 0.9
    strip = np.asarray(Image.open(io.BytesIO(d._strips["0", 3])).convert("RGB"))
    assert strip.std() > 10  # something is shown


def test_depths_agree_and_so_do_images_in_memory(tmp_path):
    """8-bit, 16-bit and float images of one world have the same counts, but for the rounding of 8 bits."""
    pairs = [drawn(index) for index in range(COUNT)]
    names = [f"{index:02d}.npy" for index in range(COUNT)]
    deep = dissected(banded_network(), ul.dataset(pairs, concepts=["plant"], names=names), exemplars=0)
    tensors = [(torch.from_numpy(image).float().permute(2, 0, 1), plant) for image, plant in pairs]
    held = dissected(banded_network(), ul.dataset(tensors, concepts=["plant"], names=names), exemplars=0)
    whole = dissected(
        banded_network(range=(0, 4000)),
        ul.annotated(write_banded(tmp_path, ending=".npy")),
        exemplars=0,
    )
    for name in ("intersection", "activated", "concept"):
        counts = getattr(deep["0"].counts, name)
        np.testing.assert_array_equal(getattr(held["0"].counts, name).sum(0), counts.sum(0))
        np.testing.assert_array_equal(getattr(whole["0"].counts, name).sum(0), counts.sum(0))


def test_a_saved_run_is_opened_again_with_its_bands_and_everything_runs_on_it(tmp_path):
    folder = write_banded(tmp_path / "data")
    net = banded_network(range=(0, 4000), show_bands=(4, 2, 1))
    d = ul.dissect(net, "0", folder, quantile=0.25, exemplars=2)
    assert d.info["network"]["preprocessing"]["bands"]["show_bands"] == [4, 2, 1]
    effects = ul.ablate(net, "0", [3], folder)
    explained = ul.explain(net, d, str(folder / "images" / "03.tif"))
    attacked = ul.attack(net, d, folder, "odd", steps=2, epsilon=0.05)
    ul.report(tmp_path / "run", d, effects)
    again = ul.open_run(tmp_path / "run")
    assert again.info == d.info
    importance = ul.importance(net, "0", folder)
    assert importance.units == BANDS
    (one,) = explained
    assert one.pixels.shape == (SIDE, SIDE, 3)
    image = drawn(3)[0]
    np.testing.assert_allclose(one.pixels, image[:, :, [3, 1, 0]] * 255, atol=1)
    assert attacked.attacked.dtype == np.float32
    assert attacked.attacked.shape[1:] == (SIDE, SIDE, BANDS)
    assert attacked.linf.max() <= 0.05 + 1e-6
    assert all(name.endswith(".npy") for name in attacked.image_files())
    assert ul.check(folder, image_size=SIDE).read == COUNT
    assert (tmp_path / "run" / "report.html").is_file()


def batches(data, preprocessing):
    return torch.cat([batch.images for batch in Batches(data, preprocessing, Reading(progress=True))])


def test_deep_images_that_were_decoded_are_kept_bit_for_bit(tmp_path, monkeypatch):
    data = ul.annotated(write_banded(tmp_path / "data", count=5))
    prepare = [
        Preprocessing((SIDE // 2, SIDE // 2), None, (0.0,) * 4, (1.0,) * 4, bands=Bands(range=(0, high)))
        for high in (4000, 5000)
    ]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = [batches(data, one) for one in prepare]
    again = [batches(data, one) for one in prepare]
    monkeypatch.setenv("UNITLENS_IMAGES", "none")
    fresh = [batches(data, one) for one in prepare]
    for one, two, three in zip(first, again, fresh, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, two)
        assert torch.equal(one, three)
    assert not torch.equal(first[0], first[1])


def test_an_eight_bit_image_among_deeper_ones_is_the_same_as_alone():
    images = [np.full((8, 8, 4), 51, np.uint8), np.full((8, 8, 4), 13107, np.uint16)]
    data = ul.dataset(images, names=["a", "b"])
    found = batches(data, Preprocessing((8, 8), None, (0.0,) * 4, (1.0,) * 4))
    assert found.dtype == torch.float32
    assert torch.equal(found[0], found[1])


@given(st.sampled_from([1, 2, 4, 7]), st.sampled_from(["bilinear", "bicubic"]), st.sampled_from([None, 20]))
def test_the_geometry_of_bands_is_that_of_rgb(bands, interpolation, resize):
    """Each band is resized and cropped as Pillow does it with a colour, and floats alike without rounding."""
    image = np.random.default_rng(bands).integers(0, 256, (33, 41, bands), dtype=np.uint8)
    fit = Fit.of(33, 41, Preprocessing((16, 20), resize, (0.0,) * 3, (1.0,) * 3))
    ours = fit.pixels(image, interpolation)
    floats = fit.pixels((image / np.float32(255)), interpolation)
    for band in range(bands):
        rgb = np.repeat(image[:, :, band, None], 3, axis=2)
        np.testing.assert_array_equal(ours[:, :, band], fit.pixels(rgb, interpolation)[:, :, 1])
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats * 255, ours, atol=3)  # bicubic 8-bit weights are rounded, too
    assert floats.min() >= 0
    assert floats.max() <= 1


def prepare(bands, **settings):
    return Preprocessing((8, 8), None, (0.0,) * bands, (1.0,) * bands, bands=Bands(**settings))


def test_bands_are_chosen_repeated_or_made_grey():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 5), dtype=np.uint8)
    np.testing.assert_array_equal(network_pixels(image, prepare(2, chosen=(5, 1)), "a"), image[:, :, [4, 0]])
    np.testing.assert_array_equal(network_pixels(image[:, :, :1], prepare(3), "a"), image[:, :, [0, 0, 0]])
    grey = np.asarray(Image.fromarray(image[:, :, :3]).convert("L"))
    np.testing.assert_array_equal(network_pixels(image[:, :, :3], prepare(1), "a")[:, :, 0], grey)
    np.testing.assert_array_equal(network_pixels(image[:, :, [0, 0, 0]], prepare(1), "a"), image[:, :, :1])


@pytest.mark.parametrize(
    ("image", "settings", "expected"),
    [
        (np.array([0, 255], np.uint8), {}, [0, 255]),
        (np.array([0, 255], np.uint8), {"range": (0, 510)}, [0, 0.5]),
        (np.array([0, 65535], np.uint16), {}, [0, 1]),
        (np.array([0, 1000, 5000], np.uint16), {"range": (0, 4000)}, [0, 0.25, 1]),
        (np.array([-1000, 0, 1000], np.int16), {"range": (-1000, 1000)}, [0, 0.5, 1]),
        (np.array([0.25, 1.0]), {}, [0.25, 1]),
        (np.array([-1.0, 1.0]), {"range": (-1, 1)}, [0, 1]),
        (np.array([False, True]), {}, [0, 255]),
    ],
)
def test_values_become_zero_to_one_as_it_is_said(image, settings, expected):
    found = network_pixels(image[None, :, None], prepare(1, **settings), "a")
    np.testing.assert_allclose(found.ravel(), expected)
    assert found.dtype == (np.uint8 if expected[-1] == 255 else np.float32)


@pytest.mark.parametrize(
    ("image", "facts"),
    [
        (np.zeros((8, 8, 5), np.uint8), ["field.tif has 5 bands", "takes 4", "bands=(1,2,3,4)", "takes 5"]),
        (np.zeros((8, 8, 2), np.uint8), ["field.tif has 2 bands", "takes 4", "images of 4 bands"]),
        (np.full((8, 8, 4), 7.5), ["float64 from 7.5 to 7.5", "range=(LOW, HIGH)"]),
        (np.full((8, 8, 4), -1, np.int16), ["int16 from -1 to -1", "range=(LOW, HIGH)", "normalised"]),
        (np.full((8, 8, 4), np.nan), ["NaN"]),
    ],
)
def test_what_a_network_does_not_take_is_a_sentence(image, facts):
    with pytest.raises(ul.UnitlensError) as error:
        network_pixels(image, prepare(4), "field.tif")
    assert all(fact in str(error.value) for fact in facts), str(error.value)


def test_a_band_that_is_not_there_and_colours_of_deep_images_are_sentences():
    image = np.zeros((8, 8, 5), np.uint16)
    with pytest.raises(ul.UnitlensError, match=r"field has 5 bands, and bands= chooses band 7"):
        network_pixels(image, prepare(1, chosen=(7,)), "field")
    data = ul.dataset([image], concepts="colors")
    with pytest.raises(ul.UnitlensError, match=r"uint16 of 5 bands, and colours need 8-bit RGB: give label maps"):
        data[0]


def test_images_are_shown_as_it_is_said():
    draws = torch.rand(2, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    rgb = (draws[:, :3] * 255).byte()
    assert Bands().shown(rgb) is rgb
    assert torch.equal(Bands(show_bands=(3, 2, 1)).shown(rgb), rgb.flip(1))
    assert torch.equal(Bands().shown(rgb[:, :1]), rgb[:, :1].expand(-1, 3, -1, -1))
    within = Bands(range=(0, 9), show_bands=(5, 1, 2)).shown(draws)
    assert torch.equal(within, (draws[:, [4, 0, 1]] * 255).round().byte())
    stretched = Bands(show_range=(0.25, 0.75)).shown(draws)
    assert torch.equal(stretched, ((draws[:, :3] - 0.25) / 0.5).clamp(0, 1).mul(255).round().byte())
    dark = Bands().shown(draws / 1000)  # of deep images, each from its 1st to its 99th percentile
    assert dark.min() == 0
    assert dark.max() == 255
    assert torch.equal(dark, Bands(show_percentiles=(1, 99)).shown(draws / 1000))
    assert not Bands().shown(torch.full((1, 1, 4, 4), 0.5)).any()


def test_near_copies_are_found_among_images_of_any_depth():
    image = drawn(0)[0]
    eight, deep = (image * 255).round().astype(np.uint8), (image * 4000).round().astype(np.uint16)
    prints = [fingerprint(one) for one in (eight, deep, np.repeat(eight[:, :, :1], 3, 2), eight[:, :, :1])]
    assert find_copies(prints).group.tolist() == [0, 0, 2, 2]


def test_the_shell_takes_bands(tmp_path, shell):
    folder = write_banded(tmp_path / "data")
    source = tmp_path / "model.py"
    source.write_text("from tests.worlds.banded import loaded_model as build\n")
    options = ("--layer", "0", "--data", folder, "--image-size", SIDE, "--mean", "0.5", "--std", "0.5")
    wrong = shell("dissect", f"{source}:build", *options, "--range", "0,4000", "--bands", "1,2,3", "--out", "run")
    assert "--bands is 1,2,3, 3 bands, and the network takes 4" in wrong.err
    done = shell(
        *("dissect", f"{source}:build", *options, "--range", "0,4000", "--show-bands", "4", "--quantile", "0.25"),
        *("--bands", "1,2,3,4", "--out", "run", "--quiet"),
    )
    assert done.code == 0, done.err
    again = shell("dissect", f"{source}:build", "--config", "run/run.json", "--out", "again", "--quiet")
    assert again.code == 0, again.err
    prepared = [ul.open_run(run).info["network"]["preprocessing"] for run in ("run", "again")]
    assert prepared[0] == prepared[1]
    assert prepared[0]["bands"]["range"] == [0, 4000]
    said = shell("ablate", "run", "--layer", "0", "--units", "3", "--trust", "--quiet")
    assert said.code == 0, said.err
    explained = shell("explain", "run", folder / "images" / "03.tif", "--trust", "--quiet")
    assert explained.code == 0, explained.err


@pytest.mark.parametrize("ends", [(0, 1), (0, 0.3), (-1, 1), (0, 100)])
def test_floats_that_8_bits_could_hold_are_still_read_by_the_range(ends):
    """As `ToTensor` gives them: whole 255ths, which without a range are kept in 8 bits."""
    draws = np.random.default_rng(0)
    images = [draws.integers(0, 256, (SIDE, SIDE, BANDS)).astype(np.float32) / 255 for _ in range(3)]
    net = banded_network(range=ends)
    low, high = ends
    expected = ((np.stack(images) - low) / (high - low)).clip(0, 1).transpose(0, 3, 1, 2)
    for data in (ul.dataset(images), ul.with_concepts(ul.dataset(images), Nothing()), given_images(images)):
        (batch,) = Batches(data, net.preprocessing, Reading(batch_size=3), grid=(4, 4))
        np.testing.assert_allclose(batch.images.numpy(), expected, atol=1e-6)


class Nothing:
    """A concept source that marks nothing."""

    concepts = (ul.Concept("nothing", 1, "nothing"),)

    def planes(self, image, name):
        return {"nothing": [np.zeros(image.shape[:2], np.uint8)]}


def test_a_fourth_8_bit_channel_is_a_band_beside_concept_sources_and_where_bands_are_chosen(tmp_path):
    data = ul.annotated(write_banded(tmp_path, dtype=np.uint8, ending=".png"))
    alone, stacked = (
        dissected(banded_network(), some, exemplars=0).counts for some in (data, ul.with_concepts(data, Nothing()))
    )
    plant = list(range(len(data.concepts)))
    np.testing.assert_array_equal(alone.intersection, stacked.intersection[:, plant])
    one = banded_network(bands=(4, 3, 2, 1))
    (batch,) = Batches(data, one.preprocessing, Reading(batch_size=COUNT), grid=(4, 4))
    (plain,) = Batches(data, banded_network().preprocessing, Reading(batch_size=COUNT), grid=(4, 4))
    assert torch.equal(batch.images, plain.images.flip(1))


@pytest.mark.parametrize("size", [16, 32])
def test_tiles_of_images_that_are_not_square_are_not_sheared(size):
    net = ul.classifier(
        torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU()).eval(),
        image_size=(288, 272),
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    gradient = np.broadcast_to(np.linspace(0, 255, 272)[None, :, None], (288, 272, 3)).astype(np.uint8)
    data = ul.dataset([gradient, gradient[:, ::-1]], names=["a", "b"])
    d = ul.dissect(
        net, "1", ul.with_concepts(data, ul.Colors()), quantile=0.25, evidence=False, exemplars=1, exemplar_size=size
    )
    strip = np.asarray(Image.open(io.BytesIO(d._strips["1", 0])).convert("L")).astype(int)
    rows = strip[2:-2, 2:-2]
    assert np.abs(rows - np.median(rows, axis=0)).mean() < 30  # all rows are alike
