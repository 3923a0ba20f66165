"""How the first process of an attempt ended, and what the attempt says of itself. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proofq.policies.failure import Failure
from proofq.policies.fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class Ending:
    """How a first process ended.

    `exit_code` or `signal` is set (neither: nobody saw its end). `killed_by` is the reason of ours, '' if we sent no
    signal. `report` is what a function child said last: {"result": …} or {"failure": {…}}; None for commands.
    `output_tail` is the end of what it printed (stdout, then stderr), `stderr_tail` the part of it that is stderr;
    `stdout` all of stdout, None where it was more than is kept; `stdout_end` the newest of it that is kept. `at`: when
    it was looked at, in seconds since 1970, for waits that are said as a time of day; None: nobody knows.
    `transcript_end` is the end of its program's newest transcript, `live` the failure it told of while it ran and for
    which we ended it; see `policies.live`. `steps` are the declared steps of a function that came back, each once.
    `output_bytes` is all that it printed.
    """

    exit_code: int | None
    signal: int | None
    killed_by: str = ""
    report: Mapping[str, Any] | None = None
    output_tail: str = ""
    stdout: bytes | None = None
    stdout_end: bytes = b""
    stderr_tail: str = ""
    at: float | None = None
    transcript_end: bytes = b""
    live: Failure | None = None
    steps: tuple[str, ...] = ()
    output_bytes: int = 0

    @property
    def streams(self) -> tuple[str, str]:
        """The ends of stdout and stderr, apart."""
        return self.output_tail.removesuffix(self.stderr_tail), self.stderr_tail


@fast_dataclass(frozen=True)
class Claim:
    """What the attempt says of itself. Never believed."""

    value: Any


def last_line(tail: str) -> str:
    """The last line that says anything, at most 200 characters of it; "" when there is none."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
