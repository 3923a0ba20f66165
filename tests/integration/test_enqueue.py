"""Enqueuing: once whatever happens, only what fits, and exactly what was given."""

from __future__ import annotations

import json
import multiprocessing
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rq.job import Job
from rq.serializers import JSONSerializer

from proofq.workers import keys, known_agents, producer
from proofq.workers.errors import BadInput, KeyConflict, RedisUnavailable, UnknownAgent
from proofq.workers.known_agents import KnownAgent
from proofq.workers.producer import Enqueued, Request
from proofq.workers.scripts import Argument
from proofq.workers.session import Session
from proofq.workers.store import Store
from tests.commands import Project
from tests.producing import produce
from tests.servers import PrivateServer
from tests.waiting import until

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ENTRY = {"version": "1", "lane": "work", "inputs_schema": SCHEMA, "timeout_s": 60, "max_attempts": 2, "max_age_s": 600}


def _enqueue(opened: Session, inputs: Any, agent: str = "note", **request: Any) -> Enqueued:
    known = known_agents.find(opened, agent, undeclared=agent == "anyone")
    return producer.enqueue(opened, known, inputs, Request(**request), "test")


NOTE = {"text": "hi", "out": "a.txt"}


# --- what is stored ------------------------------------------------------------------------------------------------


def test_a_task_is_queued_and_rq_sees_it(opened: Session) -> None:
    """One enqueue gives a queued task, its first breadcrumb, and an RQ job in the agent's queue."""
    done = _enqueue(opened, NOTE)
    snapshot = opened.store.snapshot(done.id)
    assert (done.state, done.created) == ("queued", True)
    assert snapshot.task.inputs == NOTE
    assert [(crumb.source, crumb.event, crumb.to, crumb.who) for crumb in snapshot.crumbs] == [
        (None, "enqueue", "queued", "test")
    ]
    job = Job.fetch(done.id, connection=opened.store.client, serializer=JSONSerializer)
    assert (job.func_name, list(job.args), job.origin) == ("proofq.run", [NOTE], "work.note")
    assert snapshot.in_queue == 1


TEXTS = {
    "nfc": unicodedata.normalize("NFC", "é"),
    "nfd": unicodedata.normalize("NFD", "é"),
    "emoji": "👩‍👩‍👧‍👦 \U0001f3f4\U000e0067",
    "rtl": "\u202eتجربة\u202c עברית",
    "controls": "\x01\x1b[31m\x7f\u2028\u0085",
    "quotes": "\"'\\{}%s\n\r\t",
    "edges": "\ufeff\ufffe\uffff\U0010ffff",
    "long": "ü" * 60_000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_come_back_exactly(opened: Session, name: str) -> None:
    """Text of any script, form or control character is read back as it was given, by us and by RQ."""
    inputs = {"text": TEXTS[name], "out": "a", "more": {TEXTS[name][:100]: [TEXTS[name]]}}
    done = _enqueue(opened, inputs)
    assert opened.store.read(done.id).inputs == inputs
    assert Job.fetch(done.id, connection=opened.store.client, serializer=JSONSerializer).args[0] == inputs


def test_numbers_come_back_exactly(opened: Session) -> None:
    """Integers beyond 53 bits and floats of full precision survive Lua, which knows only doubles."""
    inputs = {**NOTE, "count": 2**80 + 1, "ratio": 0.1 + 0.2, "some": [2**53 + 1, -0.0, 1e-300]}
    read = opened.store.read(_enqueue(opened, inputs).id).inputs
    assert json.dumps(read) == json.dumps(inputs)


@pytest.mark.parametrize(
    "bad",
    [
        {"text": "nul\0", "out": "a"},
        {"text": "\udc80", "out": "a"},
        {"text": "half \ud83d", "out": "a"},
        {**NOTE, "ratio": float("nan")},
        {**NOTE, "ratio": float("inf")},
        {**NOTE, "more": {"\0": 1}},
        {**NOTE, "more": {"\udfff": 1}},
        {**NOTE, "some": [b"bytes"]},
        {**NOTE, "some": [(1, 2)]},
        {**NOTE, "unheard_of": 1},
        {"out": "a"},
        {"text": "", "out": "a"},
        {"text": None, "out": "a"},
        {"text": 1, "out": "a"},
        {**NOTE, "count": True},
        {**NOTE, "count": 1.0},
        {**NOTE, "text": "x" * 1024 * 1024},
        [],
        "text",
        None,
    ],
)
def test_unusable_inputs_are_refused(opened: Session, bad: Any) -> None:
    """What no agent could be given, or this one does not take, raises BadInput and leaves nothing behind."""
    with pytest.raises(BadInput):
        _enqueue(opened, bad)
    assert opened.store.newest(0, 10) == []


# --- the key -------------------------------------------------------------------------------------------------------


def test_the_same_key_is_the_same_task(opened: Session) -> None:
    """Same key and inputs: the first task, whatever the order of the names and whatever its state is by now."""
    first = _enqueue(opened, {"text": "hi", "out": "a"}, key="k")
    again = _enqueue(opened, {"out": "a", "text": "hi"}, key="k")
    assert (again.id, again.created) == (first.id, False)
    assert len(opened.store.newest(0, 10)) == 1


def test_other_inputs_under_a_key_conflict(opened: Session) -> None:
    """The same key with other inputs raises, names the task that has it, and creates nothing."""
    first = _enqueue(opened, NOTE, key="k")
    with pytest.raises(KeyConflict, match=first.id):
        _enqueue(opened, {**NOTE, "text": "other"}, key="k")
    assert len(opened.store.newest(0, 10)) == 1


@pytest.mark.parametrize(("one", "other"), [("\u00e9", "e\u0301"), (1, 1.0), ([1, 2], [2, 1]), ({"a": None}, {})])
def test_inputs_that_look_alike_are_not_the_same(opened: Session, one: Any, other: Any) -> None:
    """Forms of one character, 1 and 1.0, order in lists: equal only if the JSON is."""
    anyone = KnownAgent("anyone")
    producer.enqueue(opened, anyone, {"x": one}, Request(key="k"), "test")
    with pytest.raises(KeyConflict):
        producer.enqueue(opened, anyone, {"x": other}, Request(key="k"), "test")


def test_keys_belong_to_their_agent(opened: Session) -> None:
    """Two agents may use one key."""
    note = _enqueue(opened, NOTE, key="k")
    other = _enqueue(opened, NOTE, agent="anyone", key="k")
    assert note.id != other.id


def test_a_key_is_free_again_after_its_time(opened: Session) -> None:
    """A key holds for unique_for_s, compared as data and not as the life of a Redis key."""
    brief = KnownAgent("anyone", unique_for_s=0.001)
    first = producer.enqueue(opened, brief, {"x": 1}, Request(key="k"), "test")
    enqueued_ms = opened.store.read(first.id).enqueued_at
    until(lambda: opened.now_ms() > enqueued_ms + 1)
    second = producer.enqueue(opened, brief, {"x": 2}, Request(key="k"), "test")
    assert first.id != second.id


@pytest.mark.parametrize("key", ["k" * 512, "ключ 🔑", " ", "a:b{c}*", "\n"])
def test_any_text_is_a_key(opened: Session, key: str) -> None:
    """Up to 512 bytes of any Unicode text."""
    assert _enqueue(opened, NOTE, key=key).id == _enqueue(opened, NOTE, key=key).id


@pytest.mark.parametrize("key", ["k" * 513, "é" * 257, "", "a\0b", "\udc80", 7])
def test_what_is_no_key_is_refused(opened: Session, key: Any) -> None:
    """Too long, empty, NUL, half a surrogate pair, no text."""
    with pytest.raises(BadInput):
        _enqueue(opened, NOTE, key=key)


def test_eight_producers_with_one_key_make_one_task(project: Project, redis_server: PrivateServer) -> None:
    """Eight processes that enqueue the same five keys at once create five tasks."""
    # One that has loaded what they need forks them.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.producing"])
    start, found = context.Barrier(8), context.Queue()
    arguments = (project.root, redis_server.url, start, found)
    processes = [context.Process(target=produce, args=arguments) for _ in range(8)]
    for process in processes:
        process.start()
    seen = [found.get(timeout=100) for _ in range(40)]
    for process in processes:
        process.join(30)
    by_key = {number: {task_id for key, task_id in seen if key == number} for number in range(5)}
    assert [len(ids) for ids in by_key.values()] == [1] * 5
    assert len(project.session().store.newest(0, 100)) == 5


# --- a lost reply --------------------------------------------------------------------------------------------------


class LosesReplies:
    """A runner whose first replies are lost: the script ran, and nobody heard."""

    def __init__(self, runner: Any, losses: int) -> None:
        self._runner = runner
        self.left = losses
        self.calls = 0

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        self.calls += 1
        answer: list[Any] = self._runner(name, arguments)
        if self.left:
            self.left -= 1
            raise RedisUnavailable("the reply was lost")
        return answer


def _losing(opened: Session, losses: int) -> tuple[Session, LosesReplies]:
    from proofq.workers.scripts import RedisRunner

    runner = LosesReplies(RedisRunner(opened.store.client), losses)
    store = Store(opened.store.client, runner, opened.store.clock)
    return Session(opened.project, store, opened.url), runner


@pytest.mark.parametrize("key", [None, "k"])
def test_a_lost_reply_makes_no_second_task(opened: Session, key: str | None) -> None:
    """The request is sent again under the same id, and finds the task it has made."""
    losing, runner = _losing(opened, 3)
    done = _enqueue(losing, NOTE, key=key)
    assert (runner.calls, done.created, done.state) == (4, True, "queued")
    assert opened.store.newest(0, 10) == [done.id]


def test_a_redis_that_stays_away_is_said(opened: Session) -> None:
    """After a few tries it raises, and names the id under which the task may stand."""
    losing, _ = _losing(opened, 99)
    with pytest.raises(RedisUnavailable) as caught:
        _enqueue(losing, NOTE)
    [task_id] = opened.store.newest(0, 10)
    assert f"proofq show {task_id}" in str(caught.value)


# --- when ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "zulu", "datetime"])
def test_not_before_defers(opened: Session, form: str) -> None:
    """A time to come, as text with an offset or Z or as a datetime, makes a deferred task with exactly that time."""
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    shown = {"text": at.astimezone().isoformat(), "zulu": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "datetime": at}[form]
    done = _enqueue(opened, NOTE, not_before=shown)
    task = opened.store.read(done.id)
    assert (done.state, task.state) == ("deferred", "deferred")
    assert task.not_before == at.timestamp() * 1000
    assert opened.store.snapshot(done.id).registries["deferred"]


@pytest.mark.parametrize("at", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_has_passed_is_now(opened: Session, at: str) -> None:
    """A not_before in the past queues the task at once."""
    assert _enqueue(opened, NOTE, not_before=at).state == "queued"


@pytest.mark.parametrize(
    "at",
    ["2099-01-01T00:00:00", datetime(2099, 1, 1), "2099-01-01", "soon", "", 5, "2099-13-01T00:00:00Z"],  # noqa: DTZ001
)
def test_a_time_without_an_offset_is_refused(opened: Session, at: Any) -> None:
    """A naive time could mean any hour of a day; what is no time at all is refused as well."""
    with pytest.raises(BadInput):
        _enqueue(opened, NOTE, not_before=at)


def test_max_age_bounds_the_wait(opened: Session) -> None:
    """A task expires max_age_s after it was enqueued; a number or a timedelta, the agent's own by default."""
    for given, wanted_s in ((None, 86400), (90, 90), (timedelta(minutes=2), 120), (0.5, 0.5)):
        task = opened.store.read(_enqueue(opened, NOTE, max_age_s=given).id)
        assert task.expires_at - task.enqueued_at == wanted_s * 1000
        assert task.max_age_s == wanted_s


@pytest.mark.parametrize("age", [0, -1, float("nan"), float("inf"), True, "60", 1e12])
def test_an_age_that_is_none_is_refused(opened: Session, age: Any) -> None:
    """Zero, negative, endless, no number."""
    with pytest.raises(BadInput):
        _enqueue(opened, NOTE, max_age_s=age)


# --- who is known --------------------------------------------------------------------------------------------------


def test_an_unknown_agent_is_refused_with_near_names(opened: Session) -> None:
    """The nearest names of proofq.toml and of the catalogue are suggested."""
    opened.store.publish_catalogue({"notes": ENTRY})
    with pytest.raises(UnknownAgent, match="Did you mean note or notes"):
        known_agents.find(opened, "notex")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "é", "x" * 129, "\udc80"])
def test_a_broken_name_is_refused_even_undeclared(opened: Session, name: str) -> None:
    """What could name no queue is no agent."""
    with pytest.raises(UnknownAgent):
        known_agents.find(opened, name, undeclared=True)


def test_the_catalogue_is_enough(opened: Session) -> None:
    """An agent that only workers know is found with its schema and limits, and inputs are held to it."""
    opened.store.publish_catalogue({"faraway": ENTRY})
    assert known_agents.find(opened, "faraway") == KnownAgent("faraway", "work", SCHEMA, 60, 2, 600, 86400)
    with pytest.raises(BadInput, match="text is missing"):
        _enqueue(opened, {}, agent="faraway")


def test_an_old_catalogue_entry_does_not_count(opened: Session) -> None:
    """What was published more than 30 days ago by the server's clock is not known any more."""
    for days, known in ((29.9, True), (30.1, False)):
        said = opened.now_ms() / 1000 - days * 86400
        row = json.dumps({**ENTRY, "published_at": said})
        opened.store.client.hset(keys.CATALOGUE, "faraway", row)
        if known:
            assert known_agents.find(opened, "faraway").name == "faraway"
        else:
            with pytest.raises(UnknownAgent):
                known_agents.find(opened, "faraway")


def test_an_undeclared_agent_is_taken_at_its_name(opened: Session) -> None:
    """With undeclared the task stands in the queue of that name, its inputs unchecked but usable."""
    done = _enqueue(opened, {"any": ["thing"]}, agent="anyone")
    assert opened.store.read(done.id).queue == "work.anyone"
    with pytest.raises(BadInput):
        _enqueue(opened, {"any": "\0"}, agent="anyone")


def test_modules_are_imported_only_where_nothing_is_published(tmp_path: Path, redis_server: PrivateServer) -> None:
    """A function agent is found by importing its module before its first worker, and without it ever after."""
    toml = 'modules = ["my_agents"]\n'
    project = Project(tmp_path / "m", redis_server.url, toml)
    (project.root / "my_agents.py").write_text(
        "import pathlib, proofq\n"
        "pathlib.Path(__file__).with_name('imported').touch()\n"
        "@proofq.agent(unproven=True)\n"
        "def summarise_unpublished(ctx, doc: str) -> str:\n    return doc\n"
    )
    imported = project.root / "imported"
    opened = project.session()
    assert not imported.exists()
    assert known_agents.find(opened, "summarise_unpublished").inputs_schema is not None
    assert imported.exists()
    imported.unlink()
    other = Project(tmp_path / "n", redis_server.url, toml)
    opened.store.publish_catalogue({"summarise_unpublished": ENTRY})
    assert known_agents.find(other.session(), "summarise_unpublished").timeout_s == 60


def test_modules_that_cannot_be_imported_are_named(tmp_path: Path, redis_server: PrivateServer) -> None:
    """A producer without the agents' dependencies learns why they are unknown, and may still go on undeclared."""
    opened = Project(tmp_path / "b", redis_server.url, 'modules = ["not_here_at_all"]\n').session()
    opened.store.client.delete(keys.CATALOGUE)
    with pytest.raises(UnknownAgent, match="not_here_at_all"):
        known_agents.find(opened, "digest")
    assert known_agents.find(opened, "digest", undeclared=True).inputs_schema is None
