"""Retention in Redis: deletes ended tasks that are older than is kept, and the oldest where all take too much room.

Each script looks at a bounded number and deletes a task with all its keys in that one step. Reapers do some at a time,
`proofq purge` all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proofq.policies.retention import Retention
from proofq.workers import rq_view
from proofq.workers.reading import text
from proofq.workers.store import Store

#: Tasks that one script looks at, and scripts in one look of a reaper that has much to delete.
BATCH: Final = 50
BATCHES: Final = 20
#: Seconds between two looks of a reaper that has found nothing more to delete.
EVERY_S: Final = 60.0
#: Ended tasks of each state that are measured to tell how much room all of them take.
SAMPLE: Final = 32
#: Bytes of a task beside its own keys: its places in the lists of tasks, of states, of ends, and in RQ's registry.
BESIDE: Final = 460
#: Once over the bound, so much of it is aimed at, so that not each new end deletes an old one.
AIM: Final = 0.95


@dataclass
class Purged:
    """What was deleted (or would be): by state, and in bytes. `more`: there is more to look at."""

    counts: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    more: bool = False

    @property
    def count(self) -> int:
        return sum(self.counts.values())


class Purger:
    """Applies `retention`."""

    def __init__(self, store: Store, retention: Retention) -> None:
        self._store = store
        self._retention = retention
        self._looked_at_s = -EVERY_S

    def tick(self) -> Purged:
        """A reaper's look: nothing most of the time. Raises RedisUnavailable, DamagedKey."""
        now_s = self._store.clock.boottime()
        if now_s - self._looked_at_s < EVERY_S:
            return Purged()
        # Before it is tried: what cannot be done now is not tried again at each tick.
        self._looked_at_s = now_s
        done = self.run(BATCHES)
        if done.more:
            self._looked_at_s = -EVERY_S
        return done

    def run(self, batches: int | None = None, *, dry: bool = False) -> Purged:
        """First what is too old, then the oldest while all of it is too much; at most so many scripts (None: all)."""
        done, offsets = Purged(), dict[str, Any]()
        left = self._delete(done, offsets, self._retention.keep_ms, None, batches, dry)
        if self._retention.max_bytes and not done.more:
            over = self.kept_bytes() - (done.bytes if dry else 0) - self._retention.max_bytes
            if over > 0:
                enough = over + round((1 - AIM) * self._retention.max_bytes)
                self._delete(done, offsets, dict.fromkeys(self._retention.keep_ms, 0), enough, left, dry)
        return done

    def kept_bytes(self) -> int:
        """About how many bytes ended tasks take: how many there are of each state, times the mean of a sample."""
        answer, total = self._store.call("kept", SAMPLE)[1], 0.0
        for at in range(0, len(answer), 4):
            count, measured, bytes_ = (int(value) for value in answer[at + 1 : at + 4])
            total += count * (bytes_ / measured + BESIDE) if measured else 0
        return round(total)

    def _delete(
        self,
        done: Purged,
        offsets: dict[str, Any],
        keep_ms: Mapping[str, int],
        enough: int | None,
        batches: int | None,
        dry: bool,
    ) -> int | None:
        """The scripts that are left. `offsets`: how many of each state's oldest were passed over."""
        freed = 0
        while batches is None or batches > 0:
            batches = None if batches is None else batches - 1
            until = "" if enough is None else str(max(1, enough - freed))
            answer = self._store.call(
                "purge", BATCH, "1" if dry else "", rq_view.compact(dict(keep_ms)), json.dumps(offsets), until
            )
            offsets |= json.loads(answer[2]) or {}
            for at in range(0, len(answer[3]), 4):
                state, size = text(answer[3][at + 1]), int(answer[3][at + 2]) + BESIDE
                done.counts[state] = done.counts.get(state, 0) + 1
                done.bytes += size
                freed += size
            done.more = answer[1] == b"1"
            if not done.more:
                break
        return batches
