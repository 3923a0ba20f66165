"""Gates that an operator moves, that a stranger damages, that nobody names any more; and what is kept of them."""

from __future__ import annotations

import json

import pytest
import redis

from proofq.policies import gate
from proofq.workers import audit_gates, gate_view, gates, keys, status
from proofq.workers.audit import Audit
from proofq.workers.scripts import DamagedKey
from tests.gate_fleet import NAME, PROVIDER, Fleet


@pytest.fixture
def fleet(redis_client: redis.Redis) -> Fleet:
    """With a key that nobody has seen before."""
    return Fleet(redis_client)


def test_open_by_hand(fleet: Fleet) -> None:
    """What was refused lets one try first; what was closed by hand is open at once; and again is nothing new."""
    fleet.fails("auth")
    fleet.fails("auth")
    (found,) = gates.act(fleet.store, "open", "p", "ann", "mended")
    assert found.state == "probing"
    fleet.answers()
    for verb, state in (("hold", "held"), ("isolate", "isolated")):
        (found,) = gates.act(fleet.store, verb, "p", "ann", "because")  # type: ignore[arg-type]
        assert (found.state, found.reason) == (state, "because")
        fleet.is_waiting(state)
        (found,) = gates.act(fleet.store, "open", "p", "ann", "again", NAME.partition(":")[2])
        assert found.state == "open"
        fleet.let_in()
    crumbs = len(fleet.events())
    gates.act(fleet.store, "open", "p", "ann", "again")
    assert len(fleet.events()) == crumbs


def test_an_opening_that_is_sent_again_opens_once(fleet: Fleet) -> None:
    """Of a key that was refused: one tries it first, also where the reply to that was lost; and it has two tries."""
    fleet.fails("auth")
    fleet.fails("auth")
    for _ in range(2):
        fleet.store.call("gate", "open", NAME, "ann", "r1", "mended")
    assert fleet.now().state == "probing"
    changes = [fleet.fails("auth"), fleet.fails("auth")]
    assert [change and change.event for change in changes] == ["suspect", "hold"]


def test_what_is_opened_by_hand_has_no_ramp(fleet: Fleet) -> None:
    """Whoever opens it wants it open."""
    fleet.opened()
    fleet.fails("rate_limited", None, 2)
    fleet.clock.after(2)
    fleet.let_in()
    fleet.is_waiting("open")
    for verb in ("hold", "open"):
        gates.act(fleet.store, verb, "p", "ann", "")
    fleet.let_in()
    fleet.let_in()


def test_an_isolated_provider_is_so_whatever_the_key(fleet: Fleet) -> None:
    """A key that nobody has seen before is isolated as well; opened, it begins as any."""
    gates.act(fleet.store, "isolate", "p", "ann", "abroad")
    gates.declare(fleet.store, [PROVIDER], {"KEY": "another"}, "test")
    assert [one.state for one in gates.read_all(fleet.store)] == ["isolated", "isolated"]
    gates.act(fleet.store, "open", "p", "ann", "home")
    assert fleet.client.exists(keys.ISOLATED) == 0


def test_who_is_no_provider_is_told(fleet: Fleet) -> None:
    """The sentence names those there are; nothing is written."""
    with pytest.raises(gates.UnknownProvider, match="there are gates of: p"):
        gates.act(fleet.store, "open", "q", "ann", "")
    with pytest.raises(gates.UnknownProvider) as caught:
        gates.act(fleet.store, "open", "p", "ann", "", "sk-the-key-itself")
    assert "sk-the" not in str(caught.value)


def test_a_reason_may_be_any_bytes(fleet: Fleet) -> None:
    """As a shell gives them; and it may be long."""
    (found,) = gates.act(fleet.store, "hold", "p", "ann", "\udcff" + "x" * 1000)
    assert found.reason == "?" + "x" * 299


def test_a_damaged_gate_keeps_no_other_from_being_closed(fleet: Fleet) -> None:
    """Whoever stops a provider on a bad night stops all keys there are; then hears what is wrong with one."""
    names = [gate.name("p", key) for key in ("000000000000", "ffffffffffff")]
    for name in names:
        gates.admit(fleet.store, name, "o t 1-f 1", "test")
    fleet.client.delete(keys.gate(names[0]))
    fleet.client.set(keys.gate(names[0]), "stranger")
    with pytest.raises(DamagedKey, match="000000000000"):
        gates.act(fleet.store, "isolate", "p", "ann", "")
    assert {one.name: one.state for one in gates.read_all(fleet.store)} == {
        names[0]: gates.DAMAGED, NAME: "isolated", names[1]: "isolated",
    }  # fmt: skip


def test_a_damaged_gate_lets_nobody_through(fleet: Fleet) -> None:
    """A stranger's key in its place: named, closed, and no reason for anything to stop."""
    fleet.client.delete(keys.gate(NAME))
    fleet.client.set(keys.gate(NAME), "stranger")
    assert gates.read(fleet.store, NAME).state == gates.DAMAGED
    fleet.client.delete(keys.gate(NAME))
    fleet.client.hset(keys.gate(NAME), mapping={"state": "cooling", "until": "x", "epoch": "x", "proven": "1"})
    assert fleet.let_in().epoch == 1


def test_gates_that_nobody_names_are_forgotten(fleet: Fleet) -> None:
    """After thirty days without a worker that has the key, by the next that has another."""
    fleet.clock.after(20 * 86_400)
    gates.declare(fleet.store, [PROVIDER], {"KEY": "k"}, "test")
    fleet.clock.after(20 * 86_400)
    gates.declare(fleet.store, [PROVIDER], {"KEY": "other"}, "test")
    assert len(gates.read_all(fleet.store)) == 2
    fleet.client.zrem(keys.GATES, gate.name("p", gate.fingerprint("other")))
    fleet.clock.after(11 * 86_400)
    gates.declare(fleet.store, [PROVIDER], {"KEY": "new"}, "test")
    assert [one.key for one in gates.read_all(fleet.store)] == [gate.fingerprint("new")]
    assert fleet.client.exists(keys.gate(NAME), keys.gate_crumbs(NAME)) == 0


def test_breadcrumbs_are_bounded_and_legal(fleet: Fleet) -> None:
    """Each move is one of the table's, from where the last one led; the newest 200 are kept."""
    fleet.opened()
    for number in range(130):
        fleet.fails("rate_limited", None, 1.0)
        fleet.clock.after(10)
        if number == 10:
            rows = gates.crumbs(fleet.store, NAME)
            assert [gate.TABLE[row[1], row[2]] for row in rows] == [row[3] for row in rows]
            assert [row[1] for row in rows[1:]] == [row[3] for row in rows[:-1]]
            assert [row[5] for row in rows] == list(range(1, len(rows) + 1))
    assert len(fleet.events()) == gate.CRUMBS


def test_the_audit_looks_at_gates(fleet: Fleet) -> None:
    """Clean whatever moved them; a state that no breadcrumb leads to, or a number that is none, is named."""
    fleet.opened()
    for one in [fleet.let_in() for _ in range(4)]:
        fleet.fails("overloaded", one)
    fleet.clock.after(30)
    fleet.let_in()
    gates.act(fleet.store, "hold", "p", "ann", "")
    assert list(audit_gates.violations(fleet.store)) == []
    fleet.client.hset(keys.gate(NAME), mapping={"state": "open", "ramp_next": "soon"})
    found = [one for one in Audit(fleet.store).run().violations if one.rule == "gate"]
    assert {(one.rule, one.subject) for one in found} == {("gate", NAME)}
    assert len(found) == 2
    fleet.client.delete(keys.gate(NAME))
    details = [one.detail for one in audit_gates.violations(fleet.store)]
    assert details == ["it is listed, and nothing is known of it"]


@pytest.mark.parametrize("key", [keys.GATES, keys.UNCONFIRMED])
def test_status_shows_the_rest(fleet: Fleet, key: str) -> None:
    """A stranger's key in the place of a list is named, and the operator sees everything else."""
    fleet.client.delete(key)
    fleet.client.set(key, "stranger")
    shown = status.read(fleet.store)
    assert (shown.gates, shown.unconfirmed) == ([gates.read(fleet.store, NAME)] if key != keys.GATES else [], [])
    assert any(f"the key {key} holds" in sentence for sentence in shown.attention())


def _worker(fleet: Fleet, owner: str, **passes: str) -> None:
    row = {"id": owner, "name": owner, "lane": "work", "state": "ready", "agents": "a", "gates": json.dumps(passes)}
    fleet.store.enlist(owner, "host", 600_000, row)
    fleet.client.zadd(keys.OWNERS, {owner: 9e15})


def test_which_gate_keeps_a_task_waiting(fleet: Fleet) -> None:
    """The one that opens first, of those that its workers pass; none while one of them is open, or passes none."""
    other = gate.name("p", gate.fingerprint("other"))
    gates.declare(fleet.store, [PROVIDER], {"KEY": "other"}, "test")
    _worker(fleet, "w1", a=NAME)
    _worker(fleet, "w2", a=other)
    assert gate_view.before(fleet.store, "b", "work") is None
    assert gate_view.before(fleet.store, "a", "work") is None
    gates.act(fleet.store, "hold", "p", "ann", "", gate.fingerprint("other"))
    assert gate_view.before(fleet.store, "a", "work") is None
    later = {"state": "cooling", "until": 4_000_000_000_000}
    fleet.client.hset(keys.gate(NAME), mapping=later)
    found = gate_view.before(fleet.store, "a", "work")
    assert found is not None
    assert (found.name, found.until) == (NAME, 4_000_000_000_000)
    fleet.client.hset(keys.gate(NAME), "until", 1)
    assert gate_view.before(fleet.store, "a", "work") is None
    fleet.client.hset(keys.gate(NAME), mapping={**later, "state": "probing", "probe": "o t 1-f", "probe_until": "9e15"})
    fleet.client.hset(keys.leases("o"), "t", "1-f")
    found = gate_view.before(fleet.store, "a", "work")
    assert found is not None
    assert found.probe == "t"
    _worker(fleet, "w3")
    assert gate_view.before(fleet.store, "a", "work") is None
