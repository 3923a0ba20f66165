"""Fingerprints of failures: equal for equal causes, so that what fails in the same way again is known by it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import TracebackType
from typing import Final

#: How many frames make a fingerprint.
_FRAMES: Final = 3


def of_parts(*parts: object) -> str:
    """Sixteen hex digits over the parts, in order."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def of_error(error: BaseException) -> str:
    """Equal for errors of one type raised in the same functions: no line numbers, no values, no whole paths."""
    frames = list(_frames(error.__traceback__))
    of_user = [place for place, ours in frames if not ours]
    return of_parts(type_name(error), *(of_user or [place for place, _ in frames])[-_FRAMES:])


def type_name(error: BaseException) -> str:
    """The type's name, with its module where that says anything."""
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, bool]]:
    """Folder/file:function of each frame, outermost first, and whether it belongs to Python, a library or us.

    A function that calls itself is one frame: how deep it got is a value.
    """
    last = ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        path = code.co_filename.replace("\\", "/")
        place = f"{'/'.join(path.split('/')[-2:])}:{code.co_name}"
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if place != last:
            yield place, _is_library(path) or module.split(".")[0] == "proofq"
        last = place
        traceback = traceback.tb_next


def _is_library(path: str) -> bool:
    return "/site-packages/" in path or "/dist-packages/" in path or "/lib/python3" in path or path[:1] == "<"
