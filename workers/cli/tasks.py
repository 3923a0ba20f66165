"""`proofq tasks`: the list, newest first."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

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
        task
        for task in (task_view.newest_in(store, state) if state else task_view.newest(store))
        if agent in (None, task.agent)
        and kind in (None, task.failure and task.failure.kind)
        and fingerprint in (None, task.failure and task.failure.fingerprint)
    )
    listed = task_view.listed(store, itertools.islice(found, limit or None))
    if output.as_json:
        output.items(listed)
    else:
        columns = ["id", "agent", "state", "attempt", "class", "enqueued_at"]
        rows = ([*(item[name] for name in columns), _what(item["waiting_for"])] for item in listed)
        output.table([*columns, "waiting_for"], rows)


def _what(waits: Mapping[str, Any] | None) -> str | None:
    """In two words; `proofq why` has the sentence."""
    return None if waits is None else " ".join(str(part) for part in (waits["what"], waits["name"]) if part)
