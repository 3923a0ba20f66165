"""An owner: the incarnation of one supervisor. It holds leases, renews all with one beat, and steps back by itself.

The beat is per owner, not per lease: all leases of a supervisor live and die with it. What must stop, and why, reaches
the slot through `Held`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Literal

from proofq.policies import isolation
from proofq.workers.event import Event
from proofq.workers.leasing import Wish, no_wish
from proofq.workers.record import Lease, Task
from proofq.workers.store import Store

log = logging.getLogger(__name__)

Stop = Literal["timeout", "stalled", "cancel", "drain", "isolated", "lost", "guard", "killed", "budget"]
#: Beats for which a lease must be in no slot's hands before somebody else of this owner settles it. Beats that were
#: rung for come sooner and say nothing of how long a call has been under way: those count by the time they take.
ORPHAN_BEATS: Final = 15
#: Seconds between two times that one attempt's progress is written down.
PROGRESS_EVERY_S: Final = 5.0
#: Reasons after which the holder must not expect its lease to be its own any more.
LEASE_IN_DOUBT: Final[frozenset[str]] = frozenset({"isolated", "lost"})


class Held:
    """One lease in a slot's hands, and the way to stop what it runs from any thread.

    `stop(reason)` is remembered and passed to the running attempt at once, or as soon as one is attached. The first
    reason wins, since it is the one that killed.
    """

    def __init__(self, lease: Lease, wish: Callable[[], Wish | None]) -> None:
        #: The lease with the task's newest fields; only the slot that holds it replaces it.
        self.lease = lease
        #: What the slot wants once this lease has ended, and what it got with that.
        self.wish = wish
        self.next: Lease | None = None
        #: What has happened and is to be written with what comes next; and whether an event was refused, since the
        #: lease is not ours any more.
        self.unwritten: list[Event] = []
        self.refused = False
        #: Gates that its calls have passed, and told how they ended.
        self.called: set[str] = set()
        self._lock = threading.Lock()
        self._reason: Stop | None = None
        self._kill: Callable[[str], None] | None = None
        self._progress: Callable[[], tuple[int, str]] = lambda: (0, "")
        self._told = 0
        self._told_at_s = -PROGRESS_EVERY_S

    @property
    def task(self) -> Task:
        return self.lease.task

    @property
    def task_id(self) -> str:
        return self.lease.task.id

    @property
    def fence(self) -> str:
        return self.lease.fence

    @property
    def stopped(self) -> Stop | None:
        return self._reason

    def stop(self, reason: Stop) -> None:
        with self._lock:
            if self._reason is None:
                self._reason = reason
            kill, why = self._kill, self._reason
        if kill is not None:
            kill(why)

    def attach(self, kill: Callable[[str], None], progress: Callable[[], tuple[int, str]] | None = None) -> None:
        """Says how to stop what now runs; kills at once if a stop came first.

        `progress`: how often it has told of its progress, and the latest, as JSON.
        """
        with self._lock:
            self._kill = kill
            self._progress = progress or self._progress
            reason = self._reason
        if reason is not None:
            kill(reason)

    def detach(self) -> None:
        with self._lock:
            self._kill = None

    def news(self) -> tuple[int, str]:
        """What was told of the attempt's progress and is not written down yet: its number, and JSON; (0, "") for none.

        Whoever writes it down says so with `written`.
        """
        number, evidence = self._progress()
        return (number, evidence) if number > self._told else (0, "")

    def written(self, number: int, now_s: float) -> None:
        self._told, self._told_at_s = max(number, self._told), now_s

    def may_write(self, now_s: float) -> bool:
        """Whether it is long enough since the last time; an end is written down with its progress at any time."""
        return now_s >= self._told_at_s + PROGRESS_EVERY_S


class Owner:
    """What one supervisor holds. `isolation_s`: its leases may be taken after so much silence.

    `on_retired` is called once when the fleet has buried or forgotten this owner: it may take no lease any more.
    `on_orphan` is given (task id, fence) of a lease of ours that no slot knows of.
    """

    def __init__(
        self,
        store: Store,
        owner_id: str,
        isolation_s: float,
        on_retired: Callable[[], None],
        on_orphan: Callable[[str, str], None],
    ) -> None:
        self.id = owner_id
        self.isolation_s = isolation_s
        self._store = store
        self._clock = store.clock
        self._on_retired = on_retired
        self._on_orphan = on_orphan
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}
        self._granted: dict[str, int] = {}
        self._beats = 0
        #: Leases in no slot's hands: for how many beats, and since when.
        self._unknown: dict[tuple[str, str], tuple[int, float]] = {}
        self._all_stopped = False
        self._acknowledged_s = self._clock.boottime()
        self.retired = False
        #: Whether somebody asked through Redis that this worker drains.
        self.drain_asked = False

    @property
    def isolation_ms(self) -> int:
        return round(self.isolation_s * 1000)

    def hold(self, lease: Lease, wish: Callable[[], Wish | None] = no_wish, *, begins: bool = False) -> Held:
        """`begins`: an attempt is to begin with it; once all were stopped it is given back instead."""
        held = Held(lease, wish)
        with self._lock:
            self._held[held.task_id] = held
            self._granted[held.task_id] = self._beats
            too_late = begins and self._all_stopped
        if too_late:
            held.stop("drain")
        return held

    def release(self, held: Held) -> None:
        with self._lock:
            if self._held.get(held.task_id) is held:
                del self._held[held.task_id]
                del self._granted[held.task_id]

    def holding(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    def beat(self) -> None:
        """Renews every lease; stops what the fleet has taken away and what somebody asked to cancel.

        Raises `RedisUnavailable` when the beat was not acknowledged.
        """
        sent_s = self._clock.boottime()
        with self._lock:
            self._beats += 1
            number = self._beats
        news = [(held, *held.news()) for held in self.holding() if held.may_write(sent_s)]
        told = [(held.task_id, held.fence, evidence) for held, number, evidence in news if number]
        answer = self._store.beat(self.id, self.isolation_ms, told)
        if answer is None:
            self._retire()
            return
        # Counted from when it was sent: the server cannot have heard it earlier.
        self._acknowledged_s = sent_s
        for held, number, _ in news:
            if number:
                held.written(number, sent_s)
        self.drain_asked = self.drain_asked or answer.drain
        self._look_for_orphans(answer.held)
        for held in self.holding():
            fence, cancel = answer.held.get(held.task_id, ("", False))
            # A lease granted while this beat was under way is not in its answer yet.
            if fence != held.fence and self._granted.get(held.task_id, number) < number:
                held.stop("lost")
            elif cancel:
                held.stop("cancel")

    def _look_for_orphans(self, granted: dict[str, tuple[str, bool]]) -> None:
        """Leases that are ours in Redis and in no slot's hands: a slot gave up between two writes. They are handed
        over once they have stood for `ORPHAN_BEATS` beats, far longer than any call that is still under way, and again
        after as many: what kept them from being settled (a damaged key) may be mended."""
        now_s = self._clock.boottime()
        least_s = (ORPHAN_BEATS - 1.5) * isolation.beat_every_s(self.isolation_s)
        with self._lock:
            unknown = {task_id: fence for task_id, (fence, _) in granted.items() if task_id not in self._held}
        before, self._unknown = self._unknown, {}
        for one in unknown.items():
            beats, since_s = before.get(one, (0, now_s))
            if beats + 1 >= ORPHAN_BEATS and now_s - since_s >= least_s:
                self._on_orphan(*one)
                beats, since_s = -1, now_s
            self._unknown[one] = (beats + 1, since_s)

    def silent_s(self) -> float:
        return self._clock.boottime() - self._acknowledged_s

    @property
    def isolated(self) -> bool:
        """Whether this owner has been silent for so long that it must not run anything."""
        return self.retired or isolation.must_step_back(self.silent_s(), self.isolation_s)

    def watch_isolation(self) -> bool:
        """Stops everything once the silence is too long; True while isolated. Needs no Redis."""
        if not self.isolated:
            return False
        for held in self.holding():
            if held.stopped not in LEASE_IN_DOUBT:
                log.warning("isolated", extra={"task": held.task_id, "silent_s": round(self.silent_s(), 1)})
            held.stop("isolated")
        return True

    def stop_all(self, reason: Stop) -> None:
        """Stops what is held; a lease that was asked for before and comes later begins nothing."""
        with self._lock:
            self._all_stopped = True
        for held in self.holding():
            held.stop(reason)

    def _retire(self) -> None:
        if not self.retired:
            self.retired = True
            self.watch_isolation()
            self._on_retired()
