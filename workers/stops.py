"""What is written of an attempt that we ended, by the reason that killed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.policies.sharing import REPLACED, SHARED_DEATH
from proofq.workers.door import Event


def lost(name: str, reason: str, death: bool = False) -> Event:
    """An attempt whose end nobody saw; `death`: its own supervisor reports it."""
    failure = Failure("lost_worker", reason, source="host")
    return Event("lost", name, failure=failure, outcome="lost", death=death)


def _timed_out(name: str, spec: AgentSpec) -> Event:
    failure = Failure("timeout", f"ran longer than its timeout_s of {spec.timeout_s:g}", phase="run")
    return Event("failed", name, failure=failure)


def _stalled(name: str, spec: AgentSpec) -> Event:
    reason = f"gave no sign of progress for its stall_after_s of {spec.stall_after_s:g}: no output, no new ctx.progress"
    return Event("failed", name, failure=Failure("stalled", f"{reason}, no growing transcript", phase="run"))


def _given_back(reason: str) -> Callable[[str, AgentSpec], Event]:
    return lambda name, _: Event("give_back", name, reason)


#: What each reason of a stop writes.
EVENTS: Mapping[str, Callable[[str, AgentSpec], Event]] = {
    "timeout": _timed_out,
    "stalled": _stalled,
    "cancel": lambda name, _: Event("cancel", name, "its cancel was asked"),
    "drain": _given_back("the worker is draining"),
    "isolated": _given_back("the worker was out of contact for too long and stopped its agents"),
    "lost": _given_back("the lease was taken by somebody else"),
    "guard": lambda name, _: lost(name, "a process of its worker died", death=True),
    "shutdown": _given_back("the worker was shut down"),
    "budget": lambda name, _: Event(
        "failed", name, failure=Failure("budget", "its budget of wall_s is reached", fingerprint="budget:task")
    ),
    "killed": lambda name, _: Event("failed", name, failure=Failure("crash", "RQ's kill-horse command", source="host")),
    REPLACED: _given_back("the process it shared was replaced for what another task did"),
    SHARED_DEATH: lambda name, _: lost(name, "the process it shared died, and nobody knows of whose doing", death=True),
}
