"""Any command line: its exit code and its output, and nothing read into them."""

from __future__ import annotations

from typing import Final

from proofq.policies import strict_json
from proofq.policies.adapters.adapter import Adapter
from proofq.policies.classify import classify_exit
from proofq.policies.ended import Claim, Ending, last_line
from proofq.policies.failure import Failure

#: Characters of output that a command's claim keeps in Redis; the rest stays in the captured files.
CLAIM_TAIL: Final = 2048


def outcome(ending: Ending, document: bool) -> Claim | Failure:
    """It claims by exiting 0; `document`: its claim is the whole of stdout, one strict JSON document."""
    if ending.exit_code != 0:
        return exited(ending)
    if not document:
        return Claim({"exit_code": 0, "output_tail": ending.output_tail[-CLAIM_TAIL:]})
    if ending.stdout is None:
        return malformed("it printed more on stdout than is kept; a JSON claim is at most 1 MiB")
    try:
        return Claim(strict_json.parse(ending.stdout))
    except strict_json.NotStrict as problem:
        return malformed(f"its stdout is not one strict JSON document: {problem}")


def exited(ending: Ending) -> Failure:
    """The failure of a command that ended with something else than 0, by its exit code or signal alone."""
    if ending.exit_code is None and ending.signal is None:
        return Failure("crash", "its end was not seen", source="host", phase="run", fingerprint="unseen")
    return classify_exit(ending.exit_code, ending.signal, "run", last_line(ending.output_tail))


def malformed(reason: str) -> Failure:
    """The failure of a command whose output is not what it was to be."""
    return Failure("malformed_output", reason, phase="output")


GENERIC: Final = Adapter("generic", outcome)
