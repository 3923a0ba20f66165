"""What attempts spend, counted on a real Redis: against each budget at once, given back once, learned from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from proofq.policies.agent import AgentSpec
from proofq.policies.budget import Budget
from proofq.policies.ended import Ending
from proofq.policies.failure import Failure
from proofq.workers import books, keys
from proofq.workers.answering import Question
from proofq.workers.door import Event
from proofq.workers.errors import BadInput, BudgetReached, LeaseLost
from proofq.workers.leasing import no_wish
from proofq.workers.owner import Held
from proofq.workers.refunding import Refunding
from proofq.workers.spending import Spending
from tests.heart import AGENT, START, Heart, at_once, birth

ALLOWED = (Budget("task", tokens=100, wall_s=10.0), Budget("month", usd=1.0, requests=4))
OF_PROVIDER = (Budget("month", usd=2.0),)
ENDED = Ending(0, None, output_bytes=7)


class Spenders(Heart):
    """Running tasks of one agent with a budget, and the books of their supervisor."""

    def __init__(self, client: redis.Redis, *, budget: tuple[Budget, ...] = ALLOWED, command: bool = False) -> None:
        super().__init__(client)
        self.enlist("o")
        kind: Any = "command" if command else "function"
        spec = AgentSpec(AGENT, kind, command=("true",), provider="shop", budget=budget)
        self.spending = Spending(self.store, {AGENT: spec}, {"shop": OF_PROVIDER})
        self.spec = spec

    def begun(self, name: str) -> Held:
        """A task that runs."""
        self.store.enqueue(birth(name))
        return Held(self.running(), no_wish)

    def take(self, held: Held, *, must: bool = False, **amounts: float) -> None:
        question = Question(held, {"amounts": amounts, "must": must}, at_once)
        self.spending.handlers()["spend.take"](question)

    def settle(self, held: Held, taken: dict[str, float], **used: float) -> None:
        self.spending.handlers()["spend.settle"](Question(held, {"taken": taken, "used": used}, at_once))

    def close(self, held: Held, kind: str = "", *, ran: bool = True) -> None:
        if ran:
            self.spending.ended(held, ENDED)
        self.spending.close(held, kind, at_once)

    def counter(self, owner: str = "agent") -> dict[str, int]:
        """What the month's counter holds."""
        found = self.client.keys(f"{keys.SPENT}{owner}:*")
        row = self.client.hgetall(found[0]) if found else {}
        return {name.decode(): int(said) for name, said in row.items() if said.isdigit() and int(said)}

    def ledger(self) -> dict[str, int]:
        """Of the day: "class dimension" to whole number."""
        (key,) = self.client.keys(f"{keys.LEDGER}*")
        row = self.client.hgetall(key)
        return {name.decode().partition(" ")[2]: int(said) for name, said in row.items() if int(said)}


@pytest.fixture
def spenders(redis_client: redis.Redis) -> Spenders:
    """On an empty server."""
    return Spenders(redis_client)


def test_what_is_taken_counts_everywhere_and_what_is_settled_comes_back(spenders: Spenders) -> None:
    """The task's own, the agent's month and the provider's; at the end the day's books have it under its class."""
    held = spenders.begun("t")
    spenders.take(held, usd=0.5, tokens=40, requests=1)
    assert spenders.counter() == {"usd": 500_000, "tokens": 40, "requests": 1}
    assert spenders.counter("provider") == spenders.counter()
    assert spenders.store.read("t").spent == {"usd": 500_000, "tokens": 40, "requests": 1}
    assert spenders.ledger() == {"open usd": 500_000, "open tokens": 40, "open requests": 1}
    spenders.settle(held, {"usd": 0.5, "tokens": 40, "requests": 1}, usd=0.2, tokens=60, requests=1)
    assert spenders.counter() == {"usd": 200_000, "tokens": 60, "requests": 1}
    spenders.close(held, "crash")
    booked = spenders.ledger()
    assert booked["crash wall_s"] > 0
    assert booked == {
        "crash usd": 200_000, "crash tokens": 60, "crash requests": 1, "crash output_bytes": 7,
        "crash wall_s": booked["crash wall_s"],
    }  # fmt: skip
    assert all(spenders.client.pttl(key) > 86_400_000 for key in spenders.client.keys(f"{keys.SPENT}*"))
    assert spenders.client.pttl(spenders.client.keys(f"{keys.LEDGER}*")[0]) > 99 * 86_400_000


def test_nothing_is_taken_once_nothing_is_left(spenders: Spenders) -> None:
    """Of any of them; what is left lets one more through, whatever it takes; what was spent already always counts."""
    held = spenders.begun("t")
    spenders.take(held, tokens=99)
    spenders.take(held, tokens=5)
    with pytest.raises(BudgetReached, match="budget of task t is reached: 104 of 100 tokens"):
        spenders.take(held, usd=0.1)
    assert "usd" not in spenders.counter()
    other = spenders.begun("u")
    spenders.take(other, usd=1.0)
    with pytest.raises(BudgetReached, match="agent a per month is reached: 1 of 1 usd"):
        spenders.take(other, tokens=1)
    spenders.take(other, must=True, usd=0.5)
    assert spenders.counter()["usd"] == 1_500_000


def test_who_was_refused_is_known_by_its_budget(spenders: Spenders) -> None:
    """However the agent words it, so that room in it lets the task go; a budget of somebody else's is a human's."""
    held, other = spenders.begun("t"), spenders.begun("u")
    spenders.take(held, usd=1.0)
    for one in (held, other):
        with pytest.raises(BudgetReached):
            spenders.take(one, usd=0.1)
    worded = Failure("budget", "no money", fingerprint="f00d")
    assert spenders.spending.named(held, worded).fingerprint == "budget:agent a per month"
    assert spenders.spending.named(held, Failure("crash", "x")) == Failure("crash", "x")
    assert spenders.spending.named(spenders.begun("v"), worded) == worded


def test_a_task_may_spend_all_but_no_more(spenders: Spenders) -> None:
    """A limit that is met exactly is reached."""
    held = spenders.begun("t")
    spenders.take(held, tokens=100)
    with pytest.raises(BudgetReached):
        spenders.take(held, tokens=1)


def test_no_attempt_gives_back_more_than_it_took(spenders: Spenders) -> None:
    """A bug or a lie of one attempt must not empty the counters of the fleet."""
    spenders.take(spenders.begun("t"), usd=0.5)
    held = spenders.begun("u")
    for name, taken in (("usd", 0.4), ("tokens", 1)):
        with pytest.raises(BadInput, match="than this attempt has taken"):
            spenders.settle(held, {name: taken})
    spenders.take(held, usd=0.3)
    with pytest.raises(BadInput):
        spenders.settle(held, {"usd": 0.31})
    spenders.settle(held, {"usd": 0.3})
    assert spenders.counter() == {"usd": 500_000}


def test_who_lost_its_task_takes_nothing(spenders: Spenders) -> None:
    """Compared in the step that counts."""
    held = spenders.begun("t")
    spenders.client.hset(keys.task("t"), "fence", "2-other")
    with pytest.raises(LeaseLost, match="nothing was counted"):
        spenders.take(held, usd=0.1)
    assert spenders.counter() == {}


def test_a_request_that_is_sent_again_counts_once(spenders: Spenders) -> None:
    """The reply was lost."""
    held = spenders.begun("t")
    spenders.take(held, usd=0.1)
    again = spenders.runner.again()
    spenders.take(held, usd=0.2)
    assert again()[0] == b"taken"
    assert spenders.counter() == {"usd": 300_000}


def test_the_first_goes_alone_and_the_next_take_what_it_cost(redis_client: redis.Redis) -> None:
    """While nobody knows what a command costs the others wait; then each takes the dearest, and gives back the rest."""
    spenders = Spenders(redis_client, budget=(Budget("month", usd=1.0, output_bytes=100),), command=True)
    first, second = spenders.begun("t"), spenders.begun("u")
    assert spenders.spending.admit(first, at_once) is None
    waits = spenders.spending.admit(second, at_once)
    assert waits is not None
    assert (waits.kind, waits.retry_after_s) == ("budget", 4.0)
    assert not waits.fingerprint
    spenders.close(second, "budget", ran=False)
    spenders.close(first)
    assert spenders.client.hgetall(keys.DEAREST + AGENT) == {b"usd": b"0", b"output_bytes": b"7"}
    for held in (second, spenders.begun("v")):
        assert spenders.spending.admit(held, at_once) is None
    assert spenders.counter()["output_bytes"] == 7 + 2 * 7
    # One that never ran gives all of it back, and nobody learns from it.
    spenders.close(second, "bad_input", ran=False)
    assert spenders.counter()["output_bytes"] == 7 + 7
    assert spenders.client.hget(keys.DEAREST + AGENT, "output_bytes") == b"7"


def test_who_finds_out_and_dies_keeps_nobody_waiting(redis_client: redis.Redis) -> None:
    """The mark of a first attempt is worth nothing once its task is somebody else's; nor once it is closed."""
    spenders = Spenders(redis_client, budget=(Budget("month", output_bytes=100),))
    first, second = spenders.begun("t"), spenders.begun("u")
    assert spenders.spending.admit(first, at_once) is None
    spenders.client.hset(keys.task("t"), "fence", "2-other")
    assert spenders.spending.admit(second, at_once) is None
    spenders.close(second, ran=False)
    assert spenders.spending.admit(spenders.begun("v"), at_once) is None


def test_the_dearest_is_learned_from_who_ran(redis_client: redis.Redis) -> None:
    """Not from one that never did, nor from a cheaper one; of a function only what is measured is guessed at."""
    spenders = Spenders(redis_client, budget=(Budget("month", usd=1.0, output_bytes=100),))
    first = spenders.begun("t")
    assert spenders.spending.admit(first, at_once) is None
    spenders.close(first, "bad_input", ran=False)
    assert not spenders.client.exists(keys.DEAREST + AGENT)
    for number, size in enumerate((9, 20, 3)):
        held = spenders.begun(f"u{number}")
        assert spenders.spending.admit(held, at_once) is None
        spenders.spending.ended(held, Ending(0, None, output_bytes=size))
        spenders.close(held, ran=False)
    assert spenders.client.hgetall(keys.DEAREST + AGENT) == {b"output_bytes": b"20"}


def test_counters_that_are_gone_do_not_go_below_nothing(spenders: Spenders) -> None:
    """A window that was forgotten, a task that was replayed in between: what comes back then is nobody's."""
    held = spenders.begun("t")
    spenders.take(held, usd=0.5)
    spenders.client.delete(*spenders.client.keys(f"{keys.SPENT}*"))
    spenders.client.hdel(keys.task("t"), "spent")
    spenders.settle(held, {"usd": 0.5}, usd=0.1)
    assert spenders.counter() == {}
    assert spenders.store.read("t").spent == {"usd": 0}
    spenders.take(held, usd=0.2)
    assert (spenders.counter(), spenders.store.read("t").spent) == ({"usd": 200_000}, {"usd": 200_000})


def test_what_its_budget_leaves_an_attempt(spenders: Spenders) -> None:
    """Ten seconds, less what its earlier attempts have used; none where nobody says."""
    held = spenders.begun("t")
    assert spenders.spending.rest_s(held) == 10.0
    spenders.client.hset(keys.task("t"), "spent", json.dumps({"sum": {"wall_s": 4_000}}))
    held.lease = held.lease.moved({"spent": {"wall_s": 4_000}})
    assert spenders.spending.rest_s(held) == 6.0
    other = Spending(spenders.store, {AGENT: AgentSpec(AGENT, "function")}, {})
    assert other.rest_s(held) is None


def test_without_a_budget_only_what_is_said_is_booked(redis_client: redis.Redis) -> None:
    """Nobody watched how long it ran before it spoke."""
    spenders = Spenders(redis_client)
    spenders.spending = Spending(spenders.store, {AGENT: AgentSpec(AGENT, "function")}, {})
    held = spenders.begun("t")
    assert spenders.spending.admit(held, at_once) is None
    spenders.take(held, usd=0.25)
    spenders.close(held)
    assert spenders.ledger() == {"none usd": 250_000, "none output_bytes": 7}


def test_rows_that_are_none_of_ours_hide_no_budget(spenders: Spenders) -> None:
    """Whatever somebody wrote beside them."""
    assert spenders.spending.admit(spenders.begun("t"), at_once) is None
    (shown,) = [one for one in books.budgets(spenders.store, spenders.clock.wall()) if one["owner"] == "agent"]
    assert (shown["limits"], shown["reached"]) == ({"usd": 1.0, "requests": 4.0}, False)
    month = f"{spenders.clock.wall():%Y-%m}"
    for number, raw in enumerate(
        ["junk", "[]", '{"per": "month"}', f'{{"per": "month", "window": "{month}", "limit": {{"usd": "x"}}}}']
    ):
        spenders.client.hset(keys.BUDGETS, f"k{number}", raw)
    assert len(books.budgets(spenders.store, spenders.clock.wall())) == 2


def test_a_budget_is_one_row_however_many_windows(spenders: Spenders) -> None:
    """The newest window is shown, with what was spent in it; of one that is over nothing."""
    now = spenders.clock.wall()
    for number, month in enumerate((now - timedelta(days=40), now)):
        spenders.clock.wall = lambda month=month: month  # type: ignore[method-assign, misc]
        held = spenders.begun(f"t{number}")
        spenders.spending.admit(held, at_once)
        spenders.take(held, usd=0.1)
    assert spenders.client.hlen(keys.BUDGETS) == 2
    assert [one["spent"] for one in books.budgets(spenders.store, now)] == [{"usd": 0.1}] * 2
    assert books.budgets(spenders.store, now - timedelta(days=40)) == []


# --- tasks that a budget holds ---------------------------------------------------------------------------------------


def _held(spenders: Spenders, name: str, failure: Failure) -> None:
    spenders.store.enqueue(birth(name))
    lease = spenders.held()
    started = spenders.settled(lease, START).lease
    assert started is not None
    spenders.settled(started, Event("failed", "worker", failure=failure))
    assert spenders.store.read(name).state == "held"


REACHED = Failure("budget", "reached", fingerprint="budget:agent a per month")


def test_held_tasks_behind_many_others_are_found(spenders: Spenders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look begins behind the last: those that a human must see to keep nobody for ever."""
    from proofq.workers import refunding

    monkeypatch.setattr(refunding, "LOOKED_AT", 2)
    for number in range(5):
        _held(spenders, f"a{number}", Failure("auth", "refused"))
    _held(spenders, "z", REACHED)
    looks = _refunding(spenders)
    assert [looks() for _ in range(4)] == [0, 0, 1, 0]
    assert spenders.store.read("z").state == "queued"
    assert {spenders.store.read(f"a{number}").state for number in range(5)} == {"held"}


def test_who_is_let_go_and_who_is_not(spenders: Spenders) -> None:
    """Only for room in each of its budgets; its own spending stays counted, and a dozen do not go at once."""
    for number in range(12):
        _held(spenders, f"t{number:02}", REACHED)
    spent = {"sum": {"tokens": 100}}
    spenders.client.hset(keys.task("t00"), "spent", json.dumps(spent))
    spenders.client.hset(keys.task("t01"), "spent", json.dumps({"sum": {"tokens": 99}}))
    spenders.take(spenders.begun("full"), usd=1.0)
    look = _refunding(spenders)
    assert look() == 0
    key = spenders.client.keys(f"{keys.SPENT}agent:*")[0]
    spenders.client.hset(key, "usd", 999_999)
    assert [look(), look(), look()] == [10, 1, 0]
    assert spenders.store.read("t00").state == "held"
    assert spenders.store.read("t01").spent == {"tokens": 99}


def test_of_others_nobody_is_let_go(spenders: Spenders) -> None:
    """Neither of an agent that this worker does not declare, nor whose budget is somebody else's, nor of a provider
    that has none left."""
    _held(spenders, "t", REACHED)
    _held(spenders, "own", replace(REACHED, fingerprint="f00d"))
    assert _refunding(spenders, replace(spenders.spec, name="other"))() == 0
    spenders.take(spenders.begun("other"), usd=0.1)
    key = spenders.client.keys(f"{keys.SPENT}provider:*")[0]
    spenders.client.hset(key, "usd", 2_000_000)
    look = _refunding(spenders)
    assert look() == 0
    spenders.client.hset(key, "usd", 1_000_000)
    assert look() == 1
    assert spenders.store.read("own").state == "held"


def _refunding(spenders: Spenders, spec: AgentSpec | None = None) -> Callable[[], int]:
    """One look, as often as it is called."""
    spec = spec or spenders.spec
    looking = Refunding(spenders.door, "work", {spec.name: spec}, {"shop": OF_PROVIDER})
    clock: Any = SimpleNamespace(now=0.0, wall=spenders.clock.wall)
    clock.boottime = lambda: clock.now
    looking._clock = clock

    def look() -> int:
        clock.now += 11.0
        return looking.tick()

    return look
