"""Asks the verifier on behalf of an attempt: how is the world before it, and is its claim true after it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from proofq.policies import lifecycle
from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.policies.verdict import ProofResult, Verdict, combine
from proofq.workers.attempt import AttemptFailed
from proofq.workers.clock import iso
from proofq.workers.expand import Expanded, Expander, Unfit
from proofq.workers.prover import Before
from proofq.workers.record import Task
from proofq.workers.verify import Question, Verifier


class LocalProver:
    """The attempt's `Prover` on this host."""

    def __init__(self, verifier: Verifier, expander: Expander) -> None:
        self._verifier = verifier
        self._expander = expander

    def baseline(self, task: Task, spec: AgentSpec, attempts: Callable[[], Sequence[Mapping[str, Any]]]) -> Before:
        if not spec.proofs:
            return Before({}, tells_again=True)
        try:
            question = _question(task, self._expander.expand(task, spec))
        except Unfit as problem:
            raise AttemptFailed(problem.failure) from problem
        found = self._verifier.baseline(question, spec.proof_timeout_s, partial(_since_ns, task, attempts))
        if found.outcome == "ready":
            return Before(found.record, found.tells_again)
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


def _since_ns(task: Task, attempts: Callable[[], Sequence[Mapping[str, Any]]]) -> int | None:
    """When an earlier attempt was leased on the task's host first, by that host's clock; None for none that says so."""
    if task.attempt == 1:
        return None
    earlier = (each for each in attempts() if each["n"] < task.attempt and each.get("host") == task.host)
    return min((int(each["stamp_ns"]) for each in earlier if "stamp_ns" in each), default=None)


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
