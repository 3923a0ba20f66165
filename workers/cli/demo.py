"""`proofq demo`: the main job, shown live."""

from __future__ import annotations

import contextlib
import sys

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output
from proofq.workers.errors import NotBuilt


@command("demo", "proofq demo", short="Play the main job on an embedded Redis of its own, shown live.")
@click.argument("name", required=False)
def demo(output: Output, name: str | None) -> int:
    """Play the main job on an embedded Redis of its own: three workers, one of them killed, and agents that lie, crash
    and meet the worst of a provider.

    It ends by itself within 90 s, with exit code 0 only if everything it claims to show held.
    """
    if name is not None:
        raise NotBuilt(f"There is no demo {name:.80} yet; `proofq demo` alone plays the main one.")
    from proofq.workers import demo as main_demo

    if not output.as_json:
        return main_demo.run()
    with contextlib.redirect_stdout(sys.stderr):
        code = main_demo.run()
    output.document({"held": code == 0})
    return code
