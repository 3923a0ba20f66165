"""What a child of the forkserver is, what it reports, and how it ends; with a real forkserver."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from proofq.workers import file_baseline, proctree
from proofq.workers.child import RUN_PROOF
from proofq.workers.report import MAX_RESULT_BYTES
from proofq.workers.spawner import AgentsNotLoaded, SpawnRequest
from proofq.workers.wire import Channel
from tests.spawning import ENV, ROOT, Bench, alive, config, function, printed_pids
from tests.waiting import until


@pytest.fixture(scope="module")
def bench():
    """One spawner for the tests that do it no harm."""
    bench = Bench(config())
    yield bench
    bench.spawner.close()


@pytest.fixture(scope="module")
def threaded():
    """A spawner whose agents leave a thread when they are loaded."""
    bench = Bench(config(thread=True))
    yield bench
    bench.spawner.close()


def ended(running):
    """How a process ended, once it has."""
    assert running.wait_ended(20)
    return running.ended


def test_a_function_stands_alone_on_its_stage(bench, tmp_path):
    """Own session and directory, the given environment and nothing else, no descriptor of ours."""
    os.environ["PROOFQ_SECRET"] = "x"
    running = bench.function("echo", tmp_path, a=1, b="é")
    end = ended(running)
    said = end.report["result"]
    assert (end.exit_code, end.signal, end.killed_by, end.survivors) == (0, None, "", ())
    assert said["inputs"] == {"a": 1, "b": "é"}
    assert said["env"].pop("PROOFQ_OWNER").startswith("owner-a:")
    assert said["env"] == ENV
    assert said["pid"] == said["sid"] == running.pid
    assert said["ppid"] == bench.spawner.forkserver.pid
    assert (said["cwd"], said["umask"], said["stdin"]) == (str(tmp_path), 0o077, "")
    # 0 to 2, the report, and the one that lists them.
    assert len(said["fds"]) == 5
    assert (said["oom"], said["term"], said["blocked"], said["threads"]) == ("500", True, 0, 1)
    assert said["pipe"] == -signal.SIGPIPE
    assert said["ctx"] == ["t-1", 1, str(tmp_path), str(tmp_path), None]
    assert end.usage.max_rss_kib > 1000


@pytest.mark.parametrize("kind", ["function", "command"])
def test_nothing_of_it_runs_before_the_file_systems_clock_has_moved_on(bench, tmp_path, kind):
    """What it writes is strictly newer than each marker that its baseline gave, however early that is."""
    marker_ns = time.time_ns() + 300_000_000
    ticks = [(str(tmp_path), marker_ns - 200_000_000), (str(tmp_path), marker_ns)]
    if kind == "command":
        running = bench.command("/bin/sh", "-c", "echo > made", cwd=str(tmp_path), ticks=ticks)
    else:
        running = bench.spawner.spawn(replace(function("touch", tmp_path, path="made"), ticks=ticks))
    assert not running.wait_started(0.1)
    assert ended(running).exit_code == 0
    assert (tmp_path / "made").stat().st_ctime_ns > marker_ns
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_file_system_whose_clock_stands_still_blames_nobody(monkeypatch, tmp_path):
    """The wait ends, with an errno that is the host's."""
    monkeypatch.setattr(file_baseline, "MAX_TICK_WAIT_S", 0.05)
    with pytest.raises(OSError, match="stood still") as raised:
        file_baseline.await_tick(str(tmp_path), time.time_ns() + 10**12)
    assert raised.value.errno == errno.ETIME


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("float('nan')", "malformed_output", "JSON"),
        ("{1: 2}", "malformed_output", "keys"),
        ("[{(1, 2): 3}]", "malformed_output", "keys"),
        ("'\\ud800'", "malformed_output", "surrogate"),
        ("object()", "malformed_output", "JSON"),
        ("'x' * (1 << 20)", "malformed_output", "file"),
        ("__import__('functools').reduce(lambda x, _: [x], range(100000), 1)", "malformed_output", "deep"),
        ("exit(0)", "crash", "SystemExit"),
        ("bytearray(1 << 60)", "resource", "MemoryError"),
    ],
)
def test_what_is_no_strict_json_is_no_result(bench, source, kind, words):
    """Half a result is a failure with a class and a sentence, never a claim."""
    end = ended(bench.function("value", source=source))
    assert end.exit_code == 1
    assert end.report["failure"]["kind"] == kind
    assert words in end.report["failure"]["reason"]


def test_the_largest_result_comes_through(bench):
    """A result just under the limit is reported whole."""
    end = ended(bench.function("value", source=f"'x' * {MAX_RESULT_BYTES - 2}"))
    assert len(end.report["result"]) == MAX_RESULT_BYTES - 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("bad", "bad_input"), ("proof", "unverified"), ("bug", "crash"), ("memory", "resource")],
)
def test_an_exception_is_classified_where_it_was_seen(bench, kind, expected):
    """The failure crosses as plain data, the traceback is in the captured output."""
    running = bench.function("raises", kind=kind)
    failure = ended(running).report["failure"]
    assert (failure["kind"], failure["phase"]) == (expected, "run")
    assert failure["fingerprint"]
    assert running.stdout_tail() == b"about to raise\n"
    assert b"Traceback" in running.stderr_tail()


def test_a_child_that_says_nothing_claims_nothing(bench):
    """Exit 0 without a word and a death by signal leave no report."""
    end = ended(bench.function("leaves", code=0))
    assert (end.exit_code, end.report) == (0, None)
    end = ended(bench.function("segfault"))
    assert (end.exit_code, end.signal, end.report) == (None, signal.SIGSEGV, None)


def test_state_survives_attempts_and_progress_is_passed_on(bench, tmp_path):
    """ctx.state is there again in the next attempt; of evidence given in a burst the last arrives."""
    assert [ended(bench.function("remembers", tmp_path)).report["result"]["n"] for _ in range(3)] == [1, 2, 3]
    assert json.loads((tmp_path / "state.json").read_text()) == {"n": 3}
    running = bench.function("progresses", tmp_path, steps=3)
    ended(running)
    count, latest = running.progress
    assert count in {2, 3}
    assert latest == '{"step":2}'
    assert running.stdout_tail() == b"to stdout\n"
    assert b"WARNING done with 3" in running.stderr_tail()


def test_a_proof_runs_in_a_process_of_its_own(bench, tmp_path):
    """It returns evidence or says that it is not so; both are results of the process."""
    file = tmp_path / "out"
    for text, expected in (("x", {"evidence": {"text": "x"}}), ("", {"not_proven": "it is empty"})):
        file.write_text(text)
        facts = {"inputs": {"path": str(file)}, "workdir": "/", "taskdir": str(tmp_path)}
        payload = {"function": "tests.process_agents:prove", "facts": facts, "project": str(ROOT)}
        request = SpawnRequest("function", ENV, "/", runner=RUN_PROOF, payload=payload)
        assert ended(bench.spawner.spawn(request)).report == {"result": expected}


def test_a_command_gets_its_words_its_input_and_its_environment(bench, tmp_path):
    """No shell of ours in between; started means executed; the exit code is kept."""
    running = bench.command(
        "sh",
        "-c",
        'cat; printf "%s|" "$@" "$PWD" "$HOME"; ls /proc/self/fd | wc -l; exit 7',
        "sh",
        "a b",
        "$(x)",
        env=ENV | {"HOME": "/h"},
        cwd=str(tmp_path),
        stdin=b"in\0put ",
    )
    assert running.wait_started(10)
    end = ended(running)
    assert (end.exit_code, end.report, end.start_error) == (7, None, None)
    # 0 to 2, and the one that lists them.
    assert running.stdout_tail() == b"in\0put a b|$(x)|%s|/h|4\n" % os.fsencode(tmp_path)


@pytest.mark.parametrize(
    ("argv", "options", "code", "step"),
    [
        (["no-such-program"], {}, errno.ENOENT, "exec no-such-program"),
        (["/no/such"], {}, errno.ENOENT, "exec /no/such"),
        (["/etc/passwd"], {}, errno.EACCES, "exec /etc/passwd"),
        (["no-such-program"], {"env": {"PATH": ""}}, errno.ENOENT, "exec no-such-program"),
        (["true"], {"cwd": "/no/such"}, errno.ENOENT, "chdir /no/such"),
        (["true", "x" * (1 << 18)], {}, errno.E2BIG, "exec "),
        (["true", "a\0b"], {}, errno.EINVAL, "exec 'true'"),
    ],
)
def test_what_cannot_start_says_why(bench, argv, options, code, step):
    """A failed exec is no exit 127 to be guessed at, and counts as not started."""
    running = bench.command(*argv, **options)
    assert not running.wait_started(10)
    end = ended(running)
    assert end.start_error.errno == code
    assert end.start_error.step.startswith(step)


def test_an_interpreter_gets_the_socket_it_is_passed(bench, tmp_path):
    """A fresh Python with our modules, one end of a socket pair, and nothing of its directory on its path."""
    (tmp_path / "socket.py").write_text("raise SystemExit('shadowed')")
    ours, theirs = socket.socketpair()
    env = {**ENV, "PYTHONPATH": str(ROOT)}
    fds = {3: theirs.fileno()}
    request = SpawnRequest("interpreter", env, str(tmp_path), ["tests.echo_server", "3"], fds=fds)
    running = bench.spawner.spawn(request)
    theirs.close()
    channel = Channel(ours)
    channel.send({"hello": 1})
    assert next(channel.receive(timeout_s=20)).body == {"hello": 1}
    channel.close()
    assert ended(running).exit_code == 0


def test_signals_for_the_whole_service_do_not_end_the_forkserver(bench):
    """TERM, INT and HUP mean the launcher; a command still dies of each."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(bench.spawner.forkserver.pid, signum)
        end = ended(bench.command("sh", "-c", f"kill -{int(signum)} $$"))
        assert (end.signal, end.killed_by) == (signum, "")


def test_agents_that_leave_a_thread_run_in_fresh_interpreters(threaded, tmp_path):
    """The module is named, nothing is forked with it, and functions and commands work all the same."""
    assert threaded.spawner.threads == ("tests.leaves_thread",)
    forkserver = threaded.spawner.forkserver
    assert len(list(Path(f"/proc/{forkserver.pid}/task").iterdir())) == 1
    running = threaded.function("echo", tmp_path, a=1)
    said = ended(running).report["result"]
    assert (said["inputs"], said["ppid"], said["threads"]) == ({"a": 1}, forkserver.pid, 2)
    assert said["env"].pop("PROOFQ_OWNER").startswith("owner-a:")
    assert said["env"] == ENV
    end = ended(threaded.function("raises", kind="bug"))
    assert end.report["failure"]["kind"] == "crash"
    assert ended(threaded.command("sh", "-c", "exit 3")).exit_code == 3


def test_agents_that_cannot_be_loaded_are_refused():
    """The spawner says what Python said, and leaves no process."""
    with pytest.raises(AgentsNotLoaded, match="no module named nonsense"):
        Bench(config(broken=True))


def test_what_an_attempt_leaves_running_is_dead_before_its_end_is_told(bench):
    """Double forks, own sessions, stopped processes, no environment: all dead when `wait_ended` returns."""
    running = bench.function("stubborn", copies=6, ends=True)
    assert running.wait_ended(20)
    left = printed_pids(running)
    assert len(left) == 7
    assert alive(left) == []
    assert (running.ended.exit_code, running.ended.killed_by, running.ended.survivors) == (0, "", ())
    running = bench.function("heavy", mebibytes=400)
    assert running.wait_ended(20)
    assert (alive(printed_pids(running)), running.ended.survivors) == ([], ())
    running = bench.command("sh", "-c", "for i in 1 2 3; do env -i setsid nohup sleep 300 & echo $!; done")
    assert running.wait_ended(20)
    left = printed_pids(running)
    assert len(left) == 3
    assert alive(left) == []


def test_an_orphan_of_a_running_attempt_is_left_alone(bench):
    """While its first process lives, what lost its parent stays in the attempt's tree."""
    running = bench.function("stubborn", copies=2)
    until(lambda: len(printed_pids(running)) == 3)
    pids = printed_pids(running)
    other = ended(bench.function("nothing"))
    assert other.exit_code == 0
    assert sorted(alive(pids)) == sorted(pids)
    below = {one.pid for one in proctree.descendants(running.pid)}
    assert set(pids) - {running.pid} <= below
    running.kill("cancel", 0)
    end = ended(running)
    assert (end.signal, end.killed_by) == (signal.SIGKILL, "cancel")
    assert alive(pids) == []


def test_a_kill_is_labelled_by_its_first_reason(bench):
    """TERM is enough for who listens; whoever came first has killed; an end by itself is not relabelled."""
    running = bench.function("sleeps")
    until(lambda: b"asleep" in running.stdout_tail())
    running.kill("timeout", 20)
    running.kill("cancel", 20)
    end = ended(running)
    assert (end.signal, end.killed_by) == (signal.SIGTERM, "timeout")
    running = bench.function("nothing")
    ended(running)
    running.kill("cancel")
    assert (running.ended.exit_code, running.ended.killed_by) == (0, "")


def test_exit_0_after_our_signal_is_still_labelled(bench):
    """A command that answers TERM with exit 0 was killed by us all the same."""
    running = bench.command("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done")
    until(lambda: b"up" in running.stdout_tail())
    running.kill("cancel", 20)
    end = ended(running)
    assert (end.exit_code, end.killed_by) == (0, "cancel")


def test_a_later_kill_may_shorten_the_grace(bench):
    """A second, more urgent order is not kept waiting by the first one's grace."""
    running = bench.function("stubborn", copies=0)
    until(lambda: printed_pids(running))
    running.kill("drain", 300)
    running.kill("drain", 0)
    assert ended(running).signal == signal.SIGKILL


def test_ending_is_what_the_policy_reads(bench):
    """`Running.ending` has the report, and stdout before stderr."""
    running = bench.command("sh", "-c", "echo out; echo err >&2; exit 2")
    ended(running)
    ending = running.ending()
    assert (ending.exit_code, ending.signal, ending.killed_by) == (2, None, "")
    assert ending.output_tail == "out\nerr\n"
    running = bench.spawner.spawn(function("value", source="3"))
    ended(running)
    assert running.ending().report == {"result": 3}
