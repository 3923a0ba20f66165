"""The part `dispatch`: how soon an idle worker begins a task, of our producers and of those who only know RQ."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
from rich.console import Console
from rq import Queue
from rq.serializers import JSONSerializer

from benchmarks import measures, report
from benchmarks.quiet import Loads
from benchmarks.report import quantiles
from benchmarks.sides import Ours
from proofq.policies import lifecycle
from proofq.policies.isolation import TICK_S
from proofq.workers import keys

#: What is wanted, in milliseconds: p50 and p99 of our producers, the longest of plain RQ's.
MOST_P50_MS, MOST_P99_MS, MOST_RQ_MS = 3.0, 10.0, 1200.0
#: Workers that are asked at the same time by plain RQ's producers, each alone with its own server: a look takes up to
#: a second.
AT_ONCE = 8


class OneWorker(Ours):
    """One worker of four slots, with an async agent that has a file proof."""

    name = "ours"
    _agents = ("first_line_async",)

    def enqueue(self, what: str, **inputs: str | float) -> None:
        super().enqueue(self._agents[0], **inputs)

    def lease_ms(self) -> list[float]:
        """From each task's enqueue to its lease, in whole milliseconds of the server's clock, oldest first."""
        store = self._session.store
        tasks = reversed(store.read_many(store.newest(0, 1_000_000)))
        return [float(store.attempts(task.id)[0]["leased_at"] - task.enqueued_at) for task in tasks]


class Unproven(OneWorker):
    """The same, and its agent's word is taken: nothing is recorded before it starts."""

    name = "ours, unproven"
    _agents = ("first_line_unproven",)
    ends_as = lifecycle.FINISHED_UNPROVEN


class PlainProducer(OneWorker):
    """The same worker, and a producer that has RQ alone and rings no bell."""

    name = "plain RQ's"

    def connect(self, *, tcp: bool = False) -> None:
        super().connect(tcp=tcp)
        connection = redis.Redis.from_url(self._url(tcp))
        self._queue = Queue(keys.queue_of("work", self._agents[0]), connection=connection, serializer=JSONSerializer)

    def enqueue(self, what: str, **inputs: str | float) -> None:
        self._queue.enqueue("proofq.run", inputs)


def measure(options: argparse.Namespace, said: Console, loads: Loads) -> dict[str, Any]:
    """Ours one after another; plain RQ's from several producers, each with a worker of its own."""
    before = loads.before_round()
    ours, leased = measures.latency_and(Unproven, options.samples, Unproven.lease_ms)
    said.print(f"our producers: {quantiles(ours)['p50']:.2f} ms ({before})")
    proven = measures.latency(OneWorker, options.samples)
    workers = min(AT_ONCE, options.rq_samples)
    each = -(-options.rq_samples // workers)
    with ThreadPoolExecutor(workers) as pool:
        # At any time between two looks, not always just after one.
        plain = pool.map(lambda _: measures.latency(PlainProducer, each, warm_up=2, pause_s=TICK_S), range(workers))
        found = [one for some in plain for one in some]
    return {
        "ours": quantiles(ours),
        "ours_with_file_proof": quantiles(proven),
        "ours_to_lease": quantiles([one / 1000 for one in leased]),
        "plain_rq": quantiles(found),
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the table."""
    ours, lease, plain = figures["ours"], figures["ours_to_lease"], figures["plain_rq"]
    proven = figures["ours_with_file_proof"]
    rows = [
        ("our producers, p50", ours["p50"], MOST_P50_MS),
        ("our producers, p99", ours["p99"], MOST_P99_MS),
        ("to the lease alone, p50", lease["p50"], None),
        ("to the lease alone, p99", lease["p99"], None),
        ("with a file proof, p50", proven["p50"], None),
        ("with a file proof, p99", proven["p99"], MOST_P99_MS),
        ("plain RQ's producers, p50", plain["p50"], None),
        ("plain RQ's producers, longest", plain["max"], MOST_RQ_MS),
    ]
    told = [
        (what, f"{is_:.1f}", f"at most {most:g}" if most else "", report.holds(is_ <= most if most else None))
        for what, is_, most in rows
    ]
    title = f"idle dispatch, ms to an async agent's first line ({ours['samples']} and {plain['samples']} samples)"
    report.table(title, ("", "is", "wanted", ""), told, console)
