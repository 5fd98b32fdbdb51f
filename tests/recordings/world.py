"""A server in memory for recordings, and what of a result a replay gives again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import RunResult


def make_server() -> MCPServer:
    """A server whose tool `next` never gives the same answer twice."""
    server = MCPServer("mock", log_level="WARNING")
    made = Counter[str]()

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def double(n: float) -> dict[str, float]:
        return {"n": 2 * n}

    @server.tool()
    async def next(key: str = "") -> dict[str, int]:  # noqa: A001
        made[key] += 1
        return {"n": made[key]}

    @server.tool()
    async def flaky(times: int) -> str:
        made["flaky"] += 1
        if made["flaky"] <= times:
            raise ToolError(f"failure {made['flaky']}")
        return "[1, 2]"

    @server.tool()
    async def say(text: str) -> list[str]:
        return [text, "and more"]

    @server.tool()
    async def hang() -> None:
        await anyio.sleep_forever()

    @server.tool()
    async def wait(ms: int) -> dict[str, int]:
        await anyio.sleep(ms / 1000)
        return {"ms": ms}

    @server.resource("notes://{name}")
    async def note(name: str) -> str:
        return f'{{"note": "{name}"}}'

    @server.prompt()
    def greet(name: str) -> str:
        return f"Hello {name}"

    return server


def outcome(result: RunResult) -> dict[str, Any]:
    """A result without times, to be compared."""
    document = result.to_dict()
    for name in (
        "duration_ms",
        "wall_ms",
        "startup_ms",
        "speedup",
        "sequential_ms",
        "critical_path_ms",
        "other_schedule",
    ):
        document.pop(name, None)
    _without_times(document["tasks"])
    return document


def _without_times(part: Any) -> None:
    if isinstance(part, dict):
        for name in ("duration_ms", "started_ms", "waited_ms"):
            part.pop(name, None)
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _without_times(each)
