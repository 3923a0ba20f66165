"""Follows what the attempts of a task print, on the host where they run, until the attempt or the task has ended."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from proofq.policies import lifecycle
from proofq.workers import captured, places, task_view
from proofq.workers.captured import Captured
from proofq.workers.clock import iso
from proofq.workers.errors import Error, RedisUnavailable
from proofq.workers.growing import Growing
from proofq.workers.record import Task
from proofq.workers.store import Store

#: Seconds between two looks at the files, and at the task.
READ_S: Final = 0.1
LOOK_S: Final = 0.5
#: How long (seconds) an outage of Redis is waited out.
OUTAGE_S: Final = 120.0


class Follower:
    """Follows one task: `on_text` is given (attempt, "stdout" or "stderr", its path, text) as it comes, `on_note` a
    sentence about what happens. `state_dir` is this host's."""

    def __init__(
        self,
        store: Store,
        task_id: str,
        state_dir: Path,
        on_text: Callable[[int, str, Path, str], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = store.clock
        self._id = task_view.possible_id(task_id)
        self._state_dir = state_dir
        self._on_text = on_text
        self._on_note = on_note
        self._task: Task | None = None
        self._records: list[dict[str, Any]] = []
        self._looked_s = 0.0
        self._answered_s = self._clock.boottime()
        self._noted = ""

    def follow(self, attempt: int | None = None) -> Captured:
        """Until that attempt has ended; without one, the newest and all after it until the task has.

        Returns the end of what the last one printed. Raises UnknownTask; Error where nothing was ever begun, the
        attempt does not exist, or ran on another host; RedisUnavailable once Redis was away for two minutes.
        """
        task = self._look()
        if attempt is not None:
            captured.record_of(self._id, task.state, self._records, attempt)
        number = attempt or max(1, len(self._records))
        # What begins from now on is shown whole.
        tail_bytes = captured.TAIL_BYTES if number <= len(self._records) else None
        while self._wait_for(number):
            self._follow_one(number, tail_bytes)
            if attempt is not None:
                break
            number, tail_bytes = number + 1, None
        last = attempt or (number - 1 if number > 1 else None)
        return captured.read(self._store, self._id, self._state_dir, last)

    # --- one attempt -----------------------------------------------------------------------------------------------

    def _wait_for(self, number: int) -> bool:
        """Wait until an attempt begins; False when the task ends without it."""
        while True:
            task = self._look()
            if len(self._records) >= number:
                return True
            if task.state in lifecycle.TERMINAL:
                return False
            self._note(_waiting(task))
            self._clock.sleep(LOOK_S)

    def _follow_one(self, number: int, tail_bytes: int | None) -> None:
        record = self._record(number)
        if record.get("host") != socket.gethostname():
            raise captured.elsewhere(self._id, record)
        place = places.of(self._state_dir, self._id, number)
        with (
            closing(Growing(place.stdout, tail_bytes)) as stdout,
            closing(Growing(place.stderr, tail_bytes)) as stderr,
        ):
            while True:
                # Looked at before the files: who ends has written all that it will.
                self._look()
                ended = self._record(number)
                over = ended.get("ended_at") is not None
                came = [self._take(number, name, each) for name, each in (("stdout", stdout), ("stderr", stderr))]
                if over and not any(came):
                    break
                if not any(came):
                    self._clock.sleep(READ_S)
            for name, each in (("stdout", stdout), ("stderr", stderr)):
                self._tell(number, name, each, each.rest())
        reason = f": {ended['reason']}" if ended.get("reason") else ""
        self._on_note(f"attempt {number} ended as {ended.get('outcome')}{reason}")

    def _take(self, number: int, name: str, stream: Growing) -> bool:
        try:
            text = stream.read()
        except OSError as problem:
            raise Error(
                f"The output of attempt {number} cannot be read: {problem}. Ask as the worker's user."
            ) from problem
        if stream.lost:
            stream.lost = False
            self._on_note(f"more was printed than is kept: some {name} of attempt {number} is gone")
        self._tell(number, name, stream, text)
        return bool(text)

    def _tell(self, number: int, name: str, stream: Growing, text: str) -> None:
        if text:
            self._on_text(number, name, stream.path, text)

    # --- the task --------------------------------------------------------------------------------------------------

    def _record(self, number: int) -> Mapping[str, Any]:
        return next(record for record in self._records if int(record["n"]) == number)

    def _look(self) -> Task:
        """The task and its attempts as they were at most half a second ago; longer while Redis is away."""
        now_s = self._clock.boottime()
        if self._task is not None and now_s - self._looked_s < LOOK_S:
            return self._task
        self._looked_s = now_s
        try:
            # The task first: an attempt that is there has begun by then, and its end comes with its record.
            task, self._records = self._store.read(self._id), self._store.attempts(self._id)
        except RedisUnavailable:
            if self._task is None or now_s - self._answered_s > OUTAGE_S:
                raise
            self._note("Redis does not answer; still following")
            return self._task
        except ValueError as problem:
            raise Error(f"{problem}. `proofq audit` says what is wrong with it.") from problem
        self._task, self._answered_s = task, now_s
        return task

    def _note(self, sentence: str) -> None:
        """Says it once."""
        if sentence != self._noted:
            self._noted = sentence
            self._on_note(sentence)


def _waiting(task: Task) -> str:
    match task.state:
        case lifecycle.DEFERRED:
            until = f" until {iso(task.not_before)}" if task.not_before else ""
            return f"it is deferred{until}; its next attempt is waited for"
        case lifecycle.HELD:
            return "it is held: nothing more is printed until somebody replays it; Ctrl-C ends the following"
        case _:
            return f"it is {task.state}; its next attempt is waited for"
