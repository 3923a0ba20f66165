"""The same job through stock RQ and through us, key by key: RQ's readers must find what RQ itself would have written.

`golden/rq-2.12.txt` is what stock RQ writes; a release that writes anything else fails here first. What we write
differently stands in `DIFFERENT`, each with its reason, and nothing else may differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from proofq.policies import lifecycle
from proofq.workers import connection, known_agents, producer
from proofq.workers.owner import Owner
from proofq.workers.rq_rows import RqRows
from proofq.workers.shares import Share
from tests.commands import Project
from tests.integration import key_dumps
from tests.integration.key_dumps import Dump
from tests.servers import PrivateServer
from tests.waiting import until
from tests.workbench import Bench

GOLDEN = Path(__file__).with_name("golden") / "rq-2.12.txt"
QUEUE = "work.note"
GIVEN = {"text": "hi", "out": "a"}
WORKER = "theworker"
PARENT = "theparent"

Place = tuple[str, str]
JOB: Final = "rq:job:<id>"
ROW: Final = "rq:worker:<worker>"
RESULT: Final = "rq:results:<id>"
_NO_EXECUTION: Final = "an attempt's record is ours (`proofq show`); RQ's would be two more keys for each attempt"
_NO_RESULT_FACTS: Final = "the attempt's record has them; `latest_result` needs none, and each costs its bytes a task"
_NO_EXPIRY: Final = "+inf keeps every clean-up of RQ's off our rows"
_EXECUTION: Final = "rq:execution:<id>:<execution>"
_RESULT_FACTS: Final[dict[Place, tuple[str, str, str]]] = {
    (RESULT, "execution_ended_at"): ("number", "", _NO_RESULT_FACTS),
    (RESULT, "execution_id"): ("text", "", _NO_RESULT_FACTS),
    (RESULT, "execution_started_at"): ("number", "", _NO_RESULT_FACTS),
    (RESULT, "worker_name"): ("text", "", _NO_RESULT_FACTS),
}
_KEPT_SHORT: Final = "of a success nothing empty and nothing of its running is kept: each field costs its bytes a task"
_NOT_KEPT: Final[dict[Place, tuple[str, str, str]]] = {
    (JOB, "failure_callback_name"): ("empty", "", _KEPT_SHORT),
    (JOB, "group_id"): ("empty", "", _KEPT_SHORT),
    (JOB, "last_heartbeat"): ("time", "", _KEPT_SHORT),
    (JOB, "stopped_callback_name"): ("empty", "", _KEPT_SHORT),
    (JOB, "success_callback_name"): ("empty", "", _KEPT_SHORT),
}
_NO_DEPENDENCY: Final = "RQ defers for a dependency, we for a time: ours have none"
#: Stage -> (key, field) -> (its shape through stock RQ, its shape through us, why). '' is nothing.
DIFFERENT: Final[dict[str, dict[Place, tuple[str, str, str]]]] = {
    lifecycle.QUEUED: {},
    lifecycle.DEFERRED: {
        ("rq:deferred:work.note", "<id>"): (
            "seconds", "milliseconds", "a score in milliseconds tells ours from those that plain RQ defers",
        ),
        ("rq:job::<id>:dependencies", "(members)"): ("<parent>", "", _NO_DEPENDENCY),
        ("rq:job::<id>:dependencies", "(type)"): ("set, kept", "", _NO_DEPENDENCY),
        (JOB, "dependency_id"): ("text", "", _NO_DEPENDENCY),
        (JOB, "dependency_ids"): ("JSON list of 1", "", _NO_DEPENDENCY),
    },
    lifecycle.RUNNING: {
        (_EXECUTION, "(type)"): ("hash, expires", "", _NO_EXECUTION),
        (_EXECUTION, "created_at"): ("number", "", _NO_EXECUTION),
        (_EXECUTION, "id"): ("text", "", _NO_EXECUTION),
        (_EXECUTION, "last_heartbeat"): ("number", "", _NO_EXECUTION),
        (_EXECUTION, "worker_name"): ("text", "", _NO_EXECUTION),
        ("rq:executions:<id>", "(type)"): ("zset, expires", "", _NO_EXECUTION),
        ("rq:executions:<id>", "<execution>"): ("seconds", "", _NO_EXECUTION),
        ("rq:wip:work.note", "<id>:<execution>"): ("seconds", "+inf", _NO_EXPIRY),
        (ROW, "current_job"): ("text", "", "rq-dashboard's page of workers fails on a job in JSON"),
        (ROW, "task"): ("", "text", "what it runs, instead of current_job"),
        (ROW, "current_job_working_time"): ("whole number", "", "the attempt's record has it"),
        (ROW, "owner"): ("", "text", "whose row it is: a burial drops no row of a later owner of the same name"),
        (ROW, "failed_job_count"): ("", "whole number", "written from the start; RQ's comes with the first"),
        (ROW, "successful_job_count"): ("", "whole number", "written from the start; RQ's comes with the first"),
    },
    lifecycle.VERIFIED: {**_RESULT_FACTS, **_NOT_KEPT},
    lifecycle.FAILED: {("rq:failed:work.note", "<id>"): ("-1", "+inf", _NO_EXPIRY), **_RESULT_FACTS},
    lifecycle.CANCELLED: {
        ("rq:canceled:work.note", "<id>"): ("seconds", "+inf", _NO_EXPIRY),
        (JOB, "ended_at"): ("empty", "time", "a cancelled task has an end like any other"),
        (RESULT, "(type)"): ("", "stream, kept", "every end has a result, by which whoever waits knows"),
        (RESULT, "exc_string"): ("", "text", "every end has a result, by which whoever waits knows"),
        (RESULT, "type"): ("", "2", "every end has a result, by which whoever waits knows"),
    },
}  # fmt: skip


def names(task_id: str) -> dict[str, str]:
    return {task_id: "<id>", PARENT: "<parent>", f"{WORKER}.work.0": "<worker>", WORKER: "<worker>"}


# --- through stock RQ ------------------------------------------------------------------------------------------------


class Stock:
    """Stock RQ's producer and worker."""

    def __init__(self, client: Any, server: PrivateServer) -> None:
        self.client, self.server = client, server
        self.queue = Queue(QUEUE, connection=client, serializer=JSONSerializer)

    def to(self, state: str) -> Dump:
        """A job brought there, and what Redis holds then."""
        function, args = {
            lifecycle.VERIFIED: ("operator.concat", ("a", "b")),
            lifecycle.FAILED: ("operator.truediv", (1, 0)),
            lifecycle.RUNNING: ("time.sleep", (30,)),
        }.get(state, ("proofq.run", (GIVEN,)))
        later = {"depends_on": self.parent()} if state == lifecycle.DEFERRED else {}
        job = self.queue.enqueue(function, args=args, description="note", result_ttl=-1, failure_ttl=-1, **later)
        if state == lifecycle.CANCELLED:
            job.cancel()
        if state in {lifecycle.VERIFIED, lifecycle.FAILED}:
            assert self.worker("--burst").wait(60) == 0
            # What is left of a worker that has gone is no part of a job's view.
            self.client.delete(f"rq:worker:{WORKER}")
        if state != lifecycle.RUNNING:
            return self.dump(job)
        worker = self.worker()
        try:
            until(lambda: job.get_status() == "started" and self.client.exists(f"rq:wip:{QUEUE}"), 30.0, "the start")
            until(lambda: self.client.hget(f"rq:worker:{WORKER}", "state") == b"busy", 30.0, "a busy worker")
            return self.dump(job)
        finally:
            worker.kill()
            worker.wait()

    def parent(self) -> Job:
        parent = Queue("golden", connection=self.client).create_job("print", job_id=PARENT)
        parent.save()
        return parent

    def dump(self, job: Job) -> Dump:
        self.client.delete(f"rq:job:{PARENT}", f"rq:job:{PARENT}:dependents")
        return key_dumps.dump(self.client, names(job.id))

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        command = [
            str(Path(sys.executable).with_name("rq")),
            "worker",
            "--quiet",
            "--worker-class",
            "rq.SimpleWorker",
            "--name",
            WORKER,
            *options,
        ]
        return subprocess.Popen(
            [*command, "--worker-class", "rq.SimpleWorker", "--serializer", "json", "--url", self.server.url, QUEUE],
            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


# --- through us ------------------------------------------------------------------------------------------------------


class Ours:
    """Our producer, and the moves of a worker at the door."""

    def __init__(self, project: Project) -> None:
        self.session = project.session()
        self.store = self.session.store
        self.bench = Bench(self.session, "note", owner=WORKER)

    def to(self, state: str) -> Dump:
        """A task brought there, and what Redis holds then under RQ's keys."""
        later = datetime.now(UTC) + timedelta(hours=1) if state == lifecycle.DEFERRED else None
        known = known_agents.find(self.session, "note")
        task_id = producer.enqueue(self.session, known, GIVEN, producer.Request(not_before=later), "test").id
        if state == lifecycle.RUNNING:
            self.run(task_id)
        elif later is None:
            self.bench.to(task_id, state)
        fence = self.store.read(task_id).fence
        return key_dumps.dump(self.store.client, names(task_id) | ({fence: "<execution>"} if fence else {}))

    def run(self, task_id: str) -> None:
        """Held by a supervisor, whose rows are written."""
        owner = Owner(self.store, self.bench.owner, 600.0, lambda: None, lambda *_: None)
        owner.hold(self.bench.run(task_id))
        RqRows(self.store, owner, WORKER, "work", Share(0, 1), os.getpid(), [QUEUE]).say(draining=False)


# --- both ------------------------------------------------------------------------------------------------------------

STAGES = (
    lifecycle.QUEUED,
    lifecycle.DEFERRED,
    lifecycle.RUNNING,
    lifecycle.VERIFIED,
    lifecycle.FAILED,
    lifecycle.CANCELLED,
)


@pytest.fixture(scope="module")
def dumps(redis_server: PrivateServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Dump, Dump]]:
    """Stage -> (through stock RQ, through us)."""
    client: Any = connection.client(redis_server.url)
    found = {}
    for stage in STAGES:
        client.flushall()
        stock = Stock(client, redis_server).to(stage)
        client.flushall()
        ours = Ours(Project(tmp_path_factory.mktemp(stage), redis_server.url)).to(stage)
        found[stage] = (stock, ours)
    client.close()
    return found


def test_rq_writes_what_it_wrote(dumps: dict[str, tuple[Dump, Dump]]) -> None:
    """Stock RQ's own keys have the shapes of the file; if RQ changed, look at each reader before it is renewed."""
    seen = [line for stage in STAGES for line in key_dumps.lines(stage, dumps[stage][0])]
    assert seen == GOLDEN.read_text().splitlines()


@pytest.mark.parametrize("stage", STAGES)
def test_we_write_the_same_but_for_what_is_listed(dumps: dict[str, tuple[Dump, Dump]], stage: str) -> None:
    """Every difference is listed with its reason, and every one that is listed is there."""
    seen = key_dumps.differences(*dumps[stage])
    assert seen == {place: (stock, ours) for place, (stock, ours, _) in DIFFERENT[stage].items()}
