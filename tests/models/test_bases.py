import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import unitlens as ul
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.models.bases import as_basis

HOW = {"quantile": 0.1, "exemplars": 0}


@pytest.fixture
def matrix():
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(2))


def test_directions_are_products_with_the_units(matrix):
    maps = torch.randn(2, 8, 3, 4)
    expected = np.einsum("du,nuhw->ndhw", matrix.double(), maps.double())
    assert np.allclose(as_basis(matrix).apply(maps, "layer"), expected, atol=1e-5)


@given(st.permutations(range(8)))
def test_a_basis_that_permutes_the_units_permutes_the_rows(order):
    maps = torch.randn(2, 8, 3, 3)
    assert torch.equal(as_basis(torch.eye(8)[order]).apply(maps, "layer"), maps[:, order])


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".pt", ".pth", "named.pt"])
def test_every_kind_of_file_is_the_same_basis(matrix, suffix, tmp_path):
    path = tmp_path / f"basis{suffix}"
    if suffix == ".npy":
        np.save(path, matrix.numpy().astype(np.float64))
    elif suffix == ".safetensors":
        save_file({"directions": matrix, "bias": torch.zeros(5)}, path)
    else:
        torch.save({"decoder.weight": matrix, "n": 3} if suffix == "named.pt" else matrix, path)
    basis = as_basis(path)
    assert torch.equal(basis.matrix, matrix)
    assert basis.sha256 == as_basis(matrix.numpy()).sha256
    assert basis.describe() == {"source": str(path), "sha256": basis.sha256, "shape": [5, 8]}


def test_the_hash_is_of_shape_and_values(matrix):
    hashes = {as_basis(m).sha256 for m in (matrix, matrix.T, matrix.reshape(8, 5), matrix + 1)}
    assert len(hashes) == 4


def test_a_dissection_of_a_basis_that_picks_units_is_that_of_the_units():
    plain = ul.dissect(colour_net(), "pool", ColourWorld(48), **HOW)
    d = ul.dissect(colour_net(), "pool", ColourWorld(48), basis=torch.eye(8)[[3, 0]], **HOW)
    assert np.array_equal(d.counts.intersection, plain.counts.intersection[[3, 0]])
    assert list(d.table()["concept"]) == ["yellow", "red"]
    assert d.info["settings"]["basis"]["shape"] == [2, 8]
    assert d.info["settings"]["basis"]["sha256"] == as_basis(torch.eye(8)[[3, 0]]).sha256
    assert plain.info["settings"]["basis"] is None


def test_a_basis_of_a_layer_without_a_grid():
    d = ul.dissect(colour_net(), "head", ColourWorld(128), basis=torch.ones(1, 4), **HOW)
    assert (len(d.table()), d.info["layers"]["head"]["grid"]) == (1, None)


def test_a_basis_in_the_shell(sees, world, shell, tmp_path):
    np.save(tmp_path / "basis.npy", np.eye(4)[[1, 0]])
    said = shell("dissect", *sees, "--data", world, "--basis", "basis.npy", "--quiet")
    assert said.code == 0, said.err
    run = ul.open_run("run")
    assert list(run.table()["concept"]) == ["green", "red"]
    assert (tmp_path / "run" / "report.html").is_file()
    np.save(tmp_path / "basis.npy", np.eye(3))
    said = shell("dissect", *sees, "--data", world, "--basis", "basis.npy", "--out", "other")
    assert said.code == 2
    assert said.err.endswith(
        "unitlens: The basis basis.npy has 3 rows of 3 numbers, but 0 has 4 units: a basis has a column for each unit "
        "of the layer.\n"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (torch.zeros(3), r"The basis in memory is 3; it is a matrix, with a direction in each row"),
        (torch.zeros(0, 4), r"The basis in memory is 0 x 4; it is a matrix"),
        (torch.full((1, 2), torch.nan), r"The basis in memory holds NaN or infinite numbers\."),
        (torch.eye(2).to_sparse(), r"The basis in memory is not a matrix of numbers \(sparse\)"),
        (torch.eye(2, dtype=torch.complex64), r"is not a matrix of numbers \(complex"),
        ([["a"]], r"The basis in memory is not a matrix of numbers \(.*\)\."),
        ("basi.npy", r"There is no file basi\.npy \(did you mean basis\.npy\?\); a basis is a \.npy, \.safetensors"),
        ("basis.csv", r"basis\.csv is not a basis: its name should end in one of \.npy, \.safetensors, \.pt, \.pth\."),
        ("objects.npy", r"objects\.npy cannot be read as a matrix \(.*\); files that hold Python objects are left"),
        ("objects.pt", r"objects\.pt cannot be read as a matrix \(.*\); files that hold Python objects are left"),
        (
            "two.safetensors",
            r"two\.safetensors holds 2 matrices: a, b; save the one .* by itself, or, .*give ul\.features\(file\)\.",
        ),
        ("none.safetensors", r"none\.safetensors holds 0 matrices; save the one that is meant by itself\."),
    ],
)
def test_sentences(given, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("basis.npy", np.eye(2))
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    torch.save(ColourWorld(1), "objects.pt")
    save_file({"a": torch.zeros(1, 2), "b": torch.zeros(1, 2)}, "two.safetensors")
    save_file({"a": torch.zeros(1)}, "none.safetensors")
    (tmp_path / "basis.csv").write_text("1,2\n")
    with pytest.raises(ul.UnitlensError, match=sentence):
        as_basis(given)
