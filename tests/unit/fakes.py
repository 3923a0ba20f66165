"""Errors shaped like those of client libraries, by name, package and attributes: what duck typing looks at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def error(
    name: str, text: str = "", package: str = "somewhere", bases: tuple[type, ...] = (Exception,), **attributes: Any
) -> Any:
    """An exception of a class `name` of `package` with these attributes."""
    made = type(name, bases, {"__module__": f"{package}.errors"})(text)
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def answer(status: int, body: Any = None, **headers: str) -> Any:
    """A response as httpx and requests keep one whose body has been read; underscores in header names are dashes."""
    import json

    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return SimpleNamespace(status_code=status, headers=named, _content=content)


def openai(status: int, message: str = "", type_: str | None = None, code: str | None = None, **headers: str) -> Any:
    """openai's APIStatusError: `.body` is the inner error object."""
    body = {"message": message, "type": type_, "param": None, "code": code}
    text = f"Error code: {status} - {{'error': {body}}}"
    return error(
        "APIStatusError", text, "openai", status_code=status, body=body, code=code, type=type_,
        response=answer(status, {"error": body}, **headers),
    )  # fmt: skip


def anthropic(status: int, type_: str, message: str = "", **headers: str) -> Any:
    """anthropic's APIStatusError: `.body` is the whole document."""
    body = {"type": "error", "error": {"type": type_, "message": message}}
    return error(
        "APIStatusError", f"Error code: {status} - {body}", "anthropic", status_code=status, body=body, type=type_,
        response=answer(status, body, **headers),
    )  # fmt: skip


def google(status: int, word: str, message: str = "", details: tuple[Any, ...] = (), **headers: str) -> Any:
    """google-genai's APIError: `.code` is the number, `.status` the word, `.details` the document."""
    document = {"error": {"code": status, "message": message, "status": word, "details": list(details)}}
    return error(
        "ClientError", f"{status} {word}. {document}", "google.genai", code=status, status=word, message=message,
        details=document, response=answer(status, document, **headers),
    )  # fmt: skip


def aws(status: int, code: str, message: str = "", **headers: str) -> Any:
    """botocore's ClientError: `.response` is a dictionary."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": named},
    }
    return error("ClientError", f"An error occurred ({code}): {message}", "botocore", response=response)


def grpc(word: str, details: str = "") -> Any:
    """grpc's RpcError: code and details are methods."""
    return error(
        "_InactiveRpcError", f"<_InactiveRpcError {word}>", "grpc", code=lambda: SimpleNamespace(name=word),
        details=lambda: details, trailing_metadata=lambda: (),
    )  # fmt: skip


def raised(outer: BaseException, inner: BaseException | None = None, during: bool = False) -> BaseException:
    """`outer` as raised, from `inner` or merely while `inner` was handled."""
    if inner is not None and during:
        outer.__context__ = inner
    elif inner is not None:
        outer.__cause__ = inner
    return outer
