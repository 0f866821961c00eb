"""Processes that decode images, stopped at the worst moments: in the middle of being started."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from unitlens.data import workers

SLOW_TO_START = """
import os, signal, sys, threading, time

from unitlens.cli.entry import _stoppable
from unitlens.data.workers import in_batches

number, when = getattr(signal, sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what is in the background ignore it


def stop():
    os.kill(os.getpid(), number)


if when == "forking":
    os.register_at_fork(after_in_parent=stop)
else:
    os.register_at_fork(after_in_parent=threading.Timer(0.2, stop).start)
os.register_at_fork(after_in_child=lambda: time.sleep(600 if when == "stalled" else 1))
try:
    with _stoppable():
        for _ in in_batches(abs, range(10**6), batch_size=1, workers=1):
            pass
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("stop", "when"),
    [
        ("SIGKILL", "forked"),
        ("SIGTERM", "forking"),
        ("SIGTERM", "forked"),
        ("SIGINT", "forking"),
        ("SIGINT", "forked"),
        pytest.param("SIGTERM", "stalled", marks=pytest.mark.slow),  # torch waits for a worker before it ends it
    ],
)
def test_workers_end_with_a_process_that_ends_while_they_start(stop, when):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_START, stop, when],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        out, err = process.communicate(timeout=120)  # what a worker that stayed would hold open
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert err == ""
    assert (process.returncode, out) == ((-9, "") if stop == "SIGKILL" else (0, "stopped\n"))


ANEW = """
import multiprocessing

import unitlens as ul
from unitlens.data.workers import in_batches


def double(index):
    return 2 * index


class Counted:  # what can be sent to a process that is being started, and otherwise nowhere
    def __init__(self):
        self.count = multiprocessing.Value("i", 5)

    def __call__(self, index):
        return self.count.value + index


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    print(list(in_batches(double, range(3), batch_size=2, workers=1)))
    print(list(in_batches(Counted(), range(3), batch_size=2, workers=1)))
    try:
        in_batches(lambda index: index, range(3), batch_size=2, workers=1)
    except ul.UnitlensError as error:
        print(error)
"""


def test_a_process_that_another_thread_forks_is_no_worker(monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    forking = {threading.get_ident() + 1}
    monkeypatch.setattr(workers, "_forking", forking)
    workers._forked()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert forking == set()


@pytest.mark.slow  # three more processes that load torch
def test_workers_that_start_anew_are_sent_what_they_need_or_a_sentence_is_said(tmp_path):
    (tmp_path / "script.py").write_text(ANEW)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert done.stderr == ""
    worked, counted, said = done.stdout.splitlines()
    assert worked == "[[0, 2], [4]]"
    assert counted == "[[5, 6], [7]]"
    assert said.startswith("Processes that decode images start anew on this system, and these images cannot be sent to")
    assert "<lambda>" in said
    assert said.endswith("use workers=0, or define their class and functions at the top of a module.")
