"""The slots of one supervisor: room for so many attempts at a time. What only waits needs no thread.

One thread leases while there is room. Others take the steps of attempts; between them an attempt is parked, until what
it runs has ended or its time has come.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
from collections.abc import Callable
from functools import partial

from proofq.policies.isolation import TICK_S
from proofq.workers.attempt import Attempts
from proofq.workers.clock import Clock
from proofq.workers.errors import RedisUnavailable
from proofq.workers.host import host_name
from proofq.workers.insist import insist
from proofq.workers.leasing import StaleOwner, UnreadableRow, Wish
from proofq.workers.life import Life, Running, Wait
from proofq.workers.owner import Owner
from proofq.workers.record import Lease
from proofq.workers.scripts import DamagedKey
from proofq.workers.shares import Share
from proofq.workers.store import Store
from proofq.workers.threads import LATE_S, Threads
from proofq.workers.turns import Turns

log = logging.getLogger(__name__)


class _Parked:
    """An attempt in its slot, between two steps or in one."""

    def __init__(self, slot: int, life: Life, queue: str, began_s: float) -> None:
        self.slot = slot
        self.life = life
        self.queue = queue
        self.began_s = began_s
        self.wait: Wait | None = None
        self.until_s = math.inf
        #: Whose end it hears of.
        self.heard: Running | None = None


class Slots:
    """Room for attempts from the queues of `turns`, with the numbers of `share`. Redis is asked by one thread, while
    idle once a tick, when rung, and when a gate opens.

    `usable` says whether attempts can be started at all. `stopping` (set by a drain) ends each slot after its attempt.
    """

    def __init__(
        self,
        share: Share,
        turns: Turns,
        store: Store,
        owner: Owner,
        attempts: Attempts,
        name: str,
        usable: Callable[[], bool],
    ) -> None:
        self._turns = turns
        self._store = store
        self._owner = owner
        self._attempts = attempts
        self._name = name
        self._usable = usable
        self._clock: Clock = store.clock
        self._threads = Threads(share.count, self._clock)
        self._rung = threading.Event()
        #: How long to wait where there was nothing to do.
        self._pause_s = TICK_S
        self._changed = threading.Condition(threading.Lock())
        #: The lowest number first, so that a slot that is in use stays the same one where there is little to do.
        self._free = list(range(share.first, share.first + share.count))
        self._count = share.count
        self._parked: set[_Parked] = set()
        #: When it is looked next whose time has come, by itself; until then nobody need be woken for it.
        self._looks_s = math.inf
        self._look = threading.Event()
        self.stopping = threading.Event()
        #: Rung when a slot found nothing to do: a burst looks whether all is done.
        self.idle = threading.Event()
        self._leaser = threading.Thread(target=self._lease_on, name="slots", daemon=True)
        self._keeper = threading.Thread(target=self._keep, name="slots-time", daemon=True)

    def start(self) -> None:
        self._leaser.start()
        self._keeper.start()

    def ring(self) -> None:
        self._rung.set()

    def stop(self) -> None:
        """No further lease is taken; what runs goes on."""
        self.stopping.set()
        self._rung.set()
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Waits until every slot is free and none will be taken; False at the timeout."""
        until_s = self._clock.boottime() + timeout_s
        self._leaser.join(timeout_s)
        with self._changed:
            while len(self._free) < self._count or self._leaser.is_alive():
                rest_s = until_s - self._clock.boottime()
                if rest_s <= 0:
                    return False
                self._changed.wait(rest_s)
            return True

    # --- leasing ---------------------------------------------------------------------------------------------------

    def _lease_on(self) -> None:
        while (slot := self._take_slot()) is not None:
            lease = None
            try:
                lease = self._next(slot)
            except (RedisUnavailable, DamagedKey) as problem:
                log.warning("lease_unsettled", extra={"slot": slot, "problem": str(problem)})
            except Exception:
                log.exception("slot_error", extra={"slot": slot})
                self._clock.sleep(TICK_S)
            if lease is None:
                self._give_back(slot)
            else:
                self._do(self._begun(slot, lease))

    def _take_slot(self) -> int | None:
        """The next free slot, once there is one; None once no lease may be taken."""
        with self._changed:
            while not self._free and not self.stopping.is_set():
                self._changed.wait()
            return None if self.stopping.is_set() else heapq.heappop(self._free)

    def _give_back(self, slot: int) -> None:
        with self._changed:
            heapq.heappush(self._free, slot)
            self._changed.notify_all()

    def _next(self, slot: int) -> Lease | None:
        """Asks for a task, and waits where there is none; None when one should look around again."""
        self._rung.clear()
        self._pause_s = TICK_S
        lease = self._ask(slot)
        if lease is None and not self.stopping.is_set():
            self.idle.set()
            self._rung.wait(self._pause_s)
        return lease

    def _wish(self, slot: int) -> Wish | None:
        """What to ask for; None while nothing may begin here."""
        if self.stopping.is_set() or not self._turns or self._owner.isolated or not self._usable():
            return None
        queues = self._turns.asked(self._clock.jitter(), self._clock.boottime())
        return Wish(self._owner.id, str(slot), self._clock.token(), queues, self._name, host_name(), self._gate_opens)

    def _gate_opens(self, in_s: float) -> None:
        """Tasks wait for nothing else than a gate: be there when it opens."""
        self._pause_s = min(self._pause_s, in_s)

    def _ask(self, slot: int) -> Lease | None:
        while (wish := self._wish(slot)) is not None:
            try:
                return self._lease(wish)
            except UnreadableRow as problem:
                log.error("row_damaged", extra={"problem": str(problem)})
            except StaleOwner as problem:
                # Late with the beat: the next one mends it, or retires this owner.
                log.info("lease_refused", extra={"why": str(problem)})
                break
        return None

    def _lease(self, wish: Wish) -> Lease | None:
        return insist(lambda: self._store.lease(wish), self._clock, self.stopping.is_set)

    # --- attempts --------------------------------------------------------------------------------------------------

    def _begun(self, slot: int, lease: Lease) -> _Parked:
        queue, now_s = lease.task.queue, self._clock.boottime()
        self._turns.began(queue, now_s)
        return _Parked(slot, self._attempts.life(lease, partial(self._wish, slot)), queue, now_s)

    def _go_on(self, parked: _Parked) -> None:
        """Take steps in this slot, in a thread for them, until it has to wait or is free."""
        lease = self._step(parked)
        while lease is not None:
            lease = self._step(self._begun(parked.slot, lease))

    def _step(self, parked: _Parked) -> Lease | None:
        """Take the next step of an attempt, and park it or free its slot; the lease that its end brought, if it did."""
        wait, following = parked.wait, None
        try:
            told = next(parked.life) if wait is None else parked.life.send(wait.running.wait_ended(0))
        except StopIteration as over:
            following = over.value
        except (RedisUnavailable, DamagedKey) as problem:
            log.warning("lease_unsettled", extra={"slot": parked.slot, "problem": str(problem)})
        except Exception:
            # A worker never dies of one bad row: the lease stays ours and is settled as an orphan.
            log.exception("slot_error", extra={"slot": parked.slot})
        else:
            self._park(parked, told)
            return None
        self._turns.ended(parked.queue, parked.began_s, self._clock.boottime())
        if following is None:
            self._give_back(parked.slot)
        return following

    def _park(self, parked: _Parked, wait: Wait) -> None:
        with self._changed:
            parked.wait = wait
            parked.until_s = math.inf if wait.until_s is None else wait.until_s
            self._parked.add(parked)
        self._have_looked(parked.until_s)
        if parked.heard is not wait.running:
            parked.heard = wait.running
            wait.running.when_ended(partial(self._ended, parked))
        elif wait.running.wait_ended(0):
            self._ended(parked)

    def _ended(self, parked: _Parked) -> None:
        """What it runs has ended, perhaps while a step was taken; only who finds it waiting goes on with it."""
        with self._changed:
            if parked not in self._parked:
                return
            self._parked.discard(parked)
        self._do(parked)

    def _do(self, parked: _Parked) -> None:
        if self._threads.do(partial(self._go_on, parked)):
            self._have_looked(self._clock.boottime() + LATE_S)

    def _have_looked(self, until_s: float) -> None:
        if until_s < self._looks_s:
            self._look.set()

    def _keep(self) -> None:
        """Goes on with whose time has come, and has more threads come where work lies around."""
        while True:
            # What comes from here on is told: it might be too late for this look.
            self._looks_s = math.inf
            self._look.clear()
            now_s = self._clock.boottime()
            with self._changed:
                due = [one for one in self._parked if one.until_s <= now_s]
                self._parked.difference_update(due)
                next_s = min((one.until_s for one in self._parked), default=math.inf)
            for one in due:
                self._threads.do(partial(self._go_on, one))
            self._looks_s = min(next_s, now_s + LATE_S) if self._threads.look() else next_s
            self._look.wait(None if self._looks_s == math.inf else max(0.0, self._looks_s - now_s))
