"""Takes back what the dead and the silent held, and moves on what waited for a time. One look a tick.

Each act is safe beside any number of other reapers: the scripts compare before they write, so one of them wins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from proofq.policies import isolation, lifecycle, settlement
from proofq.policies.agent import AgentSpec
from proofq.workers import fleet, keys
from proofq.workers.door import Door, Event
from proofq.workers.errors import UnknownTask
from proofq.workers.followers import Followers
from proofq.workers.host import StillAlive
from proofq.workers.owner import Owner
from proofq.workers.record import Lease, Task
from proofq.workers.rounds import Rounds
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store
from proofq.workers.strays import Strays

log = logging.getLogger(__name__)

#: Seconds in which every queue is looked at once for jobs that RQ keeps where no queue of ours ever sees them, and how
#: many queues in one step: some ten microseconds each.
PARKED_EVERY_S: Final = 5.0
PARKED_PIECE: Final = 50


class Host(Protocol):
    """What a reaper may see and do on its own host. `row` is an owner's row as it enlisted."""

    id: str

    def is_dead(self, row: Mapping[str, str]) -> bool:
        """Whether the owner's supervisor is certainly gone: pid, start time and boot id are compared."""

    def kill_agents(self, row: Mapping[str, str]) -> None:
        """Kills whatever the owner's agents left here, stopped processes included; returns when none lives.

        `StillAlive` when some would not die."""


@dataclass(frozen=True)
class Reaped:
    """What one look did, by count."""

    buried: int = 0
    taken: int = 0
    promoted: int = 0
    expired: int = 0
    restored: int = 0
    #: Whether somebody is to be told of an incident.
    alerts: bool = False


class Reaper:
    """`adopt` is given each lease that was taken over and must settle it, at once or later; `agents` is what this
    worker declares (without the declaration of a task's agent nobody can judge its proofs)."""

    def __init__(
        self,
        store: Store,
        door: Door,
        owner: Owner,
        host: Host,
        name: str,
        agents: Mapping[str, AgentSpec],
        adopt: Callable[[Lease], None],
    ) -> None:
        self._store = store
        self._door = door
        self._owner = owner
        self._host = host
        self._name = name
        self._agents = agents
        self._strays = Strays(store, door, agents)
        queues = [keys.queue_of(spec.lane, name) for name, spec in agents.items()]
        self._rounds = Rounds(queues, PARKED_PIECE, PARKED_EVERY_S)
        self._followers = Followers(store, door, name)
        self._adopt = adopt
        self._contact: isolation.Contact | None = None
        self._rows: dict[str, dict[str, str]] = {}
        #: Owners past their deadline whose processes on this host have been ended.
        self._cleared: set[str] = set()

    def run_once(self) -> Reaped:
        """One look. Raises `RedisUnavailable` when Redis is away; the next look begins afresh."""
        watch = self._store.watch(self._host.id)
        self._contact = isolation.seen(self._contact, self._store.clock.boottime(), watch.now / 1000)
        unburied = [name for name in watch.neighbours if watch.overdue.get(name) != 0]
        self._rows = {name: row for name, row in self._rows.items() if name in unburied}
        buried = sum(self._each_owner(self._bury_if_dead, neighbour) for neighbour in unburied)
        self._cleared &= watch.overdue.keys()
        taken = sum(self._each_owner(self._take_from, *overdue) for overdue in watch.overdue.items())
        # The aged first: who is due and too old is not run once more.
        too_old, has_come = partial(_is_too_old, now_ms=watch.now), partial(_has_come, now_ms=watch.now)
        expired = self._apply(watch.aged, "expire", "older than its max_age_s", too_old)
        due = [name for name in watch.due if name not in watch.aged]
        promoted = self._apply(due, "due", "its time has come", has_come)
        self._followers.tell(watch.followed)
        strays = dict.fromkeys([*watch.strays, *self._parked()])
        restored = self._strays.settle(list(strays))
        return Reaped(buried, taken, promoted, expired, restored, bool(watch.alerts))

    def _parked(self) -> list[str]:
        """Jobs of plain RQ that wait outside our queues for what RQ would do there; now and then, for few come so."""
        queues = self._rounds.due(self._store.clock.boottime())
        if not queues:
            return []
        try:
            return self._store.parked(queues)
        except DamagedKey as problem:
            log.error("row_damaged", extra={"problem": str(problem)})
            return []

    def _each_owner(self, act: Callable[..., int], *arguments: Any) -> int:
        """One owner whose processes will not die or whose rows are damaged keeps nobody from looking after others."""
        try:
            return act(*arguments)
        except StillAlive as problem:
            log.error("processes_will_not_die", extra={"owner": arguments[0], "problem": str(problem)})
        except DamagedKey as problem:
            log.error("row_damaged", extra={"owner": arguments[0], "problem": str(problem)})
        return 0

    # --- owners ----------------------------------------------------------------------------------------------------

    def _bury_if_dead(self, owner: str) -> bool:
        """Positive evidence on this host: the supervisor is gone. Its agents are killed before anybody is told."""
        if owner == self._owner.id:
            return False
        # Who an owner is never changes: its row is read once, not at every look.
        row = self._rows.get(owner) or self._store.owner_row(owner)
        self._rows[owner] = row
        if not row or not self._host.is_dead(row):
            return False
        self._host.kill_agents(row)
        self._store.bury(owner, self._host.id, {"dead": "1", "dead_by": self._name})
        log.warning("owner_buried", extra={"owner": owner, "worker": row.get("name")})
        return True

    def _take_from(self, owner: str, deadline: int) -> int:
        if owner == self._owner.id:
            return 0
        row = self._store.owner_row(owner)
        reason = row.get("why", "its owner's processes are dead")
        if deadline > 0:
            reason = "its owner is silent"
            if self._contact is None or not isolation.may_reap_the_silent(self._contact):
                return 0
            if not self._store.condemn(owner, row.get("host_id", ""), {"dead": "1", "why": reason}):
                return 0
        if row.get("host_id") == self._host.id and owner not in self._cleared:
            # It may be stopped rather than gone; on this host no new attempt starts beside a process of the old one.
            self._host.kill_agents(row)
            self._cleared.add(owner)
        taken = 0
        for task_id in self._store.leases_of(owner):
            taken += self._take(task_id, owner, reason, bool(row.get("left")), fleet.versions(row))
        self._store.forget(owner, row.get("host_id", ""))
        return taken

    def _take(self, task_id: str, owner: str, reason: str, left: bool, versions: Mapping[str, str]) -> bool:
        try:
            task = self._store.read(task_id)
            if task.owner != owner or task.agent not in self._agents or self._is_anothers(task.agent, versions):
                return False
            death = not left and settlement.is_charged(task.facts, task.trial, self._door.limits)
            lease = self._store.reap(
                task, owner, self._owner.id, slot=keys.REAPER_SLOT, request=self._store.clock.token(), death=death,
                reason=reason, who=self._name,
            )  # fmt: skip
        except (UnknownTask, ValueError) as problem:
            self._set_aside(task_id, owner, str(problem))
            return False
        except DamagedKey as problem:
            log.error("row_damaged", extra={"task": task_id, "problem": str(problem)})
            return False
        if lease is None:
            return False
        log.warning("lease_taken", extra={"task": task_id, "from": owner, "reason": reason})
        self._adopt(lease)
        return True

    def _is_anothers(self, agent: str, versions: Mapping[str, str]) -> bool:
        """Whether the attempt ran under another declaration than ours, and a live worker has that one.

        Its proofs are to decide. Asked only where the two differ.
        """
        ran = versions.get(agent)
        if ran is None or ran == self._agents[agent].version:
            return False
        return fleet.declares(self._store, agent, ran)

    # --- tasks that waited -----------------------------------------------------------------------------------------

    def _apply(self, task_ids: list[str], name: str, reason: str, still: Callable[[Task], bool]) -> int:
        """Every reaper sees the same tasks: who comes second does nothing, though it has waited anew meanwhile."""
        moved = 0
        for task_id in task_ids:
            try:
                moved += self._door.apply(task_id, Event(name, self._name, reason), still=still).ok
            except (UnknownTask, ValueError) as problem:
                self._set_aside(task_id, "", str(problem))
            except DamagedKey as problem:
                log.error("row_damaged", extra={"task": task_id, "problem": str(problem)})
        return moved

    def _set_aside(self, task_id: str, owner: str, problem: str) -> None:
        """Nobody can read it: it must not come up at every look."""
        log.error("row_damaged", extra={"task": task_id, "problem": problem})
        self._store.set_aside(task_id, owner, "", problem)


def _is_too_old(task: Task, now_ms: int) -> bool:
    return task.state in lifecycle.WAITING and task.expires_at <= now_ms


def _has_come(task: Task, now_ms: int) -> bool:
    return task.state == lifecycle.DEFERRED and (task.not_before or 0) <= now_ms
