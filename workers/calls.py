"""Answers attempts that ask whether they may call a provider, and hears how their calls ended."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, get_args

from proofq.policies import gate, redaction
from proofq.policies.declared import NAME
from proofq.policies.gate import Admission, Told
from proofq.workers import gates
from proofq.workers.answering import Handler, Question
from proofq.workers.errors import BadInput, RedisUnavailable
from proofq.workers.gate_keys import GateKeys
from proofq.workers.gates import Waits
from proofq.workers.insist import insist
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

log = logging.getLogger(__name__)

_KINDS: Final[tuple[gate.Kind, ...]] = get_args(gate.Kind)


class Desk:
    """Of one worker. What an attempt asks for is for its own calls, under its own lease. `secrets`: what is hidden of
    an agent's environment, by the agent's name."""

    def __init__(self, store: Store, passed: GateKeys, secrets: Callable[[str], Collection[str]]) -> None:
        self._store = store
        self._passed = passed
        self._secrets = secrets

    def handlers(self) -> Mapping[str, Handler]:
        """By what is asked."""
        return {"gate.admit": self._admit, "gate.tell": self._tell}

    def _admit(self, question: Question) -> Mapping[str, Any]:
        """{"in": true, "state", "gate", "epoch", "probe", "watched", "slow_s"}, or {"in": false, "state", "wait_s",
        "reason", "own"}; `wait_s` is null where no time opens the gate, `own` where a call of this attempt is its
        probe."""
        provider, held = _provider(question), question.held
        name = self._passed.gate(provider)
        holder = f"{held.lease.owner} {held.task_id} {held.fence} {_whole(question.args.get('call'))}"
        try:
            said = insist(
                lambda: gates.admit(self._store, name, holder, held.task.agent), self._store.clock, question.give_up
            )
        except RedisUnavailable:
            log.warning("gate_unasked", extra={"provider": provider, "task": held.task_id})
            raise
        except DamagedKey as problem:
            return {"in": False, "state": gates.DAMAGED, "wait_s": None, "reason": str(problem), "own": False}
        if isinstance(said, Waits):
            wait_s = None if said.until is None else max(0.0, (said.until - said.now) / 1000)
            return {"in": False, "state": said.state, "wait_s": wait_s, "reason": said.reason, "own": said.own}
        held.called.add(name)
        slow_s = self._passed.reports.provider_of(name).slow_call_s
        state = gate.PROBING if said.probe else gate.OPEN
        return {
            "in": True, "state": state, "gate": name, "epoch": said.epoch, "probe": said.probe, "watched": said.watched,
            "slow_s": slow_s,
        }  # fmt: skip

    def _tell(self, question: Question) -> None:
        provider, args, agent = _provider(question), question.args, question.held.task.agent
        kind, wait_s = next((one for one in _KINDS if one == args.get("kind")), None), args.get("wait_s")
        if kind is None or not (wait_s is None or (type(wait_s) in (int, float) and math.isfinite(wait_s))):
            raise BadInput("That is nothing that a gate can be told.")
        admission = Admission(self._passed.gate(provider), _whole(args.get("epoch")))
        reports = self._passed.reports
        # An error may quote the key that it was refused with, and a gate's reason is read by everybody.
        reason = redaction.without(str(args.get("reason", "")), self._secrets(agent))
        told = Told(kind, reason, None if wait_s is None else max(0.0, float(wait_s)))
        plan = gate.plan(told, admission, reports.provider_of(admission.gate), self._store.clock.jitter())
        request = self._store.clock.token()
        try:
            change = insist(lambda: gates.tell(self._store, plan, agent, request), self._store.clock, question.give_up)
        except DamagedKey as problem:
            raise RedisUnavailable(str(problem)) from problem
        if change is not None:
            reports.on_change(change)


def _provider(question: Question) -> str:
    provider = question.args.get("provider")
    if not isinstance(provider, str) or not NAME.fullmatch(provider):
        raise BadInput(f"{provider!r:.80} is no name of a provider; a name is letters, digits, _ and -.")
    return provider


def _whole(number: object) -> int:
    if type(number) is not int or number < 0:
        raise BadInput("A call's number and its epoch are whole numbers.")
    return number
