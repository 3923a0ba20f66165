"""What a gate says to people: why a task waits at it, what opens it, and what somebody should do."""

from __future__ import annotations

from dataclasses import dataclass

from proofq.policies import gate


@dataclass(frozen=True)
class Shut:
    """A gate that lets nobody through: times are ISO 8601 texts, '' where there is none; `probe` is the task that tries
    it, '' where none does."""

    provider: str
    key: str
    state: str
    reason: str = ""
    since: str = ""
    until: str = ""
    probe: str = ""

    @property
    def name(self) -> str:
        """As sentences call it."""
        return f"{self.provider} (key {self.key})" if self.key != gate.NO_KEY else self.provider


def waiting(shut: Shut) -> tuple[str, str]:
    """Why a task waits there, as a sentence, and what comes next, as a clause."""
    why = f": {_one_line(shut.reason)}" if shut.reason else ""
    since = f" since {shut.since}" if shut.since else ""
    match shut.state:
        case gate.COOLING:
            seen = f"The gate of {shut.name} cools until {shut.until}{why}."
            return seen, f"it waits until {shut.until}; what waited is then let out bit by bit, and nothing was counted"
        case gate.TRIPPED:
            seen = f"The gate of {shut.name} is tripped{since}{why}."
            return (
                seen,
                f"at {shut.until} one task tries whether the provider answers again, and then the others follow",
            )
        case gate.PROBING:
            tried = f"task {shut.probe} tries it" if shut.probe else "one task may try it"
            seen = f"The gate of {shut.name} lets one through at a time{since}{why}."
            return seen, f"{tried}, and the others follow once an answer came"
        case gate.HELD:
            seen = f"The gate of {shut.name} is held{since}{why}."
            return seen, f"it waits until {_to_do(shut)}"
        case gate.ISOLATED:
            seen = f"The gate of {shut.name} is isolated{since}{why}."
            return seen, f"it waits until somebody opens it (`proofq gate open {shut.provider}`)"
        case _:
            seen = f"The gate of {shut.name} is {shut.state}{why}."
            return seen, "it waits until that is put right (`proofq gate list`)"


def attention(shut: Shut) -> str | None:
    """What somebody should look at; None where the gate opens by itself as every gate does that is new."""
    why = f": {_one_line(shut.reason)}" if shut.reason else ""
    match shut.state:
        case gate.HELD:
            return f"the gate of {shut.name} is held since {shut.since}{why}; tasks wait until {_to_do(shut)}."
        case gate.ISOLATED:
            return f"the gate of {shut.name} is isolated since {shut.since}{why}; `proofq gate open {shut.provider}`."
        case gate.TRIPPED:
            return f"the provider of the gate {shut.name} is failing since {shut.since}{why}; next probe {shut.until}."
        case gate.COOLING:
            return f"the gate of {shut.name} cools until {shut.until}{why}."
        case gate.OPEN | gate.PROBING:
            return None
        case _:
            return f"the gate of {shut.name} lets nobody through{why}."


def _to_do(shut: Shut) -> str:
    other = ", or workers are started with another key" if shut.key != gate.NO_KEY else ""
    return f"the cause is mended and somebody opens it (`proofq gate open {shut.provider}`){other}"


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
