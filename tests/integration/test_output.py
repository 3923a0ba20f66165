"""Captured output: capped on disk, a tail in memory, the newest kept, nobody delayed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from proofq.workers.clock import SystemClock
from proofq.workers.output import TAIL_BYTES, Capture, Pump, Streams, pipe
from proofq.workers.report import ReportReader


@pytest.mark.parametrize("cap", [10, 100, 1000])
@pytest.mark.parametrize("piece", [1, 7, 10, 99, 250, 4000])
def test_the_newest_bytes_are_on_disk_and_never_more_than_the_cap(tmp_path, cap, piece):
    """After every write the file is the end of what was written, at least half of the cap once it is that much."""
    capture = Capture(tmp_path / "out", cap)
    written = b""
    for n in range(60):
        data = bytes((n * piece + k) % 251 for k in range(piece))
        capture.write(data)
        written += data
        kept = (tmp_path / "out").read_bytes()
        assert len(kept) <= cap
        assert written.endswith(kept)
        assert len(kept) >= min(len(written), cap // 2)
    assert (capture.total, capture.tail()) == (len(written), written[-TAIL_BYTES:])
    capture.close()


def test_the_whole_is_there_only_when_it_is_whole(tmp_path):
    """Also after the end, read from our own descriptor: a file put in its place changes nothing."""
    size = TAIL_BYTES + 10
    capture = Capture(tmp_path / "out", size, keep=True)
    capture.write(b"x" * size)
    (tmp_path / "out").unlink()
    (tmp_path / "out").write_text("forged")
    assert capture.whole() == b"x" * size
    capture.close()
    assert capture.whole() == b"x" * size
    assert (tmp_path / "out").read_text() == "forged"
    capture = Capture(tmp_path / "more", size, keep=True)
    capture.write(b"x" * size)
    capture.write(b"y")
    assert capture.whole() is None
    capture.close()
    assert capture.whole() is None


@pytest.mark.parametrize("what", ["link", "file", "pipe"])
def test_what_an_agent_puts_in_the_place_of_its_output_is_left_alone(tmp_path, what):
    """It costs the agent its file; the tail is kept, and nothing is written elsewhere or waits."""
    (tmp_path / "target").write_text("another's")
    if what == "pipe":
        os.mkfifo(tmp_path / "out")
    else:
        (tmp_path / "out").symlink_to("target") if what == "link" else (tmp_path / "out").hardlink_to(
            tmp_path / "target"
        )
    capture = Capture(tmp_path / "out", keep=True)
    capture.write(b"hello")
    capture.close()
    assert isinstance(capture.problem, FileExistsError)
    assert (capture.tail(), capture.whole(), capture.newest()) == (b"hello",) * 3
    assert (tmp_path / "target").read_text() == "another's"


def test_who_prints_nothing_has_no_file_and_the_mode_is_private(tmp_path):
    """Most agents that succeed are silent, and a file costs more than what it would say."""
    for name, said in (("silent", []), ("empty", [b""]), ("out", [b"", b"x"])):
        capture = Capture(tmp_path / name)
        for data in said:
            capture.write(data)
        capture.close()
        capture.write(b"too late")
        assert capture.whole() == b"".join(said) + b"too late"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_fails_costs_the_file_not_the_tail():
    """The first error is remembered; what was printed is still in memory."""
    capture = Capture(Path("/made"))
    capture._fd = os.open("/dev/full", os.O_RDWR)
    capture.write(b"hello")
    assert capture.problem is not None
    assert capture.tail() == b"hello"
    capture.write(b"x" * TAIL_BYTES)
    assert capture.whole() is None
    capture.close()


def streams():
    """One attempt's streams, kept in memory."""
    return Streams(Capture(None), Capture(None), ReportReader(silent=False))


def opened(pump, one):
    """Pipes for `one`, read by the pump from now on; the writing ends by name."""
    ends = {name: pipe() for name in ("stdout", "stderr", "report")}
    pump.add(one, {name: reading for name, (reading, _) in ends.items()})
    return {name: writing for name, (_, writing) in ends.items()}


def test_finishing_takes_what_is_there_and_waits_for_nobody():
    """All that was written before the end arrives, although somebody still holds the pipes open."""
    pump, one, done = Pump(SystemClock()), streams(), threading.Event()
    writing = opened(pump, one)
    os.write(writing["stdout"], b"o" * 60_000)
    os.write(writing["stderr"], b"e")
    os.write(writing["report"], b'{"result":7}\n')
    pump.finish(one, done.set)
    assert done.wait(20)
    assert (one.stdout.total, one.stderr.tail(), one.report.last) == (60_000, b"e", {"result": 7})
    with pytest.raises(BrokenPipeError):
        os.write(writing["stdout"], b"late")
    for end in writing.values():
        os.close(end)
    pump.close()


def test_one_attempts_trouble_does_not_stop_the_reading_of_another(caplog):
    """A callback that raises is logged, and the pump goes on."""
    pump, bad, good, done = Pump(SystemClock()), streams(), streams(), threading.Event()

    def trouble():
        raise RuntimeError("trouble")

    bad.on_report = trouble
    writing, others = opened(pump, bad), opened(pump, good)
    os.write(writing["report"], b'{"started":true}\n')
    os.write(others["stdout"], b"fine")
    pump.finish(good, done.set)
    assert done.wait(20)
    assert good.stdout.tail() == b"fine"
    for end in [*writing.values(), *others.values()]:
        os.close(end)
    pump.close()
    assert "pump_error" in caplog.text


def open_files():
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_closing_closes_every_descriptor():
    """A pump that is closed with attempts open leaves nothing."""
    before = open_files()
    pump = Pump(SystemClock())
    for end in opened(pump, streams()).values():
        os.close(end)
    pump.close()
    assert open_files() == before
