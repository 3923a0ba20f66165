"""From an exception, or an exit, to a `Failure`: by duck typing alone, never raising, never touching the network.

Classification runs in the process that saw the exception, since many errors do not survive pickling. Rules look at
type names along the MRO, at modules and at errno, never at an imported SDK: two libraries of one name share no base.
The outermost error that says something definite wins; one that only says "a bug" or nothing is asked for its causes.
"""

from __future__ import annotations

import errno
import hashlib
import signal
from typing import TYPE_CHECKING, Any

from proofq.policies.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

#: Longest reason, in characters: an exception's text can be a whole document.
MAX_REASON = 1000
#: How many errors of a chain are looked at, and how many frames make a fingerprint.
_MAX_CHAIN, _FRAMES = 20, 3

_RESOURCE_ERRNOS = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN})
_HOST_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
_RESOURCE_SIGNALS = frozenset({"SIGKILL", "SIGXCPU", "SIGXFSZ"})
#: What a shell adds to the number of a signal.
_SHELL_SIGNAL = 128

#: Top-level packages of stores; their errors about the connection or the server are nobody's fault but ours.
_STORE_PACKAGES = frozenset({"redis", "valkey", "psycopg", "psycopg2", "sqlite3", "sqlalchemy", "pymysql"})
_STORE_NAMES = frozenset(
    {"ConnectionError", "TimeoutError", "BusyLoadingError", "ReadOnlyError", "TryAgainError", "MasterDownError"}
    | {"OutOfMemoryError", "OperationalError", "InterfaceError", "MaxConnectionsError", "ClusterDownError"}
)
#: Type names that mean a deadline wherever they stand in an MRO; they share no base (httpx, requests, boto, rq ...).
_TIMEOUT_NAMES = frozenset(
    {"TimeoutError", "Timeout", "TimeoutException", "TimeoutExpired", "APITimeoutError", "ReadTimeoutError"}
    | {"ConnectTimeoutError", "JobTimeoutException", "ReadTimeout", "ConnectTimeout", "DeadlineExceeded"}
)
#: What a programming error raises. An OSError without a rule of its own counts too: a file that is not there.
_BUG_NAMES = frozenset(
    {"ArithmeticError", "AssertionError", "AttributeError", "BufferError", "EOFError", "ImportError"}
    | {"LookupError", "NameError", "OSError", "RuntimeError", "StopAsyncIteration", "StopIteration"}
    | {"SyntaxError", "SystemError", "SystemExit", "TypeError", "ValueError", "KeyboardInterrupt"}
)


def classify(error: object, phase: str | None = None) -> Failure:
    """The failure that an exception as raised, or a finished `subprocess.CompletedProcess`, stands for.

    `phase` ("inputs", "start", "run", "output", "proof") is passed on. Never raises, never blocks; what fits no
    rule is `unknown`, with a fingerprint.
    """
    try:
        returncode = getattr(error, "returncode", None)
        if isinstance(error, BaseException):
            return _of_exception(error, phase)
        if isinstance(returncode, int):
            return classify_exit(returncode if returncode >= 0 else None, -returncode, phase)
        return Failure("unknown", f"nothing is known about a {type(error).__name__}", phase=phase)
    except Exception as problem:  # noqa: BLE001 - whatever an alien object does when it is looked at
        return Failure("unknown", f"could not be classified: {type(problem).__name__}")


def classify_exit(exit_code: int | None, signum: int | None, phase: str | None = "run", said: str = "") -> Failure:
    """The failure of a process that ended by itself with a code other than 0, or by a signal not ours.

    An exit code of 128 + n is a shell's word for a death by signal n. `said` is the last line of its output, for the
    reason only. What we killed ourselves is labelled by the killer and never comes here.
    """
    last = f": {said}" if said else ""
    if exit_code is not None and _SHELL_SIGNAL < exit_code <= _SHELL_SIGNAL + 64:
        signum, exit_code = exit_code - _SHELL_SIGNAL, None
    if exit_code is not None:
        return Failure(
            "crash", f"exited with code {exit_code}{last}", phase=phase, fingerprint=_hash("exit", exit_code)
        )
    name = _signal_name(signum or 0)
    kind = "resource" if name in _RESOURCE_SIGNALS else "crash"
    hint = "; the kernel does this for want of memory" if name == "SIGKILL" else ""
    return Failure(kind, f"killed by {name}, not by us{hint}{last}", phase=phase, fingerprint=_hash("signal", name))


def classify_start(code: int, what: str) -> Failure:
    """The failure of a process that could not be started: `code` is the errno, `what` names step and program."""
    name = errno.errorcode.get(code, str(code))
    reason = f"{what}: {name}"
    if code in _RESOURCE_ERRNOS:
        return Failure("resource", reason, "host", "start", fingerprint=_hash("start", name))
    if code in _HOST_ERRNOS:
        return Failure("infrastructure", reason, "host", "start", fingerprint=_hash("start", name))
    kind = "bad_input" if code == errno.E2BIG else "start_unconfirmed"
    return Failure(kind, reason, phase="start", fingerprint=_hash("start", name))


def fingerprint(error: BaseException) -> str:
    """Equal for errors of one type raised in the same functions: no line numbers, no values, no whole paths."""
    frames = list(_frames(error.__traceback__))
    of_user = [place for place, ours in frames if not ours]
    return _hash(_type_name(error), *(of_user or [place for place, _ in frames])[-_FRAMES:])


def _of_exception(error: BaseException, phase: str | None) -> Failure:
    for one in _chain(error):
        kind, source = _kind(one)
        # A cause may say that a store, the host or a deadline was behind a bug; that the inputs were bad or a
        # proof failed is only believed of the error itself.
        if kind not in ("crash", "unknown") and (one is error or kind in ("infrastructure", "resource", "timeout")):
            return Failure(kind, _reason(error, one), source, phase, fingerprint=fingerprint(error))
    return Failure(_kind(error)[0], _reason(error, error), phase=phase, fingerprint=fingerprint(error))


def _kind(error: BaseException) -> tuple[str, str]:
    """Class and source of one error by itself."""
    names = {one.__name__ for one in type(error).__mro__}
    packages = {one.__module__.split(".")[0] for one in type(error).__mro__}
    code = getattr(error, "errno", None)
    if "proofq" in packages and "BadInput" in names:
        return "bad_input", "task"
    if "proofq" in packages and "NotProven" in names:
        return "unverified", "task"
    if "proofq" in packages and "RedisUnavailable" in names:
        return "infrastructure", "store"
    if packages & _STORE_PACKAGES and names & _STORE_NAMES:
        return "infrastructure", "store"
    if "MemoryError" in names or _cannot_start_thread(error):
        return "resource", "host"
    if "OSError" in names and code in _HOST_ERRNOS:
        return "infrastructure", "host"
    if "OSError" in names and code in _RESOURCE_ERRNOS:
        return "resource", "host"
    if names & _TIMEOUT_NAMES:
        return "timeout", "task"
    return ("crash" if names & _BUG_NAMES else "unknown"), "task"


def _cannot_start_thread(error: BaseException) -> bool:
    return type(error) is RuntimeError and error.args == ("can't start new thread",)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from or during, then the members of groups; each once."""
    queue = [error]
    seen: set[int] = set()
    while queue and len(seen) < _MAX_CHAIN:
        one = queue.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if behind is not None:
            queue.append(behind)
        if isinstance(one, BaseExceptionGroup):
            queue.extend(one.exceptions)


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


def _reason(error: BaseException, decisive: BaseException) -> str:
    text = _line(error)
    return text if decisive is error else f"{text}; because of {_line(decisive)}"[:MAX_REASON]


def _line(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - somebody else's __str__
        text = "(its text cannot be made)"
    # Lone surrogates would break whoever stores the reason as UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{_type_name(error)}: {text}"[:MAX_REASON] if text else _type_name(error)


def _type_name(error: BaseException) -> str:
    kind: type[Any] = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"


def _hash(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "backslashreplace")).hexdigest()[:16]
