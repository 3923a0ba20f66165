"""The figures as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.sides import Ours, Stock

#: What is wanted of this queue: client commands of a task, milliseconds, client commands a second of a process.
MOST_COMMANDS, MOST_P99_MS, MOST_IDLE = 25.0, 20.0, 5.0


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds at these shares of the samples, by nearest rank."""
    ranked = sorted(seconds)
    shares = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: 1000 * ranked[round(share * (len(ranked) - 1))] for name, share in shares.items()} | {
        "samples": len(ranked)
    }


def wanted(figures: Mapping[str, Any]) -> list[tuple[str, str, str, str, bool | None]]:
    """One row for each measure: what, ours, stock's, what is wanted, and whether it is so (None: only told)."""
    rate, cpu, delay = figures["throughput"], figures["cpu_ms_per_task"], figures["latency_ms"]
    calls, idle, kib = figures["commands"], figures["idle_commands_per_s"], figures["kib_per_task"]
    ours, stock = Ours.name, Stock.name
    fast = rate[ours]["median"] >= rate[stock]["median"]
    few = calls[ours]["per_task"] <= MOST_COMMANDS
    soon = delay[ours]["p99"] <= MOST_P99_MS
    calm = idle[ours] <= MOST_IDLE
    rows: list[tuple[str, str, str, str, bool | None]] = [
        (
            f"tasks a second, median of {len(rate[ours]['rounds'])}",
            f"{rate[ours]['median']:.0f}", f"{rate[stock]['median']:.0f}", "at least stock's", fast,
        ),
        (
            "CPU ms a task, without the server's",
            f"{cpu[ours]['median']:.1f}", f"{cpu[stock]['median']:.1f}", "", None,
        ),
        *(
            (
                f"enqueue to first line, {share}, ms", f"{delay[ours][share]:.1f}", f"{delay[stock][share]:.1f}",
                f"at most {MOST_P99_MS:g}" if share == "p99" else "", soon if share == "p99" else None,
            )
            for share in ("p50", "p90", "p99", "max")
        ),
        (
            "client commands a task",
            f"{calls[ours]['per_task']:.1f}", f"{calls[stock]['per_task']:.1f}", f"at most {MOST_COMMANDS:g}", few,
        ),
        (
            "all commands a task (commandstats)",
            f"{_total(calls[ours]):.0f}", f"{_total(calls[stock]):.0f}", "", None,
        ),
        (
            "idle: client commands a second and process",
            f"{idle[ours]:.2f}", f"{idle[stock]:.2f}", f"at most {MOST_IDLE:g}", calm,
        ),
        ("KiB of Redis memory a finished task", f"{kib[ours]:.1f}", f"{kib[stock]:.1f}", "", None),
    ]  # fmt: skip
    return rows


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the table, the machine it was measured on, and every command by name."""
    machine = figures["machine"]
    loads = machine["load_before_each_round"]
    table = Table(title="one worker of 4 slots beside rq worker-pool -n 4")
    for heading in ("", Ours.name, Stock.name, "wanted", ""):
        table.add_column(heading)
    for what, mine, theirs, bound, holds in wanted(figures):
        table.add_row(what, mine, theirs, bound, "" if holds is None else "yes" if holds else "NO")
    console.print(table)
    console.print(
        f"{machine['cores']} cores, load {min(loads):.1f} to {max(loads):.1f}, Python {machine['python']}, "
        f"{machine['server']}"
    )
    for name, seen in figures["commands"].items():
        for part in ("workers", "producer", "commandstats"):
            listed = ", ".join(f"{command} {count:g}" for command, count in seen[part].items())
            console.print(f"{name}, {part}, a task: {listed}", highlight=False)


def _total(calls: Mapping[str, Any]) -> float:
    counts: Mapping[str, float] = calls["commandstats"]
    return sum(counts.values())
