"""What the demo claims to show, each checked against what was seen. Pure: documents of `proofq show` and `audit` in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proofq.policies.lifecycle import TERMINAL
from proofq.workers.demo.parts import ENDS, Part, Role


@dataclass(frozen=True)
class Seen:
    """All there is to judge.

    `shown`: by a part's name, the document of `proofq show`. `killed`: the name that the killed worker's attempts
    bear, and `live` the slow parts whose attempts were running on it then. `outlived`: pids of the killed worker's
    agents that still lived when their task was running again. `audit`: the document of `proofq audit`. `exit_code`:
    of the worker that was left, after TERM. `left`: processes that live after all was ended.
    """

    parts: Sequence[Part]
    shown: Mapping[str, Mapping[str, Any]]
    killed: str
    live: Sequence[str]
    outlived: Sequence[int] = ()
    audit: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int | None = 0
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
    honest, liars = _count(seen, "honest"), _count(seen, "liar")
    told: list[tuple[str, Callable[[Seen], Iterator[str]]]] = [
        (f"{honest} honest tasks verified", lambda seen: _ends(seen, "honest")),
        (f"{liars} liars not verified", lambda seen: _ends(seen, "liar")),
        ("the crash quarantined", lambda seen: _ends(seen, "crash")),
        ("the hang stopped at its deadline", lambda seen: _ends(seen, "hang")),
        (f"{len(seen.live)} tasks of the killed worker taken over", _taken_over),
        ("each task in exactly one terminal state", _one_end),
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


_OPEN: Final = (None, "")


def _count(seen: Seen, role: Role) -> int:
    return sum(part.role == role for part in seen.parts)


def _ends(seen: Seen, role: Role) -> Iterator[str]:
    state, kind = ENDS[role]
    for part in seen.parts:
        if part.role == role:
            shown = seen.shown[part.name]
            if (shown["state"], failure_class(shown)) != (state, kind):
                wanted = f"{state} {kind}".strip()
                yield f"{part.name} is {shown['state']} {failure_class(shown)}".strip() + f", it must be {wanted}"


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
        if shown["state"] not in TERMINAL or entered != 1:
            yield f"{part.name} is {shown['state']} and entered a terminal state {entered} times"
        if any(one["ended_at"] in _OPEN or one["outcome"] in _OPEN for one in shown["attempts"]):
            yield f"{part.name} ended with an attempt that is still open"


def _audited(seen: Seen) -> Iterator[str]:
    if seen.audit.get("checked", 0) < len(seen.parts):
        yield f"the audit looked at {seen.audit.get('checked')} of {len(seen.parts)} tasks"
    for one in seen.audit.get("violations", [{"rule": "none", "subject": "audit", "detail": "no answer"}]):
        yield f"{one['rule']}: {one['subject']}: {one['detail']}"


def _left(seen: Seen) -> Iterator[str]:
    if seen.exit_code != 0:
        yield f"the worker that was left ended with {seen.exit_code} after TERM"
    yield from seen.left
