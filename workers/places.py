"""Where a task's files live on its host: one folder per task, one per attempt in it. All private to the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folders of one attempt.

    `taskdir` survives attempts; `workdir` is fresh for each. HOME is `home`, TMPDIR is `tmp`. Captured output stands
    in `stdout` and `stderr`.
    """

    taskdir: Path
    workdir: Path
    home: Path
    tmp: Path
    stdout: Path
    stderr: Path

    def make(self) -> None:
        """Creates what is missing, mode 0700. OSError where the host does not let us."""
        for folder in (self.taskdir, self.home, self.tmp, self.workdir.parent, self.workdir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make_shared(self) -> None:
        """Creates what an attempt has that shares its process, and so HOME and TMPDIR; else as `make`."""
        for folder in (self.taskdir, self.workdir.parent, self.workdir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def of(state_dir: Path, task_id: str, attempt: int) -> Places:
    """Of one attempt. Each path is made of a text at once: joining them takes thrice as long, for every attempt."""
    task = f"{state_dir}/tasks/{task_id}"
    mine = f"{task}/{attempt}"
    return Places(
        taskdir=Path(task),
        workdir=Path(f"{mine}/work"),
        home=Path(f"{task}/home"),
        tmp=Path(task, "tmp"),
        stdout=Path(f"{mine}/stdout"),
        stderr=Path(f"{mine}/stderr"),
    )
