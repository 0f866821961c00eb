"""One pass at a time, short answers before long ones, and none for whom nobody waits."""

import threading

import pytest

pytest.importorskip("anyio", reason="anyio is not installed (extra app)")

from unitlens.app.turns import Superseded, Task, Turns


def waiting_in_order(turns, tasks):
    """Names of tasks in the order in which they had their turn, which all waited for while another had it."""
    order, threads = [], []

    def take(name, task):
        with task.turn():
            order.append(name)

    with turns.turn():
        for number, (name, task) in enumerate(tasks, 1):
            thread = threading.Thread(target=take, args=(name, task))
            thread.start()
            threads.append(thread)
            while len(turns._waiting) < number:
                pass
    for thread in threads:
        thread.join()
    return order


def test_short_answers_come_first_and_else_who_waited_longest():
    turns = Turns()
    tasks = [(name, Task(turns, long="long" in name)) for name in ("long 1", "short 1", "long 2", "short 2")]
    assert waiting_in_order(turns, tasks) == ["short 1", "short 2", "long 1", "long 2"]


def test_only_one_has_its_turn():
    turns, inside, most = Turns(), [0], [0]

    def work():
        for _ in range(50):
            with turns.turn():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_task_that_nobody_waits_for_has_no_turn_any_more():
    turns = Turns()
    task = Task(turns, long=True)
    with task.turn():
        task.stop()
    with pytest.raises(Superseded), task.turn():
        pass
    with turns.turn():  # what failed has left nothing taken
        pass


def test_an_error_in_a_turn_gives_it_back():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn():
        raise ZeroDivisionError
    with turns.turn():
        pass
