"""The part `stock`: one worker of four slots beside `rq worker-pool -n 4`, a process for each task on both sides."""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console

from benchmarks import measures, report
from benchmarks.measures import SIDES, ForEach, Opens
from benchmarks.quiet import Loads
from benchmarks.sides import Ours, Side, Stock

#: What is wanted of this queue: client commands of a task, milliseconds, client commands a second of a process.
MOST_COMMANDS, MOST_P99_MS, MOST_IDLE = 25.0, 20.0, 5.0


def measure(options: argparse.Namespace, said: Console, loads: Loads) -> dict[str, Any]:
    """Every figure, by measure and side."""
    with measures.opened(SIDES, together=options.together) as (sides, for_each):
        return _measure(options, said, loads, sides, for_each)


def _measure(
    options: argparse.Namespace, said: Console, loads: Loads, sides: Mapping[str, Opens[Side]], for_each: ForEach
) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in SIDES}
    cpu: dict[str, list[float]] = {name: [] for name in SIDES}
    delays: dict[str, list[float]] = {name: [] for name in SIDES}

    def rate(name: str) -> None:
        before = loads.before_round()
        seen = measures.throughput(sides[name], options.tasks)
        rates[name].append(seen.tasks_per_s)
        cpu[name].append(seen.cpu_ms)
        said.print(f"{name}: {seen.tasks_per_s:.0f} tasks/s ({before})")

    def delay(name: str) -> None:
        delays[name] += measures.latency(sides[name], -(-options.samples // options.rounds))
        said.print(f"{name}: {1000 * statistics.median(delays[name]):.1f} ms to the first line")

    for number in range(1, options.rounds + 1):
        said.print(f"round {number}")
        for_each(rate)
        for_each(delay)
    counted = for_each(lambda name: measures.commands(sides[name], options.count))
    said.print(f"idle for {options.idle_s:g} s")
    idle = measures.idle(sides.values(), options.idle_s)
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
    report.table(
        "one worker of 4 slots beside rq worker-pool -n 4", ("", *SIDES, "wanted", ""), _rows(figures), console
    )
    for name, seen in figures["commands"].items():
        for part in ("workers", "producer", "commandstats"):
            listed = ", ".join(f"{command} {count:g}" for command, count in seen[part].items())
            console.print(f"{name}, {part}, a task: {listed}", highlight=False)


def _rows(figures: Mapping[str, Any]) -> Iterator[list[str]]:
    """One row for each measure: what, each side's, what is wanted, and for which of ours it is so."""
    rate, delay, calls = figures["throughput"], figures["latency_ms"], figures["commands"]
    speed = {name: each["median"] for name, each in rate.items()}
    rounds = len(rate[Ours.name]["rounds"])
    few = {name: seen["per_task"] for name, seen in calls.items()}
    late = {name: seen["p99"] for name, seen in delay.items()}
    cpu = {name: seen["median"] for name, seen in figures["cpu_ms_per_task"].items()}
    yield _row(
        f"tasks a second, median of {rounds}", speed, ".0f", ("at least stock's", lambda it: it >= speed[Stock.name])
    )
    yield _row("CPU ms a task, without the server's", cpu, ".1f")
    for share in ("p50", "p90"):
        yield _row(f"enqueue to first line, {share}, ms", {name: seen[share] for name, seen in delay.items()}, ".1f")
    yield _row(
        "enqueue to first line, p99, ms", late, ".1f", (f"at most {MOST_P99_MS:g}", lambda it: it <= MOST_P99_MS)
    )
    yield _row("enqueue to first line, max, ms", {name: seen["max"] for name, seen in delay.items()}, ".1f")
    yield _row("client commands a task", few, ".1f", (f"at most {MOST_COMMANDS:g}", lambda it: it <= MOST_COMMANDS))
    yield _row("all commands a task (commandstats)", {name: _total(seen) for name, seen in calls.items()}, ".0f")
    idle = figures["idle_commands_per_s"]
    few_idle = (f"at most {MOST_IDLE:g}", lambda it: it <= MOST_IDLE)
    yield _row("idle: client commands a second and process", idle, ".2f", few_idle)
    yield _row("KiB of Redis memory a finished task", figures["kib_per_task"], ".1f")


def _row(
    what: str, found: Mapping[str, float], form: str, wanted: tuple[str, Callable[[float], bool]] | None = None
) -> list[str]:
    cells = [what, *(format(found[name], form) for name in SIDES)]
    if wanted is None:
        return [*cells, "", ""]
    ours = [wanted[1](found[name]) for name in SIDES if name != Stock.name]
    return [*cells, wanted[0], " / ".join(report.holds(one) for one in ours)]


def _total(calls: Mapping[str, Any]) -> float:
    counts: Mapping[str, float] = calls["commandstats"]
    return sum(counts.values())
