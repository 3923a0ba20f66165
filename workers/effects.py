"""Effects on the world under a key: what attempts ask the supervisor about them, and what humans see and say of them.

An intent is on record before the effect is tried, under the attempt's fence, and its outcome after; both die with the
task. What lies between the two and belongs to no attempt that lives is `unconfirmed`: nobody knows whether it is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from proofq.policies import redaction
from proofq.policies.effects import MAX_EFFECTS, MAX_OUTCOME_BYTES, Effect, bad_key
from proofq.workers import keys
from proofq.workers.answering import Handler, Question
from proofq.workers.clock import iso
from proofq.workers.errors import BadInput, LeaseLost, RedisUnavailable, Refused, UnknownTask
from proofq.workers.insist import insist
from proofq.workers.reading import reading, text
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store

#: Effects that are listed at most.
LISTED: Final = 1000


class Desk:
    """Answers attempts. `secrets`: what is hidden of an agent's environment, by the agent's name."""

    def __init__(self, store: Store, secrets: Callable[[str], Collection[str]]) -> None:
        self._store = store
        self._secrets = secrets

    def handlers(self) -> Mapping[str, Handler]:
        """By what is asked."""
        return {"effect.intend": self._intend, "effect.record": self._record, "effect.withdraw": self._withdraw}

    def _intend(self, question: Question) -> Mapping[str, Any]:
        """{"is": "go", "rid"}; {"is": "done", "outcome"}; {"is": "open", "rid", "at", "fence"}."""
        rid = self._store.clock.token()
        answer = self._ask(question, "intend", rid, over=str(question.args.get("over", "")))
        match answer[0]:
            case b"go":
                return {"is": "go", "rid": rid}
            case b"done":
                return {"is": "done", "outcome": json.loads(answer[1])}
            case b"open":
                return {"is": "open", "rid": text(answer[1]), "at": iso(int(answer[2])), "fence": text(answer[3])}
        raise BadInput(f"A task may have {MAX_EFFECTS} keys of effects, and this one has them.")

    def _record(self, question: Question) -> None:
        outcome = redaction.without(question.args.get("outcome"), self._secrets(question.held.task.agent))
        said = json.dumps(outcome, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        if len(said.encode("utf-8", "replace")) > MAX_OUTCOME_BYTES:
            raise BadInput(f"An outcome of more than {MAX_OUTCOME_BYTES} bytes of JSON cannot be recorded.")
        who = "check" if question.args.get("how") == "check" else "attempt"
        if self._ask(question, "record", _rid(question), outcome=said, who=who)[0] != b"ok":
            raise LeaseLost("Another intent of this effect is on record by now.")

    def _withdraw(self, question: Question) -> None:
        if self._ask(question, "withdraw", _rid(question))[0] != b"ok":
            raise LeaseLost("Another intent of this effect is on record by now.")

    def _ask(self, question: Question, verb: str, rid: str, **more: str) -> list[Any]:
        key = question.args.get("key")
        if wrong := bad_key(key):
            raise BadInput(f"{key!r:.80} is no key of an effect: {wrong}.")
        key = redaction.without(str(key), self._secrets(question.held.task.agent))
        held = question.held
        try:
            answer = insist(
                lambda: _effect(self._store, verb, held.task_id, held.fence, key, rid, **more),
                self._store.clock,
                question.give_up,
            )
        except DamagedKey as problem:
            raise RedisUnavailable(str(problem)) from problem
        if answer[0] in {b"lost", b"missing"}:
            raise LeaseLost("This attempt's task is somebody else's by now; nothing was written.")
        return answer


def of_task(store: Store, task_id: str) -> list[Effect]:
    """Those of one task, the oldest first. DamagedKey where they are no hash."""
    with reading(keys.effects(task_id)):
        rows = store.client.hgetall(keys.effects(task_id))
    found = (_parsed(task_id, text(key), raw) for key, raw in rows.items())
    return sorted((one for one in found if one is not None), key=lambda one: (one.at, one.key))


def listed(store: Store, task_id: str, fence: str) -> list[dict[str, Any]]:
    """Those of one task as people and scripts see them; `fence`: under which it is held, "" for nobody."""
    return [item(one, fence) for one in of_task(store, task_id)]


def open_ones(store: Store, limit: int = LISTED) -> Iterator[dict[str, Any]]:
    """Every effect that was begun and not confirmed, of all tasks, the oldest first."""
    with reading(keys.UNCONFIRMED):
        members = [text(name) for name in store.client.zrange(keys.UNCONFIRMED, 0, limit - 1)]
    pairs = [name.partition(" ")[::2] for name in members]
    with store.client.pipeline(transaction=False) as pipe:
        for task_id, key in pairs:
            pipe.hget(keys.effects(task_id), key)
            pipe.hget(keys.task(task_id), "fence")
        rows = pipe.execute(raise_on_error=False) if pairs else []
    for (task_id, key), raw, fence in zip(pairs, rows[::2], rows[1::2], strict=True):
        one = _parsed(task_id, key, raw)
        if one is not None and one.done_at is None:
            yield item(one, text(fence) if isinstance(fence, bytes) else "")


def item(one: Effect, fence: str) -> dict[str, Any]:
    """One effect; its outcome as it was recorded."""
    return {
        "task": one.task,
        "key": one.key,
        "state": one.state(fence),
        "attempt": one.attempt,
        "begun_at": iso(one.at),
        "done_at": iso(one.done_at),
        "outcome": None if one.outcome is None else json.loads(one.outcome),
        "who": one.who or None,
    }


def say_done(store: Store, task_id: str, key: str, outcome: str, who: str) -> None:
    """A human has seen that it is there; `outcome` is JSON. Raises Refused, UnknownTask."""
    _said(task_id, key, _effect(store, "record", task_id, "", key, "", outcome=outcome, who=who))


def say_absent(store: Store, task_id: str, key: str) -> None:
    """A human has seen that it is not there: the next attempt may do it. Raises Refused, UnknownTask."""
    _said(task_id, key, _effect(store, "withdraw", task_id, "", key, ""))


def _said(task_id: str, key: str, answer: list[Any]) -> None:
    match answer[0]:
        case b"missing":
            raise UnknownTask(f"No task has the id {task_id}. `proofq tasks` lists those there are.")
        case b"lost":
            raise Refused(f"Task {task_id} is being worked on; wait for its end or `proofq cancel` it, then say so.")
        case b"other":
            raise Refused(
                f"Task {task_id} has no open effect {key!r}. `proofq effect list {task_id}` lists those it has."
            )


def _effect(
    store: Store,
    verb: str,
    task_id: str,
    fence: str,
    key: str,
    rid: str,
    *,
    over: str = "",
    outcome: str = "",
    who: str = "",
) -> list[Any]:
    values = [key, rid, over, outcome, who]
    return store.call(
        "effect", verb, task_id, fence, *(each.encode("utf-8", "replace") for each in values), MAX_EFFECTS
    )


def _rid(question: Question) -> str:
    return str(question.args.get("rid", ""))


def _parsed(task_id: str, key: str, raw: Any) -> Effect | None:
    """None for a row that is none of ours."""
    try:
        row = json.loads(raw)
        done_at, outcome = row.get("done_at"), row.get("outcome")
        if outcome is not None:
            json.loads(outcome)
        return Effect(
            task_id,
            key,
            int(row["at"]),
            str(row["fence"]),
            str(row["rid"]),
            None if done_at is None else int(done_at),
            outcome,
            str(row.get("who", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
