"""Every field of a task's row, of its attempts and of RQ's job hash with bad values: the row is set aside with a reason
or run as it stands, the neighbour behind it runs, no worker exits, and the audit names what it cannot read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from proofq.policies import lifecycle
from proofq.workers import keys
from proofq.workers.audit import Audit
from tests.acceptance.harness import Site
from tests.waiting import until

#: What no field of ours may hold; some are fit for some fields, and then nothing need happen.
BAD: tuple[bytes, ...] = (
    b"", b" ", b"0", b"-1", b"1", b"007", b"1.5", b"1e3", b"1e309", b"nan", b"inf", b"-inf", b"9" * 40, b"9" * 4000,
    b"null", b"true", b"{}", b"[]", b'""', b'{"a":', b"[" * 3000, b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\x80\x04.",
    b"queued", b"nonsense", "\u202e\u0000\U0001f600".encode(), b"../../etc/passwd", b"x" * 100_000,
)  # fmt: skip
#: The fields of a task's row in which a worker has to find something it can use.
OURS = (
    "agent", "lane", "queue", "state", "inputs", "enqueued_at", "expires_at", "max_age_s", "attempt", "counted",
    "max_attempts", "pickups", "deaths", "fingerprint", "equal_failures", "fence", "owner", "slot", "host", "cancel",
    "trial", "not_before", "started_at", "ended_at", "failure", "verdict", "claim", "baseline",
)  # fmt: skip
#: The fields of RQ's job hash (rq 2.12).
RQS = (
    "created_at", "data", "success_callback_name", "failure_callback_name", "stopped_callback_name", "started_at",
    "ended_at", "last_heartbeat", "worker_name", "group_id", "origin", "description", "status", "timeout",
    "result_ttl", "failure_ttl", "enqueued_at", "retries_left", "repeats_left", "dependency_ids", "meta", "ttl",
)  # fmt: skip
QUEUE = keys.rq_queue("work.quick")


@pytest.fixture
def site() -> Iterator[Site]:
    """A worker that is told to wait while rows are being spoiled."""
    with Site({"slots": 4}) as made:
        yield made


def spoiled(site: Site, key: str, fields: tuple[str, ...]) -> dict[str, str]:
    """Tasks with one bad value each, and a good neighbour behind every thirty: id -> field, "" for the good."""
    tasks = {}
    for name in fields:
        for value in BAD:
            task_id = site.enqueue("quick", word=name)
            site.client.hset(key + task_id, name, value)
            tasks[task_id] = name
        tasks[site.enqueue("quick", word="good")] = ""
    return tasks


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("key", "fields"), [(keys.TASK, OURS), (keys.RQ_JOB, RQS)], ids=["ours", "rq"])
def test_bad_fields_cost_nobody_else_anything(site: Site, key: str, fields: tuple[str, ...]) -> None:
    """The queue runs empty past all of them, with the very processes that began."""
    tasks = spoiled(site, key, fields)
    worker = site.start().wait_ready()
    before = {one.pid for role in ("launcher", "supervisor", "forkserver") for one in worker.processes(role)}
    until(lambda: site.client.llen(QUEUE) == 0, 120.0, "an empty queue")
    good = [task_id for task_id, name in tasks.items() if not name]
    ended = site.wait_all(good, 60.0)
    assert {one.state for one in ended.values()} == {lifecycle.FINISHED_UNPROVEN}
    until(lambda: not worker.holding(), 60.0, "the end of all leases")
    assert {one.pid for role in ("launcher", "supervisor", "forkserver") for one in worker.processes(role)} == before
    outcomes = Counter((name, _outcome(site, task_id)) for task_id, name in tasks.items())
    print(dict(sorted(outcomes.items())))
    named = {one.subject for one in Audit(site.store).run().violations}
    silent = [
        (tasks[task_id], site.client.hget(key + task_id, tasks[task_id]))
        for task_id in tasks
        if _outcome(site, task_id) not in lifecycle.TERMINAL and task_id not in named
    ]
    assert silent == []
    worker.term()
    assert worker.wait(40) == 0


def _outcome(site: Site, task_id: str) -> str:
    """The state in which the task stands; "unread" where its row cannot be read."""
    try:
        return site.task(task_id).state
    except ValueError:
        return "unread"
