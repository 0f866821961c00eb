"""Memory that is freed: kept inside, given back afterwards."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import unitlens as ul
from unitlens import freed
from unitlens.freed import keeping_freed_memory

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(
    freed._function("mallopt") is freed._nothing, reason="another C library than glibc, or settings of the user"
)
PAGES = 1 << 14  # of 4 kB: 64 MB


def pages_got(numbers: int = PAGES * 1024) -> int:
    """Pages that the system hands out for so many numbers, which are freed again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(numbers)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """Megabytes that the process has."""
    return int(re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024


def test_what_is_freed_inside_is_used_again():
    with keeping_freed_memory():
        got = [pages_got() for _ in range(12)]  # at first the process does not have it yet
    assert min(got) < PAGES // 8


def test_it_is_given_back_at_the_end():
    pages_got()
    before = resident()
    with keeping_freed_memory():
        pages_got(4 * PAGES * 1024)
        assert resident() > before + 100
    assert resident() < before + 50


def test_the_last_of_several_threads_ends_it(monkeypatch):
    told, entered, left = [], threading.Event(), threading.Event()
    monkeypatch.setattr(freed, "_set", told.append)

    def stay():
        with keeping_freed_memory():
            entered.set()
            left.wait()

    thread = threading.Thread(target=stay)
    with keeping_freed_memory(), keeping_freed_memory():
        thread.start()
        entered.wait()
    assert told == [freed._KEEPING]
    left.set()
    thread.join()
    assert told == [freed._KEEPING, freed._AS_BEFORE]


def test_an_error_ends_it():
    with pytest.raises(ValueError, match="broken"), keeping_freed_memory():
        raise ValueError("broken")
    assert freed._inside == 0


def test_passes_keep_it():
    model = torch.nn.Linear(2, 2)
    with ul.evaluating(model):
        assert freed._inside == 1
    assert freed._inside == 0


@pytest.mark.parametrize("setting", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_stays(setting):
    value = {"MALLOC_TRIM_THRESHOLD_": "1000000", "GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1000000"}[setting]
    code = "from unitlens import freed; assert freed._function('mallopt') is freed._nothing"
    subprocess.run([sys.executable, "-c", code], check=True, env={setting: value, "PYTHONPATH": ":".join(sys.path)})
