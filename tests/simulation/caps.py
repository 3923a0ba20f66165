"""Agents under caps in the simulator: what their leases must meet, and that no cap is ever exceeded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from proofq.policies import caps
from proofq.policies.caps import Cap, Rate
from proofq.workers import keys
from tests.simulation.hub import Broken
from tests.simulation.lean import LeanClient

if TYPE_CHECKING:
    from proofq.workers.snapshot import Peek

_SHARED = Cap("provider:q", 3)
#: The caps of some agents, in the seeds that have any.
CAPS: Mapping[str, tuple[Cap, ...]] = {
    "honest": (Cap("agent:honest", 2), _SHARED),
    "looker": (_SHARED,),
    "crasher": (Cap("agent:crasher", 1, Rate(2, 4.0)),),
}
KEYS = [keys.running(cap.name) for each in CAPS.values() for cap in each]
KEYS += [keys.starts("agent:crasher"), keys.TURNS]


#: Weight and cost of some agents' turns there, of which some are known to nobody.
TURNS: Mapping[str, str] = {"honest": "3:500000", "liar": "1:0", "looker": "2:2000000"}


def words(queue: str) -> str:
    """What a worker says of the queue's turns and caps."""
    agent = queue.partition(".")[2]
    return f"{TURNS.get(agent, '1:1000000')} {caps.words(CAPS.get(agent, ()))}".strip()


class Watch:
    """Counts by the leases themselves, whatever the caps' own keys say."""

    def __init__(self, lean: LeanClient) -> None:
        self._lean = lean
        self._begun: dict[str, list[int]] = defaultdict(list)

    def granted(self, agent: str, now: int, tasks: Mapping[str, Peek]) -> None:
        """Somebody was let begin: then no cap of the agent's is exceeded."""
        if agent not in CAPS:
            return
        runs = Counter(tasks[name].row.get("agent") for name in self._leased() if name in tasks)
        self._begun[agent].append(now)
        for cap in CAPS[agent]:
            under = [name for name, each in CAPS.items() if cap in each]
            count = sum(runs[name] for name in under)
            if cap.max_running is not None and count > cap.max_running:
                raise Broken(f"cap_exceeded: {count} run under {cap.name}, which lets {cap.max_running} run")
            if cap.rate is not None:
                recent = [at for name in under for at in self._begun[name] if at > now - cap.per_ms]
                if len(recent) > cap.rate.starts:
                    raise Broken(f"cap_exceeded: {len(recent)} began under {cap.name} within {cap.rate.per_s} s")

    def _leased(self) -> list[str]:
        found: list[bytes] = []
        # Those that a stranger's key stands in the place of are still what is leased.
        for key in self._lean.execute_command("KEYS", f"*{keys.LEASES}*"):
            if self._lean.execute_command("TYPE", key) == b"hash":
                found += self._lean.execute_command("HKEYS", key)
        return [name.decode() for name in found]
