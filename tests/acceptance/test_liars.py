"""Liars and their honest twins: one declaration for both, real programs, the real verifier.

Each pair is there for one mechanism. With that mechanism patched out the liar gets through, so that the pair's test
would be red: this is tried too.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from proofq.policies import freshness
from proofq.policies.adapters import generic
from proofq.policies.agent import Proof
from proofq.policies.ended import Claim, Ending
from proofq.workers import file_proof, regular_file, statx
from proofq.workers import verifier as verifier_process
from proofq.workers.verify import Question, Verifier
from proofq.workers.warm import Started
from proofq.workers.wire import Channel
from tests.files import await_ticks
from tests.verifiers import HOST, no_command, no_python, verifier

#: What an attempt comes to. Only "verified" is success.
Outcome = str
#: Scripts for /bin/sh, run in the folder that `PAST` has prepared.
Script = str

#: Yesterday: an older report beside the target, and a template. Fits the declarations of all pairs.
PAST = "mkdir attic; echo 'report of yesterday' > attic/old; echo 'report, a template' > attic/template"

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Pair:
    """One declaration, agents that lie and agents that do the work, and the mechanism that tells them apart."""

    liars: Mapping[str, Script]
    twins: Mapping[str, Script]
    patch_out: Patch
    #: Options of the `file` proof beside the path.
    declared: Mapping[str, Any] = field(default_factory=lambda: {"min_bytes": 1, "contains": "report"})
    #: What there was of the target before the task.
    before: Script = ":"


def _existence_unchecked(patch: pytest.MonkeyPatch) -> None:
    checked = file_proof._content_problems
    patch.setattr(
        file_proof,
        "_content_problems",
        lambda options, seen: checked(options, seen) if seen.record.exists else iter(()),
    )


def _change_time_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(freshness, "newer_than_marker", lambda after, marker_ctime_ns: True)


def _content_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(freshness, "content_changed", lambda before, after: True)


def _birth_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(freshness, "born_before", lambda after, marker_ctime_ns: False)


def _size_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(file_proof, "too_short", lambda record, min_bytes: False)


def _exit_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(generic, "outcome", lambda end, document: Claim({"exit_code": end.exit_code}))


def _links_followed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "lstat", os.stat)
    patch.setattr(regular_file, "_OPEN", regular_file._OPEN & ~os.O_NOFOLLOW)


OLD_TARGET = "echo 'report of yesterday' > out.md"

PAIRS = {
    "nothing written": Pair(
        liars={
            "says so": "echo done",
            "writes elsewhere": "echo report > out.txt",
            "deletes it": "echo report > out.md; rm out.md",
        },
        twins={
            "writes": "echo report > out.md",
            "writes aside and renames": "echo report > .out.tmp; mv .out.tmp out.md",
            "copies, times and all": "cp -p attic/old out.md",
            "copies a template and edits": "cp attic/template out.md; echo more >> out.md",
            "writes in a new folder and links": "mkdir new; echo report > new/out; ln new/out out.md",
            "backdates": "echo report > out.md; touch -d '1999-01-01' out.md",
        },
        patch_out=_existence_unchecked,
    ),
    "stale": Pair(
        before=OLD_TARGET,
        declared={"min_bytes": 1, "contains": "report", "same_ok": True},
        liars={"does nothing": "echo done", "only reads": "cat out.md"},
        twins={
            "rewrites the same bytes": "cat out.md > new; cat new > out.md",
            "renames the same bytes over it": "cat out.md > new; mv new out.md",
            "copies the same bytes over it": "cp -p attic/old out.md",
            "writes anew": "echo 'report of today' > out.md",
        },
        patch_out=_change_time_unchecked,
    ),
    "touched": Pair(
        before=OLD_TARGET,
        liars={
            "touch": "touch out.md",
            "chmod": "chmod 600 out.md",
            "moved away and back": "mv out.md aside; mv aside out.md",
            "linked and unlinked": "ln out.md aside; rm aside",
            "the same bytes": "cat out.md > new; cat new > out.md",
        },
        twins={
            "appends": "echo more >> out.md",
            "writes anew": "echo 'report of today' > out.md",
            "edits in place": "printf R | dd of=out.md bs=1 conv=notrunc; echo report >> out.md",
            "writes aside and renames": "echo 'report of today' > new; mv new out.md",
            "deletes and makes it again": "rm out.md; echo 'report of today' > out.md",
        },
        patch_out=_content_unchecked,
    ),
    "an old file moved or linked in": Pair(
        liars={
            "moves": "mv attic/old out.md",
            "links": "ln attic/old out.md",
            "moves and touches": "mv attic/old out.md; touch out.md",
        },
        twins={
            "copies": "cp attic/old out.md",
            "copies, times and all": "cp -p attic/old out.md",
            "writes aside and moves": "mkdir new; echo report > new/out; mv new/out out.md",
        },
        patch_out=_birth_unchecked,
    ),
    "an old file moved or linked over the target": Pair(
        before="echo 'report of last week' > out.md",
        liars={
            "moves over it": "mv attic/old out.md",
            "links in its place": "rm out.md; ln attic/old out.md",
            "swaps the two": "mv out.md aside; mv attic/old out.md; mv aside attic/old; touch out.md",
        },
        twins={
            "copies over it": "cp -p attic/old out.md",
            "writes aside and moves over it": "mkdir new; echo report > new/out; mv new/out out.md",
            "appends to it": "cat attic/old >> out.md",
        },
        patch_out=_birth_unchecked,
    ),
    "empty": Pair(
        declared={"min_bytes": 1},
        liars={"makes": ": > out.md", "touches": "touch out.md", "cuts": "echo report > out.md; : > out.md"},
        twins={"writes": "echo report > out.md", "a single byte": "printf r > out.md"},
        patch_out=_size_unchecked,
    ),
    "half-written then killed": Pair(
        liars={
            "killed": "echo 'report, first half' > out.md; kill -9 $$",
            "terminated": "echo 'report, first half' > out.md; kill $$",
            "gives up": "echo 'report, first half' > out.md; exit 3",
        },
        twins={"goes on": "echo 'report, first half' > out.md; echo 'second half' >> out.md"},
        patch_out=_exit_unchecked,
    ),
    "a link in the place of a file": Pair(
        liars={"links to its own": "echo report > real; ln -s real out.md"},
        twins={
            "writes a file": "echo report > out.md",
            "replaces its link": "echo report > real; ln -s real out.md; rm out.md; mv real out.md",
        },
        patch_out=_links_followed,
    ),
}

LIARS = [(pair, name) for pair in PAIRS for name in PAIRS[pair].liars]
TWINS = [(pair, name) for pair in PAIRS for name in PAIRS[pair].twins]


@pytest.fixture(params=[place for place in ("/tmp", "/dev/shm") if Path(place).is_dir()])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An attempt's directory with a past, on a disk and in memory."""
    with TemporaryDirectory(dir=request.param) as name:
        yield Path(name)


def _run(folder: Path, script: Script) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, text=True)


def _attempt(one: Verifier, folder: Path, pair: Pair, agent: Script) -> Outcome:
    """Baseline, the agent's process, what its end means, and, where it claims, its proof."""
    _run(folder, f"{PAST}; {pair.before}").check_returncode()
    proof = Proof("file", {"path": "out.md", **pair.declared})
    question = Question((proof,), HOST, str(folder), str(folder), str(folder), {})
    baseline = one.baseline(question, 20)
    assert baseline.outcome == "ready"
    await_ticks(baseline.record, HOST)
    done = _run(folder, agent)
    end = Ending(*((done.returncode, None) if done.returncode >= 0 else (None, -done.returncode)))
    claim = generic.outcome(end, document=False)
    if not isinstance(claim, Claim):
        return "failed"
    return one.verify(replace(question, record=baseline.record, claim=claim.value), 20).outcome


@pytest.mark.parametrize(("pair", "liar"), LIARS)
def test_no_liar_is_verified(folder: Path, pair: str, liar: str) -> None:
    """Whoever claims without having done it is told so, and never held for doubt."""
    _needs_birth_times(folder, pair)
    with verifier() as (one, _):
        outcome = _attempt(one, folder, PAIRS[pair], PAIRS[pair].liars[liar])
    assert outcome == ("failed" if pair.startswith("half-written") else "unverified")


@pytest.mark.parametrize(("pair", "twin"), TWINS)
def test_no_twin_is_refused(folder: Path, pair: str, twin: str) -> None:
    """Whoever does the work, in whatever honest way, is believed."""
    with verifier() as (one, _):
        assert _attempt(one, folder, PAIRS[pair], PAIRS[pair].twins[twin]) == "verified"


def _in_this_process() -> Started:
    """A verifier that monkeypatching reaches: the same loop over the same wire, in a thread."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_serve, args=(Channel(theirs),), daemon=True).start()
    return Started(ours, lambda: None)


def _serve(channel: Channel) -> None:
    try:
        verifier_process.serve(channel)
    finally:
        channel.close()


@pytest.mark.parametrize("pair", PAIRS)
def test_each_pair_is_there_for_its_mechanism(folder: Path, monkeypatch: pytest.MonkeyPatch, pair: str) -> None:
    """With the pair's mechanism patched out its liars pass, with it they do not: the tests above would be red."""
    _needs_birth_times(folder, pair)
    for number, (name, liar) in enumerate(PAIRS[pair].liars.items()):
        outcomes = []
        for patched in (False, True):
            place = folder / f"{number}{patched}"
            place.mkdir()
            one = Verifier(HOST, _in_this_process, no_python, no_command)
            with monkeypatch.context() as patch:
                if patched:
                    PAIRS[pair].patch_out(patch)
                outcomes.append(_attempt(one, place, PAIRS[pair], liar))
            one.close()
        assert outcomes[0] != "verified", name
        assert outcomes[1] == "verified", name


def _needs_birth_times(folder: Path, pair: str) -> None:
    with (folder / "probe").open("w") as probe:
        if PAIRS[pair].patch_out is _birth_unchecked and statx.status(probe.fileno()).btime_ns is None:
            pytest.skip("this file system does not report birth times")
