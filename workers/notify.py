"""Tells people of incidents: a line in the log, and the sinks that are set up. In a thread of its own.

Redis is the queue: what is due stands there, and each worker claims a few at a time, so that of any number of workers
one tells it. Nothing here is in the way of a settlement, and a sink that fails or hangs costs a line in the log. Who is
killed between telling and saying so leaves the claim to time out; then somebody else tells it again: once too often
rather than never.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from proofq.policies import incident
from proofq.workers import incidents, keys
from proofq.workers.errors import RedisUnavailable
from proofq.workers.incidents import Incident
from proofq.workers.reading import reading
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

log = logging.getLogger(__name__)

#: Seconds that a sink may take. All of them together stay below the time for which a notification is claimed.
SINK_S: Final = 10.0
#: Notifications claimed in one go: those that all sinks take long for are told before the claim ends.
AT_ONCE: Final = 2
#: A worker without any sink only logs, so it leaves a notification to those that have some for so long.
NO_SINK_S: Final = 30.0
#: Seconds that a leaving worker may take to tell what is due.
LEAVING_S: Final = 3.0


@dataclass(frozen=True)
class Notice:
    """One notification. `level` is the severity as it is told, raised by each escalation; `escalation` is 0 first."""

    incident: Incident
    level: str
    escalation: int

    @property
    def title(self) -> str:
        again = f"still open (escalation {self.escalation}): " if self.escalation else ""
        return f"[proofq] {self.level}: {again}{self.incident.title}"

    @property
    def body(self) -> str:
        """No reason and no input of a task: those stay in Redis, where the commands named here show them."""
        one = self.incident
        lines = [
            f"{one.count} failures of {one.tasks} tasks, class {one.kind}.",
            f"First task {one.first_task or '-'}, last task {one.last_task or '-'}.",
            f"Look: proofq incident show {one.id}. Quiet it: proofq incident ack {one.id}.",
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """As fields of a log line."""
        one = self.incident
        return {
            "incident": one.id,
            "severity": self.level,
            "class": one.kind,
            "of": one.provider or one.agent,
            "failures": one.count,
            "tasks": one.tasks,
            "escalation": self.escalation,
        }


class Sink(Protocol):
    """Where notices go. `once`: it groups by itself, so it gets the first one only."""

    name: str
    once: bool

    def send(self, notice: Notice) -> None:
        """Raises whatever goes wrong; the caller bounds the time."""


class Notifier:
    """Claims what is due and tells it, whenever it is woken."""

    def __init__(self, store: Store, sinks: Sequence[Sink]) -> None:
        self._store = store
        self._lines = [_Line(sink) for sink in sinks]
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something is due, or may be; returns at once."""
        self._wake.set()

    def leave(self) -> None:
        """Tells what is due and what still gathers, for `LEAVING_S` at most; nobody may be there to do it later.

        Without a sink only the last worker does.
        """
        self._stop = True
        self.wake()
        self._thread.join(LEAVING_S)

    def tell_due(self, *, early: bool = False) -> int:
        """One round. How many were told. Raises RedisUnavailable and DamagedKey."""
        token = self._store.clock.token()
        early = early and (bool(self._lines) or self._is_last())
        overdue_s = 0.0 if self._lines or early else NO_SINK_S
        with self._one_at_a_time:
            due = incidents.claim(self._store, token, AT_ONCE, overdue_s=overdue_s, early=early)
            for one in due:
                self._tell(token, one)
        return len(due)

    def _is_last(self) -> bool:
        """Whether no other worker is there, who may have a sink."""
        with reading(keys.OWNERS):
            return not self._store.client.zcard(keys.OWNERS)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            leaving = self._stop
            try:
                while self.tell_due(early=leaving):
                    pass
            except (RedisUnavailable, DamagedKey) as problem:
                log.warning("incidents_untold", extra={"problem": str(problem)})
            except Exception:
                log.exception("notify_error")
            if leaving:
                return

    def _tell(self, token: str, one: Incident) -> None:
        # Given once more to those that did not take it, it is the same one.
        escalation = one.notified - bool(one.pending)
        notice = Notice(one, incident.raised(one.severity, escalation), escalation)
        if not one.pending:
            log.error("incident", extra=notice.to_dict())
        delivered, problems = list(one.delivered), {}
        for name, line in self._wanted(one).items():
            problem = line.send(notice) if line else "no worker that told it has it"
            if problem:
                problems[name] = problem
                log.error("sink_failed", extra={"sink": name, "incident": one.id, "problem": problem})
            elif name not in delivered:
                delivered.append(name)
        said = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        again_s = incident.again_s(one.tries + 1) if problems else None
        incidents.told(self._store, token, one.id, delivered, said, again_s, tuple(problems))

    def _wanted(self, one: Incident) -> dict[str, _Line | None]:
        """The sinks that are to be given this one; None for one that another worker has."""
        mine = {line.sink.name: line for line in self._lines}
        if one.pending:
            return {name: mine.get(name) for name in one.pending}
        return {name: line for name, line in mine.items() if not (line.sink.once and name in one.delivered)}


class _Line:
    """A sink behind a thread that can be given up: one that hangs keeps its thread, and is sent nothing more until it
    comes back, so that there is never more than one such thread of it."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._busy: threading.Thread | None = None

    def send(self, notice: Notice) -> str:
        """What went wrong, '' when it was taken. Never raises, never takes longer than `SINK_S`."""
        if self._busy is not None and self._busy.is_alive():
            return "it still hangs on an earlier one"
        outcome: list[str] = []

        def work() -> None:
            try:
                self.sink.send(notice)
            except Exception as problem:  # noqa: BLE001 - whatever it is, it is the sink's
                # The words of a client may hold the URL, and that a secret.
                outcome.append(f"{type(problem).__name__}")
            else:
                outcome.append("")

        self._busy = threading.Thread(target=work, name=f"sink-{self.sink.name}", daemon=True)
        self._busy.start()
        self._busy.join(SINK_S)
        return outcome[0] if outcome else f"no answer within {SINK_S:g} s"
