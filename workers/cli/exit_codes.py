"""With which numbers `proofq` ends. Scripts rely on them; `--help` prints them; a test holds them."""

from __future__ import annotations

from typing import Final

from proofq.policies import lifecycle

#: It did what was asked; of `run`: the task is verified.
OK: Final = 0
#: Any error without a number of its own: an unknown id, an act the table refuses, violations found by `audit`.
ERROR: Final = 1
#: Usage, bad input, an unknown agent, a key conflict, a refused declaration, an option not built yet.
USAGE: Final = 2
#: `run`: the task failed.
FAILED: Final = 3
#: `run`: the task was quarantined.
QUARANTINED: Final = 4
#: `run`: the task was cancelled, or expired.
CANCELLED: Final = 5
#: `run`: the task had not ended at the --timeout.
TIMEOUT: Final = 6
#: Redis is not reachable.
REDIS: Final = 7
#: `run`: the task ended well by its own word; nothing was proven.
UNPROVEN: Final = 8
#: Ctrl-C, as shells expect it of a program that SIGINT ended.
INTERRUPTED: Final = 130

#: What each number means, for `--help`.
MEANINGS: Final[dict[int, str]] = {
    OK: "done; of run: verified",
    ERROR: "any other error: an unknown id, an act that is refused, violations",
    USAGE: "usage, bad input, unknown agent, key conflict, refused declaration, not built yet",
    FAILED: "run: failed",
    QUARANTINED: "run: quarantined",
    CANCELLED: "run: cancelled or expired",
    TIMEOUT: "run: not ended at the timeout",
    REDIS: "Redis is not reachable",
    UNPROVEN: "run: finished, but unproven",
}

#: How `run` ends for each state in which a task ends.
OF_STATE: Final[dict[str, int]] = {
    lifecycle.VERIFIED: OK,
    lifecycle.FINISHED_UNPROVEN: UNPROVEN,
    lifecycle.FAILED: FAILED,
    lifecycle.QUARANTINED: QUARANTINED,
    lifecycle.CANCELLED: CANCELLED,
    lifecycle.EXPIRED: CANCELLED,
}
