"""Function agents that ask a provider, as users do: a client library, its own retries off, and nothing caught."""

from __future__ import annotations

from typing import Any

import openai

import proofq


@proofq.agent(timeout_s=60, max_attempts=2, unproven=True)
def ask(ctx: Any, url: str, behaviour: str) -> str | None:
    """One question."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="dummy", max_retries=0, timeout=2.0) as client:
        said: Any = [{"role": "user", "content": "one word"}]
        return client.chat.completions.create(model=behaviour, messages=said).choices[0].message.content


@proofq.agent(timeout_s=60, max_attempts=2, unproven=True)
def odd(ctx: Any) -> None:
    """Fails in a way that nobody has a rule for."""
    raise Unheard("of")


class Unheard(Exception):
    """An error of its own."""
