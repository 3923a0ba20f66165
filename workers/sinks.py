"""Which sinks a worker tells incidents to: what its environment says, under the names that proofq.toml gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from proofq.policies.incident_rules import Rules
from proofq.workers import apprise_sink, sentry_sink
from proofq.workers.notify import Notifier, Sink
from proofq.workers.store import Store

log = logging.getLogger(__name__)

_MAKERS: Final[Mapping[str, Callable[[str], Sink]]] = {
    "apprise": apprise_sink.AppriseSink,
    "sentry": sentry_sink.SentrySink,
}


def variables(rules: Rules) -> dict[str, str]:
    """Sink -> the variable that holds its address. The values are secrets, so they stand in no file of ours."""
    return {"apprise": rules.notify_urls_env, "sentry": sentry_sink.VARIABLE}


def notifier(store: Store, rules: Rules, environ: Mapping[str, str]) -> Notifier:
    """Who tells what is due in `store`; not started yet."""
    return Notifier(store, of(rules, environ))


def of(rules: Rules, environ: Mapping[str, str]) -> list[Sink]:
    """Those whose variable is set. One that cannot be made costs a line in the log, and the worker goes on."""
    found = []
    for name, (sink, problem) in tried(rules, environ).items():
        if sink is None:
            log.error("sink_refused", extra={"sink": name, "problem": problem})
        else:
            found.append(sink)
    return found


def tried(rules: Rules, environ: Mapping[str, str]) -> dict[str, tuple[Sink | None, str]]:
    """Each sink whose variable is set: itself, or why it cannot be made, in words without a secret."""
    found: dict[str, tuple[Sink | None, str]] = {}
    for name, variable in variables(rules).items():
        if not environ.get(variable):
            continue
        try:
            found[name] = _MAKERS[name](environ[variable]), ""
        except ValueError as problem:
            found[name] = None, f"{variable}: {problem}"
        except Exception as problem:  # noqa: BLE001 - a library's own trouble must not keep a worker from starting
            found[name] = None, f"{variable}: {type(problem).__name__}"
    return found
