"""What is to be made of everything that is raised: class, source, and the seconds that were asked for.

None: nothing is raised, so that whoever receives the answer must look at it.
"""

from __future__ import annotations

from typing import Final

Found = tuple[str, str] | tuple[str, str, float] | None

LIMITED: Final[Found] = ("rate_limited", "provider")
OVERLOADED: Final[Found] = ("overloaded", "provider")
QUOTA: Final[Found] = ("quota", "provider")
NETWORK: Final[Found] = ("network", "provider")
TIMEOUT: Final[Found] = ("timeout", "provider")
AUTH: Final[Found] = ("auth", "provider")
BAD: Final[Found] = ("bad_input", "task")
CRASH: Final[Found] = ("crash", "task")
#: An answer that is none: the source is the provider's where it was its client that noticed.
NO_ANSWER: Final[Found] = ("malformed_output", "task")
ITS_NO_ANSWER: Final[Found] = ("malformed_output", "provider")

#: What a client that keeps status, headers and body lets us see.
HTTP: Final[dict[str, Found]] = {
    "key": AUTH,
    "forbidden": AUTH,
    "limit": LIMITED,
    "limit_after": ("rate_limited", "provider", 120),
    "limit_date": ("rate_limited", "provider", 90),
    "limit_ms": ("rate_limited", "provider", 1.5),
    "limit_reset": ("rate_limited", "provider", 90),
    "limit_prose": ("rate_limited", "provider", 7.66),
    "credit": QUOTA,
    "pay": QUOTA,
    "window": ("quota", "provider", 7200),
    "busy": ("overloaded", "provider", 7),
    "overloaded": OVERLOADED,
    "broken": OVERLOADED,
    "gateway_late": OVERLOADED,
    "edge_late": TIMEOUT,
    "request_late": TIMEOUT,
    "context": ("context_overflow", "task"),
    "too_large": ("context_overflow", "task"),
    "refusal": ("content_refused", "provider"),
    "refusal_403": ("content_refused", "provider"),
    "bad": BAD,
    "quotes": BAD,
    "missing": BAD,
    "unprocessable": BAD,
    "refused": NETWORK,
    "no_such_host": NETWORK,
    "tls": NETWORK,
    "drop": NETWORK,
    "reset": NETWORK,
    "hang": TIMEOUT,
    "nonsense": NETWORK,
    "loop": NETWORK,
    "cut": NETWORK,
    "hang_body": TIMEOUT,
    "gzip": NETWORK,
    "chunk": NETWORK,
    "page": NO_ANSWER,
    "gateway_page": OVERLOADED,
    "half_json": NO_ANSWER,
    "nothing": NO_ANSWER,
    "inside_200_key": AUTH,
    "inside_200_limit_after": LIMITED,
    "stream: stream_cut": NETWORK,
    "stream: stream_stall": TIMEOUT,
    "stream: stream_error": OVERLOADED,
    "stream: stream_garbage": NO_ANSWER,
    "stream: endless": ("overloaded", "provider", 7),
    "stream: limit_after": ("rate_limited", "provider", 120),
    "stream: key": AUTH,
}
#: Statuses that nobody gives a wait to, since headers are lost.
_NO_HEADERS: Final[dict[str, Found]] = {
    **dict.fromkeys(("limit_after", "limit_date", "limit_ms", "limit_reset", "stream: limit_after"), LIMITED),
    **dict.fromkeys(("busy", "stream: endless"), OVERLOADED),
}
#: The status alone, since the body is lost.
_NO_BODY: Final[dict[str, Found]] = {
    **dict.fromkeys(("limit_prose", "credit", "window"), LIMITED),
    **dict.fromkeys(("context", "too_large", "refusal"), BAD),
    "refusal_403": AUTH,
}
#: An error object with a 200 of which the client keeps nothing: its caller's own code stumbles over what is left.
_STUMBLED: Final[dict[str, Found]] = dict.fromkeys(("inside_200_key", "inside_200_limit_after"), CRASH)
#: The dialect has no time for a plan's window, and no word for a body that is too large.
_NO_WINDOW: Final[dict[str, Found]] = {"window": QUOTA}
_PLAIN_413: Final[dict[str, Found]] = {"too_large": BAD}
_ITS_OWN: Final[dict[str, Found]] = dict.fromkeys(("page", "half_json", "nothing"), ITS_NO_ANSWER)

#: Client -> where it differs from `HTTP`, and why.
DIFFERS: Final[dict[str, dict[str, Found]]] = {
    "openai": {},
    "openai async": {},
    "groq": {},
    "anthropic": _NO_WINDOW,
    # Google says the wait in RetryInfo, and has no word for an empty answer, nor for an error inside one.
    "google-genai": {
        **_NO_WINDOW, **_PLAIN_413, "limit_prose": ("rate_limited", "provider", 34.07),
        **dict.fromkeys(("nothing", *_STUMBLED), None),
    },
    "mistralai": {
        **_NO_WINDOW, **_PLAIN_413, **_ITS_OWN, "inside_200_key": AUTH,
        "inside_200_limit_after": ("rate_limited", "provider", 120), "stream: stream_garbage": ITS_NO_ANSWER,
    },
    "cohere": {**_NO_WINDOW, **_PLAIN_413, **_ITS_OWN, **_STUMBLED},
    "litellm": {
        "page": ITS_NO_ANSWER, "inside_200_key": AUTH, "inside_200_limit_after": LIMITED,
        # It calls every stream that it cannot read a lost connection.
        "stream: stream_garbage": NETWORK,
    },
    "litellm anthropic": {
        **_NO_WINDOW, **_ITS_OWN, "inside_200_key": AUTH, "inside_200_limit_after": ("rate_limited", "provider", 120),
    },
    # botocore takes anything with a 200 for an answer; its stream is throttled, not overloaded, in this test.
    "boto3": {
        **_NO_WINDOW, **_PLAIN_413, **_STUMBLED,
        **dict.fromkeys(("cut", "gzip", "page", "half_json", "nothing"), CRASH),
        "stream: stream_error": LIMITED, "stream: stream_garbage": NETWORK,
    },
    "huggingface_hub": {**_NO_WINDOW, **_PLAIN_413},
    "ollama": {
        **_NO_WINDOW, **_PLAIN_413, **_NO_HEADERS, **dict.fromkeys(_STUMBLED, NO_ANSWER),
    },
    "pydantic-ai": {"page": ITS_NO_ANSWER, **dict.fromkeys(_STUMBLED, ITS_NO_ANSWER)},
    # It hands on what stood in an answer without choices, and stumbles over a page itself.
    "openai-agents": {"page": CRASH, "inside_200_key": AUTH, "inside_200_limit_after": LIMITED},
    # Every status but 404 is "-32603, server returned an error response"; the time-out is the test's own.
    "mcp": {
        **dict.fromkeys(list(HTTP)[: list(HTTP).index("refused")], OVERLOADED), "missing": BAD,
        **dict.fromkeys(("hang", "hang_body"), ("timeout", "task")), "loop": BAD, **_ITS_OWN, "gzip": ITS_NO_ANSWER,
        **dict.fromkeys(_STUMBLED, ITS_NO_ANSWER),
    },
    "httpx": {"stream: stream_error": NO_ANSWER},
    "httpx async": {},
    "httpx2": {},
    "requests": {**_ITS_OWN, "stream: stream_error": NO_ANSWER},
    # "too many 429 error responses" is all that is left.
    "requests retrying": {
        **_ITS_OWN, **_NO_HEADERS, **dict.fromkeys(("limit_prose", "credit", "window"), LIMITED),
    },
    # It raises for the statuses that it was told to retry, and says no more than which; what it does not raise for
    # comes as an answer, with the error inside.
    "urllib3": {**_NO_HEADERS, **_NO_BODY, **{name: HTTP[name] for name in ("context", "too_large", "refusal")}},
    "urllib": {**_NO_BODY, "gzip": NO_ANSWER},
    "aiohttp": {**_NO_BODY, "page": ITS_NO_ANSWER, "nothing": None},
    "aiohttp total": {**_NO_BODY, "page": ITS_NO_ANSWER, "nothing": None},
}  # fmt: skip

#: What is no HTTP client: library -> situation -> what is found.
OTHERS: Final[dict[str, dict[str, Found]]] = {
    "grpc": {
        "key": ("auth", "provider"),
        "stream key": ("auth", "provider"),
        "forbidden": ("auth", "provider"),
        "stream forbidden": ("auth", "provider"),
        "limit": ("rate_limited", "provider"),
        "stream limit": ("rate_limited", "provider"),
        "limit metadata": ("rate_limited", "provider", 120),
        "stream limit metadata": ("rate_limited", "provider", 120),
        "limit pushback": ("rate_limited", "provider", 1.5),
        "stream limit pushback": ("rate_limited", "provider", 1.5),
        "limit RetryInfo": ("rate_limited", "provider", 34.5),
        "stream limit RetryInfo": ("rate_limited", "provider", 34.5),
        "per day": ("quota", "provider"),
        "stream per day": ("quota", "provider"),
        "busy": ("overloaded", "provider"),
        "stream busy": ("overloaded", "provider"),
        "busy RetryInfo": ("overloaded", "provider", 7),
        "stream busy RetryInfo": ("overloaded", "provider", 7),
        "broken": ("overloaded", "provider"),
        "stream broken": ("overloaded", "provider"),
        "late": ("timeout", "provider"),
        "stream late": ("timeout", "provider"),
        "bad": ("bad_input", "task"),
        "stream bad": ("bad_input", "task"),
        "quotes": ("bad_input", "task"),
        "stream quotes": ("bad_input", "task"),
        "missing": ("bad_input", "task"),
        "stream missing": ("bad_input", "task"),
        "unimplemented": ("bad_input", "task"),
        "stream unimplemented": ("bad_input", "task"),
        "aborted": ("overloaded", "provider"),
        "stream aborted": ("overloaded", "provider"),
        "unknown": ("overloaded", "provider"),
        "stream unknown": ("overloaded", "provider"),
        "lost": ("overloaded", "provider"),
        "stream lost": ("overloaded", "provider"),
        "hang": ("timeout", "provider"),
        "stream hang": ("timeout", "provider"),
        "too large": ("bad_input", "task"),
        "stream too large": ("bad_input", "task"),
        "refused": ("network", "provider"),
        "no_such_host": ("network", "provider"),
        "no grpc": ("network", "provider"),
    },
    "grpc.aio": {
        "key": ("auth", "provider"),
        "forbidden": ("auth", "provider"),
        "limit": ("rate_limited", "provider"),
        "limit metadata": ("rate_limited", "provider", 120),
        "limit pushback": ("rate_limited", "provider", 1.5),
        "limit RetryInfo": ("rate_limited", "provider", 34.5),
        "per day": ("quota", "provider"),
        "busy": ("overloaded", "provider"),
        "busy RetryInfo": ("overloaded", "provider", 7),
        "broken": ("overloaded", "provider"),
        "late": ("timeout", "provider"),
        "bad": ("bad_input", "task"),
        "quotes": ("bad_input", "task"),
        "missing": ("bad_input", "task"),
        "unimplemented": ("bad_input", "task"),
        "aborted": ("overloaded", "provider"),
        "unknown": ("overloaded", "provider"),
        "lost": ("overloaded", "provider"),
        "hang": ("timeout", "provider"),
        "too large": ("bad_input", "task"),
        "refused": ("network", "provider"),
    },
    "redis": {
        "NOAUTH": ("infrastructure", "store"),
        "WRONGPASS": ("infrastructure", "store"),
        "NOPERM": ("infrastructure", "store"),
        "LOADING": ("infrastructure", "store"),
        "BUSY": ("infrastructure", "store"),
        "READONLY": ("infrastructure", "store"),
        "OOM": ("infrastructure", "store"),
        "MISCONF": ("infrastructure", "store"),
        "CLUSTERDOWN": ("infrastructure", "store"),
        "MASTERDOWN": ("infrastructure", "store"),
        "max clients": ("infrastructure", "store"),
        "WRONGTYPE": ("crash", "task"),
        "NOSCRIPT": ("crash", "task"),
        "syntax": ("crash", "task"),
        "refused": ("infrastructure", "store"),
        "no_such_host": ("infrastructure", "store"),
        "drop": ("infrastructure", "store"),
        "hang": ("infrastructure", "store"),
        "nonsense": ("infrastructure", "store"),
    },
    "psycopg": {
        "connect password": ("infrastructure", "store"),
        "connect too many": ("infrastructure", "store"),
        "connect starting": ("infrastructure", "store"),
        "connect no database": ("infrastructure", "store"),
        "serialization": ("infrastructure", "store"),
        "deadlock": ("infrastructure", "store"),
        "statement timeout": ("infrastructure", "store"),
        "disk full": ("infrastructure", "store"),
        "shutdown": ("infrastructure", "store"),
        "read only": ("infrastructure", "store"),
        "lock": ("infrastructure", "store"),
        "unique": ("crash", "task"),
        "no table": ("crash", "task"),
        "syntax": ("crash", "task"),
        "cast": ("crash", "task"),
        "privilege": ("infrastructure", "store"),
        "refused": ("infrastructure", "store"),
        "drop": ("infrastructure", "store"),
        "hang": ("infrastructure", "store"),
        "cut": ("infrastructure", "store"),
    },
    "sqlite3": {
        "locked": ("infrastructure", "store"),
        "read only": ("infrastructure", "store"),
        "full": ("infrastructure", "store"),
        "no database": ("infrastructure", "store"),
        "cannot open": ("infrastructure", "store"),
        "no table": ("crash", "task"),
        "no column": ("crash", "task"),
        "syntax": ("crash", "task"),
        "unique": ("crash", "task"),
        "not null": ("crash", "task"),
        "parameters": ("crash", "task"),
        "quoting": ("crash", "task"),
        "closed": ("crash", "task"),
    },
    "asyncio": {
        "timeout": ("timeout", "task"),
        "wait_for": ("timeout", "task"),
        "cancelled": ("cancelled", "task"),
        "IncompleteReadError": ("network", "provider"),
        "LimitOverrunError": ("unknown", "task"),
        "TaskGroup refused": ("network", "provider"),
        "refused": ("network", "provider"),
        "no_such_host": ("network", "provider"),
    },
    "futures": {
        "timeout": ("timeout", "task"),
        "pool broken": ("crash", "task"),
    },
    "subprocess": {
        "exit 3": ("crash", "task"),
        "bug": ("crash", "task"),
        "killed": ("resource", "task"),
        "segfault": ("crash", "task"),
        "said 429": ("rate_limited", "provider", 20),
        "said 401": ("auth", "provider"),
        "quotes, then a bug": ("crash", "task"),
        "quotes in a bug": ("crash", "task"),
        "openai's 429": ("rate_limited", "provider"),
        "timeout": ("timeout", "task"),
        "timeout after 429": ("rate_limited", "provider"),
        "no such program": ("crash", "task"),
        "not executable": ("crash", "task"),
        "too long": ("bad_input", "task"),
    },
    "pydantic": {
        "ValidationError": ("malformed_output", "task"),
        "json": ("malformed_output", "task"),
        "quotes": ("malformed_output", "task"),
        "user error": ("crash", "task"),
    },
    "json": {
        "half": ("malformed_output", "task"),
        "quotes": ("malformed_output", "task"),
    },
    "host": {
        "full": ("infrastructure", "host"),
        "files": ("resource", "host"),
        "memory": ("resource", "host"),
        "no file": ("crash", "task"),
        "recursion": ("crash", "task"),
    },
    "no": {
        "key openai": ("auth", "provider"),
        "key groq": ("auth", "provider"),
        "key anthropic": ("auth", "provider"),
        "key google-genai": ("auth", "provider"),
        "key boto3": ("auth", "provider"),
        "region boto3": ("bad_input", "task"),
        "parameter boto3": ("bad_input", "task"),
    },
    "bad": {
        "header openai": ("bad_input", "task"),
        "url mistralai": ("bad_input", "task"),
        "url openai": ("bad_input", "task"),
        "url requests": ("bad_input", "task"),
    },
    "too": {
        "long anthropic": ("bad_input", "task"),
    },
    "wrapped": {
        "from": ("rate_limited", "provider", 120),
        "during": ("rate_limited", "provider", 120),
        "in args": ("rate_limited", "provider", 120),
        "tenacity": ("rate_limited", "provider", 120),
        "group": ("auth", "provider"),
        "TaskGroup": ("rate_limited", "provider", 120),
        "pybreaker first": ("rate_limited", "provider", 120),
        "pybreaker open": ("overloaded", "host"),
        "litellm router": ("overloaded", "host", 120),
        "pydantic-ai limit": ("budget", "task"),
        "openai-agents turns": ("budget", "task"),
        "mcp stdio dies": ("network", "provider"),
        "subprocess of an SDK": ("rate_limited", "provider", 7.66),
    },
    "quoted": {
        "ValueError": ("crash", "task"),
        "RuntimeError": ("crash", "task"),
        "AssertionError": ("crash", "task"),
        "KeyError": ("crash", "task"),
        "own error": ("unknown", "task"),
        "int 429": ("unknown", "task"),
        "status in args": ("unknown", "task"),
        "LookupError": ("crash", "task"),
        "in a refused input": ("bad_input", "task"),
        "in a lost connection": ("network", "provider"),
        "file": ("crash", "task"),
        "program": ("crash", "task"),
    },
    "handled": {
        "before": ("crash", "task"),
    },
}
#: Group of `runner` -> the libraries in it.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "rpc": ("grpc", "grpc.aio"),
    "stores": ("redis", "psycopg", "sqlite3"),
    "local": tuple(list(OTHERS)[5:]),
}


def of(library: str, situation: str) -> Found:
    """What is expected. KeyError for a situation that nobody has thought about."""
    if library in OTHERS:
        return OTHERS[library][situation]
    differing = DIFFERS[library]
    return differing[situation] if situation in differing else HTTP[situation]
