"""The slots of one supervisor: each is a thread that leases, runs one attempt to its settlement, and leases again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from proofq.policies.isolation import TICK_S
from proofq.workers.attempt import Attempts
from proofq.workers.clock import Clock
from proofq.workers.errors import RedisUnavailable
from proofq.workers.host import host_name
from proofq.workers.insist import insist
from proofq.workers.owner import Owner
from proofq.workers.record import Lease
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import StaleOwner, Store, UnreadableRow

log = logging.getLogger(__name__)

#: A thread that waits needs little stack.
STACK_BYTES = 512 * 1024


class Slots:
    """`count` threads over `queues`. While all is idle only one of them asks Redis, once a tick or when rung.

    `usable` says whether attempts can be started at all. `stopping` (set by a drain) ends each slot after its attempt.
    """

    def __init__(
        self,
        count: int,
        queues: Sequence[str],
        store: Store,
        owner: Owner,
        attempts: Attempts,
        name: str,
        usable: Callable[[], bool],
    ) -> None:
        self._queues = list(queues)
        self._store = store
        self._owner = owner
        self._attempts = attempts
        self._name = name
        self._usable = usable
        self._clock: Clock = store.clock
        self._turn = threading.Lock()
        self._rung = threading.Event()
        self.stopping = threading.Event()
        #: Rung when a slot found nothing to do: a burst looks whether all is done.
        self.idle = threading.Event()
        threading.stack_size(STACK_BYTES)
        self._threads = [
            threading.Thread(target=self._work, args=(str(n),), name=f"slot-{n}", daemon=True) for n in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def ring(self) -> None:
        self._rung.set()

    def stop(self) -> None:
        """No further lease is taken; what runs goes on."""
        self.stopping.set()
        self._rung.set()

    def wait(self, timeout_s: float) -> bool:
        """Waits until every slot has ended; False at the timeout."""
        until = self._clock.boottime() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - self._clock.boottime()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, slot: str) -> None:
        while not self.stopping.is_set():
            try:
                lease = self._next(slot)
                if lease is not None:
                    self._attempts.run(lease)
            except (RedisUnavailable, DamagedKey) as problem:
                log.warning("lease_unsettled", extra={"slot": slot, "problem": str(problem)})
            except Exception:
                # A worker never dies of one bad row: the lease stays ours and is settled as an orphan.
                log.exception("slot_error", extra={"slot": slot})
                self._clock.sleep(TICK_S)

    def _next(self, slot: str) -> Lease | None:
        """Waits for this slot's turn, and in it for a task; None when it should look around again."""
        with self._turn:
            if self.stopping.is_set():
                return None
            self._rung.clear()
            lease = self._ask(slot) if self._usable() and not self._owner.isolated else None
            if lease is None:
                self.idle.set()
                self._rung.wait(TICK_S)
            return lease

    def _ask(self, slot: str) -> Lease | None:
        if not self._queues:
            return None
        # Begin somewhere else each time, so that a busy queue does not starve those behind it.
        first = int(self._clock.jitter() * len(self._queues))
        queues = self._queues[first:] + self._queues[:first]
        while not self.stopping.is_set():
            try:
                return self._lease(slot, self._clock.token(), queues)
            except UnreadableRow as problem:
                log.error("row_damaged", extra={"problem": str(problem)})
            except StaleOwner as problem:
                # Late with the beat: the next one mends it, or retires this owner.
                log.info("lease_refused", extra={"why": str(problem)})
                break
        return None

    def _lease(self, slot: str, request: str, queues: Sequence[str]) -> Lease | None:
        return insist(
            lambda: self._store.lease(self._owner.id, slot, request, queues, self._name, host_name()),
            self._clock,
            self.stopping.is_set,
        )
