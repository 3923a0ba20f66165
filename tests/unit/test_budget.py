"""Budgets as data: what is declared, which counters it means, and whole numbers for what is spent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import budget, budget_declared, declaration
from proofq.policies.agent import DeclarationProblem, Provider
from proofq.policies.budget import Budget
from proofq.policies.failure import Failure

AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
TABLES = [
    {"usd": 0.5, "tokens": 1000},
    {"usd": 20.0, "per": "day"},
    {"wall_s": timedelta(minutes=2), "per": "hour"},
    {"output_bytes": 5, "per": "month"},
]


def test_windows_are_counters_and_the_tasks_is_none() -> None:
    """Each window of UTC is one counter of its owner, under a name of its own."""
    budgets = budget_declared.read(TABLES, task=True)
    assert budget.of_task(budgets) == {"usd": 500_000, "tokens": 1000}
    found = budget.scopes("agent", "note", budgets, AT)
    assert [(one.per, one.window, dict(one.limits)) for one in found] == [
        ("day", "2026-03-04", {"usd": 20_000_000}),
        ("hour", "2026-03-04T05", {"wall_s": 120_000}),
        ("month", "2026-03", {"output_bytes": 5}),
    ]
    assert budget_declared.read({}, task=True) == budget_declared.read(None, task=False) == ()


def test_it_goes_through_json() -> None:
    """With its agent and with its provider; who declares none has the version of before."""
    raw = {"name": "n", "command": ["true"], "unproven": True}
    spec = declaration.check({**raw, "budget": TABLES}, "x:1")
    assert type(spec).from_dict(spec.to_dict()) == spec
    plain = declaration.check(raw, "x:1")
    assert plain.version != spec.version
    assert plain.version == declaration.check({**raw, "budget": {}}, "x:1").version
    provider = declaration.check_provider("p", {"budget": {"usd": 1}}, "x:1")
    assert provider.budget == (Budget("day", usd=1.0),)
    assert Provider.from_dict(provider.to_dict()) == provider
    with pytest.raises(DeclarationProblem, match="per is 'task'; it is one of hour, day, month"):
        declaration.check_provider("p", {"budget": {"usd": 1, "per": "task"}}, "x:1")


@given(st.lists(st.floats(0, 1000), max_size=50))
def test_a_sum_of_whole_numbers_is_never_short(spent: list[float]) -> None:
    """What is counted is not less than what was spent, and more by at most a millionth of a dollar each."""
    counted = sum(budget.units({"usd": one}).get("usd", 0) for one in spent)
    assert -0.001 <= counted - sum(spent) * 1e6 <= len(spent) + 0.001


@pytest.mark.parametrize(
    ("name", "value", "bad"),
    [
        ("usd", 0.5, False), ("usd", 2, False), ("usd", -1, True), ("usd", float("inf"), True), ("usd", "1", True),
        ("tokens", 5, False), ("tokens", 5.0, True), ("requests", True, True), ("tokens", 10**12, True),
    ],
)  # fmt: skip
def test_amounts(name: str, value: object, bad: bool) -> None:
    """A number of dollars, whole numbers of the rest."""
    assert bool(budget.bad_amount(name, value)) == bad


def test_reached_and_busy_are_told_apart() -> None:
    """One waits for room, for whoever makes it; the other comes again by itself, later each time."""
    reached = budget.reached("agent note per day", "usd", 20_000_000, 20_500_000)
    assert reached.reason == "the budget of agent note per day is reached: 20.5 of 20 usd"
    assert budget.is_ours(reached)
    assert not budget.is_ours(Failure("budget", "it stopped at a bound of its own"))
    waits = [budget.busy("agent note per day", n).retry_after_s or 0 for n in range(1, 20)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (4.0, 300.0)
    assert budget.has_room({"usd": 5}, {})
    assert not budget.has_room({"usd": 5, "tokens": 9}, {"usd": 1, "tokens": 9})


@pytest.mark.parametrize(
    ("where", "fingerprint", "again"),
    [
        ("agent note per day", "budget:agent note per day", "its next day (UTC) begins or "),
        ("provider shop per hour", "budget:provider shop per hour", "its next hour (UTC) begins or "),
        ("task 0a1b", "budget:task", ""),
    ],
)
def test_what_ends_the_wait_is_told(where: str, fingerprint: str, again: str) -> None:
    """The next window or a higher budget; tasks that reach budgets of their own are one cause."""
    refused = budget.reached(where, "usd", 1_000_000, 1_200_000)
    assert budget.is_ours(refused)
    assert refused.fingerprint == fingerprint
    assert budget.more(fingerprint) == f"it goes on by itself once {again}a worker declares a higher budget"
    assert budget.more(budget.busy(where, 1).fingerprint) == budget.more("f00d") == ""
