"""Networks that cannot be traced are replayed from what they did in a pass (law 5), or not at all."""

import copy
import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.ablation.replay.replaying import CASES, Untraced, close, made, naive_sweep, shown, swept
from unitlens.ablation.replay.cutting import cut_network
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit


def check(model, layer, images=None, value=0.5):
    """Cut there; every unit alone, and whole other activations, give what the full network gives."""
    images = shown() if images is None else images
    cut = cut_network(model, layer, images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    kept = state.activation.clone()
    with torch.inference_mode():
        close(state.output, model(images))
    close(swept(cut, state, value), naive_sweep(model, layer, images, state.activation.shape[1], value))
    noise = torch.randn(2, *state.activation.shape)
    for variant, output in zip(noise, cut.back(state, noise.flatten(0, 1)).unflatten(0, (2, len(images))), strict=True):
        with torch.inference_mode(), edit(model, {layer: lambda _, variant=variant: variant}):
            close(output, model(images))
    assert torch.equal(state.activation, kept)
    return cut, state


def of_case(value):
    return value if isinstance(value, str) else value.__name__


QUICK = CASES[2::6]


@pytest.mark.parametrize(("build", "layer"), QUICK, ids=of_case)
def test_what_is_recorded_gives_what_the_full_network_gives(build, layer):
    check(Untraced(made(build)), f"network.{layer}")


@pytest.mark.slow
@pytest.mark.parametrize(("build", "layer"), [case for case in CASES if case not in QUICK], ids=of_case)
def test_so_it_does_in_other_layers(build, layer):
    check(Untraced(made(build)), f"network.{layer}")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_images_is_replayed(count):
    check(Untraced(made(CASES[17][0])), f"network.{CASES[17][1]}", shown(count))


class Given(nn.Module):
    """A convolution, something in between, and a head."""

    def __init__(self, between) -> None:
        super().__init__()
        self.conv, self.same, self.head = nn.Conv2d(3, 8, 3), nn.Identity(), nn.Linear(8, 5)
        self.between = between

    def forward(self, images: Tensor):
        assert len(images) > 0
        return self.head(self.between(self, self.conv(images)).mean((2, 3)))


@dataclasses.dataclass
class Pair:
    first: Tensor
    second: Tensor | None = None


class ManyReturns(nn.Module):
    """Returns a dataclass inside a dictionary, and is called with keywords."""

    def forward(self, x, *, twice):
        return {"pair": Pair(x * 2 if twice else x), "ints": [x.shape[0]], "same": x}


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.conv, self.head = ManyReturns(), nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, images):
        assert len(images) > 0
        found = self.inner(self.conv(images), twice=True)
        return self.head(found["pair"].first.mean((2, 3)) + found["same"].amax((2, 3)))


def test_a_layer_is_named_by_an_item_of_its_output():
    model = made(Nested)
    for layer in ("inner:pair.first", "inner:same", "conv"):
        check(model, layer)


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lstm = nn.Conv2d(3, 8, 3), nn.LSTM(8, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        outputs, (hidden, _) = self.lstm(self.conv(x).flatten(2).transpose(1, 2))
        return outputs[:, -1] + hidden[0]


def test_one_tensor_of_several_is_replaced_and_the_others_stay():
    check(made(Several), "lstm:0")
    cut = cut_network(made(Several), "lstm:1.0", shown())
    assert "has no row for each image, its shape being (1, 2, 6)" in cut.reason


def test_several_layers_are_changed_on_the_way():
    model, images = Untraced(made(CASES[0][0])), shown()
    layers = ["network.2.conv2", "network.1.relu[1]"]
    cut = cut_network(model, layers, images)
    assert cut.replays, cut.reason
    assert (cut.layer, cut.later) == ("network.1.relu[1]", ("network.2.conv2",))
    state = cut.front(images)
    output = cut.back(state, state.activation * 0, {"network.2.conv2": lambda activation, rows: activation + 1})
    with torch.inference_mode(), edit(model, {layers[0]: lambda t: t + 1, layers[1]: torch.zeros_like}):
        close(output, model(images))


def keywords(self, x):
    return F.interpolate(input=x, scale_factor=2.0, mode="nearest") + torch.zeros(size=(x.shape[0], 1, 1, 1))


def own_container(self, x):
    pair = Pair(x, x * 2)
    return pair.first + torch.stack([pair.second, *torch.chunk(x, 2, 1)[:0]]).sum(0)


def by_name(self, x):
    n, c = x.shape[:2]
    return x.view(n, c, -1)[:, :, : 4 * n // n].reshape(shape=(n, c, 2, 2))


def constants(self, x):
    return x * torch.tensor([0.5, 2.0]).repeat(4)[:, None, None] + torch.arange(x.shape[0]).view(-1, 1, 1, 1) * 0


def without_values(self, x):
    dtype = x.dtype if x.is_floating_point() and x.dim() == 4 and x.numel() else torch.float64
    return x.to(dtype) + torch.finfo(x.dtype).eps


def data_of(self, x):
    return x.data + x.mT.mT.detach()


def same_object(self, x):
    return self.same(x) + torch.relu_(x)  # both are one tensor


def split_and_joined(self, x):
    a, b = x.split([2, 6], 1)
    return torch.cat([torch.topk(b, 3, dim=1).values, a, b[:, :3]], 1)


def by_buffer(self, x):
    buffer = torch.empty_like(x)
    buffer[:, ::2], buffer[:, 1::2] = x[:, ::2], x[:, 1::2] * 2
    return buffer


WAYS = [keywords, own_container, by_name, constants, without_values, data_of, same_object, split_and_joined, by_buffer]


@pytest.mark.parametrize("between", WAYS)
def test_what_python_does_between_modules_is_replayed(between):
    check(made(lambda: Given(between)), "conv")


def test_tensors_that_the_model_does_not_own_are_read_as_they_are():
    outside = torch.linspace(0, 1, 8)[:, None, None]
    check(made(lambda: Given(lambda self, x: x * outside + torch.from_numpy(np.ones(1, dtype=np.float32)))), "conv")


def by_sum(self, x):
    return x if float(x.sum()) > 0 else -x


def by_list(self, x):
    return x * torch.tensor(x.mean((1, 2, 3)).tolist())[:, None, None, None]


def by_numpy(self, x):
    return x + torch.from_numpy(np.abs(x.numpy()))


def image_by_image(self, x):
    return torch.stack([each * 2 for each in x])


def unseen(self, x):
    with torch._C.DisableTorchFunction():  # as inside extensions of torch
        return x * 2


def with_the_share_of_an_image(self, x):
    return x * (1 / x.shape[0])


def differing(self, x):
    self.calls = getattr(self, "calls", 0) + 1
    return x * self.calls


def drawn(self, x):
    return x + torch.rand(x.shape)


REASONS = {
    by_sum: "it looks at values inside (__float__)",
    by_list: "it looks at values inside (tolist)",
    by_numpy: "it looks at values inside (numpy)",
    image_by_image: "it takes other steps for 3 images than for 2",
    unseen: "differs from pass to pass, and that no step is known to give",
    with_the_share_of_an_image: "a step is given 0.5 for one number of images and 0.333",
    differing: "for one number of images and",
    drawn: "off by",
}


@pytest.mark.parametrize("between", REASONS)
def test_what_another_pass_might_do_differently_takes_full_passes_and_the_reason_says_why(between):
    torch.manual_seed(0)
    model, images = made(lambda: Given(between)), shown()
    cut = cut_network(model, "conv", images)
    assert REASONS[between] in cut.reason, cut.reason
    if between not in (differing, drawn):
        close(swept(cut, cut.front(images)), naive_sweep(model, "conv", images, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Chosen(nn.Module):
    """Decides by values, inside a module of its own."""

    def forward(self, x):
        return x if float(x.sum()) > 1e9 else x * 2


@pytest.mark.parametrize("layer", ["conv", "head"])
def test_what_a_module_beside_the_layer_decides_stays_its_own(layer):
    class Deciding(Given):
        def __init__(self) -> None:
            super().__init__(lambda self, x: self.chosen(x))
            self.chosen = Chosen()

    check(made(Deciding), layer)


def test_hooks_of_the_user_belong_to_the_network():
    model, calls = Untraced(made(CASES[0][0])), []
    model.network[1].conv1.register_forward_hook(lambda module, args, output: calls.append(1) or output * 2)
    model.network[2].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    model.network[2].norm.register_forward_hook(lambda module, args, output: output.abs_())
    _, state = check(model, "network.1.conv2")
    assert state.output.shape == (3, 5)
    cut = cut_network(model, "network.1.conv2", shown())
    calls.clear()
    state = cut.front(shown())
    swept(cut, state)
    assert len(calls) == 1


class Pyramid(nn.Module):
    """What a branch makes of the stem does not depend on the layer, though it is called behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer, self.side = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, images):
        assert len(images) > 0
        x = self.stem(images)
        y = self.layer(x)
        return self.head((y * self.side(x)).mean((2, 3)))


def test_what_does_not_depend_on_the_layer_is_computed_once_and_only_what_is_read_is_kept():
    model = made(Pyramid)
    cut, state = check(model, "layer")
    calls = []
    model.side.register_forward_hook(lambda *_: calls.append(1))
    state = cut.front(shown())
    swept(cut, state)
    assert len(calls) == 1
    assert [value.shape for value in state.rest.values()] == [state.activation.shape]


def test_a_recorded_network_is_as_before_and_let_go_of():
    model, images = Untraced(made(CASES[5][0])), shown()
    model.train()
    before = copy.deepcopy(model.state_dict())
    attributes = [set(vars(module)) for module in model.modules()]
    cut = cut_network(model, "network.5", images)
    swept(cut, cut.front(images))
    assert model.training
    assert [set(vars(module)) for module in model.modules()] == attributes
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    gone = weakref.ref(model)
    del cut, model
    gc.collect()
    assert gone() is None


def test_a_layer_that_no_output_depends_on_is_an_error():
    model = made(lambda: Given(lambda self, x: (self.same(x), x)[1]))
    with pytest.raises(UnitlensError, match="does not depend on what same returns"):
        cut_network(model, "same", shown())


@pytest.mark.slow
def test_compiled_and_exported_networks():
    compiled = Untraced(made(CASES[0][0]))
    compiled.network[2] = torch.compile(compiled.network[2], backend="eager")
    with torch.inference_mode():
        compiled(shown())
    check(compiled, "network.1.conv2")
    dynamic = ({0: torch.export.Dim("images", min=2)},)
    program = torch.export.export(made(CASES[0][0]), (shown(),), dynamic_shapes=dynamic)
    check(Untraced(torch.export.unflatten(program)), "network.1.conv1")
