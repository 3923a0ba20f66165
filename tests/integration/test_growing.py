"""Output is read while it grows: everything once and in order, though the file's front moves away under the reader."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from proofq.workers.growing import ANCHOR, Growing
from proofq.workers.output import Capture

CAP = 8 * ANCHOR


@pytest.fixture
def capture(tmp_path: Path) -> Iterator[Capture]:
    """A stream as the pump writes it, with a small cap."""
    made = Capture(tmp_path / "stdout", CAP)
    yield made
    made.close()


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Growing]:
    """Its reader."""
    made = Growing(tmp_path / "stdout")
    yield made
    made.close()


def _all(growing: Growing) -> str:
    return "".join(iter(growing.read, ""))


def _lines(first: int, count: int) -> bytes:
    return b"".join(b"line %07d \xc3\xa4\n" % number for number in range(first, first + count))


@pytest.mark.parametrize("seed", range(5))
def test_whoever_keeps_up_misses_nothing(capture: Capture, growing: Growing, seed: int) -> None:
    """Pieces of any size, cut anywhere, over many times the cap: what is read is what was printed."""
    chance, printed, read = random.Random(seed), _lines(0, 40_000), ""
    at = seen = 0
    while at < len(printed):
        size = chance.randrange(1, CAP // 4)
        capture.write(printed[at : at + size])
        at += size
        # Half of the cap is kept when the front moves.
        if chance.random() < 0.6 or at - seen > CAP // 4:
            read += _all(growing)
            seen = at
    assert capture.total > 10 * CAP
    assert read + _all(growing) + growing.rest() == printed.decode()
    assert not growing.lost


def test_whoever_is_left_behind_is_told(capture: Capture, growing: Growing) -> None:
    """More came between two reads than is kept: it says so, and goes on with what there is, in order."""
    capture.write(_lines(0, 10))
    assert _all(growing) == _lines(0, 10).decode()
    capture.write(_lines(10, 20_000))
    rest = _all(growing)
    assert growing.lost
    assert _lines(10, 20_000).decode().endswith(rest)
    assert len(rest) > CAP // 4
    growing.lost = False
    capture.write(_lines(0, 3))
    assert _all(growing) == _lines(0, 3).decode()
    assert not growing.lost


def test_the_tail_alone(tmp_path: Path, capture: Capture) -> None:
    """Begun late it gives the end, and goes on from there through a move of the front."""
    capture.write(b"x" * (CAP - 100) + b"the end")
    late = Growing(tmp_path / "stdout", 7)
    assert _all(late) == "the end"
    capture.write(_lines(0, 20))
    assert _all(late) == _lines(0, 20).decode()
    late.close()


def test_a_file_that_comes_later(tmp_path: Path, growing: Growing) -> None:
    """Nothing to read until it is made; a character cut in two is given once it is whole, or at the end."""
    assert growing.read() == ""
    assert not growing.there
    capture = Capture(tmp_path / "stdout")
    capture.write(b"a\xc3")
    assert _all(growing) == "a"
    capture.write(b"\xa4\xe2\x82")
    assert _all(growing) == "ä"
    assert growing.rest() == "\ufffd"
    capture.close()


def test_a_strangers_file_is_refused(tmp_path: Path, growing: Growing) -> None:
    """A link in its place leads nowhere."""
    (tmp_path / "stdout").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="stdout"):
        growing.read()
