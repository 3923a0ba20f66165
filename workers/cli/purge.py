"""`proofq purge`: deletes ended tasks that [retention] no longer keeps."""

from __future__ import annotations

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output


@command(
    "purge",
    "proofq purge --dry-run",
    "proofq purge --json",
    short="Delete ended tasks that are kept no longer.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def purge(output: Output, dry_run: bool) -> None:
    """Delete ended tasks that [retention] of proofq.toml keeps no longer, and the oldest where all take more than its
    max_mib.

    Workers do the same by themselves, a little at a time. Only ended tasks are deleted, each with everything that Redis
    holds of it; those whose idempotency key still holds are kept. Folders on the workers' hosts are theirs to clean.
    """
    from proofq.workers import session
    from proofq.workers.purge import Purger

    opened = session.open_session()
    done = Purger(opened.store, opened.project.settings.retention).run(dry=dry_run)
    if output.as_json:
        output.document(
            {"dry_run": dry_run, "count": done.count, "bytes": done.bytes, "states": dict(sorted(done.counts.items()))}
        )
        return
    for state, count in sorted(done.counts.items()):
        output.line(f"{state}: {count}")
    said = "would be deleted" if dry_run else "deleted"
    output.line(f"{done.count} ended tasks {said}, about {done.bytes / 1024:.0f} KiB")
