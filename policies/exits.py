"""What the end of a process says: by its code, its signal and the last words of its two streams.

Signals that tell of memory and bugs are asked before the text, since a dying runtime prints a lot; every other code
after it, since a program that is stopped for hanging has said before why it hung.
"""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass, replace
from typing import Final

from proofq.policies import classes, phrases, provider_codes, provider_status, redaction, waits
from proofq.policies.failure import Failure
from proofq.policies.fingerprints import of_parts

RESOURCE_ERRNOS: Final = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN})
HOST_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIME})
_RESOURCE_SIGNALS: Final = frozenset({"SIGKILL", "SIGXCPU", "SIGXFSZ"})
#: Deaths that no text explains better.
_BEFORE_TEXT: Final = frozenset({"SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGXCPU", "SIGXFSZ"})
#: How a program is asked to end; inside an attempt, where it was nobody of us, `uncancelled` says so.
_ASKED_TO_END: Final = frozenset({"SIGINT", "SIGTERM"})
#: What a shell adds to the number of a signal.
_SHELL_SIGNAL: Final = 128
#: How coreutils' `timeout` ends when it had to end the program.
_TIMED_OUT: Final = 124
#: Exit codes that one program alone gives a meaning.
_OF_PROGRAM: Final = {("gemini", 41): "auth", ("gemini", 42): "bad_input", ("gemini", 52): "bad_input"}

#: How much of the end of each stream is read, in characters, and how many lines around the last thing said.
_TAIL: Final = 8192
_LINES_BEFORE: Final = 15
#: Classes that are not the provider's doing although it was the provider that said so.
OF_THE_TASK: Final = frozenset({"bad_input", "context_overflow", "budget", "cancelled", "crash", "unknown"})


@dataclass(frozen=True)
class Said:
    """What a text said last: class, wait, the line of it, and the status in so many words."""

    kind: str
    line: str
    status: int | None = None
    retry_after_s: float | None = None


def classify_exit(
    exit_code: int | None,
    signum: int | None,
    phase: str | None = "run",
    said: str = "",
    streams: tuple[str, ...] = (),
    program: str = "",
    now: float | None = None,
) -> Failure:
    """The failure of a process that ended by itself with a code other than 0, or by a signal not ours.

    An exit code of 128 + n is a shell's word for a death by signal n. `said` is the last line of its output, for the
    reason; `streams` the ends of stdout and stderr, in which known phrases are looked for (none: they are not asked).
    `program` is its file name, `now` in seconds since 1970. What we killed ourselves is labelled by the killer and
    never comes here.
    """
    last = f": {said}" if said else ""
    code = exit_code
    if code is not None and _SHELL_SIGNAL < code <= _SHELL_SIGNAL + 64:
        signum, code = code - _SHELL_SIGNAL, None
    name = _signal_name(signum or 0) if code is None else ""
    if name not in _BEFORE_TEXT:
        found = classify_output(streams, now)
        if found is not None:
            how = f"exited with code {exit_code}" if exit_code is not None else f"killed by {name}"
            return _of_words(found, how, phase)
    if code is None:
        return _of_signal(name, last, phase)
    if code == _TIMED_OUT:
        return Failure(
            "timeout", f"exited with code 124, timed out{last}", phase=phase, fingerprint=of_parts("exit", 124)
        )
    kind = _OF_PROGRAM.get((program, code), "crash")
    source = "provider" if kind == "auth" else "task"
    return Failure(kind, f"exited with code {code}{last}", source, phase, fingerprint=of_parts("exit", code))


def classify_output(streams: tuple[str, ...], now: float | None = None) -> Said | None:
    """What the ends of these streams say last, the later stream first; None when no known phrase stands there."""
    for stream in reversed(streams):
        said = _last_words(phrases.without_ansi(stream[-2 * _TAIL :])[-_TAIL:], now)
        if said is not None:
            return said
    return None


def uncancelled(failure: Failure) -> Failure:
    """Inside an attempt: a cancel that nobody of us asked for is a crash."""
    if failure.kind != "cancelled":
        return failure
    return replace(failure, kind="crash", reason=f"nobody of us asked for its end: {failure.reason}")


def classify_start(code: int, what: str) -> Failure:
    """The failure of a process that could not be started: `code` is the errno, `what` names step and program."""
    name = errno.errorcode.get(code, str(code))
    reason = f"{what}: {name}"
    if code in RESOURCE_ERRNOS:
        return Failure("resource", reason, "host", "start", fingerprint=of_parts("start", name))
    if code in HOST_ERRNOS:
        return Failure("infrastructure", reason, "host", "start", fingerprint=of_parts("start", name))
    kind = "bad_input" if code == errno.E2BIG else "start_unconfirmed"
    return Failure(kind, reason, phase="start", fingerprint=of_parts("start", name))


def source_of(kind: str, remote: bool = True) -> str:
    """Who is to blame for a class that was read from words: the provider, unless it only said so."""
    if kind in ("infrastructure", "resource"):
        return "store" if kind == "infrastructure" else "host"
    return "task" if kind in OF_THE_TASK or not remote else "provider"


def judge_text(text: str) -> tuple[str | None, int | None]:
    """The class that a text says, and the status in it: the status, narrowed by what else stands there."""
    status = phrases.status(text)
    words = [kind for kind in map(provider_codes.proven, provider_codes.in_text(text)) if kind]
    kinds = phrases.kinds(text)
    if status is None:
        return provider_status.first([*words, *kinds]), None
    return provider_status.narrowed(status, words, kinds) or provider_status.kind(status), status


def _last_words(tail: str, now: float | None) -> Said | None:
    """From the end backwards: the last line that says something, judged with the lines around it."""
    lines = tail.splitlines()
    for index in range(len(lines) - 1, -1, -1):
        if judge_text(lines[index])[0] is not None:
            around = "\n".join(lines[max(0, index - _LINES_BEFORE) :])
            kind, status = judge_text(around)
            wait = waits.of_text(around, now) if kind in classes.WAITS else None
            return (
                None
                if kind is None
                else Said(kind, redaction.without_keys(lines[index].strip()[:2000])[:300], status, wait)
            )
    return None


def _of_words(said: Said, how: str, phase: str | None) -> Failure:
    print_ = of_parts("said", said.kind, said.status)
    reason = f"{how} and said: {said.line}"
    return Failure(said.kind, reason, source_of(said.kind), phase, said.retry_after_s, print_)


def _of_signal(name: str, last: str, phase: str | None) -> Failure:
    kind = "resource" if name in _RESOURCE_SIGNALS else "cancelled" if name in _ASKED_TO_END else "crash"
    hint = "; the kernel does this for want of memory" if name == "SIGKILL" else ""
    return Failure(kind, f"killed by {name}, not by us{hint}{last}", phase=phase, fingerprint=of_parts("signal", name))


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
