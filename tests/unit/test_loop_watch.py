"""A loop that stands still is seen, and a watch that itself stood still judges nobody."""

from __future__ import annotations

from proofq.policies import loop_watch
from proofq.policies.loop_watch import Page, Watch

EVERY_S = 0.25


def _seen(*looks: tuple[float, Page]) -> float:
    """For how long the loop stood still after these looks."""
    watch = loop_watch.begin(0.0)
    for now_s, page in looks:
        watch = loop_watch.look(watch, page, now_s, EVERY_S)
    return loop_watch.blocked_s(watch)


def _every(count: int, page: Page, start_s: float = 0.0) -> list[tuple[float, Page]]:
    return [(start_s + EVERY_S * (number + 1), page) for number in range(count)]


def test_one_step_that_goes_on_counts_from_when_it_was_first_seen() -> None:
    """The same step at every look: its time adds up, less the part before the first look."""
    assert _seen(*_every(9, Page(7, 20, 3))) == 8 * EVERY_S


def test_another_step_or_turn_begins_anew() -> None:
    """Of the same attempt as well: many short steps are no long one."""
    page = Page(7, 20, 3)
    for changed in (page._replace(steps=21), page._replace(turns=4), page._replace(running=0)):
        assert _seen(*_every(9, page), *_every(2, changed, 9 * EVERY_S)) == EVERY_S


def test_a_late_look_judges_nobody() -> None:
    """Who watches was stopped, so perhaps the loop was, too."""
    page = Page(7, 20, 3)
    assert _seen((0.25, page), (30.0, page)) == 0.0
    assert _seen((0.25, page), (30.0, page), (30.25, page)) == EVERY_S


def test_a_new_watch_knows_of_nothing() -> None:
    """Nothing has stood still yet."""
    assert loop_watch.begin(5.0) == Watch(Page(0, 0, 0), 5.0, 5.0)
    assert loop_watch.blocked_s(loop_watch.begin(5.0)) == 0.0
