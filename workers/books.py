"""What was spent, as people and scripts see it: by day, agent and class, and how full each budget is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from proofq.policies import budget
from proofq.workers import keys
from proofq.workers.reading import reading, text
from proofq.workers.store import Store


def spent(store: Store, days: int, agent: str | None = None) -> Iterator[dict[str, Any]]:
    """A row per day, agent and class of its attempts' failure, the newest day first. Class "none": they did not fail;
    "open": they still run, or nobody saw their end."""
    today = store.clock.wall()
    for ago in range(days):
        day = f"{today - timedelta(days=ago):%Y-%m-%d}"
        with reading(keys.ledger(day)):
            row = store.client.hgetall(keys.ledger(day))
        yield from _of_day(day, {text(name): text(value) for name, value in row.items()}, agent)


def budgets(store: Store, at: datetime) -> list[dict[str, Any]]:
    """Every budget in whose present window an attempt has begun, as its worker declared it; rows that are none of ours
    are passed over."""
    with reading(keys.BUDGETS):
        rows = store.client.hgetall(keys.BUDGETS)
    found = []
    for raw in rows.values():
        try:
            said = json.loads(raw)
            is_over = said["window"] != at.strftime(budget.WINDOWS[said["per"]])
            limits = {name: int(said["limit"][name]) for name in budget.UNITS if name in said["limit"]}
            names = {name: str(said[name]) for name in ("owner", "name", "per", "window")}
            key = str(said["key"])
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
        if is_over:
            continue
        with reading(key):
            counted = _whole({text(name): text(value) for name, value in store.client.hgetall(key).items()})
        found.append(
            {
                **names,
                "limits": budget.amounts(limits),
                "spent": budget.amounts(counted),
                "reached": not budget.has_room(limits, counted),
            }
        )
    return sorted(found, key=lambda one: (one["owner"], one["name"], one["per"]))


def _of_day(day: str, row: Mapping[str, str], agent: str | None) -> Iterator[dict[str, Any]]:
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for field, value in row.items():
        name, kind, dimension = (*field.split(" "), "", "")[:3]
        if agent in (None, name) and value.isdigit() and int(value):
            sums.setdefault((name, kind), {})[dimension] = int(value)
    for (name, kind), counted in sorted(sums.items()):
        amounts = budget.amounts(counted)
        yield {"day": day, "agent": name, "class": kind, **{each: amounts.get(each, 0.0) for each in budget.UNITS}}


def _whole(row: Mapping[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in row.items() if name in budget.UNITS and value.isdigit()}
