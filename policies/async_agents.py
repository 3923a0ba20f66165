"""What a declaration of an `async def` agent may say: its attempts share a process, and so an environment."""

from __future__ import annotations

from dataclasses import replace

from proofq.policies import placeholders
from proofq.policies.agent import AgentSpec, DeclarationProblem


def shared(spec: AgentSpec) -> AgentSpec:
    """The spec of a function agent as that of an async one. Raises DeclarationProblem for what cannot be shared."""
    if spec.cwd != AgentSpec("", "function").cwd:
        raise DeclarationProblem(
            "its attempts share a process and so a working directory; leave cwd out and use ctx.workdir", key=("cwd",)
        )
    if spec.reuse:
        raise DeclarationProblem("all its attempts share a process already; leave reuse out", key=("reuse",))
    for name, value in spec.env.items():
        own = placeholders.names(value) - {"project"}
        if own:
            raise DeclarationProblem(
                f"env.{name}: {{{min(own)}}} is a task's own, and async attempts share one environment; "
                "give it as an input",
                key=("env", name),
            )
    return replace(spec, is_async=True)
