import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unitlens.drawing.strips import (
    EDGE,
    OUTLINE,
    draw_strip,
    draw_tiles,
    strip_limit,
    strip_size,
    strips_drawn,
    tile_masks,
)


def opened(strip):
    image = Image.open(io.BytesIO(strip))
    return np.asarray(image.convert("RGB"))


def noise(count, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 40), st.integers(-3, 3), st.integers(0, 99)
)
def test_tile_masks_are_torchs_half_pixel_enlargement(height, width, count, size, threshold, seed):
    maps = np.random.default_rng(seed).integers(-64, 64, (count, height, width)).astype(np.float32) / 16
    large = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[None], size=(size, size), mode="bilinear", align_corners=False
    )[0].numpy()
    masks = tile_masks(maps, threshold, size)
    clear = np.abs(large - threshold) > 1e-4  # the last bits of the two sums may differ
    assert masks.shape == (count, size, size)
    assert masks.dtype == bool
    assert (masks == (large > threshold))[clear].all()


def test_tile_masks_lie_strictly_above_the_threshold():
    maps = np.array([[[1.0]], [[1.5]]])
    assert not tile_masks(maps, 1.5, 4).any()
    assert tile_masks(maps, 1.0, 4)[1].all()


def test_a_tile_is_full_colour_inside_and_faded_outside_the_outline():
    image = np.full((1, 96, 96, 3), 200, np.uint8)
    image[0, :, 80:] = (200, 0, 0)
    mask = np.zeros((1, 96, 96), bool)
    mask[0, 30:60, 30:60] = True
    tile = draw_tiles(image, mask)[0]
    assert (tile[30:60, 30:60] == 200).all()
    assert (tile[29, 30:60] == OUTLINE).all()
    assert (tile[60, 30:60] == OUTLINE).all()
    assert (tile[30:60, 29] == OUTLINE).all()
    assert (tile[30:60, 61] == OUTLINE).all()
    assert (tile[30:60, 27] == EDGE).all()
    assert (tile[30:60, 62] == EDGE).all()
    assert (tile[:27, :80] == 180).all()
    assert (tile[:, 63:80] == 180).all()
    red, green, blue = tile[0, 90].tolist()
    assert 200 > red > green == blue > 55


def test_images_in_another_order_of_memory_have_the_same_outlines():
    images, masks = noise(2, 32, 32), noise(2, 8, 8)[..., 0] > 128
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    assert (draw_tiles(channels_first, masks, size=32) == draw_tiles(images, masks, size=32)).all()


def test_what_is_dark_is_seen_outside_of_the_mask():
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, ::2] = 40
    tile = draw_tiles(image, np.zeros((1, 8, 8), bool), size=64)[0]
    assert tile.min() >= 50
    assert tile[0, 0, 0] - tile[1, 0, 0] >= 20


def test_full_and_empty_masks_have_no_outline():
    images = noise(2, 32, 32)
    masks = np.stack([np.ones((4, 4), bool), np.zeros((4, 4), bool)])
    tiles = draw_tiles(images, masks, size=32)
    assert (tiles[0] == images[0]).all()
    assert tiles[1].max() <= 215
    assert tiles[1].min() >= 55


@pytest.mark.parametrize("size", [32, 48, 96])
def test_masks_of_another_resolution_are_enlarged_to_the_same_place(size):
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 4:, :2] = True
    tile = draw_tiles(np.full((1, 20, 30, 3), 255, np.uint8), masks, size=size)[0]
    inside = (tile == 255).all(axis=2)
    expected = np.zeros((size, size), bool)
    expected[size // 2 :, : size // 4] = True
    assert (inside == expected).all()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (96, 96), (100, 300), (32, 32), (7, 200)])
def test_tiles_of_a_strip_do_not_mix(height, width):
    images = np.stack([np.full((height, width, 3), level, np.uint8) for level in (0, 255, 0)])
    tiles = draw_tiles(images, np.ones((3, 2, 2), bool))
    assert tiles.shape == (3, 96, 96, 3)
    assert [int(tile.min()) for tile in tiles] == [0, 255, 0]
    assert [int(tile.max()) for tile in tiles] == [0, 255, 0]


@pytest.mark.parametrize("size", [32, 96, 224])
def test_lines_are_as_wide_as_they_should_be_at_the_edges_too(size):
    masks = noise(3, size, size)[..., 0] > 254
    tiles = draw_tiles(np.full((3, size, size, 3), 90, np.uint8), masks, size=size)
    rows, columns = np.mgrid[:size, :size]
    for tile, mask in zip(tiles, masks, strict=True):
        away = np.full((size, size), size)  # the larger of the distances along the sides to the nearest of the mask
        for row, column in zip(*np.nonzero(mask), strict=True):
            away = np.minimum(away, np.maximum(abs(rows - row), abs(columns - column)))
        width, edge = max(1, round(size / 56)), max(1, round(size / 160))
        assert np.array_equal((tile == OUTLINE).all(2), (away > 0) & (away <= width))
        assert np.array_equal((tile == EDGE).all(2), (away > width) & (away <= width + edge))


def test_a_strip_shows_its_tiles_in_order_side_by_side():
    colours = [(220, 30, 30), (30, 220, 30), (30, 30, 220)]
    images = np.stack([np.full((50, 50, 3), colour, np.uint8) for colour in colours])
    strip = opened(draw_strip(images, np.ones((3, 5, 5), bool), size=48))
    assert strip.shape == (48, 144, 3)
    for place, colour in enumerate(colours):
        middle = strip[24, 48 * place + 24].astype(int)
        assert np.abs(middle - colour).max() <= 12


def test_drawing_does_not_change_its_arguments():
    images, masks = noise(2, 96, 96), np.zeros((2, 96, 96), bool)
    masks[:, :9] = True
    before = images.copy(), masks.copy()
    draw_strip(images, masks)
    assert (images == before[0]).all()
    assert (masks == before[1]).all()


def test_a_limit_lowers_the_quality_until_the_strip_fits():
    images, masks = noise(4, 64, 64), np.ones((4, 4, 4), bool)
    free = draw_strip(images, masks, size=64)
    tight = draw_strip(images, masks, size=64, limit=len(free) // 2)
    assert len(tight) <= len(free) // 2
    assert opened(tight).shape == opened(free).shape
    assert len(draw_strip(images, masks, size=64, limit=1)) > 1  # as small as it gets, and still an image


@pytest.mark.parametrize(("images", "masks"), [(0, 0), (2, 1)])
def test_a_strip_needs_a_mask_for_each_image(images, masks):
    with pytest.raises(ValueError, match=f"not {images} and {masks}"):
        draw_strip(noise(images, 8, 8), np.ones((masks, 8, 8), bool))


def test_more_strips_are_smaller_and_fit_the_page():
    sizes = [strip_size(count) for count in (0, 1, 512, 2000, 4000, 10**6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1:4] == [224, 128, 80]
    assert strip_size(1) > strip_size(1, largest=200) > strip_size(1, largest=32) == 96
    assert sizes[-2:] == [80, 80]  # of thousands, few are drawn
    assert strip_size(2000, tiles=200) == 32
    assert all(size % 16 == 0 for size in sizes)
    assert strip_size(2000, tiles=24) < strip_size(2000)
    assert strip_limit(2000) * 2000 * 4 / 3 < 36_000_000
    assert strip_limit(0) > 1_000_000
    assert [strips_drawn(count) for count in (0, 2048, 2049, 10**6)] == [0, 2048, 512, 512]
    assert strip_limit(10**6) * 512 * 4 / 3 < 9_000_000
