"""What is raised without any provider: asyncio, subprocess, pydantic, the host; wrappers around real errors of real
libraries; keys that were never given; and words about failures in errors that are about something else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.sdks import http_clients
from tests.sdks.sdk_clients import CLIENTS, TALK, TIMEOUT_S
from tests.sdks.server import FaultServer

#: What a page, a prompt or an agent's own answer may speak of.
QUOTE = (
    "Error code: 429 - Too Many Requests: rate limit exceeded, insufficient_quota; invalid api key, try again in 20s"
)

Situation = tuple[str, Callable[[], Any]]


def situations(server: FaultServer) -> Iterator[Situation]:
    """Each with what provokes it."""
    yield from _asyncio()
    yield from _subprocess()
    yield from _pydantic()
    yield from _host()
    yield from _unsent(server)
    yield from _wrapped(server)
    yield from _negatives(server)


def _asyncio() -> Iterator[Situation]:
    async def timeout() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(9)

    async def cancelled() -> None:
        task = asyncio.create_task(asyncio.sleep(9))
        await asyncio.sleep(0)
        task.cancel()
        await task

    async def cut() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"half")
        reader.feed_eof()
        await reader.readexactly(9)

    async def overrun() -> None:
        reader = asyncio.StreamReader(limit=4)
        reader.feed_data(b"x" * 99)
        await reader.readuntil(b"\n")

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.open_connection("127.0.0.1", 1))
            tasks.create_task(asyncio.sleep(9))

    yield "asyncio timeout", lambda: asyncio.run(timeout())
    yield "asyncio wait_for", lambda: asyncio.run(asyncio.wait_for(asyncio.Event().wait(), 0.01))
    yield "asyncio cancelled", lambda: asyncio.run(cancelled())
    yield "asyncio IncompleteReadError", lambda: asyncio.run(cut())
    yield "asyncio LimitOverrunError", lambda: asyncio.run(overrun())
    yield "asyncio TaskGroup refused", lambda: asyncio.run(group())
    yield "asyncio refused", lambda: asyncio.run(asyncio.open_connection("127.0.0.1", 1))
    yield "asyncio no_such_host", lambda: asyncio.run(asyncio.open_connection("no-such-host.invalid", 1))
    yield "futures timeout", lambda: concurrent.futures.Future[None]().result(0.01)
    yield "futures pool broken", _broken_pool


def _broken_pool() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        pool.submit(os._exit, 3).result(20)


def _subprocess() -> Iterator[Situation]:
    def run(code: str, **more: Any) -> Any:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **more)

    yield "subprocess exit 3", lambda: run("raise SystemExit(3)")
    yield "subprocess bug", lambda: run("{}['x']")
    yield "subprocess killed", lambda: run("import os; os.kill(os.getpid(), 9)")
    yield "subprocess segfault", lambda: run("import os; os.kill(os.getpid(), 11)")
    yield "subprocess said 429", lambda: run("import sys; sys.exit('Error: 429 Too Many Requests, try again in 20s')")
    yield "subprocess said 401", lambda: run("import sys; sys.exit('API Error: 401 invalid api key')")
    yield "subprocess quotes, then a bug", lambda: run(f"print({QUOTE!r}); [][1]")
    yield "subprocess quotes in a bug", lambda: run(f"raise ValueError({'cannot parse ' + repr(QUOTE)!r})")
    yield (
        "subprocess openai's 429",
        lambda: run(
            "class RateLimitError(Exception): pass\nRateLimitError.__module__ = 'openai'\n"
            "raise RateLimitError(\"Error code: 429 - {'error': {'code': 'rate_limit_exceeded'}}\")"
        ),
    )
    yield "subprocess timeout", lambda: run("import time; time.sleep(30)", timeout=0.3)
    yield (
        "subprocess timeout after 429",
        lambda: subprocess.run(
            ["sh", "-c", "echo 'last status: 429 Too Many Requests' >&2; exec sleep 30"],
            capture_output=True,
            timeout=0.3,
        ),
    )
    yield "subprocess no such program", lambda: subprocess.run(["/no/such/program"])
    yield "subprocess not executable", lambda: subprocess.run(["/etc/passwd"])
    yield "subprocess too long", lambda: subprocess.run(["/bin/true", "x" * 3_000_000])


def _pydantic() -> Iterator[Situation]:
    import pydantic

    class Answer(pydantic.BaseModel):
        title: str
        count: int

    yield "pydantic ValidationError", lambda: Answer.model_validate({"title": 3})
    yield "pydantic json", lambda: Answer.model_validate_json('{"title": "x", ')
    yield "pydantic quotes", lambda: Answer.model_validate({"title": QUOTE, "count": QUOTE})
    yield "pydantic user error", lambda: pydantic.TypeAdapter(asyncio.Event)
    yield "json half", lambda: json.loads('{"a": ')
    yield "json quotes", lambda: json.loads(QUOTE)


def _host() -> Iterator[Situation]:
    yield "host full", lambda: Path("/dev/full").write_text("x" * 100_000)
    yield "host files", _too_many_files
    yield "host memory", lambda: bytearray(1 << 60)
    yield "host no file", lambda: Path("/no/such/file").read_text()
    yield "host recursion", _recursion


def _too_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(999):
            opened.enter_context(tempfile.TemporaryFile())


def _recursion() -> None:
    _recursion()


def _unsent(server: FaultServer) -> Iterator[Situation]:
    """Nothing was sent: there is no key, or the request is none."""
    import anthropic
    import boto3
    import groq
    import openai
    from google import genai
    from mistralai.client import Mistral

    yield "no key openai", lambda: openai.OpenAI()
    yield "no key groq", lambda: groq.Groq()
    yield "no key anthropic", lambda: anthropic.Anthropic().messages.create(model="m", max_tokens=9, messages=TALK)
    yield "no key google-genai", lambda: genai.Client().models.generate_content(model="m", contents="x")
    yield "no key boto3", lambda: boto3.client("s3", region_name="us-east-1").list_buckets()
    yield "no region boto3", lambda: boto3.client("bedrock-runtime")
    yield (
        "no parameter boto3",
        lambda: boto3.client("s3", region_name="us-east-1").get_object(Bucket="b", Key="k", Nonsense=1),
    )
    yield (
        "too long anthropic",
        lambda: anthropic.Anthropic(api_key="x").messages.create(model="m", max_tokens=10_000_000, messages=TALK),
    )
    yield "bad header openai", lambda: _bad_header(server.url("openai", "page"))
    yield (
        "bad url mistralai",
        lambda: Mistral(api_key="x", server_url="nonsense").chat.complete(model="m", messages=TALK),
    )
    yield "bad url openai", lambda: CLIENTS["openai"].ask("ftp://127.0.0.1")
    yield "bad url requests", lambda: _requests().get("127.0.0.1/x")


def _bad_header(url: str) -> Any:
    import openai

    client = openai.OpenAI(api_key="sk-abcdefghijklmnopqrstuvw\n", base_url=url, max_retries=0)
    return client.chat.completions.create(model="m", messages=TALK)


def _requests() -> Any:
    import requests

    return requests


def _wrapped(server: FaultServer) -> Iterator[Situation]:
    """A real error of a real SDK, behind what others put around it."""
    import pybreaker
    import tenacity

    def limited() -> Any:
        return CLIENTS["openai"].ask(server.url("openai", "limit_after"))

    def refused_key() -> Any:
        return CLIENTS["anthropic"].ask(server.url("anthropic", "key"))

    def raising(outer: Exception, explicit: bool) -> Any:
        try:
            return limited()
        except Exception as error:
            if explicit:
                raise outer from error
            raise outer  # noqa: B904 - the implicit chain is meant

    def hidden() -> None:
        try:
            limited()
        except Exception as error:  # noqa: BLE001 - whatever it is
            raise RuntimeError("step failed", error) from None

    def many() -> None:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            met = [pool.submit(limited).exception(), pool.submit(refused_key).exception()]
        raise ExceptionGroup("both", [one for one in met if isinstance(one, Exception)])

    async def gathered() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(limited))

    breaker = pybreaker.CircuitBreaker(fail_max=1, reset_timeout=60)
    yield "wrapped from", lambda: raising(RuntimeError("step failed"), True)
    yield "wrapped during", lambda: raising(ValueError("step failed"), False)
    yield "wrapped in args", hidden
    yield "wrapped tenacity", lambda: tenacity.retry(stop=tenacity.stop_after_attempt(2))(limited)()
    yield "wrapped group", many
    yield "wrapped TaskGroup", lambda: asyncio.run(gathered())
    yield "wrapped pybreaker first", lambda: breaker.call(limited)
    yield "wrapped pybreaker open", lambda: breaker.call(limited)
    yield "wrapped litellm router", lambda: _router(server)
    yield "wrapped pydantic-ai limit", lambda: _usage(server)
    yield "wrapped openai-agents turns", lambda: _turns(server)
    yield "wrapped mcp stdio dies", _mcp_stdio
    yield "wrapped subprocess of an SDK", lambda: _sdk_in_a_process(server)


def _router(server: FaultServer) -> Any:
    import litellm

    where = {"model": "openai/m", "api_key": "x", "api_base": server.url("openai", "limit_after"), "max_retries": 0}
    router = litellm.Router(
        [{"model_name": "m", "litellm_params": where}], num_retries=0, allowed_fails=0, cooldown_time=30
    )
    with contextlib.suppress(litellm.RateLimitError):
        router.completion("m", TALK)
    return router.completion("m", TALK)


def _usage(server: FaultServer) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.usage import UsageLimits

    return Agent(TestModel()).run_sync("x", usage_limits=UsageLimits(request_limit=0))


def _turns(server: FaultServer) -> Any:
    import openai
    from agents import Agent, OpenAIChatCompletionsModel, Runner

    client = openai.AsyncOpenAI(api_key="x", base_url=server.url("openai", "bad"), max_retries=0)
    agent = Agent(name="a", model=OpenAIChatCompletionsModel("m", openai_client=client))
    return asyncio.run(Runner.run(agent, "x", max_turns=0))


def _mcp_stdio() -> Any:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def ask() -> Any:
        dying = StdioServerParameters(command=sys.executable, args=["-c", "raise SystemExit(3)"])
        async with (
            asyncio.timeout(20),
            stdio_client(dying) as (reading, writing),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()

    return asyncio.run(ask())


def _sdk_in_a_process(server: FaultServer) -> Any:
    code = (
        "import openai\n"
        f"c = openai.OpenAI(api_key='x', base_url={server.url('openai', 'limit_prose')!r}, max_retries=0)\n"
        "try:\n    c.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'x'}])\n"
        "except Exception as error:\n    raise RuntimeError('step 3 failed') from error\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)


class RateLimited(Exception):
    """An agent's own idea of a limit, with numbers that look like a provider's."""

    code = 429
    status = "RATE_LIMITED"


def _negatives(server: FaultServer) -> Iterator[Situation]:
    """Words of a document, a prompt or an answer, in errors that are about something else."""

    def own(error: BaseException) -> Callable[[], Any]:
        def provoke() -> None:
            raise error

        return provoke

    def after_success() -> None:
        with contextlib.suppress(Exception):
            CLIENTS["openai"].ask(server.url("openai", "key"))
        raise KeyError("title")

    yield "quoted ValueError", own(ValueError(f"cannot parse the answer: {QUOTE}"))
    yield "quoted RuntimeError", own(RuntimeError(f"rate limit: {QUOTE}"))
    yield "quoted AssertionError", own(AssertionError(QUOTE))
    yield "quoted KeyError", own(KeyError(QUOTE))
    yield "quoted own error", own(RateLimited(QUOTE))
    yield "quoted int 429", own(Exception(429))
    yield "quoted status in args", own(Exception({"status_code": 429, "error": {"code": "insufficient_quota"}}))
    yield "quoted LookupError", own(LookupError("401 Unauthorized"))
    yield "handled before", after_success
    yield "quoted in a refused input", lambda: CLIENTS["openai"].ask(server.url("openai", "quotes"))
    yield (
        "quoted in a lost connection",
        lambda: http_clients.CLIENTS["httpx"].ask(server.url("openai", "cut") + "/429/invalid_api_key"),
    )
    yield "quoted file", lambda: Path("/no/such/429 Too Many Requests/invalid api key").read_text()
    yield "quoted program", lambda: subprocess.run(["/no/such/rate limit exceeded"])


__all__ = ["QUOTE", "TIMEOUT_S", "situations"]
