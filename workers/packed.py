"""The row of a task that ended in success, which `lua/keeping.lua` packs tight: all of the task in one small hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: The first part of what is packed: a row with it is a packed one.
FIRST: Final = "0"
#: Requests that were carried out, for the scripts.
_RIDS: Final = frozenset({"rids", "rids2"})


def is_packed(row: Mapping[str, str]) -> bool:
    """Whether breadcrumbs and attempts of the task stand in its row."""
    return FIRST in row


def whole(row: Mapping[str, str]) -> dict[str, str]:
    """The row as it was before it was packed, and under "crumbs" and "attempts" what stood beside it, as JSON lists of
    what a list's elements and a hash's values were. One that is not packed is given back. ValueError for one that
    cannot be read."""
    if not is_packed(row):
        return dict(row)
    plain = {name: text for name, text in row.items() if not name.isdecimal() and name not in _RIDS}
    count = sum(name.isdecimal() for name in row)
    try:
        # Cut every so many bytes, so perhaps within a character.
        parts = "".join(row[str(part)] for part in range(count)).encode("utf-8", "surrogateescape")
        head, _, body = parts.partition(b";")
        at = 0
        for entry in head.decode("ascii").split(","):
            name, length = entry.split(" ")
            end = at + int(length)
            if not at <= end <= len(body):
                raise ValueError(f"{name} is cut")
            plain[name] = body[at:end].decode("utf-8", "surrogateescape")
            at = end
        crumbs = _crumbs(json.loads(plain["crumbs"]))
        plain["attempts"] = json.dumps(_attempts(json.loads(plain["attempts"]), crumbs, plain))
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as problem:
        raise ValueError(f"it is packed otherwise: {problem!r:.200}") from problem
    plain["crumbs"] = json.dumps(crumbs)
    return plain


def _crumbs(packed: list[list[Any]]) -> list[list[Any]]:
    """As `Breadcrumb` takes them; the requests that wrote them are not kept one by one."""
    found: list[list[Any]] = []
    at, source, attempt, fence, who = 0, None, 0, "", ""
    for since, event, to, *more in packed:
        changed: dict[str, Any] = more[0] if more else {}
        at += since
        source = changed.get("s", source)
        attempt, fence, who = changed.get("n", attempt), changed.get("f", fence), changed.get("w", who)
        found.append([at, source, event, to, changed.get("r", ""), attempt, fence, who, "", changed.get("e", "")])
        source = to
    return found


def _attempts(packed: list[dict[str, Any]], crumbs: list[list[Any]], row: Mapping[str, str]) -> list[dict[str, Any]]:
    """In order, with what the breadcrumbs and the row say of them."""
    said: dict[int, dict[str, Any]] = {}
    for at, _, event, _, _, attempt, fence, who, *_ in crumbs:
        if event == "lease":
            said[attempt] = {"leased_at": at, "fence": fence, "worker": who}
        elif event == "start":
            said.setdefault(attempt, {})["started_at"] = at
    if "ended_at" in row:
        said.setdefault(int(row["attempt"]), {})["ended_at"] = int(float(row["ended_at"]))
    return [{**said.get(each["n"], {}), **each} for each in sorted(packed, key=lambda each: int(each["n"]))]
