"""When equal failures become an incident, and who is told how often; the table [incidents] of proofq.toml. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

#: Ten years: for ever, to an operator.
MAX_SECONDS: Final = 315_360_000.0
MAX_COUNT: Final = 1_000_000
#: More than these would be a storm of their own.
MAX_ESCALATIONS: Final = 10
#: The value of a variable is a secret; its name looks like this.
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True)
class Rules:
    """Names ending in `_s` are seconds.

    `threshold`: the number of equal failures with which an incident opens; one more for what often passes by itself,
    1 for what waits for a human (`auth`, say). `window_s`: failures further apart than this are two incidents.
    `gather_s`: the first notification waits until the cause has been quiet for `quiet_s`, but no longer than this, so
    that it says how many. `escalate_after_s`: from a notification to the next one while nobody acknowledges, longer for
    the less severe; `max_escalations` times, then the incident is parked. `keep_s`: how long it is kept after its last
    failure. `notify_urls_env`: the variable whose value holds the URLs for apprise.
    """

    threshold: int = 2
    window_s: float = 3600.0
    gather_s: float = 10.0
    quiet_s: float = 2.0
    escalate_after_s: float = 900.0
    max_escalations: int = 3
    keep_s: float = 7 * 86400.0
    notify_urls_env: str = "PROOFQ_NOTIFY_URLS"


NAMES: Final = tuple(each.name for each in fields(Rules))
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "threshold": (1, MAX_COUNT),
    "max_escalations": (0, MAX_ESCALATIONS),
    "window_s": (1, MAX_SECONDS),
    "gather_s": (0, 3600),
    "quiet_s": (0, 3600),
    "escalate_after_s": (1, MAX_SECONDS),
    "keep_s": (60, MAX_SECONDS),
}


def problem(name: str, value: object) -> str | None:
    """What is wrong with a setting, as the end of a sentence; None when nothing is. Never repeats a secret."""
    if name not in NAMES:
        return f"unknown key {name!r:.80} of [incidents]; known are {', '.join(NAMES)}"
    if name == "notify_urls_env":
        if isinstance(value, str) and _VARIABLE.fullmatch(value):
            return None
        return "notify_urls_env is the name of an environment variable that holds the URLs, not the URLs themselves"
    low, high = _BOUNDS[name]
    whole = not name.endswith("_s")
    wanted = f"a {'whole number' if whole else 'number of seconds'} from {low:g} to {high:.0f}"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    # NaN is within no bounds.
    if not fits or not isinstance(value, int | float) or not low <= value <= high:
        return f"{name} is {value!r:.80}; it is {wanted}"
    return None
