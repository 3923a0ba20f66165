"""A site whose agents talk to a moody provider through a gate; what was sent, counted and waited for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from proofq.policies import lifecycle
from proofq.workers import gates
from proofq.workers.gates import Gate, Verb
from tests.acceptance.harness import Site, Worker, one_end
from tests.acceptance.moody import Moody
from tests.waiting import until

ISOLATE: Verb = "isolate"
OPEN: Verb = "open"

AGENTS = '''
"""Agents that ask a moody provider once, and write down that it answered."""

import asyncio
import os
import pathlib
import urllib.request

import proofq

PROOFS = [proofq.proofs.file("{out}", min_bytes=1)]


def _ask() -> bytes:
    request = urllib.request.Request("URL", headers={"Authorization": os.environ.get("MOODY_KEY", "")})
    return urllib.request.urlopen(request, timeout=20).read()


@proofq.agent(provider="moody", timeout_s=60, proofs=PROOFS)
def asks(ctx, out: str) -> str:
    """Ask, as any agent that uses a library."""
    _ask()
    pathlib.Path(out).write_text("answered")
    return "done"


@proofq.agent(provider="moody", timeout_s=60, proofs=PROOFS)
def calls(ctx, out: str) -> str:
    """The same through ctx.call."""
    ctx.call("moody", _ask)
    pathlib.Path(out).write_text("answered")
    return "done"


@proofq.agent(timeout_s=60, proofs=PROOFS)
def calls_only(ctx, out: str) -> str:
    """The same of an agent that names no provider: it is leased, and its call passes the gate."""
    return calls.function(ctx, out)


@proofq.agent(provider="moody", timeout_s=60, proofs=PROOFS)
def pays(ctx, out: str) -> str:
    """The same of an agent that says what it spends."""
    ctx.spend(usd=0.01, requests=1)
    return asks.function(ctx, out)


@proofq.agent(provider="moody", timeout_s=60, proofs=PROOFS)
async def awaits(ctx, out: str) -> str:
    """The same of an async agent."""
    await ctx.call("moody", asyncio.to_thread, _ask)
    ctx.workdir.joinpath(out).write_text("answered")
    return "done"
'''


class Gated:
    """A site with a provider."""

    def __init__(self, site: Site, provider: Moody, key: str) -> None:
        self.site = site
        self.provider = provider
        self.key = key
        self.since_s = 0.0
        self._named = 0

    def start(self, slots: int = 1, key: str = "") -> Worker:
        return self.site.start("--slots", str(slots), environ={"MOODY_KEY": key or self.key})

    def workers(self, count: int, slots: int = 1) -> list[Worker]:
        """So many workers, ready."""
        started = [self.start(slots) for _ in range(count)]
        return [worker.wait_ready(60.0) for worker in started]

    def fresh(self) -> None:
        """The provider answers, and the gate is open and has forgotten what it watched."""
        self.provider.status(200)
        for verb in (ISOLATE, OPEN):
            gates.act(self.site.store, verb, "moody", "test", "afresh")
        self.since_s = time.monotonic()

    def sent(self) -> list[tuple[float, int]]:
        """When each request came, and its status, since the gate was made afresh."""
        return self.provider.requests(self.since_s)

    def enqueue(self, count: int, agent: str = "asks") -> list[str]:
        self._named += count
        numbers = range(self._named - count, self._named)
        return [self.site.enqueue(agent, out=self.site.out(f"{agent}-{n}")) for n in numbers]

    def gate(self) -> Gate:
        """The newest gate of the provider."""
        return max(gates.read_all(self.site.store), key=lambda one: one.since or 0)

    def wait_gate(self, state: str, within_s: float = 20.0) -> Gate:
        until(lambda: self.gate().state == state, within_s, f"a gate that is {state}")
        return self.gate()

    def states(self, ids: list[str]) -> Counter[str]:
        return Counter(task.state for task in self.site.store.read_many(ids))

    def wait_verified(self, ids: list[str], within_s: float) -> float:
        """Waits until all are verified; how long that took. Fails once one cannot be any more."""
        begun = time.monotonic()
        while (states := self.states(ids))[lifecycle.VERIFIED] < len(ids):
            lost = states.keys() & (lifecycle.TERMINAL - {lifecycle.VERIFIED})
            if lost or time.monotonic() - begun > within_s:
                raise AssertionError(f"{states}\n{self.gate()}\n{self.site.logs()}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def attempts(self, ids: list[str]) -> tuple[int, int]:
        """How many attempts were begun, and how many of them counted, of all these tasks."""
        records = [record for task_id in ids for record in self.site.snapshot(task_id).attempts]
        return len(records), sum(bool(record.get("counted")) for record in records)

    def wrong(self, ids: list[str]) -> list[str]:
        """Contradictions in what is written of these tasks."""
        return [line for task_id in ids for line in one_end(self.site.snapshot(task_id))]

    def moves(self) -> list[tuple[float, str]]:
        """The events of the gate since it was made afresh, and when each was, by the monotonic clock."""
        rows = gates.crumbs(self.site.store, self.gate().name)
        moves = [(self._monotonic_s(row[0]), row[2]) for row in rows]
        return [(at, event) for at, event in moves if at >= self.since_s]

    def leased(self, ids: list[str]) -> list[float]:
        """When each attempt of these was leased, by the monotonic clock."""
        records = [record for task_id in ids for record in self.site.snapshot(task_id).attempts]
        return [self._monotonic_s(record["leased_at"]) for record in records]

    @staticmethod
    def _monotonic_s(at_ms: float) -> float:
        """What the monotonic clock said then; the server has the clock of this machine."""
        return float(at_ms) / 1000 - time.time() + time.monotonic()

    def pages(self) -> int:
        """How often a human was called."""
        return sum(worker.log_path.read_text(errors="replace").count("gate_held") for worker in self.site.workers)


@contextmanager
def gated(options: Mapping[str, Any], key: str = "key-one") -> Iterator[Gated]:
    """`options` go to [providers.moody]."""
    with Site({"meta_slots": 0}) as site, Moody() as provider:
        (site.project / "asking.py").write_text(AGENTS.replace("URL", provider.url))
        toml = site.project / "proofq.toml"
        lines = [f"{name} = {value}" for name, value in options.items()]
        declared = "\n".join(["", "[providers.moody]", 'key_env = "MOODY_KEY"', *lines, ""])
        toml.write_text(toml.read_text().replace("modules = [", 'modules = ["asking", ', 1) + declared)
        yield Gated(site, provider, key)
