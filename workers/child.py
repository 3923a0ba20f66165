"""A function in a process of its own: set the stage, call it, and say on the report pipe what came out.

The process is forked from the forkserver with the agents loaded; where loading them leaves a thread, so that forking
is not safe, it is a fresh interpreter (`python -m proofq.workers.child`) that loads them itself. It only claims:
who believes it is somebody else's business.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proofq.policies.classify import classify
from proofq.policies.failure import Failure
from proofq.workers import python_proof, steps
from proofq.workers.clock import SystemClock
from proofq.workers.context import Context
from proofq.workers.preload import Agents, Preload, resolve
from proofq.workers.report import MAX_RESULT_BYTES, NotStrictJSON, Reporter, Voice, strict_json


@dataclass(frozen=True, slots=True)
class Job:
    """What a runner is called with: the spawn request's payload, the loaded agents, and the way to report."""

    payload: dict[str, Any]
    agents: Agents
    reporter: Reporter


#: Makes a function kind: from a job to the value that is claimed.
Runner = Callable[[Job], Any]

#: The runners of the two kinds of function there are, as "module:function".
RUN_AGENT, RUN_PROOF = "proofq.workers.child:run_agent", "proofq.workers.child:run_proof"


def run_agent(job: Job) -> Any:
    """Call the agent `payload["agent"]` as `function(ctx, **inputs)`.

    The payload has agent, inputs, task_id, attempt, workdir, taskdir and repair (text or null).
    """
    payload = job.payload
    context = Context(
        payload["task_id"],
        payload["attempt"],
        payload["workdir"],
        payload["taskdir"],
        job.reporter,
        payload.get("repair"),
    )
    try:
        with steps.telling(job.reporter):
            return job.agents[payload["agent"]](context, **payload["inputs"])
    finally:
        context.tell()


def run_proof(job: Job) -> Any:
    """Call the `python` proof `payload["function"]` of the folder `payload["project"]`; see `python_proof.run`."""
    return python_proof.run(job.payload["function"], job.payload["facts"], job.payload["project"])


def run(runner: str, agents: Agents, env: Mapping[str, str], payload: int, report: int) -> int:
    """Be the child: returns the exit code, 0 when a result was reported, 1 when a failure was.

    `payload` and `report` are descriptors: a file with the payload as JSON, and the report pipe's writing end.
    """
    reporter = Reporter(report)
    _set_stage(env)
    try:
        call = resolve(runner)
        job = Job(_read_payload(payload), agents, reporter)
        reporter.send("started", b"true")
        value = call(job)
    except BaseException as error:  # noqa: BLE001 - whatever it was, it is this attempt's failure
        traceback.print_exception(error)
        return report_failure(reporter, classified(error, "run"))
    return report_result(reporter, value)


def classified(error: BaseException, phase: str) -> Failure:
    """The failure an error stands for. Here, where it was seen: many do not survive being sent to another process."""
    return classify(error, phase, SystemClock().wall().timestamp())


def report_result(reporter: Voice, value: Any) -> int:
    """Claim what a function returned; the exit code, 1 where it is no strict JSON."""
    if inspect.iscoroutine(value):
        value.close()
    try:
        encoded = strict_json(value, "the result", MAX_RESULT_BYTES)
    except NotStrictJSON as error:
        print(error, file=sys.stderr)  # noqa: T201 - the captured output of the agent
        return report_failure(reporter, Failure("malformed_output", f"{error}", phase="output"))
    except BaseException as error:  # noqa: BLE001 - a value may fight back
        traceback.print_exception(error)
        return report_failure(reporter, classified(error, "output"))
    _flush()
    reporter.send("result", encoded)
    return 0


def report_failure(reporter: Voice, failure: Failure) -> int:
    """Say how it failed; the exit code."""
    _flush()
    reporter.send("failure", json.dumps(failure.to_dict(), allow_nan=False).encode("ascii"))
    return 1


def _set_stage(env: Mapping[str, str]) -> None:
    """The attempt's environment, and nothing that was derived from another one."""
    os.environ.clear()
    os.environ.update(env)
    if "TZ" in env:
        time.tzset()
    tempfile.tempdir = None


def set_streams() -> None:
    """Standard streams on descriptors 0 to 2, whatever was loaded before.

    Made before the fork: a page that a child does not touch is a page that need not be copied.
    """
    set_stdin()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(  # noqa: SIM115 - a descriptor, not a path
            descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def set_stdin() -> None:
    """A standard input that has read nothing yet."""
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue


def _read_payload(descriptor: int) -> dict[str, Any]:
    with open(descriptor, "rb") as file:
        payload = json.load(file)
    if not isinstance(payload, dict):
        raise TypeError("the payload is no JSON object")
    return payload


def main() -> int:
    """Be a fresh interpreter's child; `argv` is SETUP PAYLOAD REPORT, three descriptors."""
    set_streams()
    setup_fd, payload, report = (int(text) for text in sys.argv[1:4])
    # It came through an exec; the programs that the agent starts are not to have it.
    os.set_inheritable(report, False)
    setup = _read_payload(setup_fd)
    try:
        agents = Preload.from_dict(setup["preload"]).load()
    except BaseException as error:  # noqa: BLE001 - a user's module may raise anything
        traceback.print_exception(error)
        return report_failure(Reporter(report), classified(error, "start"))
    return run(setup["runner"], agents, setup["env"], payload, report)


if __name__ == "__main__":
    # By its own name: the runners below it must not see a second copy of this module.
    from proofq.workers import child

    os._exit(child.main())
