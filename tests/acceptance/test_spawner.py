"""Guards, kills and floods with real processes: nothing survives, nobody is blocked, nothing leaks."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from proofq.workers import guard, killing, proctree
from proofq.workers.spawner import SpawnFailed
from tests.spawning import ROOT, Bench, alive, config, printed_pids
from tests.waiting import until

#: Seconds in which a busy machine starts the Python that buries.
BURIED_S = 30.0


@pytest.fixture
def bench():
    """A spawner of this test's own."""
    bench = Bench(config())
    yield bench
    bench.spawner.close()


@pytest.fixture
def pair(tmp_path):
    """Start supervisors in processes of their own (see tests.guarded_pair); all of it is killed at the end."""
    started, found = [], []

    def run(lifeline=-1):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.guarded_pair", str(tmp_path / "buried"), str(lifeline)],
            cwd=ROOT,
            # The forkserver finds the burial before the agents' folder is on its path.
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[lifeline] if lifeline >= 0 else [],
        )
        started.append(process)
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        found.extend([*facts["pids"], facts["forkserver"]])
        return process, facts

    yield run
    for process in started:
        killing.kill_tree([process.pid, *found], grace_s=0)
        process.communicate()


def all_dead(pids, within_s):
    """Wait until none of `pids` lives; how long that took, in seconds."""
    began = time.monotonic()
    until(lambda: alive(pids) == [], within_s, f"the death of {alive(pids)}")
    return time.monotonic() - began


# --- what cannot be swallowed ---


@pytest.mark.parametrize("agent", ["function", "command", "bomb"])
def test_everything_is_dead_three_seconds_after_the_deadline(bench, agent):
    """Ignores exceptions and TERM, forks twice, setsids, nohups, drops its environment, stops itself: dead."""
    if agent == "function":
        running, count = bench.function("stubborn", copies=10), 11
        until(lambda: len(printed_pids(running)) == count)
        pids = printed_pids(running)
    elif agent == "bomb":
        running = bench.function("bomb", processes=30)
        until(lambda: len(proctree.descendants(running.pid)) >= 25)
        pids = [running.pid, *(one.pid for one in proctree.descendants(running.pid))]
    else:
        script = "trap '' TERM HUP; for i in 1 2 3 4; do (env -i setsid nohup sleep 300 & echo $!); done; echo $$; "
        running = bench.command("sh", "-c", script + "while :; do sleep 300; done")
        until(lambda: len(printed_pids(running)) == 5)
        pids = printed_pids(running)
    deadline = time.monotonic()
    running.kill("timeout")
    assert running.wait_ended(10)
    assert time.monotonic() - deadline < 3
    assert alive(pids) == []
    assert (running.ended.signal, running.ended.killed_by) == (signal.SIGKILL, "timeout")
    assert running.ended.survivors == ()


def test_a_neighbour_is_served_while_another_attempt_is_in_its_grace(bench):
    """The forkserver waits for nobody: a spawn takes as long as ever meanwhile."""
    running = bench.function("stubborn", copies=3)
    until(lambda: len(printed_pids(running)) == 4)
    running.kill("timeout", 2.0)
    other = bench.function("nothing")
    assert other.wait_ended(1.5)
    assert other.ended.exit_code == 0
    assert running.ended is None
    running.kill("timeout", 0)
    assert running.wait_ended(5)


# --- guards ---


def test_the_forkservers_death_takes_everything_with_it(pair):
    """kill -9 of the forkserver: all below the supervisor is dead at once, the slots and the callback are told."""
    process, facts = pair()
    began = time.monotonic()
    os.kill(facts["forkserver"], signal.SIGKILL)
    took = all_dead(facts["pids"], within_s=2)
    told = json.loads(process.stdout.readline())
    print(f"forkserver killed: all dead after {took * 1000:.0f} ms, told after {told['at'] - began:.3f} s")
    assert (told["lost"], told["alive"], told["ends"]) == (["forkserver_died"], [], ["guard", "guard"])
    assert process.wait(10) == 0


def test_the_supervisors_death_takes_everything_with_it(pair, tmp_path):
    """kill -9 of the supervisor: the forkserver kills all below itself, then buries the owner, then leaves."""
    process, facts = pair()
    process.kill()
    took = all_dead(facts["pids"], within_s=2)
    print(f"supervisor killed: all dead after {took * 1000:.0f} ms")
    until((tmp_path / "buried").exists, BURIED_S)
    buried = json.loads((tmp_path / "buried").read_text())
    # It is none of those any more that a worker which starts now kills.
    assert buried == {"pid": facts["forkserver"], "owner": facts["owner"].split(":")[0], "marked": False}
    all_dead([facts["forkserver"]], within_s=5)


def test_the_launchers_death_takes_everything_with_it(pair):
    """The lifeline closes: the supervisor kills all below itself, the forkserver too, and is told why."""
    reading, writing = os.pipe()
    process, facts = pair(reading)
    os.close(reading)
    os.close(writing)
    all_dead([*facts["pids"], facts["forkserver"]], within_s=2)
    told = json.loads(process.stdout.readline())
    assert (told["lost"], told["ends"]) == (["launcher_died"], ["guard", "guard"])


def test_a_forkserver_that_is_silent_is_dead(pair):
    """SIGSTOP of the forkserver: after five missed pulses all of it is killed."""
    process, facts = pair()
    os.kill(facts["forkserver"], signal.SIGSTOP)
    took = all_dead([*facts["pids"], facts["forkserver"]], within_s=9)
    assert took > 4
    assert json.loads(process.stdout.readline())["lost"] == ["forkserver_silent"]


def test_a_supervisor_that_is_silent_is_dead(pair, tmp_path):
    """SIGSTOP of the supervisor: its agents and then itself are killed, and its owner is buried."""
    process, facts = pair()
    process.send_signal(signal.SIGSTOP)
    all_dead(facts["pids"], within_s=9)
    assert process.wait(BURIED_S) == -signal.SIGKILL
    # As whoever starts a worker on this host does.
    guard.sweep(facts["owner"].split(":")[0])
    until((tmp_path / "buried").exists, BURIED_S)


def test_a_pause_of_both_is_no_silence(pair):
    """A pair that was stopped together, longer than five pulses, goes on where it was."""
    process, facts = pair()
    both = [process.pid, facts["forkserver"]]
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    assert not threading.Event().wait(7)
    for pid in both:
        os.kill(pid, signal.SIGCONT)
    assert not threading.Event().wait(2.5)
    assert alive([*both, *facts["pids"]]) == [*both, *facts["pids"]]


def test_what_both_guards_left_is_swept_by_the_marker(pair):
    """Supervisor and forkserver killed at once, no launcher: the sweep finds all that kept its environment."""
    process, facts = pair()
    os.kill(facts["forkserver"], signal.SIGSTOP)
    forkserver = proctree.identity(facts["forkserver"])
    # Children of a stopped forkserver, stopped ones among them.
    assert guard.sweep(facts["owner"].split(":")[0], forkserver, spare=(facts["forkserver"],)) == []
    assert alive(facts["pids"]) == []
    process.kill()


def test_a_spawner_without_a_forkserver_says_so(bench):
    """After the loss a spawn fails with a sentence instead of waiting, and closing is still possible."""
    running = bench.function("sleeps")
    os.kill(bench.spawner.forkserver.pid, signal.SIGKILL)
    assert bench.lost_event.wait(10)
    assert bench.lost == ["forkserver_died"]
    assert (running.ended.exit_code, running.ended.signal, running.ended.killed_by) == (None, None, "guard")
    with pytest.raises(SpawnFailed, match="gone"):
        bench.function("nothing")


def test_what_is_spared_survives_the_loss_of_the_guard():
    """An embedded Redis below a supervisor is not the guard's to kill."""
    spared = subprocess.Popen(["sleep", "300"], start_new_session=True)
    others = [one.pid for one in proctree.children(os.getpid())]
    bench = Bench(config(), spare=lambda: others)
    running = bench.function("stubborn", copies=3)
    until(lambda: len(printed_pids(running)) == 4)
    os.kill(bench.spawner.forkserver.pid, signal.SIGKILL)
    assert bench.lost_event.wait(10)
    assert alive([*printed_pids(running), spared.pid]) == [spared.pid]
    bench.spawner.close()
    spared.kill()
    spared.wait()


# --- output ---


def test_a_flood_is_capped_and_a_survivors_pipe_delays_nobody(bench, tmp_path):
    """200 MiB cost the cap on disk and 64 KiB in memory; the last word is kept."""
    files = {"stdout": tmp_path / "stdout", "stderr": tmp_path / "stderr"}
    script = "head -c 209715200 /dev/zero; printf last"
    running = bench.command("sh", "-c", script, keep_stdout=True, **files)
    assert running.wait_ended(60)
    assert running.output_bytes == 209715204
    assert running.full_stdout() is None
    assert files["stdout"].stat().st_size <= 1024 * 1024
    assert files["stdout"].read_bytes().endswith(b"\0last")
    assert len(running.stdout_tail()) == 65536
    began = time.monotonic()
    running = bench.command("sh", "-c", "setsid sleep 300 & printf whole", keep_stdout=True, **files)
    assert running.wait_ended(10)
    assert time.monotonic() - began < 20
    assert running.full_stdout() == b"whole"


# --- many ---


def test_hundreds_of_commands_leave_nothing(bench):
    """From eight threads at once: every exit code arrives; no zombie, no descriptor, no thread is left."""
    forkserver = bench.spawner.forkserver.pid
    bench.command("true").wait_ended(10)
    gc.collect()
    before = (open_files("self"), open_files(forkserver), threading.active_count())
    wrong: list[object] = []

    def slot(count):
        for n in range(count):
            running = bench.command("sh", "-c", f"echo {n}; exit {n % 100}")
            if not running.wait_ended(30) or running.ended.exit_code != n % 100 or running.stdout_tail() != b"%d\n" % n:
                wrong.append(running.ended)

    slots = [threading.Thread(target=slot, args=(50,)) for _ in range(8)]
    for one in slots:
        one.start()
    for one in slots:
        one.join()
    assert wrong == []
    gc.collect()
    assert (open_files("self"), open_files(forkserver), threading.active_count()) == before
    assert proctree.descendants(forkserver) == []


def open_files(pid):
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_two_hundred_functions_one_after_the_other(bench):
    """The time of a spawn, from the request to the told end; printed, and bounded generously."""
    took = []
    for _ in range(200):
        began = time.perf_counter()
        running = bench.function("nothing")
        assert running.wait_ended(10)
        took.append((time.perf_counter() - began) * 1000)
        assert running.ended.exit_code == 0
    took.sort()
    print(f"function spawn to end: median {took[100]:.1f} ms, p95 {took[190]:.1f} ms")
    assert took[100] < 50
