"""Enqueuing: one checked request becomes one task, once, whatever happens to the reply."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from proofq.policies import inputs as input_rules
from proofq.policies import passing
from proofq.policies.declared import MAX_SECONDS
from proofq.policies.lifecycle import DEFERRED, QUEUED
from proofq.workers import keys, rq_view
from proofq.workers.errors import BadInput, KeyConflict, RedisUnavailable, UnknownTask
from proofq.workers.insist import insist, tries
from proofq.workers.known_agents import KnownAgent
from proofq.workers.session import Session
from proofq.workers.store import Birth
from proofq.workers.task_view import TASK_ID

#: Longest idempotency key, in bytes of UTF-8.
MAX_KEY_BYTES: Final = 512
#: Most tasks that one task may wait for: all of them are looked at in one step.
MAX_AFTER: Final = 100


@dataclass(frozen=True)
class Request:
    """What beside the inputs may be said of one task; see `proofq.enqueue`."""

    key: str | None = None
    not_before: datetime | str | None = None
    after: Sequence[Any] = ()
    max_age_s: float | timedelta | None = None


@dataclass(frozen=True)
class Enqueued:
    """The task that stands. `created` is False where the key had named it before."""

    id: str
    state: str
    created: bool


def enqueue(session: Session, agent: KnownAgent, inputs: Mapping[str, Any], request: Request, who: str) -> Enqueued:
    """Create the task, or find the one its key names. Raises BadInput, KeyConflict, RedisUnavailable."""
    birth = _birth(session, agent, inputs, request, who)
    try:
        word, task_id = _sent(session, birth)
        if word == "met":
            # All that it was to wait for has ended in success, which is for good: the task is one like any other.
            birth = _waiting_for_nothing(birth, agent, inputs, session)
            word, task_id = _sent(session, birth)
    except RedisUnavailable as problem:
        message = f"{problem} Whether the task was created is not known; `proofq show {birth.id}` says so."
        raise RedisUnavailable(message) from problem
    if word == "conflict":
        raise KeyConflict(
            f"The key {request.key!r:.80} of agent {agent.name} names task {task_id}, which has other inputs. "
            "Give another key, or the same inputs."
        )
    if word in {"unknown", "ended"}:
        raise BadInput(_not_awaited(session, agent.name, task_id))
    if word == "created" or task_id == birth.id:
        return Enqueued(task_id, birth.state, created=True)
    return Enqueued(task_id, session.store.read(task_id).state, created=False)


def _sent(session: Session, birth: Birth) -> tuple[str, str]:
    # The same id each time: a request that was carried out although its reply was lost creates no second task.
    return insist(lambda: session.store.enqueue(birth), session.store.clock, tries())


def whoami(role: str) -> str:
    """Who acts, as a breadcrumb shows it: "cli:ann@host"."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{role}:{user}@{socket.gethostname()}"


def _birth(session: Session, agent: KnownAgent, inputs: Mapping[str, Any], request: Request, who: str) -> Birth:
    problems = input_rules.validate(agent.inputs_schema, inputs) or passing.problems(agent.passing, inputs)
    if problems:
        raise BadInput(f"{agent.name}: {'; '.join(problems)}.")
    after = _after(request.after)
    max_age_s = agent.max_age_s if request.max_age_s is None else _seconds(request.max_age_s)
    not_before_ms = _not_before_ms(session, request.not_before)
    state, event = _begin(after, not_before_ms)
    task_id, queue = session.store.clock.name(), keys.queue_of(agent.lane, agent.name)
    now = session.store.clock.wall()
    return Birth(
        id=task_id,
        queue=queue,
        state=state,
        event=event,
        who=who,
        fields={
            "agent": agent.name,
            "lane": agent.lane,
            "inputs": rq_view.compact(inputs),
            "max_age_s": repr(max_age_s),
            "attempt": "0",
            "counted": "0",
            "max_attempts": str(agent.max_attempts),
            **({"after": rq_view.compact(after)} if after else {}),
        },
        job=rq_view.job_fields(agent.name, queue, state, inputs, agent.timeout_s, now),
        max_age_ms=round(max_age_s * 1000),
        not_before_ms=not_before_ms,
        key="" if request.key is None else keys.key(agent.name, _digest(_key_bytes(request.key))),
        digest=_digest(_canonical(inputs)),
        unique_ms=round(agent.unique_for_s * 1000),
        after=after,
    )


def _begin(after: Sequence[str], not_before_ms: int | None) -> tuple[str, str]:
    """State and event of a birth."""
    if after:
        return DEFERRED, "enqueue_after"
    return (QUEUED, "enqueue") if not_before_ms is None else (DEFERRED, "enqueue_later")


def _waiting_for_nothing(birth: Birth, agent: KnownAgent, inputs: Mapping[str, Any], session: Session) -> Birth:
    """The same birth, of a task that need not wait for others."""
    state, event = _begin((), birth.not_before_ms)
    now = session.store.clock.wall()
    job = rq_view.job_fields(agent.name, birth.queue, state, inputs, agent.timeout_s, now)
    return replace(birth, state=state, event=event, job=job, after=())


def _after(given: Sequence[Any]) -> list[str]:
    """The ids of the tasks to wait for, each once; tasks themselves are taken too."""
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise BadInput(f"after is {given!r:.80}; it is a list of task ids, such as after=[task.id].")
    ids = list(dict.fromkeys(getattr(one, "id", one) for one in given))
    for one in ids:
        if not isinstance(one, str) or not TASK_ID.fullmatch(one):
            raise BadInput(f"after names {one!r:.80}, which is the id of no task. `proofq tasks` lists them.")
    if len(ids) > MAX_AFTER:
        raise BadInput(f"after names {len(ids)} tasks, more than {MAX_AFTER}; wait for one that waits for them.")
    return ids


def _not_awaited(session: Session, agent: str, other: str) -> str:
    """Why nothing was enqueued: the task it was to wait for is not there, or has ended without success."""
    try:
        state = session.store.read(other).state
    except UnknownTask:
        return f"{agent}: no task has the id {other}, which it was to wait for (after). `proofq tasks` lists them."
    return (
        f"{agent}: task {other}, which it was to wait for (after), is {state}, so it would never run. "
        f"`proofq replay {other}` first, or enqueue it without."
    )


def _key_bytes(key: str) -> bytes:
    if not isinstance(key, str):
        raise BadInput(f"The key is {key!r:.80}; a key is text.")
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise BadInput("The key holds half a surrogate pair, which is no Unicode text; give another.") from problem
    if not encoded or b"\0" in encoded:
        raise BadInput("The key is empty or holds a NUL character; give text that names this one piece of work.")
    if len(encoded) > MAX_KEY_BYTES:
        raise BadInput(f"The key takes {len(encoded)} bytes, more than {MAX_KEY_BYTES}; give a digest of it instead.")
    return encoded


def _canonical(inputs: Mapping[str, Any]) -> bytes:
    """The inputs in the one form in which equal inputs are equal bytes; texts that only look alike stay apart."""
    return json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _seconds(value: float | timedelta) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise BadInput(f"max_age_s is {value!r:.80}; it is a number of seconds.")
    if not math.isfinite(seconds) or not 0 < seconds <= MAX_SECONDS:
        raise BadInput(f"max_age_s is {seconds!r:.80}; it is more than 0 and at most {MAX_SECONDS:.0f} seconds.")
    return float(seconds)


def _not_before_ms(session: Session, moment: datetime | str | None) -> int | None:
    """When the task may be queued, in the server's milliseconds; None for at once, a time that has passed included."""
    if moment is None:
        return None
    at_ms = round(_moment(moment).timestamp() * 1000)
    return at_ms if at_ms > session.now_ms() else None


def _moment(moment: datetime | str) -> datetime:
    try:
        found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError as problem:
        raise BadInput(
            f"{moment!r:.80} is no ISO 8601 time; write it like 2026-11-20T08:00:00Z or with an offset (+01:00)."
        ) from problem
    if not isinstance(found, datetime):
        raise BadInput(f"not_before is {moment!r:.80}; it is a datetime with an offset, or an ISO 8601 text.")
    if found.utcoffset() is None:
        raise BadInput(
            f"not_before {moment} does not say of which time zone it is; add Z for UTC, or an offset such as +01:00."
        )
    return found
