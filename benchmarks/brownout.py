"""The part `brownout`: a provider that answers 503 for a while; what that costs each side in requests, tasks, time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from benchmarks import report
from benchmarks.askers import ASKERS, Asker
from benchmarks.measures import WITHIN_S, WrongResult
from benchmarks.peers import Peer
from benchmarks.quiet import Loads
from tests.acceptance.moody import Moody

#: What is wanted of ours with a cool-down of 4 s, for the sizes of the table's title: requests, seconds to drain.
MOST_SENT, MOST_DRAIN_S = 12, 6.0
#: The sizes for which that is wanted.
SIZES = {"outage_s": 20.0, "outage_tasks": 100}
#: Seconds in which nothing may be queued, running or waiting before a side is believed to have ended.
ENDED_S = 2.0


@dataclass(frozen=True)
class Outage:
    """What one outage cost. `sent`: requests that reached the provider during it; `after`: those that followed it;
    `lost`: tasks that got no answer and never will; `drain_s`: from the provider's return to the last answer."""

    told: str
    sent: int
    after: int
    lost: int
    drain_s: float


def measure(options: argparse.Namespace, said: Console, loads: Loads) -> dict[str, Any]:
    """Each side once."""
    if not Peer.installed():
        raise AssertionError("the peers are not installed; `make peers` does it")
    found: dict[str, Any] = {"tasks": options.outage_tasks, "outage_s": options.outage_s, "sides": {}}
    for kind in ASKERS:
        before = loads.before_round()
        seen = outage(kind, options.outage_tasks, options.outage_s)
        found["sides"][kind.name] = asdict(seen)
        said.print(f"{kind.name}: {seen.sent} requests, {seen.lost} lost, drained in {seen.drain_s:.1f} s ({before})")
    return found


def outage(kind: type[Asker], tasks: int, outage_s: float) -> Outage:
    """One outage, which begins while nothing is queued and meets `tasks` tasks that are enqueued at once."""
    with Moody() as provider, kind() as side:
        side.connect()
        side.enqueue(side.what, out=side.out(), url=provider.url)
        side.wait_done(1, WITHIN_S)
        known = len(provider.requests())
        begun = time.monotonic()
        provider.status(503)
        for _ in range(tasks):
            side.enqueue(side.what, out=side.out(), url=provider.url)
        time.sleep(max(0.0, begun + outage_s - time.monotonic()))
        provider.status(200)
        back = time.monotonic()
        last = _drained(side, tasks + 1)
        requests = provider.requests()[known:]
        sent = sum(status == 503 for _, status in requests)
        return Outage(side.told, sent, len(requests) - sent, tasks + 1 - side.finished(), max(0.0, last - back))


def _drained(side: Asker, tasks: int) -> float:
    """When the last answer came of those that were still to come."""
    until_s = time.monotonic() + WITHIN_S
    last, finished, ended = time.monotonic(), side.finished(), time.monotonic()
    while finished < tasks and time.monotonic() - ended < ENDED_S:
        if time.monotonic() > until_s:
            raise WrongResult(f"{side.name}: {side.unended()} tasks have not ended in {WITHIN_S:g} s\n{side.log()}")
        time.sleep(0.02)
        now, then = time.monotonic(), finished
        finished = side.finished()
        last = now if finished > then else last
        ended = now if side.unended() else ended
    return last


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the table, and what is wanted of ours where the sizes are those for which it is."""
    rows = [
        (
            name, str(one["sent"]), str(one["after"]), str(one["lost"]),
            f"{one['drain_s']:.1f}" if one["lost"] < figures["tasks"] else "", one["told"],
        )
        for name, one in figures["sides"].items()
    ]  # fmt: skip
    title = f"{figures['tasks']} tasks of 50 ms, 4 workers of a slot, 503 for {figures['outage_s']:g} s"
    headings = ("", "requests during it", "after it", "tasks lost", "s to drain", "what it was told")
    report.table(title, headings, rows, console)
    if figures["tasks"] != SIZES["outage_tasks"] or figures["outage_s"] != SIZES["outage_s"]:
        return
    ours = figures["sides"][ASKERS[0].name]
    wanted = [
        ("requests during it", ours["sent"], MOST_SENT),
        ("tasks lost", ours["lost"], 0),
        ("s to drain", ours["drain_s"], MOST_DRAIN_S),
    ]
    told = [(what, f"{is_:g}", f"at most {most:g}", report.holds(is_ <= most)) for what, is_, most in wanted]
    report.table(f"wanted of {ASKERS[0].name}", ("", "is", "wanted", ""), told, console)
