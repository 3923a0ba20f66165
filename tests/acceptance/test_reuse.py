"""Agents that allow reuse, as tasks of real workers: what follows one another in a process has no part in another."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.workers.door import Event
from tests.acceptance.harness import Site, one_end
from tests.acceptance.liars import PAIRS
from tests.spawning import alive
from tests.waiting import until


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a worker that is ready, with two slots."""
    with Site({"slots": 2}) as one:
        one.start().wait_ready()
        yield one


def _claim(site: Site, task_id: str, state: str = lifecycle.FINISHED_UNPROVEN) -> dict[str, Any]:
    task = site.wait_for(task_id, state)
    assert one_end(site.snapshot(task_id)) == []
    claim: dict[str, Any] = task.claim
    return claim


def _alone(site: Site, agent: str = "again") -> dict[str, Any]:
    """One task that is to end well, at its first attempt."""
    task_id = site.enqueue(agent)
    claim = _claim(site, task_id)
    assert site.task(task_id).attempt == 1
    return claim


def test_three_tasks_share_a_process_and_nothing_of_their_own() -> None:
    """One slot, seven tasks of reuse = 3: three processes; each task with folders, variables and output of its own."""
    with Site({"slots": 1}) as site:
        worker = site.start().wait_ready()
        ids = [site.enqueue("write_reused", out=site.out(f"{n}"), text=f"text{n}") for n in range(7)]
        claims = [_claim(site, one, lifecycle.VERIFIED) for one in ids]
        assert [claim["count"] for claim in claims] == [1, 2, 3, 1, 2, 3, 1]
        assert len({claim["pid"] for claim in claims}) == 3
        for number, (task_id, claim) in enumerate(zip(ids, claims, strict=True)):
            [record] = site.snapshot(task_id).attempts
            assert record["pid"] == claim["pid"]
            assert (claim["PROOFQ_TASK_ID"], claim["PROOFQ_ATTEMPT"]) == (task_id, "1")
            assert all(f"/tasks/{task_id}/" in f"{claim[name]}/" for name in ("cwd", "HOME", "TMPDIR"))
            assert (Path(claim["cwd"]).parent / "stdout").read_text() == f"wrote text{number}\n"
        assert alive([claims[-1]["pid"]]), "it waits for another task"
        worker.term()
        assert worker.wait(20) == 0
        site.wait_nothing_left()


@pytest.mark.parametrize(
    ("how", "state", "kind"),
    [
        ("exit", lifecycle.QUARANTINED, "crash"),
        ("die", lifecycle.QUARANTINED, "crash"),
        ("hang", lifecycle.FAILED, "timeout"),
    ],
)
def test_a_bad_end_is_nobody_elses(site: Site, how: str, state: str, kind: str) -> None:
    """The tasks before and after it in its process end well at their first attempt."""
    _alone(site, "brief")
    task = site.wait_for(site.enqueue("brief", how=how), {state, lifecycle.FAILED, lifecycle.QUARANTINED})
    assert task.failure is not None
    assert task.failure.kind == kind
    assert one_end(site.snapshot(task.id)) == []
    pids = {record["pid"] for record in site.snapshot(task.id).attempts}
    assert alive(list(pids)) == []
    assert _alone(site, "brief")["pid"] not in pids


def test_a_second_attempt_has_a_process_of_its_own(site: Site) -> None:
    """What did not end well may owe that to a neighbour of before, so it is tried again where nobody was."""
    shared = _alone(site)["pid"]
    task_id = site.enqueue("again", how="raise once")
    claim = _claim(site, task_id)
    first, second = site.snapshot(task_id).attempts
    assert first["pid"] != second["pid"] == claim["pid"]
    assert claim["count"] == 1
    assert claim["pid"] not in {shared, first["pid"]}
    assert alive([claim["pid"]]) == []


def test_kill_9_in_the_middle_of_a_task_costs_that_attempt(site: Site) -> None:
    """From outside: the attempt is lost to the signal, the task runs again, and ends well."""
    go = site.out(os.urandom(4).hex())
    _alone(site)
    task_id = site.enqueue("again", how="hang", go=go)
    site.wait_for(task_id, lifecycle.RUNNING)
    [running] = site.snapshot(task_id).attempts
    # Said while it matters: what ended in success is kept without it.
    assert running["shared"] is True
    os.kill(running["pid"], signal.SIGKILL)
    Path(go).touch()
    site.wait_for(task_id, lifecycle.FINISHED_UNPROVEN)
    first, _ = site.snapshot(task_id).attempts
    assert first["outcome"] == "failed"
    _alone(site)


def test_a_cancel_is_one_tasks(site: Site) -> None:
    """Whoever is cancelled loses its process; the next task begins in another."""
    before = _alone(site)["pid"]
    task_id = site.enqueue("again", how="hang")
    site.wait_for(task_id, lifecycle.RUNNING)
    assert site.session.door.apply(task_id, Event("cancel", "test")).ok
    site.wait_for(task_id, lifecycle.CANCELLED)
    until(lambda: not alive([site.snapshot(task_id).attempts[0]["pid"]]), 20.0, "the end of its process")
    assert _alone(site)["pid"] != before or before != site.snapshot(task_id).attempts[0]["pid"]


def test_a_process_is_not_killed_for_a_task_it_had_before() -> None:
    """The second attempt of a task ends what its first left; that its process has another task now is not that."""
    with Site({"slots": 1}) as site:
        site.start().wait_ready()
        go = site.out("go")
        first = site.enqueue("forgets_once", out=site.out("a"))
        until(lambda: site.task(first).counted == 1, 20.0, "the end of its first attempt")
        neighbour = site.enqueue("forgets_once", out=site.out("b"), go=go)
        site.wait_for(neighbour, lifecycle.RUNNING)
        # Its only slot is taken: the second attempt has another worker on the same host.
        site.start().wait_ready()
        claim = _claim(site, first, lifecycle.VERIFIED)
        pids = [record["pid"] for record in site.snapshot(first).attempts]
        assert claim["pid"] == pids[1]
        assert site.snapshot(neighbour).attempts[0]["pid"] == pids[0], "the neighbour has the process of the first"
        assert site.task(neighbour).state == lifecycle.RUNNING
        Path(go).touch()
        assert _claim(site, neighbour, lifecycle.VERIFIED)["pid"] == pids[0]
        assert site.task(neighbour).attempt == 1


def test_a_dead_supervisor_takes_who_waits_with_it() -> None:
    """kill -9 of the supervisor: neither who has a task nor who waits for one lives on."""
    with Site({"slots": 2}) as site:
        worker = site.start().wait_ready()
        go = site.out("go")
        busy = site.enqueue("again", how="hang", go=go)
        site.wait_for(busy, lifecycle.RUNNING)
        pids = [_alone(site)["pid"], site.snapshot(busy).attempts[0]["pid"]]
        assert alive(pids) == pids
        worker.one("supervisor").signal(signal.SIGKILL)
        until(lambda: not alive(pids), 10.0, "the end of both")
        Path(go).touch()
        assert _claim(site, busy)["count"] == 1


FILE_PAIRS = [name for name, pair in PAIRS.items() if pair.proofs.startswith('{ kind = "file"') and not pair.inputs]
#: Whose way to lie is that of a program: by what it prints, or how it ends after a signal.
OF_COMMANDS = {"exit-0-after-our-signal", "success-event-beside-is-error"}


def _declare_liars(site: Site) -> None:
    """An agent that allows reuse for each pair of the heart: it runs the script that it is given."""
    lines = ["import subprocess", "import tomllib", "import proofq"]
    for name in sorted(set(FILE_PAIRS) - OF_COMMANDS):
        lines += [
            f"@proofq.agent(name={'reused-' + name!r}, reuse=50, max_attempts=1, timeout_s=60, cwd='{{dir}}',",
            f"    proofs=[tomllib.loads({'proof = ' + PAIRS[name].proofs!r})['proof']])",
            f"def liar_{len(lines)}(ctx, script: str, dir: str) -> int:",
            "    subprocess.run(['/bin/sh', '-c', script], check=True)",
            "    import os; return os.getpid()",
        ]
    (site.project / "reused_liars.py").write_text("\n".join(lines) + "\n")
    toml = site.project / "proofq.toml"
    toml.write_text(toml.read_text().replace('"reused"]', '"reused", "reused_liars"]'))


def test_liars_are_caught_in_a_process_that_honest_ones_use(tmp_path: Path) -> None:
    """The liars of the heart and their twins, by turns in the same processes: no liar is verified, no twin refused."""
    with Site({"slots": 2}) as site:
        _declare_liars(site)
        site.start().wait_ready()
        liars: dict[str, str] = {}
        twins: dict[str, str] = {}
        for name in sorted(set(FILE_PAIRS) - OF_COMMANDS):
            pair = PAIRS[name]
            for found, acts in ((liars, pair.acts(pair.liars)), (twins, pair.acts(pair.twins))):
                for who, (script, _) in acts:
                    folder = tmp_path / f"{name}-{who}"
                    folder.mkdir()
                    subprocess.run(["/bin/sh", "-c", pair.before], cwd=folder, check=True)
                    found[site.enqueue(f"reused-{name}", script=script, dir=str(folder))] = f"{name}: {who}"
        ended = site.wait_all([*liars, *twins], 120)
        assert len(liars) >= 12
        assert {liars[one] for one in liars if ended[one].state == lifecycle.VERIFIED} == set()
        assert {twins[one]: ended[one].failure for one in twins if ended[one].state != lifecycle.VERIFIED} == {}
        assert [wrong for one in ended for wrong in one_end(site.snapshot(one))] == []
        claims = [ended[one].claim for one in ended if isinstance(ended[one].claim, int)]
        assert len(set(claims)) < len(claims), "processes were used again"
