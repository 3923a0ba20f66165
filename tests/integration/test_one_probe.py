"""Exactly one probe in the fleet for each cool-down: eight processes that ask in one instant, two hundred times."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
import redis

from proofq.policies import gate
from proofq.policies.agent import Provider
from proofq.policies.gate import Admission, Told
from proofq.workers import connection, gates, keys
from proofq.workers.clock import SystemClock
from proofq.workers.scripts import RedisRunner
from proofq.workers.store import Store
from tests.servers import PrivateServer

PROCESSES, ROUNDS = 8, 200
#: A cool-down that is over when the next round begins.
PROVIDER = Provider("p", "KEY", cooldown_s=0.001, min_calls=1)
NAME = gates.name_of(PROVIDER, {"KEY": "k"})


def _store(url: str) -> Store:
    client = connection.client(url)
    return Store(client, RedisRunner(client), SystemClock())


def _ask(url: str, number: int, barrier: Barrier, said: Any) -> None:
    """One process: asks in each round together with all others; who is let through fails."""
    store = _store(url)
    try:
        for turn in range(ROUNDS):
            barrier.wait(30.0)
            admitted = gates.admit(store, NAME, f"o t{number} 1-f {turn}", "test")
            barrier.wait(30.0)
            if isinstance(admitted, Admission):
                said.put((turn, admitted.probe))
                gates.tell(store, gate.plan(Told("failed"), admitted, PROVIDER, 0.0), "test", store.clock.token())
                time.sleep(0.003)
    finally:
        store.client.close()


@pytest.mark.timeout(180)
def test_exactly_one_probe_in_each_round(redis_server: PrivateServer, redis_client: redis.Redis) -> None:
    """Of 200 cool-downs each is ended by one probe, whoever of the eight it is."""
    store = _store(redis_server.url)
    gates.declare(store, [PROVIDER], {"KEY": "k"}, "test")
    for number in range(PROCESSES):
        store.client.hset(keys.leases("o"), f"t{number}", "1-f")
    fresh = multiprocessing.get_context("spawn")
    barrier, said = fresh.Barrier(PROCESSES), fresh.Queue()
    processes = [
        fresh.Process(target=_ask, args=(redis_server.url, number, barrier, said), daemon=True)
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    probes = Counter(turn for turn, probe in (said.get(timeout=120.0) for _ in range(ROUNDS)) if probe)
    for process in processes:
        process.join(30.0)
    assert said.empty()
    assert probes == Counter(dict.fromkeys(range(ROUNDS), 1))
    assert {row[2] for row in gates.crumbs(store, NAME)} == {"probe", "trip"}
    store.client.close()
