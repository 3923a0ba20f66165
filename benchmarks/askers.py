"""The sides of the part `brownout`: four workers of one slot each, whose tasks ask a provider, with retries as each
side's own documentation has them."""

from __future__ import annotations

import sys
from abc import abstractmethod
from pathlib import Path

from rq import Retry

from benchmarks.peers import VENV, Arq, Celery, Dramatiq, Peer, Saq
from benchmarks.sides import SLOTS, Ours, Side, Stock
from proofq.policies import lifecycle
from proofq.workers import keys

_PROJECT = Path(__file__).with_name("asking")


class Asker(Side):
    """One of them."""

    #: What it was told of retries, or of the provider.
    told = ""
    what = "ask"

    @abstractmethod
    def finished(self) -> int:
        """Tasks that got their answer."""

    @abstractmethod
    def unended(self) -> int:
        """Tasks that may still get one: queued, running, waiting for their next try."""


class AskOurs(Ours, Asker):
    """`proofq worker --slots 1`, four times, for a provider that comes back within seconds."""

    name = "proofq, cooldown_s 4"
    told = "min_calls = 4, cooldown_s = 4"
    template = _PROJECT
    _agents = ("ask",)
    _options = "min_calls = 4\ncooldown_s = 4\n"

    def __init__(self) -> None:
        super().__init__()
        with (self.project / "proofq.toml").open("a") as toml:
            toml.write(self._options)

    def finished(self) -> int:
        return self.done()

    def unended(self) -> int:
        store = self._session.store
        return sum(task.state not in lifecycle.TERMINAL for task in store.read_many(store.newest(0, 1_000_000)))

    def _command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("several.py")), str(SLOTS), *super()._command()]

    def _ready(self) -> bool:
        owners = self.harness.zrange(keys.OWNERS, 0, -1)
        states = [self.harness.hget(keys.owner(owner.decode()), "state") for owner in owners]
        return states == [b"ready"] * SLOTS


class AskOursByDefault(AskOurs):
    """The same, with nothing said of the provider: `min_calls` 5, `cooldown_s` 30."""

    name = "proofq, defaults"
    told = "nothing"
    _options = ""


class AskStock(Stock, Asker):
    """`Retry(max=3, interval=[10, 30, 60])`, the example of its page on exceptions and retries
    (https://python-rq.org/docs/exceptions/); workers of a pool have the scheduler that it asks for."""

    name = "rq"
    told = "Retry(max=3, interval=[10, 30, 60])"
    template = _PROJECT

    def enqueue(self, what: str, **inputs: str | float) -> None:
        self._queue.enqueue(f"asking_jobs.{what}", kwargs=inputs, retry=Retry(max=3, interval=[10, 30, 60]))

    def finished(self) -> int:
        return self.done()

    def unended(self) -> int:
        held = (keys.rq_registry("started", "bench"), "rq:scheduled:bench")
        return int(self.harness.llen(keys.rq_queue("bench")) + sum(map(self.harness.zcard, held)))


class _AskPeer(Peer, Asker):
    """A peer's file is its answer: nobody else says whether a task succeeded."""

    def finished(self) -> int:
        return sum(path.name.isdigit() and path.stat().st_size > 0 for path in self.files.iterdir())


class AskDramatiq(_AskPeer, Dramatiq):
    """An actor as it comes: 20 retries, at first after up to 15 s, then twice as long
    (https://dramatiq.io/guide.html#message-retries)."""

    told = "as it comes: max_retries 20, min_backoff 15 s"

    def unended(self) -> int:
        # A message stays in one of these until it is acknowledged, waiting for its time or not.
        return sum(self.harness.hlen(f"dramatiq:default{which}.msgs") for which in ("", ".DQ"))

    def _command(self) -> list[str]:
        return [str(VENV / "dramatiq"), self.module, "--processes", str(SLOTS), "--threads", "1"]


class AskSaq(_AskPeer, Saq):
    """`retries=5, retry_delay=5.0, retry_backoff=True`, the example of its page on tasks
    (https://saq-py.readthedocs.io/en/latest/task.html); one job at a time in each of four workers."""

    told = "retries=5, retry_delay=5.0, retry_backoff=True"

    def unended(self) -> int:
        return int(self.harness.zcard("saq:default:incomplete"))

    def _environ(self) -> dict[str, str]:
        return {**super()._environ(), "PEER_SLOTS": "1"}

    def _ready(self) -> bool:
        return self._clients() >= SLOTS


class AskArq(_AskPeer, Arq):
    """`raise Retry(defer=ctx["job_try"] * 5)`, the example of its documentation, with 5 tries
    (https://arq-docs.helpmanual.io/#retrying-jobs-and-cancellation); one job at a time in each of four workers."""

    told = "Retry(defer=job_try * 5), max_tries 5"

    def unended(self) -> int:
        return int(self.harness.zcard("arq:queue"))

    def _environ(self) -> dict[str, str]:
        return {**super()._environ(), "PEER_SLOTS": "1"}


class AskCelery(_AskPeer, Celery):
    """`autoretry_for=(Exception,), retry_backoff=True`, as its guide advises for tasks that depend on another service
    (https://docs.celeryq.dev/en/stable/userguide/tasks.html#automatic-retry-for-known-exceptions); then 3 retries."""

    name = "celery, retries"
    told = "autoretry_for=(Exception,), retry_backoff=True"

    def unended(self) -> int:
        return int(self.harness.llen("celery") + self.harness.hlen("unacked"))


class AskCeleryByDefault(AskCelery):
    """The same task without a word about retries: it has none."""

    name = "celery, as it comes"
    told = "nothing"
    what = "ask_once"


ASKERS: tuple[type[Asker], ...] = (
    AskOurs, AskOursByDefault, AskStock, AskDramatiq, AskSaq, AskArq, AskCelery, AskCeleryByDefault,
)  # fmt: skip
