"""What the contract names and this version does not have: refused with a sentence and exit 2, never ignored."""

from __future__ import annotations

from typing import Final

import click

from proofq.workers.cli.command import Group
from proofq.workers.errors import NotBuilt

#: Command -> what it will do.
COMMANDS: Final[dict[str, str]] = {
    "registry": "what was spawned on a host",
    "session": "sessions of agents",
    "handoff": "artifacts passing from producer to consumer",
    "approval": "what waits for a human's yes",
    "schedule": "recurring work",
    "canary": "boot a candidate before it is promoted",
    "scheduler": "serve the schedule",
    "web": "the web service",
    "reconcile": "compare beliefs with the world",
    "chaos": "kill on purpose",
}


def add_to(group: Group) -> None:
    """Add every command of the table to the group."""
    for name, meaning in COMMANDS.items():
        group.add_command(_refusal(name, meaning))
    group.refused = frozenset(COMMANDS)


def _refusal(name: str, meaning: str) -> click.Command:
    def refuse(words: tuple[str, ...]) -> None:  # noqa: ARG001 - whatever is said, it is refused
        raise NotBuilt(f"proofq {name} is not built yet ({meaning}); `proofq --help` lists what is.")

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
        help=f"Not built yet: {meaning}.",
        short_help=meaning,
        context_settings={"ignore_unknown_options": True},
    )
