"""The program `claude` (Claude Code), run as `claude -p` with `--output-format json`, or `stream-json --verbose`.

Its exit code says little: 1 for whatever went wrong, 0 for a tool it was denied, 0 for a lie. What it says of itself
is its result, the last line of its output; and that says "success" beside `is_error: true`, so `is_error` is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proofq.policies import strict_json
from proofq.policies.adapters import claude_lines as lines
from proofq.policies.adapters import provider_errors
from proofq.policies.adapters.adapter import Adapter
from proofq.policies.adapters.generic import exited, malformed
from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure
from proofq.policies.live import Heard

#: Characters of its answer that the claim keeps in Redis; the rest stays in the captured files.
CLAIM_TEXT: Final = 2048
#: Fields of its result that the claim keeps as they are, where they are numbers or text; of text so many characters.
_KEPT: Final = ("session_id", "num_turns", "total_cost_usd", "duration_ms")
_KEPT_TEXT: Final = 100
#: What it counts of the tokens it used that the claim keeps.
_USAGE: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
#: Subtypes of a result that say a bound of its own was reached: `--max-turns`, `--max-budget-usd`.
_BUDGETS: Final = frozenset({"error_max_turns", "error_max_budget_usd"})
#: It gave up making its answer fit `--json-schema`.
_NO_FIT: Final = "error_max_structured_output_retries"

#: Retries are the queue's: it sees why, and how long to wait, while the client would sleep on the slot. Nothing is sent
#: anywhere but to the provider, and the program stays the one that was installed.
ENV: Final[Mapping[str, str]] = {
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "API_TIMEOUT_MS": "120000",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
}


def outcome(ending: Ending, document: bool) -> Claim | Failure:
    """A claim only if nothing it says of itself speaks against it; `document`: its answer is one JSON document."""
    printed = lines.read(ending.stdout_end)
    if isinstance(printed, str):
        return malformed(printed) if ending.exit_code == 0 else exited(ending)
    failure = _failure(printed, ending.transcript_end, ending.at)
    if failure is not None:
        return failure
    if ending.exit_code != 0:
        return exited(ending)
    return _document(printed.result) if document else Claim(_claim(printed.result))


def usage(ending: Ending) -> dict[str, float]:
    """What its result says it has spent, whatever became of it: all tokens that it was billed for, and its turns."""
    printed = lines.read(ending.stdout_end)
    if isinstance(printed, str):
        return {}
    result = printed.result
    counted = result.get("usage")
    tokens = [counted.get(name) for name in _USAGE] if isinstance(counted, dict) else []
    said: dict[str, Any] = {
        "usd": result.get("total_cost_usd"),
        "tokens": sum(each for each in tokens if type(each) is int),
        "requests": result.get("num_turns"),
    }
    return {name: float(value) for name, value in said.items() if _is_number(value) and value > 0}


def live(line: bytes) -> Heard:
    """A line of `stream-json`: a call that will be made again, or an answer of the model's."""
    if lines.is_answer(line):
        return "answered"
    said = lines.live_retry(line)
    if said is None:
        return None
    text = f"{said.word or 'no answer'}, by its live output"
    return provider_errors.failure(said.status, said.word, text, said.asked_s)


def _failure(printed: lines.Printed, transcript_end: bytes, now: float | None) -> Failure | None:
    """What it says of itself that speaks against a success."""
    result = printed.result
    subtype, text = str(result.get("subtype"))[:_KEPT_TEXT], _text(result)
    if subtype in _BUDGETS:
        return Failure("budget", f"it stopped at a bound of its own: {subtype}", phase="run")
    if subtype == _NO_FIT:
        return malformed("it gave up making its answer fit the schema it was given")
    if result.get("is_error") is not False or subtype != "success":
        return _provider_failure(printed, subtype, text, now)
    denied = result.get("permission_denials")
    if denied:
        # As declared it will be denied again: to try once more helps as little as with an input that is wrong.
        return Failure("bad_input", _denial(denied), phase="run", fingerprint="claude:denied")
    turns = result.get("num_turns")
    if type(turns) is not int or turns < 1:
        return malformed("its result says success after no turn at all")
    if not text.strip() and "structured_output" not in result:
        return malformed("its result is empty")
    if result.get("stop_reason", "end_turn") != "end_turn":
        return malformed(f"it stopped talking for another reason than being done: {result['stop_reason']!s:.40}")
    if printed.session_id not in ("", result.get("session_id")):
        return malformed("its result is of another session than it had announced")
    stopped = lines.last_stop(transcript_end, str(result.get("session_id")))
    if stopped not in ("", "end_turn"):
        return malformed(f"by its transcript it was not done talking: it stopped for {stopped:.40}")
    return None


def _provider_failure(printed: lines.Printed, subtype: str, text: str, now: float | None) -> Failure:
    result = printed.result
    status = result.get("api_error_status")
    status = status if type(status) is int else None
    said = text or "; ".join(str(each)[:200] for each in lines.listed(result, "errors")) or subtype
    wait_s = printed.asked_wait_s if printed.asked_status == status else None
    return provider_errors.failure(status, printed.error, said, wait_s, now)


def _text(result: Mapping[str, Any]) -> str:
    text = result.get("result")
    return text if isinstance(text, str) else ""


def _denial(denied: Any) -> str:
    listed = denied if isinstance(denied, list) else []
    names = {str(each.get("tool_name"))[:40] for each in listed if isinstance(each, dict)}
    which = ", ".join(sorted(names)[:5]) or "it does not say which"
    return f"it was denied a tool ({which}); allow it in the agent's command: --allowedTools or --permission-mode"


def _claim(result: Mapping[str, Any]) -> dict[str, Any]:
    """What it says of itself, bounded."""
    kept: dict[str, Any] = {"exit_code": 0, "result": _text(result)[:CLAIM_TEXT]}
    for name in _KEPT:
        value = result.get(name)
        if isinstance(value, str):
            kept[name] = value[:_KEPT_TEXT]
        elif _is_number(value):
            kept[name] = value
    usage = result.get("usage")
    if isinstance(usage, dict):
        kept["usage"] = {name: usage[name] for name in _USAGE if _is_number(usage.get(name))}
    return kept


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e15


def _document(result: Mapping[str, Any]) -> Claim | Failure:
    """With `--json-schema` it gives the document apart; else its answer is to be one."""
    if "structured_output" in result:
        return Claim(result["structured_output"])
    try:
        return Claim(strict_json.parse(_text(result).encode("utf-8", "replace")))
    except strict_json.NotStrict as problem:
        return malformed(f"its answer is not one strict JSON document: {problem}")


CLAUDE: Final = Adapter("claude", outcome, (".claude/projects/*/*.jsonl",), ENV, live, True, usage)
