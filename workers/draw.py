"""Draws docs/life-of-a-task.md from the table of transitions and the failure classes. `python -m proofq.workers.draw`.

The argument is the folder of the documents. What the page says beside the tables stands here and nowhere else, and
every event of the table must be explained.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from proofq.policies.classes import CLASSES, Bound, FailureClass, Response
from proofq.policies.lifecycle import EVENTS, FIELDS, OWNED, RQ_STATUS, STATES, TABLE, TERMINAL, WAITING

PAGE: Final = "life-of-a-task.md"

#: What each event means and who brings it, in the order of a task's life.
EVENT_MEANINGS: Final[Mapping[str, str]] = {
    "enqueue": "a producer asked for it",
    "enqueue_later": "a producer asked for it, not before a time",
    "enqueue_after": "a producer asked for it, once other tasks have ended in success",
    "lease": "a slot popped it and got its lease, in one step",
    "start": "the agent's first process confirmed that it is up",
    "claim": "the agent's first process ended well by its own word",
    "verify": "every proof held",
    "found": "the proofs held although the attempt did not end well (agents that say `look_first`)",
    "finish_unproven": "the claim stands alone (agents that say `unproven`)",
    "retry": "the failure's class allows another attempt, after a pause",
    "defer": "the cause is nobody's fault; another attempt after a pause, not counted",
    "requeue": "its worker died, or its key was refused and its provider's gate keeps it; not counted",
    "give_back": "its worker is draining, or was cut off for too long; not counted",
    "hold": "a human must look: the proofs cannot tell, or the class says so",
    "fail": "trying again would not help, or the attempts are spent",
    "quarantine": "a bound is reached; taken out with its evidence",
    "cancel": "somebody asked for it, and nothing of it runs any more",
    "expire": "it waited longer than its `max_age_s`",
    "baseline": "how its proofs' targets look before anything starts is written down",
    "adopt": "plain RQ put it into a queue of ours: it becomes a task",
    "adopt_later": "plain RQ keeps it until a time (`enqueue_in`): it becomes a task that waits until then",
    "adopt_bad": "plain RQ put it into a queue of ours or beside it, with inputs or wishes that cannot be met",
    "adopt_poison": "plain RQ put it into a queue of ours, and it is no call of `proofq.run`",
    "trial": "it was there when workers died: apart from others like it, it may start",
    "ask_cancel": "somebody asked for it while it is worked on: its holder kills the tree, then settles",
    "reap": "its owner is dead or silent: somebody else holds the lease now and settles the attempt",
    "due": "its time has come",
    "met": "a task that goes before it ended in success; another one or a time is still to come",
    "release": "the last task that goes before it ended in success",
    "mend": "`audit --repair` put right what is shown and listed of it; the task itself stays as it is",
    "replay": "a human wants it to run anew, with fresh counters",
    "replay_after": "the same, of a task that never ran: it waits again for those that go before it",
}

RESPONSES: Final[Mapping[Response, str]] = {
    "retry": "another attempt after a pause",
    "repair": "another attempt after a pause",
    "fail": "fails at once",
    "quarantine": "quarantined at once",
    "hold": "held for a human",
    "defer": "waits, then another attempt",
    "requeue": "another attempt at once",
    "cancel": "cancelled",
}

BOUNDS: Final[Mapping[Bound, str]] = {
    "attempts": "`max_attempts` (3)",
    "equal_crashes": "`max_equal_crashes` (2) in a row, and `max_attempts`",
    "deaths": "`max_deaths` (3)",
    "pickups": "`max_pickups` (5)",
    "age": "`max_age_s` (a day)",
    "none": "–",
}

_HEAD: Final = """\
<!-- Drawn by `make docs` from policies/lifecycle.py and policies/classes.py. A test compares: do not edit. -->

# Life of a task

A task is in exactly one of twelve states. What moves it is an event; the table below is the only place that knows
which event is legal in which state. An event that is not in the table is refused: the task stays as it is, and its
breadcrumbs say `refused:<event>`.
"""

_AFTER_DIAGRAM: Final = """\
To keep it readable, the diagram leaves out the ends of an attempt that are the same from `leased`, `running` and
`claimed_done`, and the ends of waiting; the transitions below are complete.
"""

_FIELDS_TEXT: Final = """\
These fields describe one attempt or one wait. A task carries one only in the states named; whatever enters another
state is scrubbed of it in the same write, so that a running task never shows a past attempt's error or result. Past
attempts keep their own records.
"""

_CLASSES_TEXT: Final = """\
Every failure has one class, and the class alone selects the response. A counted attempt counts against the task's
`max_attempts`. Numbers in parentheses are the defaults.
"""


def page() -> str:
    """The whole page."""
    parts = [
        _HEAD,
        "```mermaid\n" + "\n".join(_diagram()) + "\n```\n",
        _AFTER_DIAGRAM,
        "## States\n",
        _table(["state", "meaning", "kind", "shown by RQ as"], _states()),
        "## Events\n",
        _table(["event", "what happened", "moves"], _events()),
        "## Fields that come and go\n",
        _FIELDS_TEXT,
        _table(["field", "may stand in"], ([f"`{name}`", _names(states)] for name, states in FIELDS.items())),
        "## Failure classes\n",
        _CLASSES_TEXT,
        _table(["class", "meaning", "response", "bound", "then", "counted"], map(_class_row, CLASSES.values())),
    ]
    return "\n".join(parts)


def _diagram() -> Iterable[str]:
    yield "stateDiagram-v2"
    yield "    direction LR"
    drawn: dict[tuple[str, str], list[str]] = {}
    for (source, event), target in TABLE.items():
        if source != target and not _left_out(source, event):
            drawn.setdefault((source or "[*]", target), []).append(event)
    for (source, target), events in drawn.items():
        yield f"    {source} --> {target}: {', '.join(events)}"
    for state in STATES:
        if state in TERMINAL:
            yield f"    {state} --> [*]"


def _left_out(source: str | None, event: str) -> bool:
    """Whether the same arrow is drawn from another state of the kind."""
    if source == "leased":
        return event != "start"
    if source == "claimed_done":
        return event not in {"verify", "finish_unproven"}
    return source in WAITING and event in {"cancel", "expire", "quarantine"}


def _states() -> Iterable[Sequence[str]]:
    for state, meaning in STATES.items():
        yield [f"`{state}`", meaning, _kind(state), RQ_STATUS[state]]


def _kind(state: str) -> str:
    if state in TERMINAL:
        return "terminal"
    return "waiting" if state in WAITING else "worked on" if state in OWNED else ""


def _events() -> Iterable[Sequence[str]]:
    if EVENT_MEANINGS.keys() != EVENTS:
        raise ValueError(f"events and their meanings differ: {sorted(EVENT_MEANINGS.keys() ^ EVENTS)}")
    for event, meaning in EVENT_MEANINGS.items():
        moves: dict[str, list[str]] = {}
        for (source, name), target in TABLE.items():
            if name == event:
                moves.setdefault("itself" if source == target else f"`{target}`", []).append(f"`{source or '–'}`")
        yield [f"`{event}`", meaning, "; ".join(f"{', '.join(sources)} → {to}" for to, sources in moves.items())]


def _class_row(one: FailureClass) -> Sequence[str]:
    bounded = one.bound != "none"
    return [
        f"`{one.name}`",
        one.meaning,
        RESPONSES[one.response],
        BOUNDS[one.bound],
        f"`{one.ends_in}`" if bounded else "–",
        "yes" if one.counted else "no",
    ]


def _names(states: Iterable[str]) -> str:
    return ", ".join(f"`{state}`" for state in STATES if state in set(states))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Write the page into the folder named by the only argument."""
    Path(sys.argv[1], PAGE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
