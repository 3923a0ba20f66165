"""Children that were forked before there was an attempt for them: who they serve, and what becomes of them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proofq.workers import proctree, standby
from proofq.workers.child import RUN_PROOF
from tests.spawning import ENV, STANDBY, Bench, alive, config, function
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proofq.workers.running import Running


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A spawner of this test's own, whose standby is full."""
    bench = Bench(config())
    assert waiting(bench) == set()
    _ended(bench.function("nothing"))
    _full(bench)
    yield bench
    bench.spawner.close()


def waiting(bench: Bench) -> set[int]:
    """The pids of those that wait."""
    below = {one.pid for one in proctree.children(bench.spawner.forkserver.pid) if not one.dead}
    return {pid for pid in below if _name(pid) == standby.NAME}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _full(bench: Bench) -> set[int]:
    until(lambda: len(waiting(bench)) == STANDBY, 10, "a full standby")
    return waiting(bench)


def _dead(pids: list[int]) -> bool:
    return alive(pids) == []


def _ended(running: Running) -> int:
    """Wait for its good end; its pid."""
    assert running.wait_ended(20)
    assert running.ended is not None
    assert running.ended.exit_code == 0
    return running.pid


def test_they_are_forked_several_in_a_row() -> None:
    """Nobody takes the place of the first that is gone, but two come once half of them are."""
    bench = Bench(replace(config(), standby=4))
    try:
        _ended(bench.function("nothing"))
        until(lambda: len(waiting(bench)) == 4, 10, "a full standby")
        first = waiting(bench)
        served = {_ended(bench.function("nothing"))}
        # An order and an answer later the forkserver has had time for it.
        _ended(bench.command("true"))
        assert waiting(bench) == first - served
        served.add(_ended(bench.function("nothing")))
        until(lambda: len(waiting(bench)) == 4, 10, "a full standby again")
        assert waiting(bench) > first - served
    finally:
        bench.spawner.close()


def test_each_serves_one_attempt(bench: Bench) -> None:
    """Attempts one after the other run in those that waited, none twice, under the name of any other child."""
    served = []
    for _ in range(2 * STANDBY + 1):
        ready = _full(bench)
        running = bench.function("sleeps")
        assert running.wait_started(10)
        assert running.pid in ready
        assert _name(running.pid) == _name(bench.spawner.forkserver.pid)
        served.append(running.pid)
        running.kill("cancel")
        assert running.wait_ended(10)
    assert len(set(served)) == len(served)


def test_more_than_are_ready(bench: Bench) -> None:
    """Who finds none has a fork of its own."""
    ready = _full(bench)
    pids = {_ended(one) for one in [bench.function("nothing") for _ in range(4 * STANDBY)]}
    assert len(pids) == 4 * STANDBY
    assert ready <= pids


def test_who_waits_holds_nothing(bench: Bench) -> None:
    """Not the forkserver's channel, by whose end its death is seen, and not another one's socket."""
    for pid in _full(bench):
        assert sorted(one.name for one in Path(f"/proc/{pid}/fd").iterdir()) == ["0", "1", "2", "3"]
        assert os.getsid(pid) == pid


def test_the_killed_are_replaced(bench: Bench) -> None:
    """Killed while they wait they fail nobody's attempt, whether the forkserver has seen their death or not."""
    for _ in range(10):
        ready = sorted(_full(bench))
        for pid in ready:
            os.kill(pid, signal.SIGKILL)
        until(partial(_dead, ready), 10, "their death")
        _ended(bench.function("nothing"))
    for pid in _full(bench):
        os.kill(pid, signal.SIGKILL)
    # Without an attempt that asks for one.
    until(lambda: bool(waiting(bench)), 10, "another one")
    _full(bench)


def test_what_kills_them_all_is_not_fed(bench: Bench) -> None:
    """Whatever dies as fast as it is forked is forked no more, until an attempt comes that could have used one."""
    killed = set[int]()
    while len(killed) <= standby.MOST_LOST:
        for pid in until(lambda: waiting(bench) - killed, 10, "another one"):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    for _ in range(4 * STANDBY):
        # Each time that it has nothing to read it would fork one.
        _ended(bench.command("/bin/true"))
        for pid in waiting(bench) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    assert len(killed) <= standby.MOST_LOST + 1 + STANDBY
    _ended(bench.function("nothing"))
    _full(bench)


def test_they_die_with_the_forkserver(bench: Bench) -> None:
    """None is left that waits for a part from nobody."""
    ready = sorted(_full(bench))
    os.kill(bench.spawner.forkserver.pid, signal.SIGKILL)
    until(partial(_dead, ready), 10, "the death of who waited")


def test_what_is_too_long_for_them(bench: Bench) -> None:
    """An attempt whose message does not go at once has a fork of its own, and nobody is left with half of it."""
    for size in (400_000, 2_000_000):
        ready = _full(bench)
        request = function("nothing")
        pid = _ended(bench.spawner.spawn(replace(request, env={**ENV, "LONG": "x" * size})))
        # Much may be read while it is written, but nobody takes so much.
        assert size < 1_000_000 or pid not in ready
    _ended(bench.function("nothing"))


def test_whom_they_do_not_serve(bench: Bench) -> None:
    """Commands, proofs, and functions that share a process with their past."""
    ready = _full(bench)
    proof = bench.spawner.spawn(replace(function("nothing"), runner=RUN_PROOF))
    assert proof.wait_ended(10)
    assert proof.pid not in ready
    assert _ended(bench.command("/bin/true")) not in ready
    request = function("nothing")
    running = bench.spawner.spawn(replace(request, reuse=("nothing", 3)))
    assert _ended(running) not in ready
    assert waiting(bench) == ready
