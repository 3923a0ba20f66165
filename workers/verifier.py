"""The warm verifier: a process that re-reads the world for the supervisor, one request after the other.

It runs only what is built in, imports nothing of the user's, and may be killed at any moment: it holds
nothing.

    → {"id", "op": "baseline", "path", "host"[, "since_ns"]}
    ← {"id", "baseline": FileBaseline} | {"id", "bad_path": reason} | {"id", "cannot_tell": reason}
    → {"id", "op": "holds", "kind", "options", "within_s"}
    ← {"id", "result": ProofResult}
    → {"id", "op": "check", "kind", "options", "must_change", "baseline", "claim", "host", "within_s"}
    ← {"id", "result": ProofResult}

Its first message is {"id": 0, "ready": true}. A request it fails on is answered {"id", "error": text}.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from proofq.policies.agent import JSON
from proofq.policies.verdict import ProofResult
from proofq.workers import file_baseline, file_proof, json_proof, record_proof, regular_file
from proofq.workers.file_baseline import FileBaseline
from proofq.workers.wire import Channel, WireError

#: Most memory one may map. A proof that wants more fails alone instead of taking the host's memory.
MAX_MEMORY_BYTES = 4 * 1024 * 1024 * 1024


def serve(channel: Channel) -> None:
    """Answer requests in their order until the other side is gone."""
    channel.send({"id": 0, "ready": True})
    while not channel.eof:
        channel.wait(None)
        for message in channel.read():
            number = message.body.get("id")
            try:
                channel.send({"id": number, **answer(message.body)})
            except WireError as error:
                channel.send({"id": number, "error": str(error)})


def answer(request: Mapping[str, JSON]) -> dict[str, JSON]:
    """Give the answer to one request, without its id. Never raises."""
    try:
        return _OPERATIONS[request["op"]](request)
    except Exception as error:  # noqa: BLE001 - a request that cannot be served must not end the others
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _baseline(request: Mapping[str, JSON]) -> dict[str, JSON]:
    try:
        taken = file_baseline.take(request["path"], request["host"], request.get("since_ns"))
        return {"baseline": taken.to_dict()}
    except regular_file.BadPath as error:
        return {"bad_path": str(error)}
    except regular_file.Unreachable as error:
        return {"cannot_tell": str(error)}


def _holds(request: Mapping[str, JSON]) -> dict[str, JSON]:
    if request["kind"] == "file":
        return {"result": file_proof.holds(request["options"]).to_dict()}
    if request["kind"] == "record":
        return _record(request)
    return _unknown_kind(request)


def _check(request: Mapping[str, JSON]) -> dict[str, JSON]:
    if request["kind"] == "file":
        recorded = request["baseline"]
        baseline = None if recorded is None else FileBaseline.from_dict(recorded)
        result = file_proof.check(request["options"], baseline, request["host"], request["must_change"])
        return {"result": result.to_dict()}
    if request["kind"] == "json":
        return {"result": json_proof.check(request["options"], request["claim"]).to_dict()}
    if request["kind"] == "record":
        return _record(request)
    return _unknown_kind(request)


def _record(request: Mapping[str, JSON]) -> dict[str, JSON]:
    """Whether it holds now: what must have changed, the asker has looked at before."""
    return {"result": record_proof.check(request["options"], request["within_s"]).to_dict()}


def _unknown_kind(request: Mapping[str, JSON]) -> dict[str, JSON]:
    reason = f"this verifier knows no {request['kind']} proof of that sort"
    return {"result": ProofResult(str(request["kind"]), "cannot_tell", {"reason": reason}).to_dict()}


_OPERATIONS = {"baseline": _baseline, "holds": _holds, "check": _check}


def _become_expendable() -> None:
    """Leave Ctrl-C to the launcher, bound our memory, and when memory runs out be the first that goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MAX_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve on the socket given by `--fd` until it closes. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="proofq.workers.verifier")
    parser.add_argument("--fd", type=int, required=True, help="an inherited, connected stream socket")
    descriptor = parser.parse_args(arguments).fd
    _become_expendable()
    import jsonschema  # noqa: F401 - now, so that no proof's deadline pays for it

    channel = Channel(socket.socket(fileno=descriptor))
    with contextlib.suppress(WireError, OSError):
        serve(channel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
