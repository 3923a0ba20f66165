"""The lines that the program claude prints: its result, and what else of them is needed to judge it.

Every line is a JSON object with a `type`. With `--output-format json` there is one, the result (or, with `--verbose`,
one list of all); with `stream-json` a line for each thing that happens, the result last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofq.policies import strict_json

#: How the lines begin that are looked for, so that nothing else need be read.
_RESULT: Final = b'{"type":"result"'
_SYSTEM: Final = b'{"type":"system"'
_ASSISTANT: Final = b'{"type":"assistant"'
_RETRY: Final = b'"subtype":"api_retry"'
#: Within so many bytes of the end of an assistant's line stands its `error`, where it has one.
_ERROR_BYTES: Final = 200
#: Longest line, but for a result, that is read; the rest of them say nothing that is needed.
_LONGEST: Final = 64 * 1024


@dataclass(frozen=True)
class Printed:
    """What it printed, as far as it matters.

    `session_id` is the one it announced when it began; `error` its own word for the last failure of the provider;
    `asked_wait_s` how long the provider asked to wait, with `asked_status`, when it was last asked again. "" and None
    where it did not say.
    """

    result: Mapping[str, Any]
    session_id: str = ""
    error: str = ""
    asked_status: int | None = None
    asked_wait_s: float | None = None


def read(printed: bytes) -> Printed | str:
    """The result among what it printed, all of it or the end; text: a sentence why there is none."""
    found = [line for line in printed.splitlines() if line.strip()]
    if not found:
        return "it printed nothing; it is to be run with --output-format json, or stream-json --verbose"
    try:
        last = strict_json.parse(found[-1])
    except strict_json.NotStrict as problem:
        return f"the last line of its stdout is not one JSON document: {problem}"
    if isinstance(last, list):
        return _told([each for each in last if isinstance(each, dict)])
    if not isinstance(last, dict):
        return _NO_RESULT
    before = [_event(line) for line in found[:-1] if line.startswith((_RESULT, _SYSTEM, _ASSISTANT))]
    return _told([*before, last])


_NO_RESULT: Final = "it ended without a result: its work was cut off, or its --output-format is another"


@dataclass(frozen=True)
class Retry:
    """A call failed and will be made again: the status, the program's word for it, and the wait the provider asked for.

    None and "" where it does not say.
    """

    status: int | None
    word: str
    asked_s: float | None


def retry(event: Mapping[str, Any]) -> Retry | None:
    """What a line says of a call that will be made again; None for any other line.

    A delay of whole seconds is what the provider asked for; the program's own pauses are never whole.
    """
    if event.get("type") != "system" or event.get("subtype") != "api_retry":
        return None
    status, delay_ms = event.get("error_status"), event.get("retry_delay_ms")
    asked_s = None
    if isinstance(delay_ms, int | float) and 1000 <= delay_ms < 1e12 and delay_ms % 1000 == 0:
        asked_s = delay_ms / 1000
    return Retry(status if type(status) is int else None, _word(event, "error")[:100], asked_s)


def live_retry(line: bytes) -> Retry | None:
    """The same of a line as it comes. Nearly all are passed over without being parsed: an agent may print many."""
    if not line.startswith(_SYSTEM) or _RETRY not in line:
        return None
    return retry(_event(line))


def is_answer(line: bytes) -> bool:
    """Whether a line is something that the model said; what the program says in its place ends with an `error`."""
    return line.startswith(_ASSISTANT) and b'"error":' not in line[-_ERROR_BYTES:]


def last_stop(transcript_end: bytes, session_id: str) -> str:
    """Why the model last stopped in this session, by the end of a transcript; "" where that cannot be read."""
    for line in reversed(transcript_end.splitlines()):
        try:
            event = strict_json.parse(line)
        except strict_json.NotStrict:
            return ""
        if not isinstance(event, dict) or event.get("type") != "assistant" or event.get("isSidechain") is True:
            continue
        message = event.get("message")
        if not isinstance(message, dict) or event.get("sessionId") != session_id:
            return ""
        return _word(message, "stop_reason")
    return ""


def listed(event: Mapping[str, Any], name: str) -> list[Any]:
    """A field that is a list; empty where it is none."""
    value = event.get(name)
    return value if isinstance(value, list) else []


def _told(events: list[Mapping[str, Any]]) -> Printed | str:
    if not events or events[-1].get("type") != "result":
        return _NO_RESULT
    if sum(event.get("type") == "result" for event in events) > 1:
        return "it gave more than one result"
    retries = [said for said in map(retry, events) if said is not None]
    last = retries[-1] if retries else Retry(None, "", None)
    return Printed(
        result=events[-1],
        session_id=next((_word(each, "session_id") for each in events if each.get("subtype") == "init"), ""),
        error=next((_word(each, "error") for each in reversed(events) if each.get("type") == "assistant"), ""),
        asked_status=last.status,
        asked_wait_s=last.asked_s,
    )


def _word(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _event(line: bytes) -> Mapping[str, Any]:
    """One line; a long one, or one that cannot be read, says nothing but what it is called."""
    if len(line) > _LONGEST:
        return {"type": "result"} if line.startswith(_RESULT) else {}
    try:
        event = strict_json.parse(line)
    except strict_json.NotStrict:
        return {}
    return event if isinstance(event, dict) else {}
