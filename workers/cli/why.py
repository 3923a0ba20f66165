"""`proofq why`: one paragraph."""

from __future__ import annotations

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output, plain


@command("why", "proofq why 3f9c1b2a4d5e6f70", short="Say in one paragraph why a task is where it is.")
@click.argument("task_id", metavar="ID")
def why(output: Output, task_id: str) -> None:
    """Say why a task is where it is: what happened, which failure class, which rule spoke, what comes next."""
    from proofq.workers import session
    from proofq.workers.why import why as explain

    said = explain(session.open_store().store, task_id)
    if output.as_json:
        output.document({"id": task_id, "text": said.text, "class": said.class_, "rule": said.rule, "next": said.next})
    else:
        output.line(plain(said.text))
