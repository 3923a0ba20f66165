"""Tries a store call again while Redis is away, bounded by whoever holds the lease, never by a guess."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Final, TypeVar

import tenacity

from proofq.policies import backoff
from proofq.policies.isolation import MAX_BACKOFF_S
from proofq.workers.clock import Clock
from proofq.workers.errors import RedisUnavailable
from proofq.workers.scripts import DamagedKey

T = TypeVar("T")

#: How often an act of somebody who waits for it is sent while its reply is lost; each is idempotent for its request.
TRIES: Final = 4


def insist(call: Callable[[], T], clock: Clock, give_up: Callable[[], bool], damaged_s: float = math.inf) -> T:
    """Calls until it succeeds; the last error is raised once `give_up()` says so.

    Each call must be safe to repeat: the verbs of the store are, when the same request id is sent. A damaged key is
    tried again too, for `damaged_s` seconds on end: an operator may mend it.
    """
    try:
        return call()
    except (RedisUnavailable, DamagedKey) as problem:
        # Not worth its price for the first call, which nearly always succeeds.
        return _again(call, problem, clock, give_up, damaged_s)


def _again(call: Callable[[], T], problem: Exception, clock: Clock, give_up: Callable[[], bool], damaged_s: float) -> T:
    """From the first failure on; it counts as the first try."""
    failed: Exception | None = problem
    sound_s = clock.boottime()

    def stop(state: tenacity.RetryCallState) -> bool:
        nonlocal sound_s
        if not (state.outcome and isinstance(state.outcome.exception(), DamagedKey)):
            sound_s = clock.boottime()
        return give_up() or clock.boottime() - sound_s >= damaged_s

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((RedisUnavailable, DamagedKey)),
        wait=lambda state: backoff.delay_s(state.attempt_number, clock.jitter(), 0.05, MAX_BACKOFF_S),
        stop=stop,
        sleep=clock.sleep,
        reraise=True,
    )

    def tried() -> T:
        nonlocal failed
        first, failed = failed, None
        if first is not None:
            raise first
        return call()

    return retrying(tried)


def tries(count: int = TRIES) -> Callable[[], bool]:
    """A bound for `insist`: True once it was asked `count` times, so that so many calls are made in all."""
    asked = itertools.count(1)
    return lambda: next(asked) >= count
