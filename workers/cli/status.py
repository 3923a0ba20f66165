"""`proofq status`: the fleet at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output, plain

if TYPE_CHECKING:
    from proofq.workers.fleet import Owner
    from proofq.workers.status import Status

#: Ids of tasks shown per worker; --json has all of them.
SHOWN_IDS: Final = 4


@command(
    "status",
    "proofq status",
    "proofq status --json | jq '.work.queued, .workers[].state'",
    "watch -n 2 proofq status",
    short="Show the fleet: tasks by state, workers, and what wants attention.",
)
def status(output: Output) -> None:
    """Show how many tasks are in which state, the workers with what they hold, and what wants attention.

    Work and meta are counted apart. A worker is ready (it takes tasks), starting, suspended, draining, silent (its
    leases may be taken over) or dead. The exit code is 0 whatever is found: `proofq audit` and `proofq doctor` judge.
    """
    from proofq.workers import session, status

    found = status.read(session.open_store().store)
    if output.as_json:
        output.document(found.document())
    else:
        _print(output, found)


def _print(output: Output, found: Status) -> None:
    from proofq.workers.status import LANES

    counts = {lane: found.counts(lane) for lane in LANES}
    states = [state for state in counts["work"] if any(counts[lane][state] for lane in LANES)]
    if states:
        output.table(["lane", *states], ([lane, *(counts[lane][state] or "." for state in states)] for lane in LANES))
    else:
        output.line("no tasks")
    oldest = found.oldest()
    if oldest is not None:
        output.line(f"oldest queued: {plain(oldest.head)} of {plain(oldest.agent)}, {_duration(found.age_s(oldest))}")
    output.line()
    if found.owners:
        output.table(
            ["worker", "host", "pid", "lane", "state", "busy", "tasks"],
            ([each.name, each.host, each.pid, each.lane, each.state, *_load(each)] for each in found.lanes()),
        )
    else:
        output.line("no workers; `proofq worker` starts one")
    for sentence in found.attention():
        output.line(f"! {plain(sentence)}")


def _load(owner: Owner) -> tuple[str, str]:
    """How many of its slots are taken, and by which tasks."""
    count = len(owner.tasks)
    more = f" and {count - SHOWN_IDS} more" if count > SHOWN_IDS else ""
    return f"{count}/{owner.slots}" if owner.slots else str(count), f"{' '.join(owner.tasks[:SHOWN_IDS])}{more}"


def _duration(seconds: float) -> str:
    """In the two largest units: 34 s, 12 min 5 s, 3 h 20 min, 2 d 4 h."""
    whole = int(seconds)
    for size, name, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller} {small}"
    return f"{whole} s"
