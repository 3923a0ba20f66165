"""`proofq run`: enqueue a task and follow it to its end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import click

from proofq.policies import lifecycle
from proofq.workers.cli import exit_codes
from proofq.workers.cli.command import command
from proofq.workers.cli.enqueue import enqueue_one, what_to_enqueue
from proofq.workers.cli.progress import Progress
from proofq.workers.cli.render import Output, plain
from proofq.workers.errors import Error, RedisUnavailable

if TYPE_CHECKING:
    from proofq.workers.record import Breadcrumb
    from proofq.workers.session import Session

#: Seconds between two looks at the task.
LOOK_S: Final = 0.2
#: Seconds a task may be queued before it is asked whether any worker would take it.
LONELY_S: Final = 2.0
#: How long (seconds) an outage of Redis is waited out.
OUTAGE_S: Final = 120.0


class Detached(Error):
    """Somebody stopped the following with Ctrl-C. The task goes on."""

    kind = "interrupted"
    exit_code = exit_codes.INTERRUPTED

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"No longer following; task {task_id} goes on. `proofq why {task_id}` says where it is, "
            f"`proofq cancel {task_id}` stops it."
        )


@command(
    "run",
    "proofq run note -i prompt='Summarise a.txt' -i out=a.md",
    "proofq run note -i prompt=hello -i out=a.md --timeout 60 --json | jq .verdict",
    short="Enqueue one task of AGENT and follow it to its end.",
)
@what_to_enqueue
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="S", help="Stop following after S seconds."
)
def run(output: Output, timeout_s: float | None, **what: Any) -> int:
    """Enqueue one task of AGENT and follow it until it ends; the exit code says how.

    It runs in a worker (`proofq worker`), not here: Ctrl-C (exit 130) or the timeout stop the following, never the
    task. Each transition is a line on stderr; stdout gets the paragraph of `proofq why`, with --json the document of
    `proofq show`, at the end alone.

    Exit codes: 0 verified, 8 finished_unproven, 3 failed, 4 quarantined, 5 cancelled or expired, 6 not ended at the
    timeout.
    """
    from proofq.workers import session, task_view, why

    if timeout_s is not None and math.isnan(timeout_s):
        raise click.UsageError("--timeout is nan; it is a number of seconds")
    opened = session.open_session()
    done = enqueue_one(opened, **what)
    try:
        output.note(f"task {done.id}{'' if done.created else ' (the key had it already)'}")
        with Progress(output) as progress:
            state = _Follower(progress, opened, done.id).follow(timeout_s)
    except KeyboardInterrupt:
        raise Detached(done.id) from None
    if output.as_json:
        output.document(task_view.show(opened.store, done.id, opened.project.state_dir))
    else:
        output.line(plain(why.why(opened.store, done.id).text))
    return exit_codes.OF_STATE.get(state, exit_codes.TIMEOUT)


class _Follower:
    """Tells each transition of one task on stderr."""

    def __init__(self, progress: Progress, opened: Session, task_id: str) -> None:
        self._progress = progress
        self._store = opened.store
        self._clock = opened.store.clock
        self._id = task_id
        self._seen = 0
        self._state = lifecycle.QUEUED
        self._until = ""
        self._away_since_s: float | None = None
        self._lonely_told = False

    def follow(self, timeout_s: float | None) -> str:
        """Until the task has ended or the time is over; the state it is in then."""
        begun_s = self._clock.boottime()
        while True:
            self._look()
            passed_s = self._clock.boottime() - begun_s
            if self._state in lifecycle.TERMINAL:
                self._tell_proofs()
                return self._state
            if timeout_s is not None and passed_s >= timeout_s:
                return self._state
            self._progress.now(f"{self._state}{self._until}  {passed_s:.0f} s")
            if passed_s > LONELY_S and not self._lonely_told:
                self._tell_if_lonely()
            left_s = LOOK_S if timeout_s is None else timeout_s - passed_s
            self._clock.sleep(min(LOOK_S, left_s))

    def _look(self) -> None:
        from proofq.workers import task_view

        try:
            crumbs = task_view.crumbs_from(self._store, self._id, self._seen)
        except RedisUnavailable:
            if self._given_up():
                raise
            return
        if self._away_since_s is not None:
            self._progress.say("Redis is back")
            self._away_since_s = None
        for crumb in crumbs:
            self._state, self._until = crumb.to, ""
            if crumb.to == lifecycle.DEFERRED and crumb is crumbs[-1]:
                self._until = self._waits_until()
            self._progress.say(f"{_line(crumb)}{self._until}")
        self._seen += len(crumbs)

    def _waits_until(self) -> str:
        from proofq.workers.clock import iso

        try:
            until = iso(self._store.read(self._id).not_before)
        except RedisUnavailable:
            return ""
        return f"  until {until}" if until else ""

    def _tell_proofs(self) -> None:
        try:
            verdict = self._store.read(self._id).verdict or {}
        except RedisUnavailable:
            return
        for proof in verdict.get("proofs", []):
            self._progress.say(f"{'':12}  proof        {proof['kind']} {proof['outcome']}")

    def _given_up(self) -> bool:
        """Whether Redis has been away for too long; the first call of an outage says that there is one."""
        now_s = self._clock.boottime()
        if self._away_since_s is None:
            self._away_since_s = now_s
            self._progress.say("Redis does not answer; still following")
        return now_s - self._away_since_s > OUTAGE_S

    def _tell_if_lonely(self) -> None:
        from proofq.workers import fleet

        self._lonely_told = True
        if self._state == lifecycle.QUEUED:
            task = self._store.read(self._id)
            service = fleet.service(self._store, task.agent, task.lane)
            if service == "paused":
                self._progress.say(f"{task.agent} is paused; `proofq resume {task.agent}` lets it run")
            if service == "nobody":
                self._progress.say(f"no live worker declares {task.agent}; start one with `proofq worker`")


def _line(crumb: Breadcrumb) -> str:
    from proofq.workers.clock import iso

    at = (iso(crumb.at) or "")[11:23]
    reason = f"  {plain(crumb.reason)}" if crumb.reason else ""
    attempt = f"  attempt {crumb.attempt}" if crumb.attempt else ""
    return f"{at}  {crumb.event:<12} {crumb.to:<12}{attempt}{reason}"
