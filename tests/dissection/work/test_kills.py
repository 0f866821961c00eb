"""Killed at any moment, also in the middle of a write, and gone on with: the bits of an undisturbed dissection."""

import os
import random
import signal
import time
import traceback

import pytest

from tests.dissection.work.small_world import Stopping, assert_same, commit_always, dissect

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def killed(folder, seconds, **options):
    """Dissect in a process that is killed after a while; whether it was done before."""
    child = os.fork()
    if not child:
        try:
            dissect(Stopping(), folder, **options)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0


@pytest.mark.parametrize(
    ("folders", "kills", "options"),
    [
        (1, 3, {"layers": ("pool",), "evidence": False, "exemplars": 0}),
        pytest.param(12, 8, {"control": ("untrained", "rotated")}, marks=pytest.mark.slow),
    ],
)
def test_a_dissection_that_is_killed_at_random_moments_ends_as_if_it_was_not(
    tmp_path, monkeypatch, folders, kills, options
):
    commit_always(monkeypatch)
    whole = dissect(Stopping(), **options)
    draws = random.Random(0)
    for number in range(folders):
        folder, longest = tmp_path / str(number), 0.02
        for _ in range(kills):
            if killed(folder, draws.uniform(0, longest), **options):
                break
            longest *= 2  # so that some are killed early and some late, however fast the machine is
        assert_same(dissect(Stopping(), folder, **options), whole)
