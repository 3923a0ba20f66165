"""Every class met so far, from real exceptions where a library has them."""

from __future__ import annotations

import asyncio
import errno
import subprocess

import pytest
import redis

from proofq.policies.classify import MAX_REASON, classify
from proofq.policies.exits import classify_exit, classify_start
from proofq.workers.errors import BadInput, EffectUnknown, NoAnswer, NotProven, RedisUnavailable


def raised(function, *args):
    """The exception a call raises, with its traceback."""
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


def chained(outer, inner, explicit=True):
    """`outer` as raised from `inner`, or merely while `inner` was being handled."""
    try:
        try:
            raise inner
        except BaseException as error:
            if explicit:
                raise outer from error
            raise outer  # noqa: B904 - the implicit chain is what is tested
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error


class SomebodysError(Exception):
    """An exception nobody has a rule for."""


class ReadTimeout(SomebodysError):
    """Named like the time-outs of two HTTP libraries, which share no base."""


@pytest.mark.parametrize(
    ("error", "kind", "source"),
    [
        (TimeoutError("x"), "timeout", "task"),
        (subprocess.TimeoutExpired("x", 3), "timeout", "task"),
        (ReadTimeout(), "timeout", "provider"),
        (MemoryError(), "resource", "host"),
        (OSError(errno.EMFILE, "Too many open files"), "resource", "host"),
        (BlockingIOError(errno.EAGAIN, "fork"), "resource", "host"),
        (RuntimeError("can't start new thread"), "resource", "host"),
        (OSError(errno.ENOSPC, "No space left"), "infrastructure", "host"),
        (redis.ConnectionError("refused"), "infrastructure", "store"),
        (redis.TimeoutError("slow"), "infrastructure", "store"),
        (redis.exceptions.BusyLoadingError("loading"), "infrastructure", "store"),
        (RedisUnavailable("gone"), "infrastructure", "store"),
        (NoAnswer("gone"), "infrastructure", "store"),
        (EffectUnknown("begun"), "effect_unknown", "task"),
        (redis.ResponseError("WRONGTYPE"), "crash", "task"),
        (BadInput("no such document"), "bad_input", "task"),
        (NotProven("not there"), "unverified", "task"),
        (RuntimeError("boom"), "crash", "task"),
        (KeyError("x"), "crash", "task"),
        (FileNotFoundError(errno.ENOENT, "gone"), "crash", "task"),
        (RecursionError(), "crash", "task"),
        (SystemExit(3), "crash", "task"),
        (SomebodysError("?"), "unknown", "task"),
        (Exception("?"), "unknown", "task"),
    ],
)
def test_one_error_by_itself(error, kind, source):
    """Each class from what really stands for it."""
    failure = classify(error, "run")
    assert (failure.kind, failure.source, failure.phase) == (kind, source, "run")
    assert failure.fingerprint
    assert failure.retry_after is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (chained(SomebodysError("wrapped"), redis.ConnectionError("refused")), "infrastructure"),
        (chained(RuntimeError("wrapped"), MemoryError(), explicit=False), "resource"),
        (chained(TimeoutError("late"), asyncio.CancelledError()), "timeout"),
        (chained(KeyError("own bug"), BadInput("handled")), "crash"),
        (chained(BadInput("said so"), redis.ConnectionError("refused")), "bad_input"),
        (ExceptionGroup("several", [ValueError("x"), OSError(errno.ENOSPC, "full")]), "infrastructure"),
    ],
)
def test_causes_are_asked_when_the_error_itself_says_nothing(error, kind):
    """The outermost definite word wins; handled inputs and proofs are no excuse for a bug."""
    assert classify(error).kind == kind


def test_fingerprints_ignore_lines_and_values_but_not_functions():
    """Same type and functions: equal. Another function or type: another fingerprint."""

    def one(value):
        if value:
            raise ValueError(value)
        raise ValueError

    def other():
        raise ValueError("a")

    def deep(levels):
        return deep(levels - 1) if levels else one("x")

    same = classify(raised(one, "a")).fingerprint
    assert same == classify(raised(one, "b")).fingerprint == classify(raised(one, "")).fingerprint
    assert same != classify(raised(other)).fingerprint
    assert classify(raised(deep, 3)).fingerprint == classify(raised(deep, 9)).fingerprint


def test_a_librarys_frames_do_not_make_the_fingerprint():
    """Where the user's code stood counts, not how deep in the standard library it failed."""
    import json

    def reads(text):
        return json.loads(text)

    # The first fails in the decoder's C part, the second one frame above it.
    assert classify(raised(reads, '{"a"')).fingerprint == classify(raised(reads, "[] x")).fingerprint


def test_exits_signals_and_starts():
    """What a process that is gone can still tell."""
    assert classify(subprocess.CompletedProcess(["x"], 3)).reason == "exited with code 3"
    assert classify(subprocess.CompletedProcess(["x"], -11)).kind == "crash"
    assert "SIGSEGV" in classify(subprocess.CompletedProcess(["x"], -11)).reason
    assert classify_exit(None, 24).kind == "resource"
    assert classify_exit(None, 9).kind == "resource"
    assert classify_exit(137, None) == classify_exit(None, 9)
    assert classify_exit(1, None).fingerprint != classify_exit(2, None).fingerprint
    assert classify_start(errno.ENOENT, "exec no-such-program").kind == "start_unconfirmed"
    assert classify_start(errno.E2BIG, "exec x").kind == "bad_input"
    assert classify_start(errno.EAGAIN, "fork").kind == "resource"
    assert classify_start(errno.ENOSPC, "open").kind == "infrastructure"
    assert classify_start(errno.ETIME, "clock of /mnt").kind == "infrastructure"


class Hostile(Exception):
    """Raises wherever it is looked at."""

    def __str__(self):
        raise RuntimeError

    @property
    def errno(self):
        raise RuntimeError

    @property
    def returncode(self):
        raise RuntimeError


def test_never_raises_and_stays_short():
    """Hostile, looping, strange and huge things are classified too."""
    loop = ValueError("x")
    loop.__context__ = KeyError("y")
    loop.__context__.__context__ = loop
    assert classify(loop).kind == "crash"
    for odd in (Hostile(), None, 3, object(), loop, ValueError("\ud800")):
        classify(odd).reason.encode()
    assert len(classify(ValueError("x" * 10_000_000)).reason) <= MAX_REASON
