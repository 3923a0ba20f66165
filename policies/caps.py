"""Caps: how many attempts of an agent, or of all agents of a provider, run at once and begin within a time.

What an agent's leases must meet is put together here, as words that travel with every wish; the lease step counts what
is leased, and compares. A cap has a name of its own, "agent:<name>" or "provider:<name>", so that all who share it are
counted together, whatever the worker and the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proofq.policies.agent import AgentSpec, Provider


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `starts` attempts begin within any `per_s` seconds."""

    starts: int
    per_s: float

    def to_dict(self) -> dict[str, Any]:
        """Give the plain JSON object that `from_dict` reads."""
        return {"starts": self.starts, "per_s": self.per_s}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rate:
        """Read what `to_dict` gave."""
        return cls(data["starts"], data["per_s"])


@dataclass(frozen=True, slots=True)
class Cap:
    """What a lease must meet. `max_running` None: any number at once; `rate` None: as many as come."""

    name: str
    max_running: int | None = None
    rate: Rate | None = None

    @property
    def owner(self) -> str:
        """Whose it is: "agent" or "provider"."""
        return self.name.partition(":")[0]

    @property
    def of(self) -> str:
        """The agent's or the provider's name."""
        return self.name.partition(":")[2]

    @property
    def per_ms(self) -> int:
        """The time of its rate in whole milliseconds, 0 for none."""
        return 0 if self.rate is None else max(1, round(1000 * self.rate.per_s))

    @property
    def words(self) -> str:
        """As the lease step reads it: its name, how many at once, how many starts, in how many ms; 0: any number."""
        return f"{self.name} {self.max_running or 0} {self.rate.starts if self.rate else 0} {self.per_ms}"


def of_agent(spec: AgentSpec, provider: Provider | None) -> tuple[Cap, ...]:
    """The caps that each lease of the agent must meet: its own first; none where nothing is declared."""
    found = [Cap(f"agent:{spec.name}", spec.max_running, spec.rate)]
    if provider is not None:
        found.append(Cap(f"provider:{provider.name}", provider.max_running, provider.rate))
    return tuple(one for one in found if one.max_running or one.rate)


def words(caps: tuple[Cap, ...]) -> str:
    """All of them for one queue; '' for none."""
    return " ".join(one.words for one in caps)


def read(said: str) -> tuple[Cap, ...]:
    """What `words` gave; what is none of that is left out."""
    parts = said.split()
    found = []
    for name, most, starts, per_ms in zip(*(iter(parts),) * 4, strict=False):
        if most.isdecimal() and starts.isdecimal() and per_ms.isdecimal():
            rate = Rate(int(starts), int(per_ms) / 1000) if int(starts) else None
            found.append(Cap(name, int(most) or None, rate))
    return tuple(found)
