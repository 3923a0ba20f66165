"""RQ's view of a task: what `Job.fetch`, `rq info` and rq-dashboard read. The only user of rq's classes.

Valid for rq 2.12: the job's fields come from rq itself, the rows of the result stream are rq's own format. rq is
loaded by who makes a job: with it come its workers, http.client and multiprocessing, which a supervisor never needs.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final

import redis

from proofq.policies import strict_json
from proofq.policies.adoption import FUNCTION, ForeignJob
from proofq.policies.lifecycle import DEFERRED, OWNED, RQ_STATUS, SUCCESS, TERMINAL

#: Longest call of a foreign job, in bytes of JSON.
MAX_CALL_BYTES: Final = 1024 * 1024
#: How rq's result stream says how a job ended: `Result.Type`.
_SUCCESSFUL, _FAILED = "1", "2"


def job_fields(
    agent: str, queue: str, state: str, inputs: Mapping[str, Any], timeout_s: float, now: datetime
) -> dict[str, Any]:
    """The hash of a new RQ job, as rq's own `Job.save` would write it (JSON serialiser; kept until purged)."""
    call = json.dumps((FUNCTION, None, (dict(inputs),), {})).encode()
    fields = _template(agent, queue, state, timeout_s) | {"created_at": stamp(now), "data": zlib.compress(call)}
    return fields if state == DEFERRED else fields | {"enqueued_at": stamp(now)}


@lru_cache(maxsize=256)
def _template(agent: str, queue: str, state: str, timeout_s: float) -> dict[str, Any]:
    """What the jobs of all tasks of an agent have alike: to ask rq for each of them takes longer than all else of an
    enqueue but its script."""
    from rq.job import Job, JobStatus
    from rq.serializers import JSONSerializer

    job = Job.create(
        FUNCTION,
        connection=_NOWHERE,
        origin=queue,
        description=agent,
        timeout=max(1, round(timeout_s)),
        result_ttl=-1,
        failure_ttl=-1,
        status=JobStatus(RQ_STATUS[state]),
        serializer=JSONSerializer,
    )
    fields: dict[str, Any] = job.to_dict()
    return fields


def plain(value: Any) -> str | bytes:
    """A field of a job as Redis keeps it: rq's status is an enum that is a str, and its value is meant."""
    return value if isinstance(value, bytes | str) else str(value)


def foreign(fields: Mapping[bytes, bytes]) -> ForeignJob:
    """What a job of somebody else's asks for; never raises: what cannot be read says why."""
    texts = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for name, value in fields.items()
        if name != b"data"
    }
    try:
        function, instance, args, kwargs = strict_json.parse(_inflated(fields.get(b"data", b"")))
        if not isinstance(function, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
            raise ValueError("it is no function name, instance, list and object")
    except strict_json.NotStrict as problem:
        return ForeignJob(fields=texts, unreadable=f"it is no strict JSON ({problem}); give RQ its JSONSerializer")
    except (zlib.error, ValueError, TypeError) as problem:
        return ForeignJob(fields=texts, unreadable=str(problem))
    return ForeignJob(function, instance, tuple(args), kwargs, texts)


def _inflated(data: bytes) -> bytes:
    """What rq compressed, up to a bound: a few bytes can stand for gigabytes."""
    if not data:
        raise ValueError("its data field is missing or empty")
    inflater = zlib.decompressobj()
    plain = inflater.decompress(data, MAX_CALL_BYTES)
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError(f"it is cut, or longer than {MAX_CALL_BYTES} bytes")
    return plain


def adopted_fields(state: str, agent: str, timeout_s: float, now: datetime) -> dict[str, Any]:
    """What changes in the hash of a job that becomes a task: our time-out and retention, and where it stands."""
    fields = {
        "status": RQ_STATUS[state],
        "description": agent,
        "timeout": str(max(1, round(timeout_s))),
        "result_ttl": "-1",
        "failure_ttl": "-1",
    }
    return fields | ({"ended_at": stamp(now)} if state in TERMINAL else {})


def stamp(now: datetime) -> str:
    """`now` (UTC) as rq writes times, at a tenth of what its own strftime takes."""
    return f"{now.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def moved_fields(state: str, now: datetime) -> dict[str, str]:
    """What changes in the job's hash when its task enters `state`."""
    fields = {"status": RQ_STATUS[state]}
    if state in OWNED:
        return fields | {"last_heartbeat": stamp(now)}
    if state in TERMINAL:
        return fields | {"ended_at": stamp(now)}
    # Waiting again: nothing of the attempt that ended may be read as present.
    gone = {"started_at": "", "ended_at": "", "worker_name": "", "last_heartbeat": ""}
    return fields | gone | {"enqueued_at": stamp(now)}


def shown_fields(state: str, ended_at_ms: int | None, attempts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What one of RQ's tools may have changed in the job's hash, as it should be of a task in `state`."""
    fields = {"status": str(RQ_STATUS[state])}
    if state not in TERMINAL:
        return fields
    started_ms = attempts[-1].get("leased_at") if attempts else None
    times = {"started_at": started_ms, "ended_at": ended_at_ms}
    return fields | {
        name: "" if at is None else stamp(datetime.fromtimestamp(at / 1000, UTC)) for name, at in times.items()
    }


def result_row(state: str, value: Any, reason: str) -> dict[str, str]:
    """A row of RQ's result stream for a task that ended: SUCCESSFUL with its value, or FAILED with the reason."""
    if state in SUCCESS:
        # What rq's JSONSerializer writes.
        serialised = base64.b64encode(json.dumps(value, default=str).encode()).decode()
        return {"type": _SUCCESSFUL, "return_value": serialised}
    packed = base64.b64encode(zlib.compress(reason.encode("utf-8", "replace"))).decode()
    return {"type": _FAILED, "exc_string": packed}


def worker_fields(queues: Sequence[str], pid: int, host: str, birth: datetime, now: datetime) -> dict[str, str]:
    """What rq's `Worker.serialize` says of a worker. Nobody asks Redis by which address it sees us."""
    return {
        "birth": stamp(birth),
        "last_heartbeat": stamp(now),
        "queues": ",".join(queues),
        "pid": str(pid),
        "hostname": host,
        "ip_address": "unknown",
        "version": _rq_version(),
        "python_version": sys.version,
    }


@cache
def _rq_version() -> str:
    return importlib.metadata.version("rq")


def compact(value: Any) -> str:
    """JSON as Redis keeps it: short, UTF-8, no NaN."""
    return _ENCODER.encode(value)


#: Made once: as a call's options each text would pay for an encoder of its own.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


#: rq's Job wants a connection at birth; this one is never used.
_NOWHERE: Final = redis.Redis(host="localhost", port=0)
