"""The seam between the product and the store: every script and every read is one step, and may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import redis

from proofq.workers.errors import RedisUnavailable
from proofq.workers.scripts import Argument, DamagedKey, Runner
from tests.simulation.hub import Broken, Hub, Party

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle

#: Longest time a call may take before its caller gives up on the reply.
TIMEOUT_S = 2.0


class Network:
    """Carries calls. `lost_request`, `lost_reply`, `slow_reply` are chances, set while faults are on; `down` is an
    outage for everybody."""

    def __init__(self, hub: Hub, oracle: Oracle, runner: Runner, client: Any) -> None:
        self.hub = hub
        self.oracle = oracle
        self.runner = runner
        self.client = client
        self.down = False
        self.full = False
        self.calls = 0
        #: Calls begun, whether they reached Redis or not.
        self.tries = 0
        self.lost_request = 0.0
        self.lost_reply = 0.0
        self.slow_reply = 0.0
        self.faults: dict[str, int] = {}
        self.steps: list[tuple[int, str, str, object, object]] = []

    def script(self, party: Party, name: str, arguments: Sequence[Argument]) -> list[Any]:
        def run() -> list[Any]:
            # A request that was long on its way is dated by the server that runs it, as its TIME would.
            return self.oracle.script(party, name, (str(self.hub.now), *arguments[1:]), self.runner)

        answer: list[Any] = self._carry(party, name, tuple(arguments), run, RedisUnavailable("no answer"))
        return answer

    def read(self, party: Party, name: str, arguments: tuple[Any, ...]) -> Any:
        def run() -> Any:
            return getattr(self.client, name)(*arguments)

        return self._carry(party, name, arguments, run, redis.ConnectionError("no answer"))

    def _carry(
        self, party: Party, name: str, arguments: tuple[Any, ...], run: Callable[[], Any], lost: Exception
    ) -> Any:
        hub = self.hub
        actor = hub.current
        actor.call = (name, arguments)
        hub.pause_ms(int(hub.random.random() * 15))
        actor.call = None
        self.tries += 1
        party.hurt = party.hurt or party.link.cut
        if party.link.cut or self.down:
            self.note(actor.name, name, arguments, "unreachable")
            hub.sleep(hub.uniform(0.02, TIMEOUT_S))
            raise lost
        chance = hub.random.random()
        if chance < self.lost_request:
            party.hurt = True
            self._lose(actor.name, name, arguments, "lost request")
            raise lost
        self.calls += 1
        try:
            answer = run()
        except (RedisUnavailable, redis.ConnectionError) as problem:
            # The real server is away, or full.
            self.note(actor.name, name, arguments, type(problem).__name__)
            hub.sleep(hub.uniform(0.02, 0.3))
            raise
        except DamagedKey as problem:
            self.note(actor.name, name, arguments, f"damaged {problem.key}")
            raise
        except redis.ResponseError as problem:
            self.note(actor.name, name, arguments, f"error {problem}")
            if isinstance(lost, RedisUnavailable):
                raise Broken(f"script_error: {name} raised {problem}") from problem
            raise
        _in_order(name, answer)
        self.note(actor.name, name, arguments, answer)
        if chance > 1 - self.lost_reply:
            party.hurt = True
            self._lose(actor.name, name, arguments, "lost reply")
            raise lost
        if hub.random.random() < self.slow_reply:
            hub.sleep(hub.uniform(0.02, 1.5))
        return answer

    def _lose(self, who: str, name: str, arguments: tuple[Any, ...], kind: str) -> None:
        self.count(kind)
        self.note(who, name, arguments, kind)
        self.hub.sleep(self.hub.uniform(0.0, TIMEOUT_S))

    def count(self, kind: str) -> None:
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def note(self, who: str, name: str, arguments: object, answer: object) -> None:
        self.steps.append((self.hub.now, who, name, arguments, answer))

    def trace(self) -> list[str]:
        """Each step of the seed as a line of text."""
        return [f"{now} {who}: {name} {said!r} -> {answer!r}" for now, who, name, said, answer in self.steps]


def _in_order(name: str, answer: Any) -> None:
    """Redis gives sets and large hashes in an order of each server's own; a trace needs one."""
    if name == "watch":
        answer[3].sort()
        answer[6].sort()
    elif name == "hgetall":
        fields = sorted(answer.items())
        answer.clear()
        answer.update(fields)
    elif name == "settle" and answer[0] in {b"done", b"already"} and len(answer) > 2 and answer[2]:
        _in_order("lease", answer[2])
    elif name in {"lease", "reap"} and answer[0] in {b"granted", b"taken"}:
        flat = next(part for part in answer if isinstance(part, list))
        pairs = sorted(zip(flat[::2], flat[1::2], strict=True))
        flat[:] = [part for pair in pairs for part in pair]


class SimClient:
    """What the product may read from a client."""

    def __init__(self, network: Network, party: Party) -> None:
        self._network = network
        self._party = party

    def hgetall(self, key: str) -> Any:
        return self._network.read(self._party, "hgetall", (key,))

    def hget(self, key: str, field: str) -> Any:
        return self._network.read(self._party, "hget", (key, field))

    def hkeys(self, key: str) -> Any:
        return self._network.read(self._party, "hkeys", (key,))


class SimRunner:
    """The product's `Runner` for one party."""

    def __init__(self, network: Network, party: Party) -> None:
        self._network = network
        self._party = party

    def __call__(self, name: str, arguments: Sequence[Argument]) -> list[Any]:
        return self._network.script(self._party, name, arguments)
