"""One async attempt as its supervisor sees it: a task in a host, with the duties of a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from proofq.policies import redaction
from proofq.policies.ended import Ending
from proofq.policies.sharing import REPLACED, SHARED_DEATH, Fate
from proofq.workers.once import Once
from proofq.workers.output import Capture
from proofq.workers.report import ReportReader
from proofq.workers.running import GRACE_S


class AsyncRunning:
    """An attempt's `Running`. Thread-safe where `Running` is; `take` and `end` are its host's.

    `files` gives those of stdout and stderr, which are made once something is printed. `secrets` are hidden wherever it
    stands.
    """

    def __init__(self, files: Callable[[], tuple[Path, Path]], secrets: Collection[str]) -> None:
        self.pid = 0
        self.start_ticks = 0
        self.shared = True
        #: Its number in its host; 0 before it has one.
        self.number = 0
        #: What it was first asked to stop for, and when it must have ended, by the boot clock.
        self.stopped = ""
        self.kill_at: float | None = None
        self.heard_s = 0.0
        self.started_s = 0.0
        self._told_s = 0.0
        #: Given each question, in its host's thread; must neither wait nor raise.
        self.on_ask: Callable[[Any], None] | None = None
        self._files = files
        self._secrets = secrets
        self._captures: dict[str, Capture] = {}
        self._report = ReportReader(silent=False)
        self._cancel: Callable[[AsyncRunning, str, float], None] = lambda *_: None
        self._has_begun: Callable[[], bool] = lambda: False
        self._up = Once()
        self._over = Once()
        self._ending: Ending | None = None

    def attach(
        self,
        number: int,
        pid: int,
        start_ticks: int,
        cancel: Callable[[AsyncRunning, str, float], None],
        has_begun: Callable[[], bool],
        now_s: float,
    ) -> None:
        """It is about to be in a host. `has_begun`: whether that has made its task, asked while it is there."""
        self._report.on_ask = self.on_ask
        self.number, self.pid, self.start_ticks, self._cancel = number, pid, start_ticks, cancel
        self._has_begun, self._told_s = has_begun, now_s

    def wait_started(self, timeout_s: float | None) -> bool:
        """True once the start is confirmed; False at the timeout, or when it ended without having started."""
        if not self.look():
            self._up.wait(timeout_s)
        return self.started_s > 0

    def wait_ended(self, timeout_s: float | None) -> bool:
        """True once its task and those that it made have ended, or their process has; False at the timeout."""
        return self._over.wait(timeout_s)

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have `call` called once that is so, at once where it is; it must neither wait nor raise."""
        self._over.when(call)

    def kill(self, reason: str, grace_s: float = GRACE_S) -> None:
        """Cancel it; whoever outlives that by `grace_s` loses its process. Returns at once, the first reason stays."""
        if not self._over.is_set():
            self._cancel(self, reason, grace_s)

    @property
    def progress(self) -> tuple[int, str]:
        """How often `ctx.progress` gave new evidence, and the latest, as JSON, with what is secret hidden."""
        return self._report.progress_count, redaction.without(self._report.progress, self._secrets)

    def ending(self) -> Ending:
        """How it ended. Only after `wait_ended` said True."""
        if self._ending is None:
            raise RuntimeError("asked for the ending of an attempt that runs")
        return self._ending

    @property
    def blameless(self) -> bool:
        """Whether it ended only because its process did, of which nobody says that it was its doing."""
        return self._ending is not None and self._ending.killed_by in (REPLACED, SHARED_DEATH)

    # --- for its host ---

    def look(self) -> bool:
        """Whether it has begun, now that somebody looks: a host says nothing of that by itself."""
        if not self._up.is_set() and self._has_begun():
            self._began()
        return self._up.is_set()

    def _began(self) -> None:
        # Nothing of it ran earlier, and what it did at once is not older than its start.
        self.started_s = self._told_s
        self._up.set()

    def take(self, body: Mapping[str, Any], now_s: float) -> None:
        """What the host says of it."""
        if not self.started_s:
            self._began()
        for name in ("stdout", "stderr"):
            if name in body:
                self._capture(name).write(body[name].encode("utf-8", "backslashreplace"))
                self.heard_s = now_s
        if "report" in body:
            told = self._report.progress_count
            self._report.feed(body["report"].encode("utf-8"))
            self.heard_s = now_s if self._report.progress_count > told else self.heard_s

    def end(self, fate: Fate, exit_code: int | None, signum: int | None, last_words: bytes = b"") -> None:
        """It is over, and nothing of it runs any more. `last_words`: what its process said, where it was alone."""
        for capture in self._captures.values():
            capture.close()
        stdout, stderr = self._tail("stdout"), self._tail("stderr") + last_words
        self._ending = Ending(
            exit_code,
            signum,
            fate.killed_by,
            self._report.last,
            (stdout + stderr).decode("utf-8", "replace"),
            stderr_tail=stderr.decode("utf-8", "replace"),
            live=fate.failure,
            steps=self._report.steps,
            output_bytes=sum(capture.total for capture in self._captures.values()),
        )
        self._up.set()
        self._over.set()

    def _tail(self, name: str) -> bytes:
        return self._captures[name].tail() if name in self._captures else b""

    def _capture(self, name: str) -> Capture:
        if name not in self._captures:
            path = self._files()[name == "stderr"]
            self._captures[name] = Capture(path, secrets=self._secrets, makes=True)
        return self._captures[name]
