"""What is measured of one side, in fresh processes each time. Seconds, bytes and plain counts."""

from __future__ import annotations

import os
import random
import select
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

from benchmarks.monitor import Monitor
from benchmarks.sides import Ours, OursShared, Side, Stock
from tests.waiting import until

SIDES: dict[str, type[Side]] = {side.name: side for side in (Ours, OursShared, Stock)}
S = TypeVar("S", bound=Side)
T = TypeVar("T")
#: What gives a side to measure: the kind itself, with processes of its own each time, or one whose processes are kept.
Opens = Callable[[], AbstractContextManager[S]]


class ForEach(Protocol):
    """Does something with each side by its name, and gives what came of it by name."""

    def __call__(self, act: Callable[[str], T], /) -> dict[str, T]: ...


#: Samples before those that count: the first ones load what later ones find loaded.
WARM_UP = 20
#: Seconds after the last task in which its file must be there.
WRITTEN_WITHIN_S = 10.0
#: Seconds before a measurement is given up.
WITHIN_S = 600.0


@dataclass(frozen=True)
class Commands:
    """Redis commands of `tasks` tasks. `workers` and `producer` are clients' (MONITOR); `all` counts what scripts call
    as well (INFO commandstats), the harness's own left out."""

    tasks: int
    workers: Counter[str]
    producer: Counter[str]
    all: Counter[str]

    @property
    def per_task(self) -> float:
        """Client commands of one task, from its enqueue to its end."""
        return (self.workers.total() + self.producer.total()) / self.tasks


class WrongResult(Exception):
    """A side did not do what was measured."""


@contextmanager
def opened(kinds: Mapping[str, type[Side]], *, together: bool) -> Iterator[tuple[Mapping[str, Opens[Side]], ForEach]]:
    """What gives each side, and what does something with each of them by name. One after the other, with fresh
    processes each time; `together` at once, with the same for all: a look at whether they work, whose speeds say
    nothing."""
    with ExitStack() as stack:
        sides = stack.enter_context(_kept(kinds)) if together else kinds
        pool = stack.enter_context(ThreadPoolExecutor(len(kinds) if together else 1))

        def for_each(act: Callable[[str], T], /) -> dict[str, T]:
            return dict(zip(kinds, pool.map(act, kinds), strict=True))

        yield sides, for_each


@contextmanager
def _kept(kinds: Mapping[str, type[Side]]) -> Iterator[dict[str, Opens[Side]]]:
    """The same processes of a side for all that is measured of it: quicker, and none of it is of fresh ones."""
    sides = {name: kind() for name, kind in kinds.items()}
    with ThreadPoolExecutor(len(sides)) as pool:
        try:
            list(pool.map(lambda side: side.__enter__(), sides.values()))
            yield {name: _opens(side) for name, side in sides.items()}
        finally:
            list(pool.map(lambda side: side.close(), sides.values()))


def _opens(side: Side) -> Opens[Side]:
    return lambda: nullcontext(side)


class _Gates:
    """Every slot is held by a task until `open`: what is enqueued meanwhile waits, and all slots are known to be up."""

    def __init__(self, side: Side) -> None:
        first = side.made
        self._go = side.files / f"go-{first}"
        ups = [side.files / f"up-{first + number}" for number in range(side.gates)]
        for up in ups:
            side.enqueue("gate", out=side.out(), up=str(up), go=str(self._go))
        until(lambda: sum(up.exists() for up in ups) >= side.places, WITHIN_S, f"{side.places} gates of {side.name}")

    def open(self) -> None:
        """Let every slot go on."""
        self._go.touch()


@dataclass(frozen=True)
class Round:
    """Tasks a second, and milliseconds of CPU a task: by what the workers' processes are, and of the server."""

    tasks_per_s: float
    by_role: dict[str, float]
    server_ms: float

    @property
    def cpu_ms(self) -> float:
        """Of all processes but the server and the harness."""
        return sum(self.by_role.values())


def throughput(kind: Opens[Side], tasks: int) -> Round:
    """From the moment all places may begin until the last of `tasks` tasks has finished."""
    with kind() as side:
        side.connect()
        gates = _Gates(side)
        side.enqueue_many("write", tasks)
        used, served_ms, begun = side.cpu_ms(), side.server_ms(), time.monotonic()
        gates.open()
        side.wait_done(side.made, WITHIN_S)
        took_s, then, served_ms = time.monotonic() - begun, side.cpu_ms(), side.server_ms() - served_ms
        _check(side)
    by_role = {role: (then.get(role, 0.0) - used.get(role, 0.0)) / tasks for role in {*used, *then}}
    return Round(tasks / took_s, by_role, served_ms / tasks)


def commands(kind: Opens[Side], tasks: int) -> tuple[Commands, float]:
    """The commands of `tasks` tasks by name, and the KiB of Redis memory that one finished task keeps.

    What the workers do meanwhile beside the tasks (beats, looking around) is counted with them.
    """
    with kind() as side:
        side.connect(tcp=True)
        gates = _Gates(side)
        gates.open()
        side.wait_done(side.made, WITHIN_S)
        side.settle()
        before_bytes, before = _memory(side), _stats(side)
        with Monitor(side.server.socket, side.harness) as monitor:
            side.enqueue_many("write", tasks)
            producer = monitor.harness_so_far()
            side.wait_done(side.made, WITHIN_S)
            side.settle()
        everything = _stats(side) - before
        kept = (_memory(side) - before_bytes) / tasks / 1024
        _check(side)
    seen = monitor.seen
    looking = seen.harness - producer + Counter({"echo": 2, "monitor": 1, "info": 1})
    return Commands(tasks, seen.workers, producer, everything - looking), kept


def latency(kind: Opens[Side], samples: int, *, warm_up: int = WARM_UP, pause_s: float = 0.015) -> list[float]:
    """Seconds from just before the enqueue call to the agent's first line, one task at a time on an idle side.

    `pause_s`: the next one follows up to so long after the last has finished.
    """
    with kind() as side:
        return _latency(side, samples, warm_up, pause_s)


def latency_and(kind: Opens[S], samples: int, look: Callable[[S], list[float]]) -> tuple[list[float], list[float]]:
    """The same, and what `look` finds of these tasks afterwards."""
    with kind() as side:
        found = _latency(side, samples, WARM_UP, 0.015)
        return found, look(side)[-samples:]


def _latency(side: Side, samples: int, warm_up: int, pause_s: float) -> list[float]:
    found = []
    side.connect()
    fifo = side.files / f"fifo-{side.made}"
    os.mkfifo(fifo)
    # Both ends, so that no task waits in open() for a reader.
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        for _ in range(samples + warm_up):
            begun = time.clock_gettime(time.CLOCK_MONOTONIC)
            side.enqueue("first_line", out=side.out(), fifo=str(fifo))
            found.append(_read_time(descriptor) - begun)
            side.wait_done(side.made, WITHIN_S)
            # Apart from each other, and in step with no timer of either side.
            time.sleep(0.005 + pause_s * random.random())
    finally:
        os.close(descriptor)
    _check(side)
    return found[warm_up:]


def idle(kinds: Iterable[Opens[Side]], for_s: float) -> dict[str, float]:
    """Client commands a second of each side's processes, on average, all idle at the same time."""
    with ExitStack() as stack:
        sides = [stack.enter_context(kind()) for kind in kinds]
        for side in sides:
            side.connect()
            gates = _Gates(side)
            gates.open()
            side.wait_done(side.made, WITHIN_S)
        # What follows the last task is not idling.
        time.sleep(2.0)
        with ExitStack() as watching:
            monitors = [watching.enter_context(Monitor(side.server.socket, side.harness)) for side in sides]
            time.sleep(for_s)
        return {
            side.name: monitor.seen.workers.total() / for_s / side.processes
            for side, monitor in zip(sides, monitors, strict=True)
        }


def _check(side: Side) -> None:
    """Every task wrote its file; on our side every task is verified."""
    # A side that counts what was fetched as done may still be writing the last one.
    until_s = time.monotonic() + WRITTEN_WITHIN_S
    while (written := _written(side)) != side.made and time.monotonic() < until_s:
        time.sleep(0.05)
    wrong = side.unproven()
    if written != side.made or wrong:
        raise WrongResult(f"{side.name}: {written} of {side.made} files, {wrong[:3]}\n{side.log()}")


def _written(side: Side) -> int:
    return sum(path.name.isdigit() and path.stat().st_size > 0 for path in side.files.iterdir())


def _stats(side: Side) -> Counter[str]:
    return Counter({
        name.removeprefix("cmdstat_").split("|")[0]: row["calls"]
        for name, row in side.harness.info("commandstats").items()
    })  # fmt: skip


def _memory(side: Side) -> int:
    """Bytes of all keys, by MEMORY USAGE."""
    names = list(side.harness.scan_iter(count=1000))
    pipe = side.harness.pipeline(transaction=False)
    for name in names:
        pipe.memory_usage(name, samples=0)
    return sum(size or 0 for size in pipe.execute())


def _read_time(descriptor: int) -> float:
    ready, _, _ = select.select([descriptor], [], [], 30.0)
    if not ready:
        raise WrongResult("a task did not start within 30 s")
    return float(os.read(descriptor, 64))
