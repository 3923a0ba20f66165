"""Agents of a site that talk to a local provider: what they are asked for, and what of them must not be left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proofq.policies import lifecycle
from proofq.workers.demo.provider import Provider
from proofq.workers.record import Task
from tests.acceptance.harness import Site, Worker, one_end
from tests.waiting import until

#: What every agent is asked to write, and how an honest declaration proves it: it would not hold for half of it.
TEXT = "twelve words about nothing"
DIGEST = hashlib.sha256(f"{TEXT}\n".encode()).hexdigest()
PROMPT = 'Write "{text}" to the file {out}.'


class Provided:
    """A site with a provider, and a worker that serves the site's agents. `agents` is TOML, added to the project's."""

    def __init__(self, site: Site, provider: Provider, agents: str) -> None:
        self.site = site
        self.provider = provider
        toml = site.project / "proofq.toml"
        toml.write_text(f"{toml.read_text()}\n{agents}")
        self.worker: Worker = site.start("--slots", "4").wait_ready()

    def enqueue(self, agent: str, behaviour: str, **inputs: Any) -> str:
        """One task; its id."""
        out = self.site.out(f"{agent}-{behaviour}.txt")
        return self.site.enqueue(agent, model=behaviour, text=TEXT, out=out, sha256=DIGEST, **inputs)

    def ended(self, task_id: str, within_s: float) -> Task:
        """The task once it has ended, or is held for a human."""
        return self.site.wait_for(task_id, [*lifecycle.TERMINAL, lifecycle.HELD], within_s)

    def check_end(self, task_id: str) -> None:
        """It ended once, every attempt is closed; and soon nothing runs for it any more."""
        snapshot = self.site.snapshot(task_id)
        assert snapshot.task.state == lifecycle.HELD or one_end(snapshot) == []
        assert task_id not in [task.id for task in self.worker.holding()]

    def check_nothing_left(self) -> None:
        """No lease, and no process but the worker's own."""
        assert self.worker.holding() == []
        until(lambda: not self.worker.processes("child"), 20.0, "the end of all that the agents started")


@contextmanager
def provided(agents: str, files: Mapping[str, str]) -> Iterator[Provided]:
    """A site, its provider and its worker; `files` are written to the project first.

    In both texts `PROVIDER` stands for the provider's URL.
    """
    with Site() as site, Provider() as provider:
        for name, text in files.items():
            path = Path(site.project, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("PROVIDER", provider.url))
        yield Provided(site, provider, agents.replace("PROVIDER", provider.url))
