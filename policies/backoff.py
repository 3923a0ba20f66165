"""How long to wait before trying again. Chance comes in as a number, so that the same facts give the same delay."""

from __future__ import annotations

#: Seconds before the first retry, and the most any retry waits.
BASE_S = 1.0
CAP_S = 60.0


def delay_s(tries: int, jitter: float, base_s: float = BASE_S, cap_s: float = CAP_S) -> float:
    """Exponential: `tries` (1 = the first) doubles it up to `cap_s`; `jitter` in [0, 1) takes half off at most."""
    whole = min(cap_s, base_s * 2.0 ** min(max(tries, 1) - 1, 30))
    return float(whole * (1.0 - 0.5 * jitter))
