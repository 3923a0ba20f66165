"""What went wrong in one attempt, as plain data: the only form in which it crosses a process border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proofq.policies.classes import CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Who is to blame: the provider, our store, the host, or the task itself.
SOURCES: frozenset[str] = frozenset({"provider", "store", "host", "task"})

#: Where in the attempt it happened.
PHASES: frozenset[str] = frozenset({"inputs", "start", "run", "output", "proof"})


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, classified.

    kind: a name in `policies.classes`.  reason: a sentence for a human.  source: one of `SOURCES`.
    phase: one of `PHASES`, or None when nobody knows.  retry_after_s: seconds somebody asked us to wait,
    or None.  fingerprint: equal for equal causes, "" when there is none.  Raises ValueError for a word
    outside the lists.
    """

    kind: str
    reason: str
    source: str = "task"
    phase: str | None = None
    retry_after_s: float | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.kind not in CLASSES:
            raise ValueError(f"{self.kind!r} is no failure class")
        if self.source not in SOURCES:
            raise ValueError(f"{self.source!r} is no source of a failure; one of {sorted(SOURCES)}")
        if self.phase is not None and self.phase not in PHASES:
            raise ValueError(f"{self.phase!r} is no phase of an attempt; one of {sorted(PHASES)}")

    @property
    def retry_after(self) -> float | None:
        """Seconds somebody asked us to wait, or None; the name `proofq.classify` promises."""
        return self.retry_after_s

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object with exactly this class's field names."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "source": self.source,
            "phase": self.phase,
            "retry_after_s": self.retry_after_s,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Failure:
        """Read what `to_dict` wrote; raises ValueError for anything else: a child may have written it."""
        kind, reason = data.get("kind"), data.get("reason")
        source, phase = data.get("source", "task"), data.get("phase")
        wait, fingerprint = data.get("retry_after_s"), data.get("fingerprint", "")
        if not isinstance(kind, str) or not isinstance(reason, str) or not isinstance(source, str):
            raise ValueError("a failure needs kind, reason and source as text")
        if not isinstance(fingerprint, str) or not (phase is None or isinstance(phase, str)):
            raise ValueError("a failure's phase and fingerprint are text")
        if not (wait is None or (type(wait) in (int, float) and 0 <= wait < 1e12)):
            raise ValueError("a failure's retry_after_s is a number of seconds, 0 or more")
        return cls(kind, reason, source, phase, None if wait is None else float(wait), fingerprint)
