"""A settlement under a cap, a rate and turns, which asks for a lease: a request that writes, as in tests.heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from proofq.workers import keys
from proofq.workers.door import Event

if TYPE_CHECKING:
    from tests.heart import Heart

_CAP: Final = "agent:a"


def _ready(heart: Heart) -> Callable[[Callable[[], bool]], Any]:
    """Beside another queue whose turn it may be."""
    from tests.heart import CLAIM, QUEUE, START, VERDICT, birth

    queues = [f"{QUEUE} - 1:1000 {_CAP} 1 9 1000", "work.other - 1:1000"]
    heart.enlist("o")
    for name in ("t", "u"):
        heart.store.enqueue(birth(name))
    lease, wish = heart.lease(queues=queues), heart.wish(request="r1", queues=queues)
    for event in (START, CLAIM):
        assert lease is not None
        lease = heart.settled(lease, event).lease
    assert lease is not None
    held = lease
    return lambda give_up: heart.settled(held, Event("verify", "worker", verdict=VERDICT), give_up, lambda: wish)


#: As `tests.heart.Request` takes it: keys of caps and turns stop no settlement.
CAPPED: Final = (
    "verify_capped", _ready, (), (keys.running(_CAP), keys.starts(_CAP), keys.TURNS), "verified", "verify",
)  # fmt: skip
