"""The part `stock`: one worker of four slots beside `rq worker-pool -n 4`, a process for each task on both sides."""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from benchmarks import measures, report
from benchmarks.measures import SIDES
from benchmarks.quiet import Loads
from benchmarks.report import Row
from benchmarks.sides import Ours, Stock

#: What is wanted of this queue: client commands of a task, milliseconds, client commands a second of a process.
MOST_COMMANDS, MOST_P99_MS, MOST_IDLE = 25.0, 20.0, 5.0


def measure(options: argparse.Namespace, said: Console, loads: Loads) -> dict[str, Any]:
    """Every figure, by measure and side. Each measurement has servers and processes of its own."""
    rates: dict[str, list[float]] = {name: [] for name in SIDES}
    cpu: dict[str, list[float]] = {name: [] for name in SIDES}
    delays: dict[str, list[float]] = {name: [] for name in SIDES}
    for number in range(1, options.rounds + 1):
        for name, kind in SIDES.items():
            before = loads.before_round()
            seen = measures.throughput(kind, options.tasks)
            rates[name].append(seen.tasks_per_s)
            cpu[name].append(seen.cpu_ms)
            said.print(f"round {number}, {name}: {seen.tasks_per_s:.0f} tasks/s ({before})")
        for name, kind in SIDES.items():
            delays[name] += measures.latency(kind, -(-options.samples // options.rounds))
            said.print(f"round {number}, {name}: {1000 * statistics.median(delays[name]):.1f} ms to the first line")
    counted = {name: measures.commands(kind, options.count) for name, kind in SIDES.items()}
    said.print(f"idle for {options.idle_s:g} s")
    idle = measures.idle(options.idle_s)
    return {
        "throughput": {name: {"rounds": each, "median": statistics.median(each)} for name, each in rates.items()},
        "cpu_ms_per_task": {name: {"rounds": each, "median": statistics.median(each)} for name, each in cpu.items()},
        "latency_ms": {name: report.quantiles(each) for name, each in delays.items()},
        "commands": {
            name: {
                "per_task": counts.per_task,
                "workers": _per_task(counts.workers, counts.tasks),
                "producer": _per_task(counts.producer, counts.tasks),
                "commandstats": _per_task(counts.all, counts.tasks),
            }
            for name, (counts, _) in counted.items()
        },
        "kib_per_task": {name: kept for name, (_, kept) in counted.items()},
        "idle_commands_per_s": idle,
    }


def _per_task(counts: Counter[str], tasks: int) -> dict[str, float]:
    return {name: round(count / tasks, 2) for name, count in counts.most_common() if count}


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the table, and every command by name."""
    rows = [(*row[:4], report.holds(row[4])) for row in _wanted(figures)]
    headings = ("", Ours.name, Stock.name, "wanted", "")
    report.table("one worker of 4 slots beside rq worker-pool -n 4", headings, rows, console)
    for name, seen in figures["commands"].items():
        for part in ("workers", "producer", "commandstats"):
            listed = ", ".join(f"{command} {count:g}" for command, count in seen[part].items())
            console.print(f"{name}, {part}, a task: {listed}", highlight=False)


def _wanted(figures: Mapping[str, Any]) -> list[Row]:
    """One row for each measure: what, ours, stock's, what is wanted, and whether it is so (None: only told)."""
    rate, cpu, delay = figures["throughput"], figures["cpu_ms_per_task"], figures["latency_ms"]
    calls, idle, kib = figures["commands"], figures["idle_commands_per_s"], figures["kib_per_task"]
    ours, stock = Ours.name, Stock.name
    fast = rate[ours]["median"] >= rate[stock]["median"]
    few = calls[ours]["per_task"] <= MOST_COMMANDS
    soon = delay[ours]["p99"] <= MOST_P99_MS
    calm = idle[ours] <= MOST_IDLE
    return [
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


def _total(calls: Mapping[str, Any]) -> float:
    counts: Mapping[str, float] = calls["commandstats"]
    return sum(counts.values())
