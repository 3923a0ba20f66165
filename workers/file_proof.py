"""The `file` proof: what a file is declared to hold is read back from the disk, and it must be this task's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from proofq.policies.agent import JSON
from proofq.policies.freshness import FileRecord, Fresh, content_changed, fresh
from proofq.policies.strict_json import MAX_BYTES, NotStrict, parse
from proofq.policies.verdict import ProofResult
from proofq.workers import file_baseline, regular_file
from proofq.workers.file_baseline import FileBaseline
from proofq.workers.json_proof import CannotJudge, schema_problem
from proofq.workers.regular_file import Content

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check(
    options: Mapping[str, JSON],
    baseline: FileBaseline | None,
    host: str,
    must_change: bool = False,
    seen: Content | None = None,
) -> ProofResult:
    """Prove that the file holds what is declared, and that this task wrote it.

    `options` are the contract's, placeholders filled in and `path` absolute. `host` is the one we are on: where
    it is not the baseline's, only a network file system proves anything, and nothing is disproven.
    `must_change`: the content must differ from the recorded one, whatever `same_ok` says. `seen`: what was read of it,
    looking for `needle`; default: it is read now. Never raises.
    """
    if baseline is None:
        return _cannot_tell(options, "there is no record of the file from before the attempt")
    result = _told(options, lambda: _prove(options, baseline, must_change, seen or _look(options)))
    if baseline.host == host or (result.outcome == "verified" and _is_shared(result, baseline)):
        return result
    return _cannot_tell(options, f"the attempt ran on {baseline.host}, its file cannot be seen from {host}")


def holds(options: Mapping[str, JSON]) -> ProofResult:
    """Tell whether a regular file with the declared content stands there now, whoever wrote it. Never raises."""
    return _told(options, partial(_hold, options))


def _prove(options: Mapping[str, JSON], baseline: FileBaseline, must_change: bool, seen: Content) -> ProofResult:
    if not seen.record.exists and file_baseline.anchor_is_lost(baseline):
        raise regular_file.Unreachable(f"{baseline.anchor} is no longer the directory it was")
    problems = list(_content_problems(options, seen))
    evidence = _shown(options, seen)
    if seen.record.is_file:
        freshness = fresh(baseline.record, seen.record, baseline.marker_ctime_ns, options.get("same_ok", False) is True)
        if isinstance(freshness, Fresh):
            evidence["fresh"] = freshness.why
            if not freshness.birth_known:
                evidence["birth"] = "not reported by this file system"
        elif freshness.certain:
            problems.append(f"not fresh: {freshness.reason}")
        elif not problems:
            raise CannotJudge(freshness.reason)
        if baseline.marker == "host":
            evidence["marker"] = "by this host's clock: nothing could be made on the file system"
        if must_change:
            problems.extend(_unchanged_problems(baseline.record, seen.record))
    return _concluded(problems, evidence)


def _hold(options: Mapping[str, JSON]) -> ProofResult:
    seen = _look(options)
    return _concluded(list(_content_problems(options, seen)), _shown(options, seen))


def _look(options: Mapping[str, JSON]) -> Content:
    keep_bytes = MAX_BYTES if "json_schema" in options else 0
    return regular_file.read(_path(options), needle(options), keep_bytes)


def needle(options: Mapping[str, JSON]) -> bytes:
    """The text that must be in the file."""
    return str(options.get("contains", "")).encode("utf-8", "surrogatepass")


def _content_problems(options: Mapping[str, JSON], seen: Content) -> Iterator[str]:
    """Yield why the file does not hold what is declared. Raises CannotJudge where that cannot be told."""
    record = seen.record
    if not record.exists:
        yield "there is no file"
    elif not record.is_file:
        yield f"a {record.kind} stands there; only a regular file proves anything"
    else:
        if too_short(record, int(options.get("min_bytes", 0))):
            yield f"{record.size} bytes, at least {options['min_bytes']} are declared"
        if not seen.found:
            yield "the declared text is not in it"
        if "sha256" in options and str(options["sha256"]).lower() != record.digest:
            yield "its SHA-256 is not the declared one"
        if "json_schema" in options:
            yield from _json_problems(options["json_schema"], seen)


def too_short(record: FileRecord, min_bytes: int) -> bool:
    """Tell whether the file has fewer bytes than are declared; none declared is 0."""
    return record.size < min_bytes


def _json_problems(schema: JSON, seen: Content) -> Iterator[str]:
    if seen.data is None:
        raise CannotJudge(f"longer than the {MAX_BYTES} bytes of JSON that are read")
    try:
        value = parse(seen.data)
    except NotStrict as error:
        yield f"not strict JSON: {error.reason}"
        return
    problem = schema_problem(schema, value)
    if problem:
        yield f"does not fit json_schema: {problem}"


def _unchanged_problems(before: FileRecord, after: FileRecord) -> Iterator[str]:
    changed = not before.is_file or content_changed(before, after)
    if changed is None:
        raise CannotJudge("its earlier content could not be read, so nobody can tell whether it changed")
    if not changed:
        yield "must_change: its content is what it was before the task started"


def _told(options: Mapping[str, JSON], judge: Callable[[], ProofResult]) -> ProofResult:
    try:
        return judge()
    except regular_file.BadPath as error:
        evidence = {"path": _path(options), "reason": str(error)}
        return ProofResult("file", "unverified", evidence, class_="bad_input")
    except (regular_file.Unreachable, CannotJudge) as error:
        return _cannot_tell(options, str(error))


def _concluded(problems: list[str], evidence: dict[str, JSON]) -> ProofResult:
    if not problems:
        return ProofResult("file", "verified", evidence)
    evidence["reason"] = problems[0]
    if len(problems) > 1:
        evidence["also"] = problems[1:]
    return ProofResult("file", "unverified", evidence)


def _cannot_tell(options: Mapping[str, JSON], reason: str) -> ProofResult:
    return ProofResult("file", "cannot_tell", {"path": _path(options), "reason": reason})


def _shown(options: Mapping[str, JSON], seen: Content) -> dict[str, JSON]:
    evidence: dict[str, JSON] = {"path": _path(options)}
    if seen.record.is_file:
        changed_at = _EPOCH + timedelta(microseconds=seen.record.ctime_ns // 1000)
        evidence |= {
            "size": seen.record.size,
            "sha256": seen.record.digest,
            "changed_at": changed_at.isoformat().replace("+00:00", "Z"),
        }
    if seen.network:
        evidence["network"] = True
    return evidence


def _is_shared(result: ProofResult, baseline: FileBaseline) -> bool:
    return baseline.network and result.evidence.get("network") is True


def _path(options: Mapping[str, JSON]) -> str:
    return str(options.get("path", ""))
