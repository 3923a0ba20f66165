"""The program `codex`, run as `codex exec` with `--json`: a line of JSON for each thing that happens.

A good run may hold an `error` of its own among its items, and its transcript says `task_complete` of a failed turn,
too. What counts is the end of the turn: `turn.completed` or `turn.failed`. It passes no wait on, and puts what the
provider said into words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from proofq.policies import strict_json
from proofq.policies.adapters import provider_errors
from proofq.policies.adapters.adapter import Adapter
from proofq.policies.adapters.generic import CLAIM_TAIL, exited, malformed
from proofq.policies.ended import Claim, Ending
from proofq.policies.exits import source_of
from proofq.policies.failure import Failure
from proofq.policies.live import Heard

#: Where its words hold the provider's status: "unexpected status 401 Unauthorized: …", "…, last status: 429 Too …".
_STATUS: Final = re.compile(r"\b(?:unexpected|last) status:? (\d{3})\b")
#: The end of those words, which only says where its provider is.
_PLACE: Final = re.compile(r",? url: \S+.*$", re.DOTALL)
#: Its words for what no provider says: the class.
_OWN_WORDS: Final[Mapping[str, str]] = {
    "idle timeout waiting for": "timeout",
    "stream disconnected": "network",
    "waiting for network": "network",
    "connection failed": "network",
    "ran out of room in the model's context": "context_overflow",
    "quota exceeded": "quota",
    "experiencing high demand": "overloaded",
}
#: How the lines begin that are looked at; what a tool printed stands in others.
_LOOKED_AT: Final = (b'{"type":"thread.', b'{"type":"turn.', b'{"type":"error"', b'{"type":"item.')
_USAGE: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
#: Events of its transcript that end a turn.
_TURN_ENDS: Final = ("task_complete", "turn_aborted")
#: Longest line that is read of what it does; a message may be longer.
_LONGEST: Final = 1024 * 1024


@dataclass
class _Turn:
    """What a run said of itself. `ends`: how often a turn was completed; `failed`: the words of the last that was not;
    `error`: those of the last error told beside it."""

    thread_id: str = ""
    message: str = ""
    usage: Mapping[str, Any] | None = None
    ends: int = 0
    failed: str | None = None
    error: str = ""


def outcome(ending: Ending, document: bool) -> Claim | Failure:
    """A claim only of a turn that was completed with a message, and none that failed; `document`: the message is it."""
    turn = _read(ending.stdout_end)
    if turn.failed is not None:
        return _failure(turn.failed or turn.error, ending.at)
    if ending.exit_code != 0:
        told = turn.error and ending.exit_code is not None
        return _failure(turn.error, ending.at) if told else exited(ending, ending.streams)
    if turn.ends == 0:
        return malformed("it ended without turn.completed: its turn was cut off, or it was not run with --json")
    if not turn.message.strip():
        return malformed("its turn was completed without a message")
    if _last_turn_end(ending.transcript_end) == "turn_aborted":
        return malformed("by its transcript its last turn was aborted")
    if not document:
        return Claim(_claim(turn))
    try:
        return Claim(strict_json.parse(turn.message.encode("utf-8", "replace")))
    except strict_json.NotStrict as problem:
        return malformed(f"its last message is not one strict JSON document: {problem}")


def live(line: bytes) -> Heard:
    """A line as it comes: an error while it tries again, or something that the model made it do or say."""
    event = _event(line)
    if event.get("type") == "error":
        return _failure(_text(event, "message"))
    item = event.get("item")
    return "answered" if isinstance(item, dict) and item.get("type") not in ("error", None) else None


def _read(printed: bytes) -> _Turn:
    turn = _Turn()
    for line in printed.splitlines():
        event = _event(line)
        match event.get("type"):
            case "thread.started":
                turn.thread_id = _text(event, "thread_id")
            case "error":
                turn.error = _text(event, "message")
            case "turn.failed":
                error = event.get("error")
                turn.failed = _text(error, "message") if isinstance(error, dict) else ""
            case "turn.completed":
                turn.ends += 1
                usage = event.get("usage")
                turn.usage = usage if isinstance(usage, dict) else None
            case "item.completed":
                item = event.get("item")
                if isinstance(item, dict) and item.get("type") == "agent_message":
                    turn.message = _text(item, "text")
    return turn


def _failure(words: str, now: float | None = None) -> Failure:
    text = _PLACE.sub("", words)
    found = _STATUS.search(text)
    own = next((kind for word, kind in _OWN_WORDS.items() if word in text.lower()), "")
    if found is None and own:
        said = provider_errors.failure(None, "", text, now=now)
        return replace(said, kind=own, source=source_of(own), fingerprint=f"codex:{own}")
    return provider_errors.failure(int(found[1]) if found else None, "", text, now=now)


def _last_turn_end(transcript_end: bytes) -> str:
    """How its last turn ended by the end of its transcript; "" where that does not tell."""
    for line in reversed(transcript_end.splitlines()):
        if not any(each.encode() in line for each in _TURN_ENDS):
            continue
        try:
            event = strict_json.parse(line)
        except strict_json.NotStrict:
            continue
        payload = event.get("payload") if isinstance(event, dict) else None
        if isinstance(payload, dict) and event.get("type") == "event_msg" and payload.get("type") in _TURN_ENDS:
            return str(payload["type"])
    return ""


def _claim(turn: _Turn) -> dict[str, Any]:
    kept: dict[str, Any] = {"exit_code": 0, "result": turn.message[:CLAIM_TAIL], "thread_id": turn.thread_id[:100]}
    if turn.usage is not None:
        kept["usage"] = {name: turn.usage[name] for name in _USAGE if type(turn.usage.get(name)) is int}
    return kept


def _event(line: bytes) -> Mapping[str, Any]:
    if not line.startswith(_LOOKED_AT) or len(line) > _LONGEST:
        return {}
    try:
        event = strict_json.parse(line)
    except strict_json.NotStrict:
        return {}
    return event if isinstance(event, dict) else {}


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


CODEX: Final = Adapter("codex", outcome, (".codex/sessions/*/*/*/*.jsonl",), live=live, reads_stdout=True)
