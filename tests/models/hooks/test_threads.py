"""One thread at a time is at work on a model; the outcome depends on no timing."""

import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import unitlens as ul
from tests.models.hooks.hooked import assert_as_before, state_of
from unitlens.models.passes import one_thread


@pytest.fixture(autouse=True)
def _threads_take_turns_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def in_threads(work, count=4):
    """Run a function in several threads at once, with the thread's number."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_every_thread_records_its_own_passes(model):
    images = [torch.full((1, 3, 2, 2), float(number)) for number in range(4)]
    expected = [model[0](image) for image in images]

    def work(number):
        for _ in range(50):
            with ul.record(model, "0") as recording:
                model(images[number])
            assert torch.equal(recording["0"], expected[number])

    in_threads(work)


def test_every_thread_sees_its_own_edits(model):
    def work(number):
        for _ in range(50):
            with ul.edit(model, {"4": lambda scores: torch.full_like(scores, number)}):
                assert model(torch.ones(1, 3, 2, 2)).tolist() == [[number, number]]

    in_threads(work)


def test_modes_and_hooks_are_as_before_and_no_thread_sees_training_mode(model):
    model.train()
    model[1].eval()
    before = state_of(model)

    def work(number):
        for _ in range(50):
            with ul.evaluating(model), ul.record(model, "2"):
                model(torch.ones(1, 3, 2, 2))
                assert not any(module.training for module in model.modules())

    in_threads(work)
    assert_as_before(before, state_of(model))


def test_layers_are_listed_in_threads(model):
    net = ul.classifier(model, image_size=2, mean=(0, 0, 0), std=(1, 1, 1))
    alone = net.layers()
    assert in_threads(lambda _: net.layers()) == [alone] * 4


def test_a_thread_that_fails_lets_the_others_in(model):
    def fails():
        with pytest.raises(RuntimeError), ul.evaluating(model), ul.record(model, "0"):
            model(torch.ones(1, 5, 2, 2))

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    with ul.evaluating(model):
        assert model(torch.ones(1, 3, 2, 2)).shape == (1, 2)


def test_another_model_is_not_waited_for(model):
    other = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    done = []

    def work():
        with ul.evaluating(other), ul.record(other, "1"):
            done.append(other(torch.ones(1, 1, 2, 2)).shape)

    with ul.evaluating(model):
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(60)
    assert done == [(1, 2)]


def test_a_compiled_model_and_its_original_are_one(model):
    order = []

    def work():
        with one_thread(model):
            order.append("second")

    thread = threading.Thread(target=work)
    compiled = nn.Module()
    compiled._orig_mod = model  # as torch.compile wraps it
    with one_thread(compiled):
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_model_is_not_kept_alive():
    model = nn.Linear(1, 1)
    alive = weakref.ref(model)
    with ul.evaluating(model):
        pass
    del model
    gc.collect()
    assert alive() is None
