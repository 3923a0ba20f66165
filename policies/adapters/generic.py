"""Any command line: its exit code and its output; and where it failed, what it said last in so many words."""

from __future__ import annotations

from typing import Final

from proofq.policies import strict_json
from proofq.policies.adapters.adapter import Adapter
from proofq.policies.ended import Claim, Ending, last_line
from proofq.policies.exits import classify_exit, uncancelled
from proofq.policies.failure import Failure

#: Characters of output that a command's claim keeps in Redis; the rest stays in the captured files.
CLAIM_TAIL: Final = 2048


def outcome(ending: Ending, document: bool) -> Claim | Failure:
    """It claims by exiting 0; `document`: its claim is the whole of stdout, one strict JSON document."""
    if ending.exit_code != 0:
        return exited(ending, ending.streams)
    if not document:
        return Claim({"exit_code": 0, "output_tail": ending.output_tail[-CLAIM_TAIL:]})
    if ending.stdout is None:
        return malformed("it printed more on stdout than is kept; a JSON claim is at most 1 MiB")
    try:
        return Claim(strict_json.parse(ending.stdout))
    except strict_json.NotStrict as problem:
        return malformed(f"its stdout is not one strict JSON document: {problem}")


def exited(ending: Ending, streams: tuple[str, ...] = ()) -> Failure:
    """The failure of a command that ended with something else than 0, by its exit code or signal alone.

    With the ends of its `streams`, known phrases in them say more than a code.
    """
    if ending.exit_code is None and ending.signal is None:
        return Failure("crash", "its end was not seen", source="host", phase="run", fingerprint="unseen")
    said = last_line(ending.output_tail)
    # What we killed has been labelled by who killed it: a TERM from elsewhere is no cancel of ours.
    return uncancelled(classify_exit(ending.exit_code, ending.signal, "run", said, streams, now=ending.at))


def malformed(reason: str) -> Failure:
    """The failure of a command whose output is not what it was to be."""
    return Failure("malformed_output", reason, phase="output")


GENERIC: Final = Adapter("generic", outcome)
