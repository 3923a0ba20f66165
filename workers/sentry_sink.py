"""Incidents as events of Sentry, through sentry-sdk: one event an incident, sent by whoever tells it.

A client of its own and nothing else of the SDK: no integration, no global scope, no stack and no variable, so that it
sees nothing of agents, and whoever uses sentry-sdk in an agent is not disturbed. What is killed is reported as well,
since it is a supervisor that speaks, of what was settled.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import proofq
from proofq.workers.notify import Notice

#: The variable that every Sentry SDK reads; a secret, so it comes by no other way.
VARIABLE: Final = "SENTRY_DSN"
#: Seconds for a connection and for an answer.
TIMEOUT_S: Final = 5
#: What an event may hold; everything else that the SDK adds is taken off again.
_KEPT: Final = frozenset(
    {"event_id", "timestamp", "platform", "level", "logger", "logentry", "message", "fingerprint", "tags", "extra",
     "release", "environment", "sdk"}
)  # fmt: skip
#: Fields of an incident that go along. The SDK cuts off what is more than ten.
_EXTRA: Final = frozenset(
    {"severity", "count", "tasks", "first_task", "last_task", "first_at", "last_at", "opened_at", "notifications"}
)
_LEVELS: Final = {"critical": "fatal", "error": "error", "warning": "warning", "info": "info"}


class Refused(Exception):
    """Sentry took the connection, and not the event."""


class SentrySink:
    """Sends to the project of a DSN. ValueError for one that is none; its words hold no part of it."""

    name = "sentry"
    once = True

    def __init__(self, dsn: str) -> None:
        # Imported here: a worker without a DSN needs none of it.
        from sentry_sdk.utils import BadDsn, Dsn

        # What went wrong is told by whoever sends, once and without an address.
        for talker in ("sentry_sdk.errors", "urllib3.connectionpool"):
            logging.getLogger(talker).setLevel(logging.CRITICAL)
        try:
            Dsn(dsn)
        except BadDsn:
            raise ValueError(f"{VARIABLE} is no DSN; it looks like https://KEY@HOST/PROJECT") from None
        self._dsn = dsn
        self._client: Any = None

    def send(self, notice: Notice) -> None:
        """One event, delivered when this returns; raises what the transport raises, or Refused."""
        self._opened().capture_event(event(notice))

    def _opened(self) -> Any:
        if self._client is None:
            from sentry_sdk.client import Client

            self._client = Client(
                dsn=self._dsn,
                transport=_transport(),
                default_integrations=False,
                auto_enabling_integrations=False,
                integrations=[],
                include_local_variables=False,
                include_source_context=False,
                attach_stacktrace=False,
                auto_session_tracking=False,
                send_client_reports=False,
                max_breadcrumbs=0,
                shutdown_timeout=0,
                server_name="",
                release=f"proofq@{proofq.__version__}",
                # The SDK may add nothing about hosts, users or calls: whatever it does, this is what leaves.
                before_send=_only_ours,
                spotlight=False,
                debug=False,
            )
        return self._client


def event(notice: Notice) -> dict[str, Any]:
    """The event of a notice: classes, names, counts and ids. No reason, no input, no name of a host."""
    one = notice.incident
    tags = {
        "class": one.kind,
        "provider": one.provider,
        "agent": one.agent,
        "incident": one.id,
        "occurrences": str(one.count),
        "proofq_fingerprint": one.fingerprint,
    }
    return {
        "level": _LEVELS.get(notice.level, "error"),
        "logger": "proofq.incident",
        "message": one.title,
        "fingerprint": ["proofq", one.cause],
        "tags": {name: value for name, value in tags.items() if value},
        "extra": {name: value for name, value in one.to_dict().items() if name in _EXTRA},
    }


def _only_ours(found: Any, _hint: object) -> Any:
    return {name: value for name, value in found.items() if name in _KEPT}


def _transport() -> type:
    from sentry_sdk.transport import HttpTransport

    class Direct(HttpTransport):
        """Sends while its caller waits, who then knows whether it arrived; no thread and no queue of its own."""

        TIMEOUT = TIMEOUT_S

        def capture_envelope(self, envelope: Any) -> None:
            self._send_envelope(envelope)

        def on_dropped_event(self, reason: str) -> None:
            raise Refused(reason)

    return Direct
