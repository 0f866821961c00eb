"""Dictionaries of several libraries are read from tiny files of their layouts, to what the libraries compute."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import unitlens as ul

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def top(z, k):
    kept = z.topk(k, dim=-1)
    return torch.zeros_like(z).scatter(-1, kept.indices, kept.values)


def agrees(dictionary, activations, reconstructed):
    torch.testing.assert_close(dictionary.apply(X, "layer"), activations, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        dictionary.reconstruct(dictionary.apply(X, "layer")), reconstructed, rtol=1e-4, atol=1e-5
    )


def sae_lens(**more):
    names = {"W_enc": (6, 12), "b_enc": (12,), "W_dec": (12, 6), "b_dec": (6,)}
    tensors = {name: drawn(*shape, seed=seed) for seed, (name, shape) in enumerate(names.items())}
    return tensors | {name: drawn(12, seed=9 + seed) for seed, name in enumerate(more.get("vectors", ()))}


def saved(folder, tensors, **settings):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "sae_weights.safetensors")
    save_file({"sparsity": torch.zeros(12)}, folder / "sparsity.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": 6, "d_sae": 12, "normalize_activations": "none", **settings}))
    return ul.features(folder)


def test_sae_lens_standard_subtracts_the_decoders_bias(tmp_path):
    t = sae_lens()
    a = torch.relu((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"])
    found = saved(tmp_path, t, architecture="standard", apply_b_dec_to_input=True)
    agrees(found, a, a @ t["W_dec"] + t["b_dec"])
    assert (found.kind, found.count, found.width) == ("relu", 12, 6)


def test_sae_lens_topk_with_activations_scaled_by_the_decoders_lengths(tmp_path):
    t = sae_lens()
    lengths = t["W_dec"].norm(dim=1)
    a = torch.relu(top(((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]) * lengths, 3))
    found = saved(tmp_path, t, architecture="topk", k=3, rescale_acts_by_decoder_norm=True)
    agrees(found, a, (a / lengths) @ t["W_dec"] + t["b_dec"])
    assert found.kind == "topk:3"


def test_sae_lens_jumprelu_and_gated(tmp_path):
    t = sae_lens(vectors=["threshold"])
    z = X @ t["W_enc"] + t["b_enc"]
    a = torch.relu(z) * (z > t["threshold"])
    agrees(saved(tmp_path, t, architecture="jumprelu", apply_b_dec_to_input=False), a, a @ t["W_dec"] + t["b_dec"])
    t = sae_lens(vectors=["b_gate", "r_mag", "b_mag"])
    del t["b_enc"]
    x = X - t["b_dec"]
    a = (x @ t["W_enc"] + t["b_gate"] > 0) * torch.relu(x @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"])
    agrees(saved(tmp_path, t, architecture="gated"), a, a @ t["W_dec"] + t["b_dec"])


def test_saev_has_its_settings_in_the_first_line(tmp_path):
    t = sae_lens()
    weights = io.BytesIO()
    torch.save(t, weights)
    (tmp_path / "sae.pt").write_bytes(b'{"d_vit": 6, "exp_factor": 2}\n' + weights.getvalue())
    a = torch.relu((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"])
    agrees(ul.features(tmp_path / "sae.pt"), a, a @ t["W_dec"] + t["b_dec"])


def overcomplete(**more):
    rows = drawn(12, 6)
    rows = rows / rows.norm(dim=1, keepdim=True)
    block = {"encoder.final_block.0.weight": drawn(12, 6, seed=2), "encoder.final_block.0.bias": drawn(12, seed=3)}
    return {"dictionary._weights": 1.01 * rows, "dictionary.multiplier": torch.tensor(0.3), **block, **more}, rows


def test_overcomplete_brings_rows_to_unit_length(tmp_path):
    t, rows = overcomplete()
    torch.save(t, tmp_path / "sae.pt")
    z = torch.relu(X @ t["encoder.final_block.0.weight"].T + t["encoder.final_block.0.bias"])
    decoder = rows * torch.tensor(0.3).exp()
    agrees(ul.features(tmp_path / "sae.pt", kind="relu"), z, z @ decoder)
    agrees(ul.features(tmp_path / "sae.pt", kind="topk:4"), top(z, 4), top(z, 4) @ decoder)
    agrees(ul.features(tmp_path / "sae.pt", kind="batchtopk:0.5"), z * (z > 0.5), z * (z > 0.5) @ decoder)
    torch.save({**t, "thresholds": drawn(12, seed=5)}, tmp_path / "jump.pt")
    jumped = torch.where(z < drawn(12, seed=5).exp(), 0.0, z)
    agrees(ul.features(tmp_path / "jump.pt"), jumped, jumped @ decoder)


def test_overcomplete_with_a_batch_norm_and_with_a_tied_encoder():
    norm = torch.nn.BatchNorm1d(12).eval()
    with torch.no_grad():
        for seed, tensor in enumerate((norm.weight, norm.bias, norm.running_mean, norm.running_var)):
            tensor.copy_(drawn(12, seed=20 + seed).abs() + 0.1)
    t, rows = overcomplete(**{f"encoder.final_block.1.{name}": value for name, value in norm.state_dict().items()})
    z = torch.relu(norm(X @ t["encoder.final_block.0.weight"].T + t["encoder.final_block.0.bias"])).detach()
    agrees(ul.features(t, kind="topk:4"), top(z, 4), top(z, 4) @ rows * torch.tensor(0.3).exp())
    tied = {"dictionary._weights": rows, "encoder.tied_to._weights": rows, "encoder.bias": drawn(12, seed=3)}
    z = torch.relu(X @ rows.T + drawn(12, seed=3))
    agrees(ul.features(tied, kind="relu"), z, z @ rows)


class Autoencoder(torch.nn.Module):
    def __init__(self, **biases):
        super().__init__()
        self.encoder, self.decoder = torch.nn.Linear(6, 12), torch.nn.Linear(12, 6, bias=not biases)
        for name, value in biases.items():
            self.register_buffer(name, value)


def test_plain_modules():
    module = Autoencoder()
    a = torch.relu(module.encoder(X)).detach()
    agrees(ul.features(module, kind="relu"), a, module.decoder(a).detach())
    module = Autoencoder(pre_bias=drawn(6))
    a = top(torch.relu(module.encoder(X - drawn(6))), 2).detach()
    agrees(ul.features(module, kind="topk:2"), a, (module.decoder(a) + drawn(6)).detach())
    module = Autoencoder(b_dec=drawn(6), k=torch.tensor(2), threshold=torch.tensor(-1.0))
    agrees(ul.features(module), *[each.detach() for each in _centred(module, drawn(6))])


def _centred(module, bias):
    a = top(torch.relu(module.encoder(X - bias)), 2)
    return a, module.decoder(a) + bias


def test_arrays_with_a_mean_and_a_scale():
    given = {"encoder": drawn(12, 6), "decoder": drawn(12, 6, seed=2), "bias": drawn(12, seed=3)}
    given |= {"offset": drawn(6, seed=4), "mean": drawn(6, seed=5), "scale": torch.tensor(2.0)}
    a = torch.relu((X - given["mean"]) / 2 @ given["encoder"].T + given["bias"])
    found = ul.features({name: value.numpy() for name, value in given.items()}, kind="relu")
    agrees(found, a, (a @ given["decoder"] + given["offset"]) * 2 + given["mean"])


@pytest.mark.parametrize("kind", ["relu", "topk:3", "batchtopk:0.31", "jumprelu:0.2", "linear", "nmf"])
def test_what_is_saved_is_read_as_the_same(kind, tmp_path):
    rows = drawn(12, 6).abs()
    found = ul.features({"encoder": rows, "decoder": rows}, kind=kind)
    again = ul.features(found.save(tmp_path / "d.safetensors"))
    assert (again.sha256, again.kind) == (found.sha256, found.kind)
    assert torch.equal(again.apply(X, "layer"), found.apply(X, "layer"))
    others = {ul.features({"encoder": rows, "decoder": rows}, kind=other).sha256 for other in ("relu", "topk:3", "nmf")}
    assert len(others | {found.sha256}) == (3 if kind in ("relu", "topk:3", "nmf") else 4)


def test_ambiguities_and_errors_are_sentences(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, rows = sae_lens(), drawn(12, 6)
    save_file(plain, "plain.safetensors")
    both = {"encoder": rows, "decoder": rows}
    for given, kind, sentence in [
        (
            "plain.safetensors",
            None,
            r"whether its decoder's bias is subtracted .* kind='relu,centred' or kind='relu,unc",
        ),
        ("plain.safetensors", "relu", r"kind='relu,centred' or kind='relu,uncentred'"),
        ("plain.safetensor", None, r"There is no file plain\.safetensor \(did you mean plain\.safetensors\?\)"),
        (both, None, r"does not say how its features get their activations.*kind='relu', or kind='topk:32'"),
        (both, "top:3", r"kind='top:3' is not known \(did you mean topk\?\); there are relu, topk:K"),
        (both, "topk", r"kind='topk' lacks its number"),
        (both, "topk:0", r"lacks its number"),
        (both, "relu:3", r"relu takes no number"),
        (both, "relu,center", r"behind a comma stands centred"),
        (both, "jumprelu", r"has no threshold: say it with kind='jumprelu:0\.1'"),
        ({**both, "decoder": rows.T}, "relu", r"of 12 features and 6 units, its decoder of 6 x 12"),
        ({**both, "bias": torch.zeros(5)}, "relu", r"the encoder's bias of in memory is 5, and there are 12"),
        ({**both, "biass": torch.zeros(12)}, "relu", r"holds biass \(did you mean bias\?\)"),
        ({**both, "encoder": rows * torch.nan}, "relu", r"encoder of in memory holds NaN"),
        ({**both, "scale": torch.tensor(0.0)}, "relu", r"scale of in memory is not above 0"),
        ({"decoder": rows}, "relu", r"has a decoder and no encoder"),
        ({"weight": rows}, "relu", r"holds weight, which is no dictionary that is known"),
        ({"encoder.mlp_blocks.0.weight": rows, "dictionary._weights": rows}, "relu", r"encoder with hidden layers"),
        ({"dictionary._weights": 3 * rows}, "relu", r"not of unit length: save sae\.get_dictionary\(\)"),
        (7, "relu", r"A dictionary is a file, a module, or arrays by name .* not int"),
    ]:
        with pytest.raises(ul.UnitlensError, match=sentence):
            ul.features(given, kind=kind)
    with pytest.raises(ul.UnitlensError, match=r"'matryoshka'; known are standard"):
        saved(tmp_path, plain, architecture="matryoshka")
    with pytest.raises(ul.UnitlensError, match=r"normalises activations \(layer_norm\)"):
        saved(tmp_path, plain, architecture="standard", normalize_activations="layer_norm")


NORM = "encoder.final_block.1"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"encoder": np.array(["a", "b"]), "decoder": drawn(2, 6)}, r"encoder of in memory is not a tensor or an arr"),
        (Autoencoder(k=torch.tensor(-1)).state_dict(), r"k of in memory is -1; it is a whole number, 1 or more"),
        (Autoencoder(k=torch.tensor(1.5)).state_dict(), r"k of in memory is 1\.5; it is a whole number"),
        (Autoencoder(k=torch.tensor([1, 2])).state_dict(), r"k of in memory is 2; it is a single number"),
        (
            {**sae_lens(vectors=["b_gate", "b_mag"]), "r_mag": torch.zeros(5)},
            r"r_mag of in memory is 5, and there are 12 of them",
        ),
        (
            {**sae_lens(vectors=["b_gate", "b_mag"]), "r_mag": torch.full((12,), 999.0)},
            r"The encoder of in memory becomes NaN or infinite",
        ),
        (overcomplete(**{f"{NORM}.running_mean": torch.zeros(12)})[0], r"batch norm without .*running_var: save the"),
        (overcomplete(**{f"{NORM}.running_var": torch.ones(12)})[0], r"batch norm without .*running_mean: save the"),
        (
            overcomplete(**{f"{NORM}.running_mean": torch.zeros(5), f"{NORM}.running_var": torch.ones(12)})[0],
            r"running_mean of in memory is 5, and there are 12",
        ),
        (
            overcomplete(**{f"{NORM}.running_mean": torch.zeros(12), f"{NORM}.running_var": -torch.ones(12)})[0],
            r"running_var of in memory is below 0 somewhere",
        ),
        (overcomplete(**{"dictionary.multiplier": torch.zeros(3)})[0], r"multiplier of in memory is 3; it is a single"),
        (
            overcomplete(**{"encoder.final_block.0.weight": torch.zeros(12)})[0],
            r"the encoder's weight of in memory is 12; it is a matrix",
        ),
    ],
)
def test_damaged_numbers_are_sentences(given, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.features(given, kind=None if "k" in given else "jumprelu,uncentred" if "W_enc" in given else "relu")


def test_a_row_of_zeros_is_a_feature_that_is_never_active(tmp_path):
    t = sae_lens()
    t["W_dec"][3] = 0
    found = saved(tmp_path, t, architecture="standard", rescale_acts_by_decoder_norm=True)
    active = found.apply(X, "layer")
    assert torch.equal(torch.nonzero((active == 0).all(0))[:, 0], torch.tensor([3]))
    assert bool(torch.isfinite(found.reconstruct(found.apply(X, "layer"))).all())
    with pytest.raises(ul.UnitlensError, match=r"encoder's bias of .* is 5, and there are 12"):
        saved(tmp_path, {**t, "b_enc": torch.zeros(5)}, architecture="standard", rescale_acts_by_decoder_norm=True)


def test_a_kind_may_only_repeat_what_a_saved_file_says(tmp_path):
    rows = drawn(12, 6)
    for kind, others in [
        ("topk:3", ["relu", "topk:4", "topk:3,centred"]),
        ("batchtopk:0.7", ["batchtopk:0.8", "jumprelu:0.7"]),
        ("relu", ["topk:3"]),
    ]:
        file = ul.features({"encoder": rows, "decoder": rows}, kind=kind).save(tmp_path / "d.safetensors")
        assert ul.features(file, kind=kind).sha256 == ul.features(file).sha256
        for other in others:
            with pytest.raises(ul.UnitlensError, match=rf"is of kind {kind[:5]}.*, and kind='{other}' was given"):
                ul.features(file, kind=other)


@pytest.mark.parametrize(("text", "centred"), [("False", False), ("true", True), (False, False)])
def test_settings_that_are_texts_say_what_they_say(text, centred, tmp_path):
    found = saved(tmp_path, sae_lens(), architecture="standard", apply_b_dec_to_input=text)
    t = sae_lens()
    x = X - t["b_dec"] if centred else X
    torch.testing.assert_close(found.apply(X, "layer"), torch.relu(x @ t["W_enc"] + t["b_enc"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", ["no", 0, None, []])
def test_settings_that_are_neither_true_nor_false_are_refused(value, tmp_path):
    with pytest.raises(ul.UnitlensError, match=r"apply_b_dec_to_input in the settings of .*; it is true or false"):
        saved(tmp_path, sae_lens(), architecture="standard", apply_b_dec_to_input=value)


class Hostile:
    """Pickled, it makes a file as soon as anybody unpickles it."""

    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return (Path.touch, (self.ran,))


def test_nothing_in_a_file_is_run(tmp_path):
    ran = tmp_path / "ran"
    torch.save({"encoder.weight": Hostile(ran)}, tmp_path / "plain.pt")
    weights = io.BytesIO()
    torch.save({"W_enc": Hostile(ran)}, weights)
    (tmp_path / "saev.pt").write_bytes(b'{"d_vit": 6, "exp_factor": 2}\n' + weights.getvalue())
    for name in ("plain.pt", "saev.pt"):
        with pytest.raises(ul.UnitlensError, match="could run anybody's code"):
            ul.features(tmp_path / name)
    assert not ran.exists()
    for cut in range(0, 4000, 500):
        (tmp_path / "cut.pt").write_bytes((tmp_path / "saev.pt").read_bytes()[:cut])
        with pytest.raises(ul.UnitlensError):
            ul.features(tmp_path / "cut.pt")


def test_activations_of_nmf_are_those_of_least_squares():
    from scipy.optimize import nnls

    rows, x = drawn(4, 6).abs() * torch.tensor([[1.0], [30.0], [0.1], [2.0]]), drawn(20, 6, seed=8).abs()
    found = ul.features({"decoder": rows}, kind="nmf").apply(x, "layer").numpy()
    expected = np.array([nnls(rows.T.double().numpy(), row.double().numpy())[0] for row in x])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
