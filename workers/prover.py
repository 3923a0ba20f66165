"""What an attempt asks of the world: how is it before, and what do its proofs say after?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from proofq.policies.agent import AgentSpec
from proofq.policies.verdict import Verdict
from proofq.workers.record import Task


class Before(NamedTuple):
    """How the world was before an attempt. `tells_again`: what is new in the record need not be on record while the
    attempt runs; should nobody live to write it, the next one tells it again by when this one was leased."""

    record: Mapping[str, Any]
    tells_again: bool


class Prover(Protocol):
    """Reads the world: before the first attempt, and after a claim."""

    def baseline(self, task: Task, spec: AgentSpec, attempts: Callable[[], Sequence[Mapping[str, Any]]]) -> Before:
        """What the proofs' targets look like, as far as no earlier attempt has recorded it; asked before every attempt.

        `attempts` gives the records of the task's attempts, from Redis.
        `AttemptFailed`: bad_input where a target is impossible or already true, infrastructure where nobody can tell.
        """

    def verify(self, task: Task, spec: AgentSpec, late: Callable[[], object]) -> Verdict:
        """What the proofs say of the task's claim, now. `late` is called once where that is not known at once."""
