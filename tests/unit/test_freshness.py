"""The rule of freshness, by what can be on a disk before and after."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofq.policies.freshness import FileRecord, Fresh, NotFresh, born_since, fresh, same_object

MARKER = 1_000
ABSENT = FileRecord("absent")
OLD = FileRecord("file", 1, 10, 5, ctime_ns=900, btime_ns=800, digest="old")
#: Made, written in place, touched, replaced by rename, moved in.
BORN = FileRecord("file", 1, 11, 5, ctime_ns=1_500, btime_ns=1_500, digest="new")
WRITTEN = replace(OLD, ctime_ns=1_500, digest="new")
TOUCHED = replace(OLD, ctime_ns=1_500)
MOVED_IN = FileRecord("file", 1, 12, 6, ctime_ns=1_500, btime_ns=700, digest="other")

RECORDS = st.builds(
    FileRecord,
    kind=st.sampled_from(["absent", "file", "symlink", "directory"]),
    dev=st.just(1),
    inode=st.integers(1, 3),
    size=st.integers(0, 2),
    ctime_ns=st.integers(998, 1_002),
    btime_ns=st.none() | st.integers(998, 1_002),
    digest=st.none() | st.sampled_from("ab"),
)
FILES = RECORDS.map(lambda record: replace(record, kind="file"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ABSENT, BORN),
        (OLD, WRITTEN),
        (OLD, BORN),
        (replace(OLD, kind="symlink"), BORN),
        (OLD, replace(OLD, ctime_ns=1_500, size=9)),
    ],
    ids=["made", "written in place", "replaced by rename", "a link replaced", "appended to"],
)
def test_honest_work_is_fresh(before: FileRecord, after: FileRecord) -> None:
    """New files, new content in place and replacing by rename are this task's work."""
    assert isinstance(fresh(before, after, MARKER, same_ok=False), Fresh)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OLD, OLD),
        (OLD, TOUCHED),
        (ABSENT, MOVED_IN),
        (OLD, MOVED_IN),
        (ABSENT, replace(BORN, ctime_ns=MARKER)),
        (ABSENT, replace(BORN, btime_ns=MARKER)),
        (OLD, replace(BORN, digest="old")),
    ],
    ids=["left", "touched", "moved in", "moved over", "in the marker's tick", "born in its tick", "same bytes"],
)
def test_old_work_is_not_fresh(before: FileRecord, after: FileRecord) -> None:
    """What was there, was touched, or came from elsewhere in its old age proves nothing."""
    judged = fresh(before, after, MARKER, same_ok=False)
    assert isinstance(judged, NotFresh)
    assert judged.certain


def test_same_ok_asks_for_the_change_time_alone() -> None:
    """With same_ok rewriting the same bytes is enough, doing nothing is not."""
    assert isinstance(fresh(OLD, TOUCHED, MARKER, same_ok=True), Fresh)
    assert isinstance(fresh(OLD, OLD, MARKER, same_ok=True), NotFresh)


def test_without_birth_times_the_rule_does_without_and_says_so() -> None:
    """Where birth is not reported a new file is fresh by its change time, and the evidence can tell."""
    judged = fresh(ABSENT, replace(MOVED_IN, btime_ns=None), MARKER, same_ok=False)
    assert judged == Fresh("was not there before the task started", birth_known=False)
    judged = fresh(replace(OLD, btime_ns=None), replace(WRITTEN, btime_ns=None), MARKER, same_ok=False)
    assert judged == Fresh("its content is not what it was before the task started", birth_known=True)


def test_unknown_content_is_told_from_unchanged_content() -> None:
    """Where the earlier content could not be read and the size is the same, nobody can tell."""
    judged = fresh(replace(OLD, digest=None), TOUCHED, MARKER, same_ok=False)
    assert isinstance(judged, NotFresh)
    assert not judged.certain
    assert isinstance(fresh(replace(OLD, digest=None), replace(TOUCHED, size=6), MARKER, same_ok=False), Fresh)


@pytest.mark.parametrize(
    ("after", "same"),
    [
        (TOUCHED, True),
        (replace(TOUCHED, dev=7), True),
        (replace(TOUCHED, inode=99), False),
        (replace(TOUCHED, btime_ns=1_400), False),
        (replace(TOUCHED, btime_ns=None), True),
        (replace(TOUCHED, btime_ns=None, dev=7), False),
    ],
    ids=["same", "renumbered device", "other inode", "inode used again", "no birth", "no birth, other device"],
)
def test_the_same_object_is_known_by_inode_and_birth(after: FileRecord, same: bool) -> None:
    """Inode numbers are used again and devices renumbered; birth decides where it is reported."""
    assert same_object(OLD, after) is same


@given(RECORDS, FILES, st.booleans())
def test_fresh_always_means_newer_and_new(before: FileRecord, after: FileRecord, same_ok: bool) -> None:
    """Nothing is ever fresh whose change time is no newer; without same_ok its content or its birth is new too."""
    judged = fresh(before, after, MARKER, same_ok)
    if not isinstance(judged, Fresh):
        return
    assert after.ctime_ns > MARKER
    if not same_ok:
        unlike = before.kind != "file" or before.size != after.size or before.digest != after.digest
        assert unlike
        if before.kind != "file" or before.inode != after.inode:
            assert after.btime_ns is None or after.btime_ns > MARKER


@given(RECORDS)
def test_records_cross_as_json(record: FileRecord) -> None:
    """A record survives JSON; a newer writer's keys are left out."""
    assert FileRecord.from_dict(json.loads(json.dumps(record.to_dict() | {"later": 1}))) == record


def test_only_a_regular_file_that_was_born_later_was_born_since() -> None:
    """Of one born at the same time, or of which birth is not reported, nobody knows that it was not there."""
    born = FileRecord("file", btime_ns=7)
    assert born_since(born, 6)
    assert not born_since(born, 7)
    assert not born_since(replace(born, btime_ns=None), 6)
    assert not born_since(replace(born, kind="directory"), 6)
