"""`proofq tasks`: the list, newest first."""

from __future__ import annotations

import itertools

import click

from proofq.policies import classes, lifecycle
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output


@command("tasks", "proofq tasks", "proofq tasks --state failed --class timeout", "proofq tasks --limit 0 --json")
@click.option("--state", type=click.Choice(list(lifecycle.STATES)), help="Only tasks in this state.")
@click.option("--agent", help="Only tasks of this agent.")
@click.option(
    "--class", "kind", type=click.Choice(list(classes.CLASSES)), help="Only tasks with a failure of this class."
)
@click.option("--fingerprint", metavar="F", help="Only tasks whose failure has this fingerprint.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="At most so many; 0 = all.")
def tasks(
    output: Output, state: str | None, agent: str | None, kind: str | None, fingerprint: str | None, limit: int
) -> None:
    """List tasks, newest first."""
    from proofq.workers import session, task_view

    store = session.open_store().store
    found = (
        item
        for item in map(task_view.item, task_view.newest_in(store, state) if state else task_view.newest(store))
        if agent in (None, item["agent"])
        and kind in (None, item["class"])
        and fingerprint in (None, item["fingerprint"])
    )
    listed = itertools.islice(found, limit or None)
    if output.as_json:
        output.items(listed)
    else:
        columns = ["id", "agent", "state", "attempt", "class", "enqueued_at"]
        output.table(columns, ([item[name] for name in columns] for item in listed))
