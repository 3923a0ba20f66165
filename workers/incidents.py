"""Incidents in Redis: one cause, however many tasks it hits. Reads, and the verbs of `lua/incident.lua`.

What failed attempts tell is counted in the step that settles them (`lua/settling.lua`), so that none counts twice and
none is lost with a supervisor. `report` here is for failures that no attempt had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proofq.policies import incident
from proofq.policies.agent import AgentSpec
from proofq.policies.failure import Failure
from proofq.policies.incident_rules import Rules
from proofq.workers import keys
from proofq.workers.clock import Clock, iso
from proofq.workers.errors import Refused, UnknownIncident
from proofq.workers.insist import insist, tries
from proofq.workers.reading import reading, text
from proofq.workers.rq_view import compact
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

#: Seconds for which whoever claimed a notification may take to tell it, and how often one that was claimed and not told
#: is claimed again.
CLAIM_S: Final = 60.0
CLAIMS: Final = 3


@dataclass(frozen=True)
class Incident:
    """One incident. Times are epoch milliseconds of Redis, None where it never came to that; "" is nobody or nothing.

    `count`: failures; `tasks`: how many tasks had them. `notified`: notifications sent; `delivered`: sinks that have
    it; `problem`: what went wrong when it was told last; `pending`: sinks that are to be given the last one once more,
    which were given it `tries` times. `parked`: nobody is told again.
    """

    id: str
    state: str
    severity: str
    kind: str
    provider: str
    agent: str
    fingerprint: str
    reason: str
    cause: str
    count: int = 0
    tasks: int = 0
    first_task: str = ""
    last_task: str = ""
    samples: tuple[str, ...] = ()
    times: Mapping[str, int | None] = field(default_factory=dict)
    acked_by: str = ""
    closed_by: str = ""
    notified: int = 0
    delivered: tuple[str, ...] = ()
    problem: str = ""
    pending: tuple[str, ...] = ()
    tries: int = 0
    parked: bool = False

    @classmethod
    def parse(cls, incident_id: str, raw: Mapping[bytes, bytes] | Sequence[bytes]) -> Incident:
        """From HGETALL, as a mapping or as the flat list that a script returns; a broken value is none."""
        if not isinstance(raw, Mapping):
            raw = dict(zip(raw[::2], raw[1::2], strict=True))
        row = {text(name): text(value) for name, value in raw.items()}
        words = ("severity", "provider", "agent", "fingerprint", "reason", "cause")
        return cls(
            id=incident_id,
            state=row.get("state", incident.SEEN),
            kind=row.get("class", ""),
            **{name: row.get(name, "") for name in (*words, *_NAMED)},
            count=_number(row, "count") or 0,
            tasks=_number(row, "tasks") or 0,
            samples=_texts(row.get("samples", "")),
            times={name: _number(row, f"{name}_at") for name in _TIMES},
            notified=_number(row, "notified") or 0,
            delivered=tuple(row.get("delivered", "").split()),
            pending=tuple(row.get("pending", "").split()),
            tries=_number(row, "tries") or 0,
            parked=row.get("parked") == "1",
        )

    @property
    def escalations(self) -> int:
        """Notifications after the first."""
        return max(0, self.notified - 1)

    @property
    def title(self) -> str:
        """It in a line."""
        return incident.title(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """An item of `proofq incident list`; the names are stable."""
        return {
            "id": self.id,
            "state": self.state,
            "severity": self.severity,
            "class": self.kind,
            "provider": self.provider or None,
            "agent": self.agent or None,
            "fingerprint": self.fingerprint,
            "count": self.count,
            "tasks": self.tasks,
            "first_task": self.first_task or None,
            "last_task": self.last_task or None,
            **{f"{name}_at": iso(self.times.get(name)) for name in _TIMES},
            "acked_by": self.acked_by or None,
            "closed_by": self.closed_by or None,
            "notifications": self.notified,
            "escalations": self.escalations,
            "parked": self.parked,
            "reason": self.reason,
        }


_NAMED: Final = ("first_task", "last_task", "acked_by", "closed_by", "problem")
_TIMES: Final = ("first", "last", "opened", "notified", "acked", "closed")


@dataclass(frozen=True)
class Reporting:
    """What a door says of a failure, for the script that settles it. `providers`: agent -> its provider."""

    rules: Rules
    providers: Mapping[str, str]
    clock: Clock

    @classmethod
    def of_agents(cls, rules: Rules, agents: Mapping[str, AgentSpec], clock: Clock) -> Reporting:
        """For a worker that declares these."""
        return cls(rules, {name: spec.provider or "" for name, spec in agents.items()}, clock)

    def of(self, failure: Failure, agent: str) -> dict[str, Any]:
        """Empty where the failure is nobody's trouble."""
        said = incident.report(failure, agent, self.providers.get(agent, ""), self.rules)
        return {} if said is None else {**said, "id": f"{said['cause'][:6]}{self.clock.token()}"}


def report(store: Store, said: Mapping[str, Any], task_id: str) -> str:
    """Counts a failure that no attempt had: a job that is refused as it is adopted, say. `said`: of `Reporting`.

    Told again of the same task it counts once. Gives the incident's id, "" where it is nobody's trouble. Raises
    RedisUnavailable and DamagedKey.
    """
    if not said:
        return ""
    plan = compact(said).encode("utf-8", "replace")
    answer = insist(lambda: store.call("incident", "report", plan, task_id), store.clock, tries())
    return text(answer[1]) if len(answer) > 1 else ""


def claim(store: Store, token: str, limit: int, *, overdue_s: float = 0.0, early: bool = False) -> list[Incident]:
    """Takes notifications to be told, at most `limit`, for `CLAIM_S`: nobody else is given them meanwhile.

    `overdue_s`: only those due for so long. `early`: also first ones that still gather. Raises RedisUnavailable.
    """
    answer = store.call(
        "incident", "claim", token, round(CLAIM_S * 1000), limit, round(overdue_s * 1000), CLAIMS, "1" if early else ""
    )
    flat = answer[2]
    return [Incident.parse(text(name), row) for name, row in zip(flat[::2], flat[1::2], strict=True)]


def told(
    store: Store,
    token: str,
    incident_id: str,
    delivered: Sequence[str],
    problem: str,
    again_s: float | None = None,
    pending: Sequence[str] = (),
) -> bool:
    """Ends a claim: the next escalation is due from now on, or with `again_s` the same notification once more, for the
    sinks that are `pending`; False where the claim was lost. Raises RedisUnavailable."""
    again = "" if again_s is None else round(again_s * 1000)
    said = (" ".join(delivered), problem[:300], again, " ".join(pending))
    answer = insist(lambda: store.call("incident", "told", token, incident_id, *said), store.clock, tries())
    return bool(answer[0] == b"done")


def acknowledge(store: Store, incident_id: str, who: str) -> bool:
    """Somebody is at it: failures are still counted, and nobody is told any more. False: it was so already."""
    return _act(store, "ack", incident_id, who)


def close(store: Store, incident_id: str, who: str) -> bool:
    """It is over: the next equal failures are another incident. False: it was so already."""
    return _act(store, "close", incident_id, who)


def _act(store: Store, verb: str, incident_id: str, who: str) -> bool:
    """Raises UnknownIncident, Refused, RedisUnavailable, DamagedKey."""
    incident_id = _possible(incident_id)
    answer = insist(lambda: store.call("incident", verb, incident_id, who), store.clock, tries())
    if answer[0] == b"unknown":
        raise unknown(incident_id)
    if answer[0] == b"refused":
        raise Refused(f"Incident {incident_id} is {text(answer[1])}; a new failure of its cause opens another one.")
    return bool(answer[0] == b"done")


def unknown(incident_id: str) -> UnknownIncident:
    """For an id that no incident has."""
    return UnknownIncident(f"No incident has the id {incident_id!r:.80}. `proofq incident list` lists those there are.")


def _possible(incident_id: str) -> str:
    """The id; UnknownIncident for bytes of a command line that are no text, which Redis could not be asked for."""
    if not incident_id.isascii():
        raise unknown(incident_id)
    return incident_id


def read(store: Store, incident_id: str) -> Incident:
    """One incident, seen or opened. Raises UnknownIncident, DamagedKey, RedisUnavailable."""
    incident_id = _possible(incident_id)
    with reading(keys.incident(incident_id)):
        row = store.client.hgetall(keys.incident(incident_id))
    if not row:
        raise unknown(incident_id)
    return Incident.parse(incident_id, row)


def sentence_of(store: Store, incident_id: str) -> str:
    """What `why` says of it; "" where it is not there any more. Raises RedisUnavailable."""
    try:
        return incident.sentence(read(store, incident_id).to_dict())
    except (UnknownIncident, DamagedKey):
        return ""


def every(store: Store, *, seen: bool = False) -> list[Incident]:
    """Those that opened (`seen`: and those that did not), what wants somebody first, then the most frequent.

    Raises DamagedKey and RedisUnavailable.
    """
    ids: list[bytes] = []
    for key in (keys.INCIDENTS, keys.SEEN)[: 2 if seen else 1]:
        with reading(key):
            ids += store.client.zrevrange(key, 0, -1)
    with reading(keys.INCIDENTS), store.client.pipeline(transaction=False) as pipe:
        for name in ids:
            pipe.hgetall(keys.incident(text(name)))
        rows = pipe.execute(raise_on_error=False)
    found = [
        Incident.parse(text(name), row) for name, row in zip(ids, rows, strict=True) if isinstance(row, dict) and row
    ]
    return sorted(found, key=_rank)


def unclosed(store: Store) -> list[Incident]:
    """The open and the acknowledged, in the same order. Keys that are strangers' count as none: `audit` names them."""
    try:
        found = every(store)
    except DamagedKey:
        return []
    return [one for one in found if one.state in (incident.OPEN, incident.ACKED)]


def _rank(one: Incident) -> tuple[int, int, int]:
    state = incident.STATES.index(one.state) if one.state in incident.STATES else len(incident.STATES)
    level = list(incident.SEVERITIES).index(one.severity) if one.severity in incident.SEVERITIES else 0
    return state, -level, -one.count


def _number(row: Mapping[str, str], name: str) -> int | None:
    try:
        return int(float(row[name]))
    except (KeyError, ValueError, OverflowError):
        return None


def _texts(raw: str) -> tuple[str, ...]:
    try:
        found = json.loads(raw)
    except ValueError:
        return ()
    return tuple(str(one) for one in found) if isinstance(found, list) else ()
