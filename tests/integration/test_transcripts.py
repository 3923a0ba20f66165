"""What is seen of an agent program's transcript files: those that fit, and nothing outside its home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proofq.workers import transcripts


def _seen(home: Path, *patterns: str) -> set[tuple[str, int]]:
    return {(name, size) for name, size, _ in transcripts.look(str(home), patterns)}


def test_what_fits(tmp_path: Path) -> None:
    """Files at the depth of the glob, by name, hidden folders included."""
    for name in (".c/p/a/1.jsonl", ".c/p/b/2.jsonl", ".c/p/b/3.txt", ".c/p/4.jsonl", ".c/p/a/d/5.jsonl", "log"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert _seen(tmp_path, ".c/p/*/*.jsonl") == {(".c/p/a/1.jsonl", 14), (".c/p/b/2.jsonl", 14)}
    assert _seen(tmp_path, "log", "*") == {("log", 3)}
    assert _seen(tmp_path) == _seen(tmp_path, "x/*") == _seen(tmp_path / "none", "*") == set()


def test_growth_and_rewriting_change_it(tmp_path: Path) -> None:
    """A longer file, and one written again with as many bytes, look different."""
    path = tmp_path / "t.jsonl"
    path.write_text("a")
    os.utime(path, ns=(0, 0))
    before = transcripts.look(str(tmp_path), ["*.jsonl"])
    assert transcripts.look(str(tmp_path), ["*.jsonl"]) == before
    path.write_text("b")
    assert transcripts.look(str(tmp_path), ["*.jsonl"]) != before


def test_nothing_leads_out(tmp_path: Path) -> None:
    """Links to files and folders, loops, pipes and unreadable folders are passed over; nothing blocks."""
    outside, home = tmp_path / "outside", tmp_path / "home"
    for folder in (outside, home, home / "real"):
        folder.mkdir()
    (outside / "x.jsonl").write_text("secret")
    (home / "linked").symlink_to(outside)
    (home / "loop").symlink_to(home)
    (home / "real" / "link.jsonl").symlink_to(outside / "x.jsonl")
    os.mkfifo(home / "real" / "pipe.jsonl")
    (home / "real" / "y.jsonl").write_text("ok")
    assert _seen(home, "*/*.jsonl") == {("real/y.jsonl", 2)}
    assert _seen(home, "linked/x.jsonl", "linked/*.jsonl") == set()


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much an agent puts there, only so many names are looked at."""
    monkeypatch.setattr(transcripts, "MAX_NAMES", 10)
    for number in range(50):
        (tmp_path / f"{number}.jsonl").touch()
    assert len(_seen(tmp_path, "*.jsonl")) == 10
