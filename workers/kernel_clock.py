"""The clock by which the kernel stamps files, and which file systems do go by it.

To ask a file system what time it is takes making a file there, which costs more than all else that is recorded of a
target. Where its time is this kernel's, reading a clock says the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from proofq.workers import statx
from proofq.workers.clock import earliest_stamp_ns, latest_stamp_ns

#: Stamps that are whole milliseconds are taken for those of a file system that rounds them (ext3 and FAT to seconds).
_ROUNDED_NS: Final = 1_000_000
#: Seconds for which it is believed of a device: its number may be another file system's after an unmount.
_BELIEVED_S: Final = 60.0


class KernelClock:
    """Remembers which devices are stamped by it. Not thread-safe."""

    def __init__(self) -> None:
        self._until_s: dict[int, float] = {}

    def stamps(self, directory: int, device: int, ctime_of_new: Callable[[], int]) -> bool:
        """Whether it stamps the files of a device of this host's, by an open directory there.

        `ctime_of_new` gives the change time of a file made there just now. Raises what that does.
        """
        now_s = time.monotonic()
        if self._until_s.get(device, 0.0) > now_s:
            return True
        if statx.on_fuse(directory):
            # A daemon may stamp by a clock that agrees with this one only for now.
            return False
        earliest_ns, seen_ns, latest_ns = earliest_stamp_ns(), ctime_of_new(), latest_stamp_ns()
        if not earliest_ns <= seen_ns <= latest_ns or seen_ns % _ROUNDED_NS == 0:
            return False
        self._until_s[device] = now_s + _BELIEVED_S
        return True
