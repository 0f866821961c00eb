"""Files from strangers are read or refused in a sentence; nothing in them runs, leads out or fills memory."""

import errno
import io
import json
import os
import zipfile
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from scipy.io import savemat

import unitlens as ul
from tests.data.readers import layouts
from tests.faults.hostile import MANY, REFUSED, image_files, npy, png, seeds, spoiled, watched, write_outside
from tests.worlds.coloured import blocks
from unitlens.ablation.outcomes.vectors import read_vectors
from unitlens.cli.options import given_value
from unitlens.cli.plan import Counts
from unitlens.cli.shell.values import Bytes, Numbers, Range, Shape, Shard, Size
from unitlens.cli.text import whole_numbers
from unitlens.data.groups import grouped
from unitlens.data.images import read_image, read_label_map
from unitlens.data.latent_sets import latents, named_latents
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.readers.annotated import AnnotatedFolder
from unitlens.data.strata import read_strata, read_subgroups
from unitlens.files import check_readable, read_arrays, read_json, read_npy
from unitlens.models.bases import as_basis
from unitlens.models.weights import read_weights


@pytest.fixture
def secret(tmp_path):
    return write_outside(tmp_path)


@seeds(100, 2000, 100)
def test_images_and_label_maps(first, tmp_path, secret):
    files, path = image_files(), tmp_path / "x.png"
    names = sorted(files)
    with watched(secret):
        for seed in range(first, first + 100):
            path.write_bytes(spoiled(files[names[seed % len(names)]], np.random.default_rng(seed)))
            for read in (read_image, read_label_map):
                with suppress(ul.UnitlensError):
                    read(path)


@pytest.mark.parametrize("size", [(100_000, 100_000), (2**31 - 1, 1), (1, 2**31 - 1), (20_000, 8_000), (0, 0)])
def test_images_that_say_to_be_vast_are_refused(size, tmp_path, secret):
    (tmp_path / "x.png").write_bytes(png(*size))
    with watched(secret), pytest.raises(UnreadableError):
        read_label_map(tmp_path / "x.png")


def test_postscript_is_not_run(tmp_path, secret):
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) (w) file\nshowpage\n%%EOF\n"
    (tmp_path / "x.jpg").write_bytes(program)
    with watched(secret), pytest.raises(UnreadableError, match=r"x\.jpg is a file of EPS, which is not read"):
        read_image(tmp_path / "x.jpg")


HEADERS = [
    npy(shape, descr, more=bytes(64))
    for shape in [(4, 4), (10**12,), (2**40, 2**40), (2**63, 2), (-1, 4), (0, 3), (), (1,) * 40, ("a",), (10**30,)]
    for descr in ["<f4", "<f8", "|O", "|V9999999", "<U99999999", "<M8[ns]", "<c16", "|b1", "?!", [("a", "<f4")]]
] + [b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 60_000, b"PK\x05\x06" + bytes(18), b"", b"\x80\x04N.", b"\x93NUMPY"]


def read_as_array(path):
    for read in (read_npy, latents, as_basis, lambda name: read_vectors(str(name), scale=None)):
        with suppress(REFUSED):
            read(path)


def test_headers_of_arrays(tmp_path, secret):
    with watched(secret):
        for header in HEADERS:
            (tmp_path / "x.npy").write_bytes(header)
            read_as_array(tmp_path / "x.npy")


@seeds(50, 1000, 50)
def test_arrays(first, tmp_path, secret):
    sound = npy((4, 4), more=np.arange(16, dtype=np.float32).tobytes())
    with watched(secret):
        for seed in range(first, first + 50):
            (tmp_path / "x.npy").write_bytes(spoiled(sound, np.random.default_rng(seed)))
            read_as_array(tmp_path / "x.npy")


@seeds(50, 1500, 50)
def test_safetensors(first, tmp_path, secret):
    sound = save({"a": np.eye(4, dtype=np.float32), "b/c": np.arange(6)})
    with watched(secret):
        for seed in range(first, first + 50):
            (tmp_path / "x.safetensors").write_bytes(spoiled(sound, np.random.default_rng(seed)))
            for read in (read_arrays, read_weights, latents, as_basis):
                with suppress(REFUSED):
                    read(tmp_path / "x.safetensors")


class Command:
    """What a pickle may ask for."""

    def __reduce__(self):
        return os.system, ("true",)


@seeds(20, 800, 20)
def test_weights(first, tmp_path, secret):
    contents = []
    for state in ({"a": torch.eye(3)}, {"state_dict": {"a": torch.eye(3)}}, {"a": Command()}, torch.eye(3)):
        for new in (True, False):
            torch.save(state, file := io.BytesIO(), _use_new_zipfile_serialization=new)
            contents.append(file.getvalue())
    with watched(secret):
        for seed in range(first, first + 20):
            content = contents[seed % 8]
            (tmp_path / "x.pt").write_bytes(content if seed < 8 else spoiled(content, np.random.default_rng(seed)))
            for read in (read_weights, as_basis):
                with suppress(REFUSED):
                    read(tmp_path / "x.pt")


def test_weights_that_unpack_to_far_more_than_they_are_are_refused(tmp_path, secret):
    torch.save({"a": torch.zeros(18_000_000)}, file := io.BytesIO())
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert (tmp_path / "x.pt").stat().st_size < 200_000
    for read in (read_weights, as_basis):
        with watched(secret), pytest.raises(ul.UnitlensError, match=r"unpacks to 0\.1 GB"):
            read(tmp_path / "x.pt")


def test_a_dictionary_behind_its_settings_that_unpacks_to_far_more_is_refused(tmp_path, secret):
    torch.save({"W_enc": torch.zeros(4_500_000, 4)}, file := io.BytesIO())
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(again := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    (tmp_path / "x.pt").write_bytes(b'{"d_sae": 1}\n' + again.getvalue())
    assert (tmp_path / "x.pt").stat().st_size < 200_000
    with watched(secret), pytest.raises(ul.UnitlensError, match=r"x\.pt cannot be read as .*unpacks to 0\.1 GB"):
        ul.features(tmp_path / "x.pt")


@pytest.fixture
def context(tmp_path):
    """Pascal Context with one image."""
    layouts.pascal_context(tmp_path / "context", [blocks(0)])
    return tmp_path / "context"


@pytest.mark.parametrize(("side", "fact"), [(20_000, "unpacks to more than 0.3 GB"), (1000, "1,000,000 cells for the")])
def test_label_maps_of_matlab_that_unpack_to_far_more_are_refused(side, fact, context, secret):
    (path,) = context.rglob("*.mat")
    savemat(path, {"LabelMap": np.zeros((side, side), np.uint8)}, do_compression=True)
    assert path.stat().st_size < 500_000
    data = ul.open_data(context)
    with watched(secret, room=1 << 30), pytest.raises(UnreadableError, match=rf"{path.name} .*{fact}"):
        data[0]


@pytest.mark.parametrize(
    "read", [read_json, read_arrays, read_image, read_label_map, read_npy, read_weights, latents, as_basis]
)
def test_pipes_and_files_larger_than_memory_are_refused_at_once(read, tmp_path, secret):
    suffix = {read_json: "json", read_npy: "npy"}.get(read, "safetensors")
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    with open(tmp_path / f"sparse.{suffix}", "wb") as file:
        file.truncate(1 << 43)
    for name in ("pipe", "sparse"):
        with watched(secret), pytest.raises(ul.UnitlensError):
            read(tmp_path / f"{name}.{suffix}")
    with pytest.raises(ul.UnitlensError, match=r"has 8,796\.1 GB"):
        check_readable(tmp_path / f"sparse.{suffix}")


@seeds(200, 2000, 200)
def test_json(first, tmp_path, secret):
    sound = json.dumps({"a": [1, 2.5, None, "ü", {"b": [[]]}], "c": 10**20}).encode()
    odd = [b"[" * 100_000, b"9" * 5000, b"\xff\xfe[\x00]\x00", b'"\\ud800"', b"NaN", b"[1e999]", b'{"a":1,"a":2}']
    with watched(secret):
        for seed in range(first, first + 200):
            content = odd[seed] if seed < len(odd) else spoiled(sound, np.random.default_rng(seed))
            (tmp_path / "x.json").write_bytes(content)
            with suppress(ul.UnitlensError):
                read_json(tmp_path / "x.json")


cells = st.one_of(
    st.sampled_from(["image", "group", "stratum", "class", "index", "label", "category", "name", "00.png", "01.png"]),
    st.sampled_from(["red", "color", "1", "-1", "65535", "1000000000", "9" * 5000, "1e9", "", " ", '"', '"a', "a,b"]),
    st.sampled_from(["../outside/secret.png", "/etc/passwd", "..", "a/../../outside/secret.png", "C:\\x", "\x00", "é"]),
    st.text(max_size=6),
)
tables = st.lists(st.lists(cells, max_size=5), max_size=6)
ends = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\x00\n", "\u2028"])
codings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "utf-7"])


def as_bytes(rows, end, coding, header):
    text = end.join(",".join(row) for row in ([header] if header else []) + rows)
    return text.encode(coding, errors="replace")


GROUPS, STRATA, SUBGROUPS = ["image", "group"], ["image", "stratum"], ["image", "group", "class"]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    root = tmp_path_factory.mktemp("annotated")
    for folder in ("images", "labels/color"):
        (root / folder).mkdir(parents=True)
        for number in range(2):
            (root / folder / f"{number:02}.png").write_bytes(png(8, 8))
    (root / "concepts.csv").write_text("category,label,name\ncolor,1,red\n")
    return root


def read_lists(root, content):
    """Read a list of any kind, in every place where there may be one."""
    path = root / "list.csv"
    path.write_bytes(content)
    data = AnnotatedFolder(root)
    for read in (
        lambda: grouped(data, path),
        lambda: read_strata(path, data),
        lambda: read_subgroups(path, data),
        lambda: read_vectors(str(path), scale=None),
    ):
        with suppress(REFUSED):
            read()
    for name, sound in (("classes.csv", None), ("concepts.csv", b"category,label,name\ncolor,1,red\n")):
        (root / name).write_bytes(content)
        with suppress(REFUSED):
            AnnotatedFolder(root)[0]
        (root / name).unlink() if sound is None else (root / name).write_bytes(sound)


HEADS = st.sampled_from([None, GROUPS, STRATA, SUBGROUPS, ["image", "class", "index"], ["category", "label", "name"]])


def check_lists(annotated, secret, examples):
    @settings(max_examples=examples, derandomize=True, database=None)
    @given(tables, ends, codings, HEADS)
    def check(rows, end, coding, header):
        read_lists(annotated, as_bytes(rows, end, coding, header))

    with watched(secret):
        check()


def test_lists(annotated, secret):
    check_lists(annotated, secret, 12)


@MANY
def test_thousands_of_lists(annotated, secret):
    check_lists(annotated, secret, 800)


@MANY
def test_a_million_rows(annotated, secret):
    rows = "".join(f"{number:07}.png,{number % 7}\n" for number in range(1_000_000))
    with watched(secret):
        read_lists(annotated, f"image,group\n00.png,a\n01.png,b\n{rows}".encode())


words = st.one_of(
    st.sampled_from(["latents:", "scenes", "photos/", "torchvision:", "re:", "sequence:", "auto", "folder", "mean"]),
    st.sampled_from(
        ["9" * 5000, "0-99999999999", "8x4x4", ",seed=", ",classes=", "1e999", "-", "\x1e", "²", "٣", "(a+)+$"]
    ),
    st.sampled_from(["../outside/secret.csv", "/dev/zero", "\x00", "\ud800", "%s", "{}", "$(touch x)", "__import__"]),
    st.text(max_size=5),
)
OF_OPTIONS = (Shape(), Range(), Bytes(), Shard(), Size(), Numbers(), Counts())
texts = st.lists(words, min_size=1, max_size=4).map("".join)


def check_words(annotated, secret, examples):
    import click

    data = AnnotatedFolder(annotated)

    @settings(max_examples=examples, derandomize=True, database=None)
    @given(texts)
    def check(text):
        for read in (
            lambda: grouped(data, text),
            lambda: named_latents(f"latents:{text.removeprefix('latents:')}", None, 0)[0],
            lambda: ul.open_data(text),
            lambda: given_value(text),
            lambda: whole_numbers(text),
            *(partial(kind.convert, text, None, None) for kind in OF_OPTIONS),
            lambda: ul.load(text) if ":" not in text.replace("bundled:", "") else None,
            lambda: read_vectors(text, scale=None),
        ):
            with suppress(*REFUSED, click.ClickException):
                try:
                    read()
                except OSError as error:  # the shell makes a sentence of it
                    if error.errno != errno.ENAMETOOLONG:
                        raise

    with watched(secret):
        check()


def test_words_of_the_command_line(annotated, secret):
    check_words(annotated, secret, 20)


@MANY
def test_thousands_of_words_of_the_command_line(annotated, secret):
    check_words(annotated, secret, 500)


def test_as_many_classes_as_a_name_says_are_not_listed(secret):
    with watched(secret):
        for name in ("latents:8,classes=0-99999999999", "latents:99999999999999", "latents:99999x99999x99999"):
            with pytest.raises(ul.UnitlensError):
                named_latents(name, None, 0)
        with pytest.raises(ul.UnitlensError, match="classes"):
            latents(8, 4, classes=10**11)
