"""The `command` proof: a real process below a real forkserver, its exit code, its deadline, and what it leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.agent import Proof
from proofq.policies.verdict import ProofResult
from proofq.workers import perform, proctree
from proofq.workers.verify import Question, Verifier
from tests.spawning import Bench, alive, config
from tests.verifiers import HOST, VerifierProcesses, no_python
from tests.waiting import until


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A forkserver."""
    one = Bench(config())
    yield one
    one.spawner.close()


@pytest.fixture
def one(bench: Bench) -> Verifier:
    """A verifier that runs commands below it; no other kind of proof is asked for here."""
    return Verifier(HOST, VerifierProcesses().start, no_python, partial(perform.run_command_proof, bench.spawner))


def _ask(one: Verifier, folder: Path, *argv: str, timeout_s: float = 20.0, **more: Any) -> ProofResult:
    question = Question((Proof("command", {"argv": list(argv)}),), HOST, str(folder), str(folder), str(folder), {})
    return one.verify(replace(question, **more), timeout_s).proofs[0]


def _sh(one: Verifier, folder: Path, script: str, **more: Any) -> ProofResult:
    return _ask(one, folder, "sh", "-c", script, **more)


@pytest.mark.parametrize(
    ("script", "outcome", "reason"),
    [
        ("exit 0", "verified", ""),
        ("exit 1", "unverified", "it exited with 1"),
        ("exit 255", "unverified", "it exited with 255"),
        ("no-such-program", "unverified", "it exited with 127"),
        ("kill -9 $$", "cannot_tell", "it was killed (signal 9)"),
        ("kill $$", "cannot_tell", "it was killed (signal 15)"),
        ("trap 'exit 0' TERM; kill $$; exit 3", "verified", ""),
    ],
)
def test_the_exit_code_proves(one: Verifier, tmp_path: Path, script: str, outcome: str, reason: str) -> None:
    """0 is a yes, any other a no; who was killed could not tell."""
    result = _sh(one, tmp_path, script)
    assert (result.kind, result.outcome, result.reason) == ("command", outcome, reason)


@pytest.mark.parametrize(
    ("argv", "more", "told"),
    [
        (["no-such-program-anywhere"], {}, "it could not be started: exec no-such-program-anywhere: No such file"),
        (["/etc/passwd"], {}, "it could not be started: exec /etc/passwd: Permission denied"),
        (["true"], {"cwd": "/no/such/folder"}, "it could not be started: chdir /no/such/folder: No such file"),
        (["true"], {"host": "elsewhere"}, "the attempt ran on elsewhere, what it did there cannot be seen from"),
    ],
)
def test_what_cannot_be_started_cannot_tell(
    one: Verifier, tmp_path: Path, argv: list[str], more: dict[str, Any], told: str
) -> None:
    """Nor can one on another host than the attempt's."""
    result = _ask(one, tmp_path, *argv, **more)
    assert result.outcome == "cannot_tell"
    assert result.reason.startswith(told)


def test_what_it_said_last_is_the_evidence(one: Verifier, tmp_path: Path) -> None:
    """The end of stdout, then stderr, cut to what evidence may hold."""
    (tmp_path / "out.md").write_text("one\n")
    result = _sh(one, tmp_path, "cat out.md; echo two >&2; exit 3")
    assert result.to_dict()["evidence"]["output_tail"] == "one\ntwo\n"
    flood = _sh(one, tmp_path, "yes | head -c 100000; echo the end")
    assert flood.outcome == "verified"
    assert flood.evidence["output_tail"].endswith("y\nthe end\n")
    assert len(flood.to_dict()["evidence"]["output_tail"]) == 500


def test_it_reads_nothing_and_gets_nothing_of_the_agents(
    one: Verifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, no Redis, /dev/null as stdin, a HOME of its own that is gone afterwards, and no relative PATH."""
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("REDIS_URL", "redis://nowhere")
    # A short one: what is kept of the output as evidence has its bound.
    monkeypatch.setenv("PATH", ".::/usr/local/bin:/usr/bin:/bin:bin")
    (tmp_path / "env").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "env").chmod(0o755)
    result = _sh(one, tmp_path, "env; cat; touch $HOME/x; echo cwd=$PWD")
    assert result.outcome == "verified"
    lines = dict(line.split("=", 1) for line in str(result.evidence["output_tail"]).splitlines())
    assert lines["cwd"] == str(tmp_path)
    assert set(lines) - {"cwd", "_", "SHLVL", "OLDPWD"} <= {
        "PATH",
        "LANG",
        "TZ",
        "HOME",
        "TMPDIR",
        "PWD",
        "PROOFQ_OWNER",
    }
    assert all(folder.startswith("/") for folder in lines["PATH"].split(":"))
    assert lines["HOME"] == lines["TMPDIR"]
    assert not Path(lines["HOME"]).exists()


def test_one_that_outruns_its_time_is_killed_with_all_it_started(one: Verifier, tmp_path: Path) -> None:
    """Deaf to TERM, with a child in a session of its own: cannot tell, and nothing is left."""
    script = "trap '' TERM; setsid sh -c 'echo $$ > pids; while :; do sleep 1; done' & while :; do sleep 1; done"
    begun = time.monotonic()
    result = _sh(one, tmp_path, script, timeout_s=2.0)
    assert (result.outcome, result.reason) == ("cannot_tell", "it ran longer than the 2 s a proof may take")
    assert time.monotonic() - begun < 20
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert pids
    assert alive(pids) == []


def test_what_it_leaves_behind_is_killed(one: Verifier, tmp_path: Path) -> None:
    """A proof that ends well and leaves a process: it proves, and the process is dead."""
    script = "setsid sh -c 'echo $$ > pid; while :; do sleep 1; done' & while [ ! -s pid ]; do sleep 0.05; done"
    assert _sh(one, tmp_path, script).outcome == "verified"
    assert alive([int((tmp_path / "pid").read_text())]) == []


def test_neither_this_process_nor_its_agents_run_it(bench: Bench, one: Verifier, tmp_path: Path) -> None:
    """It is a child of the forkserver."""
    result = _sh(one, tmp_path, "echo $$ $PPID")
    pid, parent = (int(word) for word in str(result.evidence["output_tail"]).split())
    assert pid != os.getpid()
    assert parent == bench.spawner.forkserver.pid
    until(lambda: proctree.read(pid) is None, 10.0, "the end of the proof's process")


def test_must_change_runs_it_before_the_first_attempt(one: Verifier, tmp_path: Path) -> None:
    """A yes starts nothing, a no is written down, and not knowing starts nothing either."""
    proof = Proof("command", {"argv": ["test", "-e", "out.md"]}, must_change=True)
    question = Question((proof,), HOST, str(tmp_path), str(tmp_path), str(tmp_path), {})
    assert one.verify(question, 20).outcome == "cannot_tell"
    baseline = one.baseline(question, 20)
    assert baseline.outcome == "ready"
    (tmp_path / "out.md").touch()
    assert one.verify(replace(question, record=baseline.record), 20).outcome == "verified"
    assert one.baseline(question, 20).outcome == "already_true"
    broken = replace(question, proofs=(Proof("command", {"argv": ["no-such-program"]}, must_change=True),))
    assert one.baseline(broken, 20).outcome == "cannot_tell"
