"""Where a task's files live on its host: one folder per task, one per attempt in it. All private to the user."""

from __future__ import annotations

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
    def home(self) -> Path:
        return Path(f"{self.task}/home")

    @property
    def tmp(self) -> Path:
        return Path(self.task, "tmp")

    @property
    def stdout(self) -> Path:
        return Path(f"{self.attempt}/stdout")

    @property
    def stderr(self) -> Path:
        return Path(f"{self.attempt}/stderr")

    def make(self) -> None:
        """Creates what is missing, mode 0700. OSError where the host does not let us."""
        make(self.task, str(self.home), str(self.tmp), self.attempt, self.work)

    def make_shared(self) -> None:
        """Creates what an attempt has that shares its process, and so HOME and TMPDIR; else as `make`."""
        make(self.task, self.attempt, self.work)


def make(*folders: str) -> None:
    """Creates these where they are missing, mode 0700, each after what is above it. OSError."""
    for folder in folders:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)


def of(state_dir: Path, task_id: str, attempt: int) -> Places:
    """Of one attempt."""
    task = f"{state_dir}/tasks/{task_id}"
    return Places(task, f"{task}/{attempt}")
