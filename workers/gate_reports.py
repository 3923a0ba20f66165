"""What the end of an attempt tells the gate it was let through, and who hears how the gate moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proofq.policies import gate, lifecycle
from proofq.policies.agent import Provider
from proofq.policies.failure import Failure
from proofq.policies.gate import Admission
from proofq.workers import gate_change
from proofq.workers.gate_change import Change


@dataclass(frozen=True)
class GateReports:
    """Of one worker: `providers` as it declares them, by name. `on_change` is told of each move that a report of this
    worker has caused, once; it must neither wait nor raise."""

    providers: Mapping[str, Provider] = field(default_factory=dict)
    on_change: Callable[[Change], None] = gate_change.say

    def of_end(
        self, admission: Admission, failure: Failure | None, to: str, jitter: float, *, called: bool
    ) -> Mapping[str, Any] | None:
        """What the gate must hear of an attempt that ends in state `to`; None where that is nothing.

        `called`: its calls of `ctx.call` have told the gate themselves.
        """
        told = gate.Told("nothing") if called else gate.told_by(failure, answered=to in lifecycle.SUCCESS)
        if not gate.is_worth_telling(told, admission):
            return None
        return gate.plan(told, admission, self.provider_of(admission.gate), jitter)

    def provider_of(self, name: str) -> Provider:
        """The provider of a gate, with the times it is declared with."""
        provider = gate.provider_of(name)
        return self.providers.get(provider) or Provider(provider)
