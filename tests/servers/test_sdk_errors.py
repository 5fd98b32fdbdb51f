"""What can go wrong with a server, told apart. (What HTTP says is tested over HTTP.)"""

from __future__ import annotations

from typing import Any

import pytest
from mcp import MCPError
from mcp.types import CallToolResult, Tool
from pydantic import ValidationError

from orchestrator.servers.sdk_errors import fault_of, fault_of_result, fault_of_session, is_closed

CLOSED = MCPError(code=-32000, message="Connection closed")


def invalid(model: Any, data: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return caught.value


@pytest.mark.parametrize(
    ("code", "message", "data", "kind", "retryable"),
    [
        (-32602, "no", None, "invalid_arguments", None),
        # It has answered: a limit of ours was not reached.
        (-32001, "Request timed out", None, "protocol_error", None),
        (-32601, "what?", None, "protocol_error", False),
        (-32000, "refused", None, "protocol_error", None),
        # What a server says proves nothing of its transport, whatever words it uses.
        (-32000, "SSE stream ended without a response", None, "protocol_error", None),
        (-32000, "SSE stream failed: exceeded the 5 byte limit", None, "protocol_error", None),
        (-32600, "Session not found", None, "protocol_error", None),
        (
            -32050,
            "no",
            {"orchestrator.transport.http": {"http_status": 404}},
            "protocol_error",
            None,
        ),
        (-32050, "no", {"http_status": "x", "retry_after_s": "soon"}, "protocol_error", None),
        (-32050, "no", {"lost": True, "unreachable": True}, "protocol_error", None),
        (-32050, "no", {"orchestrator.too_large": {"bytes": 1}}, "protocol_error", None),
        (-32050, "no", {"limit": 5, "size": 6}, "protocol_error", None),
    ],
)
def test_an_error_of_the_protocol_is_of_a_kind(
    code: int, message: str, data: Any, kind: str, retryable: bool | None
) -> None:
    fault = fault_of(MCPError(code=code, message=message, data=data), "tool")
    assert fault.kind == kind
    assert message in fault.what
    assert fault.retryable is retryable
    if kind != "server_unavailable":
        assert fault.details["code"] == code
        assert fault.details.get("data") == data


def test_only_the_sdk_closes_a_connection() -> None:
    assert is_closed(CLOSED)
    assert not is_closed(MCPError(code=-32000, message="Connection closed", data={"by": "me"}))
    assert not is_closed(MCPError(code=-32000, message="refused"))


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (FileNotFoundError(2, "No such file", "tool"), 'no such program or directory "tool"'),
        (PermissionError(13, "no", "tool"), '"tool" is not executable'),
        (OSError(8, "Exec format error"), "OSError: [Errno 8] Exec format error"),
        (ValueError(), "ValueError"),
        (
            RuntimeError("Unsupported protocol version from the server: 1\x07"),
            r'its answer to "tools/list" names an unsupported revision: "1\u0007"',
        ),
        (RuntimeError("what?"), "RuntimeError: what?"),
        (CLOSED, "it closed the connection"),
        (MCPError(code=-32603, message="oops"), 'it refused "tools/list" with error -32603: oops'),
        (ExceptionGroup("g", [ExceptionGroup("g", [CLOSED])]), "it closed the connection"),
        (ExceptionGroup("g", [CLOSED, OSError("x")]), "OSError: x"),
        (
            invalid(Tool, {"name": "a"}),
            'its answer to "tools/list" is invalid: inputSchema is missing',
        ),
        (invalid(Tool, 3), 'its answer to "tools/list" is invalid: it does not match the protocol'),
    ],
)
def test_a_session_fails_for_a_reason(failure: Exception, said: str) -> None:
    fault = fault_of_session(failure, "did not start", "tools/list")
    assert (fault.kind, fault.what) == ("server_unavailable", f"did not start: {said}")


def test_a_result_that_does_not_conform_is_told_by_its_place() -> None:
    fault = fault_of_result(invalid(CallToolResult, {"content": 3}), "tool", {"content": 3})
    assert (fault.kind, fault.retryable) == ("protocol_error", False)
    assert fault.details["output"] == {"content": 3}
    assert fault.what == 'sent an invalid result of "tool": content does not match the protocol'
