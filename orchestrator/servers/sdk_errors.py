"""From the SDK's exceptions to what went wrong with a server, and from that to a `CallError`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from mcp import MCPError, types
from pydantic import ValidationError

from orchestrator.documents.text import quoted
from orchestrator.errors import CallError, ErrorKind, TaskError
from orchestrator.servers.config import Server
from orchestrator.servers.start_hints import start_hint
from orchestrator.transport import framing
from orchestrator.transport.framing import HTTP_ERROR, HTTP_FACTS
from orchestrator.transport.stderr import StderrTail

# These statuses judge the request and say nothing of the server's own state.
_REFUSALS = (400, 406, 413, 414, 415, 422)
_WORTH_RETRYING = (408, 425, 429)
_UNAVAILABLE = (401, 402, 403, 407, *_WORTH_RETRYING)

# How servers report an unknown session: those of the SDKs, and those written after an example.
_SESSION_GONE = re.compile(
    r"session\b.*(not found|unknown|invalid|expired|terminated)|no valid session", re.I
)
# How much of a path a message shows.
MAX_PATH = 300

# How the SDK reports an event that is longer than the limit it was given.
_EVENT_TOO_LARGE = re.compile(r"exceeded the (\d+) byte limit")


@dataclass(frozen=True, slots=True)
class ServerFault:
    """What went wrong with a server."""

    kind: ErrorKind
    what: str  # it continues `server "x" ...`
    details: dict[str, Any] = field(default_factory=dict)
    retryable: bool | None = None  # None: what the kind says
    ends: bool = False  # the session is over, and the call was refused because of that
    doubtful: bool = False  # it may be over, and should be opened anew before the next run


WAS_CLOSED = ServerFault("server_unavailable", "was closed")
NOT_OPEN = ServerFault("server_unavailable", "is not open")
ENDED = ServerFault("server_unavailable", "closed the connection")
SILENT = ServerFault("server_unavailable", "stopped answering")


def too_slow(limit_s: float) -> ServerFault:
    """A server that did not answer within its start timeout."""
    what = f"did not start: it did not answer within {limit_s:g} s"
    return ServerFault("server_unavailable", what, {"start_timeout_s": limit_s})


def not_configured(why: str) -> ServerFault:
    """A server whose configuration has a mistake."""
    what = f"did not start: it is not configured as it should be: {why}"
    return ServerFault("server_unavailable", what, retryable=False)


def call_error(fault: ServerFault, server: Server, output: StderrTail) -> CallError:
    """The error that names the server, how it is reached and what it wrote last."""
    message = f"server {quoted(server.name)} {fault.what}"
    facts: dict[str, Any] = {"server": server.name, **fault.details}
    if server.description:
        facts["started_with"] = server.description
        message += f" ({server.description})"
    if fault.kind == "server_unavailable" and (lines := output.lines()):
        facts["stderr"] = lines
        message += f". Last output: {output.telling()}"
    if hint := start_hint(server, " ".join([fault.what, *facts.get("stderr", ())])):
        facts["hint"] = hint
        message += f". {hint}"
    error = CallError(fault.kind, message, retryable=fault.retryable, **facts)
    return redacted(error.error, server)


def redacted(error: TaskError, server: Server) -> CallError:
    """The error without the secrets of the server."""
    message, details = server.redact([error.message, dict(error.details)])
    return CallError(error.kind, message, retryable=error.retryable, **details)


def raised(error: TaskError, kind: type[CallError] = CallError, **facts: Any) -> CallError:
    """The exception for an error, with more facts."""
    return kind(error.kind, error.message, retryable=error.retryable, **{**error.details, **facts})


def is_closed(error: MCPError) -> bool:
    """Whether the SDK says that the connection is closed. (A server can say the same.)"""
    closed = (types.CONNECTION_CLOSED, "Connection closed", None)
    return (error.code, error.message, error.data) == closed


def fault_of(error: MCPError, tool: str) -> ServerFault:
    """Why a call that was answered with an error failed."""
    data = error.data
    if (fault := _fault_of_size(error, tool)) is not None:
        return fault
    if isinstance(data, dict) and isinstance(http := data.get(HTTP_FACTS), dict):
        data = {name: value for name, value in data.items() if name != HTTP_FACTS} or None
        if (fault := _http_fault(error, http)) is not None:
            return fault
    if error.code == types.INVALID_REQUEST and _SESSION_GONE.search(error.message):
        return ServerFault("server_unavailable", f"ended the session: {error.message}", ends=True)
    # The SDK's own error for a stream of events that ended before the answer.
    if error.code == types.CONNECTION_CLOSED and error.message.startswith("SSE stream"):
        what = f"broke off its answer: {error.message}"
        return ServerFault("server_unavailable", what, {"lost": True}, doubtful=True)
    details = {"code": error.code} | ({} if data is None else {"data": data})
    if error.code == types.INVALID_PARAMS:
        what = f"rejected the arguments of {quoted(tool)}: {error.message}"
        return ServerFault("invalid_arguments", what, {"tool": tool, **details})
    kind: ErrorKind = "timeout" if error.code == types.REQUEST_TIMEOUT else "protocol_error"
    may_retry = False if error.code == types.METHOD_NOT_FOUND else None
    what = f"answered with error {error.code}: {error.message}"
    return ServerFault(kind, what, details, may_retry)


def _fault_of_size(error: MCPError, tool: str) -> ServerFault | None:
    """An answer over `max_result_bytes`; None if the error is another one."""
    match error.data:
        case {framing.TOO_LARGE: {"bytes": int(size), "max_result_bytes": int(limit)}}:
            pass
        case _:
            found = _EVENT_TOO_LARGE.search(error.message)
            if error.code != types.CONNECTION_CLOSED or found is None:
                return None
            limit = int(found[1])
            size = limit + 1
    sent = f"sent a result of {quoted(tool)} with at least {size:,} bytes"
    what = f"{sent}; its max_result_bytes is {limit:,}"
    details = {"tool": tool, "bytes": size, "max_result_bytes": limit}
    return ServerFault("protocol_error", what, details, retryable=False)


def _http_fault(error: MCPError, facts: dict[str, Any]) -> ServerFault | None:
    """What the HTTP status says; None if the JSON-RPC error that came with it says more."""
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
    """Why a session could not be opened or broke; the verb is "did not start" or "failed"."""
    details: dict[str, Any] = {}
    retryable = None
    leaves = _leaves(failure)
    # The first that is not the SDK's own says most.
    match next((leaf for leaf in leaves if not isinstance(leaf, MCPError)), leaves[0]):
        case MCPError() as error:
            fault = ENDED if is_closed(error) else fault_of(error, "tools/list")
            what, details, retryable = f"it {fault.what}", fault.details, fault.retryable
        case FileNotFoundError(filename=name):
            what = f"no such program or directory {quoted(str(name), MAX_PATH)}"
        case PermissionError(filename=name):
            what = f"{quoted(str(name), MAX_PATH)} is not executable"
        case ValidationError() as invalid:
            what = f"its answer is invalid: {_invalid(invalid)}"
        case other:
            what = f"{type(other).__name__}: {other}".rstrip(": ")
    return ServerFault("server_unavailable", f"{verb}: {what}", details, retryable)


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for inner in failure.exceptions for leaf in _leaves(inner)]
    return [failure]


def fault_of_result(error: ValidationError, tool: str) -> ServerFault:
    """A result that does not match the protocol."""
    what = f"sent an invalid result of {quoted(tool)}: {_invalid(error)}"
    return ServerFault("protocol_error", what)


def _invalid(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(map(str, first["loc"])) or "it"
    wrong = "is missing" if first["type"] == "missing" else "does not match the protocol"
    return f"{path} {wrong}"
