"""Which file systems are believed to be stamped by the kernel's clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from proofq.workers import file_baseline, statx
from proofq.workers.clock import earliest_stamp_ns, latest_stamp_ns
from proofq.workers.kernel_clock import KernelClock
from tests.files import await_ticks

#: What a file system's clock says that goes by another one, rounds, or lags.
OTHERS: dict[str, Callable[[], int]] = {
    "rounded to seconds": lambda: time.time_ns() // 1_000_000_000 * 1_000_000_000,
    "rounded up": lambda: -(-time.time_ns() // 10_000_000) * 10_000_000,
    "behind": lambda: earliest_stamp_ns() - 1,
    "ahead": lambda: time.time_ns() + 1_000_000_001,
}


@pytest.mark.parametrize("stamp", OTHERS.values(), ids=OTHERS)
def test_another_clock_is_not_taken_for_the_kernels(tmp_path: Path, stamp: Callable[[], int]) -> None:
    """Nor believed later; nor where births alone are told by it."""
    clock = KernelClock()
    assert not clock.stamps(str(tmp_path), 1, lambda: (stamp(), time.time_ns() | 1))
    assert not clock.stamps(str(tmp_path), 1, lambda: (time.time_ns() | 1, stamp()))


def test_nor_is_one_that_tells_no_births(tmp_path: Path) -> None:
    """That nothing stood there could not be told again."""
    assert not KernelClock().stamps(str(tmp_path), 1, lambda: (time.time_ns() | 1, None))


def test_a_daemons_file_system_is_never_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its clock says just now."""
    monkeypatch.setattr(statx, "on_fuse", lambda _: True)
    assert not KernelClock().stamps(str(tmp_path), 1, lambda: (time.time_ns() | 1,) * 2)


def test_nor_is_one_on_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its marker is a file made there."""
    monkeypatch.setattr(statx, "on_network", lambda _: True)
    monkeypatch.setattr(file_baseline, "_kernel_clock", KernelClock())
    assert file_baseline.take(str(tmp_path / "a"), "h").marker == "file system"


def test_a_device_is_asked_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each by itself."""
    clock, asked = KernelClock(), []

    def stamp() -> tuple[int, int]:
        asked.append(time.time_ns() | 1)
        return asked[-1], asked[-1]

    assert [clock.stamps(str(tmp_path), device, stamp) for device in (1, 1, 2, 2)] == [True] * 4
    assert len(asked) == 2
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 61)
    assert clock.stamps(str(tmp_path), 1, stamp)
    assert len(asked) == 3


def test_a_local_file_system_is_asked_without_making_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second target on."""
    before = file_baseline.take(str(tmp_path / "a"), "h")
    if before.marker not in ("kernel", "raised"):
        pytest.skip("what tests write here is not stamped by the kernel")
    monkeypatch.setattr(file_baseline, "_nameless_file", partial(pytest.fail, "a file was made"))
    again = file_baseline.take(str(tmp_path / "b"), "h")
    await_ticks({"files": [again.to_dict()]}, "h")
    (tmp_path / "b").touch()
    assert (tmp_path / "b").stat().st_ctime_ns > again.marker_ctime_ns > before.marker_ctime_ns


def test_a_stamp_past_the_marker_is_heeded_by_every_file_from_then_on(tmp_path: Path) -> None:
    """200 first writes right after it, no tick in between, on a disk as in memory."""
    major, minor = os.uname().release.split(".")[:2]
    if (int(major), int(minor)) < (6, 13):
        pytest.skip("this kernel stamps at its ticks alone")
    clock = KernelClock()
    for number in range(200):
        marker_ns = latest_stamp_ns()
        assert clock.raised_past(marker_ns)
        path = tmp_path / str(number)
        path.touch()
        assert path.stat().st_ctime_ns > marker_ns, number


@pytest.mark.parametrize("stamps", ["at ticks", "nobody may"])
def test_where_no_stamp_comes_between_two_ticks_the_agents_process_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stamps: str
) -> None:
    """A kernel before 6.13, or one that refuses."""

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(file_baseline, "_kernel_clock", KernelClock())
    monkeypatch.setattr(os, "utime", refused if stamps == "nobody may" else lambda _: None)
    before = file_baseline.take(str(tmp_path / "a"), "h")
    monkeypatch.undo()
    if before.marker != "kernel":
        pytest.skip("what tests write here is not stamped by the kernel")
    ticks = file_baseline.ticks_of({"files": [before.to_dict()]}, "h")
    assert ticks == [("", before.marker_ctime_ns)]
    file_baseline.await_tick(*ticks[0])
    (tmp_path / "a").touch()
    assert (tmp_path / "a").stat().st_ctime_ns > before.marker_ctime_ns
