"""The settings of a worker: where each comes from, and what is refused with its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from proofq.policies.incident_rules import Rules
from proofq.policies.retention import Retention
from proofq.workers.errors import BadInput, DeclarationError
from proofq.workers.settings import Settings, resolve, resolve_incidents

ROOT = Path("/project")
#: What is no key of [worker].
APART = ("state_dir", "retention", "incidents")


def _resolve(table: Any = None, environ: Any = None, options: Any = None) -> Settings:
    return resolve(ROOT, table or {}, environ or {}, options, lambda key: f"proofq.toml:7: [worker] {key}")


def test_defaults_are_the_contracts() -> None:
    """Nothing said gives the documented defaults."""
    assert dataclasses.asdict(_resolve()) == {
        "state_dir": ROOT / ".proofq",
        "slots": 8,
        "meta_slots": 1,
        "supervisors": 1,
        "isolation_s": 90.0,
        "drain_s": 30.0,
        "max_pickups": 5,
        "max_deaths": 3,
        "max_equal_crashes": 2,
        "max_wait_s": 3600.0,
        "loop_blocked_s": 10.0,
        "disk_quota_mib": 0,
        "retention": dataclasses.asdict(Retention()),
        "incidents": dataclasses.asdict(Rules()),
    }


def test_the_last_one_wins() -> None:
    """Defaults < proofq.toml < variables < options; an option not given and an empty variable say nothing."""
    table = {"slots": 2, "meta_slots": 2, "drain_s": 2, "isolation_s": 20}
    environ = {"PROOFQ_SLOTS": "3", "PROOFQ_META_SLOTS": "3", "PROOFQ_DRAIN_S": "", "PROOFQ_SHINY": "x"}
    found = _resolve(table, environ, {"slots": 4, "meta_slots": None, "lane": "work"})
    assert (found.slots, found.meta_slots, found.drain_s, found.isolation_s) == (4, 3, 2.0, 20.0)
    assert found.max_pickups == 5


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Settings) if each.name not in APART])
def test_every_setting_has_its_three_places(name: str) -> None:
    """Each setting can be said in proofq.toml, in a variable and as an option, by one name."""
    assert getattr(_resolve({name: 33}), name) == 33
    assert getattr(_resolve({name: 33}, {f"PROOFQ_{name.upper()}": "34"}), name) == 34
    assert getattr(_resolve({name: 33}, {f"PROOFQ_{name.upper()}": "34"}, {name: 35}), name) == 35


def test_seconds_are_floats_and_counts_are_not() -> None:
    """Seconds may be fractions, and are floats wherever they come from; counts are integers."""
    found = _resolve({"isolation_s": 12, "drain_s": 0.5}, {"PROOFQ_DRAIN_S": "2.5", "PROOFQ_SLOTS": "4"})
    assert [repr(each) for each in (found.isolation_s, found.drain_s, found.slots)] == ["12.0", "2.5", "4"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", ROOT / ".proofq"), ("var", ROOT / "var"), ("/var/proofq", Path("/var/proofq"))],
)
def test_the_state_directory(value: str, expected: Path) -> None:
    """PROOFQ_STATE_DIR names it; a relative one lies in the project."""
    assert _resolve({}, {"PROOFQ_STATE_DIR": value}).state_dir == expected


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"slot": 1}, "unknown key 'slot' of [worker]; known are slots, meta_slots, supervisors, "),
        ({"state_dir": "x"}, "unknown key 'state_dir'"),
        ({"slots": 0}, "slots is 0; it is a whole number from 1 to 4096"),
        ({"slots": True}, "slots is True; it is a whole number"),
        ({"slots": 1.0}, "slots is 1.0; it is a whole number"),
        ({"slots": "8"}, "slots is '8'; it is a whole number"),
        ({"meta_slots": -1}, "meta_slots is -1; it is a whole number from 0"),
        ({"isolation_s": 11.9}, "isolation_s is 11.9; it is a number of seconds from 12"),
        ({"drain_s": -1}, "drain_s is -1; it is a number of seconds from 0"),
        ({"drain_s": float("inf")}, "drain_s is inf; "),
        ({"drain_s": float("nan")}, "drain_s is nan; "),
        ({"max_deaths": 0}, "max_deaths is 0; it is a whole number from 1"),
        ({"max_pickups": []}, "max_pickups is []; it is a whole number from 1"),
    ],
)
def test_refused_in_the_file(table: dict[str, Any], sentence: str) -> None:
    """A bad key or value of proofq.toml is refused with its line."""
    with pytest.raises(DeclarationError) as caught:
        _resolve(table)
    assert str(caught.value).startswith("proofq.toml:7: ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("text", ["x", "0", "1.5", "inf", "nan", "1_0", "9" * 30, "-3"])
def test_refused_in_a_variable(text: str) -> None:
    """A bad variable is refused by its name."""
    with pytest.raises(BadInput, match=r"^PROOFQ_SLOTS: slots is .*; it is a whole number from 1 to 4096$"):
        _resolve({}, {"PROOFQ_SLOTS": text})


def test_refused_as_an_option() -> None:
    """A bad option is refused by its name."""
    with pytest.raises(BadInput, match=r"^--drain-s: drain_s is -1\.0; it is a number of seconds from 0 to "):
        _resolve({}, {}, {"drain_s": -1.0})


def test_a_value_that_is_overridden_is_not_looked_at() -> None:
    """What a later place replaces need not be right, so that a bad file can be worked around."""
    assert _resolve({"slots": 0}, {"PROOFQ_SLOTS": "x"}, {"slots": 2}).slots == 2


def test_incidents_have_a_table_and_variables() -> None:
    """[incidents] and PROOFQ_INCIDENTS_*; what is wrong says where, and a URL in place of a name is not repeated."""

    def resolved(table: Any, environ: Any = None) -> Rules:
        return resolve_incidents(table, environ or {}, lambda _key: "proofq.toml:3: [incidents]")

    assert resolved({}) == Rules()
    assert resolved({"threshold": 5}, {"PROOFQ_INCIDENTS_THRESHOLD": "7"}).threshold == 7
    assert resolved({}, {"PROOFQ_INCIDENTS_NOTIFY_URLS_ENV": "MY_URLS"}).notify_urls_env == "MY_URLS"
    with pytest.raises(DeclarationError, match=r"proofq.toml:3: \[incidents\]: threshold is 0"):
        resolved({"threshold": 0})
    with pytest.raises(BadInput, match="PROOFQ_INCIDENTS_MAX_ESCALATIONS: max_escalations is 99"):
        resolved({}, {"PROOFQ_INCIDENTS_MAX_ESCALATIONS": "99"})
    with pytest.raises(DeclarationError, match="not the URLs themselves") as caught:
        resolved({"notify_urls_env": "slack://secret"})
    assert "secret" not in str(caught.value)
