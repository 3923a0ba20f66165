"""`proofq logs`: what an attempt printed, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output, plain
from proofq.workers.cli.run import Detached

if TYPE_CHECKING:
    from proofq.workers.session import Session


@command(
    "logs",
    "proofq logs 3f9c1b2a4d5e6f70",
    "proofq logs 3f9c1b2a4d5e6f70 --attempt 1",
    "proofq logs 3f9c1b2a4d5e6f70 -f                  # as it is printed, until the task has ended",
    "proofq logs 3f9c1b2a4d5e6f70 --json | jq -r .tail",
    short="Show what an attempt printed.",
)
@click.argument("task_id", metavar="ID")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt (default: the newest).")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is printed, until it has ended.")
def logs(output: Output, task_id: str, attempt: int | None, follow: bool) -> None:
    """Show the last 64 KiB that an attempt printed to stdout, then the last 64 KiB of stderr.

    It works while the attempt runs, too. Control characters are shown escaped; the file itself, whose name goes to
    stderr, has them as they are. Output is kept on the host where the attempt ran.

    With -f both are shown as they are printed, until that --attempt has ended; without one until the task has, further
    attempts included. Then the exit code is 0 however it ended (`proofq run` is what tells that); Ctrl-C is 130 and
    leaves the task alone. With --json what comes goes to stderr, and the document is printed at the end.
    """
    from proofq.workers import captured, session

    opened = session.open_store()
    if follow:
        _follow(output, opened, task_id, attempt)
        return
    found = captured.read(opened.store, task_id, opened.project.state_dir, attempt)
    if output.as_json:
        output.document({"attempt": found.attempt, "path": str(found.path), "tail": found.tail})
        return
    for name, text in (("stdout", found.stdout), ("stderr", found.stderr)):
        output.note(_header(found.attempt, name, found.path.with_name(name)))
        for line in text.removesuffix("\n").split("\n") if text else []:
            output.line(_visible(line))


def _follow(output: Output, opened: Session, task_id: str, attempt: int | None) -> None:
    from proofq.workers.following import Follower

    live = _Live(output)
    try:
        follower = Follower(opened.store, task_id, opened.project.state_dir, live.text, live.note)
        last = follower.follow(attempt)
    except KeyboardInterrupt:
        live.end_line()
        raise Detached(task_id) from None
    if output.as_json:
        output.document({"attempt": last.attempt, "path": str(last.path), "tail": last.tail})


class _Live:
    """Shows text as it comes, with a header on stderr wherever the stream or the attempt is another one."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._of: tuple[int, str] | None = None
        self._mid_line = False

    def text(self, attempt: int, name: str, path: Path, text: str) -> None:
        """What one stream of one attempt printed."""
        if self._of != (attempt, name):
            self._of = (attempt, name)
            self.note(_header(attempt, name, path))
        self._output.live("\n".join(_visible(line) for line in text.split("\n")))
        self._mid_line = not text.endswith("\n")

    def note(self, sentence: str) -> None:
        """Something about it, on a line of its own."""
        self.end_line()
        self._output.note(sentence if sentence.startswith("---") else f"--- {plain(sentence)}")

    def end_line(self) -> None:
        """Whatever comes next begins a line."""
        if self._mid_line:
            self._output.live("\n")
        self._mid_line = False


def _header(attempt: int, name: str, path: Path) -> str:
    return f"--- {name} of attempt {attempt} ({plain(str(path))})"


def _visible(line: str) -> str:
    """Tabs stay, every other control character is escaped."""
    return "\t".join(plain(part) for part in line.split("\t"))
