"""A task as people and scripts see it: the JSON of `show`, of `tasks`, and its breadcrumbs.

Everything of one task comes from one snapshot, so that no part of a document contradicts another.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proofq.policies import budget, lifecycle
from proofq.policies.failure import Failure
from proofq.workers import by_state, cap_view, effects, fleet, gate_view, keys, packed, places
from proofq.workers.clock import iso
from proofq.workers.errors import Error, UnknownTask
from proofq.workers.reading import reading
from proofq.workers.record import Breadcrumb, Task
from proofq.workers.scripts import DamagedKey
from proofq.workers.snapshot import Snapshot
from proofq.workers.store import Store

#: Tasks that are read from Redis in one go when many are listed.
PAGE: Final = 500
#: What RQ allows as the id of a job, and so of a task.
TASK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")


def show(store: Store, task_id: str, state_dir: Path) -> dict[str, Any]:
    """The document of `proofq show`. `state_dir` is this host's. Raises UnknownTask, and Error for a damaged row."""
    snapshot = snapshot_of(store, task_id)
    task = snapshot.task
    return {
        "id": task.id,
        "agent": task.agent,
        "lane": task.lane,
        "queue": task.queue,
        "state": task.state,
        "waiting_for": waiting_for(store, task),
        "enqueued_at": iso(task.enqueued_at),
        "not_before": iso(task.not_before),
        "after": list(task.after),
        "expires_at": iso(task.expires_at) if task.state in lifecycle.WAITING else None,
        "ended_at": iso(task.ended_at),
        "max_age_s": task.max_age_s,
        "attempt": task.attempt,
        "counted": task.counted,
        "max_attempts": task.max_attempts,
        "inputs": task.inputs,
        "attempts": [_attempt(task.id, record, state_dir) for record in snapshot.attempts],
        "failure": failure(task.failure),
        "verdict": task.verdict,
        "claim": task.claim,
        "cancel_asked": task.cancel,
        "spent": budget.amounts(task.spent),
        "effects": effects.listed(store, task.id, task.fence),
        "breadcrumbs": [crumb(each) for each in snapshot.crumbs],
        "taskdir": str(places.of(state_dir, task.id, 0).taskdir) if _was_here(snapshot) else None,
    }


def possible_id(text: str) -> str:
    """Give an id back. Raises UnknownTask for what is the id of no task because none can have it."""
    if not TASK_ID.fullmatch(text):
        raise UnknownTask(f"No task has the id {text!r:.80}. `proofq tasks` lists those there are.")
    return text


def snapshot_of(store: Store, task_id: str) -> Snapshot:
    """Everything of one task as of one instant. Raises UnknownTask, and Error where its rows cannot be read."""
    try:
        return store.snapshot(possible_id(task_id))
    except ValueError as problem:
        raise Error(f"{problem}. `proofq audit` says what is wrong with it.") from problem


def item(task: Task) -> dict[str, Any]:
    """One item of `proofq tasks`."""
    return {
        "id": task.id,
        "agent": task.agent,
        "state": task.state,
        "attempt": task.attempt,
        "class": task.failure.kind if task.failure else None,
        "fingerprint": task.failure.fingerprint if task.failure else None,
        "enqueued_at": iso(task.enqueued_at),
    }


def listed(store: Store, tasks: Iterable[Task]) -> Iterator[dict[str, Any]]:
    """The items of a list, each with what it waits for; of queued tasks that is found out once for each agent."""
    queued: dict[tuple[str, str], dict[str, Any] | None] = {}
    for task in tasks:
        if task.state != lifecycle.QUEUED:
            yield {**item(task), "waiting_for": waiting_for(store, task)}
            continue
        if (key := (task.lane, task.agent)) not in queued:
            queued[key] = waiting_for(store, task)
        yield {**item(task), "waiting_for": queued[key]}


def newest(store: Store) -> Iterator[Task]:
    """Every task, newest first, a page at a time. Those enqueued meanwhile are left out, none comes twice."""
    offset, before = 0, set[str]()
    while page := store.newest(offset, PAGE):
        # What was enqueued since the last page has moved its end into this one.
        yield from store.read_many([task_id for task_id in page if task_id not in before])
        offset, before = offset + len(page), set(page)


def newest_in(store: Store, state: str) -> Iterator[Task]:
    """Every task of one state, newest first. Reads all tasks only where the index of states is damaged."""
    try:
        ids = by_state.newest(store, state)
    except DamagedKey:
        yield from (task for task in newest(store) if task.state == state)
        return
    for start in range(0, len(ids), PAGE):
        # Who left the state since then is listed no more.
        yield from (task for task in store.read_many(ids[start : start + PAGE]) if task.state == state)


def crumbs_from(store: Store, task_id: str, number: int) -> list[Breadcrumb]:
    """The breadcrumbs of a task from the `number`th (0 = the first) on."""
    with reading(keys.crumbs(task_id)), store.client.pipeline(transaction=False) as pipe:
        pipe.hexists(keys.task(task_id), packed.FIRST)
        pipe.lrange(keys.crumbs(task_id), number, -1)
        is_packed, rows = pipe.execute()
    if is_packed:
        return snapshot_of(store, task_id).crumbs[number:]
    return [Breadcrumb.parse(raw.decode("utf-8", "replace")) for raw in rows]


def crumb(each: Breadcrumb) -> dict[str, Any]:
    """One breadcrumb. `rule` is the name of the rule that chose the event, "" where none had to."""
    return {
        "at": iso(each.at),
        "from": each.source,
        "event": each.event,
        "to": each.to,
        "reason": each.reason,
        "rule": each.evidence,
        "attempt": each.attempt,
        "fence": each.fence,
        "who": each.who,
    }


def failure(failed: Failure | None) -> dict[str, Any] | None:
    """A failure under the names of the contract."""
    if failed is None:
        return None
    return {
        "class": failed.kind,
        "reason": failed.reason,
        "retry_after_s": failed.retry_after_s,
        "fingerprint": failed.fingerprint,
        "source": failed.source,
        "phase": failed.phase,
    }


def waiting_for(store: Store, task: Task) -> dict[str, Any] | None:
    """What a task waits for: a worker, a slot (all are taken), the gate of its provider, a cap, its paused agent,
    `rq resume`, other tasks, a time or a human; None for none of these."""
    match task.state:
        case lifecycle.QUEUED:
            return _queued_for(store, task)
        case lifecycle.DEFERRED if task.after_open:
            return {"what": "after", "name": task.after_open[0], "until": None, "names": list(task.after_open)}
        case lifecycle.DEFERRED:
            return {"what": "time", "name": None, "until": iso(task.not_before)}
        case lifecycle.HELD:
            return {"what": "human", "name": None, "until": None}
        case _:
            return None


def _queued_for(store: Store, task: Task) -> dict[str, Any] | None:
    service = fleet.service(store, task.agent, task.lane)
    if service == "suspended":
        suspended = fleet.suspension(store)
        return {"what": "resume", "name": "rq", "until": iso(suspended.until) if suspended else None}
    if service in fleet.SERVED:
        if (shut := gate_view.before(store, task.agent, task.lane)) is not None:
            return gate_view.waiting_for(shut)
        if (reached := cap_view.before(store, task.agent, task.lane)) is not None:
            return cap_view.waiting_for(reached)
    what = {"nobody": "worker", "draining": "worker", "full": "worker", "busy": "slot", "paused": "paused"}.get(service)
    return {"what": what, "name": task.agent, "until": None} if what else None


def _attempt(task_id: str, record: Mapping[str, Any], state_dir: Path) -> dict[str, Any]:
    """One attempt. Its paths are on the host where it ran, so they are given there alone."""
    number = int(record["n"])
    here = record.get("host") == socket.gethostname()
    of_attempt = places.of(state_dir, task_id, number)
    return {
        "n": number,
        "fence": record.get("fence"),
        "leased_at": iso(record.get("leased_at")),
        "started_at": iso(record.get("started_at")),
        "ended_at": iso(record.get("ended_at")),
        "outcome": record.get("outcome"),
        "counted": bool(record.get("counted")),
        "class": record.get("class"),
        "reason": record.get("reason"),
        "incident": record.get("incident"),
        "worker": record.get("worker"),
        "host": record.get("host"),
        "pid": record.get("pid"),
        "progress": json.loads(record["progress"]) if record.get("progress") else None,
        "progress_at": iso(record.get("progress_at")),
        "steps": record.get("steps", []),
        "workdir": str(of_attempt.workdir) if here else None,
        "stdout": str(of_attempt.stdout) if here else None,
        "stderr": str(of_attempt.stderr) if here else None,
    }


def _was_here(snapshot: Snapshot) -> bool:
    return any(record.get("host") == socket.gethostname() for record in snapshot.attempts)
