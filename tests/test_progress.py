import io
import logging
import os
import re
import signal
import sys

import pytest

from unitlens import progress as progress_module
from unitlens.progress import in_notebook, is_heard, progress, tell


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then(capsys, clock):
    with progress(100, "looking", show=True) as shown:
        for seconds in (10, 10, 10, 10):
            clock[0] += seconds
            shown.update(10)
    err = capsys.readouterr().err
    assert err == (
        "looking: 20 of 100 images, 1.0/s, 80 s left\n"
        "looking: 40 of 100 images, 1.0/s, 60 s left\n"
    )  # fmt: skip
    assert "\r" not in err


def test_a_short_run_says_nothing_to_a_log(capsys, clock):
    with progress(3, "counting layer4", unit="units", show=True) as shown:
        shown.update(3)
    assert capsys.readouterr().err == ""


def test_other_things_are_counted_by_their_name(capsys, clock):
    with progress(4, "counting layer4", unit="units", show=True) as shown:
        clock[0] += 20
        shown.update(2)
    assert capsys.readouterr().err == "counting layer4: 2 of 4 units, 0.1/s, 20 s left\n"


def test_a_terminal_gets_a_bar_that_is_gone_afterwards(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(10, "looking", show=True) as shown:
        shown.update(10)
        shown._bar.refresh()
    text = terminal.getvalue()
    assert "looking: 100%" in text
    assert re.search(r"10/10 \[.*<.*images/s\]", text)
    assert text.endswith("\r")
    assert "\n" not in text


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_quiet_is_quiet(monkeypatch, clock, stream):
    silent = stream()
    monkeypatch.setattr(sys, "stderr", silent)
    with progress(10, "looking", show=False) as shown:
        clock[0] += 99
        shown.update(5)
    assert silent.getvalue() == ""


def test_the_bar_is_closed_whatever_happens(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt), progress(10, "looking", show=True) as shown:
        raise KeyboardInterrupt
    assert shown._bar.disable  # as tqdm marks a bar that was closed


def test_nothing_done_yet_has_no_time_left(capsys, clock):
    with progress(10, "looking", show=True) as shown:
        clock[0] += 20
        shown.update(0)
    assert capsys.readouterr().err == "looking: 0 of 10 images\n"


def test_what_is_printed_meanwhile_stands_above_the_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(10, "looking", show=True) as shown:
        shown.update(1)
        tell("keeping 3 MB")
        shown.update(1)
    before, _, after = terminal.getvalue().partition("unitlens: keeping 3 MB\n")
    assert before.endswith("\r")
    assert after.lstrip().startswith("\rlooking:") or after.startswith("\r")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_was_killed_while_it_drew_a_bar_stops_no_other(clock):
    with progress(3, "looking", show=True) as shown:
        lock = shown._bar.get_lock()
        child = os.fork()
        if not child:
            lock.acquire()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert lock.acquire(timeout=5)
        lock.release()


# ---- as a library


def test_the_logger_is_silent_until_somebody_listens(capsys):
    assert not is_heard() or logging.getLogger().handlers  # pytest's own handler hears everything
    null = [handler for handler in logging.getLogger("unitlens").handlers if isinstance(handler, logging.NullHandler)]
    assert len(null) == 1


@pytest.fixture
def alone(monkeypatch):
    """The logger, without the handlers of pytest."""
    logger, level = progress_module.LOGGER, progress_module.LOGGER.level
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.NOTSET)
    yield logger
    logger.setLevel(level)  # not as an attribute: a logger remembers which levels it is enabled for


def test_what_is_told_goes_to_stderr_without_a_handler(alone, capsys):
    tell("hello")
    assert capsys.readouterr().err == "unitlens: hello\n"
    alone.setLevel(logging.WARNING)
    tell("hello")
    assert capsys.readouterr().err == "unitlens: hello\n"


def test_what_is_told_goes_to_the_logger_where_it_is_heard(alone, capsys, clock, monkeypatch):
    lines = io.StringIO()
    monkeypatch.setattr(alone, "handlers", [logging.NullHandler(), logging.StreamHandler(lines)])
    alone.setLevel(logging.INFO)
    tell("hello")
    for show in (True, False):
        with progress(100, "looking", show=show) as shown:
            clock[0] += 20
            shown.update(10)
    assert capsys.readouterr().err == ""
    assert lines.getvalue().splitlines() == [
        "hello",
        "looking: 10 of 100 images, 0.5/s, 180 s left",
        "looking: 10 of 100 images in 20.0 s",
        "looking: 10 of 100 images in 20.0 s",
    ]


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_gets_its_own_bar(monkeypatch, capsys, widgets):
    if widgets:
        pytest.importorskip("ipywidgets")
    monkeypatch.setattr(progress_module, "in_notebook", lambda: True)
    monkeypatch.setattr(progress_module, "find_spec", lambda name: object() if widgets else None)
    progress_module._notebook_bar.cache_clear()
    with progress(3, "looking", show=True) as shown:
        shown.update(3)
        assert isinstance(shown._bar, progress_module._Bar) != widgets
        assert ("notebook" in type(shown._bar).__mro__[1].__module__) == widgets
    progress_module._notebook_bar.cache_clear()


def test_this_is_no_notebook():
    assert not in_notebook()
