"""The hosts of one supervisor: one for each async agent with tasks, one more for each suspect; and who watches them."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from proofq.workers.async_child import CHANNEL_FD, PAGE_FD, RUN_HOST
from proofq.workers.async_host import LOOK_S, AsyncHost, Parts
from proofq.workers.async_page import HostPage
from proofq.workers.clock import Clock
from proofq.workers.host_folder import HostFolder
from proofq.workers.spawner import Spawner, SpawnFailed, SpawnRequest
from proofq.workers.wire import Channel

log = logging.getLogger(__name__)

#: Seconds within which a host must come up.
START_WITHIN_S = 10.0


class AsyncHosts:
    """Thread-safe. Each host has a folder of its own below `folder`. `blocked_s`: see `Settings.loop_blocked_s`."""

    def __init__(self, spawner: Spawner, folder: Path, clock: Clock, blocked_s: float) -> None:
        self._spawner = spawner
        self._folder = folder
        self._clock = clock
        self._blocked_s = blocked_s
        self._lock = threading.Lock()
        self._starting: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._of_agent: dict[str, AsyncHost] = {}
        self._all: set[AsyncHost] = set()
        self._new: list[AsyncHost] = []
        self._closing = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None

    def of(
        self, agent: str, env: Callable[[], Mapping[str, str]], secrets: Collection[str], *, single: bool
    ) -> AsyncHost:
        """The agent's host, or one for a `single` attempt; started where there is none, with the environment that `env`
        gives. Raises SpawnFailed."""
        if single:
            return self._start(agent, env(), secrets, single=True)
        host = self._of_agent.get(agent)
        if host is not None and host.usable:
            return host
        with self._lock:
            starting = self._starting[agent]
        with starting:
            host = self._of_agent.get(agent)
            if host is None or not host.usable:
                host = self._of_agent[agent] = self._start(agent, env(), secrets, single=False)
            return host

    @property
    def pids(self) -> set[int]:
        """Of the hosts that live."""
        with self._lock:
            return {host.pid for host in self._all}

    def close(self) -> None:
        """Stop watching; the spawner has ended every process by then, and what was in them is told so."""
        with self._lock:
            self._closing = True
            thread = self._thread
        os.eventfd_write(self._wake, 1)
        if thread is not None:
            thread.join()

    # --- starting ---

    def _start(self, agent: str, env: Mapping[str, str], secrets: Collection[str], *, single: bool) -> AsyncHost:
        try:
            places = HostFolder(self._folder / f"{agent}.{self._clock.token()}")
            page = HostPage()
        except OSError as error:
            raise SpawnFailed(f"No host can be started: {error}.", error.errno or 0) from error
        ours, theirs = socket.socketpair()
        request = SpawnRequest(
            kind="function",
            env={**env, "HOME": str(places.home), "TMPDIR": str(places.tmp)},
            cwd=str(places.cwd),
            runner=RUN_HOST,
            payload={"agent": agent},
            stdout=places.stdout,
            stderr=places.stderr,
            secrets=secrets,
            fds={CHANNEL_FD: theirs.fileno(), PAGE_FD: page.fd},
        )
        with theirs:
            try:
                process = self._spawner.spawn(request)
            except SpawnFailed:
                ours.close()
                page.close()
                places.leave()
                raise
        host = AsyncHost(Parts(process, Channel(ours), page, places), self._clock, self._blocked_s, single=single)
        self._watch(host)
        if not process.wait_started(START_WITHIN_S):
            process.kill("start_unconfirmed", 0.0)
            raise SpawnFailed(f"No host can be started: its start was not confirmed within {START_WITHIN_S:g} s.")
        return host

    def _watch(self, host: AsyncHost) -> None:
        with self._lock:
            self._all.add(host)
            self._new.append(host)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="proofq-async", daemon=True)
                self._thread.start()
        os.eventfd_write(self._wake, 1)

    # --- watching ---

    def _run(self) -> None:
        look_at = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            while not (self._closing and not self._all):
                pause = None if not self._all else max(0.0, look_at - self._clock.boottime())
                for key, _ in selector.select(pause):
                    if isinstance(key.fileobj, AsyncHost):
                        key.fileobj.read()
                        if key.fileobj.silent:
                            selector.unregister(key.fileobj)
                    else:
                        self._welcome(selector)
                if self._clock.boottime() >= look_at:
                    self._look_at_all(selector)
                    look_at = self._clock.boottime() + LOOK_S

    def _welcome(self, selector: selectors.BaseSelector) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        with self._lock:
            new, self._new = self._new, []
        for host in new:
            selector.register(host, selectors.EVENT_READ)

    def _look_at_all(self, selector: selectors.BaseSelector) -> None:
        for host in list(self._all):
            try:
                fd = host.fileno()
                if host.look():
                    with suppress(KeyError, ValueError):
                        selector.unregister(fd)
                    with self._lock:
                        self._all.discard(host)
            except Exception:
                # One host's trouble must not leave the others unwatched.
                log.exception("async_host_error", extra={"pid": host.pid})
