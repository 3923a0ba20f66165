"""The launcher with real processes: restarts, drains, what dead lanes leave behind, and its own death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from proofq.workers import killing
from proofq.workers.launcher import BACKOFF_S, RESTARTS, RESTARTS_WITHIN_S, RestartBudget
from tests.spawning import ROOT, alive
from tests.waiting import until

# A lane that writes down each start and each TERM, and ends with the second one.
STEADY = """
import os, signal, sys
log = open(sys.argv[1], "a", buffering=1)
terms = []
def term(*_):
    terms.append(1)
    log.write("term\\n")
    len(terms) > 1 and sys.exit(0)
signal.signal(signal.SIGTERM, term)
log.write(f"up {os.getpid()}\\n")
while True: signal.pause()
"""

# A lane that leaves a tree behind which ignores TERM, prints its pids, and stays until it is killed.
LITTERING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
log = open(sys.argv[1], "a", buffering=1)
if os.fork() == 0:
    os.setsid()
    os.fork()
log.write(f"up {os.getpid()}\\n")
while True: time.sleep(100)
"""

# A lane that ends when its launcher does.
ORPHANED = """
import os, sys
log = open(sys.argv[1], "a", buffering=1)
log.write(f"up {os.getpid()}\\n")
log.write(f"eof {os.read(int(sys.argv[3]), 1)}\\n")
"""


@pytest.fixture
def host():
    """Start launchers; whatever is left of them is killed at the end."""
    started = []

    def run(lanes, *, burst=False, child=None):
        told = {"lanes": lanes, "burst": burst, "child": child}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.lane_host", json.dumps(told)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        killing.kill_tree([process.pid], grace_s=0)
        process.communicate()


def python(program, *args):
    """A lane's command line."""
    return [sys.executable, "-c", program, *map(str, args)]


def lines(path, word):
    """The words after `word` in the lines that begin with it."""
    text = path.read_text() if path.exists() else ""
    return [line.partition(" ")[2] for line in text.splitlines() if line.split(" ")[0] == word]


def pids_up(path):
    """The pids a lane has written down."""
    return [int(pid) for pid in lines(path, "up")]


def test_term_is_passed_on_each_time_and_the_end_is_0(host, tmp_path):
    """The first TERM drains, the second hurries: all supervisors hear both, then the launcher leaves."""
    logs = [tmp_path / "work", tmp_path / "meta"]
    launcher = host({path.name: python(STEADY, path) for path in logs})
    until(lambda: all(lines(path, "up") for path in logs))
    launcher.send_signal(signal.SIGTERM)
    until(lambda: all(len(lines(path, "term")) == 1 for path in logs))
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(10) == 0
    assert alive([pid for path in logs for pid in pids_up(path)]) == []


def test_a_dead_supervisor_is_replaced_at_once_and_the_other_lane_is_left_alone(host, tmp_path):
    """kill -9 of one lane: it is up again, with another pid, and nothing happens to its neighbour."""
    logs = [tmp_path / "work", tmp_path / "meta"]
    launcher = host({path.name: python(STEADY, path) for path in logs})
    until(lambda: all(lines(path, "up") for path in logs))
    began = time.monotonic()
    os.kill(pids_up(logs[0])[0], signal.SIGKILL)
    until(lambda: len(lines(logs[0], "up")) == 2)
    assert time.monotonic() - began < 15
    assert len(pids_up(logs[1])) == 1
    assert launcher.poll() is None
    assert alive(pids_up(logs[1])) == pids_up(logs[1])


def test_a_lane_that_dies_again_and_again_is_slowed_down(host, tmp_path):
    """So many restarts at once, each logged, then it waits; the launcher lives and still obeys."""
    log = tmp_path / "log"
    launcher = host({"work": ["sh", "-c", f"echo up $$ >> {log}; exit 3"]})
    said = [launcher.stderr.readline().decode() for _ in range(2 * RESTARTS + 2)]
    died = [line for line in said if "lane_died" in line]
    assert len(died) == RESTARTS + 1
    assert all("restart_in_s=0.0" in line for line in died[:-1])
    assert f"restart_in_s={BACKOFF_S}" in died[-1]
    assert len(lines(log, "up")) == RESTARTS + 1
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(10) == 0


def test_the_budget_of_restarts_is_a_window():
    """Old restarts are forgotten; too many new ones cost a wait."""
    budget = RestartBudget()
    assert [budget.start_at(float(n)) for n in range(RESTARTS)] == [float(n) for n in range(RESTARTS)]
    assert budget.start_at(50.0) == 50.0 + BACKOFF_S
    assert budget.start_at(RESTARTS_WITHIN_S + 5.0) == RESTARTS_WITHIN_S + 5.0


def test_a_burst_ends_with_its_lanes_and_a_refused_lane_ends_all(host, tmp_path):
    """Exit 0 of a burst is an end; exit 2 is one for every lane, and the launcher's own."""
    log = tmp_path / "log"
    script = f"if test -e {log}; then exit 0; fi; echo up $$ > {log}; exit 1"
    assert host({"work": ["sh", "-c", script]}, burst=True).wait(10) == 0
    steady = tmp_path / "steady"
    launcher = host(
        {"work": python(STEADY, steady), "meta": ["sh", "-c", f"until test -s {steady}; do :; done; exit 2"]}
    )
    until(lambda: lines(steady, "term"))
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(10) == 2


def test_what_a_dead_lane_leaves_is_killed(host, tmp_path):
    """Its whole tree, deaf to TERM and in another session, is gone 2 s after its supervisor; not sooner."""
    log = tmp_path / "log"
    host({"work": python(LITTERING, log)})
    until(lambda: len(pids_up(log)) == 3)
    supervisor, *litter = sorted(pids_up(log))
    began = time.monotonic()
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: alive(litter) == [])
    assert 1.9 < time.monotonic() - began < 15


def test_nothing_is_left_when_the_launcher_leaves(host, tmp_path):
    """Also what the last supervisor left behind, but no child that was there before."""
    log = tmp_path / "log"
    launcher = host({"work": python(LITTERING, log)}, child=["sleep", "300"])
    spared = int(launcher.stdout.readline())
    until(lambda: len(pids_up(log)) == 3)
    launcher.send_signal(signal.SIGTERM)
    os.kill(sorted(pids_up(log))[0], signal.SIGKILL)
    assert launcher.wait(10) == 0
    assert alive([*pids_up(log), spared]) == [spared]
    os.kill(spared, signal.SIGKILL)


def test_the_lanes_learn_of_the_launchers_death(host, tmp_path):
    """kill -9 of the launcher closes the lifeline of every lane."""
    logs = [tmp_path / "work", tmp_path / "meta"]
    launcher = host({path.name: python(ORPHANED, path) for path in logs})
    until(lambda: all(lines(path, "up") for path in logs))
    launcher.kill()
    until(lambda: all(lines(path, "eof") for path in logs), within_s=2)
    until(lambda: alive([pid for path in logs for pid in pids_up(path)]) == [])


def test_a_nohup_is_respected(host, tmp_path):
    """HUP ends a launcher only where whoever started it has not said otherwise."""
    log = tmp_path / "log"
    launcher = host({"work": python(STEADY, log)})
    until(lambda: lines(log, "up"))
    launcher.send_signal(signal.SIGHUP)
    until(lambda: lines(log, "term"))
    ignoring = tmp_path / "ignoring"
    told = json.dumps({"lanes": {"work": python(STEADY, ignoring)}, "burst": False})
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "tests.lane_host", told], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    until(lambda: lines(ignoring, "up"))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    until(lambda: lines(ignoring, "term"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert len(lines(ignoring, "term")) == 2
