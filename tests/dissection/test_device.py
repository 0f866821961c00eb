"""The pass over the images waits for no device: what comes of a batch is taken while the next one is computed."""

import pytest
import torch

import unitlens as ul
from tests.dissection.work.small_world import OPTIONS, Stopping, assert_same
from tests.worlds.generators import painted, painter
from tests.worlds.planted import colour_net
from unitlens.dissection import forward
from unitlens.models import latents, network, transfers

WAITING = {"cpu", "numpy", "item", "tolist", "__bool__", "__int__", "__float__", "nonzero", "equal", "allclose"}
"""What a tensor is asked for that has to be computed first."""


noted: list[str] = []


class Far(torch.Tensor):
    """A tensor on a device that works ahead, as far as the code can tell; notes when somebody waits for it."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ in WAITING:
            noted.append(function.__name__)
        return super().__torch_function__(function, types, args, kwargs)


class Event:
    """What came of a batch, and is waited for later."""

    def __init__(self):
        noted.append("copied")

    def synchronize(self):
        noted.append("taken")


@pytest.fixture
def working_ahead(monkeypatch):
    """Take the processor for a device that works ahead."""
    noted.clear()
    monkeypatch.setattr(transfers, "_event", lambda device: Event())
    monkeypatch.setattr(transfers, "_room", lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
    for module in (transfers, forward):
        monkeypatch.setattr(module, "is_ahead", lambda device: True)
    for module in (network, latents):
        monkeypatch.setattr(module, "to_device", lambda tensor, device: tensor.as_subclass(Far))


def given(module, args, output):
    noted.append("given" if isinstance(output, Far) else "given on the processor")


NET, PAINTER = colour_net(), painter()
NET.model.conv.register_forward_hook(given)
PAINTER.model.layer.register_forward_hook(given)


def dissect_images():
    return ul.dissect(NET, ["conv", "pool"], Stopping(22), **OPTIONS | {"evidence": False})


def dissect_drawn():
    return ul.dissect(PAINTER, "layer", painted(40), batch_size=8, evidence=False, exemplars=2)


@pytest.mark.parametrize("dissect", [dissect_images, dissect_drawn])
def test_nothing_waits_for_a_batch_before_the_next_one_is_given(dissect, request):
    plain = dissect()
    request.getfixturevalue("working_ahead")
    assert_same(dissect(), plain)
    of_batch = ["given", "copied", "copied"]  # the maps of two layers, or of one and what was drawn
    batches = noted.count("given")
    assert batches in (5, 6)
    if dissect is dissect_drawn:  # the first images are looked at to know how large they are
        noted.remove("taken")
    for _ in plain.layers:  # and the first maps, to know how much of them is 0
        noted.remove("tolist")
    assert noted == of_batch + (of_batch + ["taken"] * 2) * (batches - 1) + ["taken"] * 2


def test_what_comes_from_a_gpu_is_waited_for_on_that_gpu(monkeypatch):
    recorded = []

    class Recorded:
        def record(self, stream):
            recorded.append(stream)

    monkeypatch.setattr(torch.cuda, "Event", Recorded)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    transfers._event(torch.device("cuda:1"))
    assert recorded == ["stream of cuda:1"]
