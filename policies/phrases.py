"""Sentences by which providers and agent programs say what went wrong, where nothing but text is left.

Only whole phrases: a lone number, "timeout" or "quota" proves nothing. Each stands for what a program or an SDK was
seen to print, or for a message that a provider documents.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

#: class -> phrases, any case.
_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "auth": (
        r"invalid (?:x-)?api[ -]?key", r"incorrect api key", r"api key (?:is )?(?:not valid|invalid|expired|not found)",
        r"api key (?:has )?expired", r"invalid bearer token", r"please run /login", r"not logged in\b",
        r"oauth token (?:has |is )?(?:expired|revoked|invalid)", r"(?:access|security|auth) token (?:has |is )?expired",
        r"api_key client option must be set", r"could not resolve authentication method",
        r"missing key inputs argument", r"unable to locate credentials", r"missing api[ _-]?key",
        r"no api[ _-]?key (?:was )?(?:found|provided|set)",
        r"missing credentials\. please pass", r"no key found\b", r"set the \W?\w+_(?:API_)?KEY\W? environment variable",
        r"(?:organi[sz]ation|account) (?:is |has been |was )?(?:suspended|deactivated|disabled)", r"user not found",
    ),
    "quota": (
        r"credit balance is too low", r"billing[ _]hard[ _]limit", r"insufficient (?:credits?|balance|funds|quota)",
        r"out of credits?\b", r"requires more credits", r"please recharge", r"usage limit (?:has been )?reached",
        r"(?:hit|reached) your (?:\w+ ){0,3}(?:usage )?limits?\b", r"limit reached.{0,20}resets? ",
        r"quota will reset after", r"exhausted your \w+(?: \w+)? quota", r"(?:tokens|requests) per day",
        r"quota exceeded\. check your plan and billing", r"spend(?:ing)? limit (?:has been )?(?:reached|exceeded)",
    ),
    "content_refused": (
        r"content management policy", r"violat\w+ (?:of )?(?:our|the|\w+'s) (?:usage|content|safety) polic",
        r"blocked by (?:the |our |a )?(?:safety|content|guardrail|moderation)", r"guardrail (?:policy|intervened)",
        r"flagged (?:by|as|for) (?:\w+ )?(?:moderation|potentially|violat)", r"requires moderation",
        r"rejected (?:by|as a result of) (?:our|the) safety", r"prompt was (?:blocked|flagged)", r"for safety reasons",
        r"input was flagged",
    ),
    "context_overflow": (
        r"prompt is too long", r"maximum context length", r"input is too long", r"request too large for",
        r"(?:exceeds?|larger than|overflows?|out of room in) the (?:model's |available )?(?:maximum )?context",
        r"exceed context limit", r"input token count.{0,40}exceeds", r"reduce the length of (?:the|your)",
        r"exceeds the maximum number of (?:input )?tokens", r"context[ _]window (?:is )?(?:exceeded|full)",
    ),
    "malformed_output": (
        r"failed to (?:generate|parse) (?:\w+ )?json", r"failed to call a function", r"model produced invalid",
        r"is not valid json", r"unexpected token .{1,12} in json", r"expecting value: line 1 column 1 \(char 0\)",
        r"\bjson\.decoder\.jsondecodeerror\b", r"empty or invalid response from",
        r"unexpected content type",
    ),
    "overloaded": (
        r"(?:is|are|currently) overloaded", r"experiencing high (?:demand|load|traffic)", r"over capacity",
        r"service (?:is )?(?:temporarily )?unavailable", r"(?:model|server) is (?:at capacity|busy)",
        r"capacity exceeded", r"internal server error", r"circuit breaker (?:is )?(?:still )?open",
    ),
    "rate_limited": (
        r"rate[ -]limit (?:has been )?(?:reached|exceeded|hit)", r"(?:exceed\w*|hit) (?:\w+ ){0,3}rate limit",
        r"too many requests", r"being rate[ -]limited",
    ),
    "timeout": (
        r"request (?:has )?timed out", r"read (?:operation )?timed out", r"deadline exceeded", r"read timeout=",
        r"\bapitimeouterror\b", r"\breadtimeout\b",
    ),
    "infrastructure": (
        r"\bredis\.exceptions\.(?:connection|timeout|busyloading|readonly|outofmemory|authentication)\w*error",
        r"\bpsycopg2?\.operationalerror", r"database is locked", r"no space left on device", r"\benospc\b",
    ),
    "resource": (
        r"heap out of memory", r"cannot allocate memory", r"too many open files", r"\bemfile\b", r"\benomem\b",
        r"^memoryerror\b",
    ),
    "network": (
        r"\becon(?:nrefused|nreset|naborted)\b", r"\b(?:enotfound|eai_again|etimedout|ehostunreach|enetunreach)\b",
        r"connection (?:was )?(?:refused|reset|aborted)", r"connection error\b", r"connection timed out",
        r"(?:all connection attempts|to establish a new connection).{0,3} ?failed", r"getaddrinfo\b",
        r"name or service not known", r"failure in name resolution", r"nodename nor servname",
        r"could not resolve host", r"network is unreachable", r"no route to host", r"socket hang up", r"fetch failed",
        r"certificate[ _]verify[ _]failed", r"self[- ]signed certificate", r"wrong_version_number",
        r"unable_to_verify_leaf_signature", r"unable to connect to (?:the )?api", r"waiting for network",
        r"stream disconnected before completion", r"incomplete chunked read", r"incompleteread\(",
        r"disconnected without sending", r"connection closed (?:before|unexpectedly)", r"connection aborted",
        r"failed to connect to all addresses", r"dns resolution failed", r"peer closed connection", r"\[ssl: ",
        r"address lookup failed",
        r"response ended prematurely", r"remote end closed connection",
    ),
    "budget": (
        r"error_max_turns", r"error_max_budget_usd", r"(?:reached|exceeded) (?:the )?max(?:imum)?(?: number of)? turns",
        r"max(?:imum)? turns \(?\d* ?\)?(?:reached|exceeded)", r"(?:reached|exceeded) (?:the )?max(?:imum)? budget",
    ),
    "bad_input": (
        r"issue with the selected model", r"model \S+ (?:does not exist|is not found|not found)", r"unknown model\b",
        r"message larger than max", r"streaming is required for operations", r"unknown (?:option|argument)\b",
    ),
}  # fmt: skip

#: OpenAI says so of an account without credit; Google says the same of a window of a minute, beside one of the others.
_PLAN: Final = re.compile(r"exceeded your current quota", re.IGNORECASE)
_WINDOW: Final = re.compile(
    r"exceeded for metric|retry ?(?:in|delay)|quotaid|perminute|ai\.google|resource_exhausted", re.IGNORECASE
)

#: What a missing key looks like in SDKs that say it with a plain TypeError or ValueError, and a refusal to try.
_PLAIN: Final = {
    "auth": re.compile(
        r"could not resolve authentication method|missing key inputs argument|api_key client option must be set"
        r"|missing credentials\. please pass"
        r"|set the \W?\w+_api_key\W? environment variable|no api[ _-]?key (?:was )?provided",
        re.IGNORECASE,
    ),
    "bad_input": re.compile(r"streaming is required for operations that may take longer", re.IGNORECASE),
}

_REASONS: Final = (
    "Bad Request|Unauthorized|Payment Required|Forbidden|Not Found|Request Timeout|Conflict|Content Too Large"
    "|Request Entity Too Large|Payload Too Large|Unprocessable Entity|Unprocessable Content|Too Many Requests"
    "|Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out|Overloaded"
)
#: How a status is said: by name ("status code 429", "API Error: 503", `"api_error_status":429`) or with its own words.
_STATUS: Final = re.compile(
    r"(?:(?<!exit )\b(?:api[ _]?error(?:[ _]status)?|error[ _]code|error[ _]status|last status|status(?:[ _]?code)?"
    r"|http(?:/\d(?:\.\d)?)?(?:[ _](?:error|status))?|client error|server error)\b[\"']?\s*[:=]?\s*[\"'(]?"
    rf")([45]\d\d)\b(?!\.\d)|\b([45]\d\d)\b:? (?:{_REASONS})\b",
    re.IGNORECASE,
)
#: How urllib3 (and requests over it) tells which status it gave up on; the answers themselves are lost.
_GAVE_UP: Final = re.compile(r"\btoo many ([45]\d\d) error responses\b")
#: A quotation of more than a word, and the name before it, if any.
_QUOTED: Final = re.compile(
    r"(?P<name>\\?[\"']\s{0,9}:\s{0,9}\\?|\b(?:metric|quota|limit)\s)?"
    r"(?P<said>\"[^\"\n]{1,2000}\"|(?<!\w)'[^'\n]{1,2000}'(?!\w)|`[^`\n]{1,2000}`|“[^”\n]{1,2000}”)"
)
#: openai-agents says so of a 200 with an error inside.
_HANDED_ON: Final = re.compile(r"possible provider error payload\): (\{.{1,4000})", re.DOTALL)
#: Escape sequences of a terminal: colours, movements, titles.
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


@cache
def prepare() -> dict[str, re.Pattern[str]]:
    """The phrases, ready to be looked for: 15 ms of CPU, which who never reads a failure does not spend."""
    return {kind: re.compile("|".join(texts), re.I | re.S | re.M) for kind, texts in _TEXTS.items()}


def kinds(text: str) -> set[str]:
    """The classes that a provider error's text, or a program's last words, prove."""
    found = {kind for kind, phrase in prepare().items() if phrase.search(text)}
    if _PLAN.search(text) and not _WINDOW.search(text):
        found.add("quota")
    return found


def unquoted(text: str) -> str:
    """A provider's sentence without what it quotes of somebody else's: an answer may repeat the prompt it refuses.

    A value with a name before it is no quotation: bodies are passed on inside of texts. Nor is the name of a quota.
    """
    return _QUOTED.sub(_without_words, text)


def _without_words(found: re.Match[str]) -> str:
    return found[0] if found["name"] or " " not in found["said"].strip() else '"…"'


def handed_on(text: str) -> str | None:
    """What a framework hands on of an answer that was none, because it carried an error."""
    found = _HANDED_ON.search(text)
    return found[1] if found else None


def plain_kind(text: str) -> str | None:
    """The class that a text proves whoever raised it, be it a TypeError."""
    return next((kind for kind, phrase in _PLAIN.items() if phrase.search(text)), None)


def status(text: str) -> int | None:
    """The last HTTP status that the text says in so many words."""
    found = [one[1] or one[2] for one in _STATUS.finditer(text)]
    return int(found[-1]) if found else gave_up_on(text)


def gave_up_on(text: str) -> int | None:
    """The status that an error about retries of the library's own says in its text."""
    found = _GAVE_UP.search(text)
    return int(found[1]) if found else None


def without_ansi(text: str) -> str:
    """The text as a human would read it on a terminal."""
    return _ANSI.sub("", text)
