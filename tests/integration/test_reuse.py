"""Attempts that follow one another in a child of a real forkserver: what they share, and what ends the child."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import replace

import pytest

from proofq.workers import proctree
from proofq.workers.reuse import IDLE_S, Pool
from tests.spawning import ENV, Bench, alive, config, function, printed_pids
from tests.waiting import until


@pytest.fixture(scope="module")
def bench():
    """One spawner for the tests that do it no harm."""
    bench = Bench(config())
    yield bench
    bench.spawner.close()


def start(bench, agent, tmp="/tmp", *, key, most=100, stdin=None, **inputs):
    """Start an attempt that may have the process of another one of the same key."""
    return bench.spawner.spawn(replace(function(agent, tmp, **inputs), reuse=(key, most), stdin=stdin))


def state(pid):
    """The letter that /proc has for it; "" for nobody."""
    process = proctree.read(pid)
    return "" if process is None else process.state


def result(running):
    """What an attempt claims, once it and all that it left have ended."""
    assert running.wait_ended(20)
    end = running.ended
    assert (end.exit_code, end.signal, end.killed_by, end.survivors) == (0, None, "", ()), running.output_tail()
    return end.report["result"]


def test_so_many_share_a_process_and_then_there_is_a_new_one(bench):
    """Three each, each with output, usage and state of its own; other keys have other processes."""
    pids = []
    for number in range(7):
        running = start(bench, "value", key="three", most=3, source=f"print('out', {number}) or {number}")
        assert result(running) == number
        assert running.stdout_tail() == f"out {number}\n".encode()
        usage = running.ended.usage
        assert 0 <= usage.user_s + usage.system_s < 1
        assert usage.max_rss_kib > 1000
        pids.append(running.pid)
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    assert alive(pids[:6]) == []
    assert result(start(bench, "surroundings", key="four"))["pid"] not in pids


def test_attempts_at_the_same_time_have_a_process_each(bench):
    """Nobody waits for a process: there are as many as run at once, and they are used again."""
    running = [start(bench, "sleeps", key="beside", seconds=2) for _ in range(3)]
    assert len({one.pid for one in running}) == 3
    assert [result(one) for one in running] == [None] * 3
    assert start(bench, "nothing", key="beside").pid in {one.pid for one in running}


@pytest.mark.parametrize("what", ["surroundings", "signals"])
def test_what_an_attempt_changed_is_as_in_a_new_process(bench, tmp_path, what):
    """Directory, environment, time zone, umask, streams, handlers, timers, variables: as if nobody had been there."""
    fresh = result(start(bench, "surroundings", tmp_path, key=f"fresh {what}", stdin=b"mine"))
    spoiler = start(bench, "spoils", tmp_path, key=what, what=what, stdin=b"others")
    pid = result(spoiler)["pid"]
    again = result(start(bench, "surroundings", tmp_path, key=what, stdin=b"mine"))
    assert again["pid"] == pid
    # One more descriptor, that of the folder that lists them, in either.
    assert {**again, "pid": 0} == {**fresh, "pid": 0}
    assert {name: again["env"][name] for name in ENV} == ENV


@pytest.mark.parametrize(
    ("what", "kept"),
    [
        ("nothing", True),
        ("a joined thread", True),
        ("a zombie", True),
        ("a descriptor for the collector", True),
        ("a thread", False),
        ("a process", False),
        ("a descriptor", False),
        ("a closed report", False),
        ("a limit", False),
        ("a priority", False),
        ("memory", False),
    ],
)
def test_what_cannot_be_put_back_ends_the_process(bench, what, kept):
    """The attempt's claim stands, what it left is dead with it, and the next one begins in a process of its own."""
    first = start(bench, "spoils", key=what, what=what)
    pid = result(first)["pid"]
    assert bool(alive([pid])) == kept
    assert [one for one in proctree.descendants(bench.spawner.forkserver.pid) if one.ppid == pid and not one.dead] == []
    assert (result(start(bench, "spoils", key=what, what="nothing"))["pid"] == pid) == kept


@pytest.mark.parametrize(
    ("agent", "inputs", "code", "signum"),
    [
        ("raises", {"kind": "bug"}, 1, None),
        ("value", {"source": "object()"}, 1, None),
        ("leaves", {"code": 0}, 0, None),
        ("segfault", {}, None, signal.SIGSEGV),
    ],
)
def test_whoever_ends_badly_ends_its_process(bench, agent, inputs, code, signum):
    """The end is its own, by code or signal, and the next attempt does not notice."""
    key = f"{agent} {inputs}"
    pid = result(start(bench, "spoils", key=key, what="nothing"))["pid"]
    running = start(bench, agent, key=key, **inputs)
    assert running.pid == pid
    assert running.wait_ended(20)
    assert (running.ended.exit_code, running.ended.signal) == (code, signum)
    assert result(start(bench, "spoils", key=key, what="nothing"))["pid"] != pid


def test_what_it_leaves_running_is_dead_before_its_end_is_told(bench):
    """Grandchildren in sessions of their own, too, of the second attempt in a process."""
    result(start(bench, "nothing", key="leaver"))
    running = start(bench, "stubborn", key="leaver", copies=4, ends=True)
    assert result(running) is None
    pids = printed_pids(running)
    assert len(pids) == 5
    assert alive(pids) == []


def test_a_kill_ends_the_attempt_it_was_meant_for(bench):
    """Of an attempt that has ended it is no news to the next one in its process; of the one that runs it is its end."""
    first = start(bench, "nothing", key="killed")
    result(first)
    second = start(bench, "sleeps", key="killed")
    assert second.pid == first.pid
    assert second.wait_started(10)
    # What a supervisor says that has not yet heard of the end.
    bench.spawner._kill(first.sid, "timeout", 0.0)
    assert not second.wait_ended(0.5)
    second.kill("timeout", 0.0)
    assert second.wait_ended(10)
    assert (second.ended.signal, second.ended.killed_by) == (signal.SIGKILL, "timeout")
    assert result(start(bench, "spoils", key="killed", what="nothing"))["pid"] != first.pid


def test_who_ends_well_because_it_was_told_to_is_not_used_again(bench):
    """The reason that it was killed for stands, whatever it claims, and its process is dead."""
    running = start(bench, "obeys", key="obeys")
    until(lambda: running.stdout_tail() == b"asleep\n", 10.0, "its first line")
    running.kill("timeout", 10.0)
    assert running.wait_ended(20)
    assert (running.ended.exit_code, running.ended.killed_by) == (0, "timeout")
    assert running.ended.report == {"result": "obeyed"}
    assert alive([running.pid]) == []


def test_kill_9_of_its_process_ends_one_attempt(bench):
    """Idle or busy: nobody else's attempt ends with it."""
    first = start(bench, "nothing", key="nine")
    result(first)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not alive([first.pid]), 10.0, "the end of who waited")
    second = start(bench, "sleeps", key="nine")
    assert second.pid != first.pid
    assert second.wait_started(10)
    os.kill(second.pid, signal.SIGKILL)
    assert second.wait_ended(10)
    assert (second.ended.signal, second.ended.killed_by) == (signal.SIGKILL, "")
    result(start(bench, "nothing", key="nine"))


@pytest.mark.parametrize("how", ["stands still", "a thread", "a process"])
def test_a_liar_that_claims_its_end_does_nothing_while_its_claim_is_judged(bench, tmp_path, how):
    """It says what our own code would say, and stops as that would: then it does stand still, or it is dead."""
    path = tmp_path / "late"
    running = start(bench, "lies_done", key=how, how=how, path=str(path))
    assert result(running) == "lie"
    seen = path.stat().st_size if path.exists() else 0
    time.sleep(0.2)
    assert (path.stat().st_size if path.exists() else 0) == seen
    assert state(running.pid) == ("T" if how == "stands still" else "")


def test_the_word_alone_is_no_end(bench, tmp_path):
    """A result and "done" on their pipes, while the agent goes on: its attempt goes on, too."""
    path = tmp_path / "late"
    running = start(bench, "lies_done", key="word", how="does not stop", path=str(path))
    assert result(running) == "end"
    assert path.read_text() == "late"


def test_a_stop_alone_is_no_end(bench, tmp_path):
    """An agent that stops itself, or is stopped, has not ended; it has its deadline."""
    running = start(bench, "lies_done", key="stop", how="only stops", path=str(tmp_path / "late"))
    until(lambda: state(running.pid) == "T", 10.0, "the stop")
    assert not running.wait_ended(0.5)
    running.kill("timeout", 0.0)
    assert running.wait_ended(10)
    assert running.ended.killed_by == "timeout"


def test_the_file_systems_clock_is_awaited_by_a_process_used_again(bench, tmp_path):
    """Nothing of the second attempt runs before a change of it would be newer than its marker."""
    first = start(bench, "nothing", key="tick")
    result(first)
    marker_ns = time.time_ns() + 1_000_000_000
    request = replace(function("touch", tmp_path, path="made"), reuse=("tick", 9), ticks=[(str(tmp_path), marker_ns)])
    second = bench.spawner.spawn(request)
    assert second.pid == first.pid
    assert not second.wait_started(0.1)
    result(second)
    assert (tmp_path / "made").stat().st_ctime_ns > marker_ns


def test_a_folder_that_is_not_there_is_said_by_a_process_used_again(bench):
    """A step of a later start that fails has its errno, as one of a first."""
    first = start(bench, "nothing", key="nowhere")
    result(first)
    second = start(bench, "nothing", "/nowhere", key="nowhere")
    assert second.pid == first.pid
    assert not second.wait_started(10)
    assert second.wait_ended(10)
    assert second.ended.start_error.step == "chdir /nowhere"


def test_a_forkserver_that_loads_agents_anew_for_each_does_so(tmp_path):
    """Where loading leaves a thread nothing is forked, and nothing is used again."""
    bench = Bench(config(thread=True))
    try:
        pids = {result(start(bench, "spoils", key="threads", what="nothing"))["pid"] for _ in range(2)}
        assert len(pids) == 2
    finally:
        bench.spawner.close()


@pytest.mark.parametrize("by", ["close", "kill -9"])
def test_who_waits_ends_with_the_forkserver(by):
    """Nobody that waits for an attempt outlives the end or the death of who would bring it."""
    bench = Bench(config())
    pids = [start(bench, "nothing", key=f"{number}") for number in range(3)]
    pids = [result(one) or one.pid for one in pids]
    assert alive(pids) == pids
    if by == "kill -9":
        os.kill(bench.spawner.forkserver.pid, signal.SIGKILL)
        assert bench.lost_event.wait(10)
    bench.spawner.close()
    assert alive(pids) == []


def _stopped(bound):
    """A process that stands still, and has so long to live."""
    process = subprocess.Popen(["sleep", str(bound)])
    process.send_signal(signal.SIGSTOP)
    until(lambda: state(process.pid) == "T", 10.0, "the stop")
    return process


def test_who_waits_for_too_long_is_ended():
    """The pool's clock is a parameter: at the bound it is still there, past it it is dead."""
    pool, process = Pool(), _stopped(60)
    ours, theirs = socket.socketpair()
    with theirs:
        pool.admit(process.pid, ("key", 9), ours)
        assert pool.keeps(process.pid, 1000.0)
        pool.end_idle(1000.0 + IDLE_S)
        assert state(process.pid) == "T"
        pool.end_idle(1000.1 + IDLE_S)
        assert process.wait(10) == -signal.SIGKILL
        assert pool.hand_over({"reuse": ["key", 9]}, []) is None
        pool.forget(process.pid)
        assert len(pool) == 0


def test_who_was_continued_by_somebody_else_is_given_nothing(bench):
    """It may have done anything since it was looked at: it is ended, and the next attempt has a process of its own."""
    first = start(bench, "nothing", key="woken")
    result(first)
    os.kill(first.pid, signal.SIGCONT)
    until(lambda: state(first.pid) == "S", 10.0, "somebody who waits for its next attempt")
    second = start(bench, "nothing", key="woken")
    assert second.pid != first.pid
    result(second)
    until(lambda: not alive([first.pid]), 10.0, "the end of who was continued")
