"""The table of transitions, and RQ's view of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proofq.policies import lifecycle
from proofq.policies.lifecycle import EVENTS, FIELDS, OWNED, RQ_STATUS, STATES, SUCCESS, TABLE, TERMINAL, WAITING

MOVES = {(source, event): to for (source, event), to in TABLE.items() if source is not None}


def test_every_state_is_of_one_kind() -> None:
    """Worked on, waiting or ended, never two of them; successes are ends."""
    assert len(STATES) == 12
    assert STATES.keys() == OWNED | WAITING | TERMINAL
    assert len(OWNED) + len(WAITING) + len(TERMINAL) == 12
    assert SUCCESS < TERMINAL


def test_every_state_is_reached() -> None:
    """From nothing, by moves of the table alone."""
    reached: set[str | None] = {None}
    while more := {to for (source, _), to in TABLE.items() if source in reached} - reached:
        reached |= more
    assert reached == {None, *STATES}


def test_every_state_can_end() -> None:
    """From each state a terminal one can be reached, so no task is stuck."""
    ends: set[str] = set(TERMINAL)
    while more := {source for (source, _), to in MOVES.items() if to in ends} - ends:
        ends |= more
    assert ends == STATES.keys()


def test_only_replay_leaves_an_end() -> None:
    """A success is not left at all; another end only by a human's replay, which queues, or waits for others again."""
    left = {(source, event, to) for (source, event), to in MOVES.items() if source in TERMINAL and to != source}
    again = {(source, "replay_after", "deferred") for source in ("cancelled", "expired")}
    assert left == {(source, "replay", "queued") for source in TERMINAL - SUCCESS} | again


def test_claimed_work_is_not_queued_again() -> None:
    """Work that was claimed is judged by its proofs: nothing leads from it to queued."""
    assert "queued" not in {to for (source, _), to in MOVES.items() if source == "claimed_done"}


def test_verified_only_through_proofs() -> None:
    """Proofs lead to the one success, from a claim or found held; only a claim to the unproven one."""
    into = {(source, event) for (source, event), to in MOVES.items() if to in SUCCESS and to != source}
    assert into == {
        ("claimed_done", "verify"),
        ("claimed_done", "finish_unproven"),
        ("leased", "found"),
        ("running", "found"),
    }


def test_who_waits_can_be_cancelled_and_expires() -> None:
    """Every state of waiting is bounded, every state but an end can be cancelled or asked to."""
    for state in WAITING:
        assert TABLE[state, "cancel"] == "cancelled"
        assert TABLE[state, "expire"] == "expired"
    for state in OWNED:
        assert TABLE[state, "ask_cancel"] == state == TABLE[state, "reap"]
        assert TABLE[state, "cancel"] == "cancelled"


def test_rq_map_is_total() -> None:
    """Every state shows as one status of RQ's: worked on as started, success as finished."""
    assert RQ_STATUS.keys() == STATES.keys()
    assert {RQ_STATUS[state] for state in OWNED} == {"started"}
    assert {RQ_STATUS[state] for state in SUCCESS} == {"finished"}
    assert {RQ_STATUS[state] for state in TERMINAL} == {"finished", "failed", "canceled"}
    assert {RQ_STATUS[state] for state in WAITING} == {"queued", "deferred"}


@given(st.one_of(st.none(), st.sampled_from(sorted(STATES)), st.text()), st.sampled_from(sorted(EVENTS)) | st.text())
def test_next_state_knows_the_table_only(state: str | None, event: str) -> None:
    """Any other pair leads nowhere and raises nothing."""
    assert lifecycle.next_state(state, event) == TABLE.get((state, event))


def test_sources_and_scrubbed_agree_with_the_table() -> None:
    """Both are read off the same tables."""
    for event in EVENTS:
        assert lifecycle.sources(event) == {source for source, name in MOVES if name == event}
    for state in STATES:
        assert set(lifecycle.scrubbed(state)) == {name for name, states in FIELDS.items() if state not in states}
    assert {"fence", "owner", "slot", "cancel", "started_at"} <= set(lifecycle.scrubbed("queued"))


def test_refusals_are_no_moves() -> None:
    """A breadcrumb's word for a refusal is no event of the table."""
    assert lifecycle.is_refused("refused:claim")
    assert not any(lifecycle.is_refused(event) for event in EVENTS)
