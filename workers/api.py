"""The Python API for producers: enqueue a task, hold on to it, wait for its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

from proofq.policies import lifecycle
from proofq.policies.failure import Failure
from proofq.workers import known_agents, producer, session, task_view
from proofq.workers.errors import Error, RedisUnavailable, TaskFailed
from proofq.workers.producer import Request
from proofq.workers.record import Task as Row
from proofq.workers.session import Session

#: Seconds between two looks of `Task.wait`: the first, and the longest.
FIRST_LOOK_S: Final = 0.02
LONGEST_LOOK_S: Final = 0.5
#: How long (seconds) `Task.wait` goes on while Redis does not answer.
OUTAGE_S: Final = 120.0


class Task:
    """A task by its id. Every property is read anew from Redis when it is asked for.

    `Task(task_id)` finds any task of the project around the working directory; nothing is read until it is asked
    something. Properties raise UnknownTask for an id that no task has, and RedisUnavailable.
    """

    def __init__(self, task_id: str, *, opened: Session | None = None) -> None:
        self._id = task_id
        self._session = opened or session.shared()

    @property
    def id(self) -> str:
        """The task's id, which is also the id of its RQ job."""
        return self._id

    @property
    def state(self) -> str:
        """One of the twelve states, such as "queued", "running" or "verified"."""
        return self._read().state

    @property
    def result(self) -> Any:
        """What the agent gave back, once the task ended in success; None before that and otherwise.

        A function agent's return value; of a command {"exit_code", "output_tail"}, or the JSON it printed if it
        declares a json proof.
        """
        row = self._read()
        return row.claim if row.state in lifecycle.SUCCESS else None

    @property
    def failure(self) -> Failure | None:
        """Why the task stands where it stands: kind, reason, retry_after, source, phase, fingerprint.

        None while it is queued or worked on, and when it ended in success.
        """
        return self._read().failure

    @property
    def verdict(self) -> dict[str, Any] | None:
        """What its proofs found last: {"outcome", "proofs": [{"kind", "outcome", "evidence"}]}; None before that."""
        return self._read().verdict

    def breadcrumbs(self) -> list[dict[str, Any]]:
        """Every transition so far, oldest first, as `proofq show` gives them: at, from, event, to, reason, …"""
        return [task_view.crumb(each) for each in task_view.snapshot_of(self._session.store, self._id).crumbs]

    def wait(self, timeout_s: float | timedelta | None = None) -> Task:
        """Wait until the task has ended; return it when it is verified or finished_unproven.

        `timeout_s`: at most so long (seconds or a timedelta; default: without bound; 0 looks once). Raises TaskFailed
        (with `.task`) for any other end, TimeoutError at the timeout, and RedisUnavailable after two minutes without
        an answer. A held task is not at its end: it waits for a human.
        """
        clock = self._session.store.clock
        limit_s = timeout_s.total_seconds() if isinstance(timeout_s, timedelta) else timeout_s
        begun_s = answered_s = clock.boottime()
        pause_s, state = FIRST_LOOK_S, ""
        while True:
            now_s = clock.boottime()
            try:
                state = self.state
                answered_s = now_s
            except RedisUnavailable:
                if now_s - answered_s >= OUTAGE_S or (limit_s is not None and now_s - begun_s >= limit_s):
                    raise
            if state in lifecycle.TERMINAL:
                return self._ended(state)
            left_s = LONGEST_LOOK_S if limit_s is None else begun_s + limit_s - now_s
            if left_s <= 0:
                raise TimeoutError(f"Task {self._id} is {state} after {limit_s:g} s; `proofq why {self._id}` says why.")
            clock.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_LOOK_S)

    def _read(self) -> Row:
        return self._session.store.read(task_view.possible_id(self._id))

    def _ended(self, state: str) -> Task:
        if state in lifecycle.SUCCESS:
            return self
        failure = self.failure
        why = f": {failure.kind}, {failure.reason}" if failure else ""
        raise TaskFailed(f"Task {self._id} is {state}{why}. `proofq why {self._id}` says more.", self)

    def __repr__(self) -> str:
        return f"<proofq task {self._id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.id == self._id

    def __hash__(self) -> int:
        return hash(self._id)


def enqueue(
    agent: str,
    inputs: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    not_before: datetime | str | None = None,
    after: Sequence[str | Task] = (),
    max_age_s: float | timedelta | None = None,
    undeclared: bool = False,
) -> Task:
    """Enqueue a task of the agent called `agent` with these inputs; the agent's code is not needed here.

    The project is the one around the working directory (PROOFQ_CONFIG names another), and its Redis is used:
    PROOFQ_REDIS_URL, else REDIS_URL, else the embedded one. Inputs are checked against the agent's declaration in
    proofq.toml, else against what its workers have published in the last 30 days.

    key: idempotency key, text of 1 to 512 bytes of UTF-8, unique per agent for its `unique_for_s` (default a day):
        the same key with the same inputs returns the same task, with others raises KeyConflict.
    not_before: a datetime with an offset, or an ISO 8601 text with an offset or Z; the task waits until then.
    after: ids of tasks (or tasks), at most 100: the task is queued once all of them have ended in success (verified, or
        finished_unproven where their agent is declared so), and expires as soon as one of them ends otherwise.
    max_age_s: seconds (or a timedelta) after which the task expires if it has not ended, waits included; default:
        the agent's own, a day if it says none.
    undeclared: take the agent at its name if nobody declares it; the task then waits for a worker that does.

    When a reply of Redis is lost, the same request is sent again, which creates no second task. Raises BadInput,
    UnknownAgent (with the nearest names), KeyConflict, DeclarationError, RedisUnavailable.
    """
    with _opened() as opened:
        known = known_agents.find(opened, agent, undeclared=undeclared)
        request = Request(key, not_before, after, max_age_s)
        done = producer.enqueue(opened, known, {} if inputs is None else inputs, request, producer.whoami("api"))
        return Task(done.id, opened=opened)


def run(*inputs: object, **more: object) -> NoReturn:  # noqa: ARG001 - RQ passes what a job carries
    """What a task of ours names in RQ. Only a worker of proofq runs agents; anywhere else this raises."""
    raise Error(
        "proofq.run runs nothing by itself: it is the name by which RQ knows tasks of proofq, and only `proofq worker` "
        "serves them. Start one where the agents are declared."
    )


@contextlib.contextmanager
def _opened() -> Iterator[Session]:
    """This process's session, which is opened anew next time if its Redis went away."""
    try:
        yield session.shared()
    except RedisUnavailable:
        session.forget()
        raise
