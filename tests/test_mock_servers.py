"""The mock servers behave as they say: other tests and the examples rely on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, TextContent

from mock_servers import delay, keyvalue, news, numbers, text, weather
from tests.conftest import ON_ASYNCIO

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 60
SERVERS = {
    "delay": delay.server,
    "text": text.server,
    "numbers": numbers.server,
    "keyvalue": keyvalue.make_server(),
    "weather": weather.server,
    "news": news.server,
}

pytestmark = pytest.mark.anyio


async def call(server: MCPServer, tool: str, **arguments: Any) -> CallToolResult:
    with anyio.fail_after(TIMEOUT_S):
        async with Client(server) as client:
            return await client.call_tool(tool, arguments)


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def faulty(*options: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "mock_servers.faulty", *options],
        cwd=ROOT,
        encoding_error_handler="replace",
    )


@pytest.mark.parametrize(
    ("server", "tool", "arguments", "output"),
    [
        (
            "delay",
            "delay",
            {"ms": 1, "label": "a", "inputs": ["b"]},
            {"slept_ms": 1, "label": "a", "digest": "119b2cccb78d8af0"},
        ),
        ("delay", "random_delay", {"max_ms": 9, "seed": 4}, {"slept_ms": 3, "label": ""}),
        ("delay", "echo", {"value": [1, None, "x"]}, {"value": [1, None, "x"]}),
        ("delay", "busy", {"ms": 1}, {"busy_ms": 1, "pid": os.getpid()}),
        ("text", "words", {"text": "a b"}, {"words": 2, "characters": 3, "reading_minutes": 1}),
        (
            "text",
            "summarize",
            {"text": "Rain fell. Cats like cats. It was late."},
            {"summary": "Cats like cats.", "sentences": 1},
        ),
        ("numbers", "range", {"start": 3, "stop": 0, "step": -1}, {"values": [3, 2, 1]}),
        ("numbers", "add", {"a": 1, "b": 2}, {"sum": 3}),
        ("numbers", "calculate", {"expression": "2 * (3 + 4)"}, {"result": "14"}),
        (
            "numbers",
            "convert",
            {"value": 100, "from_unit": "C", "to_unit": "F"},
            {"value": 212, "unit": "F"},
        ),
        (
            "numbers",
            "statistics",
            {"values": [1, 2, 6]},
            {"count": 3, "sum": 9, "mean": 3, "median": 2, "min": 1, "max": 6},
        ),
        (
            "weather",
            "forecast",
            {"city": "Paris"},
            {"city": "Paris", "temperature_c": 24, "conditions": "overcast", "wind_kmh": 48},
        ),
    ],
)
async def test_a_tool_answers_with_structured_content(
    server: str, tool: str, arguments: dict[str, Any], output: dict[str, Any]
) -> None:
    result = await call(SERVERS[server], tool, **arguments)
    assert not result.is_error
    assert result.structured_content == output


@pytest.mark.parametrize(
    ("tool", "arguments", "output"),
    [
        ("join", {"parts": ["a", "b"], "separator": ", "}, "a, b"),
        ("title", {"text": "the attitude of cats. More."}, "The Attitude Of Cats"),
        ("title", {"text": "one two three", "max_length": 9}, "One Two…"),
        ("keywords", {"text": "cats and cats"}, '[{"word": "cats", "count": 2}]'),
    ],
)
async def test_a_text_tool_answers_with_text_alone(
    tool: str, arguments: dict[str, Any], output: str
) -> None:
    result = await call(text.server, tool, **arguments)
    assert result.structured_content is None
    assert text_of(result) == output


@pytest.mark.parametrize(
    ("server", "tool", "arguments", "message"),
    [
        ("delay", "delay", {"ms": -1}, "cannot wait for -1 ms"),
        ("delay", "random_delay", {"min_ms": 2, "max_ms": 1}, "greater than max_ms"),
        ("numbers", "statistics", {"values": []}, "at least one number"),
        ("numbers", "range", {"start": 0, "stop": 1, "step": 0}, "step is 0"),
        ("numbers", "range", {"start": 0, "stop": 10**9}, "the most is"),
        ("numbers", "convert", {"value": 1, "from_unit": "m", "to_unit": "C"}, "cannot convert"),
        ("numbers", "calculate", {"expression": "1 / 0"}, "division by zero"),
        ("numbers", "calculate", {"expression": "__import__('os')"}, "no arithmetic"),
        ("numbers", "calculate", {"expression": "9 ** 9 ** 9"}, "powers are limited"),
        ("numbers", "calculate", {"expression": "(-8) ** 0.5"}, "not a real number"),
        ("weather", "forecast", {"city": "Atlantis"}, "unknown city: 'Atlantis'"),
        ("news", "search", {"query": " "}, "the query is empty"),
    ],
)
async def test_a_tool_that_cannot_answer_says_why(
    server: str, tool: str, arguments: dict[str, Any], message: str
) -> None:
    result = await call(SERVERS[server], tool, **arguments)
    assert result.is_error
    assert message in text_of(result)


async def test_the_delays_that_wait_at_once_are_counted_from_one_question_to_the_next() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Client(delay.server) as client, anyio.create_task_group() as group:
            await client.call_tool("peak")
            for _ in range(3):
                group.start_soon(client.call_tool, "delay", {"ms": 60_000})
            while delay.waiting.now < 3:
                await anyio.sleep(0.001)
            first = await client.call_tool("peak")
            group.cancel_scope.cancel()
    assert first.structured_content == {"most": 3}
    assert delay.waiting.now == 0


async def test_two_servers_share_the_clock_that_says_when_a_call_arrived() -> None:
    began_at = time.monotonic_ns()
    first = (await call(delay.server, "now")).structured_content
    with anyio.fail_after(TIMEOUT_S):
        async with Client(faulty(), mode="legacy") as client:
            second = (await client.call_tool("now")).structured_content
    assert first is not None
    assert second is not None
    assert began_at <= first["ns"] <= second["ns"] <= time.monotonic_ns()


async def test_news_are_ranked_and_the_same_each_time() -> None:
    first = await call(news.server, "search", query="bees", limit=4)
    again = await call(news.server, "search", query="bees", limit=4)
    assert first.structured_content == again.structured_content
    assert first.structured_content is not None
    scores = [item["score"] for item in first.structured_content["items"]]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


async def test_the_store_keeps_what_was_put_until_it_is_deleted() -> None:
    server = keyvalue.make_server()
    with anyio.fail_after(TIMEOUT_S):
        async with Client(server) as client:
            await client.call_tool("put", {"key": "a", "value": {"b": 1}})
            found = await client.call_tool("get", {"key": "a"})
            await client.call_tool("delete", {"key": "a"})
            await client.call_tool("put", {"key": "z", "value": 1})
            missing = await client.call_tool("get", {"key": "a"})
    assert found.structured_content == {"key": "a", "value": {"b": 1}}
    assert missing.is_error
    assert "no such key: 'a'; known: z" in text_of(missing)


async def test_only_writing_tools_are_not_read_only_and_every_tool_has_a_description() -> None:
    writing = set()
    with anyio.fail_after(TIMEOUT_S):
        for name, server in SERVERS.items():
            async with Client(server) as client:
                tools = (await client.list_tools()).tools
            assert all(tool.description and tool.annotations for tool in tools)
            writing |= {
                (name, tool.name)
                for tool in tools
                if tool.annotations and not tool.annotations.read_only_hint
            }
    assert writing == {("keyvalue", "put"), ("keyvalue", "delete"), ("delay", "peak")}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_faulty_speaks_the_protocol_when_not_asked_to_break_it(mode: str) -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Client(faulty("--name", "zed", "--garbage-on-start"), mode=mode) as client:
            assert client.server_info is not None
            assert client.server_info.name == "zed"
            echoed = await client.call_tool("echo", {"value": [1, "null"]})
            assert echoed.structured_content == {"value": [1, "null"]}
            await client.call_tool("garbage", {})
            first = await client.call_tool("flaky", {"key": "k", "value": 7})
            second = await client.call_tool("flaky", {"key": "k", "value": 7})
            assert first.is_error
            assert second.structured_content == {"value": 7, "attempts": 2}
            with pytest.raises(MCPError, match="no luck") as raised:
                await client.call_tool("rpc_error", {"code": -32042, "message": "no luck"})
            assert raised.value.code == -32042


async def test_bare_waits_and_answers_as_the_delay_of_the_sdk_does() -> None:
    bare = StdioServerParameters(command=sys.executable, args=["-m", "mock_servers.bare"], cwd=ROOT)
    with anyio.fail_after(TIMEOUT_S):
        async with Client(bare) as client:
            for arguments in ({"ms": 1, "label": "a", "inputs": ["b", "c"]}, {}):
                answered = await client.call_tool("delay", arguments)
                other = await call(delay.server, "delay", **arguments)
                assert answered.structured_content == other.structured_content
            with pytest.raises(MCPError, match="cannot wait for -1 ms"):
                await client.call_tool("delay", {"ms": -1})


async def test_cancelling_a_call_reaches_faulty() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Client(faulty(), mode="legacy") as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "hang", {"label": "left"})
                await anyio.wait_all_tasks_blocked()
                group.start_soon(client.call_tool, "wrong_id", {})
                await anyio.wait_all_tasks_blocked()
                await client.call_tool("echo", {"value": "both have arrived"})
                group.cancel_scope.cancel()
            result = await client.call_tool("cancelled", {})
    assert result.structured_content is not None
    assert sorted(result.structured_content["cancelled"]) == ["left", "wrong_id"]


async def test_a_crash_ends_the_session_and_says_so_on_stderr(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    with anyio.fail_after(TIMEOUT_S), log.open("w") as errlog:
        async with Client(stdio_client(faulty(), errlog), mode="legacy") as client:
            with pytest.raises(MCPError) as raised:
                await client.call_tool("crash", {"code": 3})
    assert raised.value.code == -32000
    assert log.read_text() == "faulty: crashing as asked (code 3)\n"


async def test_crash_after_answers_that_many_calls_and_no_more() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Client(faulty("--crash-after", "1"), mode="legacy") as client:
            await client.call_tool("echo", {"value": 1})
            with pytest.raises(MCPError):
                await client.call_tool("echo", {"value": 2})


async def _ping(process: anyio.abc.Process) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
    return await process.stdout.receive()


async def _send_for_ever(process: anyio.abc.Process) -> None:
    assert process.stdin is not None
    while True:
        await process.stdin.send(b"{}\n")


def _closing(pipe: str) -> list[str]:
    options = ["--close-on-usr1", pipe, "--ignore-eof"]
    return [sys.executable, "-m", "mock_servers.faulty", *options]


async def test_a_stdout_that_is_closed_on_a_signal_ends_the_answers_and_not_the_process() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with await anyio.open_process(_closing("stdout"), cwd=ROOT) as process:
            await _ping(process)
            process.send_signal(signal.SIGUSR1)
            assert process.stdout is not None
            with pytest.raises(anyio.EndOfStream):
                await process.stdout.receive()
            assert process.returncode is None
            process.kill()


async def test_a_stdin_that_is_closed_on_a_signal_takes_one_more_message() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with await anyio.open_process(_closing("stdin"), cwd=ROOT) as process:
            await _ping(process)
            process.send_signal(signal.SIGUSR1)
            with pytest.raises(anyio.BrokenResourceError):
                await _send_for_ever(process)
            assert process.returncode is None
            process.kill()


async def test_calls_of_meet_are_answered_once_all_are_there() -> None:
    answers: list[Any] = []

    async def meet(client: Client, value: int) -> None:
        result = await client.call_tool("meet", {"count": 3, "value": value})
        answers.append((result.structured_content or {})["value"])

    with anyio.fail_after(TIMEOUT_S):
        async with (
            Client(stdio_client(faulty())) as client,
            anyio.create_task_group() as group,
        ):
            for value in range(2):
                group.start_soon(meet, client, value)
            await client.call_tool("echo", {"value": "an answer, while those two wait"})
            assert answers == []
            group.start_soon(meet, client, 2)
            while len(answers) < 3:
                await anyio.sleep(0.001)
    assert sorted(answers) == [0, 1, 2]


async def test_calls_of_append_at_the_same_time_lose_data() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Client(faulty(), mode="legacy") as client:
            async with anyio.create_task_group() as group:
                for value in range(5):
                    group.start_soon(client.call_tool, "append", {"value": value, "ms": 500})
            left = await client.call_tool("appended", {})
    assert left.structured_content is not None
    assert len(left.structured_content["values"]) < 5


@pytest.mark.slow
@ON_ASYNCIO
async def test_an_sdk_server_listens_on_a_free_port_and_names_it() -> None:
    command = [sys.executable, "-m", "mock_servers.delay", "--http"]
    with anyio.fail_after(TIMEOUT_S):
        async with await anyio.open_process(command, cwd=ROOT, stdout=None) as process:
            try:
                assert process.stderr is not None
                line = (await process.stderr.receive()).decode()
                async with Client(line.removeprefix("listening on ").strip()) as client:
                    result = await client.call_tool("echo", {"value": 1})
            finally:
                process.terminate()
    assert result.structured_content == {"value": 1}


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--exit-on-start", "7"], 7), (["--legacy-only"], 1)],
)
def test_faulty_exits_with_its_code_and_a_reason(options: list[str], code: int) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "mock_servers.faulty", *options],
        cwd=ROOT,
        input='{"jsonrpc": "2.0", "id": 1, "method": "server/discover"}\n',
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert finished.returncode == code
    assert finished.stderr
    assert finished.stdout == ""


def test_servers_toml_names_every_mock_server() -> None:
    servers = tomllib.loads((ROOT / "servers.toml").read_text())["servers"]
    assert set(servers) == {*SERVERS, "faulty"}
    for name, server in servers.items():
        assert server["args"] == ["-m", f"mock_servers.{name}"]
        assert import_module(f"mock_servers.{name}")
