"""What the end of a process says: by its code, its signal and the last words of its two streams.

Signals that tell of memory and bugs are asked before the text, since a dying runtime prints a lot; every other code
after it, since a program that is stopped for hanging has said before why it hung.
"""

from __future__ import annotations

import errno
import signal
from dataclasses import replace
from typing import Final

from proofq.policies.failure import Failure
from proofq.policies.fingerprints import of_parts
from proofq.policies.output import Said, classify_output

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

#: Classes that are not the provider's doing although it was the provider that said so.
OF_THE_TASK: Final = frozenset({"bad_input", "context_overflow", "budget", "cancelled", "crash", "unknown"})


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
