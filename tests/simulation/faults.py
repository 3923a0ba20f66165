"""What goes wrong between any two steps, and for how long."""

from __future__ import annotations

from typing import Any

from proofq.policies.lifecycle import OWNED, WAITING
from proofq.workers import keys
from tests.servers import PrivateServer
from tests.simulation.fleet import Fleet, Incarnation
from tests.simulation.hub import Actor, Hub

#: Where a key's content waits while a string stands in its place.
ASIDE = "aside:"


class Faults:
    """Injects faults while on; `end` mends everything. `chance`: of one before a step."""

    def __init__(self, fleet: Fleet, client: Any, server: PrivateServer | None, chance: float) -> None:
        self.fleet = fleet
        self.hub: Hub = fleet.hub
        self.network = fleet.network
        self.client = client
        self.server = server
        self.chance = chance
        self.on = True
        #: Tasks of this seed wait for others.
        self.follows = False
        #: Keys that are damaged besides.
        self.more_keys: list[str] = []
        self._tried = 0
        #: The server does not run.
        self.away = False
        self.kinds = {
            "crash": 10,
            "crash unguarded": 5,
            "crash of machine": 4,
            "forkserver killed": 5,
            "pause": 14,
            "pause of supervisor": 8,
            "partition": 14,
            "outage": 7,
            "drain": 5,
            "wrong type": 24,
            "maxmemory": 4,
        }
        if server is not None:
            self.kinds["redis restart"] = 10

    # --- when ------------------------------------------------------------------------------------------------------

    def before_choice(self, ready: list[Actor]) -> Actor | None:
        """Perhaps something goes wrong now; perhaps it is one particular actor's turn."""
        if not self.on:
            return None
        random = self.hub.random
        if self.network.tries == self._tried:
            return None
        self._tried = self.network.tries
        if random.random() < self.chance:
            self._one(random.choices(list(self.kinds), list(self.kinds.values()))[0])
            return None
        for actor in ready:
            if actor.call is not None and random.random() < 0.4 and self._race(actor):
                break
        return None

    def _race(self, actor: Actor) -> bool:
        """Somebody is about to take a lease: its owner comes back in this very moment."""
        name, arguments = actor.call or ("", ())
        if name == "reap":
            owner = str(arguments[3])
        elif name == "owner" and arguments[1] == "condemn":
            owner = str(arguments[2])
        else:
            return False
        one = self.fleet.by_owner.get(owner)
        if one is None or not one.alive or not (one.link.cut or one.tree_stopped):
            return False
        one.link.cut = False
        one.go_on()
        for other in self.hub.actors:
            if other.party is one:
                other.wake = min(other.wake, self.hub.now)
        actor.wake = self.hub.now + 40
        return True

    def end(self) -> None:
        """No more faults: whatever is broken is mended."""
        self.on = False
        network = self.network
        network.lost_request = network.lost_reply = network.slow_reply = 0.0
        network.down = False
        for one in self.fleet.workers.values():
            one.link.cut = False
            if one.tree_stopped or one.frozen:
                one.go_on()
        self._back()
        for key in list(network.oracle.planted):
            self._put_back(key)
        self._empty()

    # --- what ------------------------------------------------------------------------------------------------------

    def _one(self, kind: str) -> None:
        alive = self.fleet.alive()
        if (self.network.down or self.away) and kind in {"wrong type", "maxmemory", "redis restart"}:
            return
        match kind:
            case "outage":
                self._outage()
            case "wrong type":
                if self.network.oracle.full or len(self.network.oracle.planted) > 1:
                    return
                self._plant()
            case "maxmemory":
                if self.network.oracle.full or self.network.oracle.planted:
                    return
                self._fill()
            case "redis restart":
                if self.network.oracle.full or self.network.oracle.planted:
                    return
                self._restart()
            case _:
                if not alive:
                    return
                one = self._victim(alive)
                if not self._befall(one, alive, kind):
                    return
        self.network.count(kind)
        self.network.note("fault", kind, (), "")

    def _victim(self, alive: list[Incarnation]) -> Incarnation:
        """Mostly one that has something to lose."""
        busy = [one for one in alive if one.owner.holding()]
        return self.hub.random.choice(busy if busy and self.hub.random.random() < 0.8 else alive)

    def _befall(self, one: Incarnation, alive: list[Incarnation], kind: str) -> bool:
        uniform = self.hub.uniform
        isolation_s = self.fleet.isolation_s
        long = self.hub.random.random() < 0.6
        if kind.startswith("crash"):
            how = {"crash": "guarded", "crash unguarded": "unguarded", "crash of machine": "machine"}[kind]
            if how == "machine" and any(other is not one and other.host == one.host for other in alive):
                return False
            one.crash(how)
        elif one.frozen:
            return False
        elif kind == "forkserver killed":
            if one.forkserver_dead:
                return False
            one.lose_forkserver()
        elif kind == "pause":
            one.pause(uniform(isolation_s - 1, isolation_s + 8) if long else uniform(0.2, 3.0), whole=True)
        elif kind == "pause of supervisor":
            one.pause(uniform(0.5, 8.0), whole=False)
        elif kind == "partition":
            if one.link.cut:
                return False
            one.link.cut = True
            seconds = uniform(isolation_s - 1, isolation_s + 8) if long else uniform(0.3, 4.0)
            self.hub.after(seconds, lambda: self._heal(one))
        elif kind == "drain":
            one.drain_asked.ring()
        return True

    def _heal(self, one: Incarnation) -> None:
        one.link.cut = False

    def _outage(self) -> None:
        long = self.hub.random.random() < 0.5
        seconds = self.hub.uniform(self.fleet.isolation_s - 1, self.fleet.isolation_s + 6) if long else 3.0
        self.network.down = True

        def back() -> None:
            self.network.down = False

        self.hub.after(seconds, back)

    def _restart(self) -> None:
        """At most one a seed: the server is killed, away for a while, and started again on its data."""
        assert self.server is not None
        del self.kinds["redis restart"]
        self.server.kill9()
        self.away = True
        long = self.hub.random.random() < 0.5
        self.hub.after(self.hub.uniform(8, self.fleet.isolation_s + 6) if long else 2.0, self._back)

    def _back(self) -> None:
        if self.away:
            assert self.server is not None
            self.server.start()
            self.away = False

    def _fill(self) -> None:
        self.client.config_set("maxmemory", 1)
        self.network.oracle.full = True
        self.hub.after(self.hub.uniform(0.5, 5.0), self._empty)

    def _empty(self) -> None:
        if self.network.oracle.full:
            self.client.config_set("maxmemory", 0)
            self.network.oracle.full = False

    # --- keys of a wrong type --------------------------------------------------------------------------------------

    def _plant(self) -> None:
        key = self._key()
        if key in self.network.oracle.planted:
            return
        if self.client.exists(key):
            self.client.rename(key, ASIDE + key)
        self.client.set(key, "not ours")
        self.network.oracle.planted[key] = None
        self.network.note("fault", "plant", (key,), "")
        long = self.hub.random.random() < 0.15
        self.hub.after(self.hub.uniform(10, 16) if long else self.hub.uniform(0.2, 4.0), lambda: self._put_back(key))

    def _key(self) -> str:
        """Of a task more often than of all."""
        random = self.hub.random
        agent = random.choice(next(iter(self.fleet.workers.values())).queues)
        owner = random.choice(list(self.fleet.by_owner))
        tasks = [name for name, seen in self.network.oracle.tasks.items() if seen.row.get("state") in OWNED | WAITING]
        if tasks and random.random() < 0.6:
            task_id = random.choice(tasks)
            of_task = (keys.task, keys.crumbs, keys.crumbs, keys.attempts, keys.attempts, keys.rq_job, keys.rq_results)
            return random.choice(of_task + (keys.followers,) * self.follows)(task_id)
        return random.choice(
            [
                keys.TASKS, keys.DUE, keys.AGES, keys.OWNERS, keys.STRAYS, keys.RQ_QUEUES, keys.owner(owner),
                keys.leases(owner), keys.key("honest", "key-0"), keys.GRANTS + owner,
                keys.host(self.fleet.by_owner[owner].host), keys.states("work"),
                *(keys.FOLLOWING, keys.ended("verified"))[: 2 * self.follows], *self.more_keys,
                keys.rq_queue(agent), *(keys.rq_registry(status, agent) for status in keys.RQ_REGISTRY),
            ]
        )  # fmt: skip

    def _put_back(self, key: str) -> None:
        if key not in self.network.oracle.planted:
            return
        if self.client.exists(ASIDE + key):
            self.client.rename(ASIDE + key, key)
        else:
            self.client.delete(key)
        self.network.oracle.planted.pop(key)
        self.network.note("fault", "put back", (key,), "")
