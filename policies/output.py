"""What a program said last: the ends of its two streams, read for a report of a failure.

An agent's output may speak of anything: a page it read, the prompt, its own answer. So what would stop or hold others
(a refused key, credit, a limit, an overload) is believed only of a line that reports it, not of one that mentions it;
and a stream that ends with an error of no known kind has said why: nothing else is looked for in the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proofq.policies import classes, phrases, redaction, tracebacks, waits
from proofq.policies.wording import judge_text

#: How much of the end of each stream is read, in characters, and how many lines around the last thing said.
_TAIL: Final = 8192
_LINES_BEFORE: Final = 15
#: Classes that a line must report: they act on others than the task.
_REPORTED: Final = frozenset({"auth", "quota", "rate_limited", "overloaded"})

#: What a report begins with, be it a level, the name of an error, or the protocol's own words.
_MARK: Final = re.compile(
    r"(?:\b[\w.]{0,60}(?:error|exception)|\b(?:err|fatal|failed|failure|panic|warn|warning|got status|last status)"
    r"|\bhttp/\d(?:\.\d)?)(?![\w-])",
    re.IGNORECASE,
)
#: ... and what comes after it: a colon or a bracket at once or after a few words, or a number.
_THEN: Final = re.compile(r"[\s\w]{0,30}[:=\]\[(]|\s*(?:code|status)?\s*\d", re.IGNORECASE)
#: How far into a line its report begins, and how short a line is that is nothing but the failure's name.
_EARLY: Final = 60
_SHORT: Final = 160
#: Words by which a sentence explains failures instead of having one.
_SENTENCE: Final = re.compile(
    r"\b(?:means|occurs?|happens?|when|whenever|which|should|would|could|can|may|might|if|how to|for example|returns?"
    r"|says|said|reads|handles?|explains?|describes?|mentions?|because of an?)\b|e\.g\.",
    re.IGNORECASE,
)
#: Words before a report that only running text has.
_RUNNING: Final = re.compile(
    r"\b(?:an?|the|this|that|these|its|of|with|is|are|was|were|we|i|it|on|in|as)\b", re.IGNORECASE
)
_NARRATED: Final = re.compile(r"(?:we|i|they|it|in|on|as|for|an?|some|our|my|users?|note|see|summary)\b", re.IGNORECASE)
#: One JSON document, or an event of a stream, that says of itself that it is an error.
_JSON_ERROR: Final = re.compile(
    r"[\"'](?:is_error[\"']\s*:\s*true|error[\"']\s*:(?!\s*(?:null|false|\"\"))|type[\"']\s*:\s*\"(?:error|turn\.failed))"
)
#: Marks of a document: headings, quotations, lists, tables, code.
_OF_A_DOCUMENT: Final = re.compile(r"(?:#{1,6} |>|\||```|[-*+] |\d{1,3}[.)] |[\"“`'])")
_FENCE: Final = re.compile(r"\s*(?:```|~~~)")


@dataclass(frozen=True)
class Said:
    """What a text said last: class, wait, the line of it, and the status in so many words."""

    kind: str
    line: str
    status: int | None = None
    retry_after_s: float | None = None


def classify_output(streams: tuple[str, ...], now: float | None = None) -> Said | None:
    """What the ends of these streams say last, the later stream first; None when no known phrase stands there."""
    for stream in reversed(streams):
        tail = phrases.without_ansi(stream[-2 * _TAIL :])[-_TAIL:]
        died = tracebacks.last(tail)
        if died:
            return _of_traceback(died, now)
        said = _last_words(tail, now)
        if said is not None:
            return said
        if _marked(_last_line(tail).strip()):
            return None
    return None


def _of_traceback(died: list[tracebacks.Died], now: float | None) -> Said | None:
    found = tracebacks.judge(died)
    if found is None:
        return None
    kind, _, one = found
    wait = waits.of_text(one.text, now) if kind in classes.WAITS else None
    return Said(kind, _shown(one.line.splitlines()[0]), phrases.status(one.text), wait)


def _last_words(tail: str, now: float | None) -> Said | None:
    """From the end backwards: the last line that says something, judged with the lines around it."""
    lines = tail.splitlines()
    fenced = _fenced(lines)
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        kind = judge_text(line)[0]
        if kind is None or (kind in _REPORTED and (fenced[index] or not reports(line))):
            continue
        around = "\n".join(one for one in lines[max(0, index - _LINES_BEFORE) : index] if reports(one))
        around = f"{around}\n" + "\n".join(lines[index:])
        kind, status = judge_text(around)
        wait = waits.of_text(around, now) if kind in classes.WAITS else None
        return None if kind is None else Said(kind, _shown(line), status, wait)
    return None


def reports(line: str) -> bool:
    """Whether a line reports a failure of its own, as far as one can tell, rather than speaks of failures."""
    line = line.strip()
    if line[:1] in ("{", "[") and '"' in line:
        return _JSON_ERROR.search(line) is not None or _marked(line)
    if _OF_A_DOCUMENT.match(line):
        return False
    if _marked(line):
        return True
    bare = len(line) <= _SHORT and judge_text(line[:_EARLY])[0] is not None
    return bare and not _SENTENCE.search(line) and not _NARRATED.match(line)


def _marked(line: str) -> bool:
    """ "Error: …", "[12:00:01] ERROR …", "openai.RateLimitError: …", "HTTP/1.1 429", and the like."""
    found = _MARK.search(line[: 2 * _EARLY])
    before = line[: found.start()] if found else ""
    if found is None or len(before) > _EARLY or _RUNNING.search(before) or _SENTENCE.search(before):
        return False
    after = line[found.end() : found.end() + _EARLY]
    return after[:1] == ":" or (_THEN.match(after) is not None and not _SENTENCE.search(line))


def _fenced(lines: list[str]) -> list[bool]:
    """Which lines stand in a block of code of a document."""
    inside, found = False, []
    for line in lines:
        fence = bool(_FENCE.match(line))
        inside ^= fence
        found.append(inside or fence)
    # A fence that is never closed began above what is kept: then nobody knows.
    return [False] * len(lines) if inside else found


def _last_line(tail: str) -> str:
    return next((line for line in reversed(tail.splitlines()) if line.strip()), "")


def _shown(line: str) -> str:
    return redaction.without_keys(line.strip()[:2000])[:300]
