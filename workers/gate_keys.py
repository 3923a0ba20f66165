"""Which gates the agents of one worker pass: by their providers, and the keys that its environment holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proofq.policies.agent import AgentSpec, Provider
from proofq.workers import gates, keys
from proofq.workers.gate_reports import GateReports
from proofq.workers.store import Store


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

    def queues(self, agents: Mapping[str, AgentSpec], lane: str) -> list[str]:
        """The queues of a lane's agents, each with its gate after a blank, as a `Wish` names them."""
        passed = self.by_agent(agents)
        of_lane = [(keys.queue_of(lane, name), name) for name, spec in agents.items() if spec.lane == lane]
        return [f"{queue} {passed[name]}" if name in passed else queue for queue, name in of_lane]

    def declare(self, store: Store, who: str) -> None:
        """Says that this worker has these keys. Raises RedisUnavailable."""
        gates.declare(store, self.providers.values(), self.environ, who)
