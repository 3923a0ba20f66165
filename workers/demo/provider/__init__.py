"""A provider on loopback that misbehaves on request: what the demo's and the tests' agents talk to.

It speaks the APIs of OpenAI (chat completions, responses) and Anthropic (messages), plain and streamed, well enough
for real agent programs, and needs nothing but the standard library. `behaviour` says what one can ask for.
"""

from proofq.workers.demo.provider.server import Provider

__all__ = ["Provider"]
