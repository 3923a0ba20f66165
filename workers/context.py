"""`ctx`: what a function agent is given besides its inputs."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from proofq.workers import places
from proofq.workers.asking import ANSWER_WITHIN_S, MAX_ARGS_BYTES
from proofq.workers.doing import Doing, later, now, once
from proofq.workers.errors import BadInput, NotBuilt
from proofq.workers.report import MAX_PROGRESS_BYTES, NotStrictJSON, Voice, strict_json
from proofq.workers.spent import Taken, said

if TYPE_CHECKING:
    from proofq.workers.calling import GateBreaker

#: Longest state, in bytes of JSON.
MAX_STATE_BYTES = 64 * 1024
#: Seconds between two evidences of progress that are passed on.
PROGRESS_EVERY_S = 0.1


class State(MutableMapping[str, Any]):
    """A small JSON object that survives attempts: state.json in the task's directory.

    Written whole, by a rename, at each assignment to a key; what is changed inside a value is only kept once the
    value is assigned again. Raises BadInput for what is no strict JSON or is over 64 KiB, and when the file holds
    something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values = self._read()

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._write({**self._values, key: value})

    def __delitem__(self, key: str) -> None:
        self._write({name: value for name, value in self._values.items() if name != key} | self._missing(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _missing(self, key: str) -> dict[str, Any]:
        if key not in self._values:
            raise KeyError(key)
        return {}

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise BadInput(f"{self._path} is no JSON object; remove it to start this task's state anew.")
        return values

    def _write(self, values: dict[str, Any]) -> None:
        try:
            text = strict_json(values, "ctx.state", MAX_STATE_BYTES)
        except NotStrictJSON as error:
            raise BadInput(f"{error}.") from error
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        draft.write_bytes(text)
        draft.replace(self._path)
        self._values = json.loads(text)


class Context:
    """What one attempt may know and say. `makes`: nobody has made its directories yet."""

    def __init__(
        self,
        task_id: str,
        attempt: int,
        workdir: str,
        taskdir: str,
        reporter: Voice,
        repair: str | None = None,
        *,
        makes: bool = False,
    ) -> None:
        self.task_id = task_id
        #: Attempts begun, this one included.
        self.attempt = attempt
        # Paths are made of them where somebody wants some, which takes longer than the rest of this.
        self._workdir = workdir
        self._taskdir = taskdir
        self._is_made = not makes
        #: Why the last attempt's output was refused; None when it was not.
        self.repair = repair
        self._log: logging.Logger | None = None
        self._reporter = reporter
        self._state: State | None = None
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._breakers: dict[str, GateBreaker] = {}
        self._evidence = b""
        self._held_back = False
        self._next_s = 0.0

    @property
    def workdir(self) -> Path:
        """The attempt's own directory."""
        self._make()
        return Path(self._workdir)

    @property
    def taskdir(self) -> Path:
        """The task's directory, which survives attempts."""
        self._make()
        return Path(self._taskdir)

    def _make(self) -> None:
        """An attempt that shares its process has directories once it asks for them: making three of them takes longer
        than all else that is done for it on the host."""
        if not self._is_made:
            places.make(self._taskdir, str(Path(self._workdir).parent), self._workdir)
            self._is_made = True

    @property
    def log(self) -> logging.Logger:
        """Writes to the attempt's captured stderr."""
        if self._log is None:
            self._log = _log_to_stderr(self.task_id, self.attempt)
        return self._log

    @property
    def state(self) -> State:
        """A small JSON object that survives attempts; see `State`."""
        if self._state is None:
            self._state = State(self.taskdir / "state.json")
        return self._state

    def progress(self, evidence: Any) -> None:
        """Say how far the work is, in any JSON up to 4,000 bytes. Counts only when the evidence changes.

        May be called as often as one likes: at most ten times a second something is passed on, the latest.
        Raises BadInput for what is no strict JSON or too long.
        """
        try:
            encoded = strict_json(evidence, "the evidence of progress", MAX_PROGRESS_BYTES)
        except NotStrictJSON as error:
            raise BadInput(f"{error}.") from error
        if encoded != self._evidence:
            self._evidence = encoded
            self._held_back = True
            if time.monotonic() >= self._next_s:
                self.tell()

    def tell(self) -> None:
        """Pass on the evidence that was held back, if there is some; an attempt does so at its end."""
        if self._held_back:
            self._held_back = False
            self._next_s = time.monotonic() + PROGRESS_EVERY_S
            self._reporter.send("progress", self._evidence)

    def _ask(self, op: str, args: dict[str, Any], within_s: float = ANSWER_WITHIN_S) -> Any:
        """What the supervisor answers; of an async attempt something to await. Raises BadInput for what is no JSON."""
        try:
            encoded = strict_json(args, f"what {op} is given", MAX_ARGS_BYTES)
        except NotStrictJSON as error:
            raise BadInput(f"{error}.") from error
        return self._reporter.ask(op, encoded, within_s)

    def call(self, provider: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `fn(*args, **kwargs)` gives, if the gate of the provider lets it through. Of an async agent to be
        awaited, and so may be what `fn` gives.

        A gate that opens within two seconds is waited for; otherwise GateClosed is raised, a CircuitBreakerError of
        pybreaker's: an attempt that ends by it is not counted. How `fn` ends is what the gate hears, so call once and
        let errors out. Where the gate cannot be asked the call is made, and stderr says so.
        """
        return self.breaker(provider).call(fn, *args, **kwargs)

    def breaker(self, provider: str) -> GateBreaker:
        """The gate of a provider as a breaker of pybreaker's: its listeners and excluded exceptions may be added to."""
        # Imported here: it takes longer than all else, and most attempts call nobody so.
        from proofq.workers.calling import GateBreaker

        with self._lock:
            if provider not in self._breakers:
                self._breakers[provider] = GateBreaker(provider, self._ask, awaits=self._reporter.awaits)
            return self._breakers[provider]

    def spend(self, usd: float = 0.0, tokens: int = 0, requests: int = 0) -> Any:
        """Take what a call is about to spend from the budgets of the task, its agent and its provider, all or nothing.

        Say it before the call, with the most it may cost: then calls of all tasks together overshoot a budget by one
        call at most. Gives something whose `settle(usd=, tokens=, requests=)` says what it came to.
        Raises BudgetReached where nothing is left of one, BadInput for amounts that are none, NoAnswer when the worker
        cannot count it. In an async agent it is to be awaited, and asked at once in any case.
        """
        return self._spend(said(usd, tokens, requests), must=False)

    def spent(self, usd: float = 0.0, tokens: int = 0, requests: int = 0) -> Any:
        """The same for what has been spent already: it is counted, whatever is left, and what comes next is refused."""
        return self._spend(said(usd, tokens, requests), must=True)

    def _spend(self, amounts: dict[str, float], *, must: bool) -> Any:
        asked = self._ask("spend.take", {"amounts": amounts, "must": must})
        if not self._reporter.awaits:
            return Taken(self._ask, amounts)
        import asyncio

        async def taken() -> Taken:
            await asked
            return Taken(self._ask, amounts)

        return asyncio.ensure_future(taken())

    def once(self, key: str, fn: Callable[[], Any], check: Callable[[], Any] | None = None) -> Any:
        """What `fn()` gave when it was called under this key of this task: now, or in an earlier attempt, and then not
        again. Of an async agent to be awaited, and so may be `fn` and `check`.

        The outcome is JSON up to 16 KiB; the key any text up to 512 bytes, at most 256 of a task. That `fn` is about to
        be called is on record first. Where an attempt ended between that and the outcome, `check()` is asked: what it
        gives is the outcome, None means that it is not there and `fn` may be called. Without a check EffectUnknown is
        raised, and the task is held until a human says what is true (`proofq effect`). What `fn` raises leaves it as
        unknown, but for `proofq.NotDone`: then nothing was done.
        Raises BadInput for a key, an outcome or a use that is none, NoAnswer when the worker cannot record it.
        """
        doing = self._alone(key, once(self._ask, key, fn, check))
        return later(doing) if self._reporter.awaits else now(doing)

    def _alone(self, key: str, doing: Doing) -> Doing:
        """Refuse a key that this attempt is at already: only an intent of an earlier one is for a check."""
        name = repr(key)
        with self._lock:
            if name in self._under_way:
                raise BadInput(f"ctx.once({name:.80}) is under way in this attempt already.")
            self._under_way.add(name)
        try:
            return (yield from doing)
        finally:
            self._under_way.discard(name)

    def handoff(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002
        """Not built yet: raises NotBuilt."""
        raise NotBuilt("ctx.handoff is not built yet: write the artifact to a file that a proof names.")


def _log_to_stderr(task_id: str, attempt: int) -> logging.Logger:
    """A logger outside the tree of loggers, so that an agent's own logging set-up does not double its lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.Logger(f"{task_id}/{attempt}")
    logger.addHandler(handler)
    return logger
