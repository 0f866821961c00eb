"""Each bad input gives one clear sentence, exit code 2 and no traceback, and leaves nothing behind."""

import json
import re
import tempfile
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.worlds.coloured import blocks, everything_below


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def refused(shell, world, tmp_path, temporary):
    """Run a command that has to be refused with a sentence that fits."""

    def check(pattern, *arguments, kept=False):
        before = everything_below(tmp_path)
        said = shell(*arguments)
        assert said.code == 2, said.err
        assert said.out == ""
        lines = said.err.splitlines()
        assert len(lines) == 1 + kept, said.err
        assert not kept or "the same command goes on" in lines.pop()
        assert lines[0].startswith("unitlens: ")
        assert lines[0].endswith(".")
        assert not re.search(r"\. [A-Z]|Traceback|\.\.$", lines[0]), lines[0]
        assert re.search(pattern, lines[0]), lines[0]
        left = everything_below(tmp_path) - before
        left -= {name for name in left if kept and name.startswith("out")} - {"out/run.json"}
        assert not {name for name in left if "torchinductor" not in name}  # torch's own, made when it is imported

    return check


@pytest.fixture
def dissecting(refused, sees, world):
    """The same for a dissection of the world that is right but for what is said beside it."""

    def check(pattern, *arguments, **what):
        refused(pattern, "dissect", *sees, "--data", world, "--out", "out", "--quiet", *arguments, **what)

    return check


def test_no_command_at_all_shows_the_help(shell):
    said = shell()
    assert (said.code, said.err) == (0, "")
    assert "dissect" in said.out


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["disect"], r"There is no command 'disect' \(did you mean dissect\?\); there are .*dissect.*\."),
        (["dissect"], r"Missing argument 'MODEL' \(see unitlens dissect --help\)\."),
        (["--qiet"], r"There is no option --qiet \(see unitlens --help\)\."),
        (["units"], r"Missing argument 'RUN'"),
        (["units", "nowhere"], r"nowhere holds no run \(there is no nowhere/run\.json\)"),
        (["report", "nowhere"], r"nowhere holds no run"),
        (["report", "world"], r"world holds no run"),
        (["layers", "nowhere.py:build"], r"There is no file 'nowhere\.py'"),
        (["demo", "--images", "3"], r"'--images': 3 is not in the range x>=32"),
        (["demo", "--out", "world"], r"world holds other files and no run: choose another --out\."),
        (["demo", "--out", "world/concepts.csv"], r"world/concepts\.csv is a file"),
    ],
)
def test_commands(refused, arguments, pattern):
    refused(pattern, *arguments)


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["--quantil", "0.1"], r"There is no option --quantil \(did you mean --quantile\?\)"),
        (["--quantile", "1"], r"--quantile 1\.0 must lie between 0 and 1, such as 0\.01\."),
        (["--quantile", "0"], r"--quantile 0\.0 must lie between 0 and 1"),
        (["--quantile", "nan"], r"quantile .*nan.*finite"),
        (["--quantile", "some"], r"'--quantile': 'some' is not a valid float"),
        (["--quantile", "0.0001"], r"There are only 896 positions in all, .* use more images, a finer grid"),
        (["--min-iou", "2"], r"--min-iou 2\.0 must lie between 0 and 1, such as 0\.04\."),
        (["--fdr", "0"], r"--fdr 0\.0 must lie between 0 and 1"),
        (["--grid", "0"], r"'0' is not a size such as 56 or 56x42 \(rows x columns\)"),
        (["--grid", "5x6x7"], r"'5x6x7' is not a size"),
        (["--grid", "²"], r"'²' is not a size"),
        (["--grid", "1000000"], r"14 images of 32 x 32 at a time, with labels on .*memory .*: lower --grid"),
        (["--grid", "1" + 30 * "0"], r"grid.*is not a size"),
        (["--image-size", "1000000", "--grid", "8"], r"machine's memory .*: lower --image-size or --batch-size"),
        (["--mean", "1,2"], r"--mean has 2 numbers, and the network takes 3 bands"),
        (["--bands", "1,0"], r"'1,0' is not bands such as 4,3,2"),
        (["--bands", "1,2"], r"--bands is 1,2, 2 bands, and the network takes 3"),
        (["--range", "5,5"], r"--range is 5,5; it is a lower and a higher number"),
        (["--show-bands", "1,2"], r"--show-bands is 1,2; one band is shown, in grey, or three"),
        (["--show-bands", "7"], r"--show-bands has band 7, and the network takes 3 bands"),
        (["--show-percentiles", "1,101"], r"percentiles lie between 0 and 100"),
        (["--show-range", "0,0.5", "--show-percentiles", "1,99"], r"--show-range and --show-percentiles are two ways"),
        (["--mean", "red"], r"'red' is not numbers such as 0\.485,0\.456,0\.406"),
        (["--std", "0"], r"std above 0"),
        (["--mean", "nan"], r"mean .*finite"),
        (["--resize", "16"], r"too small for a crop of 32 x 32; give a larger --resize"),
        (["--preset", "pnas"], r"There is no preset 'pnas'.*; there are unitlens, pnas2020, netdissect2017\."),
        (["--score", "io"], r"There is no score 'io' \(did you mean iou\?\)"),
        (["--tap", "after"], r"'after' is not one of 'output', 'after_inplace'"),
        (["--upsampling", "cubic"], r"'cubic' is not one of 'edges', 'zeros'"),
        (["--batch-size", "0"], r"'--batch-size': 0 is not in the range x>=1"),
        (["--workers", "-1"], r"'--workers': -1 is not in the range 0<=x<=1024"),
        (["--threads", "100000000"], r"'--threads': 100000000 is not in the range 1<=x<=1024"),
        (["--seed", "1" + 30 * "0"], r"'--seed': 10+ is not in the range 0<=x<=9223372036854775807"),
        (["--limit", "0"], r"'--limit': 0 is not in the range x>=1"),
        (["--exemplars", "-1"], r"'--exemplars': -1 is not in the range x>=0"),
        (["--seed", "-1"], r"'--seed': -1 is not in the range 0<=x<="),
        (["--store-limit", "lots"], r"'lots' is not a number of bytes such as 20GB"),
        (["--store-limit", "-1GB"], r"'-1GB' is not a number of bytes"),
        (["--store-limit", "infGB"], r"'infGB' is not a number of bytes"),
        (["--store-limit", "1kB"], r"The store needs .* more than the 1 kB allowed .*--limit.*--grid.*--store-limit"),
        (["--layer", "9"], r"There is no layer '9'.*`unitlens layers` lists"),
        (["--data", "nowhere"], r"There is no folder nowhere\."),
        (["--data", "bundled:scene"], r"There is no bundled:scene \(did you mean bundled:scenes\?\)"),
        (["--weights", "nowhere.pt"], r"There is no file of weights 'nowhere\.pt'"),
        (["--out", "world"], r"world holds other files and no run: choose another --out\."),
        (["--out", "world/concepts.csv"], r"concepts\.csv is a file; a run is written into a folder"),
    ],
)  # fmt: skip
def test_options(dissecting, arguments, pattern):
    dissecting(pattern, *arguments)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "tpu", "meta", ""])
def test_a_device_that_is_not_there(dissecting, device):
    dissecting(rf"The device '{device}' cannot be used here.*; there is cpu[^;()]{{,40}}\.$", "--device", device)


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        ("nowhere.py:build", r"There is no file 'nowhere\.py'"),
        ("{file}:bild", r"There is no 'bild' in .*net\.py \(did you mean build\?\)"),
        ("{file}:a_number", r"a_number"),
        ("torchvision.models:resnet81", r"There is no .*resnet81.*\(did you mean resnet18\?\)"),
        ("resnet81", r"There is no network 'resnet81' in torchvision \(did you mean resnet18\?\)"),
        ("no.such.package:net", r"no\.such|'no'"),
        ("bundled:scene", r"bundled:scenes"),
        ("resnet18", r"--weights"),
        ("{file}:Exiting", r"The network fails on images of 32 x 32 \(SystemExit: 3\)"),
        ("{file}:Complex", r"layer returns complex numbers, which no threshold orders: choose another layer\."),
        ("{file}:Hungry", r"14 images of 32 x 32 at a time do not fit in memory: lower --batch-size"),
    ],
)
def test_models(refused, sees, net_file, world, model, pattern):
    how = [*sees[3:], "--layer", "layer", "--data", world, "--out", "out", "--quiet"]
    refused(pattern, "dissect", model.format(file=net_file), *how)


def test_too_few_positions_are_said_after_the_first_batch(dissecting, monkeypatch):
    from unitlens.dissection import forward as observation

    monkeypatch.setattr(observation, "_add", lambda *_: pytest.fail("the pass went on"))
    dissecting(r"There are only 896 positions in all", "--quantile", "0.0001", "--batch-size", "2")


def test_no_images_are_named(refused, sees):
    refused(r"No images were named.*--data FOLDER", "dissect", *sees, "--out", "out")


def test_no_layer_is_named(refused, sees, world):
    refused(r"No layer was named", "dissect", sees[0], *sees[3:], "--data", world, "--quiet")


def test_weights_of_another_network(dissecting, tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1), torch.nn.Linear(2, 2)).state_dict(), tmp_path / "other.pt")
    dissecting(r"other\.pt.*(missing|unexpected|shape)", "--weights", "other.pt")


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize("content", [[1, 2, 3], {"epoch": 3}, Evil()])
def test_a_pickle_that_is_no_state_dict(dissecting, tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    dissecting(r"weights\.pt", "--weights", "weights.pt")


def test_text_as_weights(dissecting, tmp_path):
    for name in ("weights.pt", "weights.safetensors"):
        (tmp_path / name).write_text("no weights")
        dissecting(r"weights\.(pt|safetensors)", "--weights", name)


def test_an_existing_run_whatever_its_settings(dissecting, shell, sees, world):
    assert shell("dissect", *sees, "--data", world, "--out", "out", "--quiet").code == 0
    for settings in ((), ("--quantile", "0.2")):
        dissecting(r"out holds a run already: choose another --out, or replace it with --overwrite\.", *settings)


def test_data_without_concepts(dissecting, world):
    import shutil

    shutil.rmtree(world / "labels")
    (world / "concepts.csv").unlink()
    dissecting(r"world marks no concepts.*add labels/ and concepts\.csv \(see docs/data\.md\).*: --concepts colors")


def test_concepts_without_label_maps(dissecting, world):
    import shutil

    shutil.rmtree(world / "labels")
    dissecting(r"world marks no concepts.*add labels/ and concepts\.csv")


def spoil_rgb(world):
    Image.fromarray(blocks(1)[0]).save(world / "labels" / "color" / "01.png")


def spoil_aspect(world):
    Image.new("L", (32, 16)).save(world / "labels" / "color" / "01.png")


def spoil_stray(world):
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(world / "labels" / "color" / "01.png")


def spoil_folder(world):
    for path in (world / "images").iterdir():
        path.unlink()


def spoil_all(world):
    for path in (world / "images").iterdir():
        path.write_text("no image")


def spoil_twice(world):
    Image.fromarray(blocks(1)[0]).save(world / "images" / "01.jpg")


def spoil_missing_concepts(world):
    (world / "concepts.csv").unlink()


def spoil_double_concepts(world):
    (world / "concepts.csv").write_text("category,label,name\ncolor,1,red\ncolor,2,red\n")


def spoil_climbing(world):
    (world / "classes.csv").write_text("image,class\n../../secret.png,cat\n")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (spoil_rgb, r"The label map .*01\.png is RGB; a label map has one channel"),
        (spoil_aspect, r"The color label map of 01\.png is 32x16 \(width x height\), its image 32x32: "),
        (spoil_stray, r"The color label map of 01\.png holds the label 9, which no concept of color has: add rows to"),
        (spoil_all, r"None of the 14 images could be read"),
    ],
)  # fmt: skip
def test_images_and_maps(dissecting, world, spoil, pattern, workers):
    spoil(world)
    dissecting(pattern, "--workers", workers)


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (spoil_folder, r"images holds no image"),
        (spoil_twice, r"two images of one name, 01\.jpg and 01\.png"),
        (spoil_missing_concepts, r"has labels/ but no concepts\.csv"),
        (spoil_double_concepts, r"concepts\.csv, lines 2 and 3 both stand for 'red'"),
        (spoil_climbing, r"classes\.csv, line 2: \.\./\.\./secret\.png leads out of images/"),
    ],
)
def test_folders(dissecting, world, spoil, pattern):
    spoil(world)
    dissecting(pattern)


@pytest.mark.parametrize("name", ["01.png", "notes.txt"])
def test_what_is_no_image_is_skipped_and_named_or_with_strict_an_error(dissecting, shell, sees, world, tmp_path, name):
    (world / "images" / name).write_text("no image")
    dissecting(rf"{name} is not an image", "--strict")
    said = shell("dissect", *sees, "--data", world, "--out", "out", "--quiet")
    assert (said.code, said.out) == (0, "")
    assert re.fullmatch(rf"unitlens: 1 file.* left out.*{name}.*\n", said.err)
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [entry["image"] for entry in info["data"]["skipped"]] == [name]
    assert info["data"]["images"] == (13 if name == "01.png" else 14)
    assert sum(name in warning for warning in info["warnings"]) == 1


def test_activations_that_are_no_numbers_warn_and_are_marked(shell, sees, net_file, world, tmp_path):
    said = shell("dissect", f"{net_file}:broken", *sees[1:], "--data", world, "--out", "out", "--quiet")
    assert said.code == 0
    assert re.fullmatch(
        r"unitlens: 0 has NaN or infinite activations in 1 of 4 units \(1\), 14336 values .*\n", said.err
    )
    table = pd.read_csv(tmp_path / "out" / "units.csv")
    assert table["verdict"].tolist()[1] == "nonfinite"
    assert table["nonfinite"].tolist() == [0, 14336, 0, 0]
    assert not table["detector"][1]
    assert table["concept"].isna().tolist() == [False, True, False, True]
    text = (tmp_path / "out" / "run.json").read_text()
    noted = json.loads(text, parse_constant=pytest.fail)["warnings"]  # NaN and Infinity are no JSON
    assert sum("NaN or infinite" in warning for warning in noted) == 1


def test_a_disk_that_fills_while_looking(dissecting, monkeypatch):
    from unitlens.dissection.store import rows

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows.os, "pwrite", full)
    dissecting(
        r"The store under .* could not be written \(No space left on device\): free some disk, or choose another --out"
    )


def test_a_disk_that_fills_while_writing(dissecting, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unitlens.journal.tempfile.mkdtemp", full)
    dissecting(r"out could not be written: No space left on device\.", kept=True)


def test_an_interrupt_leaves_nothing(shell, sees, world, tmp_path, temporary, monkeypatch):
    from unitlens.dissection import forward as observation

    before, calls = everything_below(tmp_path), []

    def interrupt(*_, **__):
        calls.append(sorted(path.name for path in temporary.iterdir()))
        raise KeyboardInterrupt

    monkeypatch.setattr(observation.LayerMaps, "add", interrupt)
    said = shell("dissect", *sees, "--data", world, "--out", "out", "--quiet")
    assert said.code == 130
    assert said.err.strip() == "unitlens: stopped; nothing was written."
    assert len(calls) == 1
    assert everything_below(tmp_path) == before


def test_odd_images_are_handled(shell, sees, world, tmp_path):
    images, image = world / "images", Image.fromarray(blocks(0)[0])
    image.convert("L").save(images / "00.png")
    for number, (mode, name) in enumerate([("CMYK", "jpg"), ("RGBA", "png"), ("P", "png"), ("I;16", "png")], start=1):
        (images / f"{number:02}.png").unlink()
        odd = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else image
        (odd if mode == "I;16" else odd.convert(mode)).save(images / f"{number:02}.{name}")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(blocks(5)[0])).save(images / "05.png", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = shell("dissect", *sees, "--data", world, "--out", "out", "--quiet", "--strict", "--groups", "re:(.*)")
    assert (said.code, said.out, said.err) == (0, "", "")
