"""A gate in a real Redis, and callers that hold leases: what tests of gates act with."""

from __future__ import annotations

import itertools
from typing import Any

import redis

from proofq.policies import gate
from proofq.policies.agent import Provider
from proofq.policies.failure import Failure
from proofq.policies.gate import Admission, Told
from proofq.workers import gates, keys
from proofq.workers.clock import SystemClock
from proofq.workers.gate_change import Change
from proofq.workers.gates import Gate, Waits
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store

PROVIDER = Provider("p", "KEY", cooldown_s=30, min_calls=4, window_s=60, failure_rate=0.5, probe_s=60)
NAME = gate.name("p", gate.fingerprint("k"))
_CALLS = itertools.count(1)


class Hand(SystemClock):
    """A clock whose time, in milliseconds, scripts are told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000_000

    def script_now(self) -> str:
        return str(self.now)

    def after(self, seconds: float) -> None:
        self.now += round(1000 * seconds)


class Fleet:
    """A gate, and callers that hold a task's lease each."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.clock = Hand()
        self.store = Store(client, RedisRunner(client), self.clock)
        gates.declare(self.store, [PROVIDER], {"KEY": "k"}, "test")

    def caller(self) -> str:
        """One call of an attempt that holds its lease."""
        number = next(_CALLS)
        self.client.hset(keys.leases("o"), f"t{number}", "1-f")
        return f"o t{number} 1-f {number}"

    def admit(self, caller: str = "") -> Admission | Waits:
        return gates.admit(self.store, NAME, caller or self.caller(), "test")

    def let_in(self, caller: str = "") -> Admission:
        admitted = self.admit(caller)
        assert isinstance(admitted, Admission), admitted
        return admitted

    def tell(self, admission: Admission, told: Told, jitter: float = 0.0) -> Change | None:
        return gates.tell(self.store, gate.plan(told, admission, PROVIDER, jitter), "test", self.clock.token())

    def fails(self, kind: str, admission: Admission | None = None, wait_s: float | None = None) -> Change | None:
        failure = Failure(kind, "said so", source="provider", retry_after_s=wait_s)
        if admission is None:
            self.clock.after(gate.HARK_S)
        return self.tell(admission or self.let_in(), gate.told_by(failure))

    def answers(self, admission: Admission | None = None) -> Change | None:
        return self.tell(admission or self.let_in(), Told("answered"))

    def is_waiting(self, state: str) -> Waits:
        waits = self.admit()
        assert isinstance(waits, Waits)
        assert waits.state == state
        return waits

    def opened(self) -> Fleet:
        """Once an answer came."""
        self.answers()
        assert self.now().state == "open"
        return self

    def now(self) -> Gate:
        return gates.read(self.store, NAME)

    def events(self) -> list[str]:
        return [crumb[2] for crumb in gates.crumbs(self.store, NAME)]
