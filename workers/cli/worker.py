"""`proofq worker`: its options and settings; the launcher does the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output
from proofq.workers.errors import BadInput

if TYPE_CHECKING:
    from proofq.workers.project import Project


@command(
    "worker",
    "proofq worker",
    "proofq worker --slots 2 --burst",
    "PROOFQ_DRAIN_S=120 proofq worker --lane work",
    short="Serve the agents of the project.",
)
@click.option("--slots", type=int, metavar="N", help="Attempts at a time in the work lane (8; PROOFQ_SLOTS).")
@click.option(
    "--meta-slots", type=int, metavar="M", help="The same for the meta lane, 0 for none (1; PROOFQ_META_SLOTS)."
)
@click.option("--lane", type=click.Choice(["work", "meta"]), help="Serve this lane alone.")
@click.option("--burst", is_flag=True, help="End when nothing is ready any more.")
@click.option(
    "--drain-s", type=float, metavar="S", help="What running attempts get to end after TERM (30; PROOFQ_DRAIN_S)."
)
def worker(
    output: Output, slots: int | None, meta_slots: int | None, lane: str | None, burst: bool, drain_s: float | None
) -> int:
    """Serve the agents of the project around the working directory.

    Settings, last wins: defaults, [worker] of proofq.toml, PROOFQ_* variables, these options. TERM (or Ctrl-C) drains:
    nothing new begins, what runs may end for --drain-s seconds, and what is left is stopped and given back, uncounted.
    A second TERM skips the wait. The pid started is the one that `proofq status` shows.
    """
    from proofq.workers import connection, layout_found, project, start

    options = {"slots": slots, "meta_slots": meta_slots, "drain_s": drain_s}
    read = project.load(options=options)
    # Now rather than in a child: a Redis that cannot be used is told as every command tells it, and an embedded one
    # that is started here belongs to nobody who would kill it on leaving.
    url = connection.resolve_url(read.root, os.environ)
    client = connection.connect(url)
    layout_found.check(client)
    client.close()
    given = {name: value for name, value in options.items() if value is not None}
    code = start.run(read, url, lanes=_slots_by_lane(read, lane), options=given, burst=burst)
    if output.as_json:
        output.document({"exit_code": code})
    return code


def _slots_by_lane(read: Project, only: str | None) -> dict[str, int]:
    """How many slots each lane has; 0 for one that is not served. Raises BadInput where that leaves none."""
    slots = {"work": read.settings.slots, "meta": read.settings.meta_slots}
    wanted = {lane: count if only in (None, lane) else 0 for lane, count in slots.items()}
    if not any(wanted.values()):
        raise BadInput(f"The lane {only} has no slots; give it some with --meta-slots, or serve another lane.")
    return wanted
