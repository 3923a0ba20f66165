"""A second process that looks at tasks while others move them: `python -m tests.door_poller URL ID...`.

Says each contradiction it sees as a line of JSON, and {"looks": n} when its standard input ends.
"""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Iterator

from rq.job import Job
from rq.serializers import JSONSerializer

from proofq.policies import audit
from proofq.policies.lifecycle import RQ_STATUS
from proofq.workers import connection
from proofq.workers.clock import SystemClock
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store

#: Fields of RQ's hash that must stand, and must not, while it shows a status.
_STANDS = {"started": ["started_at"], "finished": ["ended_at"], "failed": ["ended_at"], "canceled": ["ended_at"]}
_GONE = {"started": ["ended_at"], "queued": ["started_at", "ended_at"], "deferred": ["started_at", "ended_at"]}


def contradictions(store: Store, task_id: str) -> Iterator[str]:
    """What one look at one task shows that cannot be."""
    before = store.peek(task_id)
    yield from (f"{found.rule}: {found.detail}" for found in audit.check(before.view()))
    job = Job.fetch(task_id, connection=store.client, serializer=JSONSerializer)
    fetched = str(job.get_status(refresh=False).value)
    for name in _STANDS.get(fetched, []):
        # A task that ended without ever running has no start.
        if getattr(job, name) is None:
            yield f"Job.fetch: {fetched} without {name}"
    for name in _GONE.get(fetched, []):
        if getattr(job, name) is not None:
            yield f"Job.fetch: {fetched} with {name}"
    status = str(job.get_status().value)
    shown = store.snapshot(task_id)
    if [crumb.request for crumb in shown.crumbs] == [crumb.request for crumb in before.crumbs]:
        wanted = RQ_STATUS[shown.task.state]
        if {fetched, status, shown.job["status"]} != {wanted}:
            yield f"{shown.task.state} shows {fetched}, {status} and {shown.job['status']}, not {wanted}"


def main() -> None:
    """Look at every task in turn until standard input ends."""
    url, *ids = sys.argv[1:]
    client = connection.connect(url)
    store, looks = Store(client, RedisRunner(client), SystemClock()), 0
    print(json.dumps({"ready": True}), flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for task_id in ids:
            looks += 1
            for problem in contradictions(store, task_id):
                print(json.dumps({"task": task_id, "problem": problem}), flush=True)
    print(json.dumps({"looks": looks}), flush=True)


if __name__ == "__main__":
    main()
