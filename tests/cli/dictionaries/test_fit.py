"""`unitlens fit`: a dictionary of a run, or of a network and images, for `unitlens dissect --features`."""

import pytest

import unitlens as ul

DISSECT = ("dissect", "bundled:scenes", "--limit", 36, "--no-evidence", "--exemplars", 0, "--workers", 0, "--quiet")
FIT = ("--method", "topk:2", "--count", 6, "--steps", 3, "--positions", 500, "--workers", 0)


def test_a_dictionary_is_fitted_and_dissected(shell, tmp_path):
    assert shell(*DISSECT, "--layer", "relu6", "--keep-activations", "--out", "kept").code == 0
    said = shell("fit", "kept", *FIT)
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "6 features of relu6, topk:2",
        "wrote features.safetensors, for `unitlens dissect --features features.safetensors`",
    ]
    assert "pass" not in said.err
    found = ul.features(tmp_path / "features.safetensors")
    others = shell(
        "fit", "bundled:scenes", "--layer", "relu6", "--limit", 8, "--seed", 1, "--out", "b.safetensors", *FIT
    )
    assert others.code == 0, others.err
    assert found.fitted_to == ul.features(tmp_path / "b.safetensors").fitted_to
    assert found.sha256 != ul.features(tmp_path / "b.safetensors").sha256
    assert shell(*DISSECT, "--layer", "relu6", "--features", "features.safetensors", "--out", "sae").code == 0
    assert len(ul.open_run(tmp_path / "sae").table()) == 6
    shown = shell("fit", "kept", *FIT, "--data", "bundled:scenes", "--limit", 8, "--seed", 1, "--out", "c.safetensors")
    assert shown.code == 0, shown.err
    assert ul.features(tmp_path / "c.safetensors").sha256 == ul.features(tmp_path / "b.safetensors").sha256
    assert shell(*DISSECT, "--layer", "relu6", "--out", "plain", "--again").code == 0
    told = shell("fit", "plain", *FIT, "--out", "d.safetensors")
    assert "the run did not keep its activations: one more pass over its images" in told.err
    assert ul.features(tmp_path / "d.safetensors").sha256 == found.sha256
    refused = shell("fit", "sae", *FIT, "--overwrite")
    assert refused.code == 2
    assert "The units of the run sae are features of a dictionary" in refused.err


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (("bundled:scenes",), "there.safetensors is there already: give another --out, or --overwrite to replace it"),
        (("bundled:scenes", "--out", "f.npy"), "f.npy is not a name for a dictionary: it should end in .safetensors"),
        (("run", "--overwrite"), "run was not reopened, because that would import and call"),
        (("run", "--mean", "0.5", "--overwrite"), "leave --mean out"),
        (("bundled:scenes", "--method", "nfm", "--overwrite"), "--method nfm is not known (did you mean nmf?)"),
    ],
)
def test_sentences(shell, run_folder, tmp_path, given, facts):
    (tmp_path / "run").symlink_to(run_folder)
    (tmp_path / "there.safetensors").write_bytes(b"")
    said = shell("fit", *FIT, "--out", "there.safetensors", "--limit", 4, *given)
    assert facts in said.err


def test_a_file_that_is_no_answer_is_refused_before_anything_is_opened(shell, tmp_path, monkeypatch):
    monkeypatch.setattr("unitlens.cli.dictionaries.fit.begin", None)
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file.safetensors").write_bytes(b"")
    for answers in ("none", ""):
        monkeypatch.setenv("UNITLENS_ANSWERS", answers)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        for name in ("folder.safetensors", "file.safetensors"):
            said = shell("fit", "bundled:scenes", "--out", name)
            assert (said.code, f"{name} is there already: give another --out" in said.err) == (2, True), said.err
