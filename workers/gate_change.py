"""One move of a provider's gate, as whoever caused it is told; and who is told of it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Final

from proofq.policies import gate

log = logging.getLogger(__name__)

#: Moves that a human must hear of, in the log as errors.
PAGED: Final = frozenset({"hold"})
#: Moves that happen at every turn.
_QUIET: Final = frozenset({"probe"})


@dataclass(frozen=True)
class Change:
    """One move of a gate, as whoever caused it is told."""

    name: str
    source: str | None
    event: str
    to: str
    reason: str

    @classmethod
    def parse(cls, raw: bytes) -> Change | None:
        """From a script's answer; None for an empty one."""
        if not raw:
            return None
        row = json.loads(raw)
        return cls(row["name"], row.get("from"), row["event"], row["to"], row.get("reason", ""))


def say(change: Change) -> None:
    """Says in the log how a gate moved, once: Redis tells it to the one whose report has moved it."""
    told = {"provider": gate.provider_of(change.name), "key": gate.key_of(change.name), "to": change.to}
    if change.event in PAGED:
        log.error("gate_held", extra={**told, "reason": change.reason})
    elif change.event not in _QUIET:
        log.warning("gate_moved", extra={**told, "event": change.event, "reason": change.reason})
