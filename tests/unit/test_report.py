"""The report pipe: lines folded into what is known, and no trust in what a child writes."""

from __future__ import annotations

import os

import pytest

from proofq.workers.report import MAX_RESULT_BYTES, NotStrictJSON, Reporter, ReportReader, strict_json


def read(*lines, silent=False, end=True):
    """A reader that was fed these lines byte by byte, or at once when they are long."""
    reader = ReportReader(silent=silent)
    text = b"".join(line + b"\n" for line in lines)
    for piece in [bytes([byte]) for byte in text] if len(text) < 10_000 else [text]:
        reader.feed(piece)
    if end:
        reader.end()
    return reader


def test_what_a_reporter_writes_is_read():
    """Start, progress and the last word, through a real pipe."""
    reading, writing = os.pipe()
    reporter = Reporter(writing)
    reporter.send("started", b"true")
    reporter.send("progress", b'{"n":1}')
    reporter.send("result", strict_json({"é": [1, None]}, "x", 1000))
    os.close(writing)
    reader = ReportReader(silent=False)
    reader.feed(os.read(reading, 10_000))
    os.close(reading)
    assert reader.started
    assert (reader.progress_count, reader.progress) == (1, '{"n":1}')
    assert reader.last == {"result": {"é": [1, None]}}
    Reporter(writing_end_nobody_reads()).send("result", b"1")


def writing_end_nobody_reads():
    """The writing end of a pipe whose reading end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_a_command_has_started_when_its_pipe_ends_without_a_word():
    """Its exec closed the pipe; a failed step says so first, and then it has not."""
    assert not read(silent=True, end=False).started
    assert read(silent=True).started
    failed = read(b'{"start_error":{"errno":2,"step":"exec x"}}', silent=True)
    assert not failed.started
    assert failed.start_error is not None
    assert (failed.start_error.errno, failed.start_error.step) == (2, "exec x")
    assert not read().started


@pytest.mark.parametrize(
    "line",
    [
        b"", b"nonsense", b"[]", b"3", b'{"a":1,"b":2}', b"\xff", b"[" * 200_000, b'{"result":1', b"x" * (2 << 20),
        b'{"result":NaN}', b'{"result":[-Infinity]}',
    ],
)  # fmt: skip
def test_nonsense_ends_what_is_believed(line):
    """What comes after a broken line is no report any more; nothing raises, and memory is bounded."""
    reader = read(b'{"started":true}', line, b'{"result":1}')
    assert (reader.started, reader.last) == (True, None)
    assert not reader._bytes


def test_an_odd_start_error_is_still_one():
    """A child that makes one up has not started."""
    assert read(b'{"start_error":"odd"}').start_error is not None


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {1: 2},
        {"a": {None: 1}},
        [{True: 1}],
        "\udc80",
        {1, 2},
        b"x",
        pytest.param(10**5000, id="long"),
        object(),
    ],
)
def test_what_is_no_strict_json_is_refused(value):
    """One sentence says why."""
    with pytest.raises(NotStrictJSON, match="the value"):
        strict_json(value, "the value", MAX_RESULT_BYTES)


def test_size_is_counted_in_bytes():
    """The limit itself is allowed."""
    assert strict_json("é", "x", 4) == b'"\xc3\xa9"'
    with pytest.raises(NotStrictJSON, match="4 bytes"):
        strict_json("é", "x", 3)
