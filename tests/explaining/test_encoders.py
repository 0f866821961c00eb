"""What is explained of classes that an encoder is given is what is explained of the network with these classes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

import unitlens as ul
from tests.cli.test_ablate import name_classes
from tests.worlds.coloured import blocks, write_world
from unitlens.explaining.exploring.explorer import Explorer

VECTORS = {"red": torch.tensor([1.0, 0.1, 0.0]), "other": torch.tensor([0.1, 1.0, 0.8])}


@pytest.fixture(scope="module")
def encoder(net_file):
    return ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def classed(tmp_path_factory):
    return name_classes(write_world(tmp_path_factory.mktemp("classed") / "world", images=24))


def numbers(table):
    return table.select_dtypes("number").to_numpy(float)


def test_neighbours_vote_as_in_dinos_paper(encoder, classed):
    data, k, temperature = ul.open_data(classed), 5, 0.07
    net = ul.nearest_neighbours(encoder, data, k=k, batch_size=7)
    own = {number: number for number in range(len(data))}
    images = torch.stack([torch.from_numpy(data[index].image.copy()).permute(2, 0, 1) for index in range(len(data))])
    new = torch.stack([torch.from_numpy(blocks(seed)[0].copy()).permute(2, 0, 1) for seed in range(400, 406)])
    with ul.evaluating(net.model):
        shown = torch.cat([images, new])  # an image that is among those that vote has no vote on itself
        bank, seen = (normalize(encoder.model(encoder.prepare(each)).double(), dim=1) for each in (images, shown))
        logits = net.model(net.prepare(shown))
    for number, (vector, said) in enumerate(zip(seen, logits, strict=True)):
        votes = dict.fromkeys(net.classes, 0.0)
        others = [index for index in range(len(data)) if index != own.get(number)]
        for index in sorted(others, key=lambda index: -float(bank[index] @ vector))[:k]:
            votes[data[index].class_] += float(torch.exp(bank[index] @ vector / temperature))
        shares = np.array(list(votes.values())) / sum(votes.values())
        np.testing.assert_allclose(said.softmax(0), shares, atol=1e-5)
    assert bool(logits.isfinite().all())


def test_a_copy_of_an_image_has_no_vote_and_a_changed_one_does(encoder):
    same, others = blocks(1)[0], [blocks(seed)[0] for seed in range(2, 6)]
    examples = [
        ul.Example(image, {}, str(n), class_=str(n % 2)) for n, image in enumerate([same, same.copy(), *others])
    ]
    net = ul.nearest_neighbours(encoder, Listed(examples), k=1)
    changed = same.copy()
    changed[0, 0, 0] ^= 1
    shown = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in (same, changed)])
    with ul.evaluating(net.model):
        nearest = net.model(net.prepare(shown)).double()
    assert nearest[0].max() < nearest[1].max() == pytest.approx(0, abs=1e-4)  # a cosine of 1


class Listed:
    concepts = ()

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


@pytest.mark.parametrize("fast", [False, True, "bfloat16"])
def test_a_sweep_through_neighbours_is_replayed(encoder, classed, fast):
    net = ul.nearest_neighbours(encoder, classed, k=3)
    assert net.default_layer is None or net.default_layer.startswith("encoder.")
    effects = ul.importance(net, "encoder.0", ul.open_data(classed), measures=["recall"], fast=fast)
    assert effects.info["replay"]["replays"], effects.info["replay"]["reason"]
    if fast:  # the images are recognised by what the fast copy is given, too
        assert effects.info["replay"]["fast"]["output"] < 0.1


def test_what_is_wrong_with_neighbours_is_said(encoder, classed):
    for options, facts in (
        ({"k": 0}, "k is 0; it is a whole number from 1"),
        ({"k": 25}, "25 neighbours are to vote, and 24 images with a class are there"),
        ({"temperature": 0}, r"temperature is 0; it is a number from 0\.005"),
    ):
        with pytest.raises(ul.UnitlensError, match=facts):
            ul.nearest_neighbours(encoder, classed, **options)
    with pytest.raises(ul.UnitlensError, match="The images are of 0 classes, and neighbours vote for one of several"):
        ul.nearest_neighbours(encoder, [blocks(1)[0]], k=1)


@pytest.fixture(scope="module")
def both(encoder, dissection):
    """The encoder with classes, and a dissection of it."""
    net = ul.zero_shot(encoder, VECTORS)
    return net, ul.dissect(net, "encoder.0", ul.open_data(dissection.info["data"]["source"]), quantile=0.15)


class Called:
    """Coloured images that are said to be of one class or the other."""

    concepts = ()
    classes = ("other", "red")

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return ul.Example(blocks(200 + index)[0], {}, f"{index:02}.png", self.classes[index % 2])


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
def test_the_dissection_of_the_encoder_will_do(dissection, both):
    net, of_classes = both
    image = blocks(7)[0]
    one, other = ul.explain(net, dissection, image, layer="0"), ul.explain(net, of_classes, image)
    assert one.layer == "0"
    assert one.classes == ("red", "other")
    np.testing.assert_allclose(numbers(one.table()), numbers(other.table()), rtol=1e-4, atol=1e-5)
    before, after = ([blocks(seed + k)[0] for k in range(12)] for seed in (100, 200))
    one, other = (
        ul.compare_images(net, d, before, after, layer=layer) for d, layer in ((dissection, "0"), (of_classes, None))
    )
    np.testing.assert_allclose(numbers(one.table()), numbers(other.table()), rtol=1e-4, atol=1e-5)
    one, other = (ul.confusions(net, d, Called(), layer=layer) for d, layer in ((dissection, "0"), (of_classes, None)))
    assert one.errors > 0
    np.testing.assert_allclose(numbers(one.table()), numbers(other.table()), rtol=1e-4, atol=1e-5)
    attacked = ul.attack(net, dissection, Called(), "red", layer="0", steps=1)
    assert attacked.target is None
    explorer = Explorer(net, dissection, Called(), "0")
    switched = explorer.view(1).with_edits([explorer.edit([0, 2], "off")])
    inputs = net.prepare(torch.from_numpy(Called()[1].image.copy()).permute(2, 0, 1)[None])
    with ul.evaluating(net.model), ul.intervening(net, ul.Intervention("encoder.0", [0, 2])):
        np.testing.assert_allclose(switched, net.model(inputs)[0], atol=1e-4)


def test_another_networks_dissection_will_not(dissection, encoder):
    torch.manual_seed(9)
    other = torch.nn.Sequential(*(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()))
    net = ul.zero_shot(ul.classifier(other, image_size=32, mean=(0, 0, 0), std=(1, 1, 1)), torch.eye(4))
    with pytest.raises(ul.UnitlensError, match="other weights than this network has"):
        ul.explain(net, dissection, blocks(7)[0], layer="0")


def test_classes_are_given_in_the_shell(shell, run_folder, classed, tmp_path):
    save_file(VECTORS, tmp_path / "classes.safetensors")
    network = json.loads((run_folder / "run.json").read_text())["network"]["name"]
    how = ("--network", network, "--layer", "0", "--workers", 0, "--quiet")
    said = shell("explain", run_folder, *how, "--limit", 2, "--zero-shot", "classes.safetensors", "--out", "why")
    assert said.code == 0, said.err
    assert set(np.genfromtxt("why/explanation.csv", str, delimiter=",", skip_header=1)[:, 1]) <= set(VECTORS)
    classes = ("--data", classed, "--neighbours", classed, "--nearest", 3)
    said = shell("attack", run_folder, *how, *classes, "--from", "red", "--steps", 1, "--out", "hit")
    assert said.code == 0, said.err
    said = shell("explain", run_folder, *how, "--centroids", classed, "--neighbours", classed)
    assert "--centroids and --neighbours both give classes: give one of the two" in said.err
    said = shell("explain", run_folder, *how, "--nearest", 3)
    assert "--nearest is the number of neighbours: give their images with --neighbours" in said.err
    said = shell("explain", run_folder, *how, "--neighbours", classed, "--nearest", 99)
    assert "99 neighbours are to vote, and 24 images" in said.err
    assert "a smaller number (--nearest)" in said.err
