"""The gates of providers as workers and operators see them: what stands in Redis, and what one can do to it.

Leasing and settling read and move gates in their own steps (lua/gates.lua); here is everything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from proofq.policies import gate
from proofq.policies.agent import Provider
from proofq.policies.gate import Admission
from proofq.workers import keys, rq_view
from proofq.workers.clock import iso
from proofq.workers.errors import Error
from proofq.workers.gate_change import Change
from proofq.workers.insist import insist, tries
from proofq.workers.reading import reading, text
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

#: The state of a gate whose key in Redis is a stranger's.
DAMAGED: Final = "damaged"

Verb = Literal["open", "hold", "isolate"]


class UnknownProvider(Error):
    """No gate is that provider's. The message names those there are."""

    kind = "unknown_provider"


@dataclass(frozen=True)
class Gate:
    """One gate as it stands. Times are epoch milliseconds of Redis; `until` is None where no time opens it."""

    name: str
    state: str
    until: int | None = None
    reason: str = ""
    since: int | None = None
    epoch: int = 0
    #: The task that is its probe at present, '' where none is.
    probe: str = ""
    #: Confirmed: the key is refused ("refused"), or out of credit ("spent").
    suspect: str = ""

    @property
    def provider(self) -> str:
        return gate.provider_of(self.name)

    @property
    def key(self) -> str:
        """The key's fingerprint."""
        return gate.key_of(self.name)

    def is_open(self, now_ms: int) -> bool:
        """Whether it lets somebody through now, the next probe included."""
        if self.state == gate.PROBING:
            return not self.probe
        due = self.until is not None and self.until <= now_ms
        return self.state == gate.OPEN or (self.state in (gate.COOLING, gate.TRIPPED) and due)

    def item(self) -> dict[str, Any]:
        """One item of `proofq gate list` and of `status.gates`."""
        return {
            "provider": self.provider,
            "key": self.key,
            "state": self.state,
            "until": iso(self.until),
            "reason": self.reason,
            "since": iso(self.since),
            "probe": self.probe or None,
        }


@dataclass(frozen=True)
class Waits:
    """That a gate lets nobody through: its state, until when (epoch milliseconds; None: until the bell), and why.
    `own`: its probe is another call of the same attempt."""

    state: str
    until: int | None
    reason: str
    now: int
    own: bool = False


def name_of(provider: Provider, environ: Mapping[str, str]) -> str:
    """The gate of a provider and the key that this environment holds."""
    return gate.name(provider.name, gate.fingerprint(environ.get(provider.key_env or "", "")))


def declare(store: Store, providers: Iterable[Provider], environ: Mapping[str, str], who: str) -> None:
    """Says that a worker has these providers' keys; gates that nobody knows begin here. Raises RedisUnavailable."""
    for provider in providers:
        try:
            store.call(
                "gate", "declare", name_of(provider, environ), who, store.clock.token(),
                round(1000 * provider.probe_s), round(1000 * gate.RAMP_S), round(1000 * gate.FORGOTTEN_S),
            )  # fmt: skip
        except DamagedKey:
            continue  # it lets nobody through, and `status` says why


def admit(store: Store, name: str, holder: str, who: str) -> Admission | Waits:
    """Asks to let one call through; `holder`: "owner id fence call" of its attempt.

    Raises RedisUnavailable and DamagedKey.
    """
    answer = store.call("gate", "admit", name, who, store.clock.token(), holder)
    if answer[0] == b"in":
        return Admission(name, int(answer[1]), bool(answer[2]), bool(answer[3]))
    until = int(float(answer[2])) if answer[2] else None
    return Waits(text(answer[1]), until, text(answer[3]), int(answer[4]), bool(answer[5]))


def tell(store: Store, plan: Mapping[str, Any], who: str, request: str) -> Change | None:
    """Tells a gate how a call ended; `plan` is `gate.plan`'s. How the gate moved, None where it did not; sent again
    under the same `request` it counts once, and the answer is the same.

    Raises RedisUnavailable and DamagedKey.
    """
    told = rq_view.compact(plan).encode("utf-8", "replace")
    return Change.parse(store.call("gate", "tell", str(plan["name"]), who, request, told)[1])


def read_all(store: Store) -> list[Gate]:
    """Every gate there is, by name. Raises RedisUnavailable, and DamagedKey where the list of them is none."""
    with reading(keys.GATES):
        names = sorted(text(name) for name in store.client.zrange(keys.GATES, 0, -1))
    return [read(store, name) for name in names]


def read(store: Store, name: str) -> Gate:
    """One gate; of one that nobody has heard of, what it will begin as."""
    try:
        with reading(keys.gate(name)):
            raw = store.client.hgetall(keys.gate(name))
    except DamagedKey as problem:
        return Gate(name, DAMAGED, reason=f"its key holds a {problem.actual}; move it away (RENAME)")
    row = {text(field): text(value) for field, value in raw.items()}
    if "state" not in row:
        return Gate(name, gate.PROBING, reason="no answer to this key has been seen yet")
    return Gate(
        name,
        row["state"],
        _number(row.get("until")),
        row.get("reason", ""),
        _number(row.get("since")),
        _number(row.get("epoch")) or 0,
        _probe(store, row),
        row.get("suspect", ""),
    )


def crumbs(store: Store, name: str) -> list[list[Any]]:
    """The breadcrumbs of a gate, oldest first: at, from, event, to, reason, epoch, who, request id."""
    with reading(keys.gate_crumbs(name)):
        rows = store.client.lrange(keys.gate_crumbs(name), 0, -1)
    return [json.loads(row) for row in rows]


def act(store: Store, verb: Verb, provider: str, who: str, reason: str, key: str = "") -> list[Gate]:
    """What an operator does to the gates of a provider, or to the one of a key; those gates as they stand then.

    `isolate` without a key holds for keys that nobody has heard of yet as well, until `open`. Raises UnknownProvider
    and RedisUnavailable; DamagedKey once all others are done: one damaged gate, which lets nobody through, must not
    keep the others from being closed.
    """
    there = read_all(store)
    names = [one.name for one in there if one.provider == provider and key in ("", one.key)]
    if not names:
        known = ", ".join(sorted({one.provider for one in there})) or "none yet"
        # Not said again: it may be the key itself.
        of_key = " with that key (a fingerprint, as `proofq gate list` shows it)" if key else ""
        raise UnknownProvider(f"No gate is of the provider {provider:.80}{of_key}; there are gates of: {known}.")
    if not key and verb != "hold":
        _send(store, f"{verb}_provider", provider, who, reason)
    damaged: list[DamagedKey] = []
    for name in names:
        try:
            _send(store, verb, name, who, reason)
        except DamagedKey as problem:
            damaged.append(problem)
    if damaged:
        raise damaged[0]
    return [read(store, name) for name in names]


def _send(store: Store, verb: str, name: str, who: str, reason: str) -> None:
    request = store.clock.token()
    said = reason[:300].encode("utf-8", "replace")
    insist(lambda: store.call("gate", verb, name, who, request, said), store.clock, tries())


def _probe(store: Store, row: Mapping[str, str]) -> str:
    """The task that is the gate's probe: while its attempt holds its lease and its time is not over."""
    owner, task_id, fence = [*row.get("probe", "").split(" "), "", "", ""][:3]
    if not owner or row["state"] != gate.PROBING:
        return ""
    try:
        with reading(keys.leases(owner)):
            held = store.client.hget(keys.leases(owner), task_id)
            seconds, micros = store.client.time()
    except DamagedKey:
        return ""
    is_over = (_number(row.get("probe_until")) or 0) <= int(seconds) * 1000 + int(micros) // 1000
    return task_id if held is not None and text(held) == fence and not is_over else ""


def _number(said: str | None) -> int | None:
    try:
        return None if said is None else int(float(said))
    except (ValueError, OverflowError):
        return None
