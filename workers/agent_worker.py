"""`rq worker -w proofq.AgentWorker work.summarise`: a one-slot worker of ours for people who only know `rq worker`.

It is no worker loop of RQ's: this process becomes a launcher as with `proofq worker`, so that every guarantee holds. Of
RQ's options those that would change what happens to a task are refused, since it is not RQ that decides here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import click
from rq import Queue, Worker
from rq.defaults import (
    DEFAULT_JOB_MONITORING_INTERVAL,
    DEFAULT_LOGGING_DATE_FORMAT,
    DEFAULT_LOGGING_FORMAT,
    DEFAULT_MAINTENANCE_TASK_INTERVAL,
    DEFAULT_RESULT_TTL,
    DEFAULT_WORKER_TTL,
)
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.worker import DequeueStrategy

from proofq.workers import connection, project, start
from proofq.workers.errors import BadInput, Error, NotBuilt

#: What a name may hold: it stands in keys, in channels and in breadcrumbs.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)


class AgentWorker(Worker):
    """A worker of RQ's by its constructor and its `work`; what it does is `proofq worker --slots 1` for its queues.

    The project is found as ever: from the working directory, or by PROOFQ_CONFIG. The queues must be those of agents
    that it declares, of one lane; Redis is the one that RQ was given.
    """

    def work(
        self,
        burst: bool = False,
        logging_level: str | None = None,  # noqa: ARG002 - our log is one line of JSON per event
        date_format: str = DEFAULT_LOGGING_DATE_FORMAT,  # noqa: ARG002
        log_format: str = DEFAULT_LOGGING_FORMAT,  # noqa: ARG002
        max_jobs: int | None = None,
        max_idle_time: int | None = None,
        with_scheduler: bool = False,  # noqa: ARG002 - jobs for later are adopted by every worker of ours
        dequeue_strategy: DequeueStrategy = DequeueStrategy.DEFAULT,
    ) -> bool:
        """Serve until drained (TERM, RQ's shutdown command), or until a burst is done; then True.

        SystemExit with the exit code of `proofq worker`, and a sentence on stderr, where it cannot.
        """
        call = {"--max-jobs": max_jobs, "--max-idle-time": max_idle_time}
        try:
            unmet = [option for option, value in call.items() if value is not None]
            if dequeue_strategy != DequeueStrategy.DEFAULT:
                unmet.append("--dequeue-strategy")
            self._refuse([*unmet, *self._unmet()])
            code = self._serve(burst)
        except Error as problem:
            click.echo(str(problem), err=True)
            raise SystemExit(problem.exit_code) from None
        if code:
            raise SystemExit(code)
        return True

    def _serve(self, burst: bool) -> int:
        queues = self.queue_names()
        read = project.load(options={"slots": 1})
        url = connection.url_of(self.connection)
        connection.connect(url).close()
        lane = _lane(queues)
        return start.run(
            read, url, lanes={lane: 1}, options={"slots": 1}, burst=burst, name=_checked(self.name), queues=queues
        )

    def _refuse(self, options: list[str]) -> None:
        if options:
            raise NotBuilt(
                f"proofq.AgentWorker does not do what {', '.join(options)} would: retention, retries and the order of "
                "work are those of the agents' declarations. Leave it out, or set it there."
            )

    def _unmet(self) -> Iterator[str]:
        """Options given to RQ that nothing here would heed."""
        asked: dict[str, tuple[Any, Any]] = {
            "--results-ttl": (self.default_result_ttl, DEFAULT_RESULT_TTL),
            "--worker-ttl": (self.worker_ttl, DEFAULT_WORKER_TTL),
            "--maintenance-interval": (self.maintenance_interval, DEFAULT_MAINTENANCE_TASK_INTERVAL),
            "--job-monitoring-interval": (self.job_monitoring_interval, DEFAULT_JOB_MONITORING_INTERVAL),
            "--exception-handler": (self._exc_handlers, []),
            "--disable-default-exception-handler": (self.disable_default_exception_handler, False),
            "--job-class": (self.job_class, Job),
            "--queue-class": (self.queue_class, Queue),
        }
        yield from (option for option, (given, usual) in asked.items() if given != usual)
        if self.serializer not in (DefaultSerializer, JSONSerializer):
            yield "--serializer"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInput(f"The name {name!r:.120} cannot be a worker's; use letters, digits, `_`, `-` and `.`.")
    return name


def _lane(queues: list[str]) -> str:
    lanes = {queue.partition(".")[0] for queue in queues}
    if not lanes <= {"work", "meta"} or len(lanes) != 1:
        raise BadInput(
            f"proofq.AgentWorker serves queues of agents, of one lane, such as work.summarise; not {' '.join(queues)}."
        )
    return lanes.pop()
