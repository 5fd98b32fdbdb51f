"""Programs over stdin and stdout: what is framed, what is too large, and how they end."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest

from orchestrator import Orchestrator
from orchestrator.transport.delivery import Facts
from orchestrator.transport.parameters import StdioParameters
from orchestrator.transport.process import Started, kept, kill, start
from orchestrator.transport.stderr import StderrTail
from orchestrator.transport.stdio import Streams, program_streams
from tests.real_servers import TIMEOUT_S, alive, faulty, pid_of, plan

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(source: str, **settings: Any) -> AsyncIterator[tuple[Started, Streams]]:
    """A Python program, and the two streams to it."""
    parameters = StdioParameters(sys.executable, ["-c", source], **settings)
    with anyio.fail_after(TIMEOUT_S):
        async with (
            kept(await start(parameters)) as started,
            program_streams(parameters, started, lambda: None, StderrTail()) as streams,
        ):
            yield started, streams


def request(number: int) -> SessionMessage:
    return SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=number, method="x"))


def says(*lines: str) -> str:
    """A program that says these lines when it is told something, and then waits for the end."""
    said = "".join(line + "\n" for line in lines)
    return f"import sys; input(); print({said!r}, end='', flush=True); sys.stdin.read()"


ANSWER = '{"jsonrpc":"2.0","id":%d,"result":{"text":"%s"}}'


async def test_messages_come_out_of_garbage_and_bytes_that_are_no_text() -> None:
    source = (
        "import sys; out = sys.stdout.buffer\n"
        'out.write(b\'no\\n\\n\\xff\\n{"a":1}\\n{"jsonrpc":"2.0","id":1,\'\n'
        'b\'"result":{"text":"a\\xffb"}}\\r\\n{"jsonrpc":"2.0","method":"m"}\\n{"unfinished\')\n'
    )
    async with running(source) as (_, (said, _)):
        messages = [item.message async for item in said if isinstance(item, SessionMessage)]
    assert [message.model_dump(exclude_none=True) for message in messages] == [
        {"jsonrpc": "2.0", "id": 1, "result": {"text": "a\ufffdb"}},
        {"jsonrpc": "2.0", "method": "m"},
    ]


async def replies(source: str, asked: int, wanted: int) -> list[Any]:
    """The replies to so many requests, with a limit of 100 bytes for each."""
    async with running(source, max_message_bytes=100) as (_, (said, tell)):
        for number in range(asked):
            await tell.send(request(number))
        cancelled = {"requestId": 0}
        method = "notifications/cancelled"
        note = JSONRPCNotification(jsonrpc="2.0", method=method, params=cancelled)
        await tell.send(SessionMessage(note))
        found = []
        for _ in range(wanted):
            item = await said.receive()
            assert isinstance(item, SessionMessage)
            message = item.message.model_dump(exclude_none=True)
            if isinstance(item.message, JSONRPCError):
                message["error"]["data"] = item.message.error.data
            found.append(message)
    return found


async def test_a_message_over_the_limit_is_an_error_of_its_own_request() -> None:
    large, small = ANSWER % (2, "x" * 200), ANSWER % (1, "y")
    [error, answer] = await replies(says(large, small), asked=4, wanted=2)
    assert error["id"] == 2
    assert error["error"]["data"] == Facts(size=len(large), limit=100)
    assert answer["id"] == 1


async def test_a_message_over_the_limit_that_answers_who_knows_what_is_an_error_of_all() -> None:
    nobody = '{"result":{"text":"' + "x" * 200 + '"}, "more":[1,2,3]}'
    found = await replies(says(ANSWER % (3, ""), nobody), asked=4, wanted=3)
    assert sorted(message["id"] for message in found) == [1, 2, 3]
    assert sum("error" in message for message in found) == 2


async def test_a_notification_over_the_limit_costs_nobody_anything() -> None:
    large = json.dumps({"jsonrpc": "2.0", "method": "m", "params": {"data": "x" * 200}})
    [answer] = await replies(says(large, ANSWER % (1, "y")), asked=2, wanted=1)
    assert answer["result"] == {"text": "y"}


async def tell_on(tell: Any) -> None:
    while True:
        await tell.send(request(1))


async def test_a_program_that_takes_nothing_any_more_has_ended() -> None:
    source = "import os, time; os.close(0); print('{}', flush=True); time.sleep(60)"
    async with running(source) as (_, (said, tell)):
        with pytest.raises(anyio.BrokenResourceError):
            await tell_on(tell)
        with pytest.raises(anyio.EndOfStream):
            await said.receive()


async def test_a_sender_may_be_cancelled_without_cutting_its_message_short(tmp_path: Path) -> None:
    cancelled = tmp_path / "cancelled"
    source = (
        "import sys, json, pathlib, time; sys.stdin.read(1)\n"
        f"while not pathlib.Path({str(cancelled)!r}).exists(): time.sleep(0.01)\n"
        "print(json.dumps({'jsonrpc': '2.0', 'method': 'm',\n"
        "  'params': {'sizes': [len(sys.stdin.readline()), len(sys.stdin.readline())]}}),\n"
        "  flush=True); sys.stdin.read()"
    )
    large = JSONRPCRequest(jsonrpc="2.0", id=1, method="x" * 1_000_000)
    async with running(source) as (_, (said, tell)):
        with anyio.move_on_after(0.05) as scope:
            await tell.send(SessionMessage(large))
        assert scope.cancelled_caught
        cancelled.touch()
        await tell.send(request(2))
        item = await said.receive()
    assert isinstance(item, SessionMessage)
    assert isinstance(item.message, JSONRPCNotification)
    assert item.message.params is not None
    assert item.message.params["sizes"][0] > 1_000_000
    assert item.message.params["sizes"][1] < 100


async def test_a_program_is_killed_with_its_children() -> None:
    source = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        'print(\'{"jsonrpc":"2.0","method":"m","params":{"pid":%d}}\' % child.pid,\n'
        "  flush=True); child.wait()"
    )
    async with running(source) as (started, (said, _)):
        item = await said.receive()
        assert isinstance(item, SessionMessage)
        assert isinstance(item.message, JSONRPCNotification)
        pid = (item.message.params or {})["pid"]
        assert alive(pid)
        kill(started.process)
        with pytest.raises(anyio.EndOfStream):
            await said.receive()
        kill(started.process)  # again: nothing
    while alive(pid):
        await anyio.sleep(0.001)


async def test_a_program_that_outlives_its_end_is_left_behind_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr("mcp.os.posix.utilities.terminate_posix_process_tree", nothing)
    monkeypatch.setattr("orchestrator.transport.process.GRACE_S", 0.05)
    async with running("import time; time.sleep(60)") as (started, _):
        process = started.process
    assert "outlived SIGKILL and is left behind" in caplog.text
    kill(process)
    while process.returncode is None:
        await anyio.sleep(0.001)


async def test_a_program_that_nobody_speaks_to_is_ended_with_the_block() -> None:
    parameters = StdioParameters(sys.executable, ["-c", "import time; time.sleep(60)"])
    with anyio.fail_after(TIMEOUT_S):
        async with kept(await start(parameters)) as started:
            assert alive(started.process.pid)
    assert not alive(started.process.pid)


async def test_a_program_gets_the_variables_that_the_sdk_would_give_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHELL", "() { :; }")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("UNHEARD_OF", "1")
    source = "import json, os; print(json.dumps(dict(os.environ)))"
    parameters = StdioParameters(sys.executable, ["-c", source], env={"OWN": "2"})
    with anyio.fail_after(TIMEOUT_S):
        async with kept(await start(parameters)) as started:
            assert started.process.stdout is not None
            has = json.loads(await started.process.stdout.receive())
    assert has.items() >= (get_default_environment() | {"OWN": "2"}).items()
    assert not has.keys() & {"SHELL", "UNHEARD_OF"}


async def test_fifty_megabytes_arrive_in_linear_time() -> None:
    with anyio.fail_after(TIMEOUT_S):  # with the SDK's transport it takes more
        async with Orchestrator({"big": faulty()}) as orchestrator:
            result = await orchestrator.run(plan(("big:huge", {"bytes": 50_000_000})))
    assert len(result["t0"].output) == 50_000_000


async def test_a_result_over_the_limit_names_the_limit_and_costs_only_its_call() -> None:
    with anyio.fail_after(TIMEOUT_S):
        servers = {"big": faulty(max_result_bytes=100_000)}
        async with Orchestrator(servers) as orchestrator:
            pid = await pid_of(orchestrator, "big")
            huge, slow = ("big:huge", {"bytes": 500_000}), ("big:delay", {"ms": 100})
            result = await orchestrator.run(plan(huge, slow))
            assert await pid_of(orchestrator, "big") == pid
    error = result["t0"].error
    assert error is not None
    assert (error.kind, error.retryable) == ("protocol_error", False)
    assert 'sent a result of "huge" with at least 500,1' in error.message
    assert "; its max_result_bytes is 100,000" in error.message
    assert error.details["bytes"] > 500_000
    assert error.details["max_result_bytes"] == 100_000
    assert "lost" not in error.details
    assert result["t1"].status == "success"
