"""Files as a stranger may write them, and a watch on what reading them does."""

import io
import resource
import sys
from contextlib import contextmanager

import numpy as np
import pytest

import unitlens as ul

REFUSED = (ul.UnitlensError, ul.UnitlensWarning)

MANY = pytest.mark.slow

FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "socket.connect")

ROOM = 3 << 30
"""Bytes that reading a small file may reserve."""


CODINGS = {
    "BOM and CRLF": lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "Latin-1": lambda content: content.replace(b"e", b"\xe9"),
    "NUL": lambda content: content.replace(b"\n", b"\x00\n"),
    "an open quote": lambda content: content + b'"',
    "empty": lambda content: b"",
}
"""Ways to write a text that its reader may not expect."""


def seeds(quick, slow, step):
    """Starting points: a few for every day, all of them in `make test-slow`."""
    return pytest.mark.parametrize(
        "first", [pytest.param(first, marks=[] if first < quick else MANY) for first in range(0, slow, step)]
    )


def write_outside(folder):
    """A folder beside the others that nothing names, and nobody may read."""
    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text("image,group,tag\n00.png,secret,secret\n")
    (outside / "secret.png").write_bytes(png(4, 4))
    return outside


class _Watch:
    seen, secret = None, None


def _hook(event, arguments):
    if _Watch.seen is None:
        return
    reads_secret = event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(_Watch.secret)
    starting = event in ("subprocess.Popen", "os.posix_spawn")  # the second one too since Python 3.13
    if starting and list(arguments[1][1:4]) == ["-I", "-S", "-c"]:
        return  # a regular expression is looked for, by code of our own; see unitlens.patterns
    if event in FORBIDDEN or reads_secret:
        _Watch.seen.append((event, str(arguments[:2])))


sys.addaudithook(_hook)


@contextmanager
def watched(secret, *, room=ROOM):
    """Make sure that nothing is started, fetched, unpickled, read below a folder, or reserved without bound."""
    with open("/proc/self/statm") as file:
        reserved = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (reserved + room, before[1]))
    _Watch.seen, _Watch.secret = [], str(secret)
    try:
        yield
        assert _Watch.seen == []
    finally:
        _Watch.seen = None
        resource.setrlimit(resource.RLIMIT_AS, before)


def spoiled(content, rng):
    """Bytes of a file with something wrong: cut, repeated, some changed, or all of one number."""
    changed, kind = bytearray(content), rng.integers(6)
    if kind == 0:
        return bytes(changed[: int(rng.integers(len(changed) + 1))])
    if kind == 1:
        place = int(rng.integers(len(changed)))
        return bytes(changed[:place] + changed[place // 2 : place] + changed[place:])
    first = int(rng.integers(len(changed))) if kind == 2 else 0  # headers say what the rest means
    last = len(changed) if kind < 4 else min(len(changed), 128)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(first, last))] = int(rng.choice([0, 1, 9, 48, 57, 127, 128, 255, rng.integers(256)]))
    return bytes(changed)


def npy(shape, descr="<f4", *, more=b"", order=False):
    """A file whose header says anything."""
    header = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + more


def png(width, height, *, depth=8):
    """A PNG file of any size in a few bytes: its pixels are packed zeros, or are not there."""
    import struct
    import zlib

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = zlib.compress(bytes(min(width * height * depth // 8 + height, 1 << 20)))
    size = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def image_files():
    """A small image in each format, and label maps among them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    rgb, grey = rng.integers(0, 256, (9, 12, 3), np.uint8), rng.integers(0, 5, (9, 12), np.uint8)
    images = {kind: Image.fromarray(rgb) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")}
    images |= {"GIF": Image.fromarray(rgb).convert("P"), "grey": Image.fromarray(grey)}
    images["deep"] = Image.fromarray(grey.astype(np.uint16))
    made = {}
    for kind, image in images.items():
        file = io.BytesIO()
        image.save(file, kind if kind.isupper() else "PNG")
        made[kind] = file.getvalue()
    return made
