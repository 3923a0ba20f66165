"""What the end of an attempt's first process means: a claim to be proven, or a failure.

Pure. A process that exited 0 by itself has made a claim, never more; whatever we killed is named by who killed it
before anybody guesses from a signal's number. What a command's end means its adapter knows.
"""

from __future__ import annotations

from typing import Any

from proofq.policies import adapters
from proofq.policies.adapters.generic import exited
from proofq.policies.agent import AgentSpec
from proofq.policies.ended import Claim, Ending, last_line
from proofq.policies.exits import uncancelled
from proofq.policies.failure import Failure
from proofq.policies.live import LIVE


def of(ending: Ending, spec: AgentSpec) -> Claim | Failure:
    """By the agent's kind, and of a command by its adapter; with a `json` proof its claim is a document."""
    if ending.killed_by == LIVE:
        return ending.live or Failure("unknown", "it was ended for what it said, and that is lost", phase="run")
    if spec.kind == "function":
        return of_function(ending)
    document = any(proof.kind == "json" for proof in spec.proofs)
    return adapters.of(spec.adapter).outcome(ending, document)


def of_function(ending: Ending) -> Claim | Failure:
    """A function claims by returning; a child that ended without a word has crashed."""
    report = ending.report or {}
    if "failure" in report:
        return _reported(report["failure"])
    if "result" in report and ending.exit_code == 0:
        return Claim(report["result"])
    if ending.exit_code != 0:
        return exited(ending)
    last = last_line(ending.output_tail)
    why = f"exited without returning{': ' if last else ''}{last}"
    return Failure("crash", why, phase="run", fingerprint="exit:0")


def _reported(data: Any) -> Failure:
    try:
        return uncancelled(Failure.from_dict(data))
    except (ValueError, TypeError, AttributeError):
        return Failure("unknown", "the agent's process reported a failure that cannot be read", fingerprint="report")
