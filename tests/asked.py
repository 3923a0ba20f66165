"""What the supervisor writes because an attempt asks for it, for the tests of every request that writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from proofq.workers import keys

if TYPE_CHECKING:
    from tests.heart import Heart


def _effect(verb: str) -> Callable[[Heart], Callable[[Any], Any]]:
    def begun(heart: Heart) -> Callable[[Any], Any]:
        fence = _running(heart)
        if verb != "intend":
            heart.store.call("effect", "intend", "t", fence, "mail", "r1", "", "", "", 9)
        return lambda _: heart.store.call("effect", verb, "t", fence, "mail", "r1", "", "null", "attempt", 9)

    return begun


def _running(heart: Heart) -> str:
    """The fence of the one task, which runs."""
    from tests.heart import birth

    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    return heart.running().fence


def _spend(verb: str) -> Callable[[Heart], Callable[[Any], Any]]:
    def spent(heart: Heart) -> Callable[[Any], Any]:
        fence = _running(heart)
        if verb == "close":
            heart.store.call("spend", "admit", "t", fence, "r1", _plan("admit"))
        return lambda _: heart.store.call("spend", verb, "t", fence, "r2", _plan(verb))

    return spent


def _plan(verb: str) -> str:
    scope = {"key": COUNTER, "keep_ms": 1000_000, "owner": "agent", "name": "a", "per": "day", "window": "2026-01-01"}
    learns = {"dearest": keys.DEAREST + "a", "total": {"usd": 5}, "used": {"usd": 5}, "class": "none"}
    return json.dumps(
        {
            "task": {"usd": 90}, "scopes": [{**scope, "limit": {"usd": 100}}], "add": {"usd": 7},
            "must": verb == "close", "ledger": LEDGER,
            "ledger_keep_ms": 1000_000, "agent": "a", "guess": [] if verb == "take" else ["usd"],
            **({} if verb == "take" else learns),
        }
    )  # fmt: skip


#: A budget's window and a ledger's day.
COUNTER: Final = keys.spent("agent", "a", "2026-01-01")
LEDGER: Final = keys.ledger("2026-01-01")
_SPEND: Final = (keys.task("t"), COUNTER, LEDGER, keys.BUDGETS, keys.OWNERS)
_EFFECT: Final = (keys.task("t"), keys.effects("t"), keys.UNCONFIRMED, keys.OWNERS)
#: Name of a request, what brings a Redis to just before it, and the keys that must hold their type for it.
ASKED: Final = (
    ("effect", _effect("intend"), _EFFECT),
    ("effect_record", _effect("record"), _EFFECT),
    ("effect_withdraw", _effect("withdraw"), _EFFECT),
    ("spend", _spend("take"), _SPEND),
    ("spend_admit", _spend("admit"), (*_SPEND, keys.DEAREST + "a")),
    ("spend_close", _spend("close"), (*_SPEND, keys.DEAREST + "a")),
)
