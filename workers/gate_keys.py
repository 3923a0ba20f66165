"""Which gates the agents of one worker pass, and which caps they meet: by their providers, and the keys that its
environment holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proofq.policies import caps
from proofq.policies.agent import AgentSpec, Provider
from proofq.policies.caps import Cap
from proofq.workers import gates, keys
from proofq.workers.gate_reports import GateReports
from proofq.workers.store import Store
from proofq.workers.turns import Place


@dataclass(frozen=True)
class GateKeys:
    """`providers` are those of proofq.toml and those that only agents name; `environ` is the worker's."""

    providers: Mapping[str, Provider]
    environ: Mapping[str, str]
    reports: GateReports

    @classmethod
    def of(
        cls, declared: Mapping[str, Provider], agents: Mapping[str, AgentSpec], environ: Mapping[str, str]
    ) -> GateKeys:
        """Of a worker that serves `agents`."""
        named = {spec.provider: Provider(spec.provider) for spec in agents.values() if spec.provider}
        providers = {**named, **declared}
        return cls(providers, environ, GateReports(providers))

    def gate(self, provider: str) -> str:
        """The gate of a provider; of one that nobody declares, the one without a key."""
        return gates.name_of(self.providers.get(provider) or Provider(provider), self.environ)

    def by_agent(self, agents: Mapping[str, AgentSpec]) -> dict[str, str]:
        """The gate of each agent that has a provider."""
        return {name: self.gate(spec.provider) for name, spec in agents.items() if spec.provider}

    def places(self, agents: Mapping[str, AgentSpec], lane: str) -> list[Place]:
        """The queues of a lane's agents, each with its gate, its weight and its caps."""
        passed, met = self.by_agent(agents), self.cap_words(agents)
        return [
            Place(keys.queue_of(lane, name), passed.get(name, ""), spec.weight, met.get(name, ""))
            for name, spec in agents.items()
            if spec.lane == lane
        ]

    def cap_words(self, agents: Mapping[str, AgentSpec]) -> dict[str, str]:
        """The caps of each agent that has any, as the lease step reads them."""
        return {name: caps.words(met) for name, spec in agents.items() if (met := self._caps(spec))}

    def names(self, agents: Mapping[str, AgentSpec]) -> set[str]:
        """All gates and caps of these agents, by which somebody rings once there is room again."""
        met = {cap.name for spec in agents.values() for cap in self._caps(spec)}
        return met | set(self.by_agent(agents).values())

    def _caps(self, spec: AgentSpec) -> tuple[Cap, ...]:
        return caps.of_agent(spec, self.providers.get(spec.provider) if spec.provider else None)

    def declare(self, store: Store, who: str) -> None:
        """Says that this worker has these keys. Raises RedisUnavailable."""
        gates.declare(store, self.providers.values(), self.environ, who)
