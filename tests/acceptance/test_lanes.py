"""Work and meta are lanes of their own: each has its processes, its slots and its counts, and neither waits for the
other."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from proofq.policies import lifecycle
from tests.acceptance.harness import READY_S, Site, Worker
from tests.waiting import until

TOML = """
[agents.watch]
command = ["sh", "-c", "while [ ! -e \\"$0\\" ]; do sleep 0.05; done", "{go}"]
inputs = { go = "str" }
lane = "meta"
unproven = true

[agents.remark]
command = ["true"]
lane = "meta"
unproven = true
"""
FLOOD = 20


def _made() -> Site:
    """A site with agents of both lanes, two slots for work and one for meta."""
    site = Site({"slots": 2, "meta_slots": 1})
    toml = site.project / "proofq.toml"
    toml.write_text(toml.read_text() + TOML)
    return site


@pytest.fixture
def site() -> Iterator[Site]:
    """One without a worker."""
    with _made() as made:
        yield made


@pytest.fixture(scope="module")
def both() -> Iterator[Site]:
    """One whose worker serves both lanes; each test lets end what it has enqueued."""
    with _made() as made:
        _ready(made, made.start(), "work", "meta")
        yield made


def _ready(site: Site, worker: Worker, *lanes: str) -> dict[str, dict[str, str]]:
    """The rows of a worker's lanes once all of them lease, by lane."""

    def rows() -> dict[str, dict[str, str]]:
        return {row["lane"]: row for row in worker.owners().values() if row["state"] == "ready"}

    return until(lambda: rows() if rows().keys() == set(lanes) else {}, READY_S, f"lanes {lanes}")


def _status(site: Site) -> dict[str, Any]:
    return site.inside("status", "--json").document


def _states(site: Site, ids: list[str]) -> list[str]:
    return [task.state for task in site.store.read_many(ids)]


def test_a_flood_of_meta_takes_nothing_from_work(both: Site) -> None:
    """Every meta slot is blocked and many more wait; work is leased and ends as if there were none."""
    site, before = both, _status(both)
    meta = [site.enqueue("watch", go=site.out("meta")) for _ in range(FLOOD)]
    site.wait_for(meta[0], lifecycle.RUNNING)
    work = [site.enqueue("quick", word=str(number)) for number in range(8)]
    site.wait_all(work, 60)
    assert set(_states(site, work)) == {lifecycle.FINISHED_UNPROVEN}
    assert _states(site, meta) == [lifecycle.RUNNING, *[lifecycle.QUEUED] * (FLOOD - 1)]
    shown = _status(site)
    assert (shown["meta"]["running"], shown["meta"]["queued"]) == (1, FLOOD - 1)
    ended = shown["work"]["finished_unproven"] - before["work"]["finished_unproven"]
    assert (ended, shown["work"]["queued"]) == (len(work), 0)
    (site.files / "meta").touch()
    site.wait_all(meta, 60)


def test_a_flood_of_work_takes_nothing_from_meta(both: Site) -> None:
    """Every work slot is blocked and many more wait; what watches over them runs, and runs to its end."""
    site = both
    work = [site.enqueue("hang", until=site.out("work")) for _ in range(FLOOD)]
    for task_id in work[:2]:
        site.wait_for(task_id, lifecycle.RUNNING)
    meta = [site.enqueue("remark") for _ in range(8)]
    site.wait_all(meta, 60)
    assert set(_states(site, meta)) == {lifecycle.FINISHED_UNPROVEN}
    assert sorted(_states(site, work)) == [*[lifecycle.QUEUED] * (FLOOD - 2), *[lifecycle.RUNNING] * 2]
    (site.files / "work").touch()
    site.wait_all(work, 60)


def test_each_lane_dies_alone(both: Site) -> None:
    """kill -9 of the meta lane's supervisor: its task runs again, and work that ran has not noticed."""
    site = both
    lanes = _ready(site, site.workers[0], "work", "meta")
    assert lanes["work"]["supervisor_pid"] != lanes["meta"]["supervisor_pid"]
    work, meta = site.enqueue("hang", until=site.out("go")), site.enqueue("watch", go=site.out("go"))
    for task_id in (work, meta):
        site.wait_for(task_id, lifecycle.RUNNING)
    os.kill(int(lanes["meta"]["supervisor_pid"]), signal.SIGKILL)
    until(lambda: site.task(meta).attempt == 2 and site.task(meta).state == lifecycle.RUNNING, 30, "a second attempt")
    (site.files / "go").touch()
    site.wait_all([work, meta], 30)
    assert site.events(work).count("lease") == 1
    assert "reap" not in site.events(work)


@pytest.mark.parametrize(("served", "other"), [("work", "meta"), ("meta", "work")])
def test_one_lane_alone(site: Site, served: str, other: str) -> None:
    """--lane: one supervisor, the tasks of that lane, and the other's wait for a worker that serves it."""
    worker = site.start("--lane", served)
    _ready(site, worker, served)
    ids = {"work": site.enqueue("quick", word="x"), "meta": site.enqueue("remark")}
    site.wait_for(ids[served], lifecycle.FINISHED_UNPROVEN)
    assert site.events(ids[other]) == ["enqueue"]
    assert len(worker.processes("supervisor")) == 1
    assert [each["lane"] for each in _status(site)["unserved"]] == [other]


def test_meta_slots_are_so_many(site: Site) -> None:
    """--meta-slots M: M at a time, and not one more."""
    _ready(site, site.start("--meta-slots", "3", "--slots", "1"), "work", "meta")
    meta = [site.enqueue("watch", go=site.out("go")) for _ in range(5)]
    until(lambda: _states(site, meta).count(lifecycle.RUNNING) == 3, 30, "three that run")
    assert _states(site, meta) == [*[lifecycle.RUNNING] * 3, *[lifecycle.QUEUED] * 2]
    (site.files / "go").touch()
    site.wait_all(meta, 30)
