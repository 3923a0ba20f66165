"""The local provider: real client libraries meet what they would meet outside, and every call is counted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from proofq.workers import proctree
from proofq.workers.demo.provider import Provider
from proofq.workers.demo.provider.behaviour import NoBehaviour, parse
from tests.waiting import until

if TYPE_CHECKING:
    import openai

WISH = 'Write "3 words here" to the file out/a.txt.'
WRITE = {"name": "write_file", "parameters": {"type": "object", "properties": {}}}
TOOLS: Any = [{"type": "function", "function": WRITE}]
DONE = "Done: I have written out/a.txt and checked that it is right."


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One for all."""
    with Provider() as made:
        yield made


def _client(provider: Provider, **more: Any) -> openai.OpenAI:
    # Here, as below: seconds of CPU that not every process needs which only collects these tests.
    import openai

    return openai.OpenAI(base_url=f"{provider.url}/v1", api_key="dummy", max_retries=0, **{"timeout": 5.0, **more})


def _error(name: str) -> type[Exception]:
    """An exception of the library."""
    import openai

    found: type[Exception] = getattr(openai, name)
    return found


def _chat(provider: Provider, model: str, stream: bool = False, **more: Any) -> Any:
    with _client(provider) as client:
        said: Any = [{"role": "user", "content": WISH}]
        return client.chat.completions.create(model=model, messages=said, stream=stream, **more)


def _streamed(provider: Provider, model: str) -> str:
    with _client(provider, timeout=1.0) as client:
        said: Any = [{"role": "user", "content": WISH}]
        chunks = client.chat.completions.create(model=model, messages=said, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def _post(url: str, body: Any) -> tuple[int, str]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode()


def test_good_answers_or_calls_the_tool_and_then_says_so(provider: Provider) -> None:
    """Without tools the text is the answer; with one it is called once, and its result is followed by the word."""
    assert _chat(provider, "good").choices[0].message.content == "3 words here"
    first = _chat(provider, "good", tools=TOOLS).choices[0]
    assert first.finish_reason == "tool_calls"
    call = first.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "write_file",
        {"path": "out/a.txt", "text": "3 words here"},
    )
    with _client(provider) as client:
        said: Any = [
            {"role": "user", "content": WISH},
            first.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "ok"},
        ]
        last = client.chat.completions.create(model="good", messages=said, tools=TOOLS)
    assert last.choices[0].message.content == DONE


def test_a_lie_sounds_like_the_truth(provider: Provider) -> None:
    """With a tool at hand it says the same words and calls nothing."""
    choice = _chat(provider, "lie", tools=TOOLS).choices[0]
    assert (choice.message.content, choice.message.tool_calls) == (DONE, None)


@pytest.mark.parametrize(
    ("behaviour", "error", "status", "code"),
    [
        ("401", "AuthenticationError", 401, "invalid_api_key"),
        ("403", "PermissionDeniedError", 403, "content_policy_violation"),
        ("429", "RateLimitError", 429, "rate_limit_exceeded"),
        ("quota", "RateLimitError", 429, "insufficient_quota"),
        ("500", "InternalServerError", 500, "server_error"),
        ("503", "InternalServerError", 503, "service_unavailable"),
        ("529", "InternalServerError", 529, "overloaded_error"),
        ("context", "BadRequestError", 400, "context_length_exceeded"),
    ],
)
def test_refusals(provider: Provider, behaviour: str, error: str, status: int, code: str) -> None:
    """Each is what the client library knows by its own exception; none says how long to wait unless asked to."""
    with pytest.raises(_error(error)) as raised:
        _chat(provider, behaviour)
    said: Any = raised.value
    assert (said.status_code, said.code) == (status, code)
    assert "retry-after" not in said.response.headers


def test_a_wait_is_said_in_the_header_and_in_words(provider: Provider) -> None:
    """429after7 says 7 seconds twice."""
    with pytest.raises(_error("RateLimitError")) as raised:
        _chat(provider, "429after7")
    said: Any = raised.value
    assert said.response.headers["retry-after"] == "7"
    assert "try again in 7s" in str(raised.value)


def test_streams(provider: Provider) -> None:
    """Whole; cut as though it were whole; broken; silent in the middle; a page instead."""
    assert _streamed(provider, "good") == "3 words here"
    assert _streamed(provider, "cut") == "I have looked at everything and will "
    with pytest.raises(_error("APIConnectionError")):
        _streamed(provider, "reset")
    with pytest.raises(_error("APITimeoutError")):
        _streamed(provider, "stall")
    assert _streamed(provider, "html") == ""


def test_hang_and_drip_outlast_their_clients(provider: Provider) -> None:
    """A hang never says a word; a drip has each read succeed and none be the last."""
    with _client(provider, timeout=0.5) as client, pytest.raises(_error("APITimeoutError")):
        client.chat.completions.create(model="hang", messages=[{"role": "user", "content": WISH}])
    began = time.monotonic()
    with _client(provider, timeout=1.0) as client:
        said: Any = [{"role": "user", "content": WISH}]
        for _ in client.chat.completions.create(model="drip", messages=said, stream=True):
            if time.monotonic() - began > 2.0:
                break


def test_messages(provider: Provider) -> None:
    """Anthropic's API: a tool call streamed as the blocks its clients put together, and errors of its own form."""
    said = [{"role": "user", "content": [{"type": "text", "text": WISH}]}]
    system = [{"type": "text", "text": "Be good."}]
    body = {"model": "claude-x", "stream": True, "system": system, "tools": [{"name": "Write"}], "messages": said}
    status, text = _post(f"{provider.url}/good/v1/messages", body)
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert status == 200
    kinds = "message_start content_block_start content_block_delta content_block_stop message_delta message_stop"
    assert [event["type"] for event in events] == kinds.split()
    assert json.loads(events[2]["delta"]["partial_json"]) == {"file_path": "out/a.txt", "content": "3 words here\n"}
    assert events[4]["delta"]["stop_reason"] == "tool_use"
    status, text = _post(f"{provider.url}/529/v1/messages", body)
    assert (status, json.loads(text)["error"]["type"]) == (529, "overloaded_error")


def test_responses(provider: Provider) -> None:
    """OpenAI's newer API, through its own library: streamed to the completed response."""
    tools: Any = [{"type": "function", "name": "exec_command", "parameters": {}}]
    with _client(provider) as client:
        stream = client.responses.create(model="good", input=WISH, tools=tools, stream=True)
        last: Any = list(stream)[-1]
        assert last.type == "response.completed"
        call = last.response.output[0]
        assert json.loads(call.arguments) == {"cmd": "printf '%s\\n' '3 words here' > out/a.txt"}
        said: Any = [
            {"role": "user", "content": [{"type": "input_text", "text": WISH}]},
            {"type": "function_call_output", "call_id": call.call_id, "output": ""},
        ]
        assert client.responses.create(model="good", input=said, tools=tools).output_text == DONE


def test_behaviours_change_by_the_call_and_are_counted(provider: Provider) -> None:
    """503x2-then-good is 503 twice, then good; what stands after @ has a count of its own."""
    for name in ("503x2-then-good@a", "503x2-then-good@b"):
        told = [_post(f"{provider.url}/{name}/v1/chat/completions", {"messages": []})[0] for _ in range(4)]
        assert told == [503, 503, 200, 200]
    with urllib.request.urlopen(f"{provider.url}/_calls", timeout=5) as answer:
        counted = json.load(answer)
    assert counted["503x2-then-good@a"] == counted["503x2-then-good@b"] == 4
    assert counted == provider.calls()


@pytest.mark.parametrize("text", ["", "418", "goodx", "good-then-", "429afterx2", "good then 401", "503x9999"])
def test_what_is_no_behaviour_is_refused(provider: Provider, text: str) -> None:
    """By the parser, and with a 400 by the server."""
    with pytest.raises(NoBehaviour):
        parse(text)
    body = {"model": text, "messages": []}
    assert _post(f"{provider.url}/v1/chat/completions", body)[0] == 400


def test_it_dies_with_its_parent() -> None:
    """As a program it prints its URL, serves, and ends when the process that started it is killed."""
    lines = [
        "import subprocess, sys, time",
        "child = subprocess.Popen([sys.executable, '-m', 'proofq.workers.demo.provider'])",
        "print(child.pid, flush=True)",
        "time.sleep(60)",
    ]
    script = "\n".join(lines)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    lines = [parent.stdout.readline().strip() for _ in range(2)]
    pid = int(next(line for line in lines if line.isdigit()))
    url = next(line for line in lines if line.startswith("http://127.0.0.1:"))
    try:
        assert _post(f"{url}/good/v1/chat/completions", {"messages": []})[0] == 200
    finally:
        parent.kill()
        parent.communicate()
    until(lambda: not _alive(pid), 10.0, "the end of the provider")


def _alive(pid: int) -> bool:
    found = proctree.read(pid)
    return found is not None and not found.dead
