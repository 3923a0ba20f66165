"""What the supervisor writes because an attempt asks for it, for the tests of every request that writes."""

from __future__ import annotations

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


_EFFECT: Final = (keys.task("t"), keys.effects("t"), keys.UNCONFIRMED, keys.OWNERS)
#: Name of a request, what brings a Redis to just before it, and the keys that must hold their type for it.
ASKED: Final = (
    ("effect", _effect("intend"), _EFFECT),
    ("effect_record", _effect("record"), _EFFECT),
    ("effect_withdraw", _effect("withdraw"), _EFFECT),
)
