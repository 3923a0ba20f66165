"""Domain verbs over Redis: enqueue, lease, beat, settle, reap and the few reads. Each write is one atomic script.

A store never retries by itself: `RedisUnavailable` means that nobody knows whether the step was done, and sending the
same request again (same request id) is safe for each verb. Who decides to try again is `insist.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis

from proofq.policies import lifecycle
from proofq.policies.fast_dataclass import fast_dataclass
from proofq.workers import keys, packed, plan, rq_view
from proofq.workers.census import Census
from proofq.workers.clock import Clock
from proofq.workers.errors import UnknownTask
from proofq.workers.gate_change import Change
from proofq.workers.leasing import StaleOwner, UnreadableRow, Wish
from proofq.workers.looks import Beat, Watch
from proofq.workers.reading import exact, reading, text
from proofq.workers.record import Lease, Task, parse_attempts
from proofq.workers.scripts import Argument, DamagedKey, Runner
from proofq.workers.snapshot import Peek, Snapshot


@dataclass(frozen=True)
class Birth:
    """A task to be created. `key` and `digest` belong to its idempotency key ('' = none); times in milliseconds."""

    id: str
    queue: str
    state: str
    event: str
    who: str
    fields: Mapping[str, str]
    job: Mapping[str, Any]
    max_age_ms: int
    not_before_ms: int | None = None
    key: str = ""
    digest: str = ""
    unique_ms: int = 0
    reason: str = ""
    #: Its RQ job is there already, put by somebody else.
    adopt: bool = False
    #: Ids of the tasks that it waits for.
    after: Sequence[str] = ()
    result: Mapping[str, str] = field(default_factory=dict)


@fast_dataclass(frozen=True)
class Move:
    """One transition, ready to be written: see settling.lua for each member. `source` is the state it starts from."""

    id: str
    queue: str
    source: str
    event: str
    to: str
    reason: str
    who: str
    fence: str = ""
    evidence: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()
    attempt: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    job: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, str] = field(default_factory=dict)
    drop_result: bool = False
    due_in_ms: int | None = None
    max_age_ms: int | None = None
    bell: str = ""
    request: str = ""
    heeds_cancel: bool = False
    #: What the end tells the gate of the agent's provider, as `policies.gate.plan` puts it; None: nothing.
    gate: Mapping[str, Any] | None = None
    after: Sequence[str] = ()
    incident: Mapping[str, Any] = field(default_factory=dict)
    #: Moves that went before it and are written with it: (milliseconds since, event, to, reason, evidence) each.
    through: Sequence[tuple[int, str, str, str, str]] = ()


@fast_dataclass(frozen=True)
class Written:
    """What became of a Move: done or already (it is written), changed (somebody else moved it), missing,
    cancel_asked (nothing is written, since somebody asked for its cancel meanwhile), or what forbids to wait for
    `other`: unknown, ended (in `state`), met (there is nothing to wait for). `next`: the lease that was asked for with
    it, where it is written and there was one. `gate`: how the gate of the agent's provider moved, if it did."""

    outcome: str
    now: int = 0
    state: str = ""
    fence: str = ""
    other: str = ""
    next: Lease | None = None
    gate: Change | None = None

    @property
    def ok(self) -> bool:
        return self.outcome in {"done", "already"}


class Store:
    """The verbs. `runner` runs the scripts; `client` serves the reads."""

    def __init__(self, client: redis.Redis, runner: Runner, clock: Clock) -> None:
        # rq-style bytes client: redis-py's own annotations cannot say that replies are bytes.
        self.client: Any = client
        self.clock = clock
        self._run = runner

    def call(self, name: str, *arguments: Argument) -> list[Any]:
        """Runs a script, for the verbs here and those that stand in a file of their own."""
        return self._run(name, (self.clock.script_now(), *arguments))

    # --- tasks -----------------------------------------------------------------------------------------------------

    def enqueue(self, birth: Birth) -> tuple[str, str]:
        """Creates the task. Returns (created | same | conflict | missing, id of the task that stands), or (unknown |
        ended | met, id) where nothing is created because of what it was to wait for."""
        plan = {
            "id": birth.id,
            "rid": birth.id,
            "queue": birth.queue,
            "state": birth.state,
            "event": birth.event,
            "reason": birth.reason[:500],
            "who": birth.who,
            "set": dict(birth.fields),
            "max_age_ms": birth.max_age_ms,
            "not_before_ms": birth.not_before_ms,
            "key": birth.key,
            "digest": birth.digest,
            "unique_ms": birth.unique_ms,
            "adopt": birth.adopt,
            "result": dict(birth.result),
            "waits": birth.state in lifecycle.WAITING,
        }
        if birth.not_before_ms is None:
            del plan["not_before_ms"]
        if birth.after:
            plan["after"] = list(birth.after)
        job: list[Argument] = []
        for name, value in birth.job.items():
            # rq's status is an enum that is a str: its value is meant, not its name.
            job += [name, value if isinstance(value, bytes | str) else str(value)]
        answer = self.call("enqueue", rq_view.compact(plan), *job)
        return answer[0].decode(), answer[1].decode()

    def lease(self, wish: Wish) -> Lease | None:
        """The next task; None when there is none, or while workers are suspended. `StaleOwner` if it may not,
        `UnreadableRow` when it was one that nobody can read: it is set aside, and the next may be asked for."""
        return self._granted(wish, self.call("lease", *wish.arguments(self.clock)))

    def _granted(self, wish: Wish, answer: list[Any]) -> Lease | None:
        try:
            return wish.granted(answer)
        except UnreadableRow as problem:
            self.set_aside(problem.task_id, wish.owner, "", str(problem))
            raise

    def settle(self, move: Move, wish: Wish | None = None) -> Written:
        """Writes one transition, if the task still stands where the move starts (under its fence, if it has one).

        `wish`: what the slot that is free by it asks for, in the same step; whatever is the matter with that shows
        once the slot asks again.
        """
        said = plan.of(move, move.request or self.clock.token())
        # Words of agents and libraries may hold half a surrogate pair; they must not keep an attempt from its end.
        wanted = wish.arguments(self.clock) if wish else []
        answer = self.call("settle", rq_view.compact(said).encode("utf-8", "replace"), *wanted)
        word = answer[0].decode()
        if word == "changed":
            return Written(word, state=answer[1].decode(), fence=answer[2].decode())
        if word in {"unknown", "ended", "met"}:
            return Written(word, state=answer[-1].decode(), other=answer[1].decode())
        following = None
        if wish and len(answer) > 2 and answer[2]:
            with suppress(StaleOwner, UnreadableRow):
                following = self._granted(wish, answer[2])
        gate = Change.parse(answer[3]) if len(answer) > 3 else None
        return Written(word, now=int(answer[1]) if len(answer) > 1 else 0, next=following, gate=gate)

    def set_aside(self, task_id: str, owner: str, queue: str, reason: str) -> None:
        """Takes a task whose row nobody can read out of its lease and off all times; it stands among the strays."""
        self.call("aside", task_id.encode("utf-8", "surrogateescape"), owner, queue, reason[:300])

    def restore(self, task_id: str, state: str = "", job: Mapping[str, str] | None = None) -> bool:
        """Puts a stray where it belongs if its rows are whole again; `job`: RQ's fields of a task in `state`."""
        fields = rq_view.compact(job or {})
        return bool(self.call("restore", task_id, lifecycle.QUEUED, state, fields)[0] == b"restored")

    def parked(self, queues: Sequence[str], limit: int = 50) -> list[str]:
        """Takes jobs that RQ keeps until later (`depends_on`, `enqueue_in`) among the strays; their ids."""
        return [text(name) for name in self.call("parked", limit, *queues)[1]]

    def stray(self, task_id: str) -> dict[str, Any]:
        """Where a stray was found and why it was taken out; empty when it is none (any more)."""
        with reading(keys.STRAYS):
            raw = self.client.hget(keys.STRAYS, task_id)
        return json.loads(raw) if raw else {}

    def foreign(self, task_id: str) -> dict[bytes, bytes] | None:
        """The hash of an RQ job as it is; None when there is none."""
        with reading(keys.rq_job(task_id)):
            return self.client.hgetall(keys.rq_job(task_id)) or None

    # --- owners ----------------------------------------------------------------------------------------------------

    def enlist(self, owner: str, host_id: str, isolation_ms: int, fields: Mapping[str, Any]) -> None:
        self.call("owner", "enlist", owner, host_id, isolation_ms, rq_view.compact(fields))

    def describe(self, owner: str, host_id: str, fields: Mapping[str, Any]) -> None:
        """Changes fields of an owner's row (its state, say)."""
        self.call("owner", "describe", owner, host_id, 0, rq_view.compact(fields))

    def bury(self, owner: str, host_id: str, fields: Mapping[str, Any]) -> None:
        """Says that the owner's process tree is dead: positive evidence, its leases may be taken at once."""
        self.call("owner", "bury", owner, host_id, 0, rq_view.compact(fields))

    def condemn(self, owner: str, host_id: str, fields: Mapping[str, Any]) -> bool:
        """Declares an owner dead that is past its deadline; False if it beat meanwhile."""
        return bool(self.call("owner", "condemn", owner, host_id, 0, rq_view.compact(fields))[0] == b"ok")

    def forget(self, owner: str, host_id: str) -> bool:
        """Drops the rows of a dead or silent owner that holds nothing any more; False if it still holds something."""
        return bool(self.call("owner", "forget", owner, host_id, 0, "{}")[0] == b"ok")

    def beat(self, owner: str, isolation_ms: int, told: Sequence[tuple[str, str, str]] = ()) -> Beat | None:
        """Renews every lease of `owner`; None when it was buried or forgotten and must step back.

        `told`: (task id, fence, evidence as JSON) of `ctx.progress`, kept in the records of attempts that it holds.
        """
        news = rq_view.compact([list(one) for one in told]).encode("utf-8", "replace") if told else b""
        answer = self.call("beat", owner, isolation_ms, news)
        if answer[0] == b"unknown":
            return None
        flat = [text(value) for value in answer[2]]
        held = {flat[i]: (flat[i + 1], flat[i + 2] != "") for i in range(0, len(flat), 3)}
        return Beat(int(answer[1]), held, answer[3] != b"")

    def watch(self, host_id: str, limit: int = 50) -> Watch:
        answer = self.call("watch", host_id, limit)
        overdue = {text(name): int(float(score)) for name, score in zip(answer[2][::2], answer[2][1::2], strict=True)}
        names = [[text(value) for value in part] for part in answer[3:]]
        return Watch(int(answer[1]), overdue, *names)

    def reap(
        self, task: Task, old: str, new: str, *, slot: str, request: str, death: bool, reason: str, who: str
    ) -> Lease | None:
        """Takes the lease of a dead or silent owner over; None when it is not to be had (any more)."""
        answer = self.call(
            "reap", task.id, task.fence, old, new, slot, request, self.clock.token(), int(death), reason, who
        )
        if answer[0] != b"taken":
            return None
        return Lease(Task.parse(task.id, answer[3]), answer[1].decode(), new, slot)

    # --- reads -----------------------------------------------------------------------------------------------------

    def read(self, task_id: str) -> Task:
        """The task's current fields. `UnknownTask` when there is none."""
        with reading(keys.task(task_id)):
            row = self.client.hgetall(keys.task(task_id))
        if not row:
            raise UnknownTask(f"No task has the id {task_id}. `proofq tasks` lists those there are.")
        return Task.parse(task_id, row)

    def attempts(self, task_id: str) -> list[dict[str, Any]]:
        """The records of the task's attempts, in order. ValueError for those that are none."""
        with reading(keys.attempts(task_id)):
            raw = self.client.hgetall(keys.attempts(task_id))
        if raw:
            return parse_attempts({exact(name): exact(value) for name, value in raw.items()})
        with reading(keys.task(task_id)):
            row = self.client.hgetall(keys.task(task_id))
        kept = packed.whole({exact(name): exact(value) for name, value in row.items()})
        return list(json.loads(kept.get("attempts", "[]")))

    def owner_row(self, owner: str) -> dict[str, str]:
        with reading(keys.owner(owner)):
            row = self.client.hgetall(keys.owner(owner))
        return {text(name): text(value) for name, value in row.items()}

    def leases_of(self, owner: str) -> list[str]:
        with reading(keys.leases(owner)):
            return [text(name) for name in self.client.hkeys(keys.leases(owner))]

    def peek(self, task_id: str, queue: str = "", owner: str = "") -> Peek:
        """Everything Redis holds of the task, whatever state that is in; ValueError for rows that are none of ours.

        `queue`: where to look for an id whose task has no row; `owner`: one whose lease is looked at as well.
        """
        return Peek.parse(task_id, self.call("peek", task_id, queue, owner)[1])

    def snapshot(self, task_id: str) -> Snapshot:
        """The task with everything that must agree with it, as of one instant. `UnknownTask` when there is none,
        `DamagedKey` when its row is no hash, ValueError when the row cannot be read."""
        peek = self.peek(task_id)
        if peek.row:
            return Snapshot.of(peek)
        for key, actual in peek.damaged:
            if key == keys.task(task_id):
                raise DamagedKey(key, actual)
        raise UnknownTask(f"No task has the id {task_id}. `proofq tasks` lists those there are.")

    def ahead_of(self, task_id: str, queue: str) -> int:
        """How many ids stand before the task in its queue; 0 also where it is not in it (any more)."""
        try:
            with reading(keys.rq_queue(queue)):
                return int(self.client.lpos(keys.rq_queue(queue), task_id) or 0)
        except DamagedKey:
            return 0

    def census(self) -> Census:
        """How many tasks are in which state, and what waits in each queue; a key of a wrong type counts as empty."""
        return Census.parse(self.call("census")[1])

    def newest(self, offset: int, count: int) -> list[str]:
        """Ids of tasks, newest first."""
        with reading(keys.TASKS):
            return [text(name) for name in self.client.zrevrange(keys.TASKS, offset, offset + count - 1)]

    def read_many(self, task_ids: Sequence[str]) -> list[Task]:
        """Those of the tasks that can be read, in order; a damaged row is left to the audit."""
        with reading(keys.TASKS), self.client.pipeline(transaction=False) as pipe:
            for task_id in task_ids:
                pipe.hgetall(keys.task(task_id))
            rows = pipe.execute(raise_on_error=False)
        found = []
        for task_id, row in zip(task_ids, rows, strict=True):
            if isinstance(row, Mapping) and row:
                try:
                    found.append(Task.parse(task_id, row))
                except ValueError:
                    continue
        return found

    def publish_catalogue(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Says what a worker here declares: agent name -> version, input schema, lane, limits, and when it was said."""
        stamp = self.clock.wall().timestamp()
        rows = {name: rq_view.compact({**entry, "published_at": stamp}) for name, entry in entries.items()}
        if rows:
            with reading(keys.CATALOGUE):
                self.client.hset(keys.CATALOGUE, mapping=rows)

    def catalogue(self) -> dict[str, dict[str, Any]]:
        with reading(keys.CATALOGUE):
            rows = self.client.hgetall(keys.CATALOGUE)
        return {name.decode(): json.loads(value) for name, value in rows.items()}
