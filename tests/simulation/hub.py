"""The scheduler of the simulator: actors as greenlets, one clock that only it moves, every choice from one seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

#: Where simulated time begins: 2026-01-01, in epoch milliseconds.
START_MS = 1_767_225_600_000
#: The wake of who waits without a time-out.
NEVER = 10**15


class Broken(BaseException):
    """An invariant does not hold. A BaseException, so that no `except Exception` of the product swallows it."""


class Link:
    """A way to Redis, shared by those who go it. `cut`: calls do not reach Redis."""

    def __init__(self) -> None:
        self.cut = False


class Party:
    """Who makes store calls: a worker's incarnation, a guard, a client. `frozen`: its actors do not run for now."""

    def __init__(self, name: str, link: Link | None = None) -> None:
        self.name = name
        self.frozen = False
        self.link = link or Link()
        #: Something kept it alone from being heard since its last acknowledged beat.
        self.hurt = False
        self.boot_offset_s = 0.0


class Actor:
    """One greenlet: runs when the clock has reached `wake` and its party is not frozen. `call`: its store call that
    waits to be carried out."""

    def __init__(self, name: str, party: Party, wake: int) -> None:
        self.name = name
        self.party = party
        self.wake = wake
        self.dead = False
        self.call: tuple[str, tuple[Any, ...]] | None = None
        self.greenlet: greenlet = None


class Signal:
    """Wakes whoever waits for it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: list[Actor] = []
        self.on = False

    def ring(self) -> None:
        self.on = True
        for actor in self._waiting:
            actor.wake = min(actor.wake, self._hub.now)
        self._waiting.clear()

    def wait(self, timeout_s: float | None) -> bool:
        """Until it is rung (`on` stays until cleared), or for so long; whether it is on."""
        if not self.on:
            actor = self._hub.current
            self._waiting.append(actor)
            self._hub.pause_ms(NEVER - self._hub.now if timeout_s is None else round(timeout_s * 1000))
            if actor in self._waiting:
                self._waiting.remove(actor)
        return self.on


class Hub:
    """Runs actors one at a time between store calls. `random` is the only source of chance of a seed."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = START_MS
        self.actors: list[Actor] = []
        self.current: Actor = None  # type: ignore[assignment]
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._main = getcurrent()
        self.before_choice: Callable[[list[Actor]], Actor | None] = lambda ready: None

    # --- for actors ------------------------------------------------------------------------------------------------

    def spawn(self, name: str, party: Party, work: Callable[[], None], after_s: float = 0.0) -> Actor:
        actor = Actor(name, party, self.now + round(after_s * 1000))

        def body() -> None:
            try:
                work()
            finally:
                actor.dead = True

        actor.greenlet = greenlet(body, self._main)
        self.actors.append(actor)
        return actor

    def pause_ms(self, ms: int) -> None:
        """Gives way to the others for at least so long."""
        actor = self.current
        if actor.dead:
            raise GreenletExit
        actor.wake = self.now + ms
        self._main.switch()
        if actor.dead:
            raise GreenletExit

    def sleep(self, seconds: float) -> None:
        self.pause_ms(max(0, round(seconds * 1000)))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    # --- for the world ---------------------------------------------------------------------------------------------

    def at(self, ms: int, act: Callable[[], None]) -> None:
        """Calls `act` (which makes no store call) once the clock is there."""
        self._number += 1
        heapq.heappush(self._timers, (ms, self._number, act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.now + round(seconds * 1000), act)

    def kill(self, party: Party, spare: Actor | None = None) -> None:
        """Ends the party's actors where they stand."""
        for actor in [one for one in self.actors if one.party is party and one is not spare]:
            self._end(actor)

    def close(self) -> None:
        """Ends all."""
        for actor in list(self.actors):
            self._end(actor)

    def _end(self, actor: Actor) -> None:
        if actor in self.actors:
            self.actors.remove(actor)
        if actor.dead or actor is self.current:
            return
        actor.dead = True
        if actor.greenlet:
            actor.greenlet.throw(GreenletExit)

    def step(self) -> None:
        """One choice: lets one actor run until it gives way; moves the clock when nobody is ready, or on a whim."""
        self._due()
        now, soonest, ready = self.now, NEVER, []
        for actor in self.actors:
            if actor.party.frozen:
                continue
            if actor.wake <= now:
                ready.append(actor)
            elif actor.wake < soonest:
                soonest = actor.wake
        if not ready or self.random.random() < 0.08:
            self._advance(soonest, bool(ready))
            return
        actor = self.before_choice(ready) or ready[int(self.random.random() * len(ready))]
        self.current = actor
        try:
            actor.greenlet.switch()
        finally:
            self.current = None  # type: ignore[assignment]
        if actor.dead and actor in self.actors:
            self.actors.remove(actor)

    def _due(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def _advance(self, soonest: int, on_a_whim: bool) -> None:
        if self._timers:
            soonest = min(soonest, self._timers[0][0])
        if on_a_whim:
            soonest = min(soonest, self.now + 20)
        if soonest == NEVER:
            raise Broken("the simulation has come to rest: nobody will ever wake")
        self.now = max(self.now, soonest)


class SimClock:
    """The product's Clock for one party. Its boot clock begins somewhere else than everybody's."""

    def __init__(self, hub: Hub, party: Party) -> None:
        self._hub = hub
        self._party = party

    def script_now(self) -> str:
        return str(self._hub.now)

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self._hub.now / 1000, UTC)

    def boottime(self) -> float:
        return self._hub.now / 1000 - START_MS / 1000 + self._party.boot_offset_s

    def stamp_ns(self) -> int:
        return self._hub.now * 1_000_000

    def sleep(self, seconds: float) -> None:
        self._hub.sleep(seconds)

    def token(self) -> str:
        return f"{self._hub.random.getrandbits(32):08x}"

    def name(self) -> str:
        return f"{self._hub.random.getrandbits(64):016x}"

    def jitter(self) -> float:
        return self._hub.random.random()
