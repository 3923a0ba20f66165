"""What the demo shows: progress on stderr while it runs, the table and the verdict on stdout."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from proofq.policies.lifecycle import TERMINAL
from proofq.workers.demo.claims import Claim, failure_class, seconds_between
from proofq.workers.demo.parts import Part

#: Where output goes to no terminal, lines are this long rather than 80.
WIDE: Final = 150
_COLOURS: Final[Mapping[str, str]] = {
    "verified": "green",
    "failed": "red",
    "quarantined": "yellow",
    "running": "cyan",
    "claimed_done": "blue",
    "held": "magenta",
}


class Progress:
    """Every task's state while the demo runs: a live table on a terminal, else a line for each change."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._console = Console(stderr=True)
        self._states = {part.name: ("", 0) for part in parts}
        self._agents = {part.name: part.agent for part in parts}
        self._began = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Something that happened beside the tasks."""
        self._line(text, style="bold")

    def show(self, name: str, state: str, attempt: int) -> None:
        """A task as it is now; nothing is said while it stays as it was."""
        before, _ = self._states[name]
        if self._states[name] == (state, attempt):
            return
        self._states[name] = (state, attempt)
        if self._live is None:
            self._line(f"{name:<22} {before or 'new'} -> {state}" + (f" (attempt {attempt})" if attempt > 1 else ""))
        else:
            self._live.update(self._table(), refresh=True)

    def _line(self, text: str, style: str = "") -> None:
        line = f"{time.monotonic() - self._began:5.1f} s  {text}"
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        """Those that have not ended, and how many have: all together would not fit on a screen."""
        ended = Counter(state for state, _ in self._states.values() if state in TERMINAL)
        counts = ", ".join(f"{count} {state}" for state, count in ended.items())
        table = Table("task", "agent", "state", "attempt", box=None, caption=counts, caption_justify="left")
        for name, (state, attempt) in self._states.items():
            if state not in TERMINAL:
                table.add_row(name, self._agents[name], _coloured(state), str(attempt or ""))
        return table


class Report:
    """The end of the demo, on stdout."""

    def __init__(self) -> None:
        console = Console()
        self._console = console if console.is_terminal else Console(width=WIDE)

    def tasks(self, parts: Sequence[Part], shown: Mapping[str, Mapping[str, Any]]) -> None:
        """One row for each task: what it claimed, what was proven, and what was done about it."""
        table = Table("task", "agent", "claimed", "proven", "class", "what was done", "state", box=None, pad_edge=False)
        table.columns[5].ratio = 1
        for part in parts:
            one = shown[part.name]
            cells = [part.name, part.agent, claimed(one), proven(one), failure_class(one) or "-", done(one)]
            table.add_row(*map(escape, cells), _coloured(one["state"]))
        self._console.print(table)

    def verdict(self, audit: Mapping[str, Any], claims: Sequence[Claim]) -> None:
        """The audit's word, then one line of what held, or a line for each thing that did not."""
        violations = audit.get("violations", [])
        word = "clean" if audit.get("checked") and not violations else f"{len(violations)} violations"
        self._say(f"\naudit: {audit.get('checked', 0)} tasks checked, {word}")
        held = "; ".join(claim.text for claim in claims if claim.held)
        self._say(f"held: {held}." if held else "held: nothing.")
        for claim in claims:
            for problem in claim.problems:
                self._say(f"NOT HELD: {claim.text}: {problem}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def claimed(shown: Mapping[str, Any]) -> str:
    """What the agent said of itself, in any of its attempts."""
    times = sum(crumb["event"] == "claim" for crumb in shown["breadcrumbs"])
    return "nothing" if not times else "done" if times == 1 else f"done, {times} times"


def proven(shown: Mapping[str, Any]) -> str:
    """What the proofs said last: the kinds that hold, or why the first one does not."""
    verdict = shown["verdict"]
    if verdict is None:
        return "-"
    if verdict["outcome"] == "verified":
        return "yes: " + ", ".join(proof["kind"] for proof in verdict["proofs"])
    first = next(proof for proof in verdict["proofs"] if proof["outcome"] == verdict["outcome"])
    return f"no: {str(first['evidence'].get('reason', first['outcome'])).split(':')[0]}"


def done(shown: Mapping[str, Any]) -> str:
    """The attempts one after the other, then the rule that closed the task where it failed."""
    attempts = shown["attempts"]
    text = "".join(map(_then, [None, *attempts], attempts))
    reason = str(shown["breadcrumbs"][-1]["reason"])
    if shown["breadcrumbs"][-1]["event"] == "found":
        text += ": it failed, and its work was found done"
    bound = reason[reason.rindex("(") + 1 : -1] if shown["failure"] and reason.endswith(")") else ""
    return f"{text}; {bound}" if bound else text


def _then(before: Mapping[str, Any] | None, attempt: Mapping[str, Any]) -> str:
    """An attempt's end, after how long it came where the one before had to wait."""
    if before is None:
        return _end_of(attempt)
    waited = seconds_between(before, attempt) if before["outcome"] != "lost" else 0.0
    return f", {waited:.1f} s later {_end_of(attempt)}" if waited >= 1.0 else f", then {_end_of(attempt)}"


def _end_of(attempt: Mapping[str, Any]) -> str:
    if attempt["outcome"] == "lost":
        return "worker lost, taken over"
    return str(attempt["class"] or attempt["outcome"])


def _coloured(state: str) -> str:
    colour = _COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state
