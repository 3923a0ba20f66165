"""The gate of a provider in the simulator: what its agents' programs print, what must hold of it, who opens it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import redis

from proofq.policies import gate, gate_audit
from proofq.policies.agent import Provider
from proofq.policies.ended import Ending
from proofq.workers import gates, keys
from proofq.workers.store import Store
from tests.simulation.hub import Broken
from tests.simulation.lean import LeanClient

PROVIDER = Provider("p", "KEY", cooldown_s=3, min_calls=2, window_s=20, probe_s=6)
NAME = gates.name_of(PROVIDER, {"KEY": "k"})
#: The agent that passes it, and how often its attempts end how.
AGENT = "provided"
ENDINGS = {"true": 52, "busy": 20, "slow_down": 8, "refused": 12, "crash": 5, "kill9": 3}
_PRINTED = {
    "busy": "Error: 503 Service Unavailable: the engine is overloaded",
    "slow_down": "Error: 429 Too Many Requests: rate limit reached. Retry-After: 3",
    "refused": "Error: 401 Unauthorized: invalid api key",
}


def ending(kind: str) -> Ending | None:
    """How a program ends that its provider failed; None for every other kind."""
    said = _PRINTED.get(kind)
    return None if said is None else Ending(1, None, output_tail=said, stderr_tail=said)


class Watch:
    """What holds after every step of anybody."""

    def __init__(self, lean: LeanClient) -> None:
        self._lean = lean
        #: The owner, task and fence of the newest probe, and when it began.
        self._probe: tuple[str, str, str] = ("", "", "")
        self._since = 0

    def look(self) -> None:
        """The gate agrees with its breadcrumbs."""
        row = self._lean.hgetall(keys.gate(NAME))
        texts = {field.decode(): value.decode() for field, value in row.items()}
        for detail in gate_audit.contradictions(texts, self._crumbs()) if row else ():
            raise Broken(f"gate: {detail}")

    def granted(self, answer: Sequence[Any], owner: str) -> None:
        """Who is let through stands in the gate's epoch; beside a probe that lives there is nobody."""
        if len(answer) < 6:
            return
        task_id, fence, now, epoch = answer[1].decode(), answer[2].decode(), int(answer[3]), int(answer[6])
        fields = self._lean.execute_command("HMGET", keys.gate(NAME), "state", "epoch", "probe")
        state, stands, holder = ((value or b"").decode() for value in fields)
        mine = holder == f"{owner} {task_id} {fence}"
        if int(stands) != epoch or (state, mine) != ((gate.PROBING, True) if answer[7] else (gate.OPEN, False)):
            raise Broken(f"gate: {task_id} was let through in epoch {epoch}, and it is {state} in {stands}")
        if answer[7]:
            self._alone(task_id, now)
            self._probe, self._since = (owner, task_id, fence), now

    def _alone(self, task_id: str, now: int) -> None:
        """One probe follows another only once that one holds its lease no more, or took too long."""
        owner, other, fence = self._probe
        events = [crumb[2] for crumb in self._crumbs()[-2:]]
        if (
            events == ["probe", "probe"]
            and self._holds(owner, other, fence)
            and now - self._since < PROVIDER.probe_s * 1000
        ):
            raise Broken(f"two_probes: {task_id} is one beside {other}")

    def _holds(self, owner: str, task_id: str, fence: str) -> bool:
        try:
            return bool(owner) and self._lean.hget(keys.leases(owner), task_id) == fence.encode()
        except redis.ResponseError:
            # A stranger's key stands in their place: whether it is held shows from nothing.
            return False

    def _crumbs(self) -> list[Any]:
        return [json.loads(raw) for raw in self._lean.execute_command("LRANGE", keys.gate_crumbs(NAME), 0, -1)]


def open_if_held(store: Store) -> None:
    """A human comes by."""
    if gates.read(store, NAME).state == gate.HELD:
        gates.act(store, "open", "p", "human", "mended")
