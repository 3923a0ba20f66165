"""Workers of the simulator: what a supervisor does with its threads, around the product's own objects."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from proofq.policies import isolation
from proofq.policies.agent import AgentSpec
from proofq.policies.settlement import Limits
from proofq.workers import keys
from proofq.workers.attempt import Attempts
from proofq.workers.door import Door
from proofq.workers.errors import Error, RedisUnavailable, UnknownTask
from proofq.workers.gate_reports import GateReports
from proofq.workers.insist import insist
from proofq.workers.leasing import StaleOwner, Wish
from proofq.workers.owner import Owner
from proofq.workers.reaper import Reaper
from proofq.workers.record import Lease
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store
from proofq.workers.suspects import Suspects
from tests.simulation import caps, gate, told
from tests.simulation.guard import Guard
from tests.simulation.hub import Hub, Link, Party, Signal, SimClock
from tests.simulation.network import Network, SimClient, SimRunner
from tests.simulation.world import SimHost, SimPerformer, SimProver, World

WATCH_S = 0.25
SETTLE_S = 3.5
#: An idle worker asks again after so long; a second in earnest, but most such calls find nothing.
IDLE_S = 2.5
#: Missed pulses after which the forkserver takes a supervisor for hung, and that seen at the latest, in seconds.
HUNG_S = (5.0, 6.0)


class Fleet:
    """All workers, each with its present incarnation; `post`: name -> host."""

    def __init__(
        self, hub: Hub, network: Network, world: World, limits: Limits, isolation_s: float, drain_s: float
    ) -> None:
        self.hub = hub
        self.network = network
        self.world = world
        self.limits = limits
        self.isolation_s = isolation_s
        self.drain_s = drain_s
        self.reporting = told.reporting()
        #: Some agents are under caps.
        self.capped = False
        self.workers: dict[str, Incarnation] = {}
        self.by_owner: dict[str, Incarnation] = {}
        self.over = False
        self._boots = 0

    def start(
        self, name: str, host: str, slots: int, agents: Mapping[str, AgentSpec], link: Link | None = None
    ) -> Incarnation:
        one = Incarnation(self, name, host, slots, agents, link)
        self.workers[name] = one
        self.by_owner[one.owner_id] = one
        self.hub.spawn(f"{name}.main", one, one.main)
        return one

    def replace(self, old: Incarnation, after_s: float, host: str | None = None) -> None:
        """The launcher starts the lane's pair anew; a machine that was started anew is another host to the reaper."""

        def start() -> None:
            if self.workers[old.name] is old:
                self.start(old.name, host or old.host, old.slots, old.agents, old.link)

        self.hub.after(after_s, start)

    def new_host(self) -> str:
        self._boots += 1
        return f"host-{self._boots}"

    def alive(self) -> list[Incarnation]:
        return [one for one in self.workers.values() if one.alive]

    def ring(self, whom: str) -> None:
        """The doorbell; it may be missed."""
        for one in self.alive():
            if not one.frozen and not one.link.cut and self.hub.random.random() < 0.9:
                one.on_ring(whom)


class Incarnation(Party):
    """One supervisor with its forkserver and agents, from enlisting to its end."""

    def __init__(
        self, fleet: Fleet, name: str, host: str, slots: int, agents: Mapping[str, AgentSpec], link: Link | None
    ) -> None:
        super().__init__(name, link)
        self.fleet = fleet
        self.host = host
        self.slots = slots
        self.agents = agents
        self.alive = True
        self.forkserver_dead = False
        self.tree_stopped = False
        #: When it last went on after a pause, in ms.
        self.resumed_at = 0
        hub = self.hub = fleet.hub
        network = fleet.network
        self.boot_offset_s = hub.uniform(0, 1e6)
        self.clock = SimClock(hub, self)
        self.store = Store(SimClient(network, self), SimRunner(network, self), self.clock)  # type: ignore[arg-type]
        self.owner_id = self.clock.name()
        self.owner = Owner(self.store, self.owner_id, fleet.isolation_s, self._on_retired, self._on_orphan)
        reports = GateReports({"p": gate.PROVIDER}, lambda _: None)
        self.door = Door(self.store, fleet.limits, incident_of=fleet.reporting.of, gates=reports)
        self.leaving = False
        self.attempts = Attempts(
            self.door, self.owner, SimPerformer(fleet.world, self), SimProver(fleet.world, self), agents,
            fleet.limits, name, self.clock, lambda: self.leaving, Suspects(self.clock),
        )  # fmt: skip
        self.sim_host = SimHost(fleet.world, self)
        self.reaper = Reaper(self.store, self.door, self.owner, self.sim_host, name, agents, self._adopt_later)
        self.queues = [keys.queue_of(spec.lane, agent) for agent, spec in agents.items()]
        self.passed = [f"{name} {gate.NAME}" if name.endswith(gate.AGENT) else name for name in self.queues]
        if fleet.capped:
            gates = [name if " " in name else f"{name} -" for name in self.passed]
            self.passed = [f"{said} {caps.words(name)}" for said, name in zip(gates, self.queues, strict=True)]
        self.stopping = False
        self.stopped = False
        self.hurry = False
        self.begin_again = False
        self.drain_asked = Signal(hub)
        self._rung = Signal(hub)
        self._turn = Signal(hub)
        self._turn.on = True
        self._beat_now = Signal(hub)
        self._look_now = Signal(hub)
        self._slots_running = 0
        self._slot_ended = Signal(hub)

    # --- life ------------------------------------------------------------------------------------------------------

    def main(self) -> None:
        row = {"id": self.owner_id, "name": self.name, "host": self.host, "state": "starting"}
        self.sim_host.sweep_abandoned()
        try:
            insist(
                lambda: self.store.enlist(self.owner_id, self.host, self.owner.isolation_ms, row),
                self.clock,
                lambda: self.drain_asked.on,
            )
        except (RedisUnavailable, DamagedKey):
            self._end()
            return
        spawn = self.hub.spawn
        spawn(f"{self.name}.heart", self, self._heart)
        spawn(f"{self.name}.reaper", self, self._reap)
        self._watch()
        self._slots_running = self.slots
        for number in range(self.slots):
            spawn(f"{self.name}.slot{number}", self, lambda n=str(number): self._slot(n))  # type: ignore[misc]
        self._describe("ready")
        self.drain_asked.wait(None)
        self._drain()
        self._leave()

    def _drain(self) -> None:
        self.stopping = True
        self._rung.ring()
        self._turn.ring()
        self._describe("draining")
        until = self.hub.now + self.fleet.drain_s * 1000
        while not self.hurry and self.hub.now < until and self._slots_running:
            self.hub.sleep(WATCH_S)
        self.owner.stop_all("drain")
        self._wait_slots(SETTLE_S)
        if self._slots_running:
            self.leaving = True
            self._wait_slots(1.0)

    def _wait_slots(self, seconds: float) -> None:
        until = self.hub.now + seconds * 1000
        while self._slots_running and self.hub.now < until:
            self._slot_ended.on = False
            self._slot_ended.wait((until - self.hub.now) / 1000)

    def _leave(self) -> None:
        self.leaving = True
        self.stopped = True
        world = self.fleet.world
        for agent in world.of(self):
            world.kill(agent, "drain", 1.0)
        while left := world.of(self):
            left[0].gone.wait(None)
        why = {"dead": "1", "why": "a process of its worker died"}
        if not self.begin_again:
            why = {"dead": "1", "left": "1", "why": "its worker left"}
        try:
            self.store.bury(self.owner_id, self.host, why)
            self.store.forget(self.owner_id, self.host)
        except (RedisUnavailable, DamagedKey):
            pass
        self._end()

    def _end(self) -> None:
        """The process is gone."""
        self.alive = False
        self.hub.after(0.0, lambda: self.hub.kill(self))
        if not self.fleet.over:
            self.fleet.replace(self, self.hub.uniform(0.1, 3.0))

    # --- threads ---------------------------------------------------------------------------------------------------

    def _heart(self) -> None:
        every_s = isolation.beat_every_s(self.owner.isolation_s)
        while not self.stopped:
            with contextlib.suppress(RedisUnavailable, DamagedKey):
                self.owner.beat()
            self._beat_now.wait(every_s)
            self._beat_now.on = False

    def _watch(self) -> None:
        """The isolation watch; it needs no Redis, so it is no actor of its own."""
        if self.alive and not self.stopped:
            if not self.frozen:
                self.owner.watch_isolation()
            self.hub.after(WATCH_S, self._watch)

    def _reap(self) -> None:
        while not self.stopped:
            try:
                self.reaper.run_once()
            except RedisUnavailable:
                pass
            except DamagedKey as problem:
                self.fleet.network.oracle.damaged_look(problem.key)
            self._look_now.wait(isolation.TICK_S * (0.9 + 0.2 * self.clock.jitter()))
            self._look_now.on = False

    def _slot(self, slot: str) -> None:
        try:
            while not self.stopping:
                try:
                    lease = self._next(slot)
                    while lease is not None:
                        lease = self.attempts.run(lease, lambda: self._wish(slot))
                except (RedisUnavailable, DamagedKey):
                    pass
        finally:
            self._slots_running -= 1
            self._slot_ended.ring()

    def _next(self, slot: str) -> Lease | None:
        while not self._turn.on:
            self._turn.wait(None)
        if self.stopping:
            return None
        self._turn.on = False
        try:
            self._rung.on = False
            lease = self._ask(slot)
            if lease is None:
                self._rung.wait(IDLE_S)
            return lease
        finally:
            self._turn.ring()

    def _wish(self, slot: str) -> Wish | None:
        if self.stopping or self.owner.isolated or self.forkserver_dead:
            return None
        first = int(self.clock.jitter() * len(self.passed))
        queues = self.passed[first:] + self.passed[:first]
        return Wish(self.owner_id, slot, self.clock.token(), queues, self.name, self.host)

    def _ask(self, slot: str) -> Lease | None:
        wish = self._wish(slot)
        if wish is None:
            return None
        try:
            return insist(lambda: self.store.lease(wish), self.clock, lambda: self.stopping)
        except StaleOwner:
            return None

    # --- what they hear --------------------------------------------------------------------------------------------

    def on_ring(self, whom: str) -> None:
        if whom in self.queues:
            self._rung.ring()
        elif whom == self.owner_id:
            self._beat_now.ring()
        else:
            self._look_now.ring()

    def on_guard_lost(self) -> None:
        self.begin_again = True
        self.owner.stop_all("guard")
        self.hurry = True
        self.drain_asked.ring()

    def _on_retired(self) -> None:
        self.begin_again = True
        self.hurry = True
        self.drain_asked.ring()

    def _on_orphan(self, task_id: str, fence: str) -> None:
        try:
            task = self.store.read(task_id)
        except (UnknownTask, DamagedKey, RedisUnavailable):
            return
        if task.fence == fence and task.owner == self.owner_id:
            self._adopt_later(Lease(task, fence, self.owner_id, task.slot))

    def _adopt_later(self, lease: Lease) -> None:
        def adopt() -> None:
            with contextlib.suppress(Error):
                self.attempts.adopt(lease)

        if not self.stopped:
            self.hub.spawn(f"{self.name}.adopt", self, adopt)

    def _describe(self, state: str) -> None:
        with contextlib.suppress(RedisUnavailable, DamagedKey):
            self.store.describe(self.owner_id, self.host, {"state": state})

    # --- what befalls it -------------------------------------------------------------------------------------------

    def crash(self, how: str) -> None:
        """`guarded`: the supervisor alone; its forkserver kills the agents and says so. `unguarded`: all processes of
        the worker but its agents; only the pid tells. `machine`: everything on its host; only silence tells."""
        world, fleet = self.fleet.world, self.fleet
        self.alive = False
        self.frozen = False
        if self.tree_stopped and how == "guarded":
            # Nobody of a stopped tree acts; the kill of one of its processes leaves it to the others.
            how = "unguarded"
        if self.tree_stopped:
            self.tree_stopped = False
            world.go_on(self)
        self.hub.kill(self)
        if how == "guarded":
            guard = Guard(self)
            self.hub.spawn(f"{self.name}.guard", guard, guard.act)
            fleet.replace(self, self.hub.uniform(0.3, 3.0))
        elif how == "unguarded":
            for agent in world.of(self):
                agent.exempt = True
            fleet.replace(self, self.hub.uniform(0.3, 3.0))
        else:
            for agent in [one for one in world.live() if one.home.host == self.host]:
                world.kill(agent, "power", 0.0)
            fleet.replace(self, self.hub.uniform(1.0, 6.0), fleet.new_host())

    def lose_forkserver(self) -> None:
        self.forkserver_dead = True
        for agent in self.fleet.world.of(self):
            self.fleet.world.kill(agent, "guard", 0.0)
        self.hub.after(self.hub.uniform(0, 0.3), self._after_forkserver)

    def _after_forkserver(self) -> None:
        if self.alive:
            self.on_guard_lost()

    def pause(self, seconds: float, whole: bool) -> None:
        """Stops the supervisor, or the whole tree. A forkserver that still runs kills what it guards when its
        supervisor stays silent."""
        self.frozen = True
        self.hurt = True
        if whole:
            self.tree_stopped = True
            self.fleet.world.stop(self)
            self.hub.after(seconds, self.go_on)
            return
        hung_s = self.hub.uniform(*HUNG_S)
        if seconds < hung_s:
            self.hub.after(seconds, self.go_on)
        else:
            self.hub.after(hung_s, self._hung)

    def go_on(self) -> None:
        if not self.alive or not self.frozen:
            return
        self.frozen = False
        self.resumed_at = self.hub.now
        if self.tree_stopped:
            self.tree_stopped = False
            self.fleet.world.go_on(self)

    def _hung(self) -> None:
        if self.alive and self.frozen:
            self.crash("guarded")
