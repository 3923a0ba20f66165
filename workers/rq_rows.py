"""The slots of one supervisor as workers of RQ's: `rq info`, rq-dashboard and RQ's commands find them by these rows.

A view, never the truth: it is written every few seconds, whatever a slot does meanwhile, so that no task pays for it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from proofq.policies.lifecycle import SUCCESS
from proofq.workers import host, keys, rq_view
from proofq.workers.owner import Owner
from proofq.workers.record import Lease
from proofq.workers.rounds import Rounds
from proofq.workers.shares import Share
from proofq.workers.store import Store

#: Seconds between two writings, and until rows that nobody writes any more expire.
EVERY_S: Final = 5.0
EXPIRE_S: Final = 60
#: Rows written in one step at most: some 25 microseconds each, for which Redis serves nobody else.
PIECE: Final = 64
#: Slots of a lane that get a row; of more, nobody would read the list.
MOST: Final = 1000


def shown(slots: Share) -> list[str]:
    """The slots that have a row."""
    return [str(slot) for slot in range(slots.first, min(slots.first + slots.count, MOST))]


class RqRows:
    """`name`, `lane`, `slots` and `pid` (the launcher's) are the supervisor's; `queues` those it leases from."""

    def __init__(
        self, store: Store, owner: Owner, name: str, lane: str, slots: Share, pid: int, queues: Sequence[str]
    ) -> None:
        self._store = store
        self._owner = owner
        self._pid = pid
        self._queues = list(queues)
        self._birth = store.clock.wall()
        self._names = {slot: keys.rq_worker_name(name, lane, slot) for slot in shown(slots)}
        self._lock = threading.Lock()
        self._succeeded: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._rounds = Rounds(list(self._names), PIECE, EVERY_S)

    def count(self, lease: Lease, state: str) -> None:
        """One attempt of a slot has ended in `state`."""
        with self._lock:
            (self._succeeded if state in SUCCESS else self._failed)[lease.slot] += 1

    def say(self, draining: bool) -> None:
        """Write the rows that are due. Raises RedisUnavailable and DamagedKey."""
        slots = [] if self._owner.isolated else self._rounds.due(self._store.clock.boottime())
        if not slots:
            return
        running = {held.lease.slot: held.task_id for held in self._owner.holding()}
        now = self._store.clock.wall()
        shared = rq_view.worker_fields(self._queues, self._pid, host.host_name(), self._birth, now)
        if draining:
            shared["shutdown_requested_date"] = rq_view.stamp(now)
        rows = {self._names[slot]: self._of_slot(slot, running.get(slot)) for slot in slots}
        show(self._store, self._owner.id, shared, rows, self._queues)

    def _of_slot(self, slot: str, task_id: str | None) -> dict[str, str]:
        counts = {
            "successful_job_count": str(self._succeeded[slot]),
            "failed_job_count": str(self._failed[slot]),
        }
        # Not RQ's field `current_job`: rq-dashboard unpickles that job, which of one in JSON breaks its whole page.
        return counts | ({"state": "idle"} if task_id is None else {"state": "busy", "task": task_id})


def show(
    store: Store, owner: str, shared: Mapping[str, str], rows: Mapping[str, Mapping[str, str]], queues: Sequence[str]
) -> None:
    """Write the rows of a live owner, by name; `shared` are fields of each. One that is buried gets none."""
    store.call("rq_rows", owner, EXPIRE_S, rq_view.compact(shared), rq_view.compact(rows), *queues)
