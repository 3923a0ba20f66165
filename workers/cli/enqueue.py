"""`proofq enqueue`, and the options it shares with `proofq run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output
from proofq.workers.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proofq.workers.producer import Enqueued
    from proofq.workers.session import Session


def what_to_enqueue(function: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options that say one task. They arrive as the keywords of `enqueue_one`."""
    for add in reversed(
        [
            click.argument("agent"),
            click.option(
                "-i", "pairs", metavar="NAME=VALUE", multiple=True, help="An input, read by its declared type."
            ),
            click.option("--inputs", "document", metavar="JSON", help="Inputs as one JSON object."),
            click.option("--key", help="Idempotency key: the same key with the same inputs is the same task."),
            click.option("--not-before", metavar="TIME", help="Wait until then; ISO 8601 with an offset or Z."),
            click.option("--after", metavar="ID", multiple=True, help="Wait for that task's success; repeatable."),
            click.option("--max-age-s", type=float, metavar="S", help="Expire after so many seconds, waits included."),
            click.option("--undeclared", is_flag=True, help="Enqueue although nobody declares the agent yet."),
        ]
    ):
        function = add(function)
    return function


@command(
    "enqueue",
    "proofq enqueue note -i prompt='Summarise a.txt' -i out=a.md",
    'proofq enqueue note --inputs \'{"prompt": "hello", "out": "a.md"}\' --key today --json',
    "proofq enqueue note -i prompt=hello -i out=a.md --not-before 2027-01-31T08:00:00+01:00",
    "proofq enqueue note -i prompt=hello -i out=b.md --after 3f9c1b2a4d5e6f70",
)
@what_to_enqueue
def enqueue(output: Output, **what: Any) -> None:
    """Enqueue one task of AGENT and print its id.

    Inputs are checked against proofq.toml, else against what the agent's workers have published. With --key the same
    request sent again, by anybody, is the same task. The Redis is that of PROOFQ_REDIS_URL, else REDIS_URL, else the
    project's embedded one.
    """
    from proofq.workers import session

    done = enqueue_one(session.open_session(), **what)
    if output.as_json:
        output.document({"id": done.id, "state": done.state, "created": done.created})
        return
    output.line(done.id)
    if not done.created:
        output.note(f"The key had this task already; it is {done.state}.")


def enqueue_one(
    opened: Session,
    *,
    agent: str,
    pairs: Sequence[str],
    document: str | None,
    key: str | None,
    not_before: str | None,
    after: Sequence[str],
    max_age_s: float | None,
    undeclared: bool,
) -> Enqueued:
    """Enqueue what the options say. Raises BadInput, UnknownAgent, KeyConflict, RedisUnavailable."""
    from proofq.workers import known_agents, producer

    known = known_agents.find(opened, agent, undeclared=undeclared)
    inputs = _inputs(known.inputs_schema, pairs, document)
    request = producer.Request(key, not_before, after, max_age_s)
    return producer.enqueue(opened, known, inputs, request, producer.whoami("cli"))


def _inputs(schema: Mapping[str, Any] | None, pairs: Sequence[str], document: str | None) -> dict[str, Any]:
    """The inputs of -i and of --inputs together; no name may stand in both."""
    from proofq.policies import inputs as input_rules

    whole = {} if document is None else _read_object(document)
    try:
        single = input_rules.convert_pairs(schema, pairs)
    except input_rules.InputProblem as problem:
        raise BadInput(f"{problem}.") from problem
    both = sorted(whole.keys() & single.keys())
    if both:
        raise BadInput(f"Input {', '.join(both)} is given by -i and in --inputs; give it once.")
    return {**whole, **single}


def _read_object(document: str) -> dict[str, Any]:
    from proofq.policies import schema

    try:
        value = schema.read_json(document)
    except schema.JsonProblem as problem:
        raise BadInput(f"--inputs cannot be used: {problem}. Give one JSON object of names and values.") from problem
    if not isinstance(value, dict):
        raise BadInput('--inputs is an object of names and values, such as \'{"doc": "/abs/a.txt"}\'.')
    return value
