"""Serving over stdin and stdout, with streams in their place."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
import pytest
from pydantic import ValidationError

from orchestrator import Orchestrator
from orchestrator.serve import stdio
from orchestrator.serve.server import ToolsetServer
from orchestrator.serve.toolset import Toolset
from tests.serve.test_toolset import make_server

pytestmark = pytest.mark.anyio


class LeftError(Exception):
    """The process would have ended."""


def leave() -> None:
    raise LeftError


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    send, read = anyio.create_memory_object_stream[Any](1)
    write, receive = anyio.create_memory_object_stream[Any](1)

    @asynccontextmanager
    async def streams() -> AsyncIterator[Any]:
        with read, write, receive, send:
            yield read, write

    monkeypatch.setattr(stdio, "stdio_server", streams)
    monkeypatch.setattr(stdio, "GRACE_S", 0)
    return send


@pytest.mark.parametrize("by", ["stdin", "SIGTERM", "SIGINT"])
async def test_it_ends_when_stdin_does_or_a_signal_comes(stdin: Any, by: str) -> None:
    engine = Orchestrator({"mock": make_server()})

    def serve() -> ToolsetServer:
        if by == "stdin":
            stdin.close()
        else:
            os.kill(os.getpid(), getattr(signal, by))
        return ToolsetServer(Toolset(engine))

    with pytest.RaisesGroup(LeftError):
        await stdio.serve_stdio(engine, serve, leave)
    assert not engine.is_open


def unread(text: str) -> Exception:
    with pytest.raises(ValidationError) as caught:
        types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    return caught.value


CALL = '{"jsonrpc":"2.0","id":7,"method":"x","params":%s}'


@pytest.mark.parametrize(
    ("wrong", "code", "about"),
    [
        (unread(CALL % '{"a":"\\ud800"}'), -32700, 7),
        (unread(CALL % ('{"a":' + "[" * 300 + "]" * 300 + "}")), -32700, 7),
        (unread("{nothing"), -32700, None),
        (unread("[" * 100_000), -32700, None),
        (unread('{"jsonrpc":"2.0","id":9,"method":5}'), -32600, None),
        (OSError("broken"), -32600, None),
    ],
    ids=str,
)
async def test_what_cannot_be_read_is_answered(
    wrong: Exception, code: int, about: int | None
) -> None:
    said: list[str] = []
    send, read = anyio.create_memory_object_stream[Any](4)
    write, answers = anyio.create_memory_object_stream[Any](4)
    for each in (unread("\n"), wrong, "next"):
        send.send_nowait(each)
    send.close()
    with write, answers:
        async with stdio.Answering(read, write, said.append) as reading:
            assert [each async for each in reading] == ["next"]
            assert reading.last_context is None
        answer = answers.receive_nowait().message
        assert (answer.error.code, answer.id) == (code, about)
        assert said == [answer.error.message]
        with pytest.raises(anyio.WouldBlock):
            answers.receive_nowait()


async def test_a_failure_to_serve_is_raised(stdin: Any) -> None:
    def serve() -> ToolsetServer:
        raise OSError("no")

    with stdin, pytest.RaisesGroup(OSError):
        await stdio.serve_stdio(Orchestrator({"mock": make_server()}), serve, leave)
