"""The pass over the images waits for no device: what comes of a batch is taken while the next one is computed."""

import weakref

import pytest
import torch

import unitlens as ul
from tests.dissection.work.small_world import OPTIONS, Stopping, assert_same
from tests.worlds.generators import painted, painter
from tests.worlds.planted import colour_net
from unitlens.dissection import forward
from unitlens.dissection.store.layers import ArrivingMaps
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


def made(count, error=None):
    yield from range(count)
    if error:
        raise error


def test_the_last_one_is_taken_before_an_error_is_raised():
    taken = []
    with pytest.raises(KeyboardInterrupt):
        transfers.one_behind(made(3, KeyboardInterrupt()), taken.append)
    assert taken == [0, 1, 2]


def test_of_two_errors_the_first_is_told():
    def take(number):
        if number == 2:
            raise OSError("the disk is full")

    with pytest.raises(ValueError, match="no image"):
        transfers.one_behind(made(3, ValueError("no image")), take)
    with pytest.raises(OSError, match="full"):
        transfers.one_behind(made(3), take)
    with pytest.raises(OSError, match="full"):
        transfers.one_behind(made(9), take)


@pytest.mark.parametrize("ahead", [False, True])
def test_one_batch_is_kept_while_the_next_one_is_computed(ahead, request, monkeypatch):
    if ahead:
        request.getfixturevalue("working_ahead")
    live, counts, of = weakref.WeakSet(), [], ArrivingMaps.of.__func__

    def noted(kind, *arguments):
        live.add(arrived := of(kind, *arguments))
        return arrived

    monkeypatch.setattr(ArrivingMaps, "of", classmethod(noted))
    handle = NET.model.register_forward_pre_hook(lambda *_: counts.append(len(live)))
    try:
        ul.dissect(NET, "conv", Stopping(22), **OPTIONS | {"evidence": False})
    finally:
        handle.remove()
    assert max(counts[1:]) == 1
