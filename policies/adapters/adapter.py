"""What is known about one kind of agent program: where it writes, and how to read what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proofq.policies.ended import Claim, Ending
from proofq.policies.failure import Failure
from proofq.policies.live import Heard


@dataclass(frozen=True)
class Adapter:
    """One kind of agent program. Pure: everything in it is a value or a function of what was read.

    `outcome(ending, document)` says what its end means: a claim, or a failure with its class. `document` is True where
    a `json` proof wants the claim to be one strict JSON document. `transcripts` are globs of the files in which it
    writes down what it does while it does it, relative to its HOME; () where it keeps none. `env` are variables it is
    given unless the declaration sets them. `live` reads one line of stdout while it runs: a failure that it
    will retry by itself, or that the provider has answered; None where it says nothing of the kind. `reads_stdout`:
    `outcome` needs the newest MiB of stdout, not just its tail. `usage` is what an ended attempt says it has spent, by
    the names of `budget.SAID`; {} where it says nothing.
    """

    name: str
    outcome: Callable[[Ending, bool], Claim | Failure]
    transcripts: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    live: Callable[[bytes], Heard] | None = None
    reads_stdout: bool = False
    usage: Callable[[Ending], Mapping[str, float]] = lambda _: {}
