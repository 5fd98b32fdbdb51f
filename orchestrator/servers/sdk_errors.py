"""From the SDK's exceptions to what went wrong with a server, and from that to a `CallError`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from typing import Any

from mcp import MCPError, types
from pydantic import ValidationError

from orchestrator.documents.text import cut, quoted
from orchestrator.errors import CallError, ErrorKind, TaskError
from orchestrator.servers.config import Server
from orchestrator.servers.logging_in import LOGIN, REASON
from orchestrator.servers.sdk_results import InvalidResultError
from orchestrator.servers.start_hints import Cause, cause_of, start_hint
from orchestrator.transport.delivery import Facts, NoConnectionError
from orchestrator.transport.messages import Unreadable
from orchestrator.transport.stderr import StderrTail

# These statuses judge the request and say nothing of the server's own state.
_REFUSALS = (400, 406, 413, 414, 415, 422)
_WORTH_RETRYING = (408, 425, 429)
# At the start, of a server that may speak another transport.
_NOT_SPOKEN = (400, 404, 405, 406, 415)
_UNREACHABLE = ("cannot be reached", "unreachable")
_UNAVAILABLE = (401, 402, 403, 407, *_WORTH_RETRYING)

# How servers report an unknown session: those of the SDKs, and those written after an example.
_SESSION_GONE = re.compile(
    r"session\b.*(not found|unknown|invalid|expired|terminated)|no valid session", re.I
)
_UNSUPPORTED = "Unsupported protocol version from the server: "  # the SDK, of a result
# How much of a path a message shows, of what a server sent, and of the server's own message.
MAX_PATH = 300
MAX_SENT = 200
MAX_SAID = 2000


@dataclass(frozen=True, slots=True)
class ServerFault:
    """What went wrong with a server."""

    kind: ErrorKind
    what: str  # it continues `server "x" ...`
    details: dict[str, Any] = field(default_factory=dict)
    retryable: bool | None = None  # None: what the kind says
    ends: bool = False  # the session is over, and the call was refused because of that
    doubtful: bool = False  # it may be over, and should be opened anew before the next run
    silent: bool = False  # nothing came: a proxy between may be the cause
    cause: Cause = ""  # why a program did not start


WAS_CLOSED = ServerFault("server_unavailable", "was closed")
NOT_OPEN = ServerFault("server_unavailable", "is not open")
ENDED = ServerFault("server_unavailable", "closed the connection")
SILENT = ServerFault("server_unavailable", "stopped answering", silent=True)
NOT_READING = ServerFault(
    "server_unavailable", "sends requests and does not read the answers to them"
)


def too_slow(limit_s: float) -> ServerFault:
    """A server that did not answer within its start timeout."""
    what = f"did not start: it did not answer within {limit_s:g} s"
    return ServerFault("server_unavailable", what, {"start_timeout_s": limit_s}, silent=True)


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
        through = _through(server) if fault.silent else ""
        message += f" ({server.description}{' by HTTP+SSE' if server.is_sse else ''}{through})"
    for name in ("body", "answer"):
        if sent := server.redact(facts.get(name)):
            facts[name] = cut(sent, MAX_SENT if name == "answer" else MAX_SAID)
            message += f": {quoted(sent, MAX_SENT)}" if name == "body" else ""
    if fault.kind == "server_unavailable" and (lines := output.lines()):
        facts["stderr"] = lines
        message += f". Last output: {output.telling()}"
    if fault.kind == "server_unavailable" and (stray := server.redact(output.stray)):
        facts["stdout"] = cut(stray, MAX_SENT)
        message += f". Its stdout has a line that is no message: {quoted(stray, MAX_SENT)}"
    hint = start_hint(server, fault.cause, facts.get("stderr", ()))
    if facts.get(LOGIN):
        hint = f"Run: orchestrator login {shlex.quote(server.name)}"
    if hint:
        facts["hint"] = hint
        message += f". {hint}"
    error = CallError(fault.kind, message, retryable=fault.retryable, **facts)
    return redacted(error.error, server)


def _through(server: Server) -> str:
    """The proxy to its URL, without the password; empty if there is none."""
    if server.url is None:
        return ""
    from orchestrator.transport.http_wire import proxy_for  # servers without a URL do not need it

    proxy = proxy_for(server.url)  # not an invalid one: that fails before anything is silent
    return "" if proxy is None else f", through the proxy {proxy.url}"


def redacted(error: TaskError, server: Server) -> CallError:
    """The error without the secrets of the server."""
    message, details = server.redact([error.message, dict(error.details)])
    return CallError(error.kind, message, retryable=error.retryable, **details)


def raised(error: TaskError, kind: type[CallError] = CallError, **facts: Any) -> CallError:
    """The exception for an error, with more facts."""
    return kind(error.kind, error.message, retryable=error.retryable, **{**error.details, **facts})


def is_closed(error: MCPError) -> bool:
    """Whether the SDK says that the connection is closed: errors of a server have `Facts`."""
    closed = (types.CONNECTION_CLOSED, "Connection closed", None)
    return (error.code, error.message, error.data) == closed


def fault_of(error: MCPError, tool: str, of: str = "tool") -> ServerFault:
    """Why a call that was answered with an error failed; `of` is the kind of the call."""
    # Only the transport makes such an object: what a server sends is believed nowhere below.
    facts = error.data if isinstance(error.data, Facts) else Facts(data=error.data)
    if facts.limit:
        return _fault_of_size(facts, tool)
    if facts.unreadable is not None:
        return _fault_of_reading(facts.unreadable, f"sent an answer to {quoted(tool)}", tool)
    if (fault := _http_fault(error, facts)) is not None:
        return fault
    said = cut(error.message, MAX_SAID)
    details = {"code": error.code} | ({} if facts.data is None else {"data": facts.data})
    if error.code == types.INVALID_PARAMS:
        did = "cannot read" if of == "read" else "rejected the arguments of"
        what = f"{did} {quoted(tool)}: {said}"
        return ServerFault("invalid_arguments", what, {"tool": tool, **details})
    may_retry = False if error.code == types.METHOD_NOT_FOUND else None
    what = f"answered with error {error.code}: {said}"
    return ServerFault("protocol_error", what, details, may_retry)


def _fault_of_size(facts: Facts, tool: str) -> ServerFault:
    """An answer over `max_result_bytes`."""
    sent = f"sent a result of {quoted(tool)} with at least {facts.size:,} bytes"
    what = f"{sent}; its max_result_bytes is {facts.limit:,}"
    details = {"tool": tool, "bytes": facts.size, "max_result_bytes": facts.limit}
    return ServerFault("protocol_error", what, details, retryable=False)


def _fault_of_reading(answer: Unreadable, sent: str, tool: str) -> ServerFault:
    """An answer that is no JSON-RPC response; it may have been executed all the same."""
    kind: ErrorKind = "output_invalid" if answer.is_too_deep else "protocol_error"
    what = f"{sent} that cannot be read: {answer.why}"
    return ServerFault(kind, what, {"tool": tool, "answer": answer.start}, retryable=False)


def _http_fault(error: MCPError, facts: Facts) -> ServerFault | None:
    """What HTTP says; None if the JSON-RPC error that came with it says more."""
    said = cut(error.message, MAX_SAID)
    if facts.refused:
        return _fault_of_login(said, facts)
    if facts.unreachable or facts.lost:
        verb, fact = ("broke off its answer", "lost") if facts.lost else _UNREACHABLE
        what = f"{verb}: {said}"
        return ServerFault("server_unavailable", what, {fact: True}, doubtful=True)
    status = facts.http_status
    if status is None:
        return None
    details = _details_of(facts)
    if facts.had_session and _is_session_gone(error, status):
        what = f"ended the session (HTTP {status}): {said}"
        return ServerFault("server_unavailable", what, details, ends=True)
    if status < 400:
        return None
    shown = f"HTTP {status}: {said}" if facts.by_server else said
    if status >= 500 or status in _UNAVAILABLE:
        may_retry = status >= 500 or status in _WORTH_RETRYING
        return ServerFault("server_unavailable", f"answered {shown}", details, may_retry)
    if facts.by_server:
        return None
    kind: ErrorKind = "protocol_error" if status in _REFUSALS else "server_unavailable"
    return ServerFault(kind, f"answered {shown}", details, retryable=False)


def _details_of(facts: Facts) -> dict[str, Any]:
    """What a response says besides its message."""
    named: dict[str, Any] = {"http_status": facts.http_status, "body": facts.body or None}
    named["retry_after_s"] = facts.retry_after_s
    return {name: value for name, value in named.items() if value is not None}


def _fault_of_login(said: str, facts: Facts) -> ServerFault:
    """A request that was not authorized, and so not executed."""
    what, details = f"was not asked: {facts.refused}", _details_of(facts)
    if facts.http_status is not None:
        shown = f"HTTP {facts.http_status}: {said}" if facts.by_server else said
        what = f"answered {shown}: {facts.refused}"
    if facts.needs_login:
        details |= {LOGIN: True, REASON: facts.refused}
    return ServerFault("server_unavailable", what, details, facts.may_retry)


def _is_session_gone(error: MCPError, status: int) -> bool:
    """Whether the status or the error says that the server does not know the session."""
    if status == 404:
        return True
    told = status == 400 or error.code == types.INVALID_REQUEST
    return told and _SESSION_GONE.search(error.message[:MAX_SENT]) is not None


def fault_of_session(failure: BaseException, verb: str, request: str) -> ServerFault:
    """Why a session could not be opened or broke.

    Args:
        failure: What was raised.
        verb: "did not start" or "failed".
        request: The method of the last request.
    """
    details: dict[str, Any] = {}
    retryable = None
    leaves = _leaves(failure)
    # The first that is not the SDK's own says most.
    first = next((leaf for leaf in leaves if not isinstance(leaf, MCPError)), leaves[0])
    cause = cause_of(first)
    match first:
        case MCPError() as error:
            cause = "ended" if is_closed(error) else ""
            fault = ENDED if is_closed(error) else _fault_at_start(error, request)
            what, details, retryable = f"it {fault.what}", fault.details, fault.retryable
            cause = "refused" if details.get("http_status") in _NOT_SPOKEN else cause
        case NoConnectionError() as error:
            what, cause = f"it {error}", "refused"
        case FileNotFoundError(filename=name):
            what = f"no such program or directory {quoted(str(name), MAX_PATH)}"
        case PermissionError(filename=name):
            what = f"{quoted(str(name), MAX_PATH)} is not executable"
        case ValidationError() as invalid:
            what = f"its answer to {quoted(request)} is invalid: {_invalid(invalid)}"
        case RuntimeError() as error if (said := str(error)).startswith(_UNSUPPORTED):
            version = quoted(said.removeprefix(_UNSUPPORTED), MAX_SENT)
            what = f"its answer to {quoted(request)} names an unsupported revision: {version}"
        case MemoryError():
            what, details = "no memory is left", {"type": "MemoryError"}
        case other:
            what = f"{type(other).__name__}: {other}".rstrip(": ")
    if verb != "did not start":
        cause = ""
    return ServerFault("server_unavailable", f"{verb}: {what}", details, retryable, cause=cause)


def _fault_at_start(error: MCPError, request: str) -> ServerFault:
    """Why a request that no task has made failed: no arguments of anybody are to blame."""
    fault = fault_of(error, request)
    if "code" not in fault.details:
        return fault
    what = f"refused {quoted(request)} with error {error.code}: {cut(error.message, MAX_SAID)}"
    return replace(fault, what=what)


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for inner in failure.exceptions for leaf in _leaves(inner)]
    return [failure]


def fault_of_result(
    error: InvalidResultError | ValidationError, tool: str, sent: Any
) -> ServerFault:
    """A result that has no output; what was sent is kept."""
    if isinstance(error, ValidationError):
        why = _invalid(error)
    else:
        why, sent = str(error), sent if error.sent is None else error.sent
    what = f"sent an invalid result of {quoted(tool)}: {why}"
    details = {"tool": tool} if sent is None else {"tool": tool, "output": sent}
    return ServerFault("protocol_error", what, details, retryable=False)


def _invalid(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(map(str, first["loc"])) or "it"
    wrong = "is missing" if first["type"] == "missing" else "does not match the protocol"
    return f"{path} {wrong}"
