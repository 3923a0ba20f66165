"""What the fleet is told of an agent that a worker declares."""

from __future__ import annotations

from typing import Any

from proofq.policies import passing
from proofq.policies.agent import AgentSpec


def entry(spec: AgentSpec) -> dict[str, Any]:
    """The agent's entry in the catalogue: what a producer must know of it who has none of its code."""
    return {
        "version": spec.version,
        "lane": spec.lane,
        "provider": spec.provider,
        "inputs_schema": dict(spec.inputs_schema),
        "timeout_s": spec.timeout_s,
        "max_attempts": spec.max_attempts,
        "max_age_s": spec.max_age_s,
        "unique_for_s": spec.unique_for_s,
        "passing": passing.of_agent(spec).to_dict(),
    }
