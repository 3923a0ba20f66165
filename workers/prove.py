"""Asks the verifier on behalf of an attempt: how is the world before it, and is its claim true after it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proofq.policies import lifecycle
from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.policies.verdict import ProofResult, Verdict, combine
from proofq.workers.attempt import AttemptFailed
from proofq.workers.clock import iso
from proofq.workers.expand import Expanded, Expander, Unfit
from proofq.workers.record import Task
from proofq.workers.verify import Question, Verifier


class LocalProver:
    """The attempt's `Prover` on this host."""

    def __init__(self, verifier: Verifier, expander: Expander) -> None:
        self._verifier = verifier
        self._expander = expander

    def baseline(self, task: Task, spec: AgentSpec) -> Mapping[str, Any]:
        if not spec.proofs:
            return {}
        try:
            question = _question(task, self._expander.expand(task, spec))
        except Unfit as problem:
            raise AttemptFailed(problem.failure) from problem
        found = self._verifier.baseline(question, spec.proof_timeout_s)
        if found.outcome == "ready":
            return found.record
        if found.outcome == "cannot_tell":
            raise AttemptFailed(Failure("infrastructure", found.reason, source="host", phase="start"))
        raise AttemptFailed(Failure("bad_input", found.reason, phase="inputs"))

    def verify(self, task: Task, spec: AgentSpec, late: Callable[[], object] = lambda: None) -> Verdict:
        try:
            question = _question(task, self._expander.expand(task, spec))
        except Unfit as problem:
            # The declaration changed since the attempt began: nobody can tell by the new one.
            return combine([ProofResult("inputs", "cannot_tell", {"reason": str(problem)})])
        return self._verifier.verify(question, spec.proof_timeout_s, late)

    def close(self) -> None:
        self._verifier.close()


def _question(task: Task, expanded: Expanded) -> Question:
    return Question(
        proofs=expanded.proofs,
        host=task.host,
        cwd=expanded.cwd,
        workdir=expanded.places.work,
        taskdir=expanded.places.task,
        inputs=expanded.inputs,
        record=task.baseline,
        claim=task.claim,
        claimed=task.state == lifecycle.CLAIMED_DONE,
        started_at=iso(task.started_at),
    )
