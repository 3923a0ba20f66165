"""`proofq gate`: what the gates of providers let through, and opening, holding and isolating them by hand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from proofq.workers.cli.command import Group, command, example_text
from proofq.workers.cli.render import Output

if TYPE_CHECKING:
    from proofq.workers.gates import Verb

_EXAMPLES = ["proofq gate list", "proofq gate open anthropic"]


@click.group(
    "gate",
    cls=Group,
    invoke_without_command=True,
    short_help="The gates of providers: what may be sent, and opening or closing them.",
    epilog=example_text(_EXAMPLES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 118},
)
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")
@click.pass_context
def gate(context: click.Context, as_json: bool) -> None:
    """List the gates of providers, or open and close them.

    Each provider has a gate for each key, shared by all workers.

    A gate is open, cooling (the provider asked to wait), tripped (it is failing), probing (one at a time until the
    first answer), held (the key is refused, or out of credit) or isolated (by hand). Tasks of agents whose gate lets
    nothing through stay queued, at no cost. docs/policies/gates.md has the whole.
    """
    if context.invoked_subcommand is None:
        _list(dataclasses.replace(context.obj, as_json=as_json))


@command("list", "proofq gate list", "proofq gate list --json | jq '.items[] | select(.state != \"open\")'")
def list_gates(output: Output) -> None:
    """List every gate: provider, the key's fingerprint, state, until when, and why."""
    _list(output)


def _acting(verb: Verb, past: str, text: str) -> click.Command:
    @click.argument("provider")
    @click.option("--key", default="", help="The fingerprint of one key; default: all of the provider's.")
    @click.option("--reason", default="", help="Why, for whoever looks at it later.")
    def act(output: Output, provider: str, key: str, reason: str) -> None:
        from proofq.workers import gates, producer, session

        store = session.open_store().store
        found = gates.act(store, verb, provider, producer.whoami("cli"), reason or f"{past} by hand", key)
        if output.as_json:
            output.items(one.item() for one in found)
        else:
            for one in found:
                output.line(f"{one.provider} ({one.key}) is {one.state}")

    act.__doc__ = text
    return command(verb, f"proofq gate {verb} anthropic", f"proofq gate {verb} anthropic --key 3f9c1b2a7d10")(act)


def _list(output: Output) -> None:
    from proofq.workers import gates, session
    from proofq.workers.clock import iso

    found = gates.read_all(session.open_store().store)
    if output.as_json:
        output.items(one.item() for one in found)
    elif found:
        columns = ["provider", "key", "state", "until", "probe", "why"]
        output.table(
            columns, ([one.provider, one.key, one.state, iso(one.until), one.probe, one.reason] for one in found)
        )
    else:
        output.line("no gates; a worker makes those of the providers that its agents name")


gate.add_command(list_gates)
gate.add_command(
    _acting(
        "open",
        "opened",
        """Open the gates of PROVIDER, whatever closed them.

    One that was held because its key was refused or out of credit lets one task try first, and all others once an
    answer came. Attempts that a closed gate keeps waiting begin at once.
    """,
    )
)
gate.add_command(
    _acting(
        "hold",
        "held",
        """Let nothing more through the gates of PROVIDER until `proofq gate open PROVIDER`; what runs goes on.

    Another key of the provider has a gate of its own: a worker that is started with a new key is not held.
    """,
    )
)
gate.add_command(
    _acting(
        "isolate",
        "isolated",
        """Let nothing more through to PROVIDER, whatever key, until `proofq gate open PROVIDER`; what runs goes on.

    Holds for keys that no worker has had yet, too.
    """,
    )
)
