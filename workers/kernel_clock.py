"""The clock by which the kernel stamps files, and which file systems do go by it.

To ask a file system what time it is takes making a file there, which costs more than all else that is recorded of a
target. Where its time is this kernel's, reading a clock says the same.

Since Linux 6.13 the kernel stamps between two ticks whoever has looked at a file's last stamp, and stamps nothing
earlier from then on, whatever the file system. So whoever changes a file of his own after looking at it need not wait
for a tick.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from proofq.workers import statx
from proofq.workers.clock import earliest_stamp_ns, latest_stamp_ns

#: Stamps that are whole milliseconds are taken for those of a file system that rounds them (ext3 and FAT to seconds).
_ROUNDED_NS: Final = 1_000_000
#: Stamps of one file within which one comes between two ticks: a tick may come in between, too.
_STAMPS: Final = 3
#: Seconds for which it is believed of a device: its number may be another file system's after an unmount.
_BELIEVED_S: Final = 60.0


#: When a file was changed and when it was born, in nanoseconds; None where births are not told.
Stamps: TypeAlias = tuple[int, int | None]


class KernelClock:
    """Remembers which devices are stamped by it. Thread-safe."""

    def __init__(self) -> None:
        self._until_s: dict[int, float] = {}
        #: A file in memory; -1 before there is one.
        self._file = -1
        self._raises: bool | None = None
        self._lock = threading.Lock()

    def stamps(self, directory: str, device: int, new: Callable[[], Stamps]) -> bool:
        """Whether it stamps changes and births of a device's files, told by a directory there; never for one that other
        hosts may see.

        `new` gives the change time of a file made there just now, and its birth. Raises what that does.
        """
        now_s = time.monotonic()
        if self._until_s.get(device, 0.0) > now_s:
            return True
        if statx.on_network(directory) or statx.on_fuse(directory):
            # A server's or a daemon's clock may agree with this one only for now.
            return False
        earliest_ns, stamps, latest_ns = earliest_stamp_ns(), new(), latest_stamp_ns()
        for stamp_ns in stamps:
            if stamp_ns is None or not earliest_ns <= stamp_ns <= latest_ns or stamp_ns % _ROUNDED_NS == 0:
                return False
        self._until_s[device] = now_s + _BELIEVED_S
        return True

    def raised_past(self, stamp_ns: int) -> bool:
        """Have all that the kernel stamps from now on be stamped later than that; False where only its ticks do so."""
        with self._lock:
            if self._raises is None:
                self._raises = self._tried()
            return self._raises and self._raised(stamp_ns) > stamp_ns

    def _tried(self) -> bool:
        """Whether one file's stamp is heeded by the next one made, though no tick has come."""
        try:
            self._file = os.memfd_create("proofq-stamps")
            for _ in range(_STAMPS):
                raised_ns = self._raised(latest_stamp_ns())
                new = os.memfd_create("proofq-stamps")
                try:
                    heeded_ns = os.fstat(new).st_ctime_ns
                finally:
                    os.close(new)
                if earliest_stamp_ns() < raised_ns:
                    return heeded_ns >= raised_ns
        except OSError:
            return False
        return False

    def _raised(self, past_ns: int) -> int:
        """The stamp that a file of ours was given, later than that where the kernel stamps between two ticks."""
        seen_ns = os.fstat(self._file).st_ctime_ns
        for _ in range(_STAMPS):
            os.utime(self._file)
            seen_ns = os.fstat(self._file).st_ctime_ns
            if seen_ns > past_ns:
                break
        return seen_ns
