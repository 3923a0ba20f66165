"""The page of memory that a host of async attempts shares with its supervisor: what its loop does, and its stack.

It can be read while the host holds the interpreter's lock, or anything else that would keep it from answering.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
from typing import Final

from proofq.policies.loop_watch import Page

#: Where the stack begins; the numbers stand before it.
_STACK_AT: Final = 4096
_STACK_BYTES: Final = 16 * 1024
#: Asks a host for its stack. Answered in C, so that code that never comes back to Python answers, too.
STACK_SIGNAL: Final = signal.SIGRTMAX - 1


class HostPage:
    """The supervisor's end. `fd` is for the host."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("proofq-loop", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, _STACK_AT)
        self._bytes = mmap.mmap(self.fd, _STACK_AT)
        self._numbers = memoryview(self._bytes).cast("Q")

    def read(self) -> Page:
        """What the loop says of itself now."""
        running, steps, turns = self._numbers[:3]
        return Page(running, steps, turns)

    @property
    def begun(self) -> int:
        """The number of the last attempt that it has made a task for; they come with growing numbers."""
        return self._numbers[3]

    def stack(self) -> str:
        """The stack that was asked for; "" while it has not come."""
        return os.pread(self.fd, _STACK_BYTES, _STACK_AT).decode("utf-8", "replace")

    def close(self) -> None:
        self._numbers.release()
        self._bytes.close()
        os.close(self.fd)


class LoopPage:
    """The host's end, on the descriptor it was given."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._bytes = mmap.mmap(descriptor, _STACK_AT)
        #: As `Page` has them, and behind them the number of the last attempt that has begun. Written on every step, so
        #: by whoever makes one and with nothing in between.
        self.numbers = memoryview(self._bytes).cast("Q")
        os.lseek(descriptor, _STACK_AT, os.SEEK_SET)
        faulthandler.register(STACK_SIGNAL, file=descriptor, all_threads=False)

    def turn(self) -> None:
        """The loop has come round."""
        self.numbers[2] += 1

    def began(self, number: int) -> None:
        """That attempt has a task."""
        self.numbers[3] = number
