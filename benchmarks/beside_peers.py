"""The part `peers`: an async no-op that writes a file, with four worker processes, beside stock RQ and its peers."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from benchmarks import measures, report
from benchmarks.async_sides import OursAsync
from benchmarks.measures import ForEach, Opens, Round
from benchmarks.peers import PEERS, Peer
from benchmarks.quiet import Loads
from benchmarks.sides import Side, Stock

#: What is wanted: times as many tasks a second as stock's, client commands of a task, KiB kept of a finished one.
TIMES_STOCK, MOST_COMMANDS, MOST_KIB = 8.0, 10.0, 3.0

_KINDS: tuple[type[Side], ...] = (OursAsync, Stock, *PEERS)
BESIDE = {kind.name: kind for kind in _KINDS}


def measure(options: argparse.Namespace, said: Console, loads: Loads) -> dict[str, Any]:
    """Every side, `rounds` times; then the commands and the memory of each once."""
    if not Peer.installed():
        raise AssertionError("the peers are not installed; `make peers` does it")
    with measures.opened(BESIDE, together=options.together) as (sides, for_each):
        return _measure(options, said, loads, sides, for_each)


def _measure(
    options: argparse.Namespace, said: Console, loads: Loads, sides: Mapping[str, Opens[Side]], for_each: ForEach
) -> dict[str, Any]:
    seen: dict[str, list[Round]] = {name: [] for name in BESIDE}

    def one_round(name: str) -> None:
        before = loads.before_round()
        last = measures.throughput(sides[name], _of(BESIDE[name], options.tasks, options.fast_tasks))
        seen[name].append(last)
        said.print(f"{name}: {last.tasks_per_s:.0f} tasks/s, {last.cpu_ms:.2f} ms of CPU a task ({before})")

    def count(name: str) -> tuple[measures.Commands, float]:
        found = measures.commands(sides[name], _of(BESIDE[name], options.count, options.fast_count))
        said.print(f"{name}: {found[0].per_task:.1f} commands a task")
        return found

    for number in range(1, options.rounds + 1):
        said.print(f"round {number}")
        for_each(one_round)
    counted = for_each(count)
    return {name: _figures(seen[name], *counted[name]) for name in BESIDE}


def _of(kind: type[Side], each: int, fast: int) -> int:
    """How many tasks it takes to measure a side."""
    return each if kind is Stock else fast


def _figures(rounds: list[Round], commands: measures.Commands, kib: float) -> dict[str, Any]:
    roles = sorted({role for one in rounds for role in one.by_role})
    return {
        "tasks_per_s": {
            "rounds": [one.tasks_per_s for one in rounds],
            "median": statistics.median(one.tasks_per_s for one in rounds),
        },
        "cpu_ms_per_task": {
            "median": statistics.median(one.cpu_ms for one in rounds),
            "server": statistics.median(one.server_ms for one in rounds),
            "by_process": {role: statistics.median(one.by_role.get(role, 0.0) for one in rounds) for role in roles},
        },
        "commands_per_task": commands.per_task,
        "commands": {
            part: {name: round(count / commands.tasks, 2) for name, count in seen.most_common()}
            for part, seen in (("workers", commands.workers), ("producer", commands.producer))
        },
        "kib_per_task": kib,
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the table, what is wanted of us, and our CPU by process."""
    rows = [
        (
            name, f"{side['tasks_per_s']['median']:.0f}", f"{side['cpu_ms_per_task']['median']:.2f}",
            f"{side['cpu_ms_per_task']['server']:.2f}", f"{side['commands_per_task']:.1f}",
            f"{side['kib_per_task']:.1f}", "read back, then verified" if name == OursAsync.name else "not looked at",
        )
        for name, side in figures.items()
    ]  # fmt: skip
    headings = ("", "tasks/s", "CPU ms a task", "of Redis", "client commands a task", "KiB kept a task", "its file")
    report.table("async no-op that writes a file, 4 worker processes", headings, rows, console)
    ours = figures[OursAsync.name]
    times = ours["tasks_per_s"]["median"] / figures[Stock.name]["tasks_per_s"]["median"]
    wanted = [
        ("tasks a second, by stock's", f"{times:.1f}", f"at least {TIMES_STOCK:g}", report.holds(times >= TIMES_STOCK)),
        _at_most("client commands a task", ours["commands_per_task"], MOST_COMMANDS),
        _at_most("KiB kept a finished task", ours["kib_per_task"], MOST_KIB),
    ]
    report.table("wanted of proofq", ("", "is", "wanted", ""), wanted, console)
    listed = ", ".join(f"{role} {used:.2f}" for role, used in ours["cpu_ms_per_task"]["by_process"].items())
    console.print(f"CPU ms a task by process: {listed}", highlight=False)


def _at_most(what: str, is_: float, most: float) -> tuple[str, str, str, str]:
    return what, f"{is_:.1f}", f"at most {most:g}", report.holds(is_ <= most)
