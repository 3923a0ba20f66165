"""Rows of the failure surface that no other test shows as a whole, with real workers."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.workers import keys
from tests.acceptance.harness import Site, one_end
from tests.waiting import until

HERE = Path(__file__).with_name("surface")
COMMANDS = """
[agents.say]
command = ["printf", "%s", "{text}"]
inputs = { text = "str" }
timeout_s = 60
max_attempts = 2
proofs = [{ kind = "json", schema = { type = "object" } }]
"""


def _site(*modules: str, **settings: float) -> Site:
    site = Site(settings)
    for name in modules:
        shutil.copy(HERE / f"{name}.py", site.project)
    toml = site.project / "proofq.toml"
    more = "".join(f"{json.dumps(name)}, " for name in modules)
    toml.write_text(toml.read_text().replace("modules = [", f"modules = [{more}") + COMMANDS)
    return site


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    """A site with a worker that serves the agents of these rows."""
    with _site("surface_agents") as site:
        site.start().wait_ready()
        yield site


def test_s2_what_never_came_up_is_not_called_running() -> None:
    """S2: a child that never says that it is up is killed in time; the task was never `running`."""
    with _site("never_up", max_pickups=1) as site:
        site.start().wait_ready()
        task = site.wait_for(site.enqueue("never_up"), "quarantined")
        assert task.failure is not None
        assert task.failure.kind == "start_unconfirmed"
        assert "start" not in site.events(task.id)
        assert one_end(site.snapshot(task.id)) == []


def test_s3_a_running_task_shows_nothing_of_its_past(served: Site) -> None:
    """S3: fail, retry; while it runs again every field of an end is empty, and the old ones are the attempt's."""
    release = served.out("release")
    task_id = served.enqueue("fail_then_wait", release=release)
    until(lambda: served.task(task_id).attempt == 2 and served.task(task_id).state == "running", 20.0, "attempt 2")
    snapshot = served.snapshot(task_id)
    task = snapshot.task
    assert (task.failure, task.verdict, task.claim, task.ended_at, task.not_before) == (None,) * 5
    assert not task.fields & {"failure", "verdict", "claim", "ended_at", "not_before"}
    assert snapshot.job["status"] == "started"
    assert not snapshot.job.get("ended_at")
    assert snapshot.results == []
    assert [(one.get("class"), one.get("outcome")) for one in snapshot.attempts] == [("crash", "failed"), (None, None)]
    Path(release).touch()
    served.wait_for(task_id, "finished_unproven")
    assert one_end(served.snapshot(task_id)) == []


@pytest.mark.parametrize(("touched", "state"), [(7, "verified"), (8, "quarantined")])
def test_s41_the_record_is_read_not_the_message(served: Site, touched: int, state: str) -> None:
    """S41: both report success about record 7; only who changed record 7 is verified."""
    db = served.out(f"accounts-{touched}.sqlite")
    with sqlite3.connect(db) as opened:
        opened.execute("create table accounts (id integer, owner text)")
        opened.executemany("insert into accounts values (?, 'nobody')", [(7,), (8,)])
    task = served.wait_for(served.enqueue("update_record", db=db, id=7, owner="ann", touched=touched), state)
    assert task.claim == {"status": "success", "id": 7, "owner": "ann"}
    assert (task.failure.kind if task.failure else None) == (None if state == "verified" else "unverified")


#: What is not one strict JSON object, though a kind reader would make one of most of it.
HALF = ['{"a": 1}{"b"', '{"a": 1} and that is it', '{"a": NaN}', '{"a": 1, "a": 2}', " ", "```json\n{}\n```", "[1]"]


def test_s44_s51_half_json_is_no_partial_success(served: Site) -> None:
    """S44, S51: what is not one strict document that fits the schema is malformed output, tried again to the bound."""
    said = {served.enqueue("say", text=text): text for text in HALF}
    ended = served.wait_all(list(said), 60.0)
    seen = {said[one.id]: (one.state, one.failure and one.failure.kind, one.counted) for one in ended.values()}
    assert seen == dict.fromkeys(HALF, ("failed", "malformed_output", 2))
    assert [wrong for one in said for wrong in one_end(served.snapshot(one))] == []


def test_s54_a_broken_row_costs_nobody_else_anything(served: Site) -> None:
    """S54: ids that are no tasks and a task whose row is damaged are set aside with a reason; neighbours are served."""
    queue = keys.rq_queue("work.quick")
    served.client.set(keys.task("damaged"), "not a hash")
    served.client.rpush(queue, "damaged", "no-such-task", b"\xff\xfe")
    neighbours = [served.enqueue("quick", word=str(number)) for number in range(5)]
    ended = served.wait_all(neighbours, 30.0)
    assert {task.state for task in ended.values()} == {"finished_unproven"}
    strays = until(lambda: served.client.hgetall(keys.STRAYS), 10.0, "the strays")
    assert set(strays) == {b"damaged", b"no-such-task", b"\xff\xfe"}
    assert all(json.loads(row)["reason"] for row in strays.values())
    assert served.workers[0].process.poll() is None


def test_s16_an_unknown_end_is_read_before_it_is_decided() -> None:
    """S16: a worker dies after the work was done, before that was said: look_first finds it and runs nothing."""
    runs = {"finish_and_stay": "1\n", "finish_and_stay_unlooked": "1\n2\n"}
    with _site("surface_agents") as site:
        first = site.start().wait_ready()
        ids = {agent: site.enqueue(agent, out=site.out(f"{agent}.json")) for agent in runs}
        for agent, task_id in ids.items():
            site.wait_for(task_id, "running")
            until(Path(site.out(f"{agent}.json")).exists, 20.0, "the work")
        site.start().wait_ready()
        first.signal_all(signal.SIGKILL)
        for agent, task_id in ids.items():
            task = site.wait_for(task_id, "verified")
            taskdir = site.project / ".proofq" / "tasks" / task_id
            assert (taskdir / "runs").read_text() == runs[agent]
            assert ("found" in site.events(task_id)) == (agent == "finish_and_stay")
            assert site.events(task_id).count("reap") == 1
            assert task.deaths == 1
            assert one_end(site.snapshot(task_id)) == []


def test_s16_so_is_one_of_which_nobody_lived_to_write_the_start() -> None:
    """S16: its baseline is on record, so it may have run: it did, and is not run a second time."""
    with _site("surface_agents") as site:
        site.start().wait_ready()
        task_id = site.enqueue("finish_and_fell", out=site.out("out.json"))
        site.wait_for(task_id, "verified")
        assert (site.project / ".proofq" / "tasks" / task_id / "runs").read_text() == "1\n"
        events = site.events(task_id)
        assert "found" in events
        assert "start" not in events
        assert one_end(site.snapshot(task_id)) == []
