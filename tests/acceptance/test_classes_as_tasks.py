"""What a task does for each class of failure: a real client library, a provider that misbehaves, real workers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proofq.policies import lifecycle
from proofq.workers.demo.provider import Provider
from proofq.workers.door import Event
from proofq.workers.record import Task
from tests.acceptance.harness import Site, crumbs_are_whole
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("classes_as_tasks")


@dataclass(frozen=True)
class Asking:
    """A site whose agents ask its provider."""

    site: Site
    provider: Provider

    def ask(self, behaviour: str) -> str:
        return self.site.enqueue("ask", url=self.provider.url, behaviour=behaviour)

    def ended(self, task_id: str) -> Task:
        """The task once its first failure has been answered: deferred by a class that waits, held, or ended."""
        return self.site.wait_for(task_id, [*lifecycle.TERMINAL, lifecycle.HELD])


@pytest.fixture(scope="module")
def asking() -> Iterator[Asking]:
    """One for all; a task waits 150 s by itself at most."""
    with Site({"max_wait_s": 150}) as site, Provider() as provider:
        shutil.copy(Path(__file__).with_name("surface") / "provider_agents.py", site.project)
        toml = site.project / "proofq.toml"
        toml.write_text(toml.read_text().replace("modules = [", 'modules = ["provider_agents", ', 1))
        site.start().wait_ready()
        yield Asking(site, provider)


def _rules(site: Site, task_id: str) -> list[tuple[str, str]]:
    """What was done about each failure: the event, and the rule that chose it."""
    return [(crumb.event, crumb.evidence) for crumb in site.snapshot(task_id).crumbs if "." in (crumb.evidence or "")]


#: What the provider does -> (state, class, attempts, what was done about each, calls).
ENDS = {
    "401@first": ("held", "auth", 1, [("hold", "auth.hold")], 1),
    "quota@first": ("held", "quota", 1, [("hold", "quota.hold")], 1),
    "429after7200@first": ("held", "rate_limited", 1, [("hold", "rate_limited.max_wait_s")], 1),
    "503@first": ("failed", "overloaded", 2, [("retry", "overloaded.retry"), ("fail", "overloaded.attempts")], 2),
    "reset@first": ("failed", "network", 2, [("retry", "network.retry"), ("fail", "network.attempts")], 2),
    "hang@first": ("failed", "timeout", 1, [("fail", "timeout.fail")], 1),
    "403@first": ("failed", "content_refused", 1, [("fail", "content_refused.fail")], 1),
    "context@first": ("failed", "context_overflow", 1, [("fail", "context_overflow.fail")], 1),
    "429-then-good@first": ("finished_unproven", "", 2, [("defer", "rate_limited.defer")], 2),
    "503-then-good@first": ("finished_unproven", "", 2, [("retry", "overloaded.retry")], 2),
}


def test_s5_each_class_has_its_own_action(asking: Asking) -> None:
    """S5: the same job, raising each class, ends each in its own way, with the rule recorded, and no call too many."""
    ids = {behaviour: asking.ask(behaviour) for behaviour in ENDS}
    for behaviour, (state, kind, attempts, rules, calls) in ENDS.items():
        task = asking.ended(ids[behaviour])
        story = asking.site.story(task.id)
        assert (task.state, task.failure.kind if task.failure else "") == (state, kind), story
        assert (task.attempt, _rules(asking.site, task.id)) == (attempts, rules), story
        assert asking.provider.calls()[behaviour] == calls
        assert crumbs_are_whole(asking.site.snapshot(task.id)) == []
    firsts = {rules[0] for _, _, _, rules, _ in ENDS.values()}
    assert len(firsts) >= 8


def _waited(site: Site, task: Task) -> float:
    """Seconds from the end of the attempt to the earliest next start."""
    crumb = next(crumb for crumb in reversed(site.snapshot(task.id).crumbs) if crumb.event in ("defer", "retry"))
    assert task.not_before is not None
    return (task.not_before - crumb.at) / 1000


def test_s6_a_time_that_was_said_is_kept_and_burns_nothing(asking: Asking) -> None:
    """S6: Retry-After 120 -> next start in [120, 121.1]; without it our own backoff of a second; neither is counted."""
    told = asking.site.wait_for(asking.ask("429after120@s6"), "deferred")
    assert told.failure is not None
    assert (told.failure.kind, told.failure.retry_after_s) == ("rate_limited", 120)
    assert 119.99 <= _waited(asking.site, told) <= 121.1
    silent = asking.ask("429@s6")
    # More often than the two attempts that would be counted, and it still only waits.
    until(lambda: len(_rules(asking.site, silent)) >= 3, 30.0, "three rate limits")
    task = asking.site.task(silent)
    assert task.failure is None or task.failure.retry_after_s is None
    assert set(_rules(asking.site, silent)) == {("defer", "rate_limited.defer")}
    assert (told.counted, task.counted) == (0, 0)


def test_s50_a_refused_key_is_asked_once_and_a_human_starts_it_again(asking: Asking) -> None:
    """S50, for one task: 401 is a failure that waits for a human, says what to do, and asks nobody meanwhile."""
    task_id = asking.ask("401x1-then-good@s50")
    task = asking.ended(task_id)
    assert (task.state, task.counted) == ("held", 0)
    crumb = asking.site.snapshot(task_id).crumbs[-1]
    assert "see to the credential, then `proofq replay` it" in crumb.reason
    assert asking.provider.calls()["401x1-then-good@s50"] == 1
    asking.site.session.door.apply(task_id, Event("replay", "test"))
    asking.site.wait_for(task_id, "finished_unproven")
    assert asking.provider.calls()["401x1-then-good@s50"] == 2


def test_s57_what_nobody_knows_is_unknown_and_told_apart(asking: Asking) -> None:
    """S57: an error nobody has a rule for fails at once as `unknown`, and two of them have one fingerprint."""
    ended = [asking.ended(asking.site.enqueue("odd")) for _ in range(2)]
    assert {(task.state, task.failure.kind if task.failure else "", task.attempt) for task in ended} == {
        ("failed", "unknown", 1)
    }
    prints: set[Any] = {task.failure.fingerprint for task in ended if task.failure}
    assert len(prints) == 1
    assert "" not in prints
