"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

#: What, ours, another's, what is wanted, and whether it is so (None: only told).
Row = tuple[str, str, str, str, bool | None]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds at these shares of the samples, by nearest rank."""
    ranked = sorted(seconds)
    shares = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: 1000 * ranked[round(share * (len(ranked) - 1))] for name, share in shares.items()} | {
        "samples": len(ranked)
    }


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], console: Console) -> None:
    """Print one table."""
    printed = Table(title=title)
    for heading in headings:
        printed.add_column(heading)
    for row in rows:
        printed.add_row(*row)
    console.print(printed)


def holds(is_so: bool | None) -> str:
    """Whether what is wanted is so, in a word."""
    return "" if is_so is None else "yes" if is_so else "NO"


def show_machine(figures: Mapping[str, Any], console: Console) -> None:
    """Print what was measured on, and how busy it was with others."""
    machine, before = figures["machine"], figures["before"]
    loads, busy = before["load_before_each_round"], before["cores_busy_before_each_round"]
    console.print(
        f"{machine['cores']} cores ({machine['cpu']}), Python {machine['python']}, {machine['server']}; before each "
        f"round a load of {min(loads):.1f} to {max(loads):.1f} and {min(busy):.1f} to {max(busy):.1f} cores in use",
        highlight=False,
    )
    if before["loaded"]:
        console.print("LOADED: others used the machine. Times say little, counts and CPU a task more.", style="bold")
