"""How what stands in Redis is laid out, as a number, and what workers of different numbers may do beside each other.

MAJOR changes when an older worker could not read what a newer one writes, or would do the wrong thing with it: a state,
an event, a key or a field with another meaning. MINOR changes when there is something that an older one may leave
alone: a field, a key or an entry of the catalogue more. So any minor serves beside any other, and no major beside
another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAJOR: Final = 1
MINOR: Final = 3
#: As it is shown, and as a worker's row says it.
VERSION: Final = f"{MAJOR}.{MINOR}"


def refusal(stored_major: str, release: str) -> str:
    """Why this version of proofq keeps off, where Redis is laid out as `stored_major` and `release` began that."""
    by = f", begun by proofq {release}" if release else ""
    newer = stored_major.isdecimal() and int(stored_major) > MAJOR
    advice = "install the newer proofq here" if newer else "let the older workers finish their tasks, then purge them"
    return (
        f"Redis holds tasks in layout {stored_major}{by}; this proofq works with layout {MAJOR}, and nothing was "
        f"written. Either {advice}, or name another Redis or database in PROOFQ_REDIS_URL."
    )


def unlike(versions: Iterable[str]) -> list[str]:
    """Those of the layouts that workers say which are not this one, sorted; '' stands for one that says none."""
    return sorted({version or "not said" for version in versions if version != VERSION})
