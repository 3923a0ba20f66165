"""`proofq effect`: effects on the world that nobody has confirmed, and what a human knows of them."""

from __future__ import annotations

import dataclasses
import json

import click

from proofq.workers.cli.command import Group, command, example_text
from proofq.workers.cli.render import Output
from proofq.workers.errors import BadInput

_EXAMPLES = ["proofq effect list", "proofq effect list 3f9c1b2a4d5e6f70", "proofq effect absent 3f9c1b2a4d5e6f70 mail"]


@click.group(
    "effect",
    cls=Group,
    invoke_without_command=True,
    epilog=example_text(_EXAMPLES),
    short_help="Effects of ctx.once: list, done, absent.",
)
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")
@click.pass_context
def effect(context: click.Context, as_json: bool) -> None:
    """List effects on the world that `ctx.once` has begun, and say of an unconfirmed one what is true.

    An attempt that ends between the intent and the outcome of an effect leaves it unconfirmed: it may have been done.
    Look, say `done` or `absent`, then `proofq replay` the task.
    """
    if context.invoked_subcommand is None:
        _list(dataclasses.replace(context.obj, as_json=as_json), None)


@command("list", "proofq effect list", "proofq effect list 3f9c1b2a4d5e6f70 --json", short="List effects.")
@click.argument("task_id", metavar="[ID]", required=False)
def list_(output: Output, task_id: str | None) -> None:
    """List the effects that were begun and are not confirmed, of all tasks, the oldest first; at most 1,000.

    Those of attempts that still run are `under_way`, the others `unconfirmed`. With an ID: all effects of that task.
    """
    _list(output, task_id)


def _list(output: Output, task_id: str | None) -> None:
    from proofq.workers import effects, session, task_view

    store = session.open_store().store
    if task_id is None:
        found = list(effects.open_ones(store))
    else:
        task = store.read(task_view.possible_id(task_id))
        found = effects.listed(store, task.id, task.fence)
    if output.as_json:
        output.items(found)
    else:
        columns = ["task", "key", "state", "attempt", "begun_at", "done_at", "outcome", "who"]
        output.table(columns, ([each[name] for name in columns] for each in found))


@command("done", "proofq effect done 3f9c1b2a4d5e6f70 mail --outcome '{\"id\": 7}'", short="Say that it was done.")
@click.argument("task_id", metavar="ID")
@click.argument("key")
@click.option("--outcome", default="null", show_default=True, help="What ctx.once gives for it from now on, as JSON.")
def done(output: Output, task_id: str, key: str, outcome: str) -> None:
    """Say that the effect KEY of a task was done: it is not done again, and `ctx.once` gives this outcome."""
    from proofq.policies.effects import MAX_OUTCOME_BYTES
    from proofq.workers import effects, producer, session, task_view
    from proofq.workers.report import NotStrictJSON, strict_json

    try:
        said = strict_json(json.loads(outcome), "the outcome", MAX_OUTCOME_BYTES).decode()
    except NotStrictJSON as problem:
        raise BadInput(f"{problem}.") from problem
    except ValueError as problem:
        raise BadInput(f"--outcome takes JSON, so text stands in quotes of its own: {problem}.") from problem
    store = session.open_store().store
    effects.say_done(store, task_view.possible_id(task_id), key, said, producer.whoami("cli"))
    _told(output, task_id, key, "done")


@command("absent", "proofq effect absent 3f9c1b2a4d5e6f70 mail", short="Say that it was not done.")
@click.argument("task_id", metavar="ID")
@click.argument("key")
def absent(output: Output, task_id: str, key: str) -> None:
    """Say that the effect KEY of a task is not there: its record goes, and the next attempt does it."""
    from proofq.workers import effects, session, task_view

    effects.say_absent(session.open_store().store, task_view.possible_id(task_id), key)
    _told(output, task_id, key, "absent")


def _told(output: Output, task_id: str, key: str, said: str) -> None:
    if output.as_json:
        output.items([{"task": task_id, "key": key, "said": said}])
    else:
        output.line(f"{said}: {key!r} of {task_id}; `proofq replay {task_id}` lets it go on")


for each in (list_, done, absent):
    effect.add_command(each)
