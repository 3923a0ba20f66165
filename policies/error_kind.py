"""What one error says by itself: its class, and how sure that is."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Final

from proofq.policies import error_names, looking, phrases, provider_codes, provider_status, wording
from proofq.policies.error_facts import ErrorFacts

_NETWORK_ERRNOS: Final = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT}
    | {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
)


class Strength(IntEnum):
    """How sure a judgement is; a bug is only what is left when nothing else was said."""

    NOTHING = 0
    BUG = 1
    TEXT = 2
    ERRNO = 3
    NAME = 4
    STATUS = 5
    WORD = 6


def of_facts(facts: ErrorFacts, phase: str | None = None) -> tuple[str, Strength]:
    """Class and strength of one error by what it carries, whoever raised it."""
    decisive = error_names.decisive(facts.names)
    if decisive is not None:
        return decisive, Strength.WORD
    rpc = _of_mcp(facts) or _handed_on(facts)
    if rpc is not None:
        return rpc
    named = _named(facts, phase)
    # litellm puts 500 on refused connections, lost names and streams that broke.
    made_up = "litellm" in facts.packages and facts.status == 500
    status = facts.status if facts.status is not None or not facts.remote else phrases.gave_up_on(facts.text)
    if status is not None and not made_up and not (status < 300 and named in ("network", "timeout")):
        return _by_status(facts, status)
    found = None if made_up else _by_word(facts)
    if found is None and named is not None and not (made_up and named == "overloaded"):
        found = named, Strength.NAME
    if found is None:
        found = _by_errno(facts)
    return found or _by_text(facts) or (("overloaded", Strength.TEXT) if made_up else bug(facts))


def of_text(facts: ErrorFacts) -> tuple[str, Strength]:
    """The same of an error of which only name and message are left, printed: what it says itself, if it is known to
    be a provider's, then its name."""
    decisive = error_names.decisive(facts.names)
    if decisive is not None:
        return decisive, Strength.WORD
    said = wording.judge_text(facts.text)[0] if facts.remote else phrases.plain_kind(facts.text)
    if said is not None:
        return said, Strength.STATUS if facts.remote else Strength.TEXT
    named = error_names.kind(facts.names)
    return (named, Strength.NAME) if named is not None else bug(facts)


def of_store(facts: ErrorFacts) -> tuple[str, Strength] | None:
    """Stores and locks are infrastructure whatever they are called; what was wrong in a statement is its author's."""
    if facts.packages & error_names.HOST_PACKAGES:
        return "infrastructure", Strength.STATUS
    if not facts.packages & error_names.STORES:
        return None
    trouble = error_names.STORE_TROUBLE.intersection(facts.names) or facts.text.startswith(error_names.STORE_WORDS)
    sqlite = looking.number(looking.attribute(facts.error, "sqlite_errorcode"))
    wrong = sqlite == error_names.SQLITE_ERROR or error_names.STORE_BUGS.intersection(facts.names)
    return ("crash", Strength.BUG) if wrong and not trouble else ("infrastructure", Strength.STATUS)


def bug(facts: ErrorFacts) -> tuple[str, Strength]:
    """Nobody said anything: a programming error, or nothing that is known."""
    if error_names.BUGS.intersection(facts.names):
        return "crash", Strength.BUG
    return "unknown", Strength.NOTHING


def _of_mcp(facts: ErrorFacts) -> tuple[str, Strength] | None:
    """mcp keeps a number of JSON-RPC's, and loses the status of the server that it stands for."""
    if not error_names.MCP_ERRORS.intersection(facts.names):
        return None
    carrier = looking.attribute(facts.error, "error")
    number = looking.number(looking.attribute(facts.error if carrier is None else carrier, "code"))
    kind = error_names.MCP_CODES.get(0 if number is None else number)
    if kind == "bad_input" and "malformed_output" in phrases.kinds(facts.text):
        # Its client says so of an answer that is no JSON-RPC.
        kind = "malformed_output"
    return None if kind is None else (kind, Strength.NAME)


def _handed_on(facts: ErrorFacts) -> tuple[str, Strength] | None:
    """A framework that found no answer in an answer, and quotes what stood there instead."""
    payload = phrases.handed_on(facts.text) if "ModelBehaviorError" in facts.names else None
    kind = wording.judge_text(payload)[0] if payload is not None else None
    return None if kind is None else (kind, Strength.NAME)


def _by_errno(facts: ErrorFacts) -> tuple[str, Strength] | None:
    code = looking.attribute(facts.error, "errno")
    if not isinstance(code, int):
        return None
    if code in _NETWORK_ERRNOS:
        return "network", Strength.ERRNO
    # A program that is started with more than fits on a command line.
    return ("bad_input", Strength.ERRNO) if code == errno.E2BIG else None


def _named(facts: ErrorFacts, phase: str | None) -> str | None:
    if looking.attribute(facts.error, "errno") == errno.ETIMEDOUT:
        # The kernel's own time-out: nobody answered at all.
        return "network"
    if phase == "inputs" and error_names.VALIDATION.intersection(facts.names):
        return "bad_input"
    if "urllib3" in facts.packages and "DecodeError" in facts.names:
        # Of an answer that is packed wrongly; elsewhere the name means anything.
        return "network"
    return error_names.kind(facts.names)


def _by_status(facts: ErrorFacts, status: int) -> tuple[str, Strength]:
    """The status, narrowed by the body's words and phrases as far as that status allows."""
    words = _proven(facts)
    kind = provider_status.kind(status)
    if kind == "bad_input" and any(word.lower() in provider_codes.OF_THE_INPUT for word in facts.words):
        # The provider names what it does not like; its sentence may repeat anything of it.
        return kind, Strength.WORD
    if status < 300:
        words = words or [kind for kind in map(provider_codes.general, facts.words) if kind]
    narrower = provider_status.narrowed(status, words, phrases.kinds(facts.text))
    if narrower is not None:
        return narrower, Strength.WORD
    return kind, Strength.WORD if kind in words else Strength.STATUS


def _by_word(facts: ErrorFacts) -> tuple[str, Strength] | None:
    """An error without a status: what its body, or a stream that had begun well, calls it."""
    proven = provider_status.first(_proven(facts))
    if proven is not None:
        return proven, Strength.WORD
    general = provider_status.first(filter(None, map(provider_codes.general, facts.words)))
    if general is None:
        return None
    said = provider_status.first(phrases.kinds(facts.text)) if facts.remote else None
    return said or general, Strength.STATUS


def _proven(facts: ErrorFacts) -> list[str]:
    words = [*facts.words, *(provider_codes.in_text(facts.text) if facts.remote else ())]
    return [kind for kind in map(provider_codes.proven, words) if kind]


def _by_text(facts: ErrorFacts) -> tuple[str, Strength] | None:
    kind = wording.judge_text(facts.text)[0] if facts.remote else phrases.plain_kind(facts.text)
    return None if kind is None else (kind, Strength.TEXT)
