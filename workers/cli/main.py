"""The command `proofq`: its list of commands, and how errors become messages and exit codes.

`--help` must answer at once, so everything heavy (redis, rq, rich, jsonschema) is imported by the commands that need
it, when they run.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NoReturn

import click

import proofq
from proofq.workers.cli import exit_codes, notbuilt
from proofq.workers.cli.audit import audit
from proofq.workers.cli.cancel import cancel
from proofq.workers.cli.command import Group, example_text, exit_code_text
from proofq.workers.cli.demo import demo
from proofq.workers.cli.doctor import doctor
from proofq.workers.cli.effect import effect
from proofq.workers.cli.enqueue import enqueue
from proofq.workers.cli.fleet import agents, workers
from proofq.workers.cli.gate import gate
from proofq.workers.cli.incident import incident
from proofq.workers.cli.logs import logs
from proofq.workers.cli.purge import purge
from proofq.workers.cli.redis import redis
from proofq.workers.cli.render import Output, plain
from proofq.workers.cli.replay import replay
from proofq.workers.cli.run import run
from proofq.workers.cli.show import show
from proofq.workers.cli.spend import spend
from proofq.workers.cli.status import status
from proofq.workers.cli.steer import drain, pause, resume
from proofq.workers.cli.tasks import tasks
from proofq.workers.cli.why import why
from proofq.workers.cli.worker import worker
from proofq.workers.errors import Error

_EXAMPLES = [
    "proofq worker                                   # in one terminal, in the folder of proofq.toml",
    "proofq run note -i prompt=hello -i out=a.md     # in another",
]


@click.group(
    cls=Group,
    epilog=f"{example_text(_EXAMPLES)}\n\n{exit_code_text()}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 118},
)
@click.version_option(proofq.__version__, message="proofq %(version)s")
def cli() -> None:
    """A worker queue for AI agents, in which success is a claim until it has been read back from the world.

    Every command takes --json and then prints exactly one JSON document on stdout; logs and progress go to stderr.
    Settings, last wins: defaults, proofq.toml (found upwards from here, or PROOFQ_CONFIG), PROOFQ_* variables, options.
    """


for each in (
    enqueue, run, worker, show, why, logs, tasks, status, agents, workers, spend, cancel, replay, effect, pause, resume,
    drain, incident, gate, audit, purge, doctor, redis, demo,
):  # fmt: skip
    cli.add_command(each)
notbuilt.add_to(cli)


def main() -> NoReturn:
    """The console script."""
    # Python has no stream at all for one that was closed (`>&-`).
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    sys.exit(execute(sys.argv[1:], sys.stdout or nowhere, sys.stderr or nowhere))


def execute(argv: Sequence[str], stdout: IO[str], stderr: IO[str]) -> int:
    """Run one command line; returns the exit code. Never raises."""
    output = Output(stdout, stderr, as_json=wants_json(argv))
    try:
        code = cli.main(args=list(argv), prog_name="proofq", standalone_mode=False, obj=output)
        stdout.flush()
        return code if isinstance(code, int) else exit_codes.OK
    except click.exceptions.NoArgsIsHelpError as problem:
        stderr.write(f"{problem.format_message()}\n")
        return exit_codes.USAGE
    except click.ClickException as problem:
        return _fail(output, "usage", _usage(problem), exit_codes.USAGE)
    except Error as problem:
        return _fail(output, problem.kind, str(problem), problem.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail(output, "interrupted", "interrupted", exit_codes.INTERRUPTED)
    except BrokenPipeError:
        _let_go(stdout)
        return exit_codes.ERROR
    except Exception as problem:  # noqa: BLE001 - whatever it is, a script gets its document and its exit code
        stderr.write(traceback.format_exc())
        return _fail(output, "internal", f"{type(problem).__name__}: {problem}", exit_codes.ERROR)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether --json stands among the options, also of a command line that cannot be read otherwise."""
    options = list(argv[: argv.index("--")]) if "--" in argv else argv
    return "--json" in options


def _fail(output: Output, kind: str, message: str, code: int) -> int:
    """Tell the error, if anybody reads it; the exit code tells it anyway."""
    try:
        if output.as_json:
            output.document({"error": {"kind": kind, "message": message}})
            output.stdout.flush()
        else:
            output.note(f"proofq: {plain(message)}")
    except OSError:
        _let_go(output.stdout if output.as_json else output.stderr)
    return code


def _let_go(stream: IO[str]) -> None:
    """Whoever read it has gone (`| head`), or its disk is full; Python must not find that out again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage(problem: click.ClickException) -> str:
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    hint = f" Try: {context.command_path} --help" if context is not None else ""
    return f"{problem.format_message()}{hint}"
