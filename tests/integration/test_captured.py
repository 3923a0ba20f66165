"""What `proofq logs` reads of attempts that have no folder here."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from proofq.workers import captured
from proofq.workers.door import Event
from proofq.workers.errors import Error
from tests.heart import CLAIM, START, VERDICT, Heart, birth

VERIFY = Event("verify", "worker", verdict=VERDICT)


def _ended(client: redis.Redis, start: Event, end: Event) -> Heart:
    """Task t, after an attempt on this host that began and ended so."""
    heart = Heart(client)
    heart.enlist("o")
    heart.store.enqueue(birth("t"))
    lease = heart.store.lease(replace(heart.wish(), host=socket.gethostname()))
    assert lease is not None
    heart.settled(lease, end, before=(start, CLAIM))
    return heart


@pytest.mark.parametrize("end", [VERIFY, Event("hold", "worker", outcome="cannot_tell")], ids=["packed", "not packed"])
def test_an_attempt_without_a_folder_has_printed_nothing(redis_client: redis.Redis, tmp_path: Path, end: Event) -> None:
    """One that shares its process, and neither printed nor asked for its folder."""
    shared = replace(START, fields={**START.fields, "shared": True})
    heart = _ended(redis_client, shared, end)
    assert captured.read(heart.store, "t", tmp_path).tail == ""


def test_a_folder_that_is_gone_is_said_to_be(redis_client: redis.Redis, tmp_path: Path) -> None:
    """One with a process of its own had a folder: what it printed is not there any more."""
    heart = _ended(redis_client, START, VERIFY)
    with pytest.raises(Error, match="There is no output of attempt 1"):
        captured.read(heart.store, "t", tmp_path)
