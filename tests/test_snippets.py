"""Snippets of the pages that a stranger reads first run as typed, and so does each line of docs/migrating.md."""

import re
import shlex
from pathlib import Path

import captum.attr
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import unitlens as ul
from unitlens.cli import main
from unitlens.stats.scores import SCORES

ROOT = Path(__file__).parents[1]
PHOTOS = 16
LATENTS = 40
LARGE = ("sky", "field", "tree", "sea", "wall", "floor")
"""Concepts of the photos: `unitlens check` finds nothing wrong with them."""

IMAGENET = ("seashore", "dock", "barn", "alp", "cinema", "sandbar")
"""Names of outputs of torchvision's networks, for the photos of these snippets."""


def blocks_of(path, language):
    """Fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run_blocks(path, variables):
    """Run the blocks of a page one after the other; an error says where it is."""
    for number, block in enumerate(blocks_of(path, "python"), 1):
        exec(compile(block, f"{path.name}, block {number}", "exec"), variables)
    return variables


def write_photos(root):
    """An annotated folder of drawn scenes, with classes that a network of torchvision knows."""
    scenes = ul.Scenes(PHOTOS)
    objects = [concept for concept in scenes.concepts if concept.category == "object" and concept.name in LARGE]
    (root / "images").mkdir(parents=True)
    (root / "labels" / "object").mkdir(parents=True)
    for k in range(PHOTOS):
        example = scenes[k]
        Image.fromarray(example.image).save(root / "images" / f"{k:02}.png")
        labels = example.planes["object"][0]
        labels = np.where(np.isin(labels, [concept.label for concept in objects]), labels, 0).astype(np.uint8)
        Image.fromarray(labels).save(root / "labels" / "object" / f"{k:02}.png")
    rows = [f"{concept.category},{concept.label},{concept.name}" for concept in objects]
    (root / "concepts.csv").write_text("\n".join(["category,label,name", *rows]) + "\n")
    classes = [f"{k:02}.png,{IMAGENET[k % len(IMAGENET)]}" for k in range(PHOTOS)]
    (root / "classes.csv").write_text("\n".join(["image,class", *classes]) + "\n")


class Mine(nn.Module):
    """A network of one's own."""

    def __init__(self):
        super().__init__()
        self.layer4 = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, images):
        return self.head(self.layer4(images).mean((2, 3)))


@pytest.fixture
def world(tmp_path, monkeypatch, drawing_without_a_screen):
    """A folder with photos; weights that would be fetched are fresh ones; fewer latents than the pages say."""
    write_photos(tmp_path / "photos")
    Image.fromarray(ul.Scenes(1)[0].image).save(tmp_path / "photo.jpg")
    (tmp_path / "milan.csv").write_text("unit,label\n3,tree\n17,red car\n")
    monkeypatch.chdir(tmp_path)

    def fresh(weights, *_, **__):
        torch.manual_seed(0)
        return torchvision.models.get_model(type(weights).__name__.removesuffix("_Weights").lower()).state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", fresh)
    latents = ul.latents
    monkeypatch.setattr(ul, "latents", lambda size, n=None: latents(size, n and min(n, LATENTS)))
    return tmp_path


@pytest.fixture
def drawing_without_a_screen():
    """Figures are drawn into memory, and closed."""
    import matplotlib.pyplot as plt

    before = mpl.get_backend()
    mpl.use("agg")
    yield
    plt.close("all")
    mpl.use(before)


def my_own():
    """What the pages call the reader's own: a network, and a data set of images and masks."""
    torch.manual_seed(0)
    images = [(torch.rand(3, 48, 64), torch.randint(0, 3, (48, 64))) for _ in range(16)]
    return {"my_model": Mine().eval(), "my_dataset": images, "__name__": "typed"}


@pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")
def test_page_of_data_sets_in_python(world):
    variables = run_blocks_without(ROOT / "docs" / "in_memory.md", "cuda")
    assert "2 concepts" in repr(variables["data"])
    assert variables["d"].concepts == ["road", "car"]


def run_blocks_without(path, word):
    """Run the blocks of a page, but those with a word: what a machine may lack."""
    variables = my_own()
    for number, block in enumerate(blocks_of(path, "python"), 1):
        if word not in block:
            exec(compile(block, f"{path.name}, block {number}", "exec"), variables)
    return variables


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")
@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/getting_started.md", "docs/how_to.md"])
def test_python_runs_as_it_is_typed(page, world):
    run_blocks(ROOT / page, my_own())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")
def test_additions_of_the_architecture_run(world, monkeypatch):
    monkeypatch.setitem(SCORES, "cosine", None)  # taken out again afterwards
    variables = run_blocks(ROOT / "docs" / "architecture.md", {"__name__": "typed"})
    assert variables["d"].settings.score == "cosine"
    assert variables["effects"].table()["effect"].abs().max() > 0
    assert any("tree" in name for names in variables["labels"].values() for name in names)
    trained, shuffled = (run.table()["iou"].fillna(0).median() for run in variables["runs"])
    assert shuffled < trained


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")
@pytest.mark.parametrize("page", ["README.md", "docs/getting_started.md"])
def test_commands_run_as_they_are_typed(page, world, capsys):
    lines = [line for block in blocks_of(ROOT / page, "sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("unitlens ")]
    assert len([words for words in commands if words[0] != "demo"]) >= 5
    for words in commands:
        if words[0] != "demo":  # which has tests of its own
            with pytest.raises(SystemExit) as ended:
                main(words)
            assert not ended.value.code, (words, capsys.readouterr().err)


def lines_of_others():
    """Rows of the tables of docs/migrating.md: the package, its line, ours."""
    package, found = "", []
    for line in (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            package = line.removeprefix("## ").split(" (")[0]
        elif row := re.fullmatch(r"\| `(.*)` \| `(.*)` \|", line):
            found.append((package, row[1], row[2]))
    return found


def test_every_package_has_its_lines():
    assert {package for package, _, _ in lines_of_others()} == {
        "NetDissect-Lite",
        "dissect",
        "CLIP-Dissect",
        "captum",
        "baukit",
    }


@pytest.fixture(scope="module")
def ours():
    """What docs/migrating.md begins with; rows run one after the other, as they are read."""
    return run_blocks(ROOT / "docs" / "migrating.md", {"pd": pd})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")
@pytest.mark.parametrize("package", sorted({package for package, _, _ in lines_of_others()}))
def test_lines_run_that_take_the_place_of_others(package, ours, world):
    variables = dict(ours)
    for _, _, line in (row for row in lines_of_others() if row[0] == package):
        exec(compile(line, f"docs/migrating.md: {line}", "exec"), variables)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_captum_lines_run_and_say_the_same(ours, world):
    variables = dict(ours, **{name: getattr(captum.attr, name) for name in captum.attr.__all__})
    rows = [(theirs, line) for package, theirs, line in lines_of_others() if package == "captum"]
    for theirs, _ in rows:
        exec(compile(theirs, f"docs/migrating.md: {theirs}", "exec"), variables)
    exec(rows[0][1], variables)
    assert torch.equal(variables["maps"], variables["kept"]["relu6"])
    net, x, change = variables["net"], variables["x"][:1], variables["change"]
    with torch.no_grad(), ul.evaluating(net.model), ul.intervening(net, ul.Intervention("relu6", [5])):
        without = net.model(x)[0, 0]
    with torch.no_grad(), ul.evaluating(net.model):
        before = net.model(x)[0, 0]
    torch.testing.assert_close(change[0, 5].flatten()[0], before - without)
