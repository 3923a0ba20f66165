"""A small agent: asks a model, runs the tool that the model calls, until the model says something. No libraries.

    python3 scribe.py URL TEXT OUT

It believes whatever it is told, as agents do: a model that says "done" is enough for exit code 0, and a stream that
ends early looks to it like one that ended.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

#: The only tool.
TOOLS = [{"type": "function", "function": {"name": "write_file", "parameters": {"type": "object"}}}]
#: Most turns before it gives up.
TURNS = 5


class Refused(Exception):
    """The provider's answer was an error. Has what such an exception has in any library; its text is the message."""

    def __init__(self, problem: urllib.error.HTTPError) -> None:
        self.status_code = problem.code
        self.headers = problem.headers
        self.body = json.load(problem)
        super().__init__(f"Error code: {self.status_code} - {self.body['error']['message']}")


def write(url: str, text: str, out: str) -> str:
    """Have the model behind `url` write a text to a file; what it said at the end. Raises Refused, OSError."""
    said: list[dict[str, Any]] = [{"role": "user", "content": f'Write "{text}" to the file {out}.'}]
    for _ in range(TURNS):
        answer = _ask(url, said)
        if not answer["tool_calls"]:
            return str(answer["content"])
        said.append(answer)
        for call in answer["tool_calls"]:
            wanted = json.loads(call["function"]["arguments"])
            Path(wanted["path"]).write_text(wanted["text"], encoding="utf-8")
            said.append({"role": "tool", "tool_call_id": call["id"], "content": "written"})
    raise RuntimeError(f"no end after {TURNS} turns")


def _ask(url: str, said: list[dict[str, Any]]) -> dict[str, Any]:
    """One request; the answer, put together from the stream."""
    body = {"model": "demo", "stream": True, "messages": said, "tools": TOOLS}
    headers = {"Content-Type": "application/json", "Authorization": "Bearer dummy"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310
    answer: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    with _open(request) as lines:
        for line in lines:
            if line.startswith(b"data: {"):
                new = json.loads(line[6:])["choices"][0]["delta"]
                answer["content"] += new.get("content") or ""
                answer["tool_calls"] += new.get("tool_calls") or []
                print(".", end="", flush=True)  # noqa: T201 - its progress
    return answer


def _open(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.urlopen(request)  # noqa: S310 - the demo's own provider
    except urllib.error.HTTPError as problem:
        raise Refused(problem) from problem


def main() -> int:
    """Be the program: exit code 0 and the model's word, or 1 and the error."""
    try:
        print(write(*sys.argv[1:4]))  # noqa: T201
    except (Refused, OSError) as problem:
        print(problem, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
