"""When a provider counts as failing: which failures speak against it, and the numbers by which its gate trips.

A rolling window of ten pieces: the gate trips once `min_calls` calls were watched in it and `failure_rate` of them
failed. While nothing fails nothing is counted; the first failure begins the window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proofq.policies.agent import Provider
    from proofq.policies.failure import Failure

#: Pieces of the window.
PIECES: Final = 10
#: Classes that say that the provider is failing, as far as it is to blame: not that it refuses a key or an input, nor
#: that it asks to slow down, which is an answer.
_BROWNOUT: Final = frozenset({"overloaded", "network", "timeout"})


def is_brownout(failure: Failure) -> bool:
    """Whether the failure speaks against the provider: a deadline of ours does not, nor does a closed gate."""
    return failure.kind in _BROWNOUT and failure.source == "provider"


def is_slow(took_s: float, slow_call_s: float | None) -> bool:
    """Whether a call that was answered took so long that it counts as a failed one."""
    return slow_call_s is not None and took_s > slow_call_s


def numbers(provider: Provider, jitter: float) -> dict[str, object]:
    """The thresholds as the script compares them: milliseconds, whole per cents."""
    return {
        "cooldown": round(1000 * (provider.cooldown_s + jitter * min(0.5, 0.05 * provider.cooldown_s))),
        "piece": max(1, round(1000 * provider.window_s / PIECES)),
        "pieces": PIECES,
        "min_calls": provider.min_calls,
        "rate": round(100 * provider.failure_rate),
    }
