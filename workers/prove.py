"""Asks the verifier on behalf of an attempt: how is the world before it, and is its claim true after it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from proofq.workers.verify import Question, Verifier, paths_of


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
        found = self._verifier.baseline(question, spec.proof_timeout_s, partial(self._since_ns, task, spec, attempts))
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

    def _since_ns(
        self, task: Task, spec: AgentSpec, attempts: Callable[[], Sequence[Mapping[str, Any]]], path: str
    ) -> int | None:
        """When the first of those attempts was leased that had this path and of which nobody lived to write anything,
        by the clock of the task's host, where they were; None where there is none."""
        if task.attempt == 1:
            return None
        unseen = [each for each in attempts() if each["n"] < task.attempt and _is_unseen(each, task.host)]
        had_it = (each for each in unseen if path in self._paths(replace(task, attempt=each["n"]), spec))
        return min((int(each["stamp_ns"]) for each in had_it), default=None)

    def _paths(self, task: Task, spec: AgentSpec) -> set[str]:
        return paths_of(_question(task, self._expander.expand(task, spec)))


def _is_unseen(attempt: Mapping[str, Any], host: str) -> bool:
    """Whether an agent may have worked in it on this host without any trace: all other ends are written with how the
    world was before, and who failed before that was looked at has started nothing."""
    lost = attempt.get("outcome") == "lost" and "started_at" not in attempt
    return lost and attempt.get("host") == host and "stamp_ns" in attempt


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
