"""Ids that were found in a queue of ours and do not belong there: adopted, moved as the table says, or put right.

They stand in one hash until that is done, so that a death on the way loses none. An id without a job, or of an agent
nobody here declares, stays there: the audit names it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from proofq.policies import adoption, lifecycle
from proofq.policies.agent import AgentSpec
from proofq.workers import incidents, rq_view
from proofq.workers.door import Door, Event
from proofq.workers.errors import UnknownTask
from proofq.workers.record import Task
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Birth, Store

log = logging.getLogger(__name__)

#: Who a breadcrumb says it was: RQ keeps no record of the person.
WHO: Final = "rq"
#: Why a lease took a task of ours out of its queue that is not queued; lease.lua writes it.
MOVED: Final = "put back from outside"
#: What RQ takes for a job's id.
RQ_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)
#: Ids that nothing could be done for are remembered up to so many, so that they are not read at every look.
_REMEMBERED: Final = 10_000
#: Seconds until such an id is looked at again, doubled each time up to the second: its job may come later than its id,
#: as from a pipeline of RQ's, which names it in the schedule before it is saved.
_AGAIN_S: Final = 1.0
_AGAIN_AT_MOST_S: Final = 600.0


class Strays:
    """`agents`: what this worker declares, by name."""

    def __init__(self, store: Store, door: Door, agents: Mapping[str, AgentSpec]) -> None:
        self._store = store
        self._door = door
        self._agents = agents
        #: Id -> when it is looked at again on the boot clock, and how long that was put off.
        self._hopeless: dict[str, tuple[float, float]] = {}

    def settle(self, task_ids: Sequence[str]) -> int:
        """Look after each; how many were put right."""
        now_s = self._store.clock.boottime()
        ready = [task_id for task_id in task_ids if self._hopeless.get(task_id, (0.0, 0.0))[0] <= now_s]
        return sum(self._guarded(task_id) for task_id in ready)

    def _guarded(self, task_id: str) -> bool:
        """One bad row keeps nobody from the others."""
        try:
            if RQ_ID.fullmatch(task_id) and self._one(task_id):
                self._hopeless.pop(task_id, None)
                return True
        except DamagedKey as problem:
            # Whole again, it is put back: it must be looked at each time.
            log.debug("row_damaged", extra={"task": task_id, "problem": str(problem)})
            return False
        except ValueError as problem:
            log.error("row_damaged", extra={"task": task_id, "problem": str(problem)})
        self._put_off(task_id)
        return False

    def _put_off(self, task_id: str) -> None:
        if task_id in self._hopeless or len(self._hopeless) < _REMEMBERED:
            wait_s = min(_AGAIN_AT_MOST_S, 2 * self._hopeless.get(task_id, (0.0, _AGAIN_S / 2))[1])
            self._hopeless[task_id] = (self._store.clock.boottime() + wait_s, wait_s)

    def _one(self, task_id: str) -> bool:
        try:
            task = self._store.read(task_id)
        except UnknownTask:
            return self._adopt(task_id)
        stray = self._store.stray(task_id)
        if not stray:
            # Another reaper has looked after it since this one was told: where the task stands is where that put it.
            return False
        parked, moved = str(stray.get("parked", "")), stray.get("reason") == MOVED
        event = None if parked else lifecycle.FROM_OUTSIDE.get(task.state)
        if event is not None:
            asked = Event(event, WHO, "put back into its queue with one of RQ's tools")
            # Others may look after the same stray: who comes second must not run it once more.
            settled = self._door.apply(task_id, asked, still=partial(_stands_as, task))
            if settled.ok:
                return self._store.restore(task_id)
            moved = True
        elif parked:
            self._door.refuse(task, "defer", WHO, f"put among RQ's {parked} jobs from outside", _request(stray))
        elif moved and task.state != lifecycle.QUEUED:
            why = f"put into its queue from outside although it is {task.state}"
            self._door.refuse(task, "lease", WHO, why, _request(stray))
        shown = rq_view.shown_fields(task.state, task.ended_at, self._store.attempts(task_id))
        return self._store.restore(task_id, task.state, shown if parked or moved else None)

    def _adopt(self, task_id: str) -> bool:
        stray = self._store.stray(task_id)
        queue = str(stray.get("queue", ""))
        lane, _, agent = queue.partition(".")
        spec = self._agents.get(agent)
        raw = self._store.foreign(task_id)
        if spec is None or spec.lane != lane or raw is None:
            return False
        due_ms = _due_ms(stray)
        parked = self._parked(stray, due_ms)
        found = adoption.judge(rq_view.foreign(raw), spec, parked)
        word, _ = self._store.enqueue(_birth(task_id, queue, spec, found, due_ms, self._store))
        if word != "same":
            # Every reaper sees it, and one creates the task.
            log.info("job_adopted", extra={"task": task_id, "agent": agent, "event": found.event, "outcome": word})
        if found.failure is not None and word == "created":
            incidents.report(self._store, self._door.incident_of(found.failure, agent), task_id)
        return word in {"created", "same"}

    def _parked(self, stray: Mapping[str, Any], due_ms: int | None) -> adoption.Parked | None:
        where = stray.get("parked")
        if not isinstance(where, str):
            return None
        return adoption.Parked(where, None if due_ms is None else due_ms / 1000 - self._store.clock.wall().timestamp())


def _stands_as(task: Task, now: Task) -> bool:
    return (now.state, now.attempt, now.ended_at) == (task.state, task.attempt, task.ended_at)


def _request(stray: Mapping[str, Any]) -> str:
    """The same for every reaper that sees this stray."""
    return f"stray-{stray.get('at', '')}"


def _due_ms(stray: Mapping[str, Any]) -> int | None:
    due = stray.get("due")
    return int(due) if isinstance(due, str) and due.isascii() and due.isdigit() else None


def _birth(
    task_id: str, queue: str, spec: AgentSpec, found: adoption.Adopted, due_ms: int | None, store: Store
) -> Birth:
    state = lifecycle.TABLE[None, found.event]
    reason = found.failure.reason if found.failure else ""
    fields = {
        "agent": spec.name,
        "lane": spec.lane,
        "inputs": rq_view.compact(found.inputs),
        "max_age_s": repr(spec.max_age_s),
        "attempt": "0",
        "counted": "0",
        "max_attempts": str(spec.max_attempts),
    }
    if found.failure is not None:
        fields["failure"] = rq_view.compact(found.failure.to_dict())
    return Birth(
        id=task_id,
        queue=queue,
        state=state,
        event=found.event,
        who=WHO,
        fields=fields,
        job=rq_view.adopted_fields(state, spec.name, spec.timeout_s, store.clock.wall()),
        max_age_ms=round(spec.max_age_s * 1000),
        not_before_ms=due_ms if state == lifecycle.DEFERRED else None,
        reason=reason,
        adopt=True,
        result=rq_view.result_row(state, None, reason) if found.failure else {},
    )
