"""`ctx.call` in an attempt's own process, with a gate that a test plays: who is let through, who is told of what."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pybreaker
import pytest

from proofq.policies.classify import classify
from proofq.workers import calling
from proofq.workers.calling import GateBreaker, GateClosed
from proofq.workers.errors import BadInput, ErrorInside, LeaseLost, NoAnswer

IN = {"in": True, "state": "open", "gate": "p:k", "epoch": 3, "probe": False, "watched": False, "slow_s": None}
TRIPPED = {"in": False, "state": "tripped", "wait_s": 17.0, "reason": "503", "own": False}


class Busy(Exception):
    """What a library raises for a 503."""

    status_code = 503


class PermissionDenied(Exception):
    """For a 401."""

    status_code = 401


class Desk:
    """Answers in order, the last for good; keeps what it was asked."""

    def __init__(self, *answers: Mapping[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.told: list[dict[str, Any]] = []
        self.asked = 0
        self.lock = threading.Lock()

    def __call__(self, op: str, args: dict[str, Any], within_s: float) -> Any:
        with self.lock:
            if op == "gate.tell":
                self.told.append(args)
                return None
            self.asked += 1
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def later(self, op: str, args: dict[str, Any], within_s: float) -> Any:
        await asyncio.sleep(0)
        return self(op, args, within_s)


class Notes(pybreaker.CircuitBreakerListener):
    """A listener as its users write them."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
        self.noted.append("before")

    def success(self, cb: Any) -> None:
        self.noted.append("success")

    def failure(self, cb: Any, exc: BaseException) -> None:
        self.noted.append(f"failure:{type(exc).__name__}")

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self.noted.append(f"{old_state.name}->{new_state.name}")


def _breaker(desk: Desk) -> GateBreaker:
    return GateBreaker("p", desk, awaits=False)


def _busy() -> None:
    raise Busy("the service is overloaded")


def test_a_plain_call_tells_nothing() -> None:
    """Let through, called once with its arguments, and a success of an open gate is nobody's business."""
    desk = Desk(IN)
    assert _breaker(desk).call(lambda *args, **kwargs: (args, kwargs), 1, b=2) == ((1,), {"b": 2})
    assert (desk.asked, desk.told) == (1, [])


@pytest.mark.parametrize("flag", ["probe", "watched"])
def test_a_success_is_told_where_it_is_asked_for(flag: str) -> None:
    """By the probe, and while the gate watches."""
    desk = Desk({**IN, flag: True})
    _breaker(desk).call(int)
    assert [(told["kind"], told["epoch"]) for told in desk.told] == [("answered", 3)]


def test_a_failure_is_told_by_its_class_and_raised_as_it_was() -> None:
    """Not a CircuitBreakerError in its place: what the provider said stays readable."""
    desk = Desk(IN)
    with pytest.raises(Busy):
        _breaker(desk).call(_busy)
    assert [told["kind"] for told in desk.told] == ["failed"]
    with pytest.raises(ZeroDivisionError):
        _breaker(desk).call(lambda: 1 / 0)
    assert len(desk.told) == 1


REFUSED: dict[str, Any] = {"error": {"code": "invalid_api_key", "message": "no such key"}}
BUSY: dict[str, Any] = {"error": {"code": 502, "message": "busy", "metadata": {"retry_after": 7}}}


@pytest.mark.parametrize(("answer", "told"), [(REFUSED, ("refused", None)), (BUSY, ("failed", 7.0))])
def test_an_error_inside_a_success_is_a_failure(answer: Any, told: tuple[str, float | None]) -> None:
    """Of functions and of coroutines: told by its class, and raised with the answer, since nobody can use it."""

    async def asks() -> Any:
        return answer

    desk, noted = Desk(IN), Notes()
    sync, async_ = _breaker(desk), GateBreaker("p", desk.later, awaits=True)
    sync.add_listener(noted)
    with pytest.raises(ErrorInside) as caught:
        sync.call(lambda: answer)
    assert caught.value.answer is answer
    assert classify(caught.value).kind == caught.value.failure.kind
    with pytest.raises(ErrorInside):
        asyncio.run(async_.call(asks))
    assert [(one["kind"], one["wait_s"]) for one in desk.told] == [told, told]
    assert noted.noted == ["before", "failure:ErrorInside"]


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"message": "invalid_api_key"}]},
        "Error: 401 Unauthorized",
        {"error": {"code": "invalid_value", "message": "bad temperature"}},
        {"error": {"code": "content_filter", "message": "refused"}},
        {"error": {"code": "E1", "message": "of no known kind"}},
    ],
)
def test_what_is_no_trouble_of_the_providers_is_handed_on(answer: Any) -> None:
    """An answer, a text about errors, an input that it did not like, a refusal, and what nobody knows."""
    desk = Desk(IN)
    assert _breaker(desk).call(lambda: answer) is answer
    assert desk.told == []


def test_a_response_of_a_bad_status_is_told_and_handed_on() -> None:
    """Whoever asked sees its status, and may want to; the gate hears of it all the same."""
    desk = Desk(IN)
    response = httpx.Response(429, headers={"Retry-After": "9"})
    assert _breaker(desk).call(lambda: response) is response
    assert [(one["kind"], one["wait_s"]) for one in desk.told] == [("limited", 9.0)]


def test_a_closed_gate_is_pybreakers_error_and_no_new_failure() -> None:
    """The function is not called; the attempt that ends by it is classed as one that asked nobody, with the wait."""
    desk = Desk(TRIPPED)
    called: list[int] = []
    with pytest.raises(pybreaker.CircuitBreakerError) as caught:
        _breaker(desk).call(called.append, 1)
    assert called == []
    assert isinstance(caught.value, GateClosed)
    failure = classify(caught.value)
    assert (failure.kind, failure.source, failure.retry_after) == ("overloaded", "host", 17.0)
    assert desk.told == []


def test_a_short_wait_is_waited_out() -> None:
    """A gate that opens within two seconds keeps the call, and only that, waiting."""
    desk = Desk({**TRIPPED, "wait_s": 0.05}, IN)
    begun_s = time.monotonic()
    assert _breaker(desk).call(lambda: "answer") == "answer"
    assert time.monotonic() - begun_s >= 0.05
    assert desk.asked == 2


@pytest.mark.parametrize("wait_s", [None, 2.5])
def test_a_long_wait_is_not(wait_s: float | None) -> None:
    """A held gate, or one that opens later, ends the attempt: it must not sleep on its slot."""
    with pytest.raises(GateClosed):
        _breaker(Desk({**TRIPPED, "wait_s": wait_s})).call(int)


def test_many_short_waits_are_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that says "soon" each time is waited for as long as one that says it once."""
    monkeypatch.setattr(calling, "PAUSE_S", 0.1)
    desk = Desk({**TRIPPED, "wait_s": 0.04})
    with pytest.raises(GateClosed):
        _breaker(desk).call(int)
    assert 1 < desk.asked < 5


def test_a_gate_that_cannot_be_asked_lets_through_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    """Redis is away: the call is made, and the attempt's stderr says so; a lease that is lost is another matter."""
    assert _breaker(Desk(NoAnswer("nothing"))).call(lambda: "answer") == "answer"
    assert "could not be asked" in capsys.readouterr().err
    with pytest.raises(LeaseLost):
        _breaker(Desk(LeaseLost("gone"))).call(int)


def test_a_slow_call_counts_as_failed() -> None:
    """Where the provider says how slow is too slow."""
    desk = Desk({**IN, "slow_s": 0.01})
    _breaker(desk).call(time.sleep, 0.02)
    assert [told["kind"] for told in desk.told] == ["failed"]

    def refused() -> None:
        time.sleep(0.02)
        raise PermissionDenied

    with pytest.raises(PermissionDenied):
        _breaker(desk).call(refused)
    assert [told["kind"] for told in desk.told] == ["failed", "refused"]


def test_listeners_and_exclusions_are_pybreakers() -> None:
    """Told before, after, and of the states that were heard; an excluded exception is nothing against the provider."""
    desk = Desk({**IN, "state": "probing", "probe": True}, IN, TRIPPED)
    breaker, notes = _breaker(desk), Notes()
    breaker.add_listener(notes)
    breaker.add_excluded_exception(Busy)
    assert breaker.current_state == pybreaker.STATE_CLOSED
    with pytest.raises(Busy):
        breaker.call(_busy)
    breaker.call(int)
    with pytest.raises(GateClosed):
        breaker.call(int)
    assert notes.noted == [
        "closed->half-open", "before", "failure:Busy",
        "half-open->closed", "before", "success",
        "closed->open",
    ]  # fmt: skip
    assert [told["kind"] for told in desk.told] == ["answered"]


def test_no_lock_is_held_across_a_call() -> None:
    """Four threads through one breaker take as long as one."""
    breaker = _breaker(Desk(IN))
    together = threading.Barrier(4, timeout=10.0)
    threads = [threading.Thread(target=breaker.call, args=(together.wait,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert not together.broken


def test_nobody_moves_the_fleets_gate_from_here() -> None:
    """Open, close and half_open are refused with a sentence; so is an async def of a def agent."""
    breaker = _breaker(Desk(IN))
    for act in (breaker.open, breaker.close, breaker.half_open):
        with pytest.raises(BadInput, match="proofq gate"):
            act()

    async def answer() -> None: ...

    with pytest.raises(BadInput, match="async def"):
        breaker.call(answer)


def test_async_calls_are_awaited() -> None:
    """Both kinds of functions, many at a time, with failures told and raised as ever."""
    desk = Desk(IN)

    async def answer(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    async def fails() -> None:
        await asyncio.sleep(0)
        _busy()

    async def all_of_it() -> list[Any]:
        breaker = GateBreaker("p", desk.later, awaits=True)
        calls = [breaker.call(answer, number) for number in range(20)]
        return await asyncio.gather(*calls, breaker.call(lambda: "plain"), breaker.call(fails), return_exceptions=True)

    *answers, plain, failed = asyncio.run(all_of_it())
    assert answers == list(range(20))
    assert plain == "plain"
    assert isinstance(failed, Busy)
    assert [told["kind"] for told in desk.told] == ["failed"]
