"""Cleans the folders of ended tasks from this host: those that are old, and the oldest where all take too much room.

Only what stands in `tasks` of the state directory is touched, and only by name of a task that Redis says has ended
(or, for its age, does not know); and in `async`, what hosts that have ended left there. A task's folder is first moved
away in one step and asked about once more: one that was replayed in that moment gets it back. One cleaner works at a
time per state directory, whichever worker it belongs to.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from proofq.policies import cleaning
from proofq.policies.cleaning import Folder
from proofq.workers import host_folder, keys, statedir, trees
from proofq.workers.reading import reading, text
from proofq.workers.store import Store
from proofq.workers.task_view import TASK_ID
from proofq.workers.trees import Budget, Remover, Spent

log = logging.getLogger(__name__)

#: Seconds between two looks; with a quota, which may be passed quickly, the second.
EVERY_S: Final = 60.0
QUOTA_EVERY_S: Final = 10.0
#: Folders that one look asks about where there is no quota, and files that it removes or measures.
FOLDERS: Final = 2000
ENTRIES: Final = 50_000
_PAGE: Final = 500
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Folders:
    """`files_s`: how long folders of ended tasks stay. `quota`: bytes that all may take; 0 for no bound."""

    def __init__(self, store: Store, state_dir: Path, files_s: float, quota: int) -> None:
        self._store = store
        self._state_dir = state_dir
        self._files_s = files_s
        self._quota = quota
        self._pending: list[str] = []
        #: What an ended task's folder takes does not change: name -> bytes, by the end that it was measured after.
        self._measured: dict[tuple[str, float], int] = {}
        #: Why nothing may be leased; '' while there is room.
        self.full = ""

    @property
    def every_s(self) -> float:
        """Seconds until the next look."""
        return QUOTA_EVERY_S if self._quota else EVERY_S

    def look(self) -> int:
        """Clean a bounded part; how many folders went. Raises RedisUnavailable, DamagedKey, OSError."""
        if not (self._state_dir / "tasks").is_dir():
            return 0
        with self._alone() as (tasks_fd, trash_fd):
            removed = self._clean(tasks_fd, trash_fd)
            self._clean_hosts(trash_fd)
            try:
                for problem in Remover(trash_fd, self._store.clock.token, Budget(ENTRIES)).empty():
                    log.warning("folder_stays", extra={"problem": str(problem)})
            except Spent:
                log.info("folders_go_on", extra={"removed": removed})
            return removed

    def _clean(self, tasks_fd: int, trash_fd: int) -> int:
        folders = self._folders(tasks_fd)
        old = set(cleaning.too_old(folders, self._now_ms(), self._files_s))
        removed = sum(self._away(tasks_fd, trash_fd, one) for one in folders if one.name in old)
        if not self._quota:
            return removed
        left = self._measure(tasks_fd, [one for one in folders if one.name not in old])
        used = sum(one.bytes or 0 for one in left)
        for one in self._chosen(left, used):
            if self._away(tasks_fd, trash_fd, one):
                used -= one.bytes or 0
                removed += 1
        self.full = cleaning.full(used, self._quota)
        return removed

    def _clean_hosts(self, trash_fd: int) -> None:
        """Folders of hosts of async attempts, as long after their end as those of tasks."""
        try:
            hosts_fd = trees.open_directory(self._state_dir / "async")
        except FileNotFoundError:
            return
        try:
            with os.scandir(hosts_fd) as found:
                names = [each.name for each in found]
            # One that was made just now may not be locked yet.
            limit_s = self._now_ms() / 1000 - max(self._files_s, EVERY_S)
            for name in names[:FOLDERS]:
                changed_s = os.stat(name, dir_fd=hosts_fd, follow_symlinks=False).st_mtime
                if changed_s < limit_s and host_folder.is_left(hosts_fd, name):
                    aside = f"{name}.{self._store.clock.token()}"
                    os.rename(name, aside, src_dir_fd=hosts_fd, dst_dir_fd=trash_fd)
        finally:
            os.close(hosts_fd)

    def _chosen(self, folders: Sequence[Folder], used: int) -> list[Folder]:
        by_name = {one.name: one for one in folders}
        return [by_name[name] for name in cleaning.to_make_room(folders, used, self._quota)]

    # --- what there is ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _alone(self) -> Iterator[tuple[int, int]]:
        """Descriptors of the folder of tasks and of the one for what is to go, while no other cleaner works."""
        with contextlib.ExitStack() as opened:

            def closing(descriptor: int) -> int:
                opened.callback(os.close, descriptor)
                return descriptor

            state_fd = closing(trees.open_directory(statedir.make(self._state_dir)))
            lock = closing(os.open("cleaning", _LOCK, 0o600, dir_fd=state_fd))
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileExistsError):
                os.mkdir("trash", 0o700, dir_fd=state_fd)
            yield closing(trees.open_directory("tasks", state_fd)), closing(trees.open_directory("trash", state_fd))

    def _folders(self, tasks_fd: int) -> list[Folder]:
        """All of them where there is a quota, else the next part; what is no folder of a task is left alone."""
        if self._quota or not self._pending:
            with os.scandir(tasks_fd) as found:
                self._pending = [each.name for each in found if each.is_dir(follow_symlinks=False)]
            self._pending = [name for name in self._pending if TASK_ID.fullmatch(name)]
        names, self._pending = self._pending, []
        if not self._quota:
            names, self._pending = names[:FOLDERS], names[FOLDERS:]
        folders = []
        for start in range(0, len(names), _PAGE):
            folders += self._asked(tasks_fd, names[start : start + _PAGE])
        return folders

    def _asked(self, tasks_fd: int, names: Sequence[str]) -> list[Folder]:
        with reading(keys.TASKS), self._store.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.task(name), "state", "ended_at")
            rows = pipe.execute(raise_on_error=False)
        found = []
        for name, row in zip(names, rows, strict=True):
            # A row that cannot be read says nothing of its task: its folder stays.
            state, ended = ("damaged", None) if isinstance(row, Exception) else row
            if state is None:
                with contextlib.suppress(OSError):
                    changed = os.stat(name, dir_fd=tasks_fd, follow_symlinks=False).st_mtime
                    found.append(Folder(name, "", changed * 1000))
            else:
                found.append(Folder(name, text(state) if isinstance(state, bytes) else state, float(ended or "inf")))
        return found

    def _measure(self, tasks_fd: int, folders: Sequence[Folder]) -> list[Folder]:
        """The same with the room they take, as far as one look's budget goes; ended ones are measured once."""
        budget, measured, known = Budget(ENTRIES), [], dict[tuple[str, float], int]()
        for one in folders:
            mark = (one.name, one.ended_ms)
            taken = self._measured.get(mark) if one.removable else None
            if taken is None:
                try:
                    taken = trees.room(tasks_fd, one.name, budget)
                except Spent:
                    taken = None
            if taken is not None and one.removable:
                known[mark] = taken
            measured.append(replace(one, bytes=taken))
        self._measured = known
        return measured

    def _now_ms(self) -> float:
        with reading(keys.TASKS):
            seconds, micros = self._store.client.time()
        return int(seconds) * 1000 + int(micros) / 1000

    # --- how one goes ----------------------------------------------------------------------------------------------

    def _away(self, tasks_fd: int, trash_fd: int, folder: Folder) -> bool:
        """Moves a folder among what is to go, unless its task has begun anew; False if it stays."""
        if not self._as_before(folder):
            return False
        aside = f"{folder.name}.{self._store.clock.token()}"
        try:
            os.rename(folder.name, aside, src_dir_fd=tasks_fd, dst_dir_fd=trash_fd)
        except OSError as problem:
            log.warning("folder_stays", extra={"task": folder.name, "problem": str(problem)})
            return False
        try:
            gone = self._as_before(folder)
        except Exception:
            # Nobody can say what its task does by now.
            self._back(tasks_fd, trash_fd, aside, folder.name)
            raise
        if not gone:
            self._back(tasks_fd, trash_fd, aside, folder.name)
        return gone

    def _as_before(self, folder: Folder) -> bool:
        """Whether its task still stands where it was seen."""
        with reading(keys.task(folder.name)):
            state, ended = self._store.client.hmget(keys.task(folder.name), "state", "ended_at")
        if state is None:
            return not folder.state
        return text(state) == folder.state and float(ended or "inf") == folder.ended_ms

    def _back(self, tasks_fd: int, trash_fd: int, aside: str, name: str) -> None:
        try:
            os.rename(aside, name, src_dir_fd=trash_fd, dst_dir_fd=tasks_fd)
        except OSError as problem:
            # Its next attempt has begun a new one.
            log.warning("folder_lost", extra={"task": name, "problem": str(problem)})
