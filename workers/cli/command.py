"""How a command of `proofq` is declared: with `--json`, worked examples in its help, and an `Output` to write to."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from proofq.workers.cli import exit_codes

#: Heading in `proofq --help` of what the contract names and this version refuses.
NOT_BUILT: Final = "Not built yet (refused with a sentence, exit 2)"
_WIDTH: Final = 118


def command(name: str, *examples: str, short: str = "") -> Callable[[Callable[..., int | None]], click.Command]:
    """Declare a command. The function is given an Output, then its options; what it returns is the exit code.

    `examples` are command lines without "$ "; `short` stands in the list of commands (default: the docstring's first
    sentence).
    """

    def declare(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        @click.pass_context
        def call(context: click.Context, /, *, as_json: bool, **given: Any) -> int:
            output = dataclasses.replace(context.obj, as_json=as_json)
            return function(output, **given) or exit_codes.OK

        with_json = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")(call)
        made = click.command(name, epilog=f"{example_text(examples)}\n\n{_CODES}", short_help=short or None)(with_json)
        made.context_settings = {"max_content_width": _WIDTH, "help_option_names": ["-h", "--help"]}
        return made

    return declare


def example_text(examples: Sequence[str]) -> str:
    """Examples as an epilog that click does not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  $ {line}" for line in examples)


#: Ends the help of every command.
_CODES: Final = "Exit codes: 0 done, 1 error, 2 usage or bad input, 7 Redis is not reachable; `proofq --help` has all."


class Group(click.Group):
    """A group that lists what is not built apart, ends its help with the exit codes, and knows near misses."""

    #: Names of subcommands that are refused.
    refused: frozenset[str] = frozenset()

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(context)
        for heading, some in (
            ("Commands", [name for name in names if name not in self.refused]),
            (NOT_BUILT, [name for name in names if name in self.refused]),
        ):
            rows = [(name, self.commands[name].get_short_help_str(80)) for name in some]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of their declaration, which is the order of a task's life."""
        return list(self.commands)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as problem:
            near = difflib.get_close_matches(args[0], list(self.commands), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"{problem.message}{hint}", context) from problem


def exit_code_text() -> str:
    """The exit codes as an epilog that click does not wrap."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())
