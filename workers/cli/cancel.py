"""`proofq cancel`: an event at the door for each task, which may refuse it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output
from proofq.workers.errors import Error, RedisUnavailable, Refused


@command("cancel", "proofq cancel 3f9c1b2a4d5e6f70")
@click.argument("task_ids", metavar="ID...", nargs=-1)
def cancel(output: Output, task_ids: Sequence[str]) -> int:
    """Cancel tasks. One that is worked on is stopped by its worker, with everything it started.

    Those that refuse it (they have ended) are told, and are an error only if all do.
    """
    from proofq.workers import producer, session, task_view
    from proofq.workers.door import Event
    from proofq.workers.insist import tries

    if not task_ids:
        raise click.UsageError("Say which tasks: proofq cancel ID...")
    door = session.open_store().door
    event = Event("cancel", producer.whoami("cli"), "its cancel was asked")
    done: list[str] = []
    refused: list[tuple[str, Error]] = []
    for task_id in dict.fromkeys(task_ids):
        try:
            settled = door.apply(task_view.possible_id(task_id), event, tries())
            if not settled.ok:
                raise Refused(f"cancel of task {task_id} is refused: {settled.reason}.")
            done.append(task_id)
        except RedisUnavailable:
            raise
        except Error as problem:
            refused.append((task_id, problem))
    _report(output, done, refused)
    return exit_codes.OK if done else exit_codes.ERROR


def _report(output: Output, done: Sequence[str], refused: Sequence[tuple[str, Error]]) -> None:
    if output.as_json:
        document: dict[str, Any] = {"ids": list(done)}
        document["refused"] = [{"id": task_id, "kind": why.kind, "message": str(why)} for task_id, why in refused]
        if not done:
            document["error"] = {"kind": refused[0][1].kind, "message": str(refused[0][1])}
        output.document(document)
        return
    for task_id in done:
        output.line(f"cancel asked for {task_id}")
    for _, problem in refused:
        output.note(f"proofq: {problem}")
