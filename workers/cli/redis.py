"""`proofq redis`: the project's embedded server."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proofq.workers.cli.command import Group, command, example_text
from proofq.workers.cli.render import Output
from proofq.workers.errors import Refused

if TYPE_CHECKING:
    from proofq.workers.project import Project


_EXAMPLES = ["proofq redis", "proofq redis start", 'redis-cli -u "$(proofq redis url)" ping', "proofq redis stop"]


@click.group(
    "redis",
    cls=Group,
    invoke_without_command=True,
    epilog=example_text(_EXAMPLES),
    short_help="The project's embedded Redis: url, start, stop.",
)
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")
@click.pass_context
def redis(context: click.Context, as_json: bool) -> None:
    """Show, find, start or stop the project's embedded Redis.

    It is started by itself whenever a command needs it, and lives on when the command ends. Where PROOFQ_REDIS_URL or
    REDIS_URL names a server, that one alone is used and there is nothing to start or stop.
    """
    if context.invoked_subcommand is None:
        _print_status(dataclasses.replace(context.obj, as_json=as_json), _embedded_state_dir())


@command("url", "proofq redis url", short="Print the URL of the Redis that this project uses.")
def url(output: Output) -> None:
    """Print the URL of the Redis that this project uses; the embedded one is started if need be."""
    from proofq.workers import connection

    found = connection.resolve_url(_project().root, os.environ)
    if output.as_json:
        output.document({"url": found})
    else:
        output.line(found)


@command("start", "proofq redis start --json")
def start(output: Output) -> None:
    """Start the embedded Redis unless it runs."""
    from proofq.workers import embedded

    state_dir = _embedded_state_dir()
    embedded.ensure(state_dir)
    _print_status(output, state_dir)


@command("stop", "proofq redis stop")
def stop(output: Output) -> None:
    """Stop the embedded Redis, its data on disk. Workers wait for it to come back."""
    from proofq.workers import embedded

    stopped = embedded.stop(_embedded_state_dir())
    if output.as_json:
        output.document({"stopped": stopped})
    else:
        output.line("stopped" if stopped else "it was not running")


redis.add_command(url)
redis.add_command(start)
redis.add_command(stop)


def _print_status(output: Output, state_dir: Path) -> None:
    from proofq.workers import embedded

    status = embedded.status(state_dir)
    facts: dict[str, Any] = {
        name: getattr(status, name) for name in ("state", "url", "pid", "binary", "version", "data_dir", "log")
    }
    if output.as_json:
        output.document(facts)
    else:
        output.pairs(facts.items())


def _project() -> Project:
    from proofq.workers import project

    return project.locate()


def _embedded_state_dir() -> Path:
    """Where the embedded server's data is. Refused where a variable names another server to use."""
    for variable in ("PROOFQ_REDIS_URL", "REDIS_URL"):
        if os.environ.get(variable):
            raise Refused(f"{variable} names the Redis to use, so the embedded one is not; unset it to use that.")
    return _project().state_dir
