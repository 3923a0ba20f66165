"""What gRPC says in binary: the `google.rpc.Status` of the trailer `grpc-status-details-bin`.

Only what names a wait or a failure is read: RetryInfo, and the texts of ErrorInfo and QuotaFailure. No protobuf is
imported: a message is numbered fields of numbers and bytes, and everything else is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: Longest trailer that is read, in bytes; gRPC itself allows 8 KiB of metadata by default.
_LONGEST: Final = 65_536
#: Fields that are looked at in one message.
_FIELDS: Final = 200


@dataclass(frozen=True)
class RpcDetails:
    """Seconds until it may be tried again, None where nobody says so; and the words of the rest."""

    retry_after_s: float | None = None
    words: tuple[str, ...] = ()


def read(trailer: bytes) -> RpcDetails:
    """The details of a trailer; empty for what is no such message."""
    wait: float | None = None
    words: list[str] = []
    try:
        for number, value in _fields(trailer[:_LONGEST]):
            if number == 3 and isinstance(value, bytes):
                kind, content = _any(value)
                if kind.endswith("google.rpc.RetryInfo"):
                    wait = _retry_delay_s(content)
                elif kind.endswith(("google.rpc.ErrorInfo", "google.rpc.QuotaFailure")):
                    words += _texts(content, 3)
    except (ValueError, IndexError):
        return RpcDetails()
    return RpcDetails(wait, tuple(words))


def _any(message: bytes) -> tuple[str, bytes]:
    found = {number: value for number, value in _fields(message) if isinstance(value, bytes)}
    return found.get(1, b"").decode("utf-8", "replace"), found.get(2, b"")


def _retry_delay_s(message: bytes) -> float | None:
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            parts = {part: amount for part, amount in _fields(value) if isinstance(amount, int)}
            seconds = parts.get(1, 0) + parts.get(2, 0) / 1e9
            # A negative number is a huge one here.
            return seconds if seconds < 1e12 else None
    return None


def _texts(message: bytes, depth: int) -> Iterator[str]:
    """All texts of a message; what can be read as a message of its own is."""
    for _, value in _fields(message):
        if not isinstance(value, bytes) or not value:
            continue
        if value.isascii() and value.decode().isprintable():
            yield value.decode()
        elif depth:
            try:
                yield from list(_texts(value, depth - 1))
            except (ValueError, IndexError):
                continue


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field. ValueError or IndexError where it is no message."""
    at = 0
    for _ in range(_FIELDS):
        if at >= len(message):
            return
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
            case 2:
                length, at = _varint(message, at)
                if at + length > len(message):
                    raise ValueError("a field is longer than its message")
                yield tag >> 3, message[at : at + length]
                at += length
            case 1 | 5 as fixed:
                at += 8 if fixed == 1 else 4
            case _:
                raise ValueError("no kind of field")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")
