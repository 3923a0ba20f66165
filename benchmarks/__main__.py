"""`make bench`: prints a table, writes every figure to `--json FILE`. Exit code 1 if something was not measured."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import measures, report
from benchmarks.measures import SIDES, WrongResult


def main() -> int:
    """Measure, print, write."""
    options = _options()
    console = Console()
    said = Console(stderr=True, quiet=options.quiet)
    try:
        figures = _measure(options, said)
    except (WrongResult, AssertionError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    report.show(figures, console)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def _measure(options: argparse.Namespace, said: Console) -> dict[str, Any]:
    """Every figure, by measure and side. Each measurement has servers and processes of its own."""
    rates: dict[str, list[float]] = {name: [] for name in SIDES}
    cpu: dict[str, list[float]] = {name: [] for name in SIDES}
    delays: dict[str, list[float]] = {name: [] for name in SIDES}
    loads = []
    for number in range(1, options.rounds + 1):
        for name, kind in SIDES.items():
            loads.append(measures.load())
            for kept, figure in zip((rates[name], cpu[name]), measures.throughput(kind, options.tasks), strict=True):
                kept.append(figure)
            said.print(f"round {number}, {name}: {rates[name][-1]:.0f} tasks/s (load {loads[-1]:.1f})")
        for name, kind in SIDES.items():
            delays[name] += measures.latency(kind, -(-options.samples // options.rounds))
            said.print(f"round {number}, {name}: {1000 * statistics.median(delays[name]):.1f} ms to the first line")
    counted = {name: measures.commands(kind, options.count) for name, kind in SIDES.items()}
    said.print(f"idle for {options.idle_s:g} s")
    idle = measures.idle(options.idle_s)
    return {
        "settings": {name: getattr(options, name) for name in ("tasks", "rounds", "samples", "count", "idle_s")},
        "machine": {**measures.machine(), "load_before_each_round": loads},
        "throughput": {name: {"rounds": each, "median": statistics.median(each)} for name, each in rates.items()},
        "cpu_ms_per_task": {name: {"rounds": each, "median": statistics.median(each)} for name, each in cpu.items()},
        "latency_ms": {name: report.quantiles(each) for name, each in delays.items()},
        "commands": {
            name: {
                "per_task": seen.per_task,
                "workers": _per_task(seen.workers, seen.tasks),
                "producer": _per_task(seen.producer, seen.tasks),
                "commandstats": _per_task(seen.all, seen.tasks),
            }
            for name, (seen, _) in counted.items()
        },
        "kib_per_task": {name: kept for name, (_, kept) in counted.items()},
        "idle_commands_per_s": idle,
    }


def _per_task(counts: Counter[str], tasks: int) -> dict[str, float]:
    return {name: round(count / tasks, 2) for name, count in counts.most_common() if count}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="This queue beside stock RQ, in one run.")
    parser.add_argument("--tasks", type=int, default=300, help="tasks of one round of throughput (default 300)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each side in turn (default 5)")
    parser.add_argument("--samples", type=int, default=1000, help="samples of latency, over all rounds (default 1000)")
    parser.add_argument("--count", type=int, default=100, help="tasks whose commands are counted (default 100)")
    parser.add_argument("--idle-s", type=float, default=60.0, help="seconds of idling (default 60)")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    parser.add_argument("--quiet", action="store_true", help="say nothing on the way")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
