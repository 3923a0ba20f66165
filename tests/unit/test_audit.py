"""The audit's rules: silent about a whole task, and each speaks when its one thing is broken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.audit import RULES, VIEW_RULES, check
from proofq.policies.audit_view import View
from proofq.policies.lifecycle import NUMBERS, RQ_STATUS, TERMINAL, WAITING
from proofq.workers import audit as walks
from proofq.workers.record import Breadcrumb

DOCS = (Path(__file__).parents[2] / "docs" / "invariants.md").read_text()
FAILURE = '{"kind":"crash"}'


def crumb(source: str | None, event: str, to: str, attempt: int = 0, fence: str = "") -> Breadcrumb:
    return Breadcrumb(1, source, event, to, "", attempt, fence, "test")


BORN = crumb(None, "enqueue", "queued")
LEASED = crumb("queued", "lease", "leased", 1, "1-a")
STARTED = crumb("leased", "start", "running", 1, "1-a")
CLAIMED = crumb("running", "claim", "claimed_done", 1, "1-a")
VERIFIED = crumb("claimed_done", "verify", "verified", 1, "1-a")
RETRIED = crumb("running", "retry", "deferred", 1, "1-a")
FAILED = crumb("running", "fail", "failed", 1, "1-a")
REPLAYED = crumb("failed", "replay", "queued", 1)

OPEN: dict[str, Any] = {"n": 1, "fence": "1-a"}
ENDED = OPEN | {"ended_at": 5, "outcome": "failed", "counted": True}
HELD = {"fence": "1-a", "owner": "o", "slot": "0"}


def view(crumbs: list[Breadcrumb], row: Mapping[str, str], attempts: list[dict[str, Any]]) -> View:
    """A whole task in the state that its breadcrumbs lead to; `row` says what that state adds."""
    state = crumbs[-1].to
    status = RQ_STATUS[state]
    owned = "fence" in row
    fields = {
        "state": state,
        "attempt": str(len(attempts)),
        "counted": str(sum(bool(one.get("counted")) for one in attempts)),
        "max_attempts": "3",
        "enqueued_at": "1",
        "expires_at": "9",
        "pickups": "0",
        **row,
    }
    job = {"status": status, "started_at": "t" if owned else "", "ended_at": "t" if state in TERMINAL else ""}
    return View(
        id="t",
        row=fields,
        crumbs=crumbs,
        attempts=attempts,
        job=job,
        in_queue=int(status == "queued"),
        registries={status} - {"queued", "started"},
        started=[row["fence"]] if owned else [],
        results={"finished": ["successful"], "failed": ["failed"]}.get(status, []),
        listed=1.0,
        expires=9.0 if state in WAITING else None,
        due=7.0 if state == "deferred" else None,
        counted=NUMBERS[state],
        ended={state: 5.0} if state in TERMINAL else {},
        lease=row.get("fence"),
        owner_known=owned,
    )


QUEUED_TASK = view([BORN], {}, [])
LEASED_TASK = view([BORN, LEASED], HELD | {"pickups": "1"}, [OPEN])
RUNNING_TASK = view([BORN, LEASED, STARTED], HELD | {"started_at": "3"}, [OPEN])
DEFERRED_TASK = view([BORN, LEASED, STARTED, RETRIED], {"not_before": "7", "failure": FAILURE}, [ENDED])
FAILED_TASK = view([BORN, LEASED, STARTED, FAILED], {"failure": FAILURE, "ended_at": "5"}, [ENDED])
VERIFIED_TASK = view(
    [BORN, LEASED, STARTED, CLAIMED, VERIFIED],
    {"verdict": "{}", "claim": "1", "ended_at": "5"},
    [ENDED | {"outcome": "verified"}],
)
WAITING_ROW = {"after": '["p"]', "after_open": '["p"]'}
WAITING_TASK = replace(view([crumb(None, "enqueue_after", "deferred")], WAITING_ROW, []), due=None)
REPLAYED_TASK = replace(view([BORN, LEASED, STARTED, FAILED, REPLAYED], {"counted": "0"}, [ENDED]))
WHOLE = {
    "queued": QUEUED_TASK,
    "leased": LEASED_TASK,
    "running": RUNNING_TASK,
    "deferred": DEFERRED_TASK,
    "failed": FAILED_TASK,
    "verified": VERIFIED_TASK,
    "replayed": REPLAYED_TASK,
    "waiting for another": WAITING_TASK,
}


def changed(task: View, row: Mapping[str, str | None] | None = None, **changes: Any) -> View:
    """The task with other fields in its row (None: without it), or with other facts beside it."""
    fields = {name: value for name, value in {**task.row, **(row or {})}.items() if value is not None}
    return replace(task, row=fields, **changes)


BROKEN: list[tuple[str, View]] = [
    ("crumb_chain", changed(QUEUED_TASK, crumbs=[])),
    ("crumb_chain", changed(FAILED_TASK, crumbs=[BORN, STARTED, FAILED])),
    ("crumb_chain", changed(QUEUED_TASK, crumbs=[crumb("held", "replay", "queued")])),
    ("crumb_legal", changed(FAILED_TASK, crumbs=[BORN, crumb("queued", "fail", "failed")])),
    ("crumb_legal", changed(FAILED_TASK, crumbs=[BORN, crumb("queued", "refused:fail", "failed")])),
    ("crumb_fold", changed(QUEUED_TASK, {"state": "held"})),
    ("crumb_fold", changed(QUEUED_TASK, {"state": "done"})),
    ("settled_once", changed(FAILED_TASK, crumbs=[*FAILED_TASK.crumbs, crumb("failed", "fail", "failed")])),
    ("settled_once", changed(FAILED_TASK, crumbs=[BORN])),
    ("claim_judged", changed(QUEUED_TASK, crumbs=[BORN, crumb("claimed_done", "requeue", "queued")])),
    ("fence_unique", changed(LEASED_TASK, crumbs=[BORN, LEASED, crumb("leased", "reap", "leased", 1, "1-a")])),
    ("fence_unique", changed(LEASED_TASK, {"fence": "1-b"})),
    ("attempt_records", changed(FAILED_TASK, attempts=[])),
    ("attempt_records", changed(FAILED_TASK, {"attempt": "2"})),
    ("attempt_records", changed(FAILED_TASK, attempts=[ENDED | {"fence": "1-b"}])),
    ("attempt_open", changed(FAILED_TASK, attempts=[OPEN | {"counted": True}])),
    ("attempt_open", changed(RUNNING_TASK, attempts=[ENDED | {"counted": False}])),
    ("attempt_open", changed(FAILED_TASK, attempts=[ENDED | {"outcome": None}])),
    ("counted_bound", changed(FAILED_TASK, {"counted": "0"})),
    ("counted_bound", changed(FAILED_TASK, {"max_attempts": "0"})),
    ("counted_bound", changed(REPLAYED_TASK, {"counted": "1"})),
    ("pickups", changed(LEASED_TASK, {"pickups": "0"})),
    ("pickups", changed(RUNNING_TASK, {"pickups": "1"})),
    ("deaths", changed(FAILED_TASK, {"deaths": "2"})),
    ("stale_field", changed(QUEUED_TASK, {"fence": "1-a"})),
    ("stale_field", changed(RUNNING_TASK, {"ended_at": "5"})),
    ("stale_field", changed(RUNNING_TASK, {"failure": FAILURE})),
    ("missing_field", changed(FAILED_TASK, {"failure": None})),
    ("missing_field", changed(VERIFIED_TASK, {"verdict": None})),
    ("missing_field", changed(DEFERRED_TASK, {"failure": None})),
    ("after", changed(WAITING_TASK, {"after_open": '["q"]'})),
    ("after", changed(WAITING_TASK, {"after_open": "[]"})),
    ("after", changed(WAITING_TASK, {"after_open": "?"})),
    ("after", changed(WAITING_TASK, {"after": '["p","t"]'})),
    ("after", changed(WAITING_TASK, crumbs=[*WAITING_TASK.crumbs, LEASED])),
    ("lists", changed(WAITING_TASK, due=7.0)),
    ("lease_agrees", changed(RUNNING_TASK, lease=None)),
    ("lease_agrees", changed(RUNNING_TASK, lease="1-b")),
    ("lease_agrees", changed(RUNNING_TASK, owner_known=False)),
    ("lists", changed(QUEUED_TASK, listed=None)),
    ("lists", changed(QUEUED_TASK, expires=None)),
    ("lists", changed(RUNNING_TASK, expires=9.0)),
    ("lists", changed(DEFERRED_TASK, due=8.0)),
    ("lists", changed(QUEUED_TASK, due=7.0)),
    ("counted_as", changed(QUEUED_TASK, counted=None)),
    ("counted_as", changed(RUNNING_TASK, counted=2.0)),
    ("counted_as", changed(VERIFIED_TASK, counted=99.0)),
    ("ended_as", changed(VERIFIED_TASK, ended={})),
    ("ended_as", changed(VERIFIED_TASK, ended={"verified": 6.0})),
    ("ended_as", changed(QUEUED_TASK, ended={"failed": 5.0})),
    ("rq_job", changed(QUEUED_TASK, job=None)),
    ("rq_job", changed(QUEUED_TASK, job={"status": "started"})),
    ("rq_job", changed(QUEUED_TASK, job={"status": "queued", "worker_name": "w"})),
    ("rq_job", changed(FAILED_TASK, job={"status": "failed"})),
    ("rq_place", changed(QUEUED_TASK, in_queue=0)),
    ("rq_place", changed(QUEUED_TASK, in_queue=2)),
    ("rq_place", changed(FAILED_TASK, in_queue=1)),
    ("rq_place", changed(FAILED_TASK, registries={"failed", "finished"})),
    ("rq_place", changed(RUNNING_TASK, started=[])),
    ("rq_place", changed(RUNNING_TASK, started=["1-b"])),
    ("rq_place", changed(QUEUED_TASK, started=["1-a"])),
    ("rq_result", changed(FAILED_TASK, results=["successful"])),
    ("rq_result", changed(VERIFIED_TASK, results=[])),
    ("rq_result", changed(QUEUED_TASK, results=["failed"])),
]


@pytest.mark.parametrize("task", WHOLE.values(), ids=WHOLE)
def test_whole_task_is_in_order(task: View) -> None:
    """Nothing is said of a task in which everything agrees."""
    assert check(task) == []


@pytest.mark.parametrize(("rule", "task"), BROKEN, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(BROKEN)])
def test_each_rule_speaks(rule: str, task: View) -> None:
    """A task in which one thing is broken is named by the rule about it, with a sentence."""
    found = {violation.rule: violation for violation in check(task)}
    assert rule in found
    assert found[rule].to_dict() == {"rule": rule, "subject": "t", "detail": found[rule].detail}
    assert len(found[rule].detail) > 10


def test_every_rule_is_tried() -> None:
    """Each rule has at least one broken task above."""
    assert {rule for rule, _ in BROKEN} == RULES.keys()
    assert RULES.keys() > VIEW_RULES


def test_docs_name_the_same_rules() -> None:
    """docs/invariants.md has a line for each rule, in the code's own words, and for no other."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCS, re.MULTILINE))
    for name, (meaning, _) in RULES.items():
        assert rows.get(name) == meaning
    for name, meaning in walks.RULES.items():
        assert rows.get(name) == meaning


def test_docs_name_what_the_simulator_checks() -> None:
    """Each word with which the simulator names a broken invariant stands in docs/invariants.md."""
    folder = Path(__file__).parents[1] / "simulation"
    texts = "".join((folder / name).read_text() for name in ("oracle.py", "network.py", "run.py"))
    words = set(re.findall(r"Broken\(\s*f?\"(\w+)(?::|_left)", texts)) - {"audit"}
    assert len(words) > 20
    assert {word for word in words if f"`{word}" not in DOCS} == set()
