"""The `json` proof: the claim itself must be one strict JSON document that fits the declared schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proofq.policies import schema as json_schema
from proofq.policies.agent import JSON
from proofq.policies.strict_json import MAX_BYTES, NotStrict, parse
from proofq.policies.verdict import ProofResult
from proofq.workers import regular_file


class CannotJudge(Exception):
    """The proof itself cannot be carried out here, so neither yes nor no is an answer."""


@dataclass(frozen=True)
class ClaimText:
    """Where the text of a claim is: a captured stdout, or, for a function's value, the text itself."""

    #: Absolute path of the captured stdout; None for a function.
    stdout: str | None = None
    #: False where stdout was longer than what is captured of it.
    whole: bool = True
    #: The value a function returned, as JSON; None where it returned none that JSON can carry.
    text: str | None = None

    def to_dict(self) -> dict[str, JSON]:
        """Give the plain JSON object that `from_dict` reads."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> ClaimText:
        """Read what `to_dict` gave."""
        return cls(stdout=data.get("stdout"), whole=bool(data.get("whole")), text=data.get("text"))


def check(options: Mapping[str, JSON], claim: ClaimText) -> tuple[ProofResult, JSON]:
    """Give the result and the document (None unless verified). What does not fit is `malformed_output`.

    `options`: schema, an inlined JSON Schema, may be left out. Never raises.
    """
    try:
        data = _text_of(claim)
        value = parse(data)
        problem = schema_problem(options["schema"], value) if "schema" in options else ""
    except NotStrict as error:
        return _malformed(error.reason), None
    except (CannotJudge, regular_file.Unreachable) as error:
        return ProofResult("json", "cannot_tell", {"reason": str(error)}), None
    if problem:
        return _malformed(f"does not fit the schema: {problem}", bytes=len(data)), None
    return ProofResult("json", "verified", {"bytes": len(data), "type": type(value).__name__}), value


def schema_problem(schema: JSON, value: JSON) -> str:
    """Say where `value` breaks `schema`, "" where it fits. Raises CannotJudge where the schema is of no use."""
    if not isinstance(schema, Mapping):
        raise CannotJudge("the schema is no JSON object; it should have been read in when the agent was declared")
    for finding in json_schema.findings(schema, value):
        if not finding.rule:
            raise CannotJudge(f"the schema is of no use: {finding.message}")
        where = "/".join(str(step) for step in finding.path)
        return f"at {where}: {finding.message}" if where else finding.message
    return ""


def _text_of(claim: ClaimText) -> bytes:
    if claim.stdout is None:
        if claim.text is None:
            raise NotStrict("no value that JSON can carry was returned")
        return claim.text.encode("utf-8", "surrogatepass")
    if not claim.whole:
        raise NotStrict("stdout is longer than what is captured of it, so it is not one whole document")
    try:
        seen = regular_file.read(claim.stdout, keep_bytes=MAX_BYTES)
    except regular_file.BadPath as error:
        raise CannotJudge(str(error)) from error
    if not seen.record.is_file:
        raise CannotJudge("the captured stdout is not there")
    if seen.data is None:
        raise NotStrict(f"longer than {MAX_BYTES} bytes")
    return seen.data


def _malformed(reason: str, **more: JSON) -> ProofResult:
    return ProofResult("json", "unverified", {"reason": reason, **more}, class_="malformed_output")
