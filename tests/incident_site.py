"""A heart that counts incidents, on a clock that goes on when told to."""

from __future__ import annotations

from typing import Any, Final

import redis

from proofq.policies.failure import Failure
from proofq.policies.incident_rules import Rules
from proofq.policies.settlement import Limits
from proofq.workers import incidents, keys
from proofq.workers.door import Door, Event
from proofq.workers.incidents import Incident, Reporting
from proofq.workers.record import Lease
from proofq.workers.store import Store
from tests.heart import Heart, birth

CAUSE_KEYS: Final = (keys.CAUSES, keys.SEEN, keys.INCIDENTS, keys.ALERTS)
CRASH: Final = Failure("crash", "a bug", fingerprint="f00d")


class Moving:
    """A store's clock for scripts that goes on when told to."""

    def __init__(self, store: Store) -> None:
        seconds, micros = store.client.time()
        self._base = int(seconds) * 1000 + int(micros) // 1000
        self.ms = 0
        self._clock = store.clock

    def script_now(self) -> str:
        return str(self._base + self.ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


class Site(Heart):
    """A heart whose door counts incidents by `rules`, on a clock that moves when told to."""

    def __init__(self, client: redis.Redis, **rules: Any) -> None:
        super().__init__(client)
        self.time = Moving(self.store)
        self.store.clock = self.time
        self.rules = Rules(**rules)
        reporting = Reporting(self.rules, {}, self.clock)
        self.door = Door(self.store, Limits(), incident_of=reporting.of)
        self.enlist("o")
        self._born = 0

    def fail(self, failure: Failure = CRASH, name: str = "") -> Lease:
        """One more task (or the one named), whose attempt fails."""
        self._born += 1
        if not name:
            self.store.enqueue(birth(name := f"t{self._born}"))
        self.enlist("o")
        lease = self.held()
        assert lease.task.id == name
        started = self.settled(lease, Event("start", "worker", fields={"pid": 1, "start_ticks": 1})).lease
        assert started is not None
        self.settled(started, Event("failed", "worker", failure=failure))
        return started

    def all(self, *, seen: bool = True) -> list[Incident]:
        return incidents.every(self.store, seen=seen)

    def one(self) -> Incident:
        (found,) = self.all()
        return found

    def claim(self, **more: Any) -> list[Incident]:
        return incidents.claim(self.store, self.clock.token(), 10, **more)
