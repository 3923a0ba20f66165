"""No part of a password survives `redact`, however broken the URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.workers.connection import redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:secret@host:6380/3", "redis://host:6380/3"),
        ("rediss://:secret@host", "rediss://host"),
        ("redis://", "redis://localhost"),
        ("redis://host/0?password=secret", "redis://host/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("unix://user:secret@/run/redis.sock", "unix:///run/redis.sock"),
        ("redis://:sec/ret@host", "redis://..."),
        ("redis://:sec#ret@host:1", "redis://..."),
        ("redis://:sec?ret@host:1", "redis://..."),
        ("redis://user:secret", "redis://..."),
        ("user:secret@host", "..."),
        ("", "..."),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    """Place and database stay, user, password and options go; in doubt only the scheme stays."""
    assert redact(url) == shown


@given(st.text(st.characters(exclude_characters="", codec="utf-8"), max_size=12), st.sampled_from(["redis", "unix"]))
def test_unescaped_passwords_do_not_show(noise: str, scheme: str) -> None:
    """A password put in raw, whatever it holds, is not shown."""
    url = f"{scheme}://user:{noise}Hunter2{noise}@host:6379/0"
    assert "hunter2" not in redact(url).lower()
