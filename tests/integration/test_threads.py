"""Threads come for work that lies around behind what blocks, and are few where nothing does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from proofq.workers.clock import SystemClock
from proofq.workers.threads import AT_ONCE, Threads
from tests.waiting import until


class Blocked:
    """Jobs that wait until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[int] = []

    def job(self) -> None:
        self.begun.append(threading.get_ident())
        self.go.wait(30)


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    """Let go at the end."""
    one = Blocked()
    yield one
    one.go.set()


def test_what_blocks_holds_up_nobody_for_long(blocked: Blocked) -> None:
    """More jobs that block than threads start at once: each gets one, by looks; no more than were allowed."""
    most = AT_ONCE + 4
    threads = Threads(most, SystemClock())
    for _ in range(most + 3):
        threads.do(blocked.job)
    until(lambda: len(blocked.begun) == AT_ONCE, 10.0, "those that are started at once")
    until(lambda: threads.look() and len(blocked.begun) == most, 10.0, "one for each")
    assert threads.look(), "three wait"
    assert len(set(blocked.begun)) == most
    blocked.go.set()
    until(lambda: not threads.look() and len(blocked.begun) == most + 3, 10.0, "the last three")
    assert len(set(blocked.begun)) == most


def test_who_came_for_what_blocked_goes_again(blocked: Blocked) -> None:
    """Once nothing blocks any more, what follows is done by as many as are started at once."""
    most = AT_ONCE + 4
    threads, before = Threads(most, SystemClock()), threading.active_count()
    for _ in range(most):
        threads.do(blocked.job)
    until(lambda: not threads.look() and len(blocked.begun) == most, 10.0, "one for each")
    assert threading.active_count() - before == most
    blocked.go.set()
    until(lambda: threading.active_count() - before <= AT_ONCE, 5.0, "those that are too many to go")
    threads.do(blocked.job)
    until(lambda: len(blocked.begun) == most + 1, 10.0, "who stayed to be there for the next")


def test_work_that_is_quick_needs_few() -> None:
    """A thousand jobs, in the order in which they came for each thread, by at most the threads that start at once."""
    threads, done, by = Threads(400, SystemClock()), [], set()

    def job(number: int) -> None:
        by.add(threading.get_ident())
        done.append(number)

    for number in range(1000):
        threads.do(lambda number=number: job(number))  # type: ignore[misc]
    until(lambda: len(done) == 1000, 20.0, "all of it")
    assert sorted(done) == list(range(1000))
    assert len(by) <= AT_ONCE


def test_one_slot_has_one_thread(blocked: Blocked) -> None:
    """Never more threads than slots."""
    threads = Threads(1, SystemClock())
    for _ in range(3):
        threads.do(blocked.job)
    until(lambda: blocked.begun, 10.0, "the first")
    for _ in range(5):
        assert threads.look()
    assert len(blocked.begun) == 1
