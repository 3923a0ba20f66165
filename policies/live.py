"""When a running agent program's own words are enough to end it, instead of letting it sleep and retry on the slot.

Pure. A program that retries by itself says so while it does. It may: a blip is over at the second try, and what it has
done so far is worth something. It is ended when waiting for it is worth less than the slot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from proofq.policies import classes
from proofq.policies.failure import Failure

#: What a line says that matters here: a call failed and will be tried again; the provider has answered; or nothing.
Heard: TypeAlias = Failure | Literal["answered"] | None

#: The reason of the kill.
LIVE: Final = "live"
#: Seconds somebody asked it to wait, beyond which it is ended at once: the queue waits better than a slot.
LONG_WAIT_S: Final = 10.0
#: Failures in a row, of a class that no try heals (a refused key, no credit), at which it is ended.
MAX_HOPELESS: Final = 2
#: Failures in a row, of whatever class, at which it is ended.
MAX_IN_A_ROW: Final = 5


@dataclass(frozen=True)
class Trouble:
    """Failures since the provider last answered: how many, and how many of the last one's class in a row."""

    kind: str = ""
    equal: int = 0
    in_a_row: int = 0


def hear(trouble: Trouble, heard: Heard) -> tuple[Trouble, Failure | None]:
    """The trouble with what was heard now, and the failure with which to end the attempt; None while it may go on."""
    if heard is None:
        return trouble, None
    if not isinstance(heard, Failure):
        return Trouble(), None
    equal = trouble.equal + 1 if heard.kind == trouble.kind else 1
    trouble = Trouble(heard.kind, equal, trouble.in_a_row + 1)
    why = _why(trouble, heard)
    return trouble, None if not why else replace(heard, reason=f"{heard.reason}; ended while it retried: {why}")


def _why(trouble: Trouble, heard: Failure) -> str:
    """Why it is ended; "" while it may go on."""
    if (heard.retry_after_s or 0.0) > LONG_WAIT_S:
        return f"it would have slept for {heard.retry_after_s:g} s"
    if classes.of(heard.kind).response == "hold" and trouble.equal >= MAX_HOPELESS:
        return f"{heard.kind} {trouble.equal} times in a row"
    if trouble.in_a_row >= MAX_IN_A_ROW:
        return f"{trouble.in_a_row} failures in a row"
    return ""
