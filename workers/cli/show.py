"""`proofq show`: one task, whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output


@command(
    "show",
    "proofq show 3f9c1b2a4d5e6f70",
    "proofq show 3f9c1b2a4d5e6f70 --json | jq .attempts",
    short="Show one task, whole.",
)
@click.argument("task_id", metavar="ID")
def show(output: Output, task_id: str) -> None:
    """Show one task: its state, attempts, failure, what its proofs found, and every transition.

    Paths are those of this host; of an attempt elsewhere none are given.
    """
    from proofq.workers import session, task_view

    opened = session.open_store()
    document = task_view.show(opened.store, task_id, opened.project.state_dir)
    if output.as_json:
        output.document(document)
    else:
        _print(output, document)


def _print(output: Output, task: Mapping[str, Any]) -> None:
    waiting, failed, verdict = task["waiting_for"] or {}, task["failure"] or {}, task["verdict"] or {}
    output.pairs(
        [
            ("id", task["id"]),
            ("agent", f"{task['agent']} ({task['lane']})"),
            ("state", task["state"]),
            ("waiting for", " ".join(str(waiting[name]) for name in ("what", "name", "until") if waiting.get(name))),
            ("inputs", task["inputs"]),
            ("enqueued", task["enqueued_at"]),
            ("ended", task["ended_at"]),
            ("attempts", f"{task['attempt']} begun, {task['counted']} of {task['max_attempts']} counted"),
            ("progress", task["attempts"][-1]["progress"] if task["attempts"] else None),
            ("spent", task["spent"]),
            ("failure", f"{failed['class']}: {failed['reason']}" if failed else None),
            ("verdict", verdict.get("outcome")),
            ("claim", task["claim"]),
            ("taskdir", task["taskdir"]),
        ]
    )
    if verdict.get("proofs"):
        output.table(
            ["proof", "outcome", "evidence"],
            ([proof["kind"], proof["outcome"], proof["evidence"]] for proof in verdict["proofs"]),
        )
    if task["effects"]:
        columns = ["key", "state", "attempt", "begun_at", "done_at", "outcome", "who"]
        output.table(columns, ([each[name] for name in columns] for each in task["effects"]))
    if task["attempts"]:
        output.table(
            ["n", "outcome", "class", "reason", "worker", "started", "ended", "stdout"],
            (
                [
                    each[name]
                    for name in ("n", "outcome", "class", "reason", "worker", "started_at", "ended_at", "stdout")
                ]
                for each in task["attempts"]
            ),
        )
    output.table(
        ["at", "from", "event", "to", "reason", "who"],
        ([each[name] for name in ("at", "from", "event", "to", "reason", "who")] for each in task["breadcrumbs"]),
    )
