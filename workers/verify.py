"""What the supervisor asks before an attempt and after a claim: how is the world, and is the claim true?"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from proofq.policies.agent import JSON, Proof
from proofq.policies.fast_dataclass import fast_dataclass
from proofq.policies.verdict import MAX_TEXT, ProofResult, Verdict, combine
from proofq.workers import file_baseline, file_proof
from proofq.workers.file_baseline import FileBaseline
from proofq.workers.known_folders import KnownFolders
from proofq.workers.warm import Started, Unanswered, WarmPool

#: Runs a user's proof in a process of its own: (function, facts, timeout_s). Gives what `python_proof.run` gave
#: there, or raises TimeoutError at the deadline, the process then killed.
PythonRunner: TypeAlias = Callable[[str, Mapping[str, JSON], float], Mapping[str, JSON]]
#: Runs a command in a process of its own: (argv, cwd, timeout_s). Gives {"exit_code", "output_tail"} when it ended by
#: itself, {"error": text} when it could not be started or was killed, or raises TimeoutError at the deadline; nothing
#: that it started is alive afterwards.
CommandRunner: TypeAlias = Callable[[Sequence[str], str, float], Mapping[str, JSON]]

#: The option of a kind that is a path, made absolute here, and the kinds that see only what is on their own host.
_PATHS = {"file": "path", "record": "db"}
_LOCAL = frozenset({"record", "command"})
#: Part of a proof's time after which a record proof gives up by itself, so that its process need not be killed.
_SHARE = 0.9


@dataclass(slots=True)
class Question:
    """One attempt and what it must prove. Plain data; placeholders of the proofs are filled in.

    `host` is where the attempt runs, or ran; `cwd` makes relative paths absolute. `record` is what the
    baseline of an earlier attempt gave, or this one's; None before the first. `started_at` is ISO 8601 with a
    zone.
    """

    proofs: tuple[Proof, ...]
    host: str
    cwd: str
    workdir: str
    taskdir: str
    inputs: Mapping[str, JSON]
    record: Mapping[str, JSON] | None = None
    #: The claim as `show` has it; None before the first attempt.
    claim: JSON = None
    #: False of an attempt that ended without a claim: None is then not what it said.
    claimed: bool = True
    started_at: str | None = None


@fast_dataclass(frozen=True)
class Baseline:
    """How the proofs' targets were before the attempt.

    `ready`: the agent may start now, and not before. `already_true`: a `must_change` proof holds already.
    `bad_input`: a path that no file can have. `cannot_tell`: a target cannot be reached from here.
    """

    outcome: Literal["ready", "already_true", "bad_input", "cannot_tell"]
    #: Why not, "" when ready.
    reason: str = ""
    #: Opaque; keep it with the task and give it back as `Question.record`. Store it as text: it has 64-bit
    #: numbers.
    record: Mapping[str, JSON] = field(default_factory=dict)
    #: Whether what is new in the record can be told again, should it be lost, by when the attempt was leased.
    tells_again: bool = True


class Verifier:
    """Thread-safe. `host` is this one; the rest is given by who starts processes. Raises nothing of the world's."""

    def __init__(
        self,
        host: str,
        start_verifier: Callable[[], Started],
        run_python_proof: PythonRunner,
        run_command_proof: CommandRunner,
        processes: int = 4,
        recycle_after: int = 10_000,
    ) -> None:
        self._host = host
        self._pool = WarmPool(start_verifier, processes, recycle_after)
        self._run_python_proof = run_python_proof
        self._run_command_proof = run_command_proof
        self._folders = KnownFolders()

    def baseline(
        self, question: Question, timeout_s: float, since_ns: Callable[[str], int | None] = lambda _: None
    ) -> Baseline:
        """Record what no earlier attempt has recorded, and see that what must change does not hold yet.

        To be asked before every attempt, since its paths may be its own; the agent may start once it is
        `ready`. `timeout_s` bounds each proof. `since_ns`: of a path, when an attempt was leased on this host
        first whose record of it nobody lived to keep, by `Clock.stamp_ns`; asked where a file is there.
        """
        proofs = _absolute(question)
        record = _Record(question.record)
        record.keep_files(_paths(proofs))
        try:
            for index, proof in enumerate(proofs):
                problem = self._record_file(proof, record, timeout_s, since_ns) if proof.kind == "file" else None
                if problem is None and proof.must_change and not record.has_looked(index):
                    problem = self._look_before(index, proof, question, record, timeout_s)
                if problem is not None:
                    return problem
        except Unanswered as error:
            return Baseline("cannot_tell", str(error))
        return Baseline("ready", record=record.data, tells_again=record.tells_again)

    def verify(self, question: Question, timeout_s: float, late: Callable[[], object] = lambda: None) -> Verdict:
        """Run every proof, each for at most `timeout_s`, and give the verdict. ValueError without any proof.

        `late` is called before what takes its time: a proof's own process, or an answer that does not come at once.
        """
        record = _Record(question.record)
        return combine(
            self._check(index, proof, question, record, timeout_s, late)
            for index, proof in enumerate(_absolute(question))
        )

    def warm_up(self) -> None:
        """Start a process ahead, so that the first attempt need not wait for Python to start. Raises nothing."""
        self._pool.warm_up()

    def close(self) -> None:
        """Let the processes go."""
        self._pool.close()

    # --- before ---

    def _record_file(
        self, proof: Proof, record: _Record, timeout_s: float, since_ns: Callable[[str], int | None]
    ) -> Baseline | None:
        path = str(proof.options.get("path", ""))
        if record.file(path, self._host) is not None:
            return None
        absent = self._folders.without(path, self._host)
        if absent is not None:
            record.put_file(path, self._host, absent.to_dict())
            return None
        request = {"op": "baseline", "path": path, "host": self._host}
        answer = self._pool.ask(request, timeout_s)
        if "baseline" in answer and answer["baseline"]["record"]["kind"] == "file":
            first_ns = since_ns(path)
            if first_ns is not None:
                answer = self._pool.ask({**request, "since_ns": first_ns}, timeout_s)
        if "baseline" in answer:
            taken = answer["baseline"]
            record.put_file(path, self._host, taken)
            if file_baseline.is_stamped_by_kernel(taken):
                self._folders.learn(taken["anchor"], taken["anchor_dev"])
            return None
        if "bad_path" in answer:
            return Baseline("bad_input", f"{path}: {answer['bad_path']}")
        return Baseline("cannot_tell", f"{path}: {answer.get('cannot_tell') or answer.get('error')}")

    def _look_before(
        self, index: int, proof: Proof, question: Question, record: _Record, timeout_s: float
    ) -> Baseline | None:
        if proof.kind == "json":
            # A claim cannot hold before anything has claimed.
            result = ProofResult(proof.kind, "unverified")
        elif proof.kind in ("python", "command"):
            result = self._run(proof, question, timeout_s)
        else:
            result = _result_of(proof, self._pool.ask(_request("holds", proof, timeout_s), timeout_s))
        if result.outcome == "verified":
            reason = f"already_true: the {proof.kind} proof holds before anything was started"
            return Baseline("already_true", reason)
        if result.outcome == "cannot_tell":
            return Baseline("cannot_tell", f"must_change: {result.reason}")
        record.put_look(index)
        return None

    # --- after ---

    def _check(
        self,
        index: int,
        proof: Proof,
        question: Question,
        record: _Record,
        timeout_s: float,
        late: Callable[[], object],
    ) -> ProofResult:
        if proof.kind in _LOCAL and question.host != self._host:
            reason = f"the attempt ran on {question.host}, what it did there cannot be seen from {self._host}"
            return ProofResult(proof.kind, "cannot_tell", {"reason": reason})
        if proof.must_change and proof.kind not in ("file", "json") and not record.has_looked(index):
            reason = "must_change: nobody looked before the first attempt"
            return ProofResult(proof.kind, "cannot_tell", {"reason": reason})
        if proof.kind == "json" and not question.claimed:
            reason = "nothing was claimed, and this proof reads the claim"
            return ProofResult(proof.kind, "unverified", {"reason": reason})
        if proof.kind in ("python", "command"):
            late()
            return self._run(proof, question, timeout_s)
        return self._check_warm(proof, question, record, timeout_s, late)

    def _check_warm(
        self, proof: Proof, question: Question, record: _Record, timeout_s: float, late: Callable[[], object]
    ) -> ProofResult:
        known = record.file(str(proof.options.get("path", "")), question.host) if proof.kind == "file" else None
        quick = self._read_here(proof, known)
        if quick is not None:
            return quick
        request = _request("check", proof, timeout_s) | {
            "must_change": proof.must_change,
            "baseline": known,
            "claim": _claim_text(question) if proof.kind == "json" else None,
            "host": self._host,
        }
        try:
            return _result_of(proof, self._pool.ask(request, timeout_s, late))
        except Unanswered as error:
            return ProofResult(proof.kind, "cannot_tell", {"reason": str(error)})

    def _read_here(self, proof: Proof, known: Mapping[str, JSON] | None) -> ProofResult | None:
        """Of a small file in a known folder, of which its bytes alone count; None of all else."""
        options = proof.options
        if known is None or "json_schema" in options:
            return None
        seen = self._folders.read(str(options["path"]), file_proof.needle(options))
        if seen is None:
            return None
        try:
            return file_proof.check(options, FileBaseline.from_dict(known), self._host, proof.must_change, seen)
        except Exception:  # noqa: BLE001 - options that make no sense: a verifier says so
            return None

    def _run(self, proof: Proof, question: Question, timeout_s: float) -> ProofResult:
        """A proof that is somebody else's program, in a process of its own."""
        said: Mapping[str, JSON]
        try:
            if proof.kind == "python":
                said = self._run_python_proof(str(proof.options["function"]), _facts(question), timeout_s)
            else:
                said = self._run_command_proof(proof.options["argv"], question.cwd, timeout_s)
        except TimeoutError:
            said = {"error": f"it ran longer than the {timeout_s:g} s a proof may take"}
        except Exception as error:  # noqa: BLE001 - that it could not be run says nothing about the task
            said = {"error": f"it could not be run: {error}"}
        if proof.kind == "python":
            return _python_result(str(proof.options["function"]), said)
        return _command_result(proof.options["argv"], said)


class _Record:
    """The opaque record: files by host and path, and which `must_change` proofs were seen not to hold."""

    def __init__(self, data: Mapping[str, JSON] | None) -> None:
        kept = data or {}
        self.data: dict[str, JSON] = {
            "files": [dict(each) for each in kept.get("files", ())],
            "looked": list(kept.get("looked", ())),
        }
        #: Whether all that was put in since could be told again.
        self.tells_again = True

    def file(self, path: str, host: str) -> JSON:
        """Give the record of a file as `host` sees it: its own, or another's of a shared file system."""
        mine = (each for each in self.data["files"] if each["path"] == path)
        return next((each for each in mine if each["host"] == host or each["network"]), None)

    def keep_files(self, paths: Collection[str]) -> None:
        """Forget the files of earlier attempts' own directories, so that the record stays small."""
        self.data["files"] = [each for each in self.data["files"] if each["path"] in paths]

    def put_file(self, path: str, host: str, baseline: JSON) -> None:
        self.data["files"].append({**baseline, "path": path, "host": host})
        self.tells_again = self.tells_again and file_baseline.can_be_told_again(baseline)

    def has_looked(self, index: int) -> bool:
        return index in self.data["looked"]

    def put_look(self, index: int) -> None:
        self.data["looked"].append(index)
        self.tells_again = False


def paths_of(question: Question) -> set[str]:
    """What its proofs may have a record of, as `since_ns` is given it."""
    return _paths(_absolute(question))


def _paths(proofs: Sequence[Proof]) -> set[str]:
    return {str(proof.options.get("path", "")) for proof in proofs}


def _absolute(question: Question) -> list[Proof]:
    """Give the proofs with the paths of files made absolute. An empty one stays empty, and is refused later."""
    proofs = []
    for proof in question.proofs:
        key = _PATHS.get(proof.kind, "")
        path = str(proof.options.get(key, ""))
        whole = _whole(question.cwd, path) if path else ""
        if whole != path:
            proof = replace(proof, options={**proof.options, key: whole})
        proofs.append(proof)
    return proofs


def _whole(cwd: str, path: str) -> str:
    """A path as it is below `cwd`; as it stands where it is absolute and plain."""
    plain = path.startswith("/") and not any(odd in path for odd in ("//", "/./")) and not path.endswith(("/", "/."))
    return path if plain else str(Path(cwd, path))


def _request(operation: str, proof: Proof, timeout_s: float) -> dict[str, JSON]:
    return {"op": operation, "kind": proof.kind, "options": dict(proof.options), "within_s": timeout_s * _SHARE}


def _facts(question: Question) -> dict[str, JSON]:
    return {
        "inputs": dict(question.inputs),
        "claim": question.claim,
        "workdir": question.workdir,
        "taskdir": question.taskdir,
        "started_at": question.started_at,
    }


def _claim_text(question: Question) -> str | None:
    """Give the claim as JSON, NaN and half characters included, which the proof refuses; None where it is none."""
    try:
        return json.dumps(question.claim)
    except (TypeError, ValueError, RecursionError):
        return None


def _result_of(proof: Proof, answer: Mapping[str, JSON]) -> ProofResult:
    if "result" in answer:
        return ProofResult.from_dict(answer["result"])
    return ProofResult(proof.kind, "cannot_tell", {"reason": f"the proof failed: {answer.get('error')}"})


def _python_result(function: str, said: Mapping[str, JSON]) -> ProofResult:
    if "evidence" in said and isinstance(said["evidence"], Mapping):
        return ProofResult("python", "verified", {"function": function, **said["evidence"]})
    if "not_proven" in said:
        return ProofResult("python", "unverified", {"function": function, "reason": str(said["not_proven"])})
    reason = str(said.get("error", "it ended without saying anything"))
    return ProofResult("python", "cannot_tell", {"function": function, "reason": reason})


def _command_result(argv: Sequence[str], said: Mapping[str, JSON]) -> ProofResult:
    evidence: dict[str, JSON] = {"argv": list(argv)}
    if "exit_code" not in said:
        reason = str(said.get("error", "it ended without saying anything"))
        return ProofResult("command", "cannot_tell", {**evidence, "reason": reason})
    code = said["exit_code"]
    evidence |= {"exit_code": code, "output_tail": str(said.get("output_tail", ""))[-MAX_TEXT:]}
    if code == 0:
        return ProofResult("command", "verified", evidence)
    return ProofResult("command", "unverified", {**evidence, "reason": f"it exited with {code}"})
