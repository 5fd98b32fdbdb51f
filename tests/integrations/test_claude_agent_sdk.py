"""The adapter for the Claude Agent SDK, with the real one; a transport plays its program."""

from __future__ import annotations

import json
from typing import Any

import pytest

sdk = pytest.importorskip("claude_agent_sdk", reason="claude-agent-sdk is not installed")

import anyio  # noqa: E402

from orchestrator.integrations.claude_agent_sdk import sdk_server  # noqa: E402
from tests.conftest import ON_ASYNCIO  # noqa: E402
from tests.integrations.scene import (  # noqa: E402
    PLAN,
    RUN,
    WRONG,
    check_invalid,
    check_partial,
    engine_of,
)

pytestmark = [pytest.mark.anyio, ON_ASYNCIO]


class Scripted(sdk.Transport):  # type: ignore[name-defined]
    """Shakes hands, and then makes one call after the other."""

    def __init__(self, *calls: Any) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Any](100)
        self.answers: list[Any] = []
        who = {"name": "cli", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": who}
        self._left: list[tuple[str, Any]] = [
            ("initialize", hello),
            ("notifications/initialized", {}),
            ("tools/list", {}),
            *(("tools/call", {"name": RUN, "arguments": call}) for call in calls),
        ]

    async def connect(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def end_input(self) -> None: ...

    async def close(self) -> None:
        self._send.close()

    def _next(self) -> None:
        if not self._left:
            end = {"subtype": "success", "is_error": False, "num_turns": 1, "session_id": "s"}
            times = {"duration_ms": 1, "duration_api_ms": 1, "result": "done"}
            self._send.send_nowait({"type": "result", **end, **times})
            return
        method, params = self._left.pop(0)
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications"):
            message["id"] = len(self._left) + 1
        request = {"subtype": "mcp_message", "server_name": "orchestrator", "message": message}
        number = f"q{len(self._left)}"
        self._send.send_nowait(
            {"type": "control_request", "request_id": number, "request": request}
        )

    async def write(self, data: str) -> None:
        message = json.loads(data)
        if message["type"] == "control_request":
            response = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            self._send.send_nowait({"type": "control_response", "response": response})
        elif message["type"] == "user":
            self._next()
        elif message["type"] == "control_response":
            self.answers.append(message["response"]["response"]["mcp_response"])
            self._next()

    async def read_messages(self) -> Any:
        async for message in self._receive:
            yield message


async def test_a_plan_and_a_wrong_one() -> None:
    scripted = Scripted(WRONG, PLAN)
    async with engine_of() as engine:
        servers = {"orchestrator": sdk_server(engine)}
        options = sdk.ClaudeAgentOptions(mcp_servers=servers)
        async with sdk.ClaudeSDKClient(options, transport=scripted) as client:
            await client.query("go")
            async for _ in client.receive_response():
                pass
    tools = scripted.answers[2]["result"]["tools"]
    plan = next(tool for tool in tools if tool["name"] == RUN)
    assert "tasks" in plan["inputSchema"]["properties"]
    wrong, right = (answer["result"] for answer in scripted.answers[3:])
    assert wrong["isError"]
    check_invalid(wrong["content"][0]["text"])
    assert not right.get("isError")
    check_partial(right["content"][0]["text"])
