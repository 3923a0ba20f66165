"""`must_call`: an agent whose parts were never called is found out, however good its claim and its proofs look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.harness import Site, one_end

AGENTS = """
import asyncio
import pathlib

import proofq


@proofq.step
def plan(doc):
    return doc.upper()


@proofq.step
async def write(out, text):
    await asyncio.sleep(0)
    pathlib.Path(out).write_text(text)


OPTIONS = dict(timeout_s=60, max_attempts=2, must_call=["plan", "write"])


@proofq.agent(proofs=[proofq.proofs.file("{out}", min_bytes=1)], **OPTIONS)
def wired(ctx, how: str, out: str) -> dict:
    text = plan("text") if how in ("good", "fails") else "TEXT"  # a stub stands where the part was to be called
    if how == "fails":
        raise ValueError("after its plan")
    if how in ("good", "unplanned"):
        asyncio.run(write(out, text))
    else:
        pathlib.Path(out).write_text(text)
    return {"done": True}


@proofq.agent(proofs=[proofq.proofs.file("{out}", min_bytes=1)], **OPTIONS)
async def wired_async(ctx, how: str, out: str) -> dict:
    text = await asyncio.to_thread(plan, "text") if how == "good" else "TEXT"
    await write(out, text)
    return {"done": True}


@proofq.agent(unproven=True, **OPTIONS)
def unproven(ctx, how: str) -> dict:
    plan("text")
    return {"done": True}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with agents in two parts."""
    with Site() as made:
        (made.project / "wired_agents.py").write_text(AGENTS)
        toml = made.project / "proofq.toml"
        text = toml.read_text()
        assert "modules = [" in text
        toml.write_text(text.replace("modules = [", 'modules = ["wired_agents", ', 1))
        made.start().wait_ready()
        yield made


@pytest.mark.parametrize(
    ("how", "missing", "called"),
    [("good", [], ["plan", "write"]), ("unplanned", ["plan"], ["write"]), ("stub", ["plan", "write"], [])],
)
def test_s34_s35_a_part_that_was_never_called(site: Site, how: str, missing: list[str], called: list[str]) -> None:
    """The file is there and its proof would hold; without all of its steps the claim is unverified, and names them."""
    task_id = site.enqueue("wired", how=how, out=site.out(f"wired-{how}"))
    task = site.wait_for(task_id, "quarantined" if missing else "verified", 30.0)
    snapshot = site.snapshot(task_id)
    assert one_end(snapshot) == []
    assert all(record.get("steps", []) == called for record in snapshot.attempts)
    verdict: Any = task.verdict
    if not missing:
        assert [proof["kind"] for proof in verdict["proofs"]] == ["file"]
        return
    assert (task.failure and task.failure.kind, len(snapshot.attempts)) == ("unverified", 2)
    [proof] = verdict["proofs"]
    assert (verdict["outcome"], proof["kind"]) == ("unverified", "must_call")
    assert (proof["evidence"]["missing"], proof["evidence"]["claim"]) == (missing, {"done": True})
    assert f"never finished {', '.join(missing)}" in site.story(task_id)


def test_async_attempts_keep_their_steps_apart(site: Site) -> None:
    """Side by side in one process, each has called what it has called itself."""
    ends = {"good": ("verified", ["plan", "write"]), "unplanned": ("quarantined", ["write"])}
    ids = [(how, site.enqueue("wired_async", how=how, out=site.out(f"a{n}"))) for n, how in enumerate(list(ends) * 4)]
    for how, task_id in ids:
        state, called = ends[how]
        site.wait_for(task_id, state, 30.0)
        assert all(record["steps"] == called for record in site.snapshot(task_id).attempts)


def test_a_failure_keeps_what_was_called(site: Site) -> None:
    """An attempt that raises is judged by what it raised; its record tells how far it came."""
    task_id = site.enqueue("wired", how="fails", out=site.out("wired-fails"))
    site.wait_for(task_id, ["failed", "quarantined"], 30.0)
    assert [record["steps"] for record in site.snapshot(task_id).attempts] == [["plan"]] * 2


def test_an_unproven_agent_is_held_to_its_steps(site: Site) -> None:
    """`unproven` leaves out the proofs, not the steps."""
    task_id = site.enqueue("unproven", how="x")
    task = site.wait_for(task_id, "quarantined", 30.0)
    assert task.failure is not None
    assert "never finished write," in task.failure.reason
