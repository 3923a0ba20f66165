"""Effects on the world under a key: what of one is recorded, and what its record says now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

#: Longest key in bytes of UTF-8, longest outcome in bytes of JSON, and most keys of one task.
MAX_KEY_BYTES: Final = 512
MAX_OUTCOME_BYTES: Final = 16 * 1024
MAX_EFFECTS: Final = 256

#: What a record says: an attempt that holds the task is at it; it was begun and nobody knows more; it was done.
State = Literal["under_way", "unconfirmed", "done"]


@dataclass(frozen=True)
class Effect:
    """One key of one task. Times are epoch milliseconds; `outcome` is JSON, None while it is open.

    `fence` is the attempt that began it; `who` said that it was done: that attempt ("attempt"), a check in a later one
    ("check"), or a human by name.
    """

    task: str
    key: str
    at: int
    fence: str
    rid: str
    done_at: int | None = None
    outcome: str | None = None
    who: str = ""

    def state(self, fence: str) -> State:
        """What it is while the task is held under `fence`, "" for a task that nobody holds."""
        if self.done_at is not None:
            return "done"
        return "under_way" if fence and fence == self.fence else "unconfirmed"

    @property
    def attempt(self) -> int:
        """The number of the attempt that began it; 0 where its fence says none."""
        number = self.fence.partition("-")[0]
        return int(number) if number.isdecimal() else 0


def bad_key(key: object) -> str:
    """What is wrong with a key, as the end of a sentence; "" for one that is fit."""
    if not isinstance(key, str) or not key:
        return "a key is text, and not empty"
    try:
        size = len(key.encode("utf-8"))
    except UnicodeEncodeError:
        return "it holds half a surrogate pair, which is no text"
    return f"it is {size} bytes, at most {MAX_KEY_BYTES} are taken" if size > MAX_KEY_BYTES else ""


def sentence(task: str, keys: Sequence[str]) -> str:
    """What `why` adds for effects that nobody has confirmed; "" for none."""
    if not keys:
        return ""
    named = ", ".join(repr(key) for key in keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
    what = "This effect was" if len(keys) == 1 else "These effects were"
    return (
        f"{what} begun and never confirmed: {named}. Look whether it is there, say so with "
        f"`proofq effect done {task} KEY` or `proofq effect absent {task} KEY`, then `proofq replay {task}`."
    )
