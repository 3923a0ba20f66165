"""`proofq logs`: what an attempt printed."""

from __future__ import annotations

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output, plain
from proofq.workers.errors import NotBuilt


@command(
    "logs",
    "proofq logs 3f9c1b2a4d5e6f70",
    "proofq logs 3f9c1b2a4d5e6f70 --attempt 1",
    "proofq logs 3f9c1b2a4d5e6f70 --json | jq -r .tail",
    short="Show what an attempt printed.",
)
@click.argument("task_id", metavar="ID")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt (default: the newest).")
@click.option("-f", "--follow", is_flag=True, help="Not built yet: go on as more is printed.")
def logs(output: Output, task_id: str, attempt: int | None, follow: bool) -> None:
    """Show the last 64 KiB that an attempt printed to stdout, then the last 64 KiB of stderr.

    It works while the attempt runs, too. Control characters are shown escaped; the file itself, whose name goes to
    stderr, has them as they are. Output is kept on the host where the attempt ran.
    """
    if follow:
        raise NotBuilt("logs --follow is not built yet; `proofq logs ID` shows what has been printed so far.")
    from proofq.workers import captured, session

    opened = session.open_store()
    found = captured.read(opened.store, task_id, opened.project.state_dir, attempt)
    if output.as_json:
        output.document({"attempt": found.attempt, "path": str(found.path), "tail": found.tail})
        return
    for name, text in (("stdout", found.stdout), ("stderr", found.stderr)):
        output.note(f"--- {name} of attempt {found.attempt} ({plain(str(found.path.with_name(name)))})")
        for line in text.removesuffix("\n").split("\n") if text else []:
            output.line(_visible(line))


def _visible(line: str) -> str:
    """Tabs stay, every other control character is escaped."""
    return "\t".join(plain(part) for part in line.split("\t"))
