"""The `json` proof: the claim itself must be one strict JSON document that fits the declared schema."""

from __future__ import annotations

from collections.abc import Mapping

from proofq.policies import schema as json_schema
from proofq.policies.agent import JSON
from proofq.policies.strict_json import NotStrict, parse
from proofq.policies.verdict import ProofResult


class CannotJudge(Exception):
    """The proof itself cannot be carried out here, so neither yes nor no is an answer."""


def check(options: Mapping[str, JSON], claim: str | None) -> ProofResult:
    """Prove the claim, given as JSON text; None is a claim that JSON cannot carry. Never raises.

    `options`: schema, an inlined JSON Schema, may be left out. What does not fit is `malformed_output`.
    """
    try:
        if claim is None:
            raise NotStrict("no value that JSON can carry was returned")
        data = claim.encode("utf-8", "surrogatepass")
        value = parse(data)
        problem = schema_problem(options["schema"], value) if "schema" in options else ""
    except NotStrict as error:
        return _malformed(error.reason)
    except CannotJudge as error:
        return ProofResult("json", "cannot_tell", {"reason": str(error)})
    if problem:
        return _malformed(f"does not fit the schema: {problem}")
    return ProofResult("json", "verified", {"bytes": len(data), "type": type(value).__name__})


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


def _malformed(reason: str) -> ProofResult:
    return ProofResult("json", "unverified", {"reason": reason}, class_="malformed_output")
