"""Networks by name: files, modules, their weights and seeds."""

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.models.odd_network import Net
from unitlens.errors import UnitlensError
from unitlens.models.loading import load

SAID = {"image_size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def write(folder, name, text):
    (folder / name).write_text(text)
    return str(folder / name)


NETWORKS = """
import dataclasses
import torch
from torch import nn

import neighbour

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, neighbour.OUTPUTS)

@dataclasses.dataclass
class Settings:
    width: "int" = 3

def factory():
    import late_neighbour
    return nn.Linear(2, late_neighbour.OUTPUTS)

made = Tiny()
compiled = torch.compile(made)
number = 3
class Holder:
    inner = Tiny

def needs(argument): ...
def gives_tuple(): return Tiny(), None
def breaks(): raise ValueError("out of order.\\nsecond line")
def leaves(): raise SystemExit(3)
def own_error():
    from unitlens.errors import UnitlensError
    raise UnitlensError("a sentence of its own")
"""


@pytest.fixture
def networks(tmp_path):
    write(tmp_path, "neighbour.py", "OUTPUTS = 7")
    write(tmp_path, "late_neighbour.py", "OUTPUTS = 9")
    return write(tmp_path, "networks.py", NETWORKS)


# ---- by name: files and modules


@pytest.mark.parametrize(("attribute", "outputs"), [("Tiny", 7), ("made", 7), ("compiled", 7), ("Holder.inner", 7)])
def test_a_class_an_instance_and_an_attribute_of_a_file(attribute, outputs, networks):
    net = load(f"{networks}:{attribute}", **SAID)
    assert type(net.model).__name__ == "Tiny"
    assert net.model.linear.out_features == outputs
    assert (net.name, net.weights, net.classes, net.default_layer) == (f"{networks}:{attribute}", None, None, None)


def test_a_function_of_a_file_finds_its_neighbours_when_it_is_called(networks):
    assert load(f"{networks}:factory", **SAID).model.out_features == 9


def test_loading_leaves_the_import_path_as_it_was(networks):
    path, modules = list(sys.path), set(sys.modules)
    load(f"{networks}:factory", **SAID)
    with pytest.raises(UnitlensError):
        load(f"{networks}:breaks", **SAID)
    assert sys.path == path
    assert not {"neighbour", "late_neighbour", "networks"} & (set(sys.modules) - modules)


def test_two_files_of_one_name_have_their_own_neighbours(networks, tmp_path):
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", "neighbour.py", "OUTPUTS = 2")
    other = write(tmp_path / "other", "networks.py", NETWORKS)
    assert load(f"{networks}:Tiny", **SAID).model.linear.out_features == 7
    assert load(f"{other}:Tiny", **SAID).model.linear.out_features == 2


def test_neighbours_in_an_import_path_stay_imported(networks, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("neighbour", "late_neighbour"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    load(f"{networks}:Tiny", **SAID)
    assert sys.modules.pop("neighbour").OUTPUTS == 7


def test_a_callable_of_a_module():
    net = load("torch.nn:Sequential", **SAID)
    assert type(net.model) is nn.Sequential


@pytest.mark.parametrize(
    ("attribute", "sentence"),
    [
        ("factry", r"There is no 'factry' in .*networks\.py \(did you mean factory\?\)\.$"),
        (
            "number",
            r"networks\.py:number is a int; it must be a torch\.nn\.Module, or a function without arguments that ret",
        ),
        ("gives_tuple", r"networks\.py:gives_tuple returned a tuple; it must be a torch\.nn\.Module"),
        ("Settings", r"networks\.py:Settings returned a Settings; it must be"),
        (
            "needs",
            r"networks\.py:needs\(\) failed: TypeError: needs\(\) missing 1 required positional argument: 'argument'\.",
        ),
        ("breaks", r"networks\.py:breaks\(\) failed: ValueError: out of order\.$"),
        ("leaves", r"networks\.py:leaves\(\) failed: SystemExit: 3\.$"),
        ("own_error", r"^a sentence of its own$"),
    ],
)
def test_sentences_for_what_is_in_a_file(attribute, sentence, networks):
    with pytest.raises(UnitlensError, match=sentence):
        load(f"{networks}:{attribute}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "import nowhere_at_all",
            r"Importing .*bad\.py failed: ModuleNotFoundError: No module named 'nowhere_at_all'\.$",
        ),
        ("def f(:", r"Importing .*bad\.py failed: SyntaxError: invalid syntax"),
        ("raise SystemExit", r"Importing .*bad\.py failed: SystemExit\.$"),
        ("1 / 0", r"Importing .*bad\.py failed: ZeroDivisionError: division by zero\.$"),
    ],
)
def test_sentences_for_files_that_cannot_be_imported(text, sentence, tmp_path):
    modules = set(sys.modules)
    with pytest.raises(UnitlensError, match=sentence):
        load(f"{write(tmp_path, 'bad.py', text)}:f")
    assert not {name for name in set(sys.modules) - modules if "bad" in name}


def test_sentences_for_modules(tmp_path, monkeypatch):
    write(tmp_path, "module_that_breaks.py", "1 / 0")
    write(tmp_path, "module_that_needs.py", "import nowhere_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    for spec, sentence in {
        "nowhere.at.all:net": r"There is no module 'nowhere' to import 'nowhere\.at\.all' from; is it installed",
        "torch.nowhere:net": r"There is no module 'torch\.nowhere' to import 'torch\.nowhere' from",
        "torch:nn": r"torch:nn is a module; it must be a torch\.nn\.Module",
        "module_that_breaks:net": r"Importing module_that_breaks failed: ZeroDivisionError: division by zero\.",
        "module_that_needs:net": r"Importing module_that_needs failed: ModuleNotFoundError: No module named 'nowhere",
        "torchvision.models:resnt18": r"There is no 'resnt18' in torchvision\.models \(did you mean resnet18\?\)\.",
        "resnt18": r"There is no network 'resnt18' in torchvision \(did you mean resnet18\?\); a network of another",
        "my/models.py": r"my/models\.py is a file; say which function of it returns the network: my/models\.py:NAME\.",
        f"{tmp_path}/module_that_breks.py:net": r"There is no file '.*' \(did you mean module_that_breaks\.py\?\)\.",
        "bundled:scene": r"There is no network 'bundled:scene' \(did you mean bundled:scenes\?\); there are bundled:",
    }.items():
        with pytest.raises(UnitlensError, match=sentence):
            load(spec, weights="none")


def test_a_module_is_no_name(net):
    with pytest.raises(
        UnitlensError, match=r"loaded by its name, such as 'resnet18', not by a Net; ul\.classifier\(model\)"
    ):
        load(net)


# ---- weights and seeds


def test_a_callables_network_is_as_it_returns_or_gets_the_weights_of_a_file(networks, tmp_path):
    state = {"weight": torch.full((9, 2), 2.0), "bias": torch.zeros(9)}
    save_file(state, tmp_path / "w.safetensors")
    net = load(f"{networks}:factory", weights=tmp_path / "w.safetensors", **SAID)
    assert net.weights == str(tmp_path / "w.safetensors")
    assert torch.equal(net.model.weight, state["weight"])
    taken, untouched = (load(f"{networks}:factory", weights=weights, **SAID) for weights in (None, "none"))
    assert taken.fingerprint() == untouched.fingerprint() != net.fingerprint()
    assert untouched.model.training


def test_default_weights_are_for_networks_by_name(networks):
    with pytest.raises(
        UnitlensError,
        match=r"DEFAULT weights are there for networks of torchvision, timm and Hugging Face, not for .*:factory",
    ):
        load(f"{networks}:factory", weights="DEFAULT")


@pytest.mark.parametrize("spec", ["FILE:factory", "squeezenet1_1"])
def test_random_weights_come_from_the_seed_and_leave_the_generator_alone(spec, networks):
    spec = spec.replace("FILE", networks)
    before = torch.get_rng_state()
    one, same, other = (load(spec, weights="none", seed=seed, **SAID).fingerprint() for seed in (1, 1, 2))
    assert one == same != other
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(networks):
    with pytest.raises(UnitlensError, match="The device 'cuda' cannot be used here"):
        load(f"{networks}:Tiny", device="cuda", **SAID)
    with pytest.raises(UnitlensError, match="The device 'cuda' cannot be used here"):
        load("squeezenet1_1", weights="none", device="cuda")
