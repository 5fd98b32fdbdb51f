"""What can go wrong with a server, told apart: from the SDK's exceptions to facts.

The rule of this file: pure functions. Which server it was, and what may be shown, the connection
knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mcp import MCPError
from pydantic import ValidationError

from orchestrator.errors import ErrorKind
from orchestrator.transport import framing
from orchestrator.transport.framing import HTTP_ERROR, HTTP_FACTS

INVALID_REQUEST = -32600
CONNECTION_CLOSED = -32000
REQUEST_TIMEOUT = -32001
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

# The answer is the server's opinion of the request, and not of the server's own state.
_REFUSALS = (400, 406, 413, 414, 415, 422)
_WORTH_RETRYING = (408, 425, 429)
_UNAVAILABLE = (401, 402, 403, 407, *_WORTH_RETRYING)

# What servers say of a session that they do not know: the SDKs', and those made after an example.
_SESSION_GONE = re.compile(
    r"session\b.*(not found|unknown|invalid|expired|terminated)|no valid session", re.I
)
# What the SDK says of an event that is longer than the limit it was given.
_EVENT_TOO_LARGE = re.compile(r"exceeded the (\d+) byte limit")


@dataclass(frozen=True, slots=True)
class ServerFault:
    """What went wrong with a server.

    Attributes:
        kind: One of `ERROR_KINDS`.
        what: What happened, as it continues "server 'x' ...".
        details: Facts for programs.
        retryable: Whether trying again may help; None for what the kind says.
        ends: Whether the session is of no use any more; the call was refused with it.
        doubtful: Whether it may be of none: it should be opened anew before the next run.
    """

    kind: ErrorKind
    what: str
    details: dict[str, Any] = field(default_factory=dict)
    retryable: bool | None = None
    ends: bool = False
    doubtful: bool = False


WAS_CLOSED = ServerFault("server_unavailable", "was closed")
NOT_OPEN = ServerFault("server_unavailable", "is not open")
ENDED = ServerFault("server_unavailable", "closed the connection")
SILENT = ServerFault("server_unavailable", "does not answer any more")
LOST = {"lost": True}


def is_closed(error: MCPError) -> bool:
    """Whether the SDK says that the connection is closed. (A server can say the same.)"""
    return (error.code, error.message, error.data) == (CONNECTION_CLOSED, "Connection closed", None)


def fault_of(error: MCPError, tool: str) -> ServerFault:
    """Why a call that was answered with an error failed."""
    data = error.data
    if (fault := _fault_of_size(error, tool)) is not None:
        return fault
    if isinstance(data, dict) and isinstance(http := data.get(HTTP_FACTS), dict):
        data = {name: value for name, value in data.items() if name != HTTP_FACTS} or None
        if (fault := _http_fault(error, http)) is not None:
            return fault
    if error.code == INVALID_REQUEST and _SESSION_GONE.search(error.message):
        return ServerFault("server_unavailable", f"ended the session: {error.message}", ends=True)
    if error.code == CONNECTION_CLOSED and error.message.startswith("SSE stream"):
        what = f"broke off its answer: {error.message}"
        return ServerFault("server_unavailable", what, LOST, doubtful=True)
    details = {"code": error.code} | ({} if data is None else {"data": data})
    if error.code == INVALID_PARAMS:
        what = f"does not accept this call of {tool!r}: {error.message}"
        return ServerFault("invalid_arguments", what, {"tool": tool, **details})
    kind: ErrorKind = "timeout" if error.code == REQUEST_TIMEOUT else "protocol_error"
    may_retry = False if error.code == METHOD_NOT_FOUND else None
    what = f"answered with error {error.code}: {error.message}"
    return ServerFault(kind, what, details, may_retry)


def _fault_of_size(error: MCPError, tool: str) -> ServerFault | None:
    """An answer that is larger than the server may give; None if it is something else."""
    match error.data:
        case {framing.TOO_LARGE: {"bytes": int(size), "max_result_bytes": int(limit)}}:
            pass
        case _:
            found = _EVENT_TOO_LARGE.search(error.message)
            if error.code != CONNECTION_CLOSED or found is None:
                return None
            limit = int(found[1])
            size = limit + 1
    what = (
        f"gave a result of {tool!r} of at least {size:,} bytes; the limit is {limit:,}, and "
        f"max_result_bytes of the server raises it"
    )
    details = {"tool": tool, "bytes": size, "max_result_bytes": limit}
    return ServerFault("protocol_error", what, details, retryable=False)


def _http_fault(error: MCPError, facts: dict[str, Any]) -> ServerFault | None:
    """What HTTP says; None if the JSON-RPC error that came with it says more."""
    facts = dict(facts)
    had_session = facts.pop("had_session", False)
    status = facts.get("http_status")
    if status is None:
        verb = "broke off its answer" if "lost" in facts else "cannot be reached"
        return ServerFault("server_unavailable", f"{verb}: {error.message}", facts, doubtful=True)
    refused = status == 404 or (status == 400 and _SESSION_GONE.search(error.message))
    if had_session and refused:
        what = f"ended the session (HTTP {status}): {error.message}"
        return ServerFault("server_unavailable", what, facts, ends=True)
    said = error.message if error.code == HTTP_ERROR else f"HTTP {status}: {error.message}"
    if status >= 500 or status in _UNAVAILABLE:
        may_retry = status >= 500 or status in _WORTH_RETRYING
        return ServerFault("server_unavailable", f"answered {said}", facts, may_retry)
    if error.code != HTTP_ERROR:
        return None
    kind: ErrorKind = "protocol_error" if status in _REFUSALS else "server_unavailable"
    return ServerFault(kind, f"answered {said}", facts, retryable=False)


def fault_of_session(failure: BaseException, verb: str) -> ServerFault:
    """Why a session could not be opened, or broke: it "did not start", or "failed"."""
    error = _leaf(failure)
    if not isinstance(error, MCPError):
        return ServerFault("server_unavailable", f"{verb}: {_describe(error)}")
    fault = ENDED if is_closed(error) else fault_of(error, "tools/list")
    what = f"{verb}: it {fault.what}"
    return ServerFault("server_unavailable", what, fault.details, fault.retryable)


def fault_of_result(error: ValidationError, tool: str) -> ServerFault:
    """A result that is not what the protocol says."""
    return ServerFault("protocol_error", f"gave no valid result of {tool!r}: {_invalid(error)}")


def _leaf(failure: BaseException) -> BaseException:
    """The exception in a group of groups that says most: the first that is not the SDK's own."""
    leaves = list(_leaves(failure))
    telling = [leaf for leaf in leaves if not isinstance(leaf, MCPError)]
    return (telling or leaves)[0]


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _leaves(inner)
    else:
        yield failure


def _describe(error: BaseException) -> str:
    match error:
        case FileNotFoundError():
            return f"there is no program or directory {error.filename!r}"
        case PermissionError():
            return f"{error.filename!r} may not be executed"
        case ValidationError():
            return f"what it said is not valid: {_invalid(error)}"
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _invalid(error: ValidationError) -> str:
    """The first thing that does not fit, in words of ours."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"])) or "the whole"
    wrong = "is missing" if first["type"] == "missing" else "is not what the protocol says"
    return f"{place} {wrong}"
