"""The attempt's part of `ctx.once`: what it asks for, and whether it does anything, by what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from proofq.policies.effects import Effect
from proofq.workers.doing import later, now, once
from proofq.workers.errors import BadInput, EffectUnknown, NotDone

GO = {"is": "go", "rid": "r1"}
OPEN = {"is": "open", "rid": "r0", "at": "noon", "fence": "1-f"}


class Told:
    """A supervisor that answers intents in order, and an effect that is counted."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.done = 0

    def ask(self, op: str, args: dict[str, Any]) -> Any:
        self.asked.append((op, args))
        return self.answers.pop(0) if op == "effect.intend" else None

    def do(self, outcome: Any = "sent") -> Any:
        self.done += 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def once(self, outcome: Any = "sent", check: Callable[[], Any] | None = None) -> Any:
        return now(once(self.ask, "k", lambda: self.do(outcome), check))

    def after_the_first(self) -> list[tuple[str, dict[str, Any]]]:
        return self.asked[1:]


def test_it_is_done_between_intent_and_outcome() -> None:
    """And what it gave is what everybody is given, as JSON gives it back."""
    told = Told(GO)
    assert told.once((1, 2)) == [1, 2]
    assert told.asked == [
        ("effect.intend", {"key": "k"}), ("effect.record", {"key": "k", "rid": "r1", "outcome": [1, 2]}),
    ]  # fmt: skip


def test_what_was_done_is_not_done_again() -> None:
    """Its outcome is given, whatever a check would say."""
    told = Told({"is": "done", "outcome": 7})
    assert told.once(check=lambda: pytest.fail("asked")) == 7
    assert (told.done, told.after_the_first()) == (0, [])


@pytest.mark.parametrize("found", [0, False, "", [], {"id": 1}])
def test_what_a_check_finds_is_the_outcome(found: Any) -> None:
    """Only None means that it is not there."""
    told = Told(OPEN)
    assert told.once(check=lambda: found) == found
    assert told.done == 0
    assert told.after_the_first() == [
        ("effect.record", {"key": "k", "rid": "r0", "outcome": found, "how": "check"}),
    ]  # fmt: skip


def test_what_a_check_does_not_find_is_done_by_one() -> None:
    """The intent that was found is replaced; where another one was quicker, nothing is done here."""
    told = Told(OPEN, GO)
    assert told.once(check=lambda: None) == "sent"
    assert told.asked[1] == ("effect.intend", {"key": "k", "over": "r0"})
    late = Told(OPEN, {"is": "done", "outcome": "theirs"})
    assert late.once(check=lambda: None) == "theirs"
    slower = Told(OPEN, {**OPEN, "rid": "r9"})
    with pytest.raises(EffectUnknown, match="begun by attempt 1-f at noon"):
        slower.once(check=lambda: None)
    assert (late.done, slower.done) == (0, 0)


def test_without_a_check_nothing_is_repeated() -> None:
    """Nobody knows whether it was done."""
    told = Told(OPEN)
    with pytest.raises(EffectUnknown):
        told.once()
    assert (told.done, told.after_the_first()) == (0, [])


def test_only_not_done_takes_it_back() -> None:
    """Whatever else it raises, it may have been done; so where its outcome cannot be kept, or a check fails."""
    refused = Told(GO)
    with pytest.raises(NotDone):
        refused.once(NotDone("nobody there"))
    assert refused.after_the_first() == [("effect.withdraw", {"key": "k", "rid": "r1"})]
    for outcome, error in ((TimeoutError(), TimeoutError), (object(), BadInput), ("x" * 20_000, BadInput)):
        told = Told(GO)
        with pytest.raises(error):
            told.once(outcome)
        assert (told.done, told.after_the_first()) == (1, [])
    unsure = Told(OPEN)
    with pytest.raises(ZeroDivisionError):
        unsure.once(check=lambda: 1 // 0)
    assert (unsure.done, unsure.after_the_first()) == (0, [])


def test_a_coroutine_is_nothing_that_a_function_can_do() -> None:
    """It is not begun, so nothing was done."""

    async def send() -> None:
        pytest.fail("begun")

    told = Told(GO)
    with pytest.raises(NotDone, match="a def agent calls functions"):
        now(once(told.ask, "k", send, None))
    assert [op for op, _ in told.asked] == ["effect.intend", "effect.withdraw"]


def test_awaited_it_is_the_same() -> None:
    """What it calls may be of either kind; an error inside is raised where it was awaited."""
    told = Told(GO, OPEN)

    async def ask(op: str, args: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return told.ask(op, args)

    async def send() -> str:
        await asyncio.sleep(0)
        return "sent"

    async def both() -> None:
        assert await later(once(ask, "k", send, None)) == "sent"
        assert await later(once(ask, "k", told.do, lambda: 0)) == 0

    asyncio.run(both())
    assert told.done == 0


@pytest.mark.parametrize(("fence", "done_at", "state"), [
    ("1-f", None, "under_way"), ("2-g", None, "unconfirmed"), ("", None, "unconfirmed"), ("1-f", 5, "done"),
])  # fmt: skip
def test_who_is_at_it(fence: str, done_at: int | None, state: str) -> None:
    """The attempt that began it, as long as it holds its task."""
    assert Effect("t", "k", 1, "1-f", "r", done_at).state(fence) == state
