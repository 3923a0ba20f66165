"""Thirty of the kills of `make chaos-kill`."""

from __future__ import annotations

import os
import secrets
from collections import Counter

import pytest

from tests.acceptance.chaos_kill import campaign
from tests.acceptance.processes import ROLES


@pytest.mark.timeout(180)
def test_thirty_kills() -> None:
    """Any process of a worker is killed at any moment, and every task still ends once and nothing is left."""
    seed = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
    print(f"seed {seed}")
    report = campaign(30, seed, workers=2)
    print(report.table())
    assert report.wrong == []
    assert min(Counter(kill.role for kill in report.kills)[role] for role in ROLES) >= 4
    assert report.with_live >= 0.7
