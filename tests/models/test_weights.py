"""Weights from files: every way people store them, and nothing unpickled that could run code."""

import os
import pickle
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unitlens.errors import UnitlensError
from unitlens.models.weights import put_weights, read_weights


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


@pytest.fixture
def state():
    torch.manual_seed(0)
    return {key: torch.rand_like(value.float()).to(value.dtype) for key, value in net().state_dict().items()}


def assert_loaded(model, state):
    own = model.state_dict()
    assert own.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(own[key], value.to(own[key].dtype)), key


WRAPPED = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1, "state": {}}},
    "model": lambda state: {"model": state, "ema": state, "args": {"depth": 18}},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "a configuration under a known name": lambda state: {"model": {"depth": 18}, "params": state},
    "an unknown name": lambda state: {"teacher_weights": state, "epoch": 3},
    "wrapped twice": lambda state: {"checkpoint": 1, "model": {"state_dict": state, "epoch": 3}},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled and parallel": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
    "lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pth.tar", ".ckpt"])
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_state_dicts_in_their_wrappers(wrapping, suffix, state, tmp_path):
    torch.save(WRAPPED[wrapping](state), tmp_path / f"w{suffix}")
    model = net()
    put_weights(model, read_weights(tmp_path / f"w{suffix}"), "w")
    assert_loaded(model, state)


def test_the_old_file_format_of_torch(state, tmp_path):
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    model = net()
    put_weights(model, read_weights(tmp_path / "w.pt"), "w")
    assert_loaded(model, state)


def test_safetensors_with_a_prefix_and_in_half(state, tmp_path):
    save_file({f"module.{key}": value.half() for key, value in state.items()}, tmp_path / "w.safetensors")
    model = net()
    put_weights(model, read_weights(str(tmp_path / "w.safetensors")), "w")
    assert model[0].weight.dtype == torch.float32
    assert torch.equal(model[0].weight, state["0.weight"].half().float())


def test_a_network_whose_own_names_begin_with_module_keeps_them():
    model = nn.Sequential()
    model.add_module("module", nn.Linear(2, 2))
    put_weights(model, {"module.weight": torch.ones(2, 2), "module.bias": torch.zeros(2)}, "w")
    assert model.module.weight.sum() == 4


def test_counters_of_batches_may_be_missing(state):
    del state["1.num_batches_tracked"]
    model = net()
    put_weights(model, state, "w")
    assert model[1].num_batches_tracked == 0
    assert torch.equal(model[1].running_mean, state["1.running_mean"])


# ---- what does not fit


def mend(state, *, drop=(), add=(), reshape=()):
    kept = {key: value for key, value in state.items() if key not in drop}
    return {**kept, **{key: torch.ones(2, 1) for key in (*add, *reshape)}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"drop": ["0.bias"]}, r"^w\.pt does not fit this Sequential: 1 key is missing \(0\.bias\)\.$"),
        ({"add": ["a", "b"]}, r"^w\.pt does not fit this Sequential: 2 keys are unexpected \(a, b\)\.$"),
        ({"add": list("abcd")}, r": 4 keys are unexpected \(a, b, c, \.\.\.\)\.$"),
        ({"reshape": ["2.bias"]}, r": 1 key is of another shape \(2\.bias \(2 x 1, not 2\)\)\.$"),
        (
            {"drop": ["0.bias", "0.weight"], "add": ["x"], "reshape": ["2.bias"]},
            r": 2 keys are missing \(0\.weight, 0\.bias\); 1 key is unexpected \(x\); 1 key is of another shape \(2",
        ),
    ],
)
def test_a_mismatch_is_listed_and_changes_nothing(change, sentence, state):
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UnitlensError, match=sentence):
        put_weights(model, mend(state, **change), "w.pt")
    assert_loaded(model, before)


OTHER_KINDS = {
    "complex": lambda value: value.to(torch.complex64),
    "sparse": lambda value: value.to_sparse(),
    "sparse, by rows": lambda value: value.reshape(len(value), -1).to_sparse_csr(),
    "quantized": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    "without values": lambda value: value.to("meta"),
    "nested": lambda value: torch.nested.nested_tensor([row.flatten() for row in value]),
}
REMARKS = ("ignore:Sparse CSR:UserWarning", "ignore:.*quantize:UserWarning", "ignore:.*nested:UserWarning")


@pytest.mark.filterwarnings(*REMARKS)
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_tensors_of_another_kind_are_listed_and_change_nothing(kind, state, tmp_path):
    torch.save({**state, "2.weight": OTHER_KINDS[kind](state["2.weight"])}, tmp_path / "w.pt")
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    what = kind.partition(",")[0]
    with pytest.raises(UnitlensError, match=rf"1 key is of another kind \(2\.weight \({what}.*, not plain numbers\)\)"):
        put_weights(model, read_weights(tmp_path / "w.pt"), "w.pt")
    assert_loaded(model, before)


# ---- what is not a state dict


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("write", ["torch", "torch, old", "pickle"])
def test_nothing_is_run_that_a_pickle_asks_for(write, tmp_path, state):
    content, path = {"state_dict": state, "x": Trap(tmp_path / "sprung")}, tmp_path / "w.pt"
    if write == "pickle":
        path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "torch")
    with pytest.raises(
        UnitlensError, match=r"w\.pt' (holds Python|is not a file).* opening .* could run anybody's code"
    ):
        read_weights(path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def test_a_whole_model_says_what_to_save(tmp_path):
    torch.save(net(), tmp_path / "w.pt")
    sentence = (
        r"holds Python objects \(torch\.nn\..*\), .* save model\.state_dict\(\) with torch\.save and give that\.$"
    )
    with pytest.raises(UnitlensError, match=sentence):
        read_weights(tmp_path / "w.pt")


def test_a_plain_pickle_is_left_closed(tmp_path):
    (tmp_path / "w.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UnitlensError, match=r"w\.bin' is not a file of weights .*; other pickles are left closed"):
        read_weights(tmp_path / "w.bin")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"epoch": 3, "loss": 0.5}, r"but a dict with 'epoch', 'loss'\.$"),
        ({}, r"but a dict with nothing in it\.$"),
        ([torch.ones(1)], r"but a list\.$"),
        (torch.ones(1), r"but a Tensor\.$"),
        ({"one": {"a": torch.ones(1)}, "two": {"a": torch.ones(1)}}, r"but a dict with 'one', 'two'\.$"),
        ({3: torch.ones(1)}, r"but a dict with 3\.$"),
    ],
)
def test_a_file_that_is_not_a_state_dict(content, what, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UnitlensError, match=r"is not a state dict \(names of parameters and their tensors\) " + what):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 an image", b"PK, but not an archive", b"\x80"])
def test_a_file_that_torch_did_not_write(content, tmp_path):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(
        UnitlensError,
        match=r"w\.pt' is not a file of weights that torch\.save wrote, or it is damaged; other pickles are",
    ):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("new_format", [False, True])
def test_a_truncated_file(new_format, state, tmp_path):
    path = tmp_path / "w.pt"
    torch.save(state, path, _use_new_zipfile_serialization=new_format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnitlensError, match="or it is damaged"):
        read_weights(path)


@pytest.mark.parametrize("content", [b"", b"no header here, just text"])
def test_safetensors_that_are_not(content, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(UnitlensError, match=r"w\.safetensors' cannot be read as safetensors \("):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_not_a_state_dict(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "w.pt")
    with pytest.raises(UnitlensError, match=r"w\.pt' is TorchScript; weights are read from a state dict only\."):
        read_weights(tmp_path / "w.pt")


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "resnet.pth").touch()
    with pytest.raises(
        UnitlensError, match=r"no file of weights '.*resnt\.pth' \(did you mean resnet\.pth\?\); weights can"
    ):
        read_weights(tmp_path / "resnt.pth")
    with pytest.raises(UnitlensError, match=r"or file, DEFAULT|\.bin file, DEFAULT \(torchvision's own\) or none"):
        read_weights("defualt")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "w.onnx").touch()
    with pytest.raises(
        UnitlensError, match=r"w\.onnx' is not a file of weights: its name should end in one of \.safetensors, "
    ):
        read_weights(tmp_path / "w.onnx")


def test_a_folder_is_no_file_of_weights(tmp_path):
    with pytest.raises(UnitlensError, match=r"' is a folder; weights are a file in it\."):
        read_weights(tmp_path)


def test_weights_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "w.pt").touch()
    monkeypatch.setattr(torch, "load", refuse)  # root may read everything
    with pytest.raises(UnitlensError, match=r"w\.pt' cannot be read: Permission denied\."):
        read_weights(tmp_path / "w.pt")


def test_a_plain_pickle_is_refused_without_remarks(tmp_path):
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with pytest.raises(UnitlensError, match="not a file of weights that"):
        read_weights(tmp_path / "plain.pt")


# ---- files as a stranger could send them


def mutated(content, random):
    """The bytes of a file, with some of them changed, left out, or repeated."""
    content = bytearray(content)
    for _ in range(random.randint(1, 6)):
        start = random.randrange(len(content))
        stop = min(len(content), start + random.choice([1, 1, 1, 8, 200]))
        what = random.choice(["change", "change", "change", "leave out", "repeat"])
        if what == "change":
            content[start:stop] = random.randbytes(stop - start)
        elif what == "leave out" and len(content) > 300:
            del content[start:stop]
        else:
            content[start:start] = content[start:stop]
    return bytes(content)


def write(name, content, path):
    if name == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=name == "pt")


@pytest.mark.filterwarnings("ignore")  # torch remarks on what it reads
@pytest.mark.parametrize("kind", ["pt", "old pt", "safetensors"])
def test_damaged_files_are_read_or_refused_in_one_sentence_and_run_nothing(kind, state, tmp_path):
    random, path = Random(kind), tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    write(kind, state, path)
    contents = [path.read_bytes()]
    if kind != "safetensors":
        for change in OTHER_KINDS.values():
            write(kind, {**state, "2.weight": change(state["2.weight"])}, path)
            contents.append(path.read_bytes())
        write(kind, {"state_dict": state, "x": Trap(tmp_path / "sprung")}, path)
        contents.append(path.read_bytes())
    refused = []
    for _ in range(120):
        path.write_bytes(mutated(random.choice(contents), random))
        model = net()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        try:
            put_weights(model, read_weights(path), "w")
        except UnitlensError as error:
            refused.append(str(error))
            assert_loaded(model, before)
    assert len(refused) > 20
    assert all(sentence.endswith(".") for sentence in refused)
    assert not (tmp_path / "sprung").exists()
