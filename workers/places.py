"""Where a task's files live on its host: one folder per task, one per attempt in it. All private to the user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folders of one attempt. `task` and `attempt` are those of the task and of its attempt, as texts: a path is
    made of one where somebody wants it, which takes longer than all else.

    `taskdir` survives attempts; `workdir` is fresh for each. HOME is `home`, TMPDIR is `tmp`. Captured output stands
    in `stdout` and `stderr`.
    """

    task: str
    attempt: str

    @property
    def work(self) -> str:
        """The `workdir` as a text."""
        return f"{self.attempt}/work"

    @cached_property
    def taskdir(self) -> Path:
        return Path(self.task)

    @cached_property
    def workdir(self) -> Path:
        return Path(self.work)

    @property
    def home(self) -> str:
        return f"{self.task}/home"

    @property
    def tmp(self) -> str:
        return f"{self.task}/tmp"  # noqa: S108 - a folder of the task's own

    @property
    def stdout(self) -> Path:
        return Path(f"{self.attempt}/stdout")

    @property
    def stderr(self) -> Path:
        return Path(f"{self.attempt}/stderr")

    def make(self) -> None:
        """Creates what is missing, mode 0700. OSError where the host does not let us."""
        make(self.task, self.home, self.tmp, self.attempt, self.work)

    def make_shared(self) -> None:
        """Creates what an attempt has that shares its process, and so HOME and TMPDIR; else as `make`."""
        make(self.task, self.attempt, self.work)


def make(*folders: str) -> None:
    """Creates these where they are missing, mode 0700, each after what is above it. OSError."""
    for folder in folders:
        try:
            # pathlib and os.makedirs say the same in three times as long, five times for each attempt.
            os.mkdir(folder, 0o700)  # noqa: PTH102
        except FileExistsError:
            if not os.path.isdir(folder):  # noqa: PTH112
                raise
        except FileNotFoundError:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)


def of(state_dir: Path, task_id: str, attempt: int) -> Places:
    """Of one attempt."""
    task = f"{state_dir}/tasks/{task_id}"
    return Places(task, f"{task}/{attempt}")
