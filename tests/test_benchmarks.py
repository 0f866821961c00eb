"""Benchmarks run, at their smallest size; what they measure is in docs/generators.md and docs/speed.md."""

import sys

import pytest
import torch
from click.testing import CliRunner

from benchmarks.generators import objects, published
from benchmarks.speed import gpu, interventions
from tests.worlds.coloured import write_world

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")]

MODELS = """
import torch
from torch import nn

class Faces(nn.Module):
    def __init__(self):
        super().__init__()
        steps = [nn.ConvTranspose2d(100, 8, 4), nn.BatchNorm2d(8), nn.ReLU()]
        for _ in range(3):
            steps += [nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU()]
        self.main = nn.Sequential(*steps, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())

    def forward(self, latents):
        return self.main(latents)

def dcgan():
    torch.manual_seed(5)
    return Faces().eval()

def taef2_encoder():
    torch.manual_seed(5)
    return nn.Conv2d(3, 32, 8, stride=8).eval()

def taef2_decoder():
    torch.manual_seed(5)
    steps = [nn.Conv2d(32, 8, 1)]
    for last in (5, 10, 15, 18):
        steps += [nn.Identity()] * (last - len(steps)) + [nn.ReLU()] + [nn.Upsample(scale_factor=2)] * (last < 18)
    return nn.Sequential(*steps, nn.Conv2d(8, 3, 1), nn.Sigmoid()).eval()
"""


@pytest.fixture
def models(tmp_path):
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return str(path)


def test_objects_are_removed_and_inserted_in_the_bundled_generator(monkeypatch):
    monkeypatch.setattr(objects, "CONCEPTS", ("sky",))
    how = ("--chosen-by", "24", "--images", "16", "--places", "4", "--units", "2", "--draws", "1")
    said = CliRunner().invoke(objects.main, how, catch_exceptions=False)
    assert "of its area gone" in said.output
    assert "sky (usually" in said.output


def test_colours_are_removed_from_a_generator_of_faces(models, monkeypatch, tmp_path):
    monkeypatch.setattr(objects, "COLOURS", ("gray",))
    how = ("--chosen-by", "24", "--images", "16", "--units", "2", "--draws", "1", "--out", str(tmp_path / "sheets"))
    said = CliRunner().invoke(objects.main, (*how, "--faces", models), catch_exceptions=False)
    assert "gray: units" in said.output
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["gray.png"]


def test_what_interventions_cost_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(interventions, "DRAWS", 1)
    monkeypatch.setattr(sys, "argv", ["interventions.py", "--latents", "1", "--runs", "1"])
    interventions.main()
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["sweep", "set_beside_draws"]


def test_units_of_two_generators_are_listed(models, monkeypatch, capsys, tmp_path):
    write_world(tmp_path / "photos", images=16)
    monkeypatch.setattr(sys, "argv", ["published.py", models, str(tmp_path / "photos"), "--faces", "16"])
    published.main()
    said = capsys.readouterr().out
    assert "photos: 16 photos, drawn again at" in said
    assert all(f"layer {layer}: " in said for layer in published.DECODER)
    assert all(f"  {layer}: " in said for layer in published.FACES)
    monkeypatch.setattr(sys, "argv", ["published.py", models, "--faces", "16", "--time", "1"])
    published.main()
    assert capsys.readouterr().out.count("bare") == 4


def test_a_benchmark_of_a_gpu_runs_on_a_processor_and_says_that_there_is_no_gpu(monkeypatch, capsys):
    small = ["--network", "resnet18", "--images", "6", "--batch-size", "4", "--runs", "1", "--workers", "0"]
    monkeypatch.setenv("UNITLENS_IMAGES", "none")
    monkeypatch.setattr(sys, "argv", ["gpu.py", *small, "--device", "cpu"])
    gpu.main()
    said = capsys.readouterr().out
    assert "bound by" in said
    assert "aten::mkldnn_convolution" in said
    if not torch.cuda.is_available():
        monkeypatch.setattr(sys, "argv", ["gpu.py", *small])
        with pytest.raises(SystemExit, match=r"The device 'cuda' cannot be used here.*--device cpu"):
            gpu.main()
