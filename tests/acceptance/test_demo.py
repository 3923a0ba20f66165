"""`proofq demo`: it shows what it claims, says so when something did not hold, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from proofq.workers.demo.claims import Seen, judge
from proofq.workers.demo.parts import ENDS, Part
from proofq.workers.demo.screen import done
from tests.acceptance import processes
from tests.waiting import until

#: What the contract promises, in seconds.
PROMISED_S = 90.0


@pytest.fixture
def place() -> Iterator[Path]:
    """The only folder in which the demo may make something."""
    with tempfile.TemporaryDirectory(prefix="pq-") as folder:
        yield Path(folder)
        processes.end(processes.of_site(Path(folder).name, Path(folder)))


def _start(place: Path, **more: str) -> subprocess.Popen[str]:
    environ = os.environ | {"TMPDIR": str(place), processes.MARK: f"{place.name}.000"} | more
    command = [sys.executable, "-m", "proofq", "demo"]
    return subprocess.Popen(
        command, cwd=place, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def _left(place: Path) -> list[Any]:
    return [*processes.of_site(place.name, place), *place.iterdir()]


def test_the_demo_holds(place: Path) -> None:
    """It ends in time with exit code 0, tells every task, and neither uses nor leaves anything of the surroundings."""
    began = time.monotonic()
    demo = _start(place, REDIS_URL="redis://nobody.invalid:1", PROOFQ_SLOTS="none")
    shown, progress = demo.communicate(timeout=PROMISED_S + 20)
    assert demo.returncode == 0, shown + progress
    assert time.monotonic() - began < PROMISED_S
    rows = {line.split()[0]: line for line in shown.splitlines() if line.split()}
    for start, words in {
        "lies: touches a file touch_report": "done, 2 times no: not fresh unverified",
        "lies: writes nothing write_nothing": "done, 2 times no: there is no file unverified",
        "crashes each time crash": "nothing - crash",
        "hangs, deaf to TERM hang": "nothing - timeout",
        "its honest twin refresh_report": "done yes: file -",
        "digests digest_files": "done yes: file, python -",
        "key refused scribe": "nothing - auth",
        "503 each time scribe": "nothing - overloaded",
        "cut each time scribe": "done, 2 times no: there is no file unverified",
        "silent half-way watched_scribe": "nothing - stalled",
        "done, then refused forgiven_scribe": "nothing yes: file -",
    }.items():
        assert any(" ".join(line.split()).startswith(f"{start} {words}") for line in shown.splitlines()), start
    assert shown.count("worker lost, taken over") >= 1
    assert "38 tasks checked, clean" in rows["audit:"]
    assert "24 honest tasks verified; 9 of them after a failure that has its class" in rows["held:"]
    assert "5 liars not verified" in rows["held:"]
    assert "NOT HELD" not in shown
    assert "kill -9 of worker" in progress
    assert _left(place) == []


def test_the_demo_can_be_stopped(place: Path) -> None:
    """TERM in the middle ends it, its workers, their agents and its Redis."""
    demo = _start(place)
    assert demo.stderr is not None
    assert any("tasks are enqueued" in line for line in demo.stderr)
    until(lambda: list(place.glob("*/.proofq/tasks/*/1")), 30.0, "an attempt")
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=30.0)
    assert demo.returncode == 128 + signal.SIGTERM
    assert _left(place) == []


# --- what it says when something did not hold ----------------------------------------------------------------------


def _attempt(outcome: str, worker: str = "two", kind: str | None = None, at_s: int = 0) -> dict[str, Any]:
    """One that begins `at_s` seconds after eight o'clock, and ends a second later."""
    began, ended = (f"2026-11-20T08:00:{second:02}Z" for second in (at_s, at_s + 1))
    return {"outcome": outcome, "worker": worker, "started_at": began, "ended_at": ended, "class": kind}


def _shown(state: str, kind: str, *attempts: Mapping[str, Any]) -> dict[str, Any]:
    moves = [(None, "queued"), ("queued", "leased"), ("leased", state)]
    return {
        "state": state,
        "failure": {"class": kind} if kind else None,
        "attempts": list(attempts),
        "breadcrumbs": [{"from": source, "to": to} for source, to in moves],
    }


def _good() -> Seen:
    """One task of each role, the honest one taken over from worker one, as all must be."""
    parts = [Part(role, "agent", role, {}) for role in ENDS]
    shown: dict[str, dict[str, Any]] = {
        role: _shown(state, kind, _attempt("failed")) for role, (state, kind) in ENDS.items()
    }
    shown["honest"]["attempts"] = [_attempt("lost", "one"), _attempt("verified")]
    return Seen(parts, shown, killed="one", live=["honest"], audit={"checked": len(parts), "violations": []})


def _problems(seen: Seen) -> list[str]:
    return [claim.text for claim in judge(seen) if not claim.held]


def test_what_is_as_it_must_be_is_held() -> None:
    """Nothing is found wrong with a demo in which nothing is wrong."""
    assert _problems(_good()) == []


@pytest.mark.parametrize(
    ("name", "shown", "claim"),
    [
        ("honest", _shown("failed", "crash", _attempt("lost", "one"), _attempt("failed")), "1 honest tasks verified"),
        ("liar", _shown("verified", "", _attempt("verified")), "1 liars not verified"),
        ("liar", _shown("failed", "crash", _attempt("failed")), "1 liars not verified"),
        ("crash", _shown("failed", "crash", _attempt("failed")), "the crash quarantined"),
        ("hang", _shown("failed", "crash", _attempt("failed")), "the hang stopped at its deadline"),
        ("silent", _shown("failed", "timeout", _attempt("failed")), "1 silent ones stopped"),
        ("key", _shown("failed", "auth", _attempt("failed")), "a refused key and a lack of credit held"),
        ("credit", _shown("held", "auth", _attempt("failed")), "a refused key and a lack of credit held"),
        ("refused", _shown("verified", "", _attempt("verified")), "what cannot succeed failed"),
    ],
)
def test_a_wrong_end_is_told(name: str, shown: dict[str, Any], claim: str) -> None:
    """A task that ended otherwise than its role says breaks the claim about its role."""
    seen = _good()
    assert claim in _problems(dataclasses.replace(seen, shown={**seen.shown, name: shown}))


@pytest.mark.parametrize(
    "attempts",
    [
        [_attempt("verified")],
        [_attempt("failed", "one"), _attempt("verified")],
        [_attempt("lost", "one"), _attempt("verified", "one")],
        [_attempt("lost", "one"), _attempt("failed")],
    ],
    ids=["never was there", "was not lost", "stayed", "failed after all"],
)
def test_a_task_that_was_not_taken_over_is_told(attempts: list[dict[str, Any]]) -> None:
    """Taken over means: lost on the killed worker, then verified on another."""
    seen = _good()
    shown = {**seen.shown, "honest": {**seen.shown["honest"], "attempts": attempts}}
    assert _problems(dataclasses.replace(seen, shown=shown)) == ["1 tasks of the killed worker taken over"]


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"live": []}, "0 tasks of the killed worker taken over"),
        ({"outlived": [7]}, "1 tasks of the killed worker taken over"),
        ({"audit": {"checked": 9, "violations": []}}, "the audit found nothing"),
        ({"audit": {"checked": 10}}, "the audit found nothing"),
        (
            {"audit": {"checked": 10, "violations": [{"rule": "r", "subject": "s", "detail": "d"}]}},
            "the audit found nothing",
        ),
        ({"exit_codes": [0, None]}, "no process left"),
        ({"left": ["12 sleep 60"]}, "no process left"),
    ],
)
def test_everything_else_that_is_wrong_is_told(change: dict[str, Any], claim: str) -> None:
    """No live attempt at the kill, a surviving agent, an audit that is not clean, a process left: each is told."""
    assert _problems(dataclasses.replace(_good(), **change)) == [claim]


@pytest.mark.parametrize(
    ("more", "attempts", "claim"),
    [
        ({"through": "network"}, [_attempt("verified")], "1 of them after a failure that has its class"),
        ({"through": "network"}, [_attempt("failed", kind="crash")], "1 of them after a failure that has its class"),
        (
            {"wait_s": 3.0},
            [_attempt("failed", kind="rate_limited"), _attempt("verified", at_s=3)],
            "1 waited at least as long as they were told to",
        ),
        (
            {"once": True},
            [_attempt("failed", kind="auth"), _attempt("verified", at_s=1)],
            "work done before a refusal was found without a second run",
        ),
    ],
)
def test_what_a_provider_did_and_nobody_noticed_is_told(
    more: dict[str, Any], attempts: list[dict[str, Any]], claim: str
) -> None:
    """A class that was not seen, a wait cut short, a second run of what had been done; but nothing of lost attempts."""
    seen = _good()
    parts = [*seen.parts, Part("asking", "agent", "honest", {}, **more)]
    audit = {"checked": len(parts), "violations": []}
    shown = {**seen.shown, "asking": _shown("verified", "", *attempts)}
    assert _problems(dataclasses.replace(seen, parts=parts, shown=shown, audit=audit)) == [claim]
    shown["asking"] = _shown("verified", "", *(_attempt("lost", "one") for _ in attempts), _attempt("verified"))
    assert _problems(dataclasses.replace(seen, parts=parts, shown=shown, audit=audit)) == []


def test_an_attempt_that_never_started_has_its_line() -> None:
    """The kill may meet a retry that is leased and not yet started, and a bug may leave an attempt open."""
    first = _attempt("failed", kind="overloaded")
    unstarted = {**_attempt("lost"), "started_at": None, "leased_at": "2026-11-20T08:00:03Z"}
    shown = _shown("verified", "", first, unstarted, _attempt("verified", at_s=9))
    shown["breadcrumbs"] = [{"event": "verify", "reason": ""}]
    assert done(shown) == "overloaded, 2.0 s later worker lost, taken over, then verified"
    shown["attempts"] = [{**first, "ended_at": None}, _attempt("verified", at_s=9)]
    assert done(shown) == "overloaded, then verified"


def test_two_ends_are_told() -> None:
    """A task that entered a terminal state twice, or ended with an attempt still open, breaks the claim of one end."""
    seen = _good()
    twice = [*seen.shown["liar"]["breadcrumbs"], {"from": "failed", "to": "quarantined"}]
    still_open = [{**_attempt("failed"), "ended_at": None}]
    for change in ({"breadcrumbs": twice}, {"attempts": still_open}):
        shown = {**seen.shown, "liar": {**seen.shown["liar"], **change}}
        assert _problems(dataclasses.replace(seen, shown=shown)) == ["each task in exactly one terminal state, or held"]
