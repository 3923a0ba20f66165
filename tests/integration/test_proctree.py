"""Process trees, with real processes: who is alive, who is below whom, and killing all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from proofq.workers import killing, proctree
from tests.waiting import until

# Ignores TERM and leaves its first process by two forks and two sessions, several times; prints each pid.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for _ in range({copies}):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.setsid()
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(300)
        os._exit(0)
os.write(1, b"%d\\n" % os.getpid())
time.sleep(300)
"""


@pytest.fixture
def start():
    """Start `python -c` programs in sessions of their own; each is killed at the end."""
    started = []

    def run(program, **options):
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, **options
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def pids_printed(process, count):
    """The pids that a program's processes print, once there are `count` of them."""
    return [int(process.stdout.readline()) for _ in range(count)]


def state(pid):
    """The state letter of a process, "" when it is gone."""
    one = proctree.read(pid)
    return one.state if one is not None else ""


def alive(pids):
    """Those of `pids` that live."""
    return [pid for pid in pids if (one := proctree.read(pid)) is not None and not one.dead]


def test_reads_a_name_with_parentheses_spaces_and_newlines(start):
    """The fields behind the command name are found whatever the name is."""
    process = start(
        "import ctypes, time; ctypes.CDLL(None).prctl(15, b') R 1 (\\n) x', 0, 0, 0)\n"
        "print(0, flush=True); time.sleep(300)"
    )
    process.stdout.readline()
    one = proctree.read(process.pid)
    assert one is not None
    assert (one.ppid, one.session, one.pgid) == (os.getpid(), process.pid, process.pid)
    assert one.state in "SR"


def test_an_identity_outlives_neither_death_nor_reuse(start):
    """A zombie and a reused pid are dead; another boot or namespace is no evidence of death."""
    process = start("import time; time.sleep(300)")
    one = proctree.identity(process.pid)
    assert proctree.ProcessId.from_dict(one.to_dict()) == one
    assert proctree.is_alive(one)
    assert not proctree.is_dead(one)
    reused = proctree.ProcessId(one.pid, one.start_ticks - 1, one.boot_id, one.pid_ns)
    assert proctree.is_dead(reused)
    for other in (
        proctree.ProcessId(one.pid, one.start_ticks, "another boot", one.pid_ns),
        proctree.ProcessId(one.pid, one.start_ticks, one.boot_id, "pid:[1]"),
    ):
        assert not proctree.is_alive(other)
        assert not proctree.is_dead(other)
    process.kill()
    until(lambda: state(one.pid) == "Z")
    assert proctree.is_dead(one)
    assert not proctree.is_alive(one)
    process.wait()
    assert proctree.is_dead(one)
    with pytest.raises(ProcessLookupError):
        proctree.identity(one.pid)


def test_a_process_whose_first_thread_left_is_alive(start):
    """It shows as a zombie although its other threads go on, and is killed like any other."""
    process = start(
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(300,)).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)"
    )
    until(lambda: state(process.pid) == "Z")
    assert proctree.is_alive(proctree.identity(process.pid))
    assert killing.kill_tree([process.pid], grace_s=0) == []
    assert process.wait() == -signal.SIGKILL


def test_descendants_are_found_in_order_and_excluded_with_all_below(start):
    """Parents come before children; what is excluded takes its subtree with it."""
    process = start(
        "import subprocess, sys, os\n"
        "print(os.getpid(), flush=True)\n"
        "subprocess.run(['sh', '-c', 'echo $$; sleep 300; true'])"
    )
    root, shell = pids_printed(process, 2)
    until(lambda: len(proctree.descendants(root)) == 2)
    below = [one.pid for one in proctree.descendants(root)]
    assert below[0] == shell
    assert proctree.descendants(root, exclude={shell}) == []
    assert killing.kill_tree([root], exclude={shell}, grace_s=0) == []
    assert alive(below) == below
    assert killing.kill_tree([shell], grace_s=0) == []
    assert alive(below) == []


ADOPTS = """
import os, time
from proofq.workers import proctree
proctree.become_subreaper()
none = proctree.own_children()
ended = os.pipe()
for number in range(60):
    if os.fork() == 0:
        if number % 3 == 0 and os.fork():
            os._exit(0)  # its child lost its parent
        os.close(ended[1])
        if number % 3 == 1:
            os._exit(0)  # a zombie
        time.sleep(300)
        os._exit(0)
deadline = time.monotonic() + 30
while True:
    seen = {one.pid: one for one in proctree.children(os.getpid())}
    dead = sum(one.dead for one in seen.values())
    if (len(seen), dead) == (80, 40) or time.monotonic() > deadline:
        break
    time.sleep(0.01)
print(none == set(), len(seen), dead, proctree.own_children() == seen.keys(), flush=True)
killing.kill_descendants(clock=__import__("proofq.workers.clock").workers.clock.SystemClock())
"""


def test_own_children_are_all_there_zombies_and_adopted_orphans_too(start):
    """One file of the kernel's names exactly the children that a walk of /proc finds."""
    process = start(ADOPTS)
    assert process.stdout.readline() == b"True 80 40 True\n"


def test_kills_a_tree_that_ignores_term_and_moves_to_other_sessions(start):
    """TERM does nothing; after the grace all of it is dead, what lost its parent meanwhile included."""
    become = "import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
    process = start(become + STUBBORN.format(copies=5))
    pids = pids_printed(process, 6)
    began = time.monotonic()
    assert killing.kill_tree([process.pid], grace_s=0.2) == []
    assert 0.2 <= time.monotonic() - began < 15
    assert alive(pids) == []


def test_a_tree_that_obeys_is_given_its_grace(start):
    """TERM is enough for who listens, stopped processes included, and nothing waits for the whole grace."""
    process = start(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye\\n'), sys.exit(0)))\n"
        "os.write(1, b'up\\n')\ntime.sleep(300)"
    )
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    assert killing.kill_tree([process.pid], grace_s=20) == []
    assert process.stdout.readline() == b"bye\n"


def test_freezing_ends_a_tree_that_forks_all_the_time(start):
    """Each process forks a successor and leaves within its group, faster than /proc can be walked."""
    process = start(
        "import ctypes, os, signal, time\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.alarm(60)\n"
        # An alarm is not inherited by a fork: the chain needs an end that is, should nobody manage to kill it.
        "end = time.monotonic() + 30\n"
        "if os.fork() == 0:\n"
        "    while time.monotonic() < end:\n"
        "        if os.fork(): os._exit(0)\n"
        "    os._exit(0)\n"
        "print(0, flush=True)\n"
        "signal.pause()"
    )
    process.stdout.readline()
    group = process.pid
    assert killing.kill_tree([process.pid], grace_s=0) == []
    until(
        lambda: not any(one.pgid == group and not one.dead for one in proctree.snapshot().values()),
        within_s=3,
    )


def test_an_owners_leftovers_are_found_by_marker_and_by_forkserver(start):
    """Marked processes and all below them die, below a spared guard too; the guard and strangers live."""
    marker = f"test-{os.getpid()}:{time.monotonic_ns()}"
    environ = os.environ | {"PROOFQ_OWNER": marker}
    marked = start(STUBBORN.format(copies=2), env=environ)
    guard = start('import os, time\nos.fork()\nos.write(1, b"%d\\n" % os.getpid())\ntime.sleep(300)', env=environ)
    forkserver = start(STUBBORN.format(copies=0))
    stranger = start("print(0, flush=True); import time; time.sleep(300)", env=environ | {"PROOFQ_OWNER": "x"})
    leftovers = pids_printed(marked, 3) + pids_printed(forkserver, 1)
    guards = pids_printed(guard, 2)
    stranger.stdout.readline()
    os.kill(leftovers[0], signal.SIGSTOP)
    assert set(guards) <= set(proctree.find_by_marker("PROOFQ_OWNER", marker))
    left = killing.kill_owner_tree("PROOFQ_OWNER", marker, proctree.identity(forkserver.pid), spare={guard.pid})
    assert left == []
    assert alive([*leftovers, *guards, stranger.pid]) == [guard.pid, stranger.pid]
