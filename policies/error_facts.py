"""What one error of a chain carries: status, words, texts, headers, bodies, gathered from where libraries put them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proofq.policies import error_names, looking, phrases, provider_status, rpc_details

#: Keys of a body whose text names the failure, and those that describe it.
_CODE_KEYS: Final = frozenset(
    {"code", "type", "status", "reason", "error_code", "errorcode", "error_type", "__type", "quotaid", "quota_id"}
    | {"error"}
)
_TEXT_KEYS: Final = frozenset({"message", "detail", "error", "msg", "error_message", "description"})
_DEPTH: Final = 8
#: Words of gRPC that say the same as others do, and would say too much where they are not gRPC's.
_RPC_WORDS: Final = {"UNKNOWN": "INTERNAL", "DATA_LOSS": "INTERNAL", "ABORTED": "UNAVAILABLE"}
#: Attributes that only an answer of a server, or an error about one, has.
_OF_AN_ANSWER: Final = ("headers", "response", "raw_response", "details", "request_info", "body")


@dataclass(frozen=True)
class ErrorFacts:
    """One error, read. `names` most derived first; `status` of its answer; `words`: codes as they were spelled;
    `headers` by lower-case name; `bodies` parsed; `asked`: attributes that name a wait; `remote`: it is about an answer
    or a connection of a provider, so that its text may be believed."""

    error: BaseException
    names: tuple[str, ...]
    packages: frozenset[str]
    status: int | None = None
    words: tuple[str, ...] = ()
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: tuple[Any, ...] = ()
    asked: tuple[Any, ...] = ()
    remote: bool = False


def read(error: BaseException) -> ErrorFacts:
    """Everything about one error, by guarded looks that touch no network."""
    names, packages = looking.names(error), looking.packages(error)
    own_text = _own_text(error)
    if packages & (error_names.STORES | error_names.HOST_PACKAGES):
        return ErrorFacts(error, names, packages, text=own_text)
    decoy = _is_decoy(error, names, packages)
    answer = not decoy and any(_there(looking.attribute(error, name)) for name in _OF_AN_ANSWER)
    bodies = tuple(_bodies(error))
    code, details = _grpc(error)
    rpc = rpc_details.read(_trailers(error))
    words = (*_words(error, code, bodies, answer), *rpc.words)
    said = [one for one in (details, *(one for body in bodies for one in _found(body, _TEXT_KEYS))) if one]
    # What a body says is believed by itself: around it libraries print everything there is, the prompt included.
    codes = [word for word in words if word.isprintable() and " " not in word]
    texts = [*map(phrases.unquoted, said), " ".join(codes)] if said else [own_text, _message(error)]
    return ErrorFacts(
        error,
        names,
        packages,
        None if decoy else _status(error, answer, bodies),
        words,
        "\n".join(one for one in texts if one)[: 2 * looking.MAX_TEXT],
        _headers(error),
        bodies,
        (rpc.retry_after_s, *(looking.attribute(error, name) for name in ("retry_after", "cooldown_time"))),
        answer or bool(packages & error_names.PROVIDERS),
    )


def _own_text(error: BaseException) -> str:
    """Its text, without making one of megabytes: `str` of an error with one text is that text."""
    args = looking.attribute(error, "args")
    plain = type(error).__str__ in (BaseException.__str__, OSError.__str__)
    if plain and isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], str):
        return args[0][: looking.MAX_TEXT]
    return looking.text(error)


def _message(error: BaseException) -> str:
    return looking.text(looking.attribute(error, "message") or "")


def _is_decoy(error: BaseException, names: Collection[str], packages: Collection[str]) -> bool:
    """aiohttp hands the made-up status of a broken answer on to the error that it raises because of it."""
    if error_names.DECOYS.intersection(names):
        return True
    behind = looking.attribute(error, "__cause__")
    return behind is not None and "aiohttp" in packages and bool(error_names.DECOYS.intersection(looking.names(behind)))


def _there(thing: Any) -> bool:
    """Not `bool`: an answer of 4xx is false in requests."""
    return thing is not None and not (isinstance(thing, str | dict | list | tuple) and not thing)


# --- status --------------------------------------------------------------------------------------------------------


def _status(error: BaseException, answer: bool, bodies: tuple[Any, ...]) -> int | None:
    """The status of the answer, where several are said one that is no success: 200 is how a stream began."""
    found = [one for one in _statuses(error, answer) if provider_status.is_status(one)]
    if answer:
        said = (one for body in bodies for one in _found(body, _CODE_KEYS) if one.isdecimal() and len(one) == 3)
        found += [int(one) for one in said if one[0] in "45"]
    return next((one for one in found if one >= 300), found[0] if found else None)


def _statuses(error: BaseException, answer: bool) -> Iterator[int]:
    response = looking.attribute(error, "response")
    candidates = [looking.attribute(error, "status_code")]
    if answer and candidates[0] is None:
        candidates.append(looking.attribute(error, "status"))
        if looking.number(candidates[-1]) is None:
            # aiohttp warns whoever looks at `.code`; it has `.status`.
            candidates.append(looking.attribute(error, "code"))
    if isinstance(response, Mapping):
        metadata = response.get("ResponseMetadata")
        candidates.append(metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None)
    else:
        candidates += [_status_of(response), _status_of(looking.attribute(error, "raw_response"))]
    for one in candidates:
        number = looking.number(one)
        if number is not None:
            yield number


def _status_of(response: Any) -> Any:
    if response is None:
        return None
    found = looking.attribute(response, "status_code")
    return looking.attribute(response, "status") if found is None else found


# --- words and bodies ----------------------------------------------------------------------------------------------


def _words(error: BaseException, code: str, bodies: tuple[Any, ...], answer: bool) -> Iterator[str]:
    # `.status` by itself may be anybody's; litellm keeps a body's code as `.status_code`.
    more = ("status", "status_code") if answer else ("status_code",)
    for name in ("code", "type", "error_code", "provider_error_code", *more):
        value = looking.attribute(error, name)
        if isinstance(value, str):
            yield value
        elif answer and isinstance(value, int) and not isinstance(value, bool) and value > 599:
            yield str(int(value))
    yield code
    for body in bodies:
        yield from _found(body, _CODE_KEYS)


def _grpc(error: BaseException) -> tuple[str, str]:
    """gRPC says code and text by methods; "" where there are none. What was raised is a call that is over."""
    methods = [looking.attribute(error, name) for name in ("code", "details")]
    if not all(callable(one) for one in methods) or not _is_over(error):
        return "", ""
    try:
        code, details = methods[0](), methods[1]()
    except Exception:  # noqa: BLE001 - somebody else's methods
        return "", ""
    word = looking.text(looking.attribute(code, "name") or "")
    return _RPC_WORDS.get(word, word), looking.text(details or "")


def _is_over(call: BaseException) -> bool:
    """gRPC's streams are errors from their beginning, and whoever asks one that goes on for its code waits for it."""
    done = looking.attribute(call, "done")
    try:
        return not callable(done) or done() is True
    except Exception:  # noqa: BLE001 - somebody else's method
        return False


def _trailers(error: BaseException) -> bytes:
    """gRPC's details in binary; b"" where there are none."""
    for name, value in looking.pairs(_trailing_metadata(error)):
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            return value
    return b""


def _trailing_metadata(error: BaseException) -> Any:
    trailing = looking.attribute(error, "trailing_metadata")
    if not (callable(trailing) and callable(looking.attribute(error, "code")) and _is_over(error)):
        return None
    try:
        return trailing()
    except Exception:  # noqa: BLE001 - somebody else's method
        return None


def _bodies(error: BaseException) -> Iterator[Any]:
    """What is there of the answer's body, parsed. Never asks for one that has not been read yet."""
    response = looking.attribute(error, "response")
    if isinstance(response, Mapping):
        yield {key: response[key] for key in ("Error",) if key in response}
    candidates = [looking.attribute(error, name) for name in ("body", "details", "error", "server_message")]
    candidates += [looking.stored(response, "_content"), looking.stored(response, "_text")]
    candidates.append(looking.stored(looking.attribute(error, "raw_response"), "_content"))
    found = [parsed for parsed in map(_parsed, candidates) if parsed is not None]
    if not found and looking.packages(error) & error_names.PROVIDERS:
        found = _in_text(_own_text(error))
    yield from found


def _in_text(text: str) -> list[Any]:
    """A body that was kept as part of a message only, as litellm does."""
    begin = text.find('{"')
    try:
        return [json.JSONDecoder().raw_decode(text, begin)[0]] if begin >= 0 else []
    except (ValueError, RecursionError):
        return []


def _parsed(value: Any) -> Any:
    if isinstance(value, dict | list):
        return value
    if not isinstance(value, str | bytes | bytearray) or not value:
        return None
    text = looking.text(value)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {"message": text}
    return found if isinstance(found, dict | list) else {"message": text}


def _found(body: Any, keys: frozenset[str], depth: int = _DEPTH) -> Iterator[str]:
    """The texts, and numbers that are no status, under these keys of a body; AWS writes `Code` and `Message`."""
    if isinstance(body, list):
        for one in body[: looking.MAX_ITEMS]:
            if depth:
                yield from _found(one, keys, depth - 1)
    if not isinstance(body, dict):
        return
    for name, value in list(body.items())[: looking.MAX_ITEMS]:
        wanted = isinstance(name, str) and name.lower() in keys
        if wanted and isinstance(value, str):
            yield value[: looking.MAX_TEXT]
        elif wanted and isinstance(value, int) and not isinstance(value, bool):
            yield str(value)
        elif depth and isinstance(value, dict | list):
            yield from _found(value, keys, depth - 1)


# --- headers -------------------------------------------------------------------------------------------------------


def _headers(error: BaseException) -> Mapping[str, str]:
    response = looking.attribute(error, "response")
    candidates = [looking.attribute(error, name) for name in ("headers", "hdrs", "litellm_response_headers")]
    if isinstance(response, Mapping):
        metadata = response.get("ResponseMetadata")
        candidates.append(metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None)
    else:
        candidates.append(looking.attribute(response, "headers"))
    candidates.append(looking.attribute(looking.attribute(error, "raw_response"), "headers"))
    candidates.append(_trailing_metadata(error))
    for one in candidates:
        pairs = looking.items(one) if one is not None else []
        if pairs:
            return {name.lower(): value for name, value in pairs}
    return {}
