"""Generators on the command line: latents that are drawn, or given in a file, with or without masks."""

import json
import shutil

import numpy as np
import pytest

import unitlens as ul
from tests.faults.changed_runs import VALUES
from tests.worlds.generators import Squares, painted, painter

MODEL = ("tests.worlds.generators:Painter", "--latent-shape", "20")
HOW = ("--layer", "layer", "--workers", 0, "--quiet")


def run_json(folder):
    return json.loads((folder / "run.json").read_text())


def test_latents_are_drawn_and_the_run_knows_how(shell, tmp_path):
    said = shell("dissect", *MODEL, "--latents", 60, "--concepts", "colors", *HOW, "--out", "run", "--seed", 3)
    assert said.code == 0, said.err
    info = run_json(tmp_path / "run")
    assert info["network"]["latents"] == {"shape": [20], "output_range": [-1.0, 1.0], "classes": None}
    assert info["data"]["source"] == "latents:20,seed=3"
    assert info["data"]["opened"] == {"concepts": ["colors"]}
    assert info["data"]["images"] == 60
    concepts = ul.open_run(tmp_path / "run").table().set_index("unit")["concept"]
    assert concepts[:4].tolist() == ["red", "green", "blue", "yellow"]
    for command in (("audit", "run", "--trust", "--workers", 0, "--noise", 0), ("units", "run"), ("report", "run")):
        assert shell(*command).code == 0
    said = shell("audit", "run", "--workers", 0)
    assert (said.code, "--network tests.worlds.generators:Painter" in said.err) == (2, True)


def test_latents_of_a_file_with_and_without_masks(shell, tmp_path):
    data = painted(60)
    array = np.stack([data[index].image for index in range(60)])
    np.save(tmp_path / "z.npy", array)
    said = shell("dissect", *MODEL, "--latents", "z.npy", "--concepts", "colors", *HOW, "--out", "plain")
    assert said.code == 0, said.err
    assert run_json(tmp_path / "plain")["data"]["source"] == "latents:z.npy"
    write_drawn(tmp_path / "photos", array)
    said = shell("dissect", *MODEL, "--latents", "z.npy", "--data", "photos", *HOW, "--out", "masks")
    assert said.code == 0, said.err
    info = run_json(tmp_path / "masks")
    assert (info["data"]["source"], info["data"]["opened"]) == ("photos", {"latents": "z.npy"})
    assert ul.open_run(tmp_path / "masks").table()["concept"][:4].tolist() == ["red", "green", "blue", "yellow"]
    said = shell("audit", "masks", "--trust", "--workers", 0, "--noise", 0)
    assert said.code == 0
    assert "half quantile" in said.out


def write_drawn(folder, latents):
    """An annotated folder of what the painter draws."""
    import torch
    from PIL import Image

    net = painter()
    inputs = torch.from_numpy(latents)
    with ul.evaluating(net.model):
        images = net.images(inputs, net.model(net.prepare(inputs))).permute(0, 2, 3, 1).numpy()
    (folder / "images").mkdir(parents=True)
    (folder / "labels" / "color").mkdir(parents=True)
    rows = [",".join(map(str, concept)) for concept in Squares.concepts]
    (folder / "concepts.csv").write_text("\n".join(["category,label,name", *rows]) + "\n")
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{number:03}.png")
        labels = Squares().planes(image, "")["color"][0]
        Image.fromarray(labels).save(folder / "labels" / "color" / f"{number:03}.png")


def test_the_bundled_generator_is_dissected_and_opened_again_with_nothing_else_said(shell, tmp_path):
    how = ("--latents", 40, "--workers", 0, "--no-evidence", "--exemplars", 0, "--quiet")
    said = shell("dissect", "bundled:scenes-generator", *how, "--out", "run")
    assert said.code == 0, said.err
    info = run_json(tmp_path / "run")
    assert info["data"]["opened"] == {"concepts": ["bundled:scenes-segmenter"]}
    assert set(info["data"]["categories"]) == {"object", "part", "material"}
    said = shell("audit", "run", "--workers", 0, "--noise", 0, "--quiet")  # without --trust: all of it is bundled
    assert said.code == 0, said.err


def test_layers_and_plan_of_a_generator(shell):
    said = shell("layers", *MODEL)
    assert said.code == 0, said.err
    assert "16x16" in said.out
    said = shell("plan", *MODEL, "--layer", "layer", "--concepts", "colors", "--workers", 0)
    assert said.code == 0, said.err
    assert "1000, each shown" in said.out


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("dissect", *MODEL, *HOW), ("Nothing says what is drawn", "--concepts colors")),
        (("dissect", *MODEL, "--latents", "0", "--concepts", "colors", *HOW), ("0 latents",)),
        (("dissect", *MODEL, "--latents", "no.npy", "--concepts", "colors", *HOW), ("no file no.npy",)),
        (("dissect", *MODEL, "--latents", "z.pt", "--concepts", "colors", *HOW), (".npy or .safetensors",)),
        (("dissect", *MODEL, "--latents", "10", "--data", "bundled:scenes", *HOW), ("--data", "--latents FILE.npy")),
        (("dissect", *MODEL, "--data", "bundled:scenes", *HOW), ("given images", "--latents 1000")),
        (
            ("dissect", MODEL[0], "--latent-shape", "3", *HOW),
            ("latents of 3", "--latent-shape"),
        ),
        (("dissect", MODEL[0], "--latent-shape", "a", *HOW), ("100,1,1",)),
        (("dissect", *MODEL, "--rescale", "1", *HOW), ("-1,1",)),
        (("dissect", *MODEL, "--rescale", "1,-1", *HOW), ("--rescale", "from 1 to -1")),
        (("dissect", *MODEL, "--mean", "0", *HOW), ("--mean",)),
        (("dissect", "bundled:scenes", "--latents", "10", *HOW), ("--latents is for generators", "--latent-shape")),
        (("dissect", "bundled:scenes", "--rescale", "0,1", *HOW), ("--rescale", "--latent-shape")),
        (("check", "latents:20"), ("no images",)),
        (("ablate", *MODEL, "--layer", "layer", "--units", "1", "--concepts", "colors"), ("class",)),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_what_is_wrong_with_a_generator_is_said_in_one_line(shell, arguments, facts):
    said = shell(*arguments)
    assert said.code == 2, said
    assert all(fact in said.err for fact in facts), said.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of a generator that knows how it was made."""
    net = ul.load(MODEL[0], latents=20, rescale=(-1, 1))
    data = ul.with_concepts(ul.latents(20, 24), Squares())
    run = ul.dissect(net, "layer", data, quantile=0.05, exemplars=0)
    folder = tmp_path_factory.mktemp("generator") / "run"
    run.info["data"] |= {"source": "latents:20,seed=0", "opened": {"concepts": ["colors"]}}
    ul.report(folder, run)
    return folder, net, data


SOURCES = (
    "latents:20,seed=0",
    "latents:9",
    "latents:9999999999x9",
    "latents:20,seed=-3",
    "latents:20,classes=9-1",
    "x",
)


def change(folder, changed, number):
    """A copy of a run in whose record of network or data something is another."""
    random = np.random.default_rng(number)
    shutil.rmtree(changed, ignore_errors=True)
    shutil.copytree(folder, changed)
    info = run_json(changed)
    part = (info["network"]["latents"], info["network"]["preprocessing"], info["data"]["opened"])[random.integers(3)]
    if random.random() < 0.3:
        info["data"]["source"] = SOURCES[random.integers(len(SOURCES))]
    elif part and random.random() < 0.9:
        part[list(part)[random.integers(len(part))]] = VALUES[random.integers(len(VALUES))]
    else:
        part["latents"] = VALUES[random.integers(len(VALUES))]
    (changed / "run.json").write_text(json.dumps(info))
    return changed


def use(whole, changed, number):
    """Audit a changed run, with its network and images opened again or given; whether that is done."""
    folder, net, data = whole
    given = {"trust": True} if number % 2 else {"net": net, "data": data}
    try:
        audited = ul.audit(change(folder, changed, number), noise=0, **given)
    except ul.UnitlensError:
        return False
    return audited.overlaps is not None


def test_a_changed_run_of_a_generator_is_refused_or_of_no_harm(whole, tmp_path):
    done = [use(whole, tmp_path / "changed", number) for number in range(10)]
    assert not all(done)


@pytest.mark.slow
def test_hundreds_of_changed_runs_of_generators_end_in_no_other_error(whole, tmp_path):
    done = [use(whole, tmp_path / "changed", number) for number in range(100, 400)]
    assert 0 < sum(done) < 300
