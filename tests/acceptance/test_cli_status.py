"""`proofq status`: the fleet, counted without reading tasks, and whatever in it wants attention."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.workers import keys
from proofq.workers.audit import Audit
from proofq.workers.cli import exit_codes
from tests.acceptance.harness import Site
from tests.commands import TOML, Inside, Project
from tests.servers import PrivateServer
from tests.waiting import until
from tests.workbench import Bench

META = """
[agents.watcher]
command = ["true"]
lane = "meta"
unproven = true
"""


def _status(inside: Inside) -> dict[str, Any]:
    done = inside("status", "--json")
    assert done.code == 0, done
    return done.document


def _attention(inside: Inside) -> str:
    return "\n".join(_status(inside)["attention"])


def test_an_empty_fleet(inside: Inside) -> None:
    """Every name of the contract is there, all counts are 0, and nothing wants attention."""
    shown = _status(inside)
    assert {"work", "meta", "gates", "workers", "incidents"} <= shown.keys()
    assert shown["work"] == shown["meta"] == dict.fromkeys(lifecycle.STATES, 0)
    assert shown["gates"] == shown["workers"] == shown["incidents"] == shown["attention"] == []
    assert "no tasks" in inside("status").stdout
    assert "no workers" in inside("status").stdout


def test_each_state_is_counted(inside: Inside, project: Project, bench: Bench) -> None:
    """One task brought into each state, and one more queued behind: the counts say so, and people see a table."""
    for state in [*lifecycle.STATES][1:]:
        bench.to(project.enqueue(), state)
    project.enqueue()
    assert _status(inside)["work"] == dict.fromkeys(lifecycle.STATES, 1)
    assert Audit(bench.store).run().violations == []
    shown = inside("status")
    assert shown.stdout.split()[: len(lifecycle.STATES) + 1] == ["lane", *lifecycle.STATES]
    assert "bench-worker" in shown.stdout


def test_work_and_meta_are_counted_apart(inside: Inside, project: Project) -> None:
    """Commentary never looks like work."""
    (project.root / "proofq.toml").write_text(TOML + META)
    project.enqueue()
    project.enqueue("watcher")
    project.enqueue("watcher")
    shown = _status(inside)
    assert (shown["work"]["queued"], shown["meta"]["queued"]) == (1, 2)
    assert sorted((one["lane"], one["agent"], one["queued"]) for one in shown["unserved"]) == [
        ("meta", "watcher", 2),
        ("work", "note", 1),
    ]


def test_counting_reads_no_task(inside: Inside, project: Project, bench: Bench) -> None:
    """What status asks of Redis does not grow with the number of tasks."""

    def processed() -> int:
        return int(bench.store.client.info("stats")["total_commands_processed"])

    def commands() -> int:
        before = processed()
        _status(inside)
        return processed() - before

    for _ in range(2):
        bench.verify(project.enqueue())
    project.enqueue()
    few = commands()
    for _ in range(40):
        bench.store.client.rpoplpush(keys.rq_queue("work.note"), "aside")
        bench.verify(project.enqueue())
    bench.store.client.rename("aside", keys.rq_queue("work.note"))
    assert _status(inside)["work"]["verified"] == 42
    assert commands() <= few + 2


def test_a_strangers_key_where_tasks_are_counted_stops_nothing(inside: Inside, project: Project, bench: Bench) -> None:
    """Tasks move and status answers; what is not counted is told, the audit names it, and the next move mends it."""
    moved, waits = project.enqueue(), project.enqueue()
    bench.store.client.delete(keys.states("work"))
    bench.store.client.set(keys.states("work"), "stranger")
    lease = bench.lease(moved)
    shown = _status(inside)
    assert shown["work"]["leased"] == 0
    assert any(keys.states("work") in sentence for sentence in shown["attention"])
    assert ("wrong_type", keys.states("work")) in {
        (one.rule, one.subject) for one in Audit(bench.store).run().violations
    }
    bench.store.client.delete(keys.states("work"))
    assert "missing in these counts: 2 tasks;" in _attention(inside)
    assert {one.subject for one in Audit(bench.store).run().violations if one.rule == "counted_as"} == {moved, waits}
    bench.event(lease, "start", fields={"pid": 1, "start_ticks": 1})
    assert _status(inside)["work"]["running"] == 1
    assert "missing in these counts: 1 task;" in _attention(inside)


def test_counts_of_what_is_no_task_are_found_by_the_audit(project: Project, bench: Bench) -> None:
    """A foreign id among the counted, and a task counted in a lane that is not its own, are violations."""
    task_id = project.enqueue()
    bench.store.client.zadd(keys.states("work"), {"nobody": 1})
    bench.store.client.zadd(keys.states("meta"), {task_id: 1})
    found = {(one.rule, one.subject) for one in Audit(bench.store).run().violations}
    assert found == {("orphan_rows", keys.states("work")), ("wrong_queue", keys.states("meta"))}


def test_what_nobody_serves_is_told_with_the_oldest(inside: Inside, project: Project, bench: Bench) -> None:
    """Tasks whose agent no live worker declares, and how long the oldest has waited."""
    first = project.enqueue("slow", seconds=1.0)
    project.enqueue()
    bench.store.client.hset(keys.task(first), "enqueued_at", 1_000)
    shown = _status(inside)
    assert shown["unserved"] == [{"lane": "work", "agent": "slow", "queued": 1}]
    assert "no live worker declares agent slow, for which 1 task of lane work must wait" in _attention(inside)
    assert shown["oldest_queued"]["id"] == first
    assert shown["oldest_queued"]["age_s"] > 3600
    assert f"oldest queued: {first} of slow" in inside("status").stdout


def test_held_tasks_want_a_human(inside: Inside, project: Project, bench: Bench) -> None:
    """How many are held, and how to list them."""
    bench.to(project.enqueue(), lifecycle.HELD)
    assert "held for a human: 1 task of lane work" in _attention(inside)
    assert "proofq tasks --state held" in _attention(inside)


def test_an_owner_that_is_silent_or_dead_is_seen(inside: Inside, project: Project, bench: Bench) -> None:
    """Its state says so whatever it said last, and what it holds is named."""
    bench.run(project.enqueue())
    bench.store.client.zadd(keys.OWNERS, {bench.owner: 1})
    [worker] = _status(inside)["workers"]
    assert worker["state"] == "silent"
    assert "it holds 1 task, which another worker takes over" in _attention(inside)
    bench.store.client.zadd(keys.OWNERS, {bench.owner: 0})
    assert _status(inside)["workers"][0]["state"] == "dead"
    bench.store.client.rename(keys.owner(bench.owner), "aside")
    bench.store.client.set(keys.owner(bench.owner), "stranger")
    assert _status(inside)["workers"][0]["state"] == "damaged"


def test_a_full_redis_is_told(tmp_path: Path, redis_binary: str) -> None:
    """Nearly full, then full: status still answers, and says which."""
    with PrivateServer(redis_binary) as server:
        project = Project(tmp_path, server.url)
        project.enqueue()
        client = project.session().store.client
        for number in range(400):
            client.set(f"filler-{number}", b"x" * 100_000)
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * 1.05))
        assert "of its maxmemory" in "\n".join(project.inside("status", "--json").document["attention"])
        client.config_set("maxmemory", 1)
        full = project.inside("status", "--json")
        assert full.code == 0
        assert "it has reached its maxmemory" in full.document["redis"]["refuses"]
        assert full.document["work"]["queued"] == 1
        assert "! Redis refuses to write" in project.inside("status").stdout


def test_a_redis_that_takes_no_writes_is_told(tmp_path: Path, redis_binary: str) -> None:
    """A server that turned into a replica answers reads; status shows them and says that nothing can be written."""
    with PrivateServer(redis_binary) as server:
        project = Project(tmp_path, server.url)
        project.enqueue()
        project.session().store.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        done = project.inside("status", "--json")
        assert done.code == 0, done
        assert "read only replica" in done.document["redis"]["refuses"]
        assert done.document["work"]["queued"] == 1


def test_a_real_worker_from_start_to_death() -> None:
    """It is ready with its launcher's pid, holds what it runs, drains, and after kill -9 of everything is not alive."""
    with Site() as site:
        project = Project.__new__(Project)
        project.root, project.environ = site.project, os.environ | site.environ()

        def workers() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = project.inside("status", "--json").document["workers"]
            return found

        worker = site.start().wait_ready()
        [seen] = workers()
        assert (seen["pid"], seen["state"], seen["lane"]) == (worker.process.pid, "ready", "work")
        assert (seen["host"], seen["tasks"], seen["slots"]) == (os.uname().nodename, [], 4)
        task_id = site.enqueue("hang")
        site.wait_for(task_id, "running")
        assert workers()[0]["tasks"] == [task_id]
        assert project.inside("status", "--json").document["work"]["running"] == 1
        worker.term()
        site.wait_owner_state(worker, "draining")
        assert workers()[0]["state"] == "draining"
        worker.signal_all(signal.SIGKILL)
        site.client.zadd(keys.OWNERS, {worker.owner if worker.is_ready() else next(iter(worker.owners())): 1})
        until(lambda: workers()[0]["state"] == "silent", 20, "a silent worker")


def test_status_needs_redis(tmp_path: Path) -> None:
    """Exit 7 where nothing answers."""
    done = Project(tmp_path, f"unix://{tmp_path}/nobody")("status", "--json")
    assert (done.code, done.error) == (exit_codes.REDIS, "redis_unavailable")


@pytest.mark.parametrize("size", [0, 1])
def test_the_document_is_plain_json(inside: Inside, project: Project, bench: Bench, size: int) -> None:
    """One document whatever there is, with lists as lists."""
    for _ in range(size):
        bench.to(project.enqueue(), lifecycle.RUNNING)
    document = json.loads(inside("status", "--json").stdout)
    assert isinstance(document["workers"][0]["tasks"], list)
    assert len(document["workers"][0]["tasks"]) == size
