"""What is outside the store: hosts, agents that work, lie, crash and hang, and what is really true in the world."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proofq.policies.agent import AgentSpec, Proof
from proofq.policies.ended import Ending
from proofq.policies.failure import Failure
from proofq.policies.stall import Transcripts
from proofq.policies.verdict import ProofResult, Verdict, combine
from proofq.workers.attempt import AttemptFailed
from proofq.workers.life import Wait
from proofq.workers.prover import Before
from proofq.workers.record import Task
from tests.simulation import gate
from tests.simulation.hub import Hub, Signal

if TYPE_CHECKING:
    from tests.simulation.fleet import Incarnation

_FILE = (Proof("file", {"path": "out", "min_bytes": 1}),)
_JSON = (Proof("json", {"schema": {}}),)

#: Every agent of the fleet, and what its attempts do: ending -> weight.
AGENTS: dict[str, tuple[AgentSpec, dict[str, int]]] = {
    spec.name: (spec, endings)
    for spec, endings in (
        (
            AgentSpec("honest", "command", command=("x",), timeout_s=8, proofs=_FILE, verify_wait_s=3),
            {"true": 80, "crash": 8, "other_crash": 4, "kill9": 3, "hang": 3, "lie": 2},
        ),
        (
            AgentSpec("liar", "command", command=("x",), timeout_s=6, proofs=_FILE, verify_wait_s=3),
            {"lie": 80, "true": 20},
        ),
        (
            AgentSpec("crasher", "command", command=("x",), timeout_s=6, proofs=_FILE, verify_wait_s=3),
            {"crash": 60, "other_crash": 20, "kill9": 10, "true": 10},
        ),
        (
            AgentSpec("hanger", "command", command=("x",), timeout_s=4, proofs=_FILE, verify_wait_s=3),
            {"hang": 70, "true": 30},
        ),
        (
            AgentSpec("looker", "command", command=("x",), timeout_s=6, proofs=_JSON, look_first=True, verify_wait_s=3),
            {"true": 40, "true_then_crash": 30, "crash": 20, "hang": 10},
        ),
        (
            AgentSpec("free", "command", command=("x",), timeout_s=6, unproven=True, max_attempts=2),
            {"true": 80, "crash": 20},
        ),
        (
            AgentSpec("killer", "command", command=("x",), timeout_s=6, proofs=_FILE, verify_wait_s=3),
            {"kill_worker": 100},
        ),
    )
}
SPECS = {name: spec for name, (spec, _) in AGENTS.items()}
#: One more in the seeds with a provider, whose gate it passes.
PROVIDED = AgentSpec(
    gate.AGENT, "command", command=("x",), timeout_s=6, proofs=_FILE, verify_wait_s=3, provider="p", max_attempts=4
)
AGENTS[gate.AGENT] = (PROVIDED, gate.ENDINGS)


@dataclass(eq=False)
class Agent:
    """The process tree of one attempt. `exempt`: nobody is left on its host who could be expected to kill it."""

    task_id: str
    attempt: int
    home: Incarnation
    ending: str
    gone: Signal
    spawned_at: int
    alive: bool = True
    killed_by: str = ""
    ends_at: int | None = None
    left_ms: int | None = None
    version: int = 0
    exempt: bool = False
    confirmed: bool = False
    leaseless_since: int | None = None

    @property
    def acts(self) -> bool:
        """Whether it can touch the world: alive and not stopped."""
        return self.alive and not self.home.tree_stopped

    def __str__(self) -> str:
        return f"agent of {self.task_id} attempt {self.attempt} in {self.home.name}"


@dataclass
class World:
    """`truth`: tasks whose work is really done; `started`: (task, attempt) whose agent came up. `slow_starts`: the
    share of starts that take up to their time-out."""

    hub: Hub
    slow_starts: float = 0.15
    agents: list[Agent] = field(default_factory=list)
    truth: set[str] = field(default_factory=set)
    started: set[tuple[str, int]] = field(default_factory=set)

    def spawn(self, task: Task, home: Incarnation) -> Agent:
        hub = self.hub
        endings = AGENTS[task.agent][1]
        ending = hub.random.choices(list(endings), list(endings.values()))[0]
        agent = Agent(task.id, task.attempt, home, ending, Signal(hub), hub.now)
        self.agents.append(agent)
        if ending != "hang":
            self._end_at(agent, hub.now + round(hub.uniform(0.05, 3.0) * 1000))
        return agent

    def live(self, task_id: str | None = None) -> list[Agent]:
        return [agent for agent in self.agents if agent.alive and task_id in {None, agent.task_id}]

    def of(self, home: Incarnation) -> list[Agent]:
        return [agent for agent in self.agents if agent.alive and agent.home is home]

    def kill(self, agent: Agent, reason: str, within_s: float = 3.0) -> None:
        """Begins to end its tree: dead at the latest after `within_s`."""
        if agent.alive:
            agent.killed_by = agent.killed_by or reason
            end = self.hub.now + round(self.hub.uniform(0, within_s) * 1000)
            if agent.home.tree_stopped:
                agent.left_ms = None
                self._gone(agent)
            elif agent.ends_at is None or agent.ends_at > end:
                self._end_at(agent, end, natural=False)

    def stop(self, home: Incarnation) -> None:
        """SIGSTOP of the whole tree."""
        for agent in self.of(home):
            agent.version += 1
            agent.left_ms = None if agent.ends_at is None else max(0, agent.ends_at - self.hub.now)

    def go_on(self, home: Incarnation) -> None:
        for agent in self.of(home):
            agent.leaseless_since = None
            if agent.left_ms is not None:
                self._end_at(agent, self.hub.now + agent.left_ms, natural=not agent.killed_by)

    def _end_at(self, agent: Agent, ms: int, natural: bool = True) -> None:
        agent.version += 1
        agent.ends_at = ms
        version = agent.version

        def end() -> None:
            if agent.alive and agent.version == version:
                if natural:
                    self._finish(agent)
                else:
                    self._gone(agent)

        self.hub.at(ms, end)

    def _finish(self, agent: Agent) -> None:
        if agent.ending in {"true", "true_then_crash"}:
            self.truth.add(agent.task_id)
        self._gone(agent)
        if agent.ending == "kill_worker" and agent.home.alive:
            agent.home.crash("guarded")

    def _gone(self, agent: Agent) -> None:
        agent.alive = False
        self.agents.remove(agent)
        agent.gone.ring()


#: Who kills an agent for these reasons is not its own supervisor, which sees no more than a signal.
_BY_OTHERS = frozenset({"swept", "power", "earlier"})


class SimRunning:
    """A started first process, as `Running` of workers/attempt.py says."""

    def __init__(self, world: World, agent: Agent) -> None:
        self._world = world
        self._agent = agent
        self.pid = 1000 + agent.attempt
        self.heard_s = 0.0
        self.progress = (0, "")
        self.start_ticks = agent.spawned_at
        self.started_s = 0.0
        self.shared = False

    def kill(self, reason: str) -> None:
        self._world.kill(self._agent, reason)

    def wait_ended(self, timeout_s: float | None) -> bool:
        return self._agent.gone.wait(timeout_s)

    def when_ended(self, call: Callable[[], None]) -> None:
        raise AssertionError("slots of the simulator wait")

    def ending(self) -> Ending:
        killed, kind = self._agent.killed_by, self._agent.ending
        if killed in _BY_OTHERS:
            return Ending(None, 9)
        if killed:
            return Ending(None, 15, killed)
        refused = gate.ending(kind)
        if refused is not None:
            return refused
        match kind:
            case "true" | "lie":
                return Ending(0, None, output_tail="done", stdout=b'{"done": true}')
            case "crash" | "true_then_crash":
                return Ending(3, None)
            case "other_crash":
                return Ending(10 + self._agent.attempt, None)
            case "kill9":
                return Ending(None, 9)
            case _:
                return Ending(1, None)


class SimPerformer:
    """The `Performer` of one incarnation."""

    def __init__(self, world: World, home: Incarnation) -> None:
        self._world = world
        self._home = home

    def prepare(self, task: Task, spec: AgentSpec, repair: str | None) -> Task:
        hub = self._world.hub
        hub.sleep(hub.uniform(0, 0.2))
        if hub.random.random() < 0.01:
            raise AttemptFailed(Failure("bad_input", "it does not fit the declaration", phase="inputs"))
        earlier = [one for one in self._world.live(task.id) if one.home.host == self._home.host]
        for agent in earlier:
            self._world.kill(agent, "earlier", 0.5)
        for agent in earlier:
            agent.gone.wait(None)
        return task

    def start(self, prepared: Task, baseline: Mapping[str, Any], timeout_s: float) -> Generator[Wait, bool, SimRunning]:
        hub = self._world.hub
        if self._home.forkserver_dead:
            raise AttemptFailed(Failure("infrastructure", "the forkserver is gone", source="host", phase="start"))
        agent = self._world.spawn(prepared, self._home)
        slow = hub.random.random() < self._world.slow_starts
        hub.sleep(hub.uniform(0.3, timeout_s) if slow else hub.uniform(0.0, 0.3))
        if not agent.alive or hub.random.random() < 0.04:
            self._world.kill(agent, "start_unconfirmed", 1.0)
            agent.gone.wait(None)
            raise AttemptFailed(Failure("start_unconfirmed", "it never came up", source="host", phase="start"))
        agent.confirmed = True
        self._world.started.add((prepared.id, prepared.attempt))
        running = SimRunning(self._world, agent)
        running.started_s = self._home.clock.boottime()
        if hub.random.random() < 0.5:
            # As an attempt that shares its process: what ends at once is heard of once.
            yield Wait(running, self._home.clock.boottime() + hub.uniform(0.0, 2.0))
        return running

    def transcripts(self, prepared: Task) -> Transcripts:
        return frozenset()


class SimProver:
    """The `Prover` of one incarnation: reads `World.truth`, sometimes not reachable."""

    def __init__(self, world: World, home: Incarnation) -> None:
        self._world = world
        self._home = home

    def baseline(self, task: Task, spec: AgentSpec, attempts: Callable[[], Sequence[Mapping[str, Any]]]) -> Before:
        self._world.hub.sleep(self._world.hub.uniform(0, 0.05))
        return Before({"seen": 1}, tells_again=self._world.hub.random.random() < 0.7)

    def verify(self, task: Task, spec: AgentSpec, late: Callable[[], object]) -> Verdict:
        hub = self._world.hub
        kind = spec.proofs[0].kind
        hub.sleep(hub.uniform(0, 0.3))
        if hub.random.random() < 0.5:
            late()
            hub.sleep(hub.uniform(0, 0.3))
        if self._home.forkserver_dead or hub.random.random() < 0.06:
            return combine([ProofResult(kind, "cannot_tell", {"reason": "not reachable from here"})])
        if task.id in self._world.truth:
            return combine([ProofResult(kind, "verified", {"found": True})])
        return combine([ProofResult(kind, "unverified", {"reason": "nothing is there"})])


class SimHost:
    """The reaper's `Host` of one incarnation."""

    def __init__(self, world: World, home: Incarnation) -> None:
        self._world = world
        self._home = home
        self.id = home.host

    def is_dead(self, row: Mapping[str, str]) -> bool:
        one = self._home.fleet.by_owner.get(row.get("id", ""))
        return one is not None and not one.alive

    def kill_agents(self, row: Mapping[str, str]) -> None:
        self._sweep([agent for agent in self._world.agents if agent.home.owner_id == row.get("id") and agent.alive])

    def sweep_abandoned(self) -> None:
        """As a supervisor does before it enlists: who took the tasks over may have been on another host."""
        self._sweep([one for one in self._world.live() if one.home.host == self.id and not one.home.alive])

    def _sweep(self, left: Sequence[Agent]) -> None:
        for agent in left:
            self._world.kill(agent, "swept", 0.5)
        for agent in left:
            agent.gone.wait(None)
