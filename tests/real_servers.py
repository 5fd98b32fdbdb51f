"""Servers for the tests of the pool: programs that misbehave, and whether they are gone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from orchestrator import Orchestrator, Server
from orchestrator.engine.events import Event
from orchestrator.servers.session import Session

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 60
PATIENCE_S = 90  # the machine may be busy


def program(module: str, *options: str, **settings: Any) -> Server:
    """A mock server over stdio."""
    return Server(
        command=sys.executable,
        args=["-m", f"mock_servers.{module}", *options],
        cwd=str(ROOT),
        **settings,
    )


def faulty(*options: str, **settings: Any) -> Server:
    """The mock server that misbehaves as its options and its tools say."""
    return program("faulty", *options, **settings)


def plan(*calls: tuple[str, dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """A workflow of independent calls; the ids of its tasks are `t0`, `t1`, ..."""
    tasks = [
        {"id": f"t{number}", "tool": tool, "arguments": arguments}
        for number, (tool, arguments) in enumerate(calls)
    ]
    return {"name": "test", "tasks": tasks, "max_concurrency": 0, **settings}


async def pid_of(orchestrator: Orchestrator, server: str) -> int:
    """The process id of a `faulty` server."""
    answer = await orchestrator.call(f"{server}:pid")
    pid: int = answer["pid"]
    return pid


def alive(pid: int) -> bool:
    """Whether a process lives; one that nobody has buried does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with suppress(FileNotFoundError, ProcessLookupError):
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    return Path("/proc").exists() is False


def until(holds: Callable[[], object]) -> None:
    """Wait for what another process does."""
    ends_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


class Deaf:
    """A listener of a session that ignores everything."""

    def __init__(self) -> None:
        self.followed: dict[str, object] = {}
        self.knows_prompts = True

    def on_end(self, session: Session) -> None: ...
    def on_tools(self, session: Session) -> None: ...
    def on_log(self, level: str, logger: str, data: Any) -> None: ...
    def on_news(self, event: Event) -> None: ...
    def on_prompts(self, prompts: Any) -> None: ...


class Watch:
    """An observer that lets a test wait for an event."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = anyio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, wanted: Callable[[Event], bool]) -> None:
        """Wait until such an event was told."""
        while not any(map(wanted, self.events)):
            await self._changed.wait()
