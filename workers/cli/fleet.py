"""`proofq agents` and `proofq workers`: who declares what, and who is there to serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output

if TYPE_CHECKING:
    from proofq.workers.fleet import Owner
    from proofq.workers.roster import Agent

#: Digits of a version, and ids of tasks, that people are shown; --json has all.
SHOWN_DIGITS, SHOWN_IDS = 8, 4


@command(
    "agents",
    "proofq agents",
    "proofq agents --json | jq '.items[] | select(.served | not)'",
    short="List agents: who declares which version, and what waits.",
)
def agents(output: Output) -> None:
    """List every agent: its lane and provider, which live workers declare which version of it, and how many of its
    tasks are waiting (queued), running, or later (deferred or held).

    An agent that no live worker declares is listed while it has tasks, is paused, or was published in the last 30
    days; its tasks wait for such a worker.
    """
    from proofq.workers import roster, session

    found = roster.agents(session.open_store())
    if output.as_json:
        output.items(one.to_dict() for one in found)
    elif found:
        columns = ["agent", "lane", "provider", "state", "version", "workers", "waiting", "running", "later"]
        output.table(columns, (row for one in found for row in _agent_rows(one)))
    else:
        output.line("no agents; `proofq worker` publishes those of its project")


def _agent_rows(agent: Agent) -> list[list[Any]]:
    """A row per version, so that a deploy half-way is seen."""
    state = "paused" if agent.paused else "served" if agent.served else "no worker"
    versions = dict(agent.versions) or {agent.version or "": []}
    rows = [[version[:SHOWN_DIGITS], " ".join(workers)] for version, workers in versions.items()]
    first = [agent.name, agent.lane, agent.provider, state, *rows[0], agent.waiting, agent.running, agent.later]
    return [first, *([None, None, None, None, *row, None, None, None] for row in rows[1:])]


@command(
    "workers",
    "proofq workers",
    "proofq workers --json | jq -r '.items[] | select(.state == \"ready\") | .name'",
    short="List workers: where they run, what they hold, when they were seen.",
)
def workers(output: Output) -> None:
    """List every worker, a line for each of its lanes: name, host, the pid to signal, slots, state, the tasks it holds,
    the version of proofq it runs, and how long ago it was seen.

    A worker is starting, ready (it takes tasks) or draining; silent or dead ones are listed until what they held has
    been taken over.
    """
    from proofq.workers import fleet, lanes, session

    found = lanes.merged(fleet.owners(session.open_store().store))
    if output.as_json:
        output.items(_item(one) for one in found)
    elif found:
        output.table(
            ["worker", "host", "pid", "lane", "state", "busy", "version", "seen", "tasks"],
            ([one.name, one.host, one.pid, one.lane, one.state, *_load(one)] for one in found),
        )
    else:
        output.line("no workers; `proofq worker` starts one")


def _item(owner: Owner) -> dict[str, Any]:
    from proofq.workers.clock import iso

    return {
        "name": owner.name,
        "host": owner.host,
        "pid": owner.pid,
        "lane": owner.lane,
        "slots": owner.slots,
        "state": owner.state,
        "tasks": list(owner.tasks),
        "version": owner.release or None,
        "layout": owner.layout or None,
        "since": iso(owner.since),
        "seen_s": owner.seen_s,
        "drain_asked": owner.draining_asked,
        "agents": sorted(owner.agents),
    }


def _load(owner: Owner) -> list[str]:
    count = len(owner.tasks)
    more = f" and {count - SHOWN_IDS} more" if count > SHOWN_IDS else ""
    seen = "" if owner.seen_s is None else f"{owner.seen_s:.0f} s ago"
    busy = f"{count}/{owner.slots}" if owner.slots else str(count)
    return [busy, owner.release, seen, f"{' '.join(owner.tasks[:SHOWN_IDS])}{more}"]
