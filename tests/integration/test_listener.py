"""Listening to an agent's lines while it runs."""

from __future__ import annotations

import time

import pytest

from proofq.policies import adapters
from proofq.policies.failure import Failure
from proofq.workers.listener import MAX_LINE_BYTES, Lines, Listener

#: Told again and again with an answer between, so that it is never enough.
RETRY = b'{"type":"system","subtype":"api_retry","error_status":503}\n{"type":"assistant"}\n'
AUTH = Failure("auth", "refused", "provider")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_arrive_whole_however_they_are_cut(size):
    """Pieces of any size make the same lines; what has no end yet is no line."""
    printed = b"the first of all\n\nshort\nthe second of all\n" + b"x" * 300 + b"\nthe half of a line"
    got: list[bytes] = []
    lines = Lines(got.append)
    for start in range(0, len(printed), size):
        lines.feed(printed[start : start + size])
    assert got == [b"the first of all", b"the second of all", b"x" * 300]


def test_a_line_without_end_costs_one_line_of_memory():
    """A longer line than is heard is passed over, and the next one is heard."""
    got: list[bytes] = []
    lines = Lines(got.append)
    for _ in range(1000):
        lines.feed(b"x" * 4096)
        assert len(lines._begun) <= MAX_LINE_BYTES
    lines.feed(b"\nthe next of them\n" + b"y" * MAX_LINE_BYTES + b"\n" + b"z" * (MAX_LINE_BYTES + 1) + b"\n")
    assert got == [b"the next of them", b"y" * MAX_LINE_BYTES]


def test_it_is_killed_once_and_nothing_is_read_after_that():
    """Enough heard before there was something to kill kills as soon as there is; later lines are not even looked at."""
    read: list[bytes] = []

    def reads(line: bytes) -> Failure:
        read.append(line)
        return AUTH

    for first in (True, False):
        killed: list[str] = []
        listener = Listener(reads)
        if first:
            listener.attach(killed.append)
        for line in (b"1", b"2", b"3", b"4"):
            listener.hear(line)
        if not first:
            listener.attach(killed.append)
        assert killed == ["live"]
        assert listener.failure is not None
    assert read == [b"1", b"2"] * 2


@pytest.mark.parametrize("line", [b"\n", b"x\n", b"sixteen bytes ..\n", b'{"type":"assistant"}\n', RETRY])
def test_a_flood_of_lines_is_cheap(line):
    """A MiB of the shortest lines, or of lines that have to be looked at, cost the pump's thread seconds at most."""
    reads = adapters.of("claude").live
    assert reads is not None
    lines = Lines(Listener(reads).hear)
    piece = line * (65536 // len(line))
    before = time.thread_time()
    for _ in range(16):
        lines.feed(piece)
    print(f"{line!r}: {time.thread_time() - before:.2f} s for a MiB")
    assert time.thread_time() - before < 5
