"""Budgets with real workers: who spends is counted, and overshoots by one call at most, however many spend at once."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import budget
from proofq.workers import keys
from tests.acceptance.harness import Site
from tests.waiting import until

AGENTS = """
import asyncio
import pathlib
import time

import proofq


def call(log, cost):
    with open(log, "a") as file:
        file.write("called\\n")
    time.sleep(0.02)
    return cost


@proofq.agent(timeout_s=60, unproven=True, budget={"usd": 1.0, "per": "month"})
def spender(ctx, log: str, calls: int) -> int:
    return spend(ctx, log, calls, settles=False)


@proofq.agent(timeout_s=60, unproven=True, budget={"usd": 1.0, "per": "month"})
def settling_spender(ctx, log: str, calls: int) -> int:
    return spend(ctx, log, calls, settles=True)


def spend(ctx, log, calls, settles):
    for number in range(calls):
        taken = ctx.spend(usd=0.05, requests=1)
        cost = call(log, 0.02)
        if settles:
            taken.settle(usd=cost, tokens=10, requests=1)
    return calls


@proofq.agent(timeout_s=60, unproven=True, budget={"requests": 30, "per": "month"})
async def spender_async(ctx, log: str, calls: int) -> int:
    for number in range(calls):
        taken = await ctx.spend(requests=1)
        call(log, 0)
        await asyncio.sleep(0.01)
        await taken.settle(requests=1, tokens=5)
    return calls


@proofq.agent(timeout_s=60, unproven=True, budget=[{"tokens": 100}, {"usd": 5.0, "per": "month"}], max_attempts=9)
def each(ctx, tokens: int) -> int:
    state = ctx.state.get("n", 0)
    while state < 10:
        ctx.spend(tokens=tokens, usd=0.01)
        state += 1
        ctx.state["n"] = state
    return state


@proofq.agent(timeout_s=60, unproven=True)
def free(ctx, usd: float) -> str:
    if usd:
        ctx.spent(usd=usd, tokens=3)
    return "done"


@proofq.agent(timeout_s=60, unproven=True, budget={"wall_s": 3})
def slow(ctx, run_s: float) -> str:
    time.sleep(run_s)
    return "done"


@proofq.agent(timeout_s=60, unproven=True, provider="shop")
def buyer(ctx, times: int) -> str:
    for number in range(times):
        ctx.spend(requests=5)
    return "bought"


@proofq.agent(timeout_s=60, unproven=True)
def wrong(ctx) -> list:
    said = []
    for amounts in ({"usd": -1}, {"usd": float("nan")}, {"tokens": 1.5}, {"usd": True}, {"usd": 1e12}):
        try:
            ctx.spend(**amounts)
        except proofq.BadInput as error:
            said.append(str(error))
    return said
"""

TOML = """
[providers.shop]
budget = { requests = 5, per = "month" }

[agents.talker]
command = ["/bin/sh", "-c", "echo called >> \\"$0\\"; sleep 0.2; cat result", "{log}"]
adapter = "claude"
cwd = "{project}"
inputs = { log = "str" }
unproven = true
timeout_s = 60
max_age_s = 600
budget = { usd = 0.40, per = "month" }
"""

RESULT = {
    "type": "result", "subtype": "success", "is_error": False, "result": "fine", "num_turns": 2,
    "total_cost_usd": 0.1, "session_id": "s", "usage": {"input_tokens": 7, "output_tokens": 3},
}  # fmt: skip


def made_ready(made: Site) -> Site:
    """With agents that spend."""
    (made.project / "spending_agents.py").write_text(AGENTS)
    (made.project / "result").write_text(json.dumps(RESULT))
    toml = made.project / "proofq.toml"
    toml.write_text(toml.read_text().replace("modules = [", 'modules = ["spending_agents", ', 1) + TOML)
    return made


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site of two workers whose agents have budgets."""
    with Site({"slots": 10}) as made:
        made_ready(made)
        for worker in [made.start(), made.start()]:
            worker.wait_ready()
        yield made


def proofq(site: Site, *words: str) -> Any:
    """What a command prints as JSON."""
    return site.inside(*words, "--json").document


def calls(log: Path) -> int:
    """How many calls were made."""
    return len(log.read_text().split()) if log.exists() else 0


def counted(site: Site, pattern: str) -> dict[str, int]:
    """What a budget's window holds."""
    (key,) = site.client.keys(f"{keys.SPENT}{pattern}")
    return {name.decode(): int(value) for name, value in site.client.hgetall(key).items() if value.isdigit()}


def wait_states(site: Site, ids: list[str], states: set[str], within_s: float = 60.0) -> None:
    """Wait until all of these are in one of the states."""
    until(lambda: {site.task(one).state for one in ids} <= states, within_s, f"{len(ids)} tasks in {states}")


def booked(site: Site, agent: str) -> dict[str, Any]:
    """What `proofq spend` says once nothing of an agent is open: an attempt is booked after it is settled."""

    def closed() -> Any:
        said = proofq(site, "spend")
        rows = [one for one in said["items"] if one["agent"] == agent]
        return rows and all(one["class"] != "open" for one in rows) and said

    return dict(until(closed, 30.0, f"the books of {agent}"))


def _held_at(site: Site, task_id: str, attempt: int) -> bool:
    task = site.task(task_id)
    return task.attempt == attempt and task.state == "held"


@pytest.mark.parametrize(("agent", "cost"), [("spender", 50_000), ("settling_spender", 20_000)])
def test_twenty_parallel_tasks_overshoot_by_one_call_at_most(site: Site, agent: str, cost: int) -> None:
    """One dollar, twenty tasks that want far more: calls stop at the limit, and whoever is refused is held."""
    log = Path(site.out(agent))
    ids = [site.enqueue(agent, log=str(log), calls=50) for _ in range(20)]
    wait_states(site, ids, {"held"})
    spent = counted(site, f"agent:{agent}:*")
    assert 1_000_000 <= spent["usd"] < 1_050_000
    # Nobody made a call that was not taken before.
    assert calls(log) * cost == spent["usd"]
    assert {site.task(one).failure.kind for one in ids} == {"budget"}  # type: ignore[union-attr]
    said = booked(site, agent)
    rows = [one for one in said["items"] if one["agent"] == agent]
    assert sum(one["usd"] for one in rows) == pytest.approx(spent["usd"] / 1e6)
    assert {one["class"] for one in rows} == {"budget"}
    assert [one["reached"] for one in said["budgets"] if one["name"] == agent] == [True]
    assert "budget" in proofq(site, "why", ids[0])["text"]
    assert proofq(site, "audit")["violations"] == []


def test_async_attempts_spend(site: Site) -> None:
    """Forty calls are wanted at once; thirty are made."""
    log = Path(site.out("async"))
    ids = [site.enqueue("spender_async", log=str(log), calls=10) for _ in range(4)]
    wait_states(site, ids, {"held", "finished_unproven"})
    assert calls(log) == 30
    assert counted(site, "agent:spender_async:*")["requests"] == 30


def test_a_task_has_its_own_and_a_replay_begins_it_anew(site: Site) -> None:
    """A hundred tokens a task: the fourth call of thirty is the last; replayed it has as many again."""
    task_id = site.enqueue("each", tokens=30)
    for attempts, spent in ((1, 120), (2, 120)):
        until(partial(_held_at, site, task_id, attempts), 30.0, "held")
        assert site.task(task_id).spent["tokens"] == spent
        booked(site, "each")
        assert f"task {task_id}" in site.task(task_id).failure.reason  # type: ignore[union-attr]
        # It was raised in the agent, and room in the budget ends the wait all the same.
        assert budget.is_ours(site.task(task_id).failure)
        proofq(site, "replay", task_id)
    assert site.wait_for(task_id, "finished_unproven").claim == 10
    booked(site, "each")
    said = proofq(site, "show", task_id)["spent"]
    assert (said["usd"], said["tokens"]) == (0.02, 60.0)


def test_without_a_budget_spending_is_only_counted(site: Site) -> None:
    """Per agent, class and day; who spends nothing leaves nothing."""
    for usd in (0.0, 0.5):
        site.wait_for(site.enqueue("free", usd=usd), "finished_unproven")
    rows = [one for one in booked(site, "free")["items"] if one["agent"] == "free"]
    assert [(one["class"], one["usd"], one["tokens"]) for one in rows] == [("none", 0.5, 3.0)]


def test_wall_time_of_a_task(site: Site) -> None:
    """Its attempts together may run for so long; the last is ended, and its class is budget."""
    task_id = site.enqueue("slow", run_s=30.0)
    task = site.wait_for(task_id, "held")
    assert task.failure is not None
    assert task.failure.kind == "budget"
    spent = until(lambda: site.task(task_id).spent.get("wall_s", 0), 30.0, "what it spent")
    assert 3_000 <= spent < 30_000
    site.wait_for(site.enqueue("slow", run_s=0.1), "finished_unproven")


def test_a_providers_budget_is_for_all_its_agents_and_raising_it_lets_them_go() -> None:
    """Held at five requests, one in the middle of its run and one before it began; with a worker that declares more
    both go on by themselves, their counters kept."""
    with Site({"slots": 1}) as own:
        made_ready(own)
        worker = own.start().wait_ready()
        ids = [own.enqueue("buyer", times=2) for _ in range(2)]
        wait_states(own, ids, {"held"})
        worker.term()
        worker.wait(30)
        toml = own.project / "proofq.toml"
        toml.write_text(toml.read_text().replace("requests = 5", "requests = 50"))
        own.start().wait_ready()
        wait_states(own, ids, {"finished_unproven"}, 40.0)
        assert counted(own, "provider:shop:*")["requests"] == 25
        for one in ids:
            assert [crumb.who for crumb in own.snapshot(one).crumbs if crumb.event == "replay"] == ["budget"]


def test_a_command_is_counted_by_its_result_and_the_first_goes_alone(site: Site) -> None:
    """Ten cents a run and forty to spend: nobody knows the price before the first has ended; five runs at most."""
    log = Path(site.out("talk"))
    ids = [site.enqueue("talker", log=str(log)) for _ in range(12)]
    wait_states(site, ids, {"finished_unproven", "held"}, 90.0)
    rows = [one for one in booked(site, "talker")["items"] if one["agent"] == "talker" and one["class"] == "none"]
    records = [record for one in ids for record in site.snapshot(one).attempts if record.get("started_at")]
    first, *others = sorted(records, key=lambda record: record["started_at"])
    assert others
    assert all(record["started_at"] >= first["ended_at"] for record in others)
    spent = counted(site, "agent:talker:*")
    assert 400_000 <= spent["usd"] <= 500_000
    assert calls(log) * 100_000 == spent["usd"]
    assert site.client.hgetall(keys.DEAREST + "talker")[b"usd"] == b"100000"
    assert rows[0]["usd"] == pytest.approx(spent["usd"] / 1e6)
    assert rows[0]["tokens"] == 10 * calls(log)
    assert rows[0]["requests"] == 2 * calls(log)


def test_who_dies_has_spent_what_it_took() -> None:
    """kill -9 of the supervisor in the middle of a call: what was taken stays counted, and nothing is taken twice."""
    with Site({"slots": 1}) as own:
        made_ready(own)
        worker = own.start().wait_ready()
        log = Path(own.out("dies"))
        task_id = own.enqueue("spender", log=str(log), calls=18)
        until(lambda: calls(log) >= 3, 30.0, "some calls")
        worker.one("supervisor").signal(signal.SIGKILL)
        wait_states(own, [task_id], {"finished_unproven", "held"})
        spent = counted(own, "agent:spender:*")["usd"]
        assert 0 <= spent - 50_000 * calls(log) <= 50_000


def test_what_is_no_amount_is_refused(site: Site) -> None:
    """By a sentence, and nothing is counted."""
    said = site.wait_for(site.enqueue("wrong"), "finished_unproven").claim
    assert len(said) == 5
    assert all("ctx.spend" in one or "spend.take" in one for one in said)


def test_amounts_are_exact() -> None:
    """A tenth of a dollar ten times is one."""
    assert sum(budget.units({"usd": 0.1})["usd"] for _ in range(10)) == budget.units({"usd": 1})["usd"]
