"""What a cap says to people: why a task waits for it, and what lets it begin."""

from __future__ import annotations

from dataclasses import dataclass

from proofq.policies.caps import Cap


@dataclass(frozen=True)
class Reached:
    """A cap that lets nobody begin now: `running` attempts are leased under it, or, where `spent`, as many have begun
    as its rate lets begin; `until`: when the next may, as ISO 8601 text, '' where no time says so. `damaged`: its key
    in Redis is a stranger's."""

    cap: Cap
    running: int = 0
    spent: bool = False
    until: str = ""
    damaged: bool = False

    @property
    def what(self) -> str:
        """The cap as sentences call it."""
        return f"the {self.cap.owner} {self.cap.of}"


def waiting(reached: Reached) -> tuple[str, str]:
    """Why a task waits for it, as a sentence, and what comes next, as a clause."""
    if reached.damaged:
        return (
            f"What is counted for {reached.what} cannot be read: its key holds another type.",
            "it waits until that is put right (`proofq audit` names the key)",
        )
    if reached.spent and reached.cap.rate is not None:
        rate = reached.cap.rate
        begun = f"{rate.starts} {'attempt' if rate.starts == 1 else 'attempts'} within {rate.per_s:g} s"
        return (
            f"As many have begun as the rate of {reached.what} lets begin: {begun}.",
            f"it waits until {reached.until}",
        )
    most = reached.cap.max_running or 0
    runs = f"{reached.running} {'attempt runs' if reached.running == 1 else 'attempts run'}"
    seen = f"As many run as {reached.what} lets run at once: {runs}, max_running is {most}."
    return seen, "it is leased once one of them has ended"
