"""`proofq cancel` and `proofq replay`: what people do to tasks. Each is an event at the door, which may refuse it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output
from proofq.workers.errors import Error, NotBuilt, RedisUnavailable, Refused

#: How often an act whose reply was lost is sent, under the same request id.
TRIES: Final = 4

_ids = click.argument("task_ids", metavar="ID...", nargs=-1)


@command("cancel", "proofq cancel 3f9c1b2a4d5e6f70")
@_ids
def cancel(output: Output, task_ids: Sequence[str]) -> int:
    """Cancel tasks. One that is worked on is stopped by its worker, with everything it started."""
    if not task_ids:
        raise click.UsageError("Say which tasks: proofq cancel ID...")
    return _act(output, "cancel", task_ids, "its cancel was asked")


@command("replay", "proofq replay 3f9c1b2a4d5e6f70", short="Queue ended or held tasks again.")
@_ids
@click.option("--class", "kind", metavar="CLASS", help="Not built yet: every task that failed with this class.")
@click.option("--fingerprint", metavar="F", help="Not built yet: every task that failed with this fingerprint.")
@click.option("--agent", metavar="AGENT", help="Not built yet: every task of this agent that failed.")
@click.option("--dry-run", is_flag=True, help="Not built yet: only say which tasks would be replayed.")
def replay(
    output: Output, task_ids: Sequence[str], kind: str | None, fingerprint: str | None, agent: str | None, dry_run: bool
) -> int:
    """Queue ended or held tasks again, with their counters begun anew. A verified task is never replayed."""
    if kind is not None or fingerprint is not None or agent is not None or dry_run:
        raise NotBuilt("replay takes ids only; --class, --fingerprint, --agent and --dry-run are not built yet.")
    if not task_ids:
        raise click.UsageError("Say which tasks: proofq replay ID...")
    return _act(output, "replay", task_ids, "somebody asked for another run")


def _act(output: Output, name: str, task_ids: Sequence[str], reason: str) -> int:
    """Send the event to each task; those that refuse it are told, and are an error only if all do."""
    from proofq.workers import producer, session, task_view
    from proofq.workers.door import Event
    from proofq.workers.insist import tries

    door = session.open_store().door
    event = Event(name, producer.whoami("cli"), reason)
    done: list[str] = []
    refused: list[tuple[str, Error]] = []
    for task_id in dict.fromkeys(task_ids):
        try:
            settled = door.apply(task_view.possible_id(task_id), event, tries(TRIES))
            if not settled.ok:
                raise Refused(f"{name} of task {task_id} is refused: {settled.reason}.")
            done.append(task_id)
        except RedisUnavailable:
            raise
        except Error as problem:
            refused.append((task_id, problem))
    _report(output, name, done, refused)
    return exit_codes.OK if done else exit_codes.ERROR


def _report(output: Output, name: str, done: Sequence[str], refused: Sequence[tuple[str, Error]]) -> None:
    if output.as_json:
        document: dict[str, Any] = {"ids": list(done)}
        document["refused"] = [{"id": task_id, "kind": why.kind, "message": str(why)} for task_id, why in refused]
        if not done:
            document["error"] = {"kind": refused[0][1].kind, "message": str(refused[0][1])}
        output.document(document)
        return
    for task_id in done:
        output.line(f"{_DONE[name]} {task_id}")
    for _, problem in refused:
        output.note(f"proofq: {problem}")


_DONE: Final = {"cancel": "cancel asked for", "replay": "replayed"}
