"""One seed: a fleet, its clients, a time of faults, a time in which everything must come to rest, and the audit."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import redis
from greenlet import GreenletExit  # type: ignore[import-untyped]

from proofq.policies.audit import VIEW_RULES
from proofq.policies.audit_view import Violation
from proofq.policies.settlement import Limits
from proofq.workers import connection, keys
from proofq.workers.audit import Audit
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store
from tests.servers import PrivateServer, binaries
from tests.simulation import caps, gate
from tests.simulation.clients import Client
from tests.simulation.faults import Faults
from tests.simulation.fleet import Fleet
from tests.simulation.hub import START_MS, Broken, Hub, Party, SimClock
from tests.simulation.lean import LeanClient
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.world import PROVIDED, SPECS, World

#: Store calls of the time of faults; the time of rest adds to them.
FAULT_CALLS = 130
#: Its steps, for a seed that hardly ever reaches Redis.
FAULT_STEPS = 5000
LEAST_CALLS = 150
LEAST_TASKS = 10
#: The time of rest may take so long, on the simulated clock and in store calls: what still waits has expired by then.
REST_S = 960.0
REST_CALLS = 13_000
#: The whole audit runs at the end of every so many seeds.
AUDIT_EVERY = 4
#: Share of the seeds with a restart of Redis; they take a server of their own.
RESTARTS = 0.06
#: Share of the seeds in which tasks wait for others.
FOLLOWS = 0.35
#: Share of the seeds with a provider; steps between two looks at its gate by somebody who opens it.
GATED, OPENED_EVERY = 0.25, 200
#: Share of the seeds in which some agents are under caps.
CAPPED = 0.3


@dataclass
class Outcome:
    """What one seed did. `broken`: the invariant that did not hold, '' when all did. `trace`: its steps, where it was
    asked for or something broke."""

    seed: int
    broken: str = ""
    steps: int = 0
    calls: int = 0
    checks: int = 0
    tasks: int = 0
    simulated_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Of the whole trace: the same seed gives the same."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


class Servers:
    """The Redis of one process of the simulator, emptied between seeds; a fresh one for seeds that restart it."""

    def __init__(self) -> None:
        self._binary = binaries()[0]
        self._server = self._new("no").start()
        self._client = connection.client(self._server.url)
        self._lean = LeanClient(self._server.socket)
        self._runner = RedisRunner(self._lean)  # type: ignore[arg-type]

    def _new(self, append: str) -> PrivateServer:
        return PrivateServer(self._binary, config={"appendonly": append, "appendfsync": "always"})

    def run(self, seed: int, traced: bool = False) -> Outcome:
        if Random(f"restart {seed}").random() < RESTARTS:
            with self._new("yes") as server:
                client, lean = connection.client(server.url), LeanClient(server.socket)
                try:
                    return Seed(seed, client, lean, RedisRunner(lean), server).run(traced)  # type: ignore[arg-type]
                finally:
                    client.close()
                    lean.close()
        self._lean.execute_command("FLUSHALL")
        return Seed(seed, self._client, self._lean, self._runner, None).run(traced)

    def close(self) -> None:
        self._client.close()
        self._lean.close()
        self._server.close()


class Seed:
    """Builds everything from the seed's own chance."""

    def __init__(
        self, seed: int, client: redis.Redis, lean: LeanClient, runner: RedisRunner, server: PrivateServer | None
    ) -> None:
        random = Random(seed)
        hub = self.hub = Hub(random)
        self.outcome = Outcome(seed)
        self.client: Any = client
        self.lean = lean
        self.runner = runner
        world = self.world = World(hub, slow_starts=random.choice((0.02, 0.1, 0.4)))
        limits = Limits(max_pickups=random.choice((2, 3, 5)), max_deaths=random.choice((1, 2, 3)), max_equal_crashes=2)
        self.oracle = Oracle(runner, lean, world, limits)
        self.network = Network(hub, self.oracle, runner, lean)
        isolation_s = random.choice((12.0, 14.0, 14.0, 16.0))
        self.fleet = Fleet(hub, self.network, world, limits, isolation_s, drain_s=random.choice((0.5, 3.0)))
        self.oracle.fleet = self.fleet
        #: Decided apart, as `follows` below.
        self.fleet.capped = Random(f"caps {seed}").random() < CAPPED
        hosts = random.choice((("h0", "h0", "h1"), ("h0", "h0", "h1", "h1"), ("h0", "h1", "h2")))
        self.gated = self.oracle.gated = Random(f"gate {seed}").random() < GATED
        specs = {**SPECS, PROVIDED.name: PROVIDED} if self.gated else SPECS
        for number, host in enumerate(hosts):
            agents = {name: spec for name, spec in specs.items() if number or name != "free"}
            self.fleet.start(f"w{number}", host, random.choice((2, 3)), agents)
        self.faults = Faults(self.fleet, client, server, chance=random.choice((0.015, 0.03, 0.05)))
        self.faults.more_keys = caps.KEYS if self.fleet.capped else []
        # Each seed leans on some kinds of faults more than on others.
        for kind in list(self.faults.kinds):
            self.faults.kinds[kind] *= random.choice((0, 1, 1, 3))
        if server is not None:
            self.faults.kinds["redis restart"] = 40
        if not any(self.faults.kinds.values()):
            self.faults.kinds["crash"] = 1
        self.network.lost_request = random.choice((0.0, 0.01, 0.03))
        self.network.lost_reply = random.choice((0.0, 0.02, 0.05))
        self.network.slow_reply = random.choice((0.0, 0.1))
        #: Whether tasks are enqueued after others; decided apart, so that the other seeds stay what they were.
        self.faults.follows = self.follows = Random(f"after {seed}").random() < FOLLOWS
        self._clients(random)

    def _clients(self, random: Random) -> None:
        names = ["honest"] * 5 + ["liar", "crasher", "hanger", "looker", "looker", "free"]
        if random.random() < 0.35:
            names.append("killer")
        if self.gated:
            names += [PROVIDED.name] * 8
        wanted = [random.choice(names) for _ in range(random.randint(LEAST_TASKS + 2, LEAST_TASKS + 6))]
        half = len(wanted) // 2
        first, second, third = (Client(self.fleet, f"client{number}", self.follows) for number in range(3))
        self.producers = [
            self.hub.spawn("client0", first, lambda: first.produce(wanted[:half])),
            self.hub.spawn("client1", second, lambda: second.produce(wanted[half:])),
            self.hub.spawn("client2", third, lambda: third.meddle(random.randint(0, 5), random.randint(0, 4))),
        ]

    # --- phases ----------------------------------------------------------------------------------------------------

    def run(self, traced: bool) -> Outcome:
        outcome = self.outcome
        logging.disable(logging.CRITICAL)
        try:
            self._faulty()
            self._rest()
            self._verdict()
        except Broken as problem:
            outcome.broken = str(problem)
        except Exception as problem:  # noqa: BLE001 - whatever the product raised is a finding, with its seed
            outcome.broken = f"raised: {type(problem).__name__}: {problem}"
        finally:
            self.fleet.over = True
            self.hub.close()
            logging.disable(logging.NOTSET)
            self._clean()
        outcome.calls = self.network.calls
        outcome.simulated_s = (self.hub.now - START_MS) / 1000
        outcome.checks = self.oracle.checks
        outcome.tasks = len(self.oracle.tasks)
        outcome.faults = self.network.faults
        if traced or outcome.broken:
            outcome.trace = self.network.trace()
        for seen in self.oracle.tasks.values():
            state = seen.row.get("state", "")
            outcome.states[state] = outcome.states.get(state, 0) + 1
        return outcome

    def _clean(self) -> None:
        if self.oracle.full:
            self.client.config_set("maxmemory", 0)

    def _step(self) -> None:
        self.outcome.steps += 1
        with contextlib.suppress(GreenletExit):
            self.hub.step()
        if self.outcome.steps % 700 == 0:
            self._look_at_all()
        if self.gated and self.outcome.steps % OPENED_EVERY == 0 and not self.faults.away:
            gate.open_if_held(Store(self.client, self.runner, SimClock(self.hub, Party("human"))))

    def _look_at_all(self) -> None:
        if not self.faults.away:
            self.oracle.look_at_all()

    def _faulty(self) -> None:
        self.hub.before_choice = self.faults.before_choice
        while self.network.calls < FAULT_CALLS and self.outcome.steps < FAULT_STEPS:
            self._step()
        self.faults.end()

    def _rest(self) -> None:
        """No more faults: every task must come to its end, or be held for a human."""
        until, most = self.hub.now + REST_S * 1000, self.network.calls + REST_CALLS
        while not self._quiet():
            self._step()
            if self.hub.now > until or self.network.calls > most:
                raise Broken(f"not_at_rest: {self.oracle.stuck()}, agents: {[str(one) for one in self.world.agents]}")

    def _quiet(self) -> bool:
        if not self.oracle.resting() or self.network.calls < LEAST_CALLS:
            return False
        if not all(actor.dead for actor in self.producers):
            return False
        return not self.world.agents and not any(one.owner.holding() for one in self.fleet.alive())

    def _verdict(self) -> None:
        self._look_at_all()
        if len(self.oracle.tasks) < LEAST_TASKS - 3:
            raise Broken(f"too few tasks: {len(self.oracle.tasks)}")
        listed = self.lean.execute_command("ZCARD", keys.TASKS)
        if listed != len(self.oracle.tasks):
            raise Broken(f"lost: {len(self.oracle.tasks)} tasks were created, {listed} are listed")
        for owner in self.fleet.by_owner:
            if held := self.lean.hkeys(keys.leases(owner)):
                raise Broken(f"lease_left: {owner} still holds {held}")
        if self.lean.execute_command("HLEN", keys.STRAYS):
            raise Broken("stray_left: somebody still stands among the strays")
        self.oracle.told.check(self.lean)
        if self.outcome.seed % AUDIT_EVERY == 0:
            self._audit()

    def _audit(self) -> None:
        """The audit as users run it; its rules about one task were asked after each step already."""
        report = Audit(Store(self.client, self.runner, SimClock(self.hub, Party("audit")))).run()
        if report.checked != len(self.oracle.tasks):
            raise Broken(f"lost: {len(self.oracle.tasks)} tasks were created, the audit found {report.checked}")
        for violation in report.violations:
            if not self._excused(violation):
                raise Broken(f"audit: {violation.rule}: {violation.subject}: {violation.detail}")

    def _excused(self, violation: Violation) -> bool:
        """RQ's view of a task that moved while a stranger's key stood in its way."""
        return violation.rule in VIEW_RULES and violation.subject in self.oracle.blurred


def campaign(seeds: Iterable[int], traced: bool = False) -> Iterator[Outcome]:
    """Runs seeds one after the other in this process; `traced` keeps the steps of those that held, too."""
    servers = Servers()
    try:
        for seed in seeds:
            yield servers.run(seed, traced)
    finally:
        servers.close()
