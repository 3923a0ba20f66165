"""Whether everything that is leased under a cap is counted by it: `cap_counted`."""

from __future__ import annotations

from collections.abc import Iterator

from proofq.policies.audit_view import Violation
from proofq.workers import keys
from proofq.workers.reading import reading, text
from proofq.workers.scripts import DamagedKey
from proofq.workers.store import Store


def of_owner(store: Store, owner: str) -> Iterator[Violation]:
    """Of the leases of one owner; each is looked at in one step with the indexes that it names."""
    with reading(keys.leases(owner)):
        names = [text(name) for name in store.client.hkeys(keys.leases(owner))]
    for name in names:
        try:
            with reading(keys.task(name)):
                said = text(store.client.hget(keys.task(name), "caps") or b"").split()
        except DamagedKey:
            # Named among the tasks; it hides nothing of the others.
            continue
        for cap in said[::2]:
            yield from _uncounted(store, owner, name, cap)


def _uncounted(store: Store, owner: str, task_id: str, cap: str) -> Iterator[Violation]:
    with store.client.pipeline(transaction=True) as pipe, reading(keys.running(cap)):
        pipe.hget(keys.leases(owner), task_id)
        pipe.hget(keys.task(task_id), "caps")
        pipe.zscore(keys.running(cap), task_id)
        lease, said, score = pipe.execute(raise_on_error=False)
    damaged = any(isinstance(one, Exception) for one in (lease, said, score))
    if damaged or lease is None or said is None or cap not in text(said).split()[::2]:
        return
    if score is None:
        detail = f"{task_id} is leased under it and not counted; once its key is deleted the next lease counts anew"
        yield Violation("cap_counted", cap, detail)
