import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.data.readers import layouts
from tests.worlds.coloured import COLOURS, blocks
from unitlens.data.concepts import ConceptSource
from unitlens.data.readers.formats import images_only
from unitlens.data.segmentation.accuracy import segmenter_iou
from unitlens.data.segmentation.segmenters import Segmenter, segmenter
from unitlens.data.segmentation.segments import read_labels, scaled, table_of, to_segments
from unitlens.data.sources import with_concepts

NAMES = [None, "red", "green", "blue"]


class Nearest(nn.Module):
    """Scores by the color of a pixel; counts its calls."""

    def __init__(self, sharpness=50.0):
        super().__init__()
        self.colours = nn.Parameter(torch.from_numpy(COLOURS / 255).float())
        self.sharpness = nn.Parameter(torch.tensor(sharpness))
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        assert not self.training
        brightest = images.amax(1, keepdim=True).clamp(min=0.01)
        distance = (images / brightest)[:, None] - (self.colours / self.colours.amax(1, keepdim=True))[:, :, None, None]
        return {"out": -self.sharpness * distance.square().sum(2)}


def photos(root, count=3):
    for seed in range(count):
        layouts.save_png(root / f"{seed}.png", blocks(seed)[0])
    return images_only(root)


def make(model=None, **options):
    return segmenter(Nearest() if model is None else model, **{"labels": NAMES, "cache": None} | options)


def test_a_network_marks_what_it_sees():
    source = make(category="color")
    assert isinstance(source, ConceptSource)
    assert [tuple(c) for c in source.concepts] == [("color", 2, "red"), ("color", 3, "green"), ("color", 4, "blue")]
    image, truth = blocks(0)
    assert np.array_equal(source.planes(image, "name")["color"][0], np.where(truth > 0, truth + 1, 0))


def test_a_dissection_by_a_segmenter(tmp_path, net):
    data = with_concepts(photos(tmp_path), make())
    table = ul.dissect(net, "0", data, quantile=0.15, evidence=False, exemplars=0).table()
    assert table["concept"][:3].tolist() == ["red", "green", "blue"]
    assert table["category"][:3].tolist() == ["object"] * 3


def test_how_good_it_is_may_be_said_by_the_names_of_its_concepts():
    name = make().concepts[0].name
    source = make(ious={name: 0.75}, category="thing")
    assert source.ious == {("thing", name): 0.75}
    with pytest.raises(ul.UnitlensError, match="ious has 'unicorn', which is no concept of"):
        make(ious={"unicorn": 0.5})


def test_how_good_it_is_may_stand_in_a_file(tmp_path):
    path = tmp_path / "ious.csv"
    path.write_text("category,concept,iou\nthing,red,0.75\nthing,green,\nother,blue,0.5\nthing,red,0.75\n")
    assert make(ious=path, category="thing").ious == {("thing", "red"): 0.75}
    path.write_text("concept,iou\nblue,0.5\n")
    assert make(ious=path, category="thing").ious == {("thing", "blue"): 0.5}


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("concept,iou\nred,1.5\n", "line 2: '1.5' is not an IoU, which is a number from 0 to 1"),
        ("concept,iou\nred,good\n", "'good' is not an IoU"),
        ("concept,iou\nred,nan\n", "'nan' is not an IoU"),
        ("concept,iou\nred,0.5\nred,0.6\n", "line 3: the iou of red is 0.6, before it was 0.5"),
        ("concept,iou\nunicorn,0.5\n", "ious has 'unicorn', which is no concept of"),
        ("concept,accuracy\nred,0.5\n", "has no column iou"),
        ("category,concept,iou\npart,red,0.5\n", "no IoU with a concept of the category object"),
    ],
)
def test_a_file_that_says_no_ious_is_refused(content, fact, tmp_path):
    (tmp_path / "ious.csv").write_text(content)
    with pytest.raises(ul.UnitlensError, match=fact):
        make(ious=tmp_path / "ious.csv")


def test_fingerprints_are_of_weights_and_settings():
    assert make().fingerprint == make().fingerprint != make(Nearest(sharpness=49.0), confidence=0.5).fingerprint


@pytest.mark.parametrize("kind", ["scores", "classes", "array", "network"])
def test_any_callable_is_a_segmenter(kind):
    image, truth = blocks(0)
    nearest = Nearest()
    models = {
        "scores": lambda images: nearest.eval()(images)["out"],
        "classes": lambda images: nearest.eval()(images)["out"].argmax(1),
        "array": lambda images: nearest.eval()(images)["out"].argmax(1).numpy().astype(np.uint8),
        "network": ul.classifier(nearest, image_size=32, mean=(0, 0, 0), std=(1, 1, 1)),
    }
    source = make(models[kind], labels={1: "red", 2: "green", 3: "blue"})
    assert np.array_equal(source.planes(image, "")["object"][0] > 0, truth > 0)


def test_negative_classes_are_not_judged():
    source = make(lambda images: torch.tensor([[[-1, 0], [1, 9]]]))
    assert source.planes(blocks(0)[0], "")["object"][0].tolist() == [[65535, 0], [2, 0]]


def test_below_the_confidence_nothing_is_judged():
    scores = torch.tensor([[[[0.0, 3.0]], [[0.0, 0.0]], [[0.1, 0.0]]]])
    source = make(lambda images: scores, labels=["a", "b", "c"], confidence=0.5)
    assert source.planes(blocks(0)[0], "")["object"][0].tolist() == [[65535, 1]]
    with pytest.raises(ul.UnitlensError, match="gives classes without scores, so that they have no confidence"):
        make(lambda images: torch.ones(1, 2, 2, dtype=torch.long), confidence=0.5).planes(blocks(0)[0], "")


def test_images_are_scaled_by_their_shorter_side():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert scaled(image, 15).shape == (1, 3, 15, 20)
    assert scaled(image.transpose(1, 0, 2), 60).shape == (1, 3, 80, 60)
    unchanged = scaled(image, None)
    assert torch.equal((unchanged[0] * 255).round().permute(1, 2, 0).to(torch.uint8), torch.from_numpy(image))
    assert scaled(image[:1], 8).shape[2:] == (8, 320)


def test_the_network_is_as_before():
    nearest = Nearest().train()
    make(nearest).planes(blocks(0)[0], "")
    assert nearest.training
    assert torch.is_grad_enabled()


def test_maps_are_kept_by_content(tmp_path):
    nearest, images = Nearest(), [blocks(seed)[0] for seed in range(2)]
    source = make(nearest, cache=tmp_path)
    first = [source.planes(image, "one name")["object"][0] for image in images]
    assert nearest.calls == 2
    again = [source.planes(image, "another")["object"][0] for image in images]
    assert nearest.calls == 2
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(first, again, strict=True))
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".png"}
    make(nearest, cache=tmp_path, confidence=0.3).planes(images[0], "")
    make(nearest, cache=tmp_path, size=16).planes(images[0], "")
    assert nearest.calls == 4
    with torch.no_grad():
        nearest.sharpness += 1
    make(nearest, cache=tmp_path).planes(images[0], "")
    assert nearest.calls == 5


def test_a_damaged_map_is_made_again(tmp_path):
    nearest, (image, _) = Nearest(), blocks(0)
    source = make(nearest, cache=tmp_path)
    expected = source.planes(image, "")["object"][0]
    kept = next(path for path in tmp_path.rglob("*.png"))
    kept.write_bytes(kept.read_bytes()[:50])
    assert np.array_equal(source.planes(image, "")["object"][0], expected)
    assert nearest.calls == 2
    assert np.array_equal(source.planes(image, "")["object"][0], expected)
    assert nearest.calls == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "file").write_text("")
    nearest = Nearest()
    source = make(nearest, cache=tmp_path / "file")
    for _ in range(2):
        source.planes(blocks(0)[0], "")
    assert nearest.calls == 2


def test_nothing_of_a_function_is_kept_unless_it_says_what_it_is(tmp_path):
    calls = []

    def function(images):
        calls.append(1)
        return torch.ones(1, 2, 2, dtype=torch.long)

    image = blocks(0)[0]
    for _ in range(2):
        make(function, cache=tmp_path).planes(image, "")
    assert (len(calls), list(tmp_path.iterdir())) == (2, [])
    for _ in range(2):
        make(function, cache=tmp_path, fingerprint="v1").planes(image, "")
    assert len(calls) == 3
    make(function, cache=tmp_path, fingerprint="v2").planes(image, "")
    assert len(calls) == 4


def test_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert segmenter(Nearest(), labels=NAMES).cache == tmp_path / "unitlens" / "segments"


def test_torchvision_by_name(tmp_path, net):
    source = segmenter("lraspp_mobilenet_v3_large", weights="none", size=32, cache=None)
    assert isinstance(source, Segmenter)
    assert len(source.concepts) == 20
    assert source.concepts[0] == ul.Concept("object", 2, "aeroplane")
    assert "lraspp" in repr(source)
    plane = source.planes(blocks(0)[0], "")["object"][0]
    assert (plane.shape, plane.dtype) == ((32, 32), np.uint16)
    again = segmenter("torchvision.models.segmentation:lraspp_mobilenet_v3_large", weights="none", size=32, cache=None)
    assert np.array_equal(again.planes(blocks(0)[0], "")["object"][0], plane)
    data = with_concepts(photos(tmp_path), source)
    assert len(ul.dissect(net, "0", data, quantile=0.15, evidence=False, exemplars=0).table()) == 4


def test_a_network_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import torch\ndef build():\n    return torch.nn.Conv2d(3, 2, 1)\n")
    source = segmenter(f"{path}:build", labels=["background", "thing"], cache=None)
    assert source.concepts == (ul.Concept("object", 2, "thing"),)
    assert source.planes(blocks(0)[0], "")["object"][0].shape == (32, 32)


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("resnet18", {"weights": "none"}, "resnet18 does not label pixels; of torchvision's networks these do: "),
        (
            "lraspp_mobilenet_v3_large",
            {},
            "large without weights would be untrained: ask .* weights='DEFAULT'",
        ),
        (Nearest(), {"labels": None}, "Nearest does not say what its classes are called: give labels="),
        (3, {}, "A int cannot label pixels: give a network, its name, or a function"),
        (Nearest(), {"confidence": 1.5}, "confidence is 1.5; it lies between 0 and 1"),
        (Nearest(), {"size": 0}, "size is 0; it is a number of pixels, 1 or more"),
        (Nearest(), {"labels": "red"}, "The labels in red cannot be read: No such file"),
        (Nearest(), {"labels": [None, "background"]}, "it is a name for each class"),
        (Nearest(), {"labels": ["red", "red"]}, "Two classes are called 'red'"),
        (Nearest(), {"labels": {70_000: "red"}}, "has a class of number 70000; at most 65533 can be"),
        (
            "hf:somebody/something",
            {"weights": "file.pt"},
            "lie beside its configuration: leave weights= out",
        ),
    ],
)
def test_what_is_no_segmenter(model, options, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        segmenter(model, **{"labels": NAMES, "cache": None} | options)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (torch.zeros(2, 3, 4, 4), r"a Tensor of shape \(2, 3, 4, 4\) and type torch.float32"),
        (torch.zeros(1, 4, 4), r"a Tensor of shape \(1, 4, 4\)"),
        ({"in": 3}, "a dict for an image"),
        ([1], "a list for an image"),
    ],
)
def test_strange_answers(output, told):
    with pytest.raises(ul.UnitlensError, match=f"A segmenter returned {told}"):
        to_segments(output)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.json", '["background", null, "red", "green"]'),
        ("names.json", '{"2": "red", "3": "green"}'),
        ("config.json", '{"model_type": "x", "id2label": {"0": "background", "2": "red", "3": "green"}}'),
        ("names.csv", "number,name\n3,green\n2,red\n"),
        ("names.csv", "name,colour,ID\ngreen,x,3\nred,y,2\nvoid,z,7\n"),
        ("names.txt", "background\n\nred\n green\n"),
    ],
)
def test_a_table_of_labels_is_read(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert table_of(read_labels(tmp_path / name)) == {2: "red", 3: "green"}


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "3"), ("a.json", '{"x": "y"}'), ("a.csv", "a,b\n1,2\n"), ("a.csv", "")],
)
def test_what_is_no_table_of_labels(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ul.UnitlensError, match=r"a\.\w+ is not a table of class names: give a \.json list or"):
        read_labels(tmp_path / name)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000])
def test_a_table_of_labels_that_is_no_json(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ul.UnitlensError, match=r"a\.json is not JSON that can be read"):
        read_labels(tmp_path / "a.json")


SEGMENTER = """
import pathlib
import torch

class Colours(torch.nn.Module):
    def forward(self, images):
        with open(pathlib.Path(__file__).parent / "calls", "a") as file:
            file.write(".")
        return HELPER(images)

def HELPER(images):
    return torch.cat([torch.full_like(images[:, :1], 0.55), images], 1) * 9
"""


@pytest.fixture
def own_segmenter(tmp_path):
    """A network in a file of the user's: the brightest colour, if it is bright."""
    (tmp_path / "own.py").write_text(SEGMENTER)
    (tmp_path / "names.txt").write_text("background\nred\ngreen\nblue\n")
    (tmp_path / "ious.csv").write_text("category,concept,iou\nfound,red,0.75\n")
    photos(tmp_path / "photos", count=6)
    (tmp_path / "calls").write_text("")
    return lambda: len((tmp_path / "calls").read_text())


OWN = ("--data", "photos", "--concepts", "segmenter:own.py:Colours", "--segmenter-labels", "names.txt")


def test_a_segmenter_from_the_shell(own_segmenter, shell, sees, tmp_path):
    how = (*OWN, "--segmenter-category", "found", "--segmenter-cache", "kept", "--confidence", 0.5, "--no-evidence")
    how = ("--segmenter-ious", "ious.csv", *how)
    said = shell("dissect", *sees, *how, "--out", "run")
    assert said.code == 0, said.err
    table = ul.open_run("run").table()
    assert table["concept"][:3].tolist() == ["red", "green", "blue"]
    assert set(table["category"][:3]) == {"found"}
    assert table["segmenter_iou"][:3].tolist() == pytest.approx([0.75, np.nan, np.nan], nan_ok=True)
    assert (own_segmenter(), len(list((tmp_path / "kept").rglob("*.png")))) == (6, 6)
    again = ("--network", sees[0], "--concepts", "segmenter:own.py:Colours", "--segmenter-cache", "kept")
    said = shell("audit", "run", *again, "--noise", 0, "--quiet")  # opens the same data, with what was kept
    assert (said.code, own_segmenter()) == (0, 6)
    assert "Only what the counts" not in said.err
    assert shell("dissect", *sees, *how, "--segmenter-size", 16, "--out", "again").code == 0
    assert own_segmenter() == 12
    assert shell("dissect", *sees, *how[:-3], "--out", "less", "--no-evidence").code == 0
    assert own_segmenter() == 18  # another confidence
    (tmp_path / "own.py").write_text(SEGMENTER.replace("0.55", "0.45"))
    assert shell("dissect", *sees, *how, "--out", "other").code == 0
    assert own_segmenter() == 24  # what a function in the network's file says counts
    assert shell("dissect", *sees, *how, "--segmenter-cache", "none", "--out", "none").code == 0
    assert own_segmenter() == 30


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (OWN[:4], "own.py:Colours does not say what its classes are called: give --segmenter-labels"),
        ((*OWN[:2], "--confidence", 0.3), "confidence is for a segmenter, and there is none: add --concepts seg"),
        ((*OWN, "--segmenter-size", 0), "0 is not in the range x>=1"),
        ((*OWN[:5], "none.txt"), "The labels in none.txt cannot be read: No such file or directory"),
    ],
)
def test_what_the_shell_says_of_segmenters(arguments, sentence, own_segmenter, shell, sees):
    said = shell("dissect", *sees, *arguments)
    assert said.code == 2
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_names_that_mean_nothing():
    assert table_of(["__background__", "sky", None, "N/A", "tree"]) == {1: "sky", 4: "tree"}
    assert table_of({7: "sky", -1: "ignored"}) == {7: "sky"}


class WithTruth:
    """The coloured world, with one column that nobody judged."""

    concepts = (("color", 5, "R-ed"), ("color", 6, "green"), ("color", 7, "violet"))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        image, labels = blocks(index)
        truth = np.array([0, 5, 6, 7])[labels]
        truth[:, :8] = -1
        return ul.Example(image, {"color": [truth]}, str(index))


def test_the_iou_of_a_segmenter_is_over_all_images():
    def sloppy(images):
        classes = Nearest().eval()(images)["out"].argmax(1)
        classes[:, :16] = torch.where(classes[:, :16] == 1, 2, classes[:, :16])  # calls the upper reds green
        classes[:, -8:] = -1
        return classes

    found = segmenter_iou(make(sloppy), WithTruth(), grid=32)
    assert [c.concept.name for c in found] == ["R-ed", "green"]
    truth = np.stack([blocks(seed)[1] for seed in range(4)])[:, :24, 8:]
    upper = np.arange(24)[None, :, None] < 16
    said = np.where((truth == 1) & upper, 2, truth)
    for label, one in enumerate(found, 1):
        a, b = truth == label, said == label
        assert (one.marked, one.segmented, one.both) == (a.sum(), b.sum(), (a & b).sum())
        assert one.iou == pytest.approx((a & b).sum() / (a | b).sum(), abs=1e-15)
    assert segmenter_iou(make(sloppy), WithTruth(), grid=32, limit=1)[1].marked < found[1].marked
    assert segmenter_iou(make(), WithTruth(), grid=32)[0].iou == 1
    with pytest.raises(ul.UnitlensError, match="have no concept of the same name, so nothing is measured"):
        segmenter_iou(make(labels=["a", "b"]), WithTruth())
