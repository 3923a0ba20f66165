"""What a command line, an agent's or a proof's, cannot be given as an argument, told at enqueue and not by an attempt.

The attempt checks again what it really passes (`placeholders.expand_command`); here is only known which inputs stand
where, which is also all that a worker publishes of a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proofq.policies import placeholders
from proofq.policies.placeholders import MAX_ARGUMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from proofq.policies.agent import JSON, AgentSpec


@dataclass(frozen=True)
class Passing:
    """Where the inputs of an agent stand.

    `bare`: those that an argument begins with, with no `--` before it. `argued`: those in any argument or variable.
    """

    bare: frozenset[str] = frozenset()
    argued: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, JSON]:
        """Give the plain JSON object that `from_dict` reads."""
        return {"bare": sorted(self.bare), "argued": sorted(self.argued)}

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> Passing:
        """Read what `to_dict` gave; an older writer says nothing, and then the attempt alone checks."""
        return cls(frozenset(data.get("bare", ())), frozenset(data.get("argued", ())))


def of_agent(spec: AgentSpec) -> Passing:
    """How an agent's command, its variables and the commands of its proofs take their inputs."""
    found = [of(proof.options["argv"]) for proof in spec.proofs if "argv" in proof.options]
    found.append(of(spec.command, spec.env.values()))
    return Passing(
        frozenset().union(*(each.bare for each in found)),
        frozenset().union(*(each.argued for each in found)),
    )


def of(command: Sequence[str], env: Iterable[str] = ()) -> Passing:
    """How a command, an argv template, and the values of its variables take their inputs."""
    bare: set[str] = set()
    argued: set[str] = set()
    options_ended = False
    for element in command:
        used = placeholders.names(element)
        argued |= used
        if not options_ended:
            bare |= {name for name in used if element.startswith(f"{{{name}}}")}
        options_ended = options_ended or element == "--"
    for value in env:
        argued |= placeholders.names(value)
    return Passing(frozenset(bare - placeholders.BUILTIN), frozenset(argued - placeholders.BUILTIN))


def problems(passing: Passing, inputs: Mapping[str, JSON]) -> list[str]:
    """Give what is wrong with `inputs`, which fit their schema, as sentences that name the input."""
    found = []
    for name in sorted(passing.argued & inputs.keys()):
        text = placeholders.expand(f"{{{name}}}", inputs)
        size = len(text.encode("utf-8"))
        if name in passing.bare and text.startswith("-"):
            found.append(
                f"input {name} starts with '-', and the program would read it as an option; give a value that does "
                f'not (a path as ./{text[:20]}), or put "--" before {{{name}}} in the command'
            )
        if size >= MAX_ARGUMENT_BYTES:
            found.append(
                f"input {name} takes {size} bytes, more than the {MAX_ARGUMENT_BYTES - 1} that Linux passes to a "
                f"program in one argument; put the data into a file and give its path, or declare stdin = {{{name}}}"
            )
    return found
