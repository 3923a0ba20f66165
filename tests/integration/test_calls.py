"""What attempts ask of gates, as their supervisor answers it on a real Redis; and `ctx.call` on top of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from proofq.policies import gate
from proofq.policies.agent import Provider
from proofq.workers import calls, gates, keys
from proofq.workers.answering import Question
from proofq.workers.calling import GateBreaker
from proofq.workers.errors import BadInput, RedisUnavailable
from proofq.workers.gate_change import Change
from proofq.workers.gate_keys import GateKeys
from proofq.workers.gate_reports import GateReports
from proofq.workers.scripts import Argument
from tests.heart import Heart, birth
from tests.waiting import until

PROVIDER = Provider("p", "KEY", slow_call_s=5.0)
SECRET = "hunter2hunter2"


class Asking:
    """A running task, and the desk that answers its calls."""

    def __init__(self, client: redis.Redis) -> None:
        self.heart = Heart(client)
        self.heart.enlist("o")
        self.heart.store.enqueue(birth("t"))
        self.lease = self.heart.running()
        self.changes: list[Change] = []
        passed = GateKeys({"p": PROVIDER}, {"KEY": "k"}, GateReports({"p": PROVIDER}, self.changes.append))
        passed.declare(self.heart.store, "test")
        self.name = passed.gate("p")
        self.held: Any = SimpleNamespace(
            task_id="t", fence=self.lease.fence, task=self.lease.task, lease=self.lease, called=set()
        )
        self.desk = calls.Desk(self.heart.store, passed, lambda _: (SECRET,))

    def ask(self, op: str, args: dict[str, Any], _within_s: float = 5.0) -> Any:
        """What the desk answers; it insists a little."""
        tries = iter(range(3))
        return self.desk.handlers()[op](Question(self.held, args, lambda: next(tries, None) is None))

    def admit(self, call: int = 1, provider: str = "p") -> Any:
        return self.ask("gate.admit", {"provider": provider, "call": call})

    def tell(self, epoch: int, kind: str, **more: Any) -> None:
        self.ask("gate.tell", {"provider": "p", "epoch": epoch, "kind": kind, **more})

    def gate(self) -> gates.Gate:
        return gates.read(self.heart.store, self.name)


@pytest.fixture
def asking(redis_client: redis.Redis) -> Asking:
    """Of a key that nobody has seen before."""
    return Asking(redis_client)


def test_a_call_is_let_through_and_told(asking: Asking) -> None:
    """The first of a new key is the probe; its answer opens the gate, and then calls are plain ones."""
    first = asking.admit()
    assert first == {
        "in": True, "state": "probing", "gate": asking.name, "epoch": 2, "probe": True, "watched": True, "slow_s": 5.0,
    }  # fmt: skip
    assert asking.held.called == {asking.name}
    asking.tell(2, "answered")
    assert [change.event for change in asking.changes] == ["recover"]
    second = asking.admit(2)
    assert (second["state"], second["probe"], second["watched"]) == ("open", False, False)


def test_who_waits_is_told_how_long(asking: Asking) -> None:
    """Seconds until it opens, with the reason; none where no time opens it."""
    asking.tell(asking.admit()["epoch"], "limited", wait_s=30, reason="429")
    said = asking.admit(2)
    assert (said["in"], said["state"], said["reason"], said["own"]) == (False, "cooling", "429", False)
    assert 29 < said["wait_s"] < 32
    gates.act(asking.heart.store, "hold", "p", "ann", "")
    assert asking.admit(3)["wait_s"] is None


def test_a_secret_in_an_error_is_kept_nowhere(asking: Asking) -> None:
    """A library quotes the key that was refused: neither the gate, nor its breadcrumbs, nor whoever hears has it."""
    asking.tell(asking.admit()["epoch"], "refused", reason=f"auth: the key {SECRET} is refused")
    assert asking.gate().reason == "auth: the key [key] is refused"
    assert SECRET not in str(asking.changes)
    raw = [asking.heart.client.dump(key) for key in asking.heart.client.keys("*gate*")]
    assert not any(SECRET.encode() in one for one in raw)


def test_what_was_told_and_not_heard_is_told_again(asking: Asking) -> None:
    """The reply is lost twice: the gate has moved once, and whoever pages hears of it."""
    asking.tell(asking.admit()["epoch"], "refused")
    epoch = asking.admit(2)["epoch"]
    run, lost = asking.heart.store._run, iter(range(2))

    def losing(name: str, arguments: Sequence[Argument]) -> list[Any]:
        answer = run(name, arguments)
        if next(lost, None) is not None:
            raise RedisUnavailable("cut off")
        return answer

    asking.heart.store._run = losing
    asking.tell(epoch, "refused")
    assert [change.event for change in asking.changes] == ["suspect", "hold"]
    assert [crumb[2] for crumb in gates.crumbs(asking.heart.store, asking.name)].count("hold") == 1


def test_a_gate_that_only_calls_name_is_not_forgotten(asking: Asking) -> None:
    """No worker declares the provider; while it is called it is not taken for one that nobody has."""
    asking.admit(provider="other")
    asking.heart.client.zadd(keys.GATES, {"other:none": 1})
    asking.admit(2, provider="other")
    gates.declare(asking.heart.store, [PROVIDER], {"KEY": "k"}, "test")
    assert "other:none" in [one.name for one in gates.read_all(asking.heart.store)]


@pytest.mark.parametrize(
    "args",
    [
        {"kind": "opened"}, {"kind": "failed", "wait_s": "5"}, {"kind": "failed", "wait_s": float("inf")},
        {"kind": "failed", "epoch": -1}, {"kind": "failed", "epoch": True}, {"kind": "failed", "provider": "a:b"},
    ],
)  # fmt: skip
def test_what_is_no_report(asking: Asking, args: dict[str, Any]) -> None:
    """An agent may write to its report itself: refused with a sentence, and the gate is as it was."""
    before = asking.gate()
    with pytest.raises(BadInput):
        asking.ask("gate.tell", {"provider": "p", "epoch": before.epoch, **args})
    assert asking.gate() == before


def test_calls_of_the_probes_attempt_wait_for_it(asking: Asking) -> None:
    """An agent that makes several at once, with a new key: one is the probe, and the others follow its answer."""
    breaker = GateBreaker("p", asking.ask, awaits=False)
    answered, asked = threading.Event(), threading.Event()
    got: list[str] = []

    def probe() -> None:
        asked.set()
        answered.wait(20.0)

    threads = [threading.Thread(target=breaker.call, args=(probe,))]
    threads[0].start()
    assert asked.wait(20.0)
    threads += [threading.Thread(target=lambda: got.append(breaker.call(str, "answer"))) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    assert asking.admit(99)["own"]
    assert got == []
    answered.set()
    until(lambda: len(got) == 3, 20.0, "the calls that waited")
    threads[0].join(20.0)
    assert asking.gate().state == gate.OPEN


def test_calls_of_an_async_attempt_wait_for_their_probe(asking: Asking) -> None:
    """The same for what is gathered: the first that ended by GateClosed would have taken the probe along."""

    async def ask(op: str, args: dict[str, Any], _within_s: float) -> Any:
        return await asyncio.to_thread(asking.ask, op, args)

    async def answer(number: int) -> int:
        await asyncio.sleep(0.2)
        return number

    async def all_of_it() -> list[Any]:
        breaker = GateBreaker("p", ask, awaits=True)
        return await asyncio.gather(*(breaker.call(answer, number) for number in range(5)))

    assert asyncio.run(all_of_it()) == list(range(5))
    assert asking.gate().state == gate.OPEN
    assert [crumb[2] for crumb in gates.crumbs(asking.heart.store, asking.name)] == ["first", "probe", "recover"]


def test_another_attempt_does_not_wait(asking: Asking) -> None:
    """Who is not of the probe's attempt is told until when, and its attempt ends uncounted."""
    asking.admit()
    asking.held.fence = "2-other"
    assert not asking.admit(1)["own"]
