"""Proofs that cannot tell, and proofs that decide before anything runs again: real workers, real programs as proofs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import Site, one_end
from tests.waiting import until

#: It notes that it was asked. It cannot tell (it is killed) until it is let, and then says whether the work is there.
CHECK = """#!/bin/sh
echo asked >> "$1/asked"
[ -e "$1/reachable" ] || kill -9 $$
exec test -e "$1/work"
"""
#: It notes that it ran, does its work or not, and ends as it is told.
AGENT = 'echo "$2" >> "$1/runs"; [ "$3" = lies ] || touch "$1/work"; [ "$3" != stays ] || sleep 600; exit "$4"'

WORDS = json.dumps(["/bin/sh", "-c", AGENT, "sh", "{dir}", "{attempt}", "{how}", "{code}"])
TOML = f"""
[agents.checked]
command = {WORDS}
inputs = {{ dir = "str", how = "str", code = "int" }}
pass_env = ["PQ_SITE_MARK"]
timeout_s = 120
max_attempts = 1
verify_wait_s = WAIT
look_first = LOOK
proofs = [{{ kind = "command", argv = ["{{project}}/check", "{{dir}}"] }}]
"""
#: It fails without a word, and its only proof reads what it would have claimed.
MUTE = """
[agents.mute]
command = ["/bin/sh", "-c", "exit 3"]
pass_env = ["PQ_SITE_MARK"]
max_attempts = 1
look_first = true
proofs = [{ kind = "json" }]
"""
#: Each agent's verify_wait_s and look_first.
AGENTS = {
    "checked": ("0", "false"),
    "patient": ("600", "false"),
    "looker": ("0", "true"),
    "patient_looker": ("600", "true"),
}


def _site() -> Site:
    site = Site()
    check = site.project / "check"
    check.write_text(CHECK)
    check.chmod(0o755)
    toml = site.project / "proofq.toml"
    parts = [
        TOML.replace("checked]", f"{name}]").replace("WAIT", wait_s).replace("LOOK", look)
        for name, (wait_s, look) in AGENTS.items()
    ]
    toml.write_text(toml.read_text() + "".join(parts) + MUTE)
    return site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A worker that serves the agents."""
    with _site() as one:
        one.start().wait_ready()
        yield one


def _folder(site: Site, name: str) -> Path:
    folder = site.files / name
    folder.mkdir()
    return folder


def _enqueue(site: Site, agent: str, folder: Path, how: str = "works", code: int = 0) -> str:
    return site.enqueue(agent, dir=str(folder), how=how, code=code)


def _replay(site: Site, task_id: str) -> None:
    assert site.inside("replay", task_id).code == 0


def _runs(folder: Path) -> list[str]:
    return (folder / "runs").read_text().split()


def test_a_claim_that_nobody_can_check_is_held_until_a_replay(site: Site) -> None:
    """Held with the evidence, nobody blamed; a replay moves it, and the proofs are read again."""
    folder = _folder(site, "held")
    task_id = _enqueue(site, "checked", folder)
    task = site.wait_for(task_id, "held")
    assert task.failure is not None
    assert (task.failure.kind, task.failure.reason) == ("infrastructure", "command proof: it was killed (signal 9)")
    assert task.verdict is not None
    assert task.verdict["outcome"] == "cannot_tell"
    assert task.counted == 0
    shown = site.snapshot(task_id).attempts[-1]
    assert (shown["outcome"], shown["counted"]) == ("cannot_tell", False)
    (folder / "reachable").touch()
    _replay(site, task_id)
    site.wait_for(task_id, "verified")
    assert (folder / "asked").read_text() == "asked\nasked\n"
    assert one_end(site.snapshot(task_id)) == []


def test_a_lie_that_could_not_be_checked_is_found_out_by_the_replay(site: Site) -> None:
    """Cannot tell is no yes: once it can be looked at, what is not there is unverified."""
    folder = _folder(site, "held-lie")
    task_id = _enqueue(site, "checked", folder, "lies")
    site.wait_for(task_id, "held")
    (folder / "reachable").touch()
    _replay(site, task_id)
    task = site.wait_for(task_id, "quarantined")
    assert task.failure is not None
    assert task.failure.kind == "unverified"


def test_proofs_are_asked_again_for_verify_wait_s(site: Site) -> None:
    """The claim waits for its proofs: what becomes reachable in time is verified in the same attempt."""
    folder = _folder(site, "patient")
    task_id = _enqueue(site, "patient", folder)
    until(lambda: (folder / "asked").exists(), 30.0, "the first question")
    assert site.task(task_id).state == "claimed_done"
    (folder / "reachable").touch()
    site.wait_for(task_id, "verified")
    assert _runs(folder) == ["1"]
    assert "hold" not in site.events(task_id)


def test_a_claim_that_waits_for_its_proofs_can_be_cancelled(site: Site) -> None:
    """A human's no ends the wait."""
    folder = _folder(site, "cancelled")
    task_id = _enqueue(site, "patient", folder)
    until(lambda: (folder / "asked").exists(), 30.0, "the first question")
    assert site.inside("cancel", task_id).code == 0
    site.wait_for(task_id, "cancelled")
    assert one_end(site.snapshot(task_id)) == []


@pytest.mark.parametrize(("how", "state"), [("works", "verified"), ("lies", "quarantined")])
def test_look_first_finds_work_that_ended_badly(site: Site, how: str, state: str) -> None:
    """Done, then a bad exit: verified without a second run. Not done: the failure stands."""
    folder = _folder(site, f"looker-{how}")
    (folder / "reachable").touch()
    task_id = _enqueue(site, "looker", folder, how, code=3)
    site.wait_for(task_id, state)
    assert ("found" in site.events(task_id)) == (state == "verified")
    assert _runs(folder) == ["1"]
    assert one_end(site.snapshot(task_id)) == []


def test_look_first_takes_no_claim_for_the_claim_null(site: Site) -> None:
    """A proof of the claim finds nothing where the attempt failed: no claim is no document."""
    task = site.wait_for(site.enqueue("mute"), "quarantined")
    assert task.failure is not None
    assert task.failure.kind == "crash"


def test_without_look_first_a_bad_end_is_a_failure(site: Site) -> None:
    """Whatever the proof would say."""
    folder = _folder(site, "unlooked")
    (folder / "reachable").touch()
    task = site.wait_for(_enqueue(site, "checked", folder, code=3), "quarantined")
    assert task.failure is not None
    assert task.failure.kind == "crash"
    assert not (folder / "asked").exists()


def test_an_unknown_end_that_nobody_can_check_runs_nothing() -> None:
    """The worker dies with its agents: while their proofs cannot tell nothing runs again, and a held one stays held."""
    with _site() as site:
        first = site.start().wait_ready()
        folders = {agent: _folder(site, agent) for agent in ("looker", "patient_looker")}
        ids = {agent: _enqueue(site, agent, folder, "stays") for agent, folder in folders.items()}
        for agent, folder in folders.items():
            site.wait_for(ids[agent], "running")
            until((folder / "work").exists, 30.0, "the work")
        site.start().wait_ready()
        first.signal_all(signal.SIGKILL)
        for folder in folders.values():
            until((folder / "asked").exists, 30.0, "the first question")
        (folders["patient_looker"] / "reachable").touch()
        for agent, state in (("looker", "held"), ("patient_looker", "verified")):
            site.wait_for(ids[agent], state)
            assert _runs(folders[agent]) == ["1"]
            assert ("found" in site.events(ids[agent])) == (state == "verified")
            assert site.snapshot(ids[agent]).attempts[-1]["ended_at"]
