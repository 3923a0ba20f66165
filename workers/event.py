"""What happened to a task: what whoever saw it takes to the door."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Any

from proofq.policies import redaction
from proofq.policies.failure import Failure
from proofq.policies.fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class Event:
    """What happened to a task.

    `name` is an event of the table, or `failed` or `lost`, for which the policy chooses one. `outcome` is what the
    attempt's record will say (default: by the event). `fields` are facts of the start (pid, start_ticks,
    shared), or all of the baseline.
    `death`: the attempt's own supervisor reports the death of its processes, which no reaper has counted yet.
    `progress`: the attempt's latest evidence given to `ctx.progress`, as JSON, where its record does not have it yet.
    `steps`: those of `@proofq.step` that came back in it.
    `called`: calls of `ctx.call` have told the gate of the agent's provider how they ended.
    `at_s`: when it happened, in seconds of the boot clock, where it is written down later than that.
    """

    name: str
    who: str
    reason: str = ""
    failure: Failure | None = None
    verdict: Mapping[str, Any] | None = None
    claim: Any = None
    outcome: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    death: bool = False
    progress: str = ""
    steps: tuple[str, ...] = ()
    called: bool = False
    at_s: float | None = None

    def without(self, secrets: Collection[str]) -> Event:
        """The same, with these texts hidden in whatever of it is kept."""
        if not secrets:
            return self
        failure = self.failure
        return replace(
            self,
            reason=redaction.without(self.reason, secrets),
            failure=None if failure is None else replace(failure, reason=redaction.without(failure.reason, secrets)),
            verdict=redaction.without(self.verdict, secrets),
            claim=redaction.without(self.claim, secrets),
            fields=redaction.without(self.fields, secrets),
        )
