"""Whether every gate agrees with its breadcrumbs; the audit's rule `gate`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from proofq.policies import gate_audit
from proofq.policies.audit_view import Violation
from proofq.workers import keys
from proofq.workers.reading import reading, text
from proofq.workers.store import Store


def violations(store: Store) -> Iterator[Violation]:
    """Each contradiction, every gate seen as of one instant; keys of another type are another rule's."""
    with reading(keys.GATES):
        names = [text(name) for name in store.client.zrange(keys.GATES, 0, -1)]
    for name in names:
        with store.client.pipeline(transaction=True) as pipe, reading(keys.gate(name)):
            pipe.hgetall(keys.gate(name))
            pipe.lrange(keys.gate_crumbs(name), 0, -1)
            pipe.zscore(keys.GATES, name)
            raw, crumbs, listed = pipe.execute(raise_on_error=False)
        if listed is None or isinstance(raw, Exception) or isinstance(crumbs, Exception):
            continue
        if not raw:
            yield Violation("gate", name, "it is listed, and nothing is known of it")
            continue
        row = {text(field): text(value) for field, value in raw.items()}
        try:
            rows = [json.loads(one) for one in crumbs]
            yield from (Violation("gate", name, detail) for detail in gate_audit.contradictions(row, rows))
        except (ValueError, TypeError, IndexError) as problem:
            yield Violation("gate", name, f"its breadcrumbs cannot be read: {problem!r:.100}")
