"""SDKs of providers, each asked as its documentation shows, with its own retries off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proofq.policies.answers import failure_in

#: Of the clients; what hangs, hangs for longer.
TIMEOUT_S = 0.6
TALK: Any = [{"role": "user", "content": "x"}]

Ask = Callable[[str], Any]


@dataclass(frozen=True)
class Client:
    """How one library is asked: its provider's dialect, a whole answer, and an answer in pieces where it has that."""

    dialect: str
    ask: Ask
    stream: Ask | None = None
    #: Situations that it may never come back from.
    without: frozenset[str] = frozenset()
    #: Anything it raises that is not of the answer (it keeps no body, say) shows in `expected.py`.


def _checked(said: Any) -> Any:
    """A login page comes as text, an error inside a 200 as an answer without one: who receives it must look, if nobody
    else does."""
    if failure_in(said) is not None:
        return said
    if isinstance(said, str):
        return json.loads(said)
    if getattr(said, "choices", ()) is None:
        return said.choices[0]
    return said


def _openai(url: str) -> Any:
    import openai

    return openai.OpenAI(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S)


def _ask_openai(url: str) -> Any:
    with _openai(url) as client:
        return _checked(client.chat.completions.create(model="m", messages=TALK))


def _stream_openai(url: str) -> Any:
    with _openai(url) as client:
        return list(client.chat.completions.create(model="m", messages=TALK, stream=True))


def _ask_openai_async(url: str) -> Any:
    import openai

    async def ask() -> Any:
        async with openai.AsyncOpenAI(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
            return _checked(await client.chat.completions.create(model="m", messages=TALK))

    return asyncio.run(ask())


def _stream_openai_async(url: str) -> Any:
    import openai

    async def ask() -> Any:
        async with openai.AsyncOpenAI(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
            pieces = await client.chat.completions.create(model="m", messages=TALK, stream=True)
            return [piece async for piece in pieces]

    return asyncio.run(ask())


def _ask_groq(url: str) -> Any:
    import groq

    with groq.Groq(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
        return _checked(client.chat.completions.create(model="m", messages=TALK))


def _stream_groq(url: str) -> Any:
    import groq

    with groq.Groq(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
        return list(client.chat.completions.create(model="m", messages=TALK, stream=True))


def _ask_anthropic(url: str) -> Any:
    import anthropic

    with anthropic.Anthropic(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
        return _checked(client.messages.create(model="m", max_tokens=9, messages=TALK))


def _stream_anthropic(url: str) -> Any:
    import anthropic

    with anthropic.Anthropic(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S) as client:
        return list(client.messages.create(model="m", max_tokens=9, messages=TALK, stream=True))


def _genai(url: str) -> Any:
    from google import genai

    return genai.Client(api_key="dummy", http_options={"base_url": url, "timeout": int(TIMEOUT_S * 1000)})


def _ask_genai(url: str) -> Any:
    client = _genai(url)
    return client.models.generate_content(model="m", contents="x")


def _stream_genai(url: str) -> Any:
    client = _genai(url)
    return list(client.models.generate_content_stream(model="m", contents="x"))


def _mistral(url: str) -> Any:
    from mistralai.client import Mistral

    return Mistral(api_key="dummy", server_url=url, timeout_ms=int(TIMEOUT_S * 1000))


def _ask_mistral(url: str) -> Any:
    with _mistral(url) as client:
        return client.chat.complete(model="m", messages=TALK)


def _stream_mistral(url: str) -> Any:
    with _mistral(url) as client:
        return list(client.chat.stream(model="m", messages=TALK))


def _ask_cohere(url: str) -> Any:
    import cohere

    client = cohere.ClientV2(api_key="dummy", base_url=url, timeout=TIMEOUT_S)
    return client.chat(model="m", messages=TALK, request_options={"max_retries": 0})


def _litellm(url: str, stream: bool, model: str) -> Any:
    import litellm

    return litellm.completion(
        model=model, messages=TALK, api_key="dummy", api_base=url, timeout=TIMEOUT_S, num_retries=0, max_retries=0,
        stream=stream,
    )  # fmt: skip


def _ask_litellm(url: str) -> Any:
    return _litellm(url, False, "openai/m")


def _stream_litellm(url: str) -> Any:
    return list(_litellm(url, True, "openai/m"))


def _ask_litellm_anthropic(url: str) -> Any:
    return _litellm(url, False, "anthropic/m")


def _bedrock(url: str) -> Any:
    import boto3
    from botocore.config import Config

    settings = Config(
        retries={"total_max_attempts": 1}, connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, region_name="us-east-1"
    )
    return boto3.client(
        "bedrock-runtime", endpoint_url=url, config=settings, aws_access_key_id="a", aws_secret_access_key="b"
    )


def _ask_bedrock(url: str) -> Any:
    said = _bedrock(url).converse(modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])
    return said["output"]["message"]


def _stream_bedrock(url: str) -> Any:
    said = _bedrock(url).converse_stream(modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])
    return list(said["stream"])


def _ask_hf(url: str) -> Any:
    from huggingface_hub import InferenceClient

    client = InferenceClient(base_url=url, api_key="dummy", timeout=TIMEOUT_S)
    return _checked(client.chat_completion(messages=TALK, model="m"))


def _ask_ollama(url: str) -> Any:
    import ollama

    return ollama.Client(host=url, timeout=TIMEOUT_S).chat(model="m", messages=TALK)


def _stream_ollama(url: str) -> Any:
    import ollama

    return list(ollama.Client(host=url, timeout=TIMEOUT_S).chat(model="m", messages=TALK, stream=True))


def _ask_pydantic_ai(url: str) -> Any:
    import openai
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = openai.AsyncOpenAI(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S)
    return Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))).run_sync("x")


def _ask_agents(url: str) -> Any:
    import openai
    from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled

    set_tracing_disabled(True)
    client = openai.AsyncOpenAI(api_key="dummy", base_url=url, max_retries=0, timeout=TIMEOUT_S)
    agent = Agent(name="a", model=OpenAIChatCompletionsModel("m", openai_client=client))
    return asyncio.run(Runner.run(agent, "x"))


def _ask_mcp(url: str) -> Any:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def ask() -> Any:
        async with (
            asyncio.timeout(4 * TIMEOUT_S),
            streamable_http_client(url) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            return await session.list_tools()

    return asyncio.run(ask())


CLIENTS: dict[str, Client] = {
    "openai": Client("openai", _ask_openai, _stream_openai),
    "openai async": Client("openai", _ask_openai_async, _stream_openai_async),
    "groq": Client("openai", _ask_groq, _stream_groq),
    "anthropic": Client("anthropic", _ask_anthropic, _stream_anthropic),
    "google-genai": Client("google", _ask_genai, _stream_genai),
    "mistralai": Client("mistral", _ask_mistral, _stream_mistral),
    "cohere": Client("cohere", _ask_cohere),
    "litellm": Client("openai", _ask_litellm, _stream_litellm),
    "litellm anthropic": Client("anthropic", _ask_litellm_anthropic),
    "boto3": Client("aws", _ask_bedrock, _stream_bedrock),
    "huggingface_hub": Client("huggingface", _ask_hf),
    "ollama": Client("ollama", _ask_ollama, _stream_ollama),
    "pydantic-ai": Client("openai", _ask_pydantic_ai),
    "openai-agents": Client("openai", _ask_agents),
    "mcp": Client("openai", _ask_mcp),
}
