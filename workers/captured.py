"""What an attempt has printed, as it stands on this host's disk: the end of stdout, then of stderr."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proofq.workers import places, task_view
from proofq.workers.errors import Error
from proofq.workers.growing import open_regular
from proofq.workers.store import Store

#: Bytes of each stream that are shown: the newest.
TAIL_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Captured:
    """The end of both streams of one attempt. `stdout` is the file of the first; bytes that are no UTF-8 are replaced
    by U+FFFD."""

    attempt: int
    path: Path
    stdout: str
    stderr: str

    @property
    def tail(self) -> str:
        """The end of stdout, then that of stderr, on a line of its own."""
        between = "\n" if self.stdout and self.stderr and not self.stdout.endswith("\n") else ""
        return f"{self.stdout}{between}{self.stderr}"


def read(store: Store, task_id: str, state_dir: Path, attempt: int | None = None) -> Captured:
    """What the attempt (default: the newest) printed. `state_dir` is this host's.

    Raises UnknownTask; Error when no attempt has begun, there is no such attempt, or its files are not on this host.
    """
    snapshot = task_view.snapshot_of(store, task_id)
    record = record_of(task_id, snapshot.task.state, snapshot.attempts, attempt)
    number = int(record["n"])
    if record.get("host") != socket.gethostname():
        raise elsewhere(task_id, record)
    place = places.of(state_dir, task_id, number)
    # One that shares its process has a file once it has printed something, and a folder once it asked for one.
    is_silent = record.get("started_at") is not None and (bool(record.get("shared")) or place.stdout.parent.is_dir())
    try:
        return Captured(number, place.stdout, _end(place.stdout, is_silent), _end(place.stderr, is_silent))
    except FileNotFoundError as problem:
        if record.get("started_at") is None and record.get("ended_at") is None:
            raise Error(f"Attempt {number} of task {task_id} has not started yet; ask again in a moment.") from problem
        raise Error(
            f"There is no output of attempt {number} of task {task_id} at {place.stdout}: it never came to run here, "
            "its folder was removed, or its worker had another state directory (PROOFQ_STATE_DIR)."
        ) from problem
    except OSError as problem:
        raise Error(f"The output of attempt {number} cannot be read: {problem}. Ask as the worker's user.") from problem


def elsewhere(task_id: str, record: Mapping[str, Any]) -> Error:
    """Says on which host the output of an attempt is kept."""
    number = record["n"]
    return Error(
        f"Attempt {number} of task {task_id} ran on host {record.get('host')}, and its output is kept there: "
        f"run `proofq logs {task_id} --attempt {number}` on that host."
    )


def record_of(task_id: str, state: str, records: Sequence[Mapping[str, Any]], attempt: int | None) -> Mapping[str, Any]:
    """The record of one attempt (None: the newest). Raises Error where there is none."""
    if not records:
        raise Error(f"Task {task_id} is {state} and has not begun any attempt, so it has printed nothing.")
    if attempt is None:
        return records[-1]
    for record in records:
        if int(record["n"]) == attempt:
            return record
    raise Error(f"Task {task_id} has no attempt {attempt}; it has begun {len(records)}: --attempt 1 to {len(records)}.")


def _tail(path: Path) -> str:
    descriptor = open_regular(path)
    try:
        begin = max(0, os.fstat(descriptor).st_size - TAIL_BYTES)
        return os.pread(descriptor, TAIL_BYTES, begin).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def _end(path: Path, is_silent: bool) -> str:
    """The end of one stream; '' where there is none of an attempt that may have printed nothing."""
    try:
        return _tail(path)
    except FileNotFoundError:
        if is_silent:
            return ""
        raise
