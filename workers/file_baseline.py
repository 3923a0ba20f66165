"""What is recorded of a file before a task's first attempt, so that its freshness can be judged afterwards.

The record comes with a marker, a change time taken from the target's own file system. The agent may start
only once that clock has moved on: a write right after the marker would else carry the marker's own tick. Most
ticks pass while its process is made, so the wait is left to that process, the last thing before the agent.

Where nothing stood and the kernel stamps, the record need not be kept while the attempt runs: when it was leased says
the same, since a file that is there afterwards was born later.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

from proofq.policies.agent import JSON
from proofq.policies.fast_dataclass import fast_dataclass
from proofq.policies.freshness import FileRecord, born_since
from proofq.workers import regular_file, statx
from proofq.workers.clock import earliest_stamp_ns, latest_stamp_ns
from proofq.workers.kernel_clock import KernelClock, Stamps

#: Longest wait for a file system's clock to move on. FAT ticks every 2 s, the usual ones every 4 ms.
MAX_TICK_WAIT_S = 5.0
_POLL_S = 0.0002
_READ_TRIES = 3

#: Where a marker is from: a file made on the target's file system, the kernel's clock where that stamps its files
#: ("raised": it stamps nothing so early any more), or this host's where nothing could be made there.
Source: TypeAlias = Literal["file system", "kernel", "raised", "host"]


@fast_dataclass(frozen=True)
class FileBaseline:
    """A file before the task's first attempt on one host."""

    path: str
    host: str
    record: FileRecord
    marker_ctime_ns: int
    marker: Source
    #: The nearest directory that existed, and its device: gone or another one later means a lost mount.
    anchor: str
    anchor_dev: int
    #: Whether other hosts may see the same file system.
    network: bool

    def to_dict(self) -> dict[str, JSON]:
        """Give the plain JSON object that `from_dict` reads; its numbers need more than a double holds."""
        return {**vars(self), "record": self.record.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FileBaseline:
        """Read what `to_dict` gave."""
        return cls(**{**data, "record": FileRecord.from_dict(data["record"])})


#: A directory whose file system's clock must move on ("": the kernel's), and the change time in ns to leave behind.
Tick = tuple[str, int]

_kernel_clock = KernelClock()


def take(path: str, host: str, since_ns: int | None = None) -> FileBaseline:
    """Record the file and make the marker. What `ticks` says of it must be awaited before an agent starts.

    `since_ns`: when an earlier attempt was leased of which no record was kept, by `Clock.stamp_ns`; a file that was
    born later is recorded as not there, as it was by then.

    Raises regular_file.BadPath, and regular_file.Unreachable where the file cannot be looked at or its file
    system's clock stands still. Leaves nothing behind.
    """
    try:
        return _take(path, host, since_ns)
    except OSError as error:
        raise regular_file.Unreachable(f"{error.filename or path}: {error.strerror}") from error


def absent(path: str, host: str, marker_ns: int, anchor: str, anchor_dev: int) -> FileBaseline:
    """The record of a path where nothing stood, on a file system that the kernel stamps; `marker_ns`: what
    `latest_stamp_ns` said before it was looked at."""
    source: Source = "raised" if _kernel_clock.raised_past(marker_ns) else "kernel"
    return FileBaseline(path, host, regular_file.ABSENT, marker_ns, source, anchor, anchor_dev, network=False)


def is_stamped_by_kernel(baseline: Mapping[str, Any]) -> bool:
    """Whether a file's record, as `to_dict` gave it, is of a file system that the kernel of this host stamps."""
    return baseline["marker"] in ("kernel", "raised")


def can_be_told_again(baseline: Mapping[str, Any]) -> bool:
    """Whether a file's record, as `to_dict` gave it, follows from when its attempt was leased."""
    return is_stamped_by_kernel(baseline) and baseline["record"]["kind"] == "absent"


def _take(path: str, host: str, since_ns: int | None) -> FileBaseline:
    record = _record(path)
    directories = _ancestors(path)
    anchor = next(directories)
    seen = _anchor(anchor)
    # The record first: what somebody else writes between the two is then no newer than the marker.
    if seen.by_kernel:
        if since_ns is not None and born_since(record, since_ns):
            return absent(path, host, since_ns, anchor, seen.device)
        marker = latest_stamp_ns()
        source: Source = "raised" if _kernel_clock.raised_past(marker) else "kernel"
        return FileBaseline(path, host, record, marker, source, anchor, seen.device, seen.network)
    marker, now, source = _marker(chain([anchor], directories))
    if seen.network or source == "host":
        # Looked at here, under a proof's deadline: a server may hang, and another clock is waited for as it is read.
        _wait_until(lambda: now() > marker)
    return FileBaseline(path, host, record, marker, source, anchor, seen.device, seen.network)


def ticks_of(baseline: Mapping[str, Any], host: str) -> list[Tick]:
    """What is still to be awaited on `host` of a task's record: its "files", each as `to_dict` gave it."""
    return [
        (each["anchor"] if each["marker"] == "file system" else "", each["marker_ctime_ns"])
        for each in baseline.get("files", ())
        if each["host"] == host and each["marker"] in ("file system", "kernel") and not each["network"]
    ]


def await_tick(directory: str, marker_ns: int) -> None:
    """Return once a change made from now on is strictly newer than the marker. Nearly always at once.

    Raises OSError (ETIME) when the file system's clock has not moved on after `MAX_TICK_WAIT_S`, or what the file
    system says.
    """
    if now_at(directory) <= marker_ns:
        try:
            _wait_until(lambda: now_at(directory) > marker_ns)
        except regular_file.Unreachable as error:
            raise OSError(errno.ETIME, str(error)) from error


def now_at(directory: str) -> int:
    """What the clock of a directory's file system says, in nanoseconds: the change time of a file made there; the
    kernel's for ""."""
    if not directory:
        return earliest_stamp_ns()
    try:
        return _ctime_of_new(partial(_nameless_file, directory))
    except OSError:
        # Nothing can be made there without a name, or nothing at all: as the marker was made.
        return _marker(_ancestors(f"{directory}/-"))[0]


def anchor_is_lost(baseline: FileBaseline) -> bool:
    """Tell whether the directory that held the target, or would have, is no longer the one it was."""
    try:
        return statx.of_path(baseline.anchor).st_dev != baseline.anchor_dev
    except OSError:
        return True


def _record(path: str) -> FileRecord:
    for _ in range(_READ_TRIES):
        try:
            return regular_file.read(path).record
        except regular_file.Changing:
            continue
        except regular_file.Unreachable:
            break
    # It may be seen but not read, or somebody keeps writing it: what is known is recorded without a digest.
    return regular_file.record_without_content(path)


def _ancestors(path: str) -> Iterator[str]:
    """Yield the directories above `path` that exist, nearest first, as far as they are on one file system."""
    device = None
    directory = path
    while directory != "/":
        directory = directory.rpartition("/")[0] or "/"
        try:
            seen = statx.of_path(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise regular_file.Unreachable(f"{directory}: {error.strerror}") from error
        if statx.kind_of(seen.st_mode) != "directory":
            continue
        device = seen.st_dev if device is None else device
        if seen.st_dev != device:
            return
        yield directory


def _marker(directories: Iterable[str]) -> tuple[int, Callable[[], int], Source]:
    """Give what the file system's clock says now and a reader of it; this host's where nothing can be made there."""
    for directory in directories:
        for make in (_nameless_file, _named_file):
            now = partial(_ctime_of_new, partial(make, directory))
            try:
                return now(), now, "file system"
            except OSError:
                continue
    # Its inode is stamped by the kernel with the very clock that local file systems are stamped with.
    now = partial(_ctime_of_new, partial(os.memfd_create, "proofq-marker"))
    return now(), now, "host"


def _nameless_file(directory: str) -> int:
    return os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)


def _named_file(directory: str) -> int:
    """For file systems without nameless files: one that has its name for an instant."""
    descriptor, name = tempfile.mkstemp(prefix=".proofq-", dir=directory)
    Path(name).unlink(missing_ok=True)
    return descriptor


def _ctime_of_new(make: Callable[[], int]) -> int:
    return _stamps_of_new(make)[0]


def _stamps_of_new(make: Callable[[], int]) -> Stamps:
    descriptor = make()
    try:
        seen = statx.status(descriptor)
        return seen.ctime_ns, seen.btime_ns
    finally:
        os.close(descriptor)


def _wait_until(reached: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + MAX_TICK_WAIT_S
    while not reached():
        if time.monotonic() > give_up_at:
            raise regular_file.Unreachable(f"the file system's clock stood still for {MAX_TICK_WAIT_S} s")
        time.sleep(_POLL_S)


@dataclass(frozen=True, slots=True)
class _Anchor:
    device: int
    network: bool
    by_kernel: bool


def _anchor(directory: str) -> _Anchor:
    """Whose clock stamps what is made in a directory, and who else may see that."""
    device = statx.of_path(directory).st_dev
    by_kernel = False
    with suppress(OSError):
        new = partial(_stamps_of_new, partial(_nameless_file, directory))
        by_kernel = _kernel_clock.stamps(directory, device, new)
    return _Anchor(device, not by_kernel and statx.on_network(directory), by_kernel)
