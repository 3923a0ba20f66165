"""`ctx.once` with real workers: an outside effect is not repeated by whatever ends an attempt, and never blindly."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofq.workers import effects, keys
from tests.acceptance.harness import Site, one_end
from tests.waiting import until

#: One process has the site and its worker for all of them.
pytestmark = pytest.mark.xdist_group("once")
#: The world is a file of one line per effect; `how` says where an attempt dies, in its first attempt.
AGENTS = """
import asyncio
import os
import pathlib
import signal

import proofq

PROOFS = [proofq.proofs.file("{out}", min_bytes=1)]


def act(world, how, ctx):
    if how == "before" and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(world, "a") as file:
        file.write("done\\n")
    if how == "between" and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raises":
        raise ConnectionResetError("after it was sent")
    if how == "not done" and ctx.attempt == 1:
        pathlib.Path(world).unlink()
        raise proofq.NotDone("refused") from ConnectionRefusedError("nobody listens")
    return {"lines": len(pathlib.Path(world).read_text().split()), "attempt": ctx.attempt}


def there(world):
    path = pathlib.Path(world)
    return {"found": True} if path.exists() else None


@proofq.agent(timeout_s=60, max_attempts=4, proofs=PROOFS)
def acts(ctx, world: str, out: str, how: str, checked: bool) -> dict:
    check = (lambda: there(world)) if checked else None
    outcome = ctx.once("line", lambda: act(world, how, ctx), check=check)
    again = ctx.once("line", lambda: 1 / 0)
    if how == "after" and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    pathlib.Path(out).write_text("x")
    return {"outcome": outcome, "again": again}


@proofq.agent(timeout_s=60, max_attempts=4, proofs=PROOFS)
async def acts_async(ctx, world: str, out: str, how: str, checked: bool) -> dict:
    async def fn():
        await asyncio.sleep(0)
        return act(world, how, ctx)

    async def check():
        return there(world)

    outcome = await ctx.once("line", fn, check=check if checked else None)
    if how == "after" and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    both = await asyncio.gather(ctx.once("a", lambda: 1), ctx.once("b", lambda: 2))
    pathlib.Path(ctx.workdir / out).write_text("x")
    return {"outcome": outcome, "both": both}


@proofq.agent(timeout_s=60, max_attempts=1, unproven=True)
def wrong(ctx, how: str) -> list:
    def twice():
        return ctx.once("k", lambda: ctx.once("k", lambda: 1))

    async def coroutine():
        return 1

    tries = {
        "key": lambda: ctx.once("", lambda: 1),
        "outcome": lambda: ctx.once("o", lambda: object()),
        "large": lambda: ctx.once("l", lambda: "x" * 20000),
        "nested": twice,
        "coroutine": lambda: ctx.once("c", coroutine),
        "many": lambda: [ctx.once(f"n{n}", lambda: None) for n in range(257)],
    }
    try:
        return [how, tries[how]()]
    except Exception as error:
        return [type(error).__name__, str(error)]


@proofq.agent(timeout_s=60, max_attempts=1, unproven=True)
def waits(ctx, go: str) -> str:
    import time

    def fn():
        while not pathlib.Path(go).exists():
            time.sleep(0.05)
        return "went"

    return ctx.once("wait", fn)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site whose agents change the world."""
    with Site() as made:
        (made.project / "acting.py").write_text(AGENTS)
        toml = made.project / "proofq.toml"
        toml.write_text(toml.read_text().replace("modules = [", 'modules = ["acting", ', 1))
        made.start().wait_ready()
        yield made


def proofq(site: Site, *words: str) -> Any:
    """What a command prints as JSON, and its exit code."""
    done = site.inside(*words, "--json")
    return done.document, done.code


def begin(site: Site, agent: str, how: str, *, checked: bool) -> tuple[str, Path]:
    """Enqueue a task and give its id and its world."""
    world = site.files / f"{agent}-{how}-{checked}-{secrets.token_hex(4)}"
    out = site.out(f"{world.name}.out")
    return site.enqueue(agent, world=str(world), out=out, how=how, checked=checked), world


def lines(world: Path) -> int:
    """How often the effect is there."""
    return len(world.read_text().split()) if world.exists() else 0


@pytest.mark.parametrize("agent", ["acts", "acts_async"])
@pytest.mark.parametrize(
    ("how", "checked", "who"),
    [
        ("well", False, "attempt"), ("after", False, "attempt"), ("before", True, "attempt"),
        ("between", True, "check"), ("not done", False, "attempt"),
    ],
)  # fmt: skip
def test_s40_the_effect_is_there_exactly_once(site: Site, agent: str, how: str, checked: bool, who: str) -> None:
    """Killed with -9 before, during or after it, or refused by the other side: verified in the end, with one effect."""
    task_id, world = begin(site, agent, how, checked=checked)
    site.wait_for(task_id, "verified")
    assert lines(world) == 1
    found = {one["key"]: one for one in effects.listed(site.store, task_id, "")}
    assert found["line"]["state"] == "done"
    assert found["line"]["who"] == who
    first = site.snapshot(task_id).attempts[0]
    if how in {"before", "between", "after"}:
        assert "SIGKILL" in first["reason"] or "signal 9" in first["reason"], first
    claim = site.task(task_id).claim
    assert claim["outcome"] == found["line"]["outcome"]
    assert claim["outcome"] == (
        {"found": True} if who == "check" else {"lines": 1, "attempt": found["line"]["attempt"]}
    )
    assert one_end(site.snapshot(task_id)) == []
    assert site.client.zcard(keys.UNCONFIRMED) == 0


@pytest.mark.parametrize("agent", ["acts", "acts_async"])
@pytest.mark.parametrize(("how", "there"), [("before", False), ("between", True), ("raises", True)])
def test_s16_without_a_check_it_is_held_until_a_human_says(site: Site, agent: str, how: str, there: bool) -> None:
    """Nothing is repeated; it is listed wherever one looks, and what a human says decides."""
    task_id, world = begin(site, agent, how, checked=False)
    task = site.wait_for(task_id, "held")
    assert task.failure is not None
    assert task.failure.kind == "effect_unknown"
    assert lines(world) == int(there)
    listed, _ = proofq(site, "effect", "list")
    assert [(one["task"], one["key"], one["state"]) for one in listed["items"]] == [(task_id, "line", "unconfirmed")]
    assert proofq(site, "show", task_id)[0]["effects"][0]["state"] == "unconfirmed"
    assert f"proofq effect absent {task_id} KEY" in proofq(site, "why", task_id)[0]["text"]
    assert any("begun and never confirmed" in one for one in proofq(site, "status")[0]["attention"])
    # A replay alone changes nothing: it is held again, with nothing done.
    proofq(site, "replay", task_id)
    until(lambda: site.task(task_id).attempt >= 3 and site.task(task_id).state == "held", 30.0, "held again")
    assert lines(world) == int(there)
    if there:
        said, code = proofq(site, "effect", "done", task_id, "line", "--outcome", '{"by": "hand"}')
    else:
        said, code = proofq(site, "effect", "absent", task_id, "line")
    assert code == 0
    assert said["items"][0]["said"] == ("done" if there else "absent")
    assert proofq(site, "effect", "list")[0]["items"] == []
    proofq(site, "replay", task_id)
    site.wait_for(task_id, "verified")
    assert lines(world) == 1
    assert (site.task(task_id).claim["outcome"] == {"by": "hand"}) == there
    assert proofq(site, "audit")[0]["violations"] == []


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("key", "BadInput", "a key is text"), ("outcome", "BadInput", "is no JSON"), ("large", "BadInput", "at most"),
        ("nested", "BadInput", "under way in this attempt"), ("coroutine", "NotDone", "def agent"),
        ("many", "BadInput", "256 keys"),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_refused(site: Site, how: str, error: str, words: str) -> None:
    """By a sentence, in the attempt."""
    task_id = site.enqueue("wrong", how=how)
    said = site.wait_for(task_id, "finished_unproven").claim
    assert said[0] == error
    assert words in said[1]


def test_who_runs_is_under_way_and_nobody_may_say_what_became_of_it(site: Site) -> None:
    """While its attempt lives an intent is no riddle: listed as such, and refused to a human."""
    go = Path(site.out("go-once"))
    task_id = site.enqueue("waits", go=str(go))
    one = until(lambda: proofq(site, "effect", "list", task_id)[0]["items"], 30.0, "the intent")[0]
    assert one["state"] == "under_way"
    said, code = proofq(site, "effect", "done", task_id, "wait")
    assert (code, said["error"]["kind"]) == (1, "refused")
    go.touch()
    site.wait_for(task_id, "finished_unproven")
    assert proofq(site, "effect", "list", task_id)[0]["items"][0]["outcome"] == "went"
    said, code = proofq(site, "effect", "done", task_id, "wait")
    assert (code, said["error"]["kind"]) == (1, "refused")
    assert proofq(site, "effect", "absent", "nobody", "wait")[1] == 1


def test_a_supervisor_that_dies_between_leaves_the_intent(site: Site) -> None:
    """kill -9 of the supervisor while the effect is under way: the next attempt does not repeat it."""
    with Site() as own:
        (own.project / "acting.py").write_text(AGENTS)
        toml = own.project / "proofq.toml"
        toml.write_text(toml.read_text().replace("modules = [", 'modules = ["acting", ', 1))
        worker = own.start().wait_ready()
        task_id = own.enqueue("waits", go="/never")
        until(lambda: effects.of_task(own.store, task_id), 30.0, "the intent")
        worker.one("supervisor").signal(signal.SIGKILL)
        task = own.wait_for(task_id, "held")
        assert task.failure is not None
        assert task.failure.kind == "effect_unknown"
        assert [one["state"] for one in effects.listed(own.store, task_id, task.fence)] == ["unconfirmed"]
