"""Recipes, tags, words, names of classes, dictionaries and options from strangers: read, or refused in a sentence."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.app.pages import mask
from tests.data.readers.broken_layouts import change_csv, change_json, change_lines
from tests.faults.hostile import CODINGS, MANY, REFUSED, seeds, spoiled, watched, write_outside
from tests.worlds.generators import BACKDROP, painter
from unitlens.ablation.replay.edits import UnitEdit
from unitlens.cli.entry import cli
from unitlens.cli.shell.config import read_config
from unitlens.data.concepts import Concept
from unitlens.data.segmentation.segments import read_ious, read_labels, table_of
from unitlens.data.tags import tags
from unitlens.labels.by_words.lists import word_list

STEP = 100

STRUCTURED = {
    ".json": change_json,
    ".csv": change_csv,
    ".txt": change_lines,
    ".yaml": change_lines,
    ".toml": change_lines,
}


def broken(content, suffix, rng):
    """What a file holds with something wrong in its structure, or in its bytes."""
    if suffix in STRUCTURED and rng.random() < 0.6:
        with suppress(ValueError, LookupError, RecursionError):  # a list that an earlier change has broken
            return STRUCTURED[suffix](content, rng)
    return spoiled(content, rng) if content else content


@pytest.fixture(scope="module")
def net():
    return painter(8)


@pytest.fixture
def secret(tmp_path):
    return write_outside(tmp_path)


def recipe_of(net):
    somewhere = mask((2, 2), (2, 3))
    edits = [UnitEdit.at("layer", [0, 4], [1.0, 0.5], somewhere), UnitEdit.at("layer", [3], [0.0], strength=0.3)]
    return ul.EditRecipe.of(net, np.linspace(-1, 1, 8 + BACKDROP), edits).to_json().encode()


def draw_recipe(path, net):
    ul.open_recipe(path).draw(net)


TAGS = b"image,tag,category\n00.png,beach,scene\n00.png,warm,mood\n01.png,forest,\n"


def read_tags(path, net):
    tagged = tags(path)
    tagged.planes(np.zeros((4, 4, 3), np.uint8), "00.png")
    list(tagged.findings(["00.png", "01.png"]))


IOUS = b"concept,iou,category\ntree,0.71,object\nsky,0.9,object\nred,,color\n"

NAMES = {
    ".json": json.dumps({"id2label": {"0": "background", "1": "tree", "2": "sky"}}).encode(),
    ".csv": b"number,name\n0,background\n1,tree\n2,sky\n",
    ".txt": b"background\ntree\n\nsky\n",
}


def read_names(path, net):
    table_of(read_labels(path))


WORDS = "# words\ntree\nred car\nSk\u00fd\n".encode()


def read_words(path, net):
    word_list(path, [Concept("object", 1, "tree")])


OPTIONS = {
    ".yaml": b"quantile: 0.005\nlayer: [layer3, layer4]\nevidence: false\ngrid: 28x28\n",
    ".toml": b'quantile = 0.005\nlayer = ["layer3", "layer4"]\nevidence = false\nlimit = 12\n',
    ".json": b'{"quantile": 0.005, "layer": ["layer3", "layer4"], "evidence": false, "limit": 12}',
}


def read_options(path, net):
    read_config(path, cli.get_command(None, "dissect"))


ARRAYS = {name: np.eye(4, 6, dtype=np.float32) for name in ("encoder", "decoder")} | {"bias": np.zeros(4, np.float32)}


def read_dictionary(path, net):
    ul.features(path)


def saved_dictionary(folder):
    """One that `ul.fit_features` could have made."""
    dictionary = ul.features(ARRAYS, kind="topk:2")
    return dictionary.save(folder / "dictionary.safetensors").read_bytes()


def torch_dictionary():
    """A dictionary behind its settings, as saev writes it."""
    import io

    torch.save({"W_enc": torch.eye(6, 4), "W_dec": torch.eye(4, 6), "b_enc": torch.zeros(4)}, file := io.BytesIO())
    return b'{"d_sae": 4, "activation": {"top_k": 2}}\n' + file.getvalue()


def files(net, folder):
    """Each kind of file: its ending, something sound that it may hold, and who reads it."""
    return {
        "recipe": (".json", recipe_of(net), draw_recipe),
        "tags": (".csv", TAGS, read_tags),
        "ious": (".csv", IOUS, lambda path, net: read_ious(path, "object")),
        "words": (".txt", WORDS, read_words),
        "dictionary": (".safetensors", saved_dictionary(folder), read_dictionary),
        "dictionary of saev": (".pt", torch_dictionary(), read_dictionary),
        **{f"names in {suffix}": (suffix, content, read_names) for suffix, content in NAMES.items()},
        **{f"options in {suffix}": (suffix, content, read_options) for suffix, content in OPTIONS.items()},
    }


KINDS = [
    *("recipe", "tags", "ious", "words", "dictionary", "dictionary of saev"),
    *(f"names in {suffix}" for suffix in NAMES),
    *(f"options in {suffix}" for suffix in OPTIONS),
]


@pytest.mark.parametrize("kind", KINDS)
def test_sound_files_are_read(kind, net, tmp_path):
    suffix, content, read = files(net, tmp_path)[kind]
    (tmp_path / f"x{suffix}").write_bytes(content)
    read(tmp_path / f"x{suffix}", net)


@pytest.mark.parametrize("kind", KINDS)
@seeds(STEP, 20 * STEP, STEP)
def test_broken_files(kind, first, net, tmp_path, secret):
    suffix, content, read = files(net, tmp_path)[kind]
    path = tmp_path / f"x{suffix}"
    with watched(secret):
        for seed in range(first, first + STEP):
            rng = np.random.default_rng(seed)
            changed = broken(content, suffix, rng)
            path.write_bytes(broken(changed, suffix, rng) if seed % 2 else changed)
            with suppress(*REFUSED):
                read(path, net)


@pytest.mark.parametrize("kind", ["tags", "ious", "names in .csv", "names in .txt", "words"])
@pytest.mark.parametrize("change", CODINGS.values(), ids=CODINGS)
def test_texts_in_other_codings(kind, change, net, tmp_path, secret):
    suffix, content, read = files(net, tmp_path)[kind]
    (tmp_path / f"x{suffix}").write_bytes(change(content))
    with watched(secret), suppress(*REFUSED):
        read(tmp_path / f"x{suffix}", net)


@MANY
@pytest.mark.parametrize("kind", ["tags", "ious", "names in .csv", "names in .txt", "words"])
def test_a_million_rows(kind, net, tmp_path, secret):
    suffix, content, read = files(net, tmp_path)[kind]
    head, last = content.split(b"\n")[0], content.split(b"\n")[-2]
    rows = b"".join(last.replace(b"sky", b"%d" % n).replace(b"2,", b"%d," % n) + b"\n" for n in range(1_000_000))
    (tmp_path / f"x{suffix}").write_bytes(head + b"\n" + rows)
    with watched(secret), suppress(*REFUSED):
        read(tmp_path / f"x{suffix}", net)
