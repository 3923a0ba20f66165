"""What the demo claims to show, each checked against what was seen. Pure: documents of `proofq show` and `audit` in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from proofq.policies.lifecycle import HELD, TERMINAL
from proofq.workers.demo.parts import ENDS, Part, Role


@dataclass(frozen=True)
class Seen:
    """All there is to judge.

    `shown`: by a part's name, the document of `proofq show`. `killed`: the name that the killed worker's attempts
    bear, and `live` the slow parts whose attempts were running on it then. `outlived`: pids of the killed worker's
    agents that still lived when their task was running again. `audit`: the document of `proofq audit`. `exit_codes`:
    of the workers that were left, after TERM. `left`: processes that live after all was ended.
    """

    parts: Sequence[Part]
    shown: Mapping[str, Mapping[str, Any]]
    killed: str
    live: Sequence[str]
    outlived: Sequence[int] = ()
    audit: Mapping[str, Any] = field(default_factory=dict)
    exit_codes: Sequence[int | None] = ()
    left: Sequence[str] = ()


@dataclass(frozen=True)
class Claim:
    """One thing that the demo claims, in words, and why it is not so ([] = it is)."""

    text: str
    problems: list[str]

    @property
    def held(self) -> bool:
        return not self.problems


def judge(seen: Seen) -> list[Claim]:
    """Every claim, in the order of the story."""
    waited = [part for part in seen.parts if part.wait_s]
    told: list[tuple[str, Callable[[Seen], Iterator[str]]]] = [
        (f"{_count(seen, 'honest')} honest tasks verified", lambda seen: _ends(seen, "honest")),
        (f"{sum(bool(part.through) for part in seen.parts)} of them after a failure that has its class", _through),
        (f"{len(waited)} waited at least as long as they were told to", _waited),
        ("work done before a refusal was found without a second run", _once),
        (f"{_count(seen, 'liar')} liars not verified", lambda seen: _ends(seen, "liar")),
        ("the crash quarantined", lambda seen: _ends(seen, "crash")),
        ("the hang stopped at its deadline", lambda seen: _ends(seen, "hang")),
        (f"{_count(seen, 'silent')} silent ones stopped", lambda seen: _ends(seen, "silent")),
        ("a refused key and a lack of credit held", lambda seen: _ends(seen, "key", "credit")),
        ("what cannot succeed failed", lambda seen: _ends(seen, "overloaded", "overflow", "refused")),
        (f"{len(seen.live)} tasks of the killed worker taken over", _taken_over),
        ("each task in exactly one terminal state, or held", _one_end),
        ("the audit found nothing", _audited),
        ("no process left", _left),
    ]
    return [Claim(text, list(check(seen))) for text, check in told]


def entered_terminal(shown: Mapping[str, Any]) -> int:
    """How often the task's breadcrumbs enter a terminal state."""
    return sum(crumb["to"] in TERMINAL and crumb["from"] != crumb["to"] for crumb in shown["breadcrumbs"])


def failure_class(shown: Mapping[str, Any]) -> str:
    """The class of the task's failure, '' when it did not fail."""
    return str((shown["failure"] or {}).get("class", ""))


def seconds_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """Seconds from the end of an attempt to the start of the next, or its lease where it never started; 0 if open."""
    times = (before["ended_at"], after["started_at"] or after["leased_at"])
    if None in times:
        return 0.0
    ended, began = map(datetime.fromisoformat, times)
    return (began - ended).total_seconds()


_OPEN: Final = (None, "")


def _count(seen: Seen, role: Role) -> int:
    return sum(part.role == role for part in seen.parts)


def _ends(seen: Seen, *roles: Role) -> Iterator[str]:
    for part in seen.parts:
        state, kind = ENDS[part.role]
        shown = seen.shown[part.name]
        if part.role in roles and (shown["state"], failure_class(shown)) != (state, kind):
            wanted = f"{state} {kind}".strip()
            yield f"{part.name} is {shown['state']} {failure_class(shown)}".strip() + f", it must be {wanted}"


def _own(seen: Seen, part: Part) -> list[Mapping[str, Any]]:
    """A task's attempts but for those that were lost with their worker: what those met, nobody knows."""
    return [one for one in seen.shown[part.name]["attempts"] if one["outcome"] != "lost"]


def _through(seen: Seen) -> Iterator[str]:
    for part in seen.parts:
        own = _own(seen, part)
        complete = len(own) == len(seen.shown[part.name]["attempts"])
        if part.through and complete and own[0]["class"] != part.through:
            yield f"the first attempt of {part.name} is {own[0]['class']}, it must be {part.through}"


def _waited(seen: Seen) -> Iterator[str]:
    for part in seen.parts:
        for before, after in pairwise(_own(seen, part)):
            if before["class"] == "rate_limited" and (waited := seconds_between(before, after)) < part.wait_s:
                yield f"{part.name} was told to wait {part.wait_s:g} s and ran again after {waited:.1f} s"


def _once(seen: Seen) -> Iterator[str]:
    for part in seen.parts:
        if part.once and len(own := _own(seen, part)) > 1:
            yield f"{part.name} ran {len(own)} times"


def _taken_over(seen: Seen) -> Iterator[str]:
    if not seen.live:
        yield "no attempt was live on the worker when it was killed"
    for pid in seen.outlived:
        yield f"agent {pid} of the killed worker was still alive when its task ran again"
    for name in seen.live:
        attempts = seen.shown[name]["attempts"]
        lost = [one for one in attempts if one["worker"] == seen.killed]
        if [one["outcome"] for one in lost] != ["lost"]:
            yield f"{name}: attempts on the killed worker ended as {[one['outcome'] for one in lost]}, not as one lost"
        last = attempts[-1]
        if last["outcome"] != "verified" or last["worker"] == seen.killed:
            yield f"{name}: the last attempt is {last['outcome']} on {last['worker']}"


def _one_end(seen: Seen) -> Iterator[str]:
    for part in seen.parts:
        shown = seen.shown[part.name]
        entered = entered_terminal(shown)
        if (shown["state"], entered) != (HELD, 0) and (shown["state"] not in TERMINAL or entered != 1):
            yield f"{part.name} is {shown['state']} and entered a terminal state {entered} times"
        if any(one["ended_at"] in _OPEN or one["outcome"] in _OPEN for one in shown["attempts"]):
            yield f"{part.name} ended with an attempt that is still open"


def _audited(seen: Seen) -> Iterator[str]:
    if seen.audit.get("checked", 0) < len(seen.parts):
        yield f"the audit looked at {seen.audit.get('checked')} of {len(seen.parts)} tasks"
    for one in seen.audit.get("violations", [{"rule": "none", "subject": "audit", "detail": "no answer"}]):
        yield f"{one['rule']}: {one['subject']}: {one['detail']}"


def _left(seen: Seen) -> Iterator[str]:
    if any(code != 0 for code in seen.exit_codes):
        yield f"the workers that were left ended with {list(seen.exit_codes)} after TERM"
    yield from seen.left
