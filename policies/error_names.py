"""What an error's type says by its name and the package it was written in.

Names are looked up along the MRO and never imported: there are two httpx, and most libraries' time-outs share no base.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


#: Packages that speak to providers. Text is believed of their errors, and a time-out in them is the provider's.
PROVIDERS: Final = _set(
    """openai anthropic google mistralai cohere groq litellm botocore boto3 httpx httpx2 httpcore httpcore2 requests
    aiohttp urllib urllib3 http grpc huggingface_hub ollama pydantic_ai langchain langchain_core langchain_openai
    langchain_anthropic langgraph mcp instructor h11 h2 socket ssl websockets replicate
    azure zai zhipuai dashscope"""
)
#: Stores; what they raise about the connection or the server is nobody's fault but ours, whatever it is called.
STORES: Final = _set(
    """redis valkey psycopg psycopg2 asyncpg sqlite3 aiosqlite sqlalchemy pymysql MySQLdb mysql pymongo peewee
    cassandra"""
)
#: What a store raises about what it was asked to do: a bug of whoever asked.
STORE_BUGS: Final = _set(
    """IntegrityError ProgrammingError DataError NotSupportedError ResponseError InvalidRequestError NoResultFound
    MultipleResultsFound ArgumentError StatementError InternalError DuplicateKeyError WriteError"""
)
#: ... unless it is one of these, or its text begins with one of the words below.
STORE_TROUBLE: Final = _set(
    """BusyLoadingError ReadOnlyError TryAgainError MasterDownError OutOfMemoryError ClusterDownError
    NoPermissionError AuthenticationError ReadOnlySqlTransaction InsufficientPrivilege"""
)
STORE_WORDS: Final = (
    "NOAUTH", "WRONGPASS", "NOPERM", "OOM ", "LOADING", "READONLY", "MISCONF", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN",
    "NOREPLICAS", "BUSY ",
)  # fmt: skip
#: What sqlite's code for "the statement is wrong" is: it comes as an OperationalError, like a full disk.
SQLITE_ERROR: Final = 1
#: Locks of this host.
HOST_PACKAGES: Final = frozenset({"filelock", "portalocker", "fasteners"})

#: Names that say more than a status beside them.
DECISIVE: Final[dict[str, str]] = {
    **dict.fromkeys(
        _set(
            """MaxTurnsExceeded MaxTurnsExceededError UsageLimitExceeded BudgetExceededError BudgetExceeded
        GraphRecursionError LimitsExceeded CostLimitExceeded"""
        ),
        "budget",
    ),
    **dict.fromkeys(
        _set("ContextWindowExceededError ContextWindowExceeded ContextOverflowError ContextLengthExceededError"),
        "context_overflow",
    ),
    **dict.fromkeys(
        _set(
            """ContentPolicyViolationError ContentFilterFinishReasonError ContentFilterError BlockedPromptException
        StopCandidateException InputGuardrailTripwireTriggered OutputGuardrailTripwireTriggered RejectedRequestError
        ModelRefusalError GuardrailRaisedException"""
        ),
        "content_refused",
    ),
    **dict.fromkeys(_set("JSONSchemaValidationError LengthFinishReasonError"), "malformed_output"),
    **dict.fromkeys(_set("InsufficientQuotaError PaymentRequiredError"), "quota"),
}
#: A breaker of our own that is open: nobody was asked, so it is no new failure of the provider.
BREAKERS: Final = frozenset({"CircuitBreakerError", "CircuitBreakerOpen", "RouterRateLimitError", "BreakerOpen"})
#: What stands below a dropped connection and carries a made-up status.
DECOYS: Final = _set(
    """RemoteProtocolError HttpProcessingError BadHttpMessage PayloadEncodingError ContentLengthError
    TransferEncodingError ClientPayloadError"""
)

#: Time-outs before anything was sent: safe to try again.
UNSENT: Final = _set("ConnectTimeout ConnectTimeoutError PoolTimeout ConnectionTimeoutError ProxyConnectionTimeout")
#: Time-outs while an answer was awaited: the provider may have acted.
READ_TIMEOUTS: Final = _set("ReadTimeout ReadTimeoutError SocketTimeoutError WriteTimeout")
#: Time-outs of clients of a provider.
PROVIDER_TIMEOUTS: Final = READ_TIMEOUTS | _set(
    "APITimeoutError TimeoutException ServerTimeoutError DeadlineExceeded GatewayTimeout"
)
#: Time-outs of anybody.
TIMEOUTS: Final = PROVIDER_TIMEOUTS | _set("TimeoutError Timeout TimeoutExpired JobTimeoutException RunTimedOut")
CANCELLED: Final = frozenset({"CancelledError", "RunCancelled"})

#: class -> names, asked in this order.
_NAMED: Final[dict[str, str]] = {
    "auth": """
        AuthenticationError AuthenticationException PermissionDeniedError PermissionDenied Unauthenticated
        Unauthorized UnauthorizedError UnauthorizedException Forbidden ForbiddenError NoCredentialsError
        PartialCredentialsError CredentialRetrievalError TokenRetrievalError UnauthorizedSSOTokenError RefreshError
        DefaultCredentialsError LocalTokenNotFoundError""",
    "rate_limited": "RateLimitError TooManyRequests TooManyRequestsError ResourceExhausted ThrottlingException",
    "overloaded": """
        InternalServerError ServiceUnavailable ServiceUnavailableError OverloadedError BadGateway BadGatewayError
        ServerError""",
    "malformed_output": """
        JSONDecodeError ValidationError APIResponseValidationError ResponseValidationError OutputParserException
        UnexpectedModelBehavior ModelBehaviorError IncompleteOutputException ContentTypeError""",
    "bad_input": """
        BadRequestError BadRequest InvalidRequestError NotFoundError UnprocessableEntityError UnprocessableEntity
        InvalidArgument ParamValidationError InvalidURL MissingSchema InvalidSchema UnsupportedProtocol
        LocalProtocolError UnsupportedParamsError RequestTooLarge NoRegionError""",
    "network": """
        APIConnectionError ConnectError ConnectionError RemoteProtocolError ProtocolError ReadError WriteError
        NetworkError TransportError ProxyError SSLError ClientConnectionError ClientConnectorError ClientOSError
        HttpProcessingError BadHttpMessage PayloadEncodingError ContentLengthError TransferEncodingError
        ServerDisconnectedError ClientPayloadError ChunkedEncodingError MaxRetryError NewConnectionError
        NameResolutionError IncompleteRead RemoteDisconnected BadStatusLine gaierror herror EndpointConnectionError
        ConnectionClosedError ProxyConnectionError HTTPClientError URLError IncompleteReadError TooManyRedirects
        ConnectionRefusedError ConnectionResetError ConnectionAbortedError BrokenPipeError
        DecodingError ContentDecodingError ChecksumMismatch InvalidHeadersLength InvalidPayloadLength""",
}
#: Behind an error that only says "connection": nothing can have been sent.
NOT_SENDABLE: Final = _set("LocalProtocolError UnsupportedProtocol InvalidURL")
#: JSON-RPC's numbers, as mcp's errors carry them. The server's own status is lost.
MCP_ERRORS: Final = frozenset({"McpError", "MCPError"})
MCP_CODES: Final = {
    -32700: "malformed_output", -32600: "bad_input", -32601: "bad_input", -32602: "bad_input", -32603: "overloaded",
    -32000: "network", -32001: "timeout", 408: "timeout",
}  # fmt: skip
#: Names that mean "the input" when the caller says that it happened before anything was sent.
VALIDATION: Final = frozenset({"ValidationError", "JSONDecodeError"})

#: What a programming error raises. An OSError without a rule of its own counts too: a file that is not there.
BUGS: Final = frozenset(
    {"ArithmeticError", "AssertionError", "AttributeError", "BufferError", "EOFError", "ImportError"}
    | {"LookupError", "NameError", "OSError", "RuntimeError", "StopAsyncIteration", "StopIteration"}
    | {"SyntaxError", "SystemError", "SystemExit", "TypeError", "ValueError", "KeyboardInterrupt"}
)
_KIND_OF: Final[dict[str, str]] = {name: kind for kind, all_ in _NAMED.items() for name in all_.split()}


def decisive(names: Collection[str]) -> str | None:
    """The class of a name that says more than a status does."""
    return next((DECISIVE[name] for name in names if name in DECISIVE), None)


def kind(names: Collection[str]) -> str | None:
    """The class that the names say, most derived first; time-outs before connections: some types are both."""
    if UNSENT.intersection(names):
        return "network"
    if TIMEOUTS.intersection(names):
        return "timeout"
    return next((_KIND_OF[name] for name in names if name in _KIND_OF), None)
