"""`proofq incident`: causes that hit one task or many, and who sees to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import click

from proofq.policies import classes
from proofq.policies import incident as policy
from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import Group, command, example_text
from proofq.workers.cli.render import Output, plain
from proofq.workers.errors import Error, RedisUnavailable

if TYPE_CHECKING:
    from proofq.workers.incidents import Incident
    from proofq.workers.store import Store

_EXAMPLES = [
    "proofq incident list",
    "proofq incident show 4c1d0a9be2f3",
    "proofq incident ack 4c1d0a9be2f3",
    "proofq incident list --class unknown --seen      # causes that nobody has given a class yet, most frequent first",
]
#: Columns of the list for people.
_COLUMNS: Final = ("id", "state", "severity", "class", "of", "fingerprint", "count", "tasks", "last")


@click.group(
    "incident",
    cls=Group,
    invoke_without_command=True,
    epilog=example_text(_EXAMPLES),
    short_help="Causes that hit many tasks: list, show, ack, close; dead letters.",
)
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")
@click.pass_context
def incident(context: click.Context, as_json: bool) -> None:
    """Equal failures (same class, same provider or agent, same fingerprint) within a window are one incident.

    It opens with the second equal failure, or the third of what often passes by itself, or the first of what waits for
    a human. People are told once, again while nobody acknowledges it, and then no more. Without a command: the list.
    """
    if context.invoked_subcommand is None:
        _print_list(dataclasses.replace(context.obj, as_json=as_json), None, None, seen=False)


@command(
    "list",
    "proofq incident list",
    "proofq incident list --state open --json | jq -r '.items[].id'",
    short="List incidents: what wants somebody first, then the most frequent.",
)
@click.option("--state", type=click.Choice(list(policy.STATES)), help="Only those in this state.")
@click.option("--class", "kind", type=click.Choice(list(classes.CLASSES)), help="Only those of this failure class.")
@click.option("--seen", is_flag=True, help="Also causes with too few failures to be an incident.")
def listing(output: Output, state: str | None, kind: str | None, seen: bool) -> None:
    """List incidents: open ones first, the severe before the less severe, the frequent before the rare.

    An incident is open, acked (somebody is at it, and nobody is told any more) or closed. The last 500 are kept, for
    `keep_s` after their last failure.
    """
    _print_list(output, state, kind, seen=seen)


def _print_list(output: Output, state: str | None, kind: str | None, *, seen: bool) -> None:
    from proofq.workers import incidents, session

    found = [
        one
        for one in incidents.every(session.open_store().store, seen=seen or state == policy.SEEN)
        if state in (None, one.state) and kind in (None, one.kind)
    ]
    if output.as_json:
        output.items(one.to_dict() for one in found)
    elif found:
        output.table(_COLUMNS, (_row(one) for one in found))
    else:
        output.line("no incidents")


@command("show", "proofq incident show 4c1d0a9be2f3", short="Show an incident and tasks that it hit.")
@click.argument("incident_id", metavar="ID")
def show(output: Output, incident_id: str) -> None:
    """Show one incident: since when, how many failures of how many tasks, the first ten of them, who was told."""
    from proofq.workers import incidents, session

    one = incidents.read(session.open_store().store, incident_id)
    facts = {**one.to_dict(), "samples": list(one.samples), "delivered": list(one.delivered), "problem": one.problem}
    if output.as_json:
        output.document(facts)
    else:
        output.line(plain(one.title))
        output.pairs(facts.items())


@command("ack", "proofq incident ack 4c1d0a9be2f3", short="Say that somebody is at it: nobody is told of it any more.")
@click.argument("incident_ids", metavar="ID...", nargs=-1, required=True)
def ack(output: Output, incident_ids: Sequence[str]) -> int:
    """Say that somebody is at it: failures are still counted, and nobody is told any more. Exit 1 if none takes it."""
    from proofq.workers import incidents

    return _each(output, incident_ids, incidents.acknowledge, "acked")


@command("close", "proofq incident close 4c1d0a9be2f3", short="Say that it is over.")
@click.argument("incident_ids", metavar="ID...", nargs=-1, required=True)
def close(output: Output, incident_ids: Sequence[str]) -> int:
    """Say that it is over: the next equal failures are another incident, of which people are told again.

    Exit 1 if none takes it.
    """
    from proofq.workers import incidents

    return _each(output, incident_ids, incidents.close, "closed")


@command(
    "dead",
    "proofq incident dead",
    "proofq incident dead --class unknown",
    "proofq incident dead --json | jq -r '.items[0].replay | join(\" \")'    # then without --dry-run",
    short="Count held, failed, quarantined and expired tasks by class and fingerprint.",
)
@click.option("--class", "kind", type=click.Choice(list(classes.CLASSES)), help="Only failures of this class.")
@click.option("--agent", metavar="AGENT", help="Only those of this agent.")
def dead(output: Output, kind: str | None, agent: str | None) -> None:
    """Count dead letters, which are held, failed, quarantined and expired tasks, by class, fingerprint and agent.

    The most frequent come first, each with the command that would replay them. Reads every such task.
    """
    from proofq.workers import letters, session
    from proofq.workers.replaying import Wanted

    found = letters.every(session.open_store(), Wanted(kind, None, agent))
    if output.as_json:
        output.items(one.to_dict() for one in found)
    elif found:
        columns = ["count", "class", "fingerprint", "agent", "states", "sample", "replay"]
        output.table(
            columns,
            (
                [one.count, one.kind, one.fingerprint, one.agent, _states(one.states), one.sample, " ".join(one.replay)]
                for one in found
            ),
        )
    else:
        output.line("no dead letters")


for each in (listing, show, ack, close, dead):
    incident.add_command(each)


def _each(output: Output, incident_ids: Sequence[str], act: Callable[[Store, str, str], bool], state: str) -> int:
    """The same act on each; those that refuse it are told, and are an error only if all do."""
    from proofq.workers import producer, session

    store, who = session.open_store().store, producer.whoami("cli")
    done: list[str] = []
    refused: list[tuple[str, Error]] = []
    for incident_id in dict.fromkeys(incident_ids):
        try:
            act(store, incident_id, who)
            done.append(incident_id)
        except RedisUnavailable:
            raise
        except Error as problem:
            refused.append((incident_id, problem))
    if output.as_json:
        told = [{"id": name, "kind": why.kind, "message": str(why)} for name, why in refused]
        failed = {} if done else {"error": {"kind": told[0]["kind"], "message": told[0]["message"]}}
        output.document({"ids": done, "state": state, "refused": told, **failed})
    else:
        for incident_id in done:
            output.line(f"{incident_id} is {state}")
        for _, why in refused:
            output.note(f"proofq: {why}")
    return exit_codes.OK if done else exit_codes.ERROR


def _row(one: Incident) -> list[str | int | None]:
    shown = one.to_dict()
    return [
        one.id, one.state, one.severity, one.kind, one.provider or one.agent, one.fingerprint, one.count, one.tasks,
        shown["last_at"],
    ]  # fmt: skip


def _states(states: dict[str, int]) -> str:
    return " ".join(f"{state} {count}" for state, count in sorted(states.items()))
