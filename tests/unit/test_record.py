"""Rows are read as Redis has them, whatever bytes stand in them."""

from __future__ import annotations

from typing import Any

import pytest

from proofq.workers.record import Task

ROW = {
    "agent": "a", "lane": "work", "queue": "work.a", "state": "queued", "inputs": "{}", "enqueued_at": "1",
    "expires_at": "2", "max_age_s": "3", "attempt": "0", "counted": "0", "max_attempts": "3",
}  # fmt: skip


def raw(**more: bytes) -> dict[bytes, bytes]:
    return {name.encode(): text.encode() for name, text in ROW.items()} | {
        name.encode(): value for name, value in more.items()
    }


@pytest.mark.parametrize("odd", [b"", b"a\0b", b"\0", b"\xff", b"a\xc3", b"\xa9\0\0", "ü".encode()])
def test_each_value_is_decoded_by_itself(odd: bytes) -> None:
    """Also where one holds a NUL, or the half of a character; as a mapping and as a script's flat list."""
    row = raw(owner=odd, slot=b"7")
    flat = [part for pair in row.items() for part in pair]
    for given in (row, flat):
        task = Task.parse("t", given)
        assert (task.owner, task.slot) == (odd.decode("utf-8", "surrogateescape"), "7")
        assert task.fields == {*ROW, "owner", "slot"}


@pytest.mark.parametrize(
    "given", [raw() | {b"\xff": b"1"}, [b"agent"], [], {}], ids=["name", "cut", "empty", "nothing"]
)
def test_what_is_no_row_is_refused(given: Any) -> None:
    """A name that is no text, and a row that is cut off."""
    with pytest.raises(ValueError, match=r"utf-8|cannot be read|zip"):
        Task.parse("t", given)
