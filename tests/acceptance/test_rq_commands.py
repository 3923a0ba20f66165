"""Our slots are workers to RQ's people: listed, shown with what they do, and reached by RQ's own commands."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rq import Queue, Worker
from rq.command import send_command, send_kill_horse_command, send_shutdown_command, send_stop_job_command
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker
from rq.worker_registration import clean_worker_registry

from proofq.policies import lifecycle
from proofq.workers import keys, killing, proctree
from proofq.workers.audit import Audit
from proofq.workers.door import Event
from tests.acceptance.harness import Site, crumbs_are_whole, one_end
from tests.acceptance.test_rq_people import rq
from tests.waiting import until

SLOTS = 2


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site({"slots": SLOTS}) as made:
        made.start().wait_ready()
        until(lambda: len(rows(made)) == SLOTS, 10.0, "the rows of the slots")
        yield made


def rows(site: Site) -> list[BaseWorker]:
    found = Worker.all(connection=site.client)
    return sorted(found, key=lambda one: one.name)


def one_busy(site: Site, task_id: str) -> BaseWorker:
    """The row of the slot that has the task."""
    until(lambda: [one for one in rows(site) if task_of(site, one) == task_id], 15.0, "a busy row")
    return next(one for one in rows(site) if task_of(site, one) == task_id)


def task_of(site: Site, row: BaseWorker) -> str:
    """What the slot of a row runs."""
    return (site.client.hget(row.key, "task") or b"").decode()


def gone(pid: int, start_ticks: int) -> bool:
    now = proctree.read(pid)
    return now is None or now.dead or now.start_ticks != start_ticks


def test_each_slot_is_a_worker_of_rqs(site: Site) -> None:
    """`Worker.all` and `rq info` show them with queues, host, pid, state and a fresh heartbeat."""
    first, second = rows(site)
    owner = site.owner_rows()[site.workers[0].owner]
    assert [first.name, second.name] == [f"{owner['name']}.work.{slot}" for slot in range(SLOTS)]
    assert first.pid == site.workers[0].process.pid
    assert first.hostname == owner["host"]
    assert {queue.name for queue in first.queues} >= {"work.write", "work.hang"}
    assert first.get_state() == "idle"
    assert first.last_heartbeat is not None
    assert datetime.now(UTC) - first.last_heartbeat < timedelta(seconds=20)
    on_queue = Worker.all(queue=Queue("work.write", connection=site.client))
    assert {one.name for one in on_queue} == {first.name, second.name}
    shown = rq(site, "info")
    assert f"{SLOTS} workers" in shown
    assert first.name in shown
    clean_worker_registry(Queue("work.write", connection=site.client))
    assert len(rows(site)) == SLOTS


def test_a_row_says_what_its_slot_does(site: Site) -> None:
    """Busy with the task while it runs, idle and one success more afterwards; the job names its worker."""
    before = sum(one.successful_job_count for one in rows(site))
    task_id = site.enqueue("write", out=site.out("shown"), text="shown", run_s=7.0)
    worker = one_busy(site, task_id)
    assert worker.get_state() == "busy"
    assert Job.fetch(task_id, connection=site.client, serializer=JSONSerializer).worker_name == worker.name
    site.wait_for(task_id, lifecycle.VERIFIED, 30.0)
    until(lambda: sum(one.successful_job_count for one in rows(site)) == before + 1, 15.0, "the count of successes")
    until(lambda: {(one.get_state(), task_of(site, one)) for one in rows(site)} == {("idle", "")}, 15.0, "idle rows")


@pytest.mark.parametrize("agent", ["hang", "gather"])
def test_stop_job_cancels_it(site: Site, agent: str) -> None:
    """RQ's stop-job ends what runs, a function of its own process or one that shares it, and the task as cancelled; its
    breadcrumbs say that it came from RQ. The worker's other task runs on."""
    task_id, neighbour = site.enqueue(agent), site.enqueue(agent)
    for one in (task_id, neighbour):
        site.wait_for(one, lifecycle.RUNNING)
    record = site.snapshot(task_id).attempts[-1]
    send_stop_job_command(site.client, task_id, serializer=JSONSerializer)
    site.wait_for(task_id, lifecycle.CANCELLED, 10.0)
    crumb = next(one for one in site.snapshot(task_id).crumbs if one.event == "ask_cancel")
    assert (crumb.who, crumb.reason) == ("rq", "RQ's stop-job command")
    assert one_end(site.snapshot(task_id)) == []
    assert agent == "gather" or gone(record["pid"], record["start_ticks"])
    _cancel_untouched(site, neighbour)
    assert Audit(site.store).run().violations == []


@pytest.mark.parametrize("agent", ["hang", "gather"])
def test_kill_horse_kills_the_attempt_and_no_more(site: Site, agent: str) -> None:
    """The attempt in that slot fails as a crash by its name and is tried again within its bounds."""
    task_id, neighbour = site.enqueue(agent), site.enqueue(agent)
    for one in (task_id, neighbour):
        site.wait_for(one, lifecycle.RUNNING)
    record = site.snapshot(task_id).attempts[-1]
    send_kill_horse_command(site.client, one_busy(site, task_id).name)
    until(lambda: site.snapshot(task_id).attempts[0].get("ended_at"), 10.0, "the end of the attempt")
    ended = site.snapshot(task_id).attempts[0]
    assert (ended["outcome"], ended["class"], ended["counted"]) == ("failed", "crash", True)
    assert "kill-horse" in ended["reason"]
    assert agent == "gather" or gone(record["pid"], record["start_ticks"])
    until(lambda: site.task(task_id).attempt == 2, 20.0, "its next attempt")
    _cancel_untouched(site, neighbour)
    site.session.door.apply(task_id, Event("cancel", "test", "enough"))
    site.wait_for(task_id, lifecycle.CANCELLED, 15.0)
    assert crumbs_are_whole(site.snapshot(task_id)) == []


def _cancel_untouched(site: Site, task_id: str) -> None:
    """A task that nobody has stopped so far ends as cancelled, in its first attempt."""
    task = site.task(task_id)
    assert (task.state, task.attempt, task.cancel) == (lifecycle.RUNNING, 1, False)
    site.session.door.apply(task_id, Event("cancel", "test", "enough"))
    site.wait_for(task_id, lifecycle.CANCELLED, 15.0)
    assert crumbs_are_whole(site.snapshot(task_id)) == []


NONSENSE = [
    b"",
    b"\xff\xfe",
    b"[1]",
    b"{",
    b'{"command": 7}',
    b'{"command": "format-disk"}',
    b"9" * 100_000,
    b"[" * 9000,
]


def test_nonsense_on_the_channel_harms_nobody(site: Site) -> None:
    """Anybody may publish anything; commands after it are still heard, and one for a task held elsewhere is not."""
    first = rows(site)[0]
    for message in NONSENSE:
        site.client.publish(keys.RQ_COMMANDS + first.name, message)
    send_command(site.client, first.name, "stop-job", job_id="somebody-elses")
    task_id = site.enqueue("hang")
    site.wait_for(task_id, lifecycle.RUNNING)
    send_stop_job_command(site.client, task_id, serializer=JSONSerializer)
    site.wait_for(task_id, lifecycle.CANCELLED, 10.0)


def test_keys_of_another_type_are_left_alone(site: Site) -> None:
    """Strangers under RQ's worker keys: work goes on, nothing of theirs is written to, and the rows come back."""
    first = rows(site)[0]
    strangers = [keys.RQ_WORKERS, keys.RQ_WORKERS_OF + "work.write", keys.RQ_WORKER + first.name]
    for key in strangers:
        site.client.delete(key)
        site.client.set(key, "stranger")
    task_id = site.enqueue("write", out=site.out("strangers"), text="strangers", run_s=6.0)
    site.wait_for(task_id, lifecycle.VERIFIED, 30.0)
    assert {site.client.get(key) for key in strangers} == {b"stranger"}
    for key in strangers:
        site.client.delete(key)
    until(lambda: len(rows(site)) == SLOTS, 10.0, "the rows of the slots")


def test_an_idle_worker_stays_quiet(site: Site) -> None:
    """Rows, commands and all: at most five client commands a second of the whole worker, none of them per slot."""
    until(lambda: all(one.get_state() == "idle" for one in rows(site)), 15.0, "an idle worker")

    def commands() -> int:
        stats = site.client.info("commandstats")
        return sum(
            row["calls"] for name, row in stats.items() if name.startswith(("cmdstat_evalsha", "cmdstat_subscr"))
        )

    before, begun = commands(), time.monotonic()
    time.sleep(8.0)
    rate = (commands() - before) / (time.monotonic() - begun)
    assert rate <= 5.0, rate


def test_shutdown_of_every_row_is_one_drain() -> None:
    """As RQ's people do it, for each worker they see: both lanes drain once, what runs ends well, the rows go."""
    with Site({"slots": SLOTS, "meta_slots": 1}) as site:
        worker = site.start().wait_ready()
        until(lambda: len(rows(site)) == SLOTS + 1, 20.0, "the rows of both lanes")
        running = site.enqueue("write", out=site.out("drained"), text="drained", run_s=3.0)
        site.wait_for(running, lifecycle.RUNNING)
        for row in rows(site):
            send_shutdown_command(site.client, row.name)
        assert worker.wait(30.0) == 0
        task = site.task(running)
        assert (task.state, task.attempt) == (lifecycle.VERIFIED, 1)
        no_rows(site)


def no_rows(site: Site) -> None:
    """Nothing of a worker is left among RQ's keys."""
    assert rows(site) == []
    assert list(site.client.scan_iter(match="rq:worker*")) == []


def test_the_rows_of_the_dead_go_with_their_burial() -> None:
    """kill -9 of the whole worker: whoever buries its owner on the host drops its rows, and no others."""
    with Site({"slots": SLOTS}) as site:
        dead = site.start().wait_ready()
        until(lambda: len(rows(site)) == SLOTS, 20.0, "the rows")
        name = site.owner_rows()[dead.owner]["name"]
        other = site.start().wait_ready()
        until(lambda: len(rows(site)) == 2 * SLOTS, 20.0, "the rows of both")
        dead.signal_all(signal.SIGKILL)
        until(lambda: len(rows(site)) == SLOTS, 20.0, "the burial")
        assert not [row for row in rows(site) if row.name.startswith(name)]
        members = site.client.smembers(keys.RQ_WORKERS)
        assert len(members) == SLOTS
        assert site.client.smembers(keys.RQ_WORKERS_OF + "work.write") == members
        other.term()
        assert other.wait(30.0) == 0
        no_rows(site)


def test_a_later_owner_of_the_same_worker_keeps_its_rows() -> None:
    """kill -9 of the supervisor: the launcher starts another under the same name, whose rows no burial takes away."""
    with Site({"slots": SLOTS}) as site:
        worker = site.start().wait_ready()
        until(lambda: len(rows(site)) == SLOTS, 20.0, "the rows")
        before = site.owner_rows()[worker.owner]
        killing.send(int(before["supervisor_pid"]), signal.SIGKILL)

        def reborn() -> bool:
            owners = site.owner_rows()
            return before["id"] not in owners and len(owners) == 1 and len(rows(site)) == SLOTS

        until(reborn, 30.0, "the next owner's rows")
        [row] = site.owner_rows().values()
        key = keys.RQ_WORKER + keys.rq_worker_name(row["name"], "work", "0")
        assert site.client.hget(key, "owner") == row["id"].encode()
