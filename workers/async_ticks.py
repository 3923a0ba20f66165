"""How an async attempt waits until what it writes is newer than the markers of its baseline."""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path
from typing import Final

from proofq.workers import file_baseline
from proofq.workers.clock import STAMP_TICK_S, SystemClock, earliest_stamp_ns

#: Seconds between two looks at a file system's clock, which mostly ticks every 4 ms.
_POLL_S: Final = 0.001


class Clocks:
    """The clocks of file systems, as an agent's other process awaits them (`file_baseline.await_tick`).

    Hundreds of attempts may begin at once: who comes later has seldom to look himself.
    """

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._clock = SystemClock()

    async def tick(self, directory: str, marker_ns: int) -> None:
        """Return once a change made from now on is strictly newer than the marker. OSError: see `await_tick`."""
        give_up_s = time.monotonic() + file_baseline.MAX_TICK_WAIT_S
        if not directory:
            await self._kernel_tick(marker_ns, give_up_s)
            return
        try:
            device = Path(directory).stat().st_dev
        except FileNotFoundError:
            device = -1  # removed since it was looked at: its nearest ancestor's clock is read, and kept for nobody
            self._seen.pop(device, None)
        while self._seen.get(device, 0) <= marker_ns:
            # Most file systems tick with the host's clock, so looking before that does would tell nothing.
            rest_s = marker_ns / 1e9 + STAMP_TICK_S - self._clock.wall().timestamp()
            if 0 < rest_s <= STAMP_TICK_S:
                await asyncio.sleep(rest_s)
                continue
            self._seen[device] = file_baseline.now_at(directory)
            if self._seen[device] > marker_ns:
                return
            if time.monotonic() > give_up_s:
                raise OSError(errno.ETIME, f"the clock of {directory} stood still")
            await asyncio.sleep(_POLL_S)

    async def _kernel_tick(self, marker_ns: int, give_up_s: float) -> None:
        while (floor_ns := earliest_stamp_ns()) <= marker_ns:
            if time.monotonic() > give_up_s:
                raise OSError(errno.ETIME, "the clock of the kernel stood still")
            rest_s = floor_ns / 1e9 + STAMP_TICK_S - self._clock.wall().timestamp()
            await asyncio.sleep(rest_s if 0 < rest_s < STAMP_TICK_S else _POLL_S)
