"""Files of any number of bands and depth come out as they were saved; what is none of them is a sentence."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

import unitlens as ul
from tests.worlds.banded import file_of
from unitlens.data.pixels import files
from unitlens.data.pixels.files import UnreadableError, decode_pixels

DRAWS = np.random.default_rng(0)
ENDINGS = (".npy", ".npz", ".tif", "pages.tif")


def some(dtype, bands):
    array = DRAWS.integers(0, 250, (24, 37, bands))
    return (
        (array / 250).astype(dtype)
        if np.dtype(dtype).kind == "f"
        else (array * (257 if dtype == np.uint16 else 1)).astype(dtype)
    )


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("bands", [1, 2, 3, 5, 13])
def test_arrays_and_tiffs_keep_their_bands_and_their_type(ending, dtype, bands):
    image = some(dtype, bands)
    read = decode_pixels(file_of(image, ending), "a", bands=bands)
    if ending.endswith("tif") and dtype == np.uint8 and bands == 1:  # as Pillow has it
        image = np.repeat(image, 3, axis=2)
    assert read.dtype == image.dtype
    np.testing.assert_array_equal(read, image)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def sixteen_bit_png(image, colour):
    """A PNG file of 16 bits a channel, which Pillow does not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 16, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(("colour", "channels", "bands"), [(2, 3, 3), (6, 4, 3), (4, 2, 1), (0, 1, 1)])
def test_sixteen_bits_of_a_png_are_kept_without_its_transparency(colour, channels, bands):
    image = some(np.uint16, channels)
    read = decode_pixels(sixteen_bit_png(image, colour), "a")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image[:, :, :bands])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_fourth_channel_is_a_band_for_a_network_of_four_and_else_transparency(kind):
    image, file = some(np.uint8, 4), io.BytesIO()
    Image.fromarray(image, "RGBA").save(file, kind)
    np.testing.assert_array_equal(decode_pixels(file.getvalue(), "a", bands=4), image)
    np.testing.assert_array_equal(decode_pixels(file.getvalue(), "a", bands=3), image[:, :, :3])


def test_white_may_be_zero_in_a_deep_tiff():
    image, file = some(np.uint16, 1), io.BytesIO()
    tifffile.imwrite(file, image[:, :, 0], photometric="miniswhite")
    np.testing.assert_array_equal(decode_pixels(file.getvalue(), "a"), 65535 - image)


def test_an_array_of_another_byte_order_is_the_same_image():
    image, file = some(np.uint16, 5), io.BytesIO()
    np.save(file, image.astype(">u2"))
    read = decode_pixels(file.getvalue(), "a")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


def saved(array, **how):
    file = io.BytesIO()
    if how:
        tifffile.imwrite(file, array, **how)
    else:
        np.save(file, array)
    return file.getvalue()


def zipped(**members):
    file = io.BytesIO()
    np.savez(file, **members)
    return file.getvalue()


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([Evil()], dtype=object), allow_pickle=True)
    return file.getvalue()


def promising():
    """A header that promises 10 TB."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    return b"\x93NUMPY\x01\x00" + file.getvalue().removeprefix(b"\x93NUMPY\x01\x00")


PLANE = np.zeros((6, 16, 20), np.uint8)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (saved(np.zeros((7, 3, 16, 20))), ["7 x 3 x 16 x 20", "video clips and volumes"]),
        (saved(np.zeros((40, 50, 60))), ["40 x 50 x 60", "1 to 32 bands", "volumes"]),
        (saved(PLANE, imagej=True, metadata={"axes": "TYX"}), ["a clip", "6 x 16 x 20", "video clips and volumes"]),
        (saved(PLANE, imagej=True, metadata={"axes": "ZYX"}), ["a volume", "6 x 16 x 20"]),
        (saved(np.zeros((6, 16, 20, 3), np.uint8), photometric="rgb"), ["6 x 16 x 20 x 3", "video clips"]),
        (saved(np.zeros(5)), ["float64 of 5", "a height, a width"]),
        (saved(np.zeros((0, 5))), ["0 x 5"]),
        (pickled(), ["holds object", "array of numbers"]),
        (promising(), ["is damaged", "bytes of"]),
        (saved(np.zeros((4, 4)))[:-3], ["is damaged", "125 bytes of 128"]),
        (b"\x93NUMPY\x01\x00\x05\x00hello", ["is damaged"]),
        (zipped(one=PLANE, two=PLANE), ["the arrays one, two", "'image'"]),
        (zipped(), ["none"]),
        (zipped(image=PLANE)[:60], ["is damaged"]),
        (saved(PLANE, photometric="minisblack")[:300], ["is damaged"]),
        (b"II*\0" + b"\xff" * 40, ["damaged"]),
        (sixteen_bit_png(some(np.uint16, 3), 2)[:900], ["damaged"]),
    ],
)
def test_what_is_no_image_is_a_sentence(content, facts, capsys):
    with pytest.raises(ul.UnitlensError) as error:
        decode_pixels(content, "field.tif")
    assert all(fact in str(error.value) for fact in ["field.tif", *facts]), str(error.value)
    assert capsys.readouterr().out == ""


def test_a_packed_archive_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr("unitlens.data.pixels.files.MOST_BYTES", 10**6)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", b"\0" * 2 * 10**6)
    with pytest.raises(UnreadableError, match="more than"):
        decode_pixels(file.getvalue(), "a.npz")


@pytest.mark.parametrize(("shape", "axes"), [((16, 12, 12), "QYX"), ((5, 64, 3), "QYX"), ((30, 9, 9), "QYX")])
def test_pages_are_bands_where_the_file_says_so(shape, axes):
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata={"axes": axes}, photometric="minisblack")
    np.testing.assert_array_equal(decode_pixels(file.getvalue(), "a.tif"), np.moveaxis(array, 0, 2))


def test_a_packed_tiff_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None)  # imagecodecs refuses it by itself
    file = io.BytesIO()
    image = np.zeros((64, 64), np.uint16)
    tifffile.imwrite(file, image, compression="zlib")
    assert not decode_pixels(file.getvalue(), "a.tif").any()
    content, packed = file.getvalue(), zlib.compress(bytes(1 << 24), 9)
    with tifffile.TiffFile(io.BytesIO(content)) as read:
        start, size = read.pages[0].dataoffsets[0], read.pages[0].databytecounts[0]
        tag = read.pages[0].tags["StripByteCounts"].valueoffset
    # the strip is moved to the end, and promises what is there
    with tifffile.TiffFile(io.BytesIO(content)) as read:
        offset_tag = read.pages[0].tags["StripOffsets"].valueoffset
    bomb = bytearray(content + packed)
    bomb[tag : tag + 4] = len(packed).to_bytes(4, "little")
    bomb[offset_tag : offset_tag + 4] = len(content).to_bytes(4, "little")
    assert size < len(packed)
    assert start < len(content)
    with pytest.raises(ul.UnitlensError, match="unpacks to more than it promises"):
        decode_pixels(bytes(bomb), "bomb.tif")


def test_radar_is_no_image_of_numbers():
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((8, 8), np.complex64))
    with pytest.raises(ul.UnitlensError, match="holds complex64, where an image is an array of numbers"):
        decode_pixels(file.getvalue(), "a.tif")


@pytest.mark.parametrize("shape", ["(-4, -4)", "(True, 16)", f"(0, {10**30})"])
def test_a_header_of_no_array_is_a_sentence(shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(16)
    with pytest.raises(ul.UnitlensError, match="is damaged"):
        decode_pixels(content, "a.npy")


def test_a_header_of_npy_that_is_no_python_is_damage(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.float32))
    content = (tmp_path / "a.npy").read_bytes()
    for old, new in ((b"}", b" "), (b"'shape'", b"\thape'"), (b"False", b"F(lse")):
        with pytest.raises(UnreadableError, match="is damaged"):
            decode_pixels(content.replace(old, new), "a.npy", bands=1)
