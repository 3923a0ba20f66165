"""What Redis holds under RQ's keys, as shapes: names without ids, types, fields, and what kind of value each has."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis

#: Fields whose very value is part of the shape: RQ's readers compare it.
LITERAL: Final = frozenset({"status", "origin", "state", "type", "queues"})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)")
_SECONDS: Final = 100_000_000_000

#: (key, field or member) -> shape.
Dump = Mapping[tuple[str, str], str]


def dump(client: Any, names: Mapping[str, str]) -> Dump:
    """Everything under ``rq:*``; each text of `names` (an id, a worker) is shown as its placeholder."""
    found: dict[tuple[str, str], str] = {}
    for raw in sorted(client.scan_iter(match="rq:*")):
        key = shown(raw.decode(), names)
        kind = client.type(raw).decode()
        found[key, "(type)"] = f"{kind}, {'expires' if client.ttl(raw) >= 0 else 'kept'}"
        for field, shape in _content(client, raw, kind):
            found[key, shown(field, names)] = shown(shape, names)
    return found


def shown(text: str, names: Mapping[str, str]) -> str:
    """The text with placeholders for what differs from run to run."""
    for name, placeholder in names.items():
        text = text.replace(name, placeholder)
    return re.sub(r"\b[0-9a-f]{32}\b", "<execution>", text)


def _content(client: Any, key: bytes, kind: str) -> Iterator[tuple[str, str]]:
    match kind:
        case "hash":
            for field, value in sorted(client.hgetall(key).items()):
                yield field.decode(), value.decode() if field.decode() in LITERAL else shape(value)
        case "list":
            yield "(members)", " ".join(member.decode() for member in client.lrange(key, 0, -1))
        case "set":
            yield "(members)", " ".join(sorted(member.decode() for member in client.smembers(key)))
        case "zset":
            for member, score in client.zrange(key, 0, -1, withscores=True):
                yield member.decode(), _score(score)
        case "stream":
            for _, row in client.xrange(key):
                for field, value in sorted(row.items()):
                    yield field.decode(), value.decode() if field.decode() in LITERAL else shape(value)
        case _:
            yield "(value)", shape(client.get(key))


def _score(score: float) -> str:
    if score == float("inf"):
        return "+inf"
    if score < 0:
        return f"{score:g}"
    return "seconds" if score < _SECONDS else "milliseconds"


def shape(value: bytes) -> str:
    """What kind of value it is, as far as a reader must know."""
    if not value:
        return "empty"
    if value[:1] == b"x":
        return f"zlib of {shape(zlib.decompress(value))}"
    text = value.decode("utf-8", "replace")
    if _TIME.fullmatch(text):
        return "time"
    if re.fullmatch(r"-?\d+", text):
        return "negative" if text.startswith("-") else "whole number"
    if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text):
        return "number"
    try:
        found = json.loads(text)
    except ValueError:
        return "text"
    return f"JSON {type(found).__name__} of {len(found)}" if isinstance(found, list | dict) else "text"


def lines(stage: str, found: Dump) -> list[str]:
    """One line for each entry, for a file that people read."""
    return [f"{stage} | {key} | {field} | {kind}" for (key, field), kind in sorted(found.items())]


def differences(stock: Dump, ours: Dump) -> dict[tuple[str, str], tuple[str, str]]:
    """(key, field) -> (its shape through stock RQ, and through us); '' where there is none."""
    both = {place: (stock.get(place, ""), ours.get(place, "")) for place in stock.keys() | ours.keys()}
    return {place: pair for place, pair in both.items() if pair[0] != pair[1]}


def flushed(client: redis.Redis) -> redis.Redis:
    """The client on an empty Redis."""
    client.flushall()
    return client
