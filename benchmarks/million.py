"""The part `million`: what leasing and enqueueing cost when a million tasks wait, beside none; and an empty look."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console

from benchmarks import report
from benchmarks.quiet import Loads
from benchmarks.report import quantiles
from benchmarks.sides import PROJECT
from proofq.workers import keys, known_agents, producer, session
from proofq.workers.leasing import Wish
from proofq.workers.producer import Request
from proofq.workers.scripts import Argument, RedisRunner
from proofq.workers.session import Session
from proofq.workers.store import Store
from tests.servers import PrivateServer, binaries

#: What is wanted: p99 with a million waiting, by p99 with none; milliseconds of an empty lease over 300 queues.
MOST_TIMES, MOST_EMPTY_MS, QUEUES = 1.5, 1.0, 300
AGENT, OWNER, HOST = "write_async", "benchowner", "benchhost"
#: Milliseconds that the owner may be silent: longer than a run.
SILENT_MS = 86_400_000
#: Tasks in one pipeline, and bytes that all of them may take.
BATCH, MOST_BYTES = 500, 12 * 1024**3
#: Calls before those that count.
WARM_UP = 100


class _Runner(RedisRunner):
    """Remembers what it was told last."""

    told: tuple[str, Sequence[Argument]] = ("", ())

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        self.told = name, arguments
        return super().__call__(name, arguments)

    def sha(self, name: str) -> str:
        """By which the server knows a script."""
        return str(self._scripts[name].sha)


class WaitingQueue:
    """A server with one owner, and tasks that wait in one queue. It appends to no file: what a million tasks leave
    there would be written anew again and again, by a copy of the server."""

    def __init__(self, server: PrivateServer) -> None:
        environ = {"PROOFQ_REDIS_URL": server.url, "PROOFQ_CONFIG": str(PROJECT / "proofq.toml")}
        opened = session.open_session(PROJECT, environ)
        self._client = opened.store.client
        self._runner = _Runner(self._client)
        self._session = Session(opened.project, Store(self._client, self._runner, opened.store.clock), server.url)
        self.store = self._session.store
        self._agent = known_agents.find(self._session, AGENT)
        self.queues = [keys.queue_of("work", AGENT)]
        self.store.enlist(OWNER, HOST, SILENT_MS, {"name": "bench", "lane": "work"})
        self.store.beat(OWNER, SILENT_MS)

    def enqueue(self) -> str:
        """One task, as a producer does it; its id."""
        return producer.enqueue(self._session, self._agent, {"out": "/b/f"}, Request(), "bench").id

    def lease(self, queues: Sequence[str]) -> bool:
        """One lease, as a worker asks for it; whether there was a task."""
        return self.store.lease(Wish(OWNER, "0", self.store.clock.token(), queues, "bench", HOST)) is not None

    def fill(self, count: int, said: Console) -> dict[str, float]:
        """Have so many tasks wait: a producer's own call of the enqueue script, again and again but for the id, many in
        a pipeline. Seconds and bytes a task that took."""
        first = self.enqueue().encode()
        name, arguments = self._runner.told
        told = [_packed(one) for one in arguments]
        sha, before, begun = self._runner.sha(name), self._used_bytes(), time.monotonic()
        for start in range(1, count, BATCH):
            pipe = self._client.pipeline(transaction=False)
            for number in range(start, min(count, start + BATCH)):
                task_id = f"{number:016x}".encode()
                pipe.evalsha(sha, 0, *(one.replace(first, task_id) for one in told))
            assert all(answer[0] == b"created" for answer in pipe.execute()), "a task was not created"
            if start % 100_000 == 1:
                used = self._used_bytes()
                said.print(f"{start} of {count} tasks wait, {used / 1024**3:.2f} GiB")
                assert used < MOST_BYTES, f"{start} tasks take {used} bytes, more than they may"
        assert self._client.llen(keys.rq_queue(self.queues[0])) == count, "not all of them wait"
        return {"s": time.monotonic() - begun, "bytes_each": (self._used_bytes() - before) / max(1, count - 1)}

    def _used_bytes(self) -> int:
        return int(self._client.info("memory")["used_memory"])


def measure(options: argparse.Namespace, said: Console, loads: Loads) -> dict[str, Any]:
    """Both servers in turn, call by call, so that what else the machine does meets both."""
    with _server() as none, _server() as many:
        queues = {"none": WaitingQueue(none), "many": WaitingQueue(many)}
        filled = queues["many"].fill(options.waiting, said)
        said.print(f"{options.waiting} wait, {filled['bytes_each']:.0f} bytes each ({loads.before_round()})")
        seen: dict[str, dict[str, list[float]]] = {name: {"enqueue": [], "lease": [], "empty": []} for name in queues}
        empty = [keys.queue_of("work", f"nobody-{number}") for number in range(QUEUES)]
        for _ in range(WARM_UP + options.calls):
            for name, queue in queues.items():
                seen[name]["enqueue"].append(_seconds(queue.enqueue))
                seen[name]["lease"].append(_seconds(partial(_leased, queue)))
                seen[name]["empty"].append(_seconds(partial(queue.lease, empty)))
    return {
        "waiting": options.waiting,
        "fill": filled,
        "ms": {
            name: {what: quantiles(found[WARM_UP:]) for what, found in calls.items()} for name, calls in seen.items()
        },
    }


def _packed(argument: Argument) -> bytes:
    """As the client sends it: of an enum that is a str, its value."""
    if isinstance(argument, str):
        return argument.encode()
    return argument if isinstance(argument, bytes) else str(argument).encode()


def _leased(queue: WaitingQueue) -> None:
    assert queue.lease(queue.queues), "no task was leased"


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


@contextmanager
def _server() -> Iterator[PrivateServer]:
    with PrivateServer(binaries()[0], config={"appendonly": "no"}) as server:
        yield server


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the table."""
    none, many = figures["ms"]["none"], figures["ms"]["many"]
    rows = []
    for what in ("enqueue", "lease"):
        times = many[what]["p99"] / none[what]["p99"]
        rows.append((*_told(what, none, many), f"p99 at most {MOST_TIMES:g} times", report.holds(times <= MOST_TIMES)))
    few = many["empty"]["p50"] <= MOST_EMPTY_MS
    rows.append((*_told("empty", none, many), f"p50 at most {MOST_EMPTY_MS:g} ms", report.holds(few)))
    headings = ("ms of a call, p50 / p99", "none wait", f"{figures['waiting']} wait", "wanted", "")
    report.table(f"many waiting tasks; empty: a lease over {QUEUES} empty queues", headings, rows, console)
    console.print(f"a waiting task takes {figures['fill']['bytes_each']:.0f} bytes of Redis' memory")


def _told(what: str, none: Mapping[str, Any], many: Mapping[str, Any]) -> tuple[str, str, str]:
    without, beside = (f"{found[what]['p50']:.2f} / {found[what]['p99']:.2f}" for found in (none, many))
    return what, without, beside
