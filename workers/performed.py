"""A started agent with all that is known of it beside its process: what it said live, and its transcript."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from proofq.policies import redaction
from proofq.policies.ended import Ending
from proofq.workers.listener import Listener
from proofq.workers.running import Running


class Performed:
    """An attempt's `Running`. `transcript` reads the end of the newest one, b"" where there is none."""

    def __init__(
        self,
        running: Running,
        listener: Listener | None,
        transcript: Callable[[], bytes],
        secrets: Collection[str],
        *,
        shared: bool,
    ) -> None:
        self.shared = shared
        self.started_s = running.started_s
        self.pid = running.pid
        self.start_ticks = running.start_ticks
        self.kill = running.kill
        self.wait_ended = running.wait_ended
        self.when_ended = running.when_ended
        self._running = running
        self._listener = listener
        self._transcript = transcript
        self._secrets = secrets

    @property
    def heard_s(self) -> float:
        """As `Running.heard_s`."""
        return self._running.heard_s

    @property
    def progress(self) -> tuple[int, str]:
        """As `Running.progress`, with what is secret hidden."""
        number, evidence = self._running.progress
        return number, redaction.without(evidence, self._secrets)

    def ending(self) -> Ending:
        """As `Running.ending`, with what was heard and written down."""
        heard = self._listener.failure if self._listener is not None else None
        return replace(self._running.ending(), live=heard, transcript_end=self._transcript())
