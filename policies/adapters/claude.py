"""The program `claude` (Claude Code), run as `claude -p` with `--output-format json`, or `stream-json --verbose`.

Its exit code says little: 1 for whatever went wrong, 0 for a tool it was denied, 0 for a lie. What it says of itself
is its result, the last line of its output; and that says "success" beside `is_error: true`, so `is_error` is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proofq.policies import strict_json
from proofq.policies.adapters import provider_errors
from proofq.policies.adapters.adapter import Adapter
from proofq.policies.adapters.generic import exited, malformed
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure

#: Characters of its answer that the claim keeps in Redis; the rest stays in the captured files.
CLAIM_TEXT: Final = 2048
#: Fields of its result that the claim keeps as they are, where they are numbers or text.
_KEPT: Final = ("session_id", "num_turns", "total_cost_usd", "duration_ms")
#: Subtypes of a result that say a bound of its own was reached: `--max-turns`, `--max-budget-usd`.
_BUDGETS: Final = frozenset({"error_max_turns", "error_max_budget_usd"})


def outcome(ending: Ending, document: bool) -> Claim | Failure:
    """A claim only if nothing it says of itself speaks against it; `document`: its answer is one JSON document."""
    result = _result(ending)
    if isinstance(result, Failure):
        return exited(ending) if ending.exit_code != 0 else result
    failure = _failure(result)
    if failure is not None:
        return failure
    if ending.exit_code != 0:
        return exited(ending)
    return _document(result) if document else Claim(_claim(result))


def _result(ending: Ending) -> Mapping[str, Any] | Failure:
    """Its result: the last line of its output. A line cut off, or one of another kind, is none."""
    printed = ending.stdout if ending.stdout is not None else ending.output_tail.encode("utf-8", "replace")
    lines = [line for line in printed.splitlines() if line.strip()]
    if not lines:
        return malformed("it printed nothing; it is to be run with --output-format json, or stream-json --verbose")
    try:
        last = strict_json.parse(lines[-1])
    except strict_json.NotStrict as problem:
        return malformed(f"the last line of its stdout is not one JSON document: {problem}")
    if not isinstance(last, dict) or last.get("type") != "result":
        return malformed("it ended without a result event: its work was cut off, or its --output-format is another")
    return last


def _failure(result: Mapping[str, Any]) -> Failure | None:
    """What the result itself says went wrong."""
    subtype, text = str(result.get("subtype")), _text(result)
    if subtype in _BUDGETS:
        return Failure("budget", f"it stopped at a bound of its own: {subtype}", phase="run")
    if result.get("is_error") is not False or subtype != "success":
        status = result.get("api_error_status")
        return provider_errors.failure(status if type(status) is int else None, "", f"{subtype}: {text}")
    denied = result.get("permission_denials")
    if denied:
        return Failure("bad_input", f"it was denied a tool: {_tools(denied)}", phase="run", fingerprint="denied")
    turns = result.get("num_turns")
    if type(turns) is not int or turns < 1:
        return malformed("its result says success after no turn at all")
    if not text.strip():
        return malformed("its result is empty")
    return None


def _text(result: Mapping[str, Any]) -> str:
    text = result.get("result")
    return text if isinstance(text, str) else ""


def _tools(denied: Any) -> str:
    names = [str(each.get("tool_name", "?"))[:40] for each in denied if isinstance(each, dict)]
    return ", ".join(names[:5]) or "of a name that cannot be read"


def _claim(result: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: result[key] for key in _KEPT if isinstance(result.get(key), int | float | str)}
    return {"exit_code": 0, "result": _text(result)[:CLAIM_TEXT], **kept}


def _document(result: Mapping[str, Any]) -> Claim | Failure:
    try:
        return Claim(strict_json.parse(_text(result).encode("utf-8", "replace")))
    except strict_json.NotStrict as problem:
        return malformed(f"its answer is not one strict JSON document: {problem}")


CLAUDE: Final = Adapter("claude", outcome, transcripts=(".claude/projects/*/*.jsonl",))
