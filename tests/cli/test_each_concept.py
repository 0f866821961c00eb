"""`unitlens ablate RUN --each-concept`: into the run, from which `unitlens compare` takes it."""

import json

import pytest
import torch

import unitlens as ul

DISSECT = ("dissect", "bundled:scenes", "--limit", 36, "--layer", "relu6", "--no-evidence", "--exemplars", 0, "--quiet")


def test_effects_of_concepts_stand_in_the_comparison(shell, tmp_path):
    rows = torch.randn(12, 128, generator=torch.Generator().manual_seed(1))
    ul.features({"encoder": rows, "decoder": rows / 128}, kind="topk:3").save(tmp_path / "sae.safetensors")
    assert shell(*DISSECT, "--out", "units").code == 0
    assert shell(*DISSECT, "--features", "sae.safetensors", "--out", "sae").code == 0
    compare = ("compare", "units", "sae", "--out", "compared", "--overwrite")
    assert "was not: `unitlens ablate RUN --each-concept` does" in shell(*compare).out
    for run in ("units", "sae"):
        said = shell("ablate", run, "--each-concept", "--draws", 3, "--workers", 0)
        assert said.code == 0, said.err
        assert "ablating the best unit changes the logit of an image's own class by" in said.out
        assert f"wrote {run}/concept_effects.json, from which `unitlens compare` takes it" in said.out
    said = shell(*compare)
    assert "--each-concept" not in said.out
    assert "`unitlens reconstruct RUN` does" in said.out
    page = (tmp_path / "compared" / "compare.html").read_text()
    assert "beyond random" in page
    assert "variance held" not in page
    (record,) = json.loads((tmp_path / "units" / "concept_effects.json").read_text())
    assert record["draws"] == 3
    again = shell("ablate", "units", "--each-concept", "--top", 2, "--workers", 0)
    assert again.code == 2
    assert "now they would be of 2, set to 0: replace them with --overwrite" in again.err


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (("bundled:scenes", "--each-concept"), "bundled:scenes is no run: `unitlens dissect` makes one"),
        (("run", "--each-concept", "--sweep"), "leave --sweep out"),
        (("run", "--each-concept", "--class", "red"), "leave --class out"),
        (("run", "--each-concept", "--measure", "recall"), "leave --measure out"),
        (("run", "--each-concept", "--keep-only", 3), "leave --keep-only out"),
        (("run", "--each-concept", "--keep-only", 0), "leave --keep-only out"),
        (("run", "--each-concept", "--groups", "sequence:2"), "leave --groups out, or dissect with these groups"),
        (("run", "--each-concept", "--neighbours", "folder"), "leave --neighbours out"),
        (("run", "--each-concept", "--out", "there"), "leave --out out"),
    ],
)
def test_what_does_not_go_with_each_concept(shell, run_folder, tmp_path, given, facts):
    (tmp_path / "run").symlink_to(run_folder)
    said = shell("ablate", *given)
    assert said.code == 2
    assert facts in said.err
