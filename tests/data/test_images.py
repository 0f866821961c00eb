import hashlib
import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from unitlens.data.images import read_image, read_label_map, same_aspect
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.pixels.fit import Fit
from unitlens.errors import UnitlensError
from unitlens.models.preprocessing import Preprocessing

PALETTE = np.array([[(40 * k) % 251, (90 * k + 60) % 251, 255 - 30 * k] for k in range(8)], np.uint8)


def prepare(size, resize=None):
    return Preprocessing(image_size=size, resize=resize, mean=(0, 0, 0), std=(1, 1, 1))


def patchwork(height, width, step, seed=0):
    """A label map of patches, about ``step`` pixels a side."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, len(PALETTE), (height // step + 1, width // step + 1), dtype=np.uint8)
    return coarse.repeat(step, 0).repeat(step, 1)[:height, :width]


def shown_labels(image, grid):
    """The label whose colour the network's input shows around the middle of each cell; -1 where it shows several."""
    height, width = image.shape[:2]
    shown = np.full(grid, -1)
    for row in range(grid[0]):
        for column in range(grid[1]):
            y, x = int((row + 0.5) * height / grid[0]), int((column + 0.5) * width / grid[1])
            around = image[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].reshape(-1, 3).astype(int)
            distance = np.abs(around[:, None] - PALETTE[None].astype(int)).max(2)
            if distance.min(1).max() <= 1 and len(set(distance.argmin(1))) == 1:
                shown[row, column] = distance[0].argmin()
    return shown


@pytest.mark.parametrize("coarser", [1, 2])
@pytest.mark.parametrize(
    ("image_size", "resize"), [((64, 64), None), ((48, 80), None), ((64, 64), 72), ((40, 56), 64), ((63, 63), 64)]
)
@pytest.mark.parametrize(("height", "width"), [(128, 128), (120, 200), (203, 151), (64, 330), (90, 90)])
def test_a_position_of_the_label_grid_shows_its_colour_to_the_network(height, width, image_size, resize, coarser):
    height, width = height - height % coarser, width - width % coarser
    labels = patchwork(height, width, 24)
    plane = labels[::coarser, ::coarser]  # patches of 24 pixels: the half map is exact
    fit = Fit.of(height, width, prepare(image_size, resize))
    grid = (image_size[0] // 4, image_size[1] // 4)
    image = fit.pixels(PALETTE[labels])
    assert image.shape == (*image_size, 3)
    shown, sampled = shown_labels(image, grid), fit.labels(plane, grid)
    assert sampled.shape == grid
    clear = shown >= 0
    assert clear.mean() > 0.1
    np.testing.assert_array_equal(sampled[clear], shown[clear])


@given(
    height=st.integers(5, 70),
    width=st.integers(5, 70),
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    crop=st.one_of(st.none(), st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))),
    seed=st.integers(0, 9),
)
@settings(max_examples=150)
def test_labels_are_those_at_the_middle_of_each_cell(height, width, rows, columns, crop, seed):
    size, resize = ((32, 24), None) if crop is None else (crop[:2], max(crop[:2]) + crop[2])
    fit = Fit.of(height, width, prepare(size, resize))
    plane = np.random.default_rng(seed).integers(0, 65535, (height, width)).astype(np.uint16)
    top, left = fit.corner
    y = (top + (np.arange(rows) + 0.5) / rows * size[0]) * height / fit.scaled[0]
    x = (left + (np.arange(columns) + 0.5) / columns * size[1]) * width / fit.scaled[1]
    assume(min(np.abs(y - y.round()).min(), np.abs(x - x.round()).min()) > 1e-4)  # between two pixels: either
    np.testing.assert_array_equal(fit.labels(plane, (rows, columns)), plane[np.ix_(y.astype(int), x.astype(int))])


@pytest.mark.parametrize(("height", "width"), [(100, 60), (61, 97), (375, 500)])
def test_without_a_crop_labels_are_pillows_nearest(height, width):
    plane = patchwork(height, width, 3)
    fit = Fit.of(height, width, prepare((224, 224)))
    expected = Image.fromarray(plane).resize((56, 40), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(fit.labels(plane, (40, 56)), np.asarray(expected))


def test_the_box_is_the_crop_in_the_pixels_of_the_map():
    plane = patchwork(100, 200, 3)
    fit = Fit.of(200, 400, prepare((32, 32), 40))  # scaled to 40 x 80: 4 rows and 24 columns on each side go
    assert fit == Fit((40, 80), (4, 24), (32, 32))
    box = (24 * 200 / 80, 4 * 100 / 40, 56 * 200 / 80, 36 * 100 / 40)
    expected = Image.fromarray(plane).resize((8, 8), Image.Resampling.NEAREST, box=box)
    np.testing.assert_array_equal(fit.labels(plane, (8, 8)), np.asarray(expected))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_labels_are_never_blended(dtype):
    values = np.array([0, 1, 254, 255] if dtype == np.uint8 else [0, 1, 255, 60000])
    plane = np.random.default_rng(0).choice(values, (33, 47)).astype(dtype)
    sampled = Fit.of(33, 47, prepare((64, 64))).labels(plane, (16, 16))
    assert set(np.unique(sampled)) == set(values)
    assert sampled.dtype == dtype


def test_negative_labels_stay_negative():
    plane = np.full((8, 8), -1, np.int32)
    assert (Fit.of(8, 8, prepare((16, 16))).labels(plane, (4, 4)) == -1).all()


@pytest.mark.parametrize(("height", "width"), [(100, 60), (61, 97), (33, 33), (50, 401)])
@pytest.mark.parametrize(("size", "resize"), [(32, 41), (33, 48), (32, 32)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_scaling_and_cropping_are_torchvisions(height, width, size, resize, interpolation):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    theirs = Compose([Resize(resize, InterpolationMode(interpolation)), CenterCrop(size)])(Image.fromarray(pixels))
    ours = Fit.of(height, width, prepare((size, size), resize)).pixels(pixels, interpolation)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_an_image_of_the_right_size_is_not_touched():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Fit.of(32, 48, prepare((32, 48))).pixels(pixels), pixels)


@pytest.mark.parametrize(
    ("image", "plane", "same"),
    [
        ((100, 200), (50, 100), True),
        ((375, 500), (188, 250), True),
        ((375, 500), (187, 250), True),
        ((375, 500), (375, 500), True),
        ((375, 500), (500, 375), False),
        ((100, 200), (100, 100), False),
        ((100, 100), (100, 110), False),
    ],
)
def test_same_aspect_up_to_a_pixel_of_rounding(image, plane, same):
    assert same_aspect(image, plane) is same


GREY = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)
RGB = np.stack([GREY, 255 - GREY, GREY // 2], 2)


def saved(tmp_path, image, suffix="png", **how):
    path = tmp_path / f"image.{suffix}"
    image.save(path, **how)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_images_of_every_mode_become_rgb(tmp_path, mode):
    image = Image.fromarray(RGB).convert(mode)
    read = read_image(saved(tmp_path, image))
    assert read.pixels.dtype == np.uint8
    np.testing.assert_array_equal(read.pixels, np.asarray(image.convert("RGB")))


def test_transparent_colours_of_a_palette_are_kept(tmp_path):
    image = Image.fromarray(RGB).quantize(8)
    path = saved(tmp_path, image, transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(read_image(path).pixels, np.asarray(image.convert("RGB")))


def test_what_lies_under_transparency_is_shown(tmp_path):
    image = Image.fromarray(np.dstack([RGB, np.zeros_like(GREY)]))
    np.testing.assert_array_equal(read_image(saved(tmp_path, image)).pixels, RGB)


def test_cmyk_becomes_rgb(tmp_path):
    image = Image.new("CMYK", (12, 10), (0, 255, 255, 0))
    red = read_image(saved(tmp_path, image, "jpg")).pixels
    assert red.shape == (10, 12, 3)
    assert (np.abs(red.astype(int) - (255, 0, 0)) < 8).all()


def test_16_bit_grey_keeps_its_range(tmp_path):
    wide = GREY.astype(np.uint16) * 257
    read = read_image(saved(tmp_path, Image.fromarray(wide)))
    np.testing.assert_array_equal(read.pixels, np.dstack([GREY] * 3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_data_say(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: np.rot90(RGB, 2).transpose(1, 0, 2),
        8: np.rot90(RGB),
    }[orientation]
    read = read_image(saved(tmp_path, Image.fromarray(RGB), exif=exif))
    np.testing.assert_array_equal(read.pixels, upright)


def test_label_maps_of_8_bits(tmp_path):
    read = read_label_map(saved(tmp_path, Image.fromarray(GREY)))
    assert read.pixels.dtype == np.uint8
    np.testing.assert_array_equal(read.pixels, GREY)


def test_label_maps_with_a_palette_give_its_indices(tmp_path):
    image = Image.fromarray(GREY)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    read = read_label_map(saved(tmp_path, image))
    np.testing.assert_array_equal(read.pixels, GREY)


def test_label_maps_of_16_bits(tmp_path):
    wide = GREY.astype(np.uint16) * 271
    read = read_label_map(saved(tmp_path, Image.fromarray(wide)))
    assert read.pixels.dtype == np.uint16
    np.testing.assert_array_equal(read.pixels, wide)


def test_label_maps_of_1_bit(tmp_path):
    bits = (GREY > 100).astype(np.uint8)
    read = read_label_map(saved(tmp_path, Image.fromarray(bits * 255).convert("1", dither=Image.Dither.NONE)))
    assert read.pixels.dtype == np.uint8
    np.testing.assert_array_equal(read.pixels, bits)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_label_map_of_several_channels_is_an_error(tmp_path, mode):
    path = saved(tmp_path, Image.fromarray(RGB).convert(mode))
    with pytest.raises(UnitlensError, match=rf"The label map .*image.png is {mode}; a label map has one channel: save"):
        read_label_map(path)


@pytest.mark.parametrize("read", [read_image, read_label_map])
def test_a_digest_is_that_of_the_file(tmp_path, read):
    path = saved(tmp_path, Image.fromarray(GREY))
    assert read(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_text_is_no_image(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not an image")
    with pytest.raises(UnreadableError, match=r"notes\.jpg is not an image that can be read\.$"):
        read_image(path)


def test_a_file_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(UnitlensError, match=r"^There is no file .*gone\.png\.$"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("TIFF", "RGB"), ("GIF", "P"), ("PNG", "I;16")],
)
def test_files_cut_short_or_spoiled_are_unreadable_and_nothing_else(tmp_path, kind, mode):
    image = Image.fromarray(GREY.astype(np.uint16)) if mode == "I;16" else Image.fromarray(RGB).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    content, rng, path = stream.getvalue(), np.random.default_rng(0), tmp_path / "x"
    spoiled = [content[: int(cut)] for cut in np.linspace(0, len(content) - 1, 20)]
    for _ in range(60):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            changed[place] = rng.integers(256)
        spoiled.append(bytes(changed))
    unreadable, other = [], []
    for variant in spoiled:
        path.write_bytes(variant)
        for read in (read_image, read_label_map):
            try:
                read(path)
            except UnreadableError as error:
                unreadable.append(str(error))
            except UnitlensError as error:
                other.append(str(error))
    assert len(unreadable) >= 8
    assert all(text.startswith(str(path)) and text.endswith(".") for text in unreadable)
    assert all("a label map has one channel" in text for text in other)


def test_an_image_of_too_many_pixels_is_said_to_be_one(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableError, match=r"large\.png has more than the 0 million pixels that Pillow opens\."):
        read_image(tmp_path / "large.png")
