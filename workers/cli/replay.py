"""`proofq replay`: ended and held tasks run anew, by their ids or by what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from proofq.policies import classes
from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import command
from proofq.workers.cli.render import Output, plain
from proofq.workers.errors import Error, RedisUnavailable

if TYPE_CHECKING:
    from proofq.workers.clock import Clock
    from proofq.workers.replaying import Replayed

#: Seconds between two words about how far it is, on stderr.
SAY_S: Final = 5.0
#: Refusals that are told; of more only the number.
TOLD: Final = 1000


@command(
    "replay",
    "proofq replay 3f9c1b2a4d5e6f70",
    "proofq replay --class auth --dry-run                  # what would run again once the key is mended",
    "proofq replay --class crash --fingerprint 5c1f0a9d --agent note",
    short="Queue ended or held tasks again.",
)
@click.argument("task_ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--class", "kind", type=click.Choice(list(classes.CLASSES)), help="Only those with a failure of this class."
)
@click.option(
    "--fingerprint", metavar="F", help="Only those whose failure has this fingerprint (`proofq show` has it)."
)
@click.option("--agent", metavar="AGENT", help="Only those of this agent.")
@click.option(
    "--rate", type=click.FloatRange(min=0.01), default=100, show_default=True, help="At most so many a second."
)
@click.option("--dry-run", is_flag=True, help="Only say which tasks would be replayed.")
def replay(
    output: Output,
    task_ids: Sequence[str],
    kind: str | None,
    fingerprint: str | None,
    agent: str | None,
    rate: float,
    dry_run: bool,
) -> int:
    """Queue ended or held tasks again, with their counters begun anew. What ended in success, verified
    or finished_unproven, is never replayed.

    The options combine, with each other and with ids. Without ids every task that is held, failed, quarantined or
    expired is looked at; what somebody cancelled is run after all by its id or with --class cancelled. Only what stood
    there when the command began is replayed, each task once: broken off and asked again, it goes on with the rest.
    Exit 1 when there is nothing to replay.
    """
    from proofq.workers import producer, replaying, session

    wanted = replaying.Wanted(kind, fingerprint, agent)
    if not task_ids and wanted.asks_nothing:
        raise click.UsageError("Say which tasks: proofq replay ID..., or --class, --fingerprint or --agent.")
    opened = session.open_store()
    most = len(set(task_ids)) or replaying.count(opened.store, wanted)
    tally = _Tally(output, opened.store.clock, most, dry_run)
    who = producer.whoami("cli")
    found = tally.over(replaying.replay(opened, task_ids, wanted, who, dry_run=dry_run, rate=rate))
    if output.as_json:
        output.listed("ids", (one.id for one in found), tally.document)
    else:
        for one in found:
            output.line(_line(one, dry_run))
        for _, problem in tally.refused:
            output.note(f"proofq: {problem}")
        if not tally.done and not tally.refused:
            output.note(f"proofq: {NOTHING}")
    return exit_codes.OK if tally.done else exit_codes.ERROR


NOTHING: Final = "There is nothing to replay: no held, failed, quarantined or expired task is one of those asked for."


class _Tally:
    """Counts what is done, keeps what was refused, and says on stderr how far a long one is."""

    def __init__(self, output: Output, clock: Clock, most: int, dry_run: bool) -> None:
        self._output = output
        self._clock = clock
        self._most = most
        self._word = "would be replayed" if dry_run else "replayed"
        self._dry_run = dry_run
        self._said_s = clock.boottime()
        self._untold = 0
        self.done = 0
        self.refused: list[tuple[str, Error]] = []

    def over(self, found: Iterable[Replayed]) -> Iterator[Replayed]:
        """Those that were replayed, as they come. RedisUnavailable says how many that were."""
        try:
            for one in found:
                if one.problem is None:
                    self.done += 1
                    yield one
                elif len(self.refused) < TOLD:
                    self.refused.append((one.id, one.problem))
                else:
                    self._untold += 1
                self._say()
        except RedisUnavailable as problem:
            if not self.done or self._dry_run:
                raise
            raise RedisUnavailable(f"{problem} {self.done} tasks were replayed; ask again for the rest.") from problem

    def document(self) -> dict[str, Any]:
        """What stands beside the ids."""
        found: dict[str, Any] = {"dry_run": self._dry_run}
        found["refused"] = [{"id": name, "kind": why.kind, "message": str(why)} for name, why in self.refused]
        if self._untold:
            found["refused_untold"] = self._untold
        if not self.done:
            kind, message = (self.refused[0][1].kind, str(self.refused[0][1])) if self.refused else ("refused", NOTHING)
            found["error"] = {"kind": kind, "message": message}
        return found

    def _say(self) -> None:
        now_s = self._clock.boottime()
        if now_s - self._said_s >= SAY_S:
            self._said_s = now_s
            self._output.note(f"{self.done} {self._word}; at most {self._most} to look at")


def _line(one: Replayed, dry_run: bool) -> str:
    if not dry_run or one.task is None:
        return f"replayed {one.id}"
    failed = one.task.failure
    return plain(f"would replay {one.id}  {one.task.agent}  {one.task.state}  {failed.kind if failed else ''}").rstrip()
