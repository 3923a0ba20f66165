"""Every verb of a gate: a key of another type in each position, at maxmemory, and with its reply lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from proofq.policies import gate
from proofq.policies.failure import Failure
from proofq.policies.gate import Told
from proofq.workers import gates, keys
from proofq.workers.scripts import Argument, DamagedKey
from tests.gate_fleet import NAME, PROVIDER, Fleet

pytestmark = pytest.mark.both_binaries

Act = Callable[[], list[Any]]


def _declare(fleet: Fleet) -> tuple[Argument, ...]:
    return "declare", NAME, "w", "r1", 60_000, 8000, 10**9


def _admit(fleet: Fleet) -> tuple[Argument, ...]:
    return "admit", NAME, "w", "r1", fleet.caller()


def _tell(fleet: Fleet) -> tuple[Argument, ...]:
    fleet.opened()
    failure = Failure("auth", "refused", source="provider")
    return "tell", NAME, "w", "r1", json.dumps(gate.plan(gate.told_by(failure), fleet.let_in(), PROVIDER, 0.0))


def _by_hand(verb: str) -> Callable[[Fleet], tuple[Argument, ...]]:
    def ready(fleet: Fleet) -> tuple[Argument, ...]:
        if verb == "open":
            gates.act(fleet.store, "hold", "p", "w", "")
        return verb, NAME, "w", "r1", "why"

    return ready


def _provider(verb: str) -> Callable[[Fleet], tuple[Argument, ...]]:
    def ready(fleet: Fleet) -> tuple[Argument, ...]:
        if verb == "open_provider":
            gates.act(fleet.store, "isolate", "p", "w", "")
        return verb, "p", "w", "r1", "why"

    return ready


VERBS: dict[str, Callable[[Fleet], tuple[Argument, ...]]] = {
    "declare": _declare,
    "admit": _admit,
    "tell": _tell,
    **{verb: _by_hand(verb) for verb in ("open", "hold", "isolate")},
    **{verb: _provider(verb) for verb in ("isolate_provider", "open_provider")},
}
#: Acts on a provider look at no gate.
OURS = [
    (verb, key)
    for verb in VERBS
    for key in (keys.GATES, keys.ISOLATED, keys.gate(NAME), keys.gate_crumbs(NAME))
    if not (key.endswith(NAME) and verb.endswith("_provider"))
]
#: What a request sent again is answered.
AGAIN = {"declare": b"done", "admit": b"in", "tell": b"done"}


def _dump(fleet: Fleet) -> dict[bytes, bytes]:
    return {key: fleet.client.dump(key) for key in fleet.client.keys("*")}


@pytest.fixture
def fleet(redis_client: redis.Redis) -> Fleet:
    """With a key that nobody has seen before."""
    return Fleet(redis_client)


@pytest.mark.parametrize(("verb", "key"), OURS)
def test_a_strangers_key_stops_it(fleet: Fleet, verb: str, key: str) -> None:
    """Named, with nothing written; put back, the same request goes through."""
    arguments = VERBS[verb](fleet)
    there = fleet.client.exists(key)
    if there:
        fleet.client.rename(key, "aside")
    fleet.client.set(key, "stranger")
    before = _dump(fleet)
    with pytest.raises(DamagedKey, match="nothing was written"):
        fleet.store.call("gate", *arguments)
    assert _dump(fleet) == before
    fleet.client.delete(key)
    if there:
        fleet.client.rename("aside", key)
    assert fleet.store.call("gate", *arguments)[0] in {b"done", b"in"}


@pytest.mark.parametrize("verb", VERBS)
def test_sent_again_it_changes_nothing(fleet: Fleet, verb: str) -> None:
    """The reply was lost: the same request is known, and no move is made twice."""
    arguments = VERBS[verb](fleet)
    first, once = fleet.store.call("gate", *arguments), _dump(fleet)
    for _ in range(2):
        again = fleet.store.call("gate", *arguments)
        assert again[0] == AGAIN.get(verb, b"already")
        assert verb != "admit" or again == first
    assert _dump(fleet) == once


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_redis_refuses_none(fleet: Fleet, verb: str) -> None:
    """At maxmemory work must come to its end, and whoever opens or closes a gate must be heard."""
    arguments = VERBS[verb](fleet)
    fleet.client.config_set("maxmemory-policy", "noeviction")
    fleet.client.config_set("maxmemory", 1)
    try:
        assert fleet.store.call("gate", *arguments)[0] in {b"done", b"in"}
    finally:
        fleet.client.config_set("maxmemory", 0)


def test_whom_nobody_knows_nobody_opens(fleet: Fleet) -> None:
    """A gate that was forgotten meanwhile is unknown to all that act by hand, and is told nothing."""
    admission = fleet.let_in()
    fleet.client.delete(keys.gate(NAME))
    for verb in ("open", "hold", "isolate"):
        assert fleet.store.call("gate", verb, NAME, "w", "r", "")[0] == b"unknown"
    assert fleet.tell(admission, Told("failed")) is None
    assert not fleet.client.exists(keys.gate(NAME))
