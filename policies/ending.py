"""What the end of an attempt's first process means: a claim to be proven, or a failure.

Pure. A process that exited 0 by itself has made a claim, never more; whatever we killed is named by who killed it
before anybody guesses from a signal's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofq.policies import strict_json
from proofq.policies.agent import AgentSpec
from proofq.policies.classify import classify_exit
from proofq.policies.failure import Failure


@dataclass(frozen=True)
class Ending:
    """How a first process ended.

    `exit_code` or `signal` is set (neither: nobody saw its end). `killed_by` is the reason of ours, '' if we sent no
    signal. `report` is what a function child said last: {"result": …} or {"failure": {…}}; None for commands.
    `output_tail` is the end of what it printed (stdout, then stderr); `stdout` all of it, None where it was more than
    is kept.
    """

    exit_code: int | None
    signal: int | None
    killed_by: str = ""
    report: Mapping[str, Any] | None = None
    output_tail: str = ""
    stdout: bytes | None = None


@dataclass(frozen=True)
class Claim:
    """What the attempt says of itself. Never believed."""

    value: Any


#: Characters of output that a command's claim keeps in Redis; the rest stays in the captured files.
CLAIM_TAIL: Final = 2048


def of_function(ending: Ending) -> Claim | Failure:
    """A function claims by returning; a child that ended without a word has crashed."""
    report = ending.report or {}
    if "failure" in report:
        return _reported(report["failure"])
    if "result" in report and ending.exit_code == 0:
        return Claim(report["result"])
    return _crash(ending)


def of_command(ending: Ending, document: bool) -> Claim | Failure:
    """A command claims by exiting 0; `document`: its claim is the whole of stdout, one strict JSON document."""
    if ending.exit_code != 0:
        return _crash(ending)
    if not document:
        return Claim({"exit_code": 0, "output_tail": ending.output_tail[-CLAIM_TAIL:]})
    if ending.stdout is None:
        return _malformed("it printed more on stdout than is kept; a JSON claim is at most 1 MiB")
    try:
        return Claim(strict_json.parse(ending.stdout))
    except strict_json.NotStrict as problem:
        return _malformed(f"its stdout is not one strict JSON document: {problem}")


def of(ending: Ending, spec: AgentSpec) -> Claim | Failure:
    """By the agent's kind; a command with a `json` proof claims a document."""
    if spec.kind == "function":
        return of_function(ending)
    return of_command(ending, document=any(proof.kind == "json" for proof in spec.proofs))


def _malformed(reason: str) -> Failure:
    return Failure("malformed_output", reason, phase="output")


def _reported(data: Any) -> Failure:
    try:
        return Failure.from_dict(data)
    except (ValueError, TypeError, AttributeError):
        return Failure("unknown", "the agent's process reported a failure that cannot be read", fingerprint="report")


def _crash(ending: Ending) -> Failure:
    last = _last_line(ending.output_tail)
    if ending.exit_code is None and ending.signal is None:
        return Failure("crash", "its end was not seen", source="host", phase="run", fingerprint="unseen")
    if ending.exit_code == 0:
        why = f"exited without returning{': ' if last else ''}{last}"
        return Failure("crash", why, phase="run", fingerprint="exit:0")
    return classify_exit(ending.exit_code, ending.signal, "run", last)


def _last_line(tail: str) -> str:
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
