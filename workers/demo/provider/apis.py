"""The three APIs: how each asks, and what an answer or a refusal looks like in it, whole or as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from proofq.workers.demo.provider.answer import Answer, Asked
from proofq.workers.demo.provider.behaviour import Refusal

#: One event of a stream: its name ('' for none) and its data.
Event = tuple[str, Any]

_USAGE: Final = {"input_tokens": 20, "output_tokens": 10}


class Api(Protocol):
    """One API. `body` is a request's JSON; requests are read as kindly as can be, the programs send much more."""

    def asked(self, body: Mapping[str, Any]) -> Asked:
        """What is asked."""

    def whole(self, answer: Answer, model: str) -> Mapping[str, Any]:
        """The answer in one document."""

    def events(self, answer: Answer, model: str) -> Iterator[Event]:
        """The answer as a stream: at least one event, then a text word by word, then what ends it."""

    def refused(self, refusal: Refusal) -> Mapping[str, Any]:
        """The body of an error."""


class Chat:
    """OpenAI's chat completions."""

    def asked(self, body: Mapping[str, Any]) -> Asked:
        messages = body["messages"]
        tools = [tool["function"]["name"] for tool in body.get("tools") or []]
        answered = any(one["role"] == "tool" for one in messages)
        return Asked(_model(body), bool(body.get("stream")), _text(messages), tools, answered)

    def whole(self, answer: Answer, model: str) -> Mapping[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.tool:
            message["tool_calls"] = [_chat_call(answer)]
        usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
        return self._completion("chat.completion", model, {"message": message}, _chat_end(answer)) | {"usage": usage}

    def events(self, answer: Answer, model: str) -> Iterator[Event]:
        def chunk(delta: Mapping[str, Any], end: str | None = None) -> Event:
            return "", self._completion("chat.completion.chunk", model, {"delta": delta}, end)

        yield chunk({"role": "assistant", "content": ""})
        for word in _words(answer.text):
            yield chunk({"content": word})
        if answer.tool:
            yield chunk({"tool_calls": [{"index": 0, **_chat_call(answer)}]})
        yield chunk({}, _chat_end(answer))
        yield "", "[DONE]"

    def refused(self, refusal: Refusal) -> Mapping[str, Any]:
        return {"error": {"message": refusal.message, "type": refusal.kind, "param": None, "code": refusal.code}}

    @staticmethod
    def _completion(kind: str, model: str, said: Mapping[str, Any], end: str | None) -> dict[str, Any]:
        choice = {"index": 0, **said, "finish_reason": end}
        return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model, "choices": [choice]}


class Responses(Chat):
    """OpenAI's responses. Refuses as chat completions do."""

    def asked(self, body: Mapping[str, Any]) -> Asked:
        said = body["input"]
        answered = not isinstance(said, str) and any(one.get("type") == "function_call_output" for one in said)
        tools = [tool.get("name", "") for tool in body.get("tools") or []]
        return Asked(_model(body), bool(body.get("stream")), _text(said), tools, answered)

    def whole(self, answer: Answer, model: str) -> Mapping[str, Any]:
        return self._response(model, "completed", [_item(answer)])

    def events(self, answer: Answer, model: str) -> Iterator[Event]:
        number = iter(range(1_000_000))

        def event(kind: str, **more: Any) -> Event:
            return kind, {"type": kind, "sequence_number": next(number), **more}

        item = _item(answer)
        yield event("response.created", response=self._response(model, "in_progress", []))
        yield event("response.output_item.added", output_index=0, item=item | {"status": "in_progress", "content": []})
        for word in _words(answer.text):
            place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
            yield event("response.output_text.delta", **place, delta=word)
        yield event("response.output_item.done", output_index=0, item=item)
        yield event("response.completed", response=self._response(model, "completed", [item]))

    @staticmethod
    def _response(model: str, status: str, output: list[Any]) -> dict[str, Any]:
        usage = {**_USAGE, "total_tokens": 30}
        about = {"id": "resp_1", "object": "response", "created_at": 0, "status": status, "model": model}
        return about | {"output": output, "usage": usage if output else None}


class Messages:
    """Anthropic's messages."""

    def asked(self, body: Mapping[str, Any]) -> Asked:
        said = [body.get("system"), body["messages"]]
        parts = [part for one in body["messages"] for part in one["content"] if isinstance(part, dict)]
        answered = any(part.get("type") == "tool_result" for part in parts)
        tools = [tool["name"] for tool in body.get("tools") or []]
        return Asked(_model(body), bool(body.get("stream")), _text(said), tools, answered)

    def whole(self, answer: Answer, model: str) -> Mapping[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": answer.text}
        if answer.tool:
            block = {"type": "tool_use", "id": "toolu_1", "name": answer.tool, "input": answer.arguments}
        return self._message(model, [block], "tool_use" if answer.tool else "end_turn")

    def events(self, answer: Answer, model: str) -> Iterator[Event]:
        def event(kind: str, **more: Any) -> Event:
            return kind, {"type": kind, **more}

        block = self.whole(answer, model)["content"][0]
        nothing: dict[str, Any] = {"input": {}} if answer.tool else {"text": ""}
        yield event("message_start", message=self._message(model, [], None))
        yield event("content_block_start", index=0, content_block=block | nothing)
        for word in _words(answer.text):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        if answer.tool:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(answer.arguments)}
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
        ended = {"stop_reason": "tool_use" if answer.tool else "end_turn", "stop_sequence": None}
        yield event("message_delta", delta=ended, usage=_USAGE)
        yield event("message_stop")

    def refused(self, refusal: Refusal) -> Mapping[str, Any]:
        return {"type": "error", "error": {"type": refusal.kind, "message": refusal.message}, "request_id": "req_1"}

    @staticmethod
    def _message(model: str, content: list[Any], stop: str | None) -> dict[str, Any]:
        about = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content}
        return about | {"stop_reason": stop, "stop_sequence": None, "usage": _USAGE}


#: By the end of a path.
APIS: Final[Mapping[str, Api]] = {
    "/chat/completions": Chat(),
    "/responses": Responses(),
    "/messages": Messages(),
}


def _model(body: Mapping[str, Any]) -> str:
    return str(body.get("model", ""))


def _text(said: Any) -> str:
    """Every text in what was said, wherever it stands, a line each."""
    if isinstance(said, str):
        return said
    if isinstance(said, Mapping):
        return _text([value for name, value in said.items() if name in {"content", "text", "input", "output"}])
    return "\n".join(filter(None, map(_text, said))) if isinstance(said, list) else ""


def _words(text: str) -> Iterator[str]:
    return (word for word in text.replace(" ", " \0").split("\0") if word)


def _chat_call(answer: Answer) -> dict[str, Any]:
    called = {"name": answer.tool, "arguments": json.dumps(answer.arguments)}
    return {"id": "call_1", "type": "function", "function": called}


def _chat_end(answer: Answer) -> str:
    return "tool_calls" if answer.tool else "stop"


def _item(answer: Answer) -> dict[str, Any]:
    if answer.tool:
        called = {"name": answer.tool, "arguments": json.dumps(answer.arguments), "call_id": "call_1"}
        return {"type": "function_call", "id": "fc_1", "status": "completed", **called}
    content = [{"type": "output_text", "text": answer.text, "annotations": []}]
    return {"type": "message", "id": "item_1", "status": "completed", "role": "assistant", "content": content}
