"""What Redis holds of a task, read into frozen values: the task, its attempts, its breadcrumbs, a lease."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proofq.policies.failure import Failure
from proofq.policies.fast_dataclass import fast_dataclass
from proofq.policies.gate import Admission
from proofq.policies.lifecycle import STATES
from proofq.policies.settlement import TaskFacts
from proofq.workers import packed


def _number(row: Mapping[str, str], name: str) -> int | None:
    value = row.get(name)
    return int(float(value)) if value else None


def _json(row: Mapping[str, str], name: str) -> Any:
    value = row.get(name)
    return json.loads(value) if value else None


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"{text:.40} is no JSON object")
    return value


def _texts(raw: Sequence[bytes], errors: str) -> list[str]:
    """Each of them decoded: all at once where none holds a NUL, which is nearly always and a third of the work."""
    texts = b"\0".join(raw).decode("utf-8", errors).split("\0")
    return texts if len(texts) == len(raw) else [each.decode("utf-8", errors) for each in raw]


@fast_dataclass(frozen=True)
class Task:
    """The current fields of one task. Times are epoch milliseconds of the Redis server.

    `attempt` counts attempts begun, `counted` those that count against `max_attempts`; `pickups` counts leases since
    the last confirmed start, `deaths` owners that died holding it; `fingerprint` and `equal_failures` say how often in
    a row it failed in the same way.
    """

    id: str
    agent: str
    lane: str
    queue: str
    state: str
    inputs: dict[str, Any]
    enqueued_at: int
    expires_at: int
    max_age_s: float
    attempt: int = 0
    counted: int = 0
    max_attempts: int = 3
    pickups: int = 0
    deaths: int = 0
    fingerprint: str = ""
    equal_failures: int = 0
    fence: str = ""
    owner: str = ""
    slot: str = ""
    #: Where the open attempt runs, or ran before its lease was taken over.
    host: str = ""
    cancel: bool = False
    #: It was charged with deaths, and this attempt is the one that may start.
    trial: bool = False
    not_before: int | None = None
    #: What it was asked to wait for, and what of that has yet to end in success.
    after: tuple[str, ...] = ()
    after_open: tuple[str, ...] = ()
    started_at: int | None = None
    ended_at: int | None = None
    failure: Failure | None = None
    verdict: dict[str, Any] | None = None
    claim: Any = None
    baseline: dict[str, Any] | None = None
    #: What was spent on it since its last replay, by dimension in whole numbers; see `policies.budget`.
    spent: Mapping[str, int] = field(default_factory=dict)
    fields: frozenset[str] = field(default_factory=frozenset)

    @property
    def facts(self) -> TaskFacts:
        """What settlement judges by."""
        return TaskFacts(
            self.state, self.attempt, self.counted, self.max_attempts, self.pickups, self.deaths, self.fingerprint,
            self.equal_failures, self.cancel,
        )  # fmt: skip

    @classmethod
    def parse(cls, task_id: str, raw: Mapping[bytes, bytes] | Sequence[bytes]) -> Task:
        """From HGETALL, as a mapping or as the flat list that a script returns. ValueError for a row that is none."""
        names, values = (list(raw), list(raw.values())) if isinstance(raw, Mapping) else (raw[::2], raw[1::2])
        row = dict(zip(_texts(names, "strict"), _texts(values, "surrogateescape"), strict=True))
        return cls.read(task_id, row)

    @classmethod
    def read(cls, task_id: str, row: Mapping[str, str]) -> Task:
        """From the fields as text. ValueError for a row that is none."""
        try:
            if packed.is_packed(row):
                row = packed.whole(row)
            failure = _json(row, "failure")
            if row["state"] not in STATES or row["queue"] != f"{row['lane']}.{row['agent']}":
                raise ValueError(f"state {row['state']!r:.40}, queue {row['queue']!r:.80}")
            return cls(
                id=task_id,
                agent=row["agent"],
                lane=row["lane"],
                queue=row["queue"],
                state=row["state"],
                inputs=_object(row["inputs"]),
                enqueued_at=int(float(row["enqueued_at"])),
                expires_at=int(float(row["expires_at"])),
                max_age_s=float(row["max_age_s"]),
                attempt=int(row["attempt"]),
                counted=int(row["counted"]),
                max_attempts=int(row["max_attempts"]),
                pickups=int(row.get("pickups", 0)),
                deaths=int(row.get("deaths", 0)),
                fingerprint=row.get("fingerprint", ""),
                equal_failures=int(row.get("equal_failures", 0)),
                fence=row.get("fence", ""),
                owner=row.get("owner", ""),
                slot=row.get("slot", ""),
                host=row.get("host", ""),
                cancel=bool(row.get("cancel")),
                trial=bool(row.get("trial")),
                not_before=_number(row, "not_before"),
                after=tuple(_json(row, "after") or ()),
                after_open=tuple(_json(row, "after_open") or ()),
                started_at=_number(row, "started_at"),
                ended_at=_number(row, "ended_at"),
                failure=Failure.from_dict(failure) if failure else None,
                verdict=_json(row, "verdict"),
                claim=_json(row, "claim"),
                baseline=_json(row, "baseline"),
                spent={name: int(amount) for name, amount in ((_json(row, "spent") or {}).get("sum") or {}).items()},
                fields=frozenset(row),
            )
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
            raise ValueError(f"the row of task {task_id} cannot be read: {problem!r:.200}") from problem


@fast_dataclass(frozen=True)
class Lease:
    """The right to settle one attempt: the task as it was granted, and the fence that every write is compared with.

    `admission`: how it was let through its provider's gate; None for an agent without a provider, and for a lease that
    was taken over.
    """

    task: Task
    fence: str
    owner: str
    slot: str
    admission: Admission | None = None

    def moved(self, fields: Mapping[str, Any]) -> Lease:
        """The same lease, of its task with these fields anew. As two `dataclasses.replace`, at an eighth of the price:
        each step of each attempt is one."""
        task, lease = object.__new__(Task), object.__new__(Lease)
        task.__dict__.update(self.task.__dict__, **fields)
        lease.__dict__.update(self.__dict__, task=task)
        return lease


@dataclass(frozen=True)
class Breadcrumb:
    """One transition: append-only, one per event. `source` is the state before (None for the first)."""

    at: int
    source: str | None
    event: str
    to: str
    reason: str
    attempt: int
    fence: str
    who: str
    request: str = ""
    evidence: str = ""

    @classmethod
    def parse(cls, raw: str) -> Breadcrumb:
        return cls(*json.loads(raw))


def parse_attempts(raw: Mapping[str, str]) -> list[dict[str, Any]]:
    """The records of a task's attempts, in order."""
    return sorted((json.loads(value) for value in raw.values()), key=lambda record: int(record["n"]))
