"""`make bench`: prints tables, writes every figure to `--json FILE`. Exit code 1 if something was not measured."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import beside_peers, beside_stock, brownout, dispatch, fair, million, quiet, report
from benchmarks.measures import WrongResult
from benchmarks.quiet import Loads
from benchmarks.sides import Side

PARTS = {
    "stock": beside_stock, "peers": beside_peers, "dispatch": dispatch, "million": million, "brownout": brownout,
    "fair": fair,
}  # fmt: skip
#: What may be said of all parts, beside what each of them takes.
_ABOUT = {
    "tasks": (int, 300, "tasks of one round where each has a process"),
    "fast_tasks": (int, 3000, "tasks of one round of async agents, and of the peers"),
    "rounds": (int, 5, "rounds, each side in turn"),
    "samples": (int, 1000, "samples of latency, over all rounds"),
    "count": (int, 100, "tasks whose commands are counted where each has a process"),
    "fast_count": (int, 1000, "the same of async agents and of the peers"),
    "idle_s": (float, 60.0, "seconds of idling"),
    "rq_samples": (int, 1000, "samples of idle dispatch of plain RQ's producers"),
    "waiting": (int, 1_000_000, "tasks that wait in the part million"),
    "calls": (int, 3000, "calls of each kind that are timed there"),
    "outage_tasks": (int, 100, "tasks that meet the outage of the part brownout"),
    "outage_s": (float, 20.0, "seconds that it lasts"),
    "fair_tasks": (int, 40, "tasks of each of the nine agents of the part fair"),
    "fair_run_s": (float, 0.2, "seconds that each of them takes"),
    "quiet_within_s": (float, 0.0, "seconds that a round may wait for others to be quiet"),
}


def main() -> int:
    """Measure, print, write."""
    options = _options()
    # Into a file the tables go as wide as they are.
    console = Console(width=None if sys.stdout.isatty() else 140)
    said = Console(stderr=True, quiet=options.quiet)
    figures: dict[str, Any] = {
        "settings": {name: getattr(options, name) for name in _ABOUT},
        "machine": quiet.machine(),
    }
    loads = Loads(options.quiet_within_s)
    try:
        with Side.files_left():
            for name in options.parts or PARTS:
                said.print(f"part {name}")
                figures[name] = PARTS[name].measure(options, said, loads)
    except (WrongResult, AssertionError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    figures["before"] = loads.figures()
    for name in options.parts or PARTS:
        PARTS[name].show(figures[name], console)
    report.show_machine(figures, console)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="This queue beside others, in one run.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default all)")
    for name, (kind, default, about) in _ABOUT.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, default=default, help=f"{about} (default {default:,})")
    parser.add_argument("--together", action="store_true", help="all sides of stock and peers at once: a quick look")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    parser.add_argument("--quiet", action="store_true", help="say nothing on the way")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name}; choose from {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
