"""Answers that are not as the protocol wants them: each ends its own call at once, and no other."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from orchestrator import CallError, Orchestrator, Server
from orchestrator.servers.config import Protocol
from orchestrator.servers.sdk_tools import tools_in
from tests.http_server import HttpServer
from tests.puppet import TOOLS, program, serve
from tests.real_servers import TIMEOUT_S

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"),
]

PROTOCOLS: list[Protocol] = ["legacy", "2026-07-28"]
HEAD = '{"jsonrpc":"2.0","id":@ID@,'


@pytest.fixture(autouse=True, scope="module")
def _abandoned_generators() -> Iterator[None]:
    """The SDK leaves its generators of events unfinished; trio warns when they are collected."""
    yield
    gc.collect()


@asynccontextmanager
async def told(server: Server) -> AsyncIterator[Orchestrator]:
    """A puppet as `it`; a call that waits for its limit fails the test."""
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": server}) as orchestrator:
            yield orchestrator


@asynccontextmanager
async def told_by_http(protocol: Protocol) -> AsyncIterator[Orchestrator]:
    async with HttpServer("s" if protocol == "legacy" else None).listen() as server:
        server.puppet = serve
        async with told(Server(url=server.url, protocol=protocol)) as orchestrator:
            yield orchestrator


async def said(orchestrator: Orchestrator, raw: str, **more: Any) -> Any:
    """What comes of a call that is answered with these bytes: the output, or the error."""
    try:
        return await orchestrator.call("it:say", {"raw": raw, **more})
    except CallError as error:
        return error


# What follows the id, and part of what the error says; None for output_invalid.
UNREADABLE = [
    ('"result":null}', 'expected object as "result", got null'),
    ('"result":[1]}', 'expected object as "result", got array of 1 item'),
    ('"result":"done"}', 'expected object as "result", got string "done"'),
    ('"error":"disk full"}', 'expected object as "error", got string "disk full"'),
    ('"error":{"code":"E_FULL","message":"x"}}', 'expected integer as "error.code", got string'),
    ('"error":{"message":"x"}}', 'expected integer as "error.code", got nothing'),
    ('"error":{"code":1}}', 'expected string as "error.message", got nothing'),
    ('"error":{"code":1,"message":{}}}', 'expected string as "error.message", got empty object'),
    ('"error":{"code":1.5,"message":"x"}}', 'expected integer as "error.code", got number 1.5'),
    ("}", "it is not JSON"),
    ('"results":{}}', 'expected object as "result", got nothing'),
    ('"result":{"content":[{"type":"text","text":"a\x07"}]}}', "unescaped control character"),
    ('"result":{"content":[{"type":"text","text":"a', "it breaks off"),
    ('"result":{"content":[],}}', "it is not JSON"),
    ("\"result\":{'content':[]}}", "it is not JSON"),
    ('"result":{"n":' + "9" * 5000 + "}}", "a number of more than 4,300 digits"),
    ('"result":{"n":undefined}}', "it is not JSON"),
]
DEEP = [
    f'"result":{{"structuredContent":{{"a":{"[" * n}{"]" * n}}}}}}}' for n in (199, 300, 50_000)
]

READABLE = [
    (r'"result":{"content":[{"type":"text","text":"cut \ud83d"}]}}', "cut \ufffd"),
    (r'"result":{"content":[{"type":"text","text":"\ude00 cut"}]}}', "\ufffd cut"),
    (r'"result":{"structuredContent":{"\ud83d":"\ud83d\ude00\\ud83d"}}}', {"\ufffd": "😀\\ud83d"}),
    ('"result":{"content":[{"type":"text","text":"it\x92s"}]}}', "it\ufffds"),
    ('"result":{"structuredContent":{"items":[1]}}}', {"items": [1]}),
    ('"result":{"structuredContent":[1],"content":[]}}', [1]),
    ('"result":{"structuredContent":"x"}}', "x"),
    ('"result":{"content":[{"type":"text","text":"x"}],"isError":null}}', "x"),
    ('"result":{"content":[{"type":"text","text":"x","annotations":5}],"_meta":7}}', "x"),
    ('"result":{"content":null}}', None),
    ('"result":{"content":"x"}}', "x"),
    ('"result":{"content":{"type":"text","text":"x"}}}', "x"),
    ('"result":{"content":[{"type":"hologram","x":1}]}}', [{"type": "hologram", "x": 1}]),
    ('"result":{"structuredContent":{"a":1},"content":[null]}}', {"a": 1}),
    ('"result":{"content":[],"resultType":5}}', None),
]
NO_OUTPUT = [
    ('"result":{}}', "content is missing", {}),
    ('"result":{"content":5}}', "expected array as content, got integer 5", {"content": 5}),
    ('"result":{"content":[5]}}', "expected object as content.0, got integer 5", {"content": [5]}),
    ('"result":{"content":[{}]}}', "content.0.type is missing", {"content": [{}]}),
    (
        '"result":{"content":[{"type":"image","data":"AA"}]}}',
        "content.0.mimeType is missing",
        {"content": [{"type": "image", "data": "AA"}]},
    ),
    (
        '"result":{"content":[{"type":"text","text":5}]}}',
        "expected string as content.0.text, got integer 5",
        {"content": [{"type": "text", "text": 5}]},
    ),
    (
        '"result":{"content":[],"isError":"yes"}}',
        'expected boolean as isError, got string "yes"',
        {"content": [], "isError": "yes"},
    ),
]


async def check_answers(orchestrator: Orchestrator, **more: Any) -> None:
    """Every answer above, told over a session: it ends its call as it should."""
    for rest, why in UNREADABLE:
        error = (await said(orchestrator, HEAD + rest, **more)).error
        assert (error.kind, error.retryable) == ("protocol_error", False), rest
        assert 'sent an answer to "say" that cannot be read: ' in error.message
        assert why in error.message
        assert error.details["answer"].startswith('{"jsonrpc":"2.0","id":')
        assert len(error.details["answer"]) <= 200
    for rest in DEEP:
        error = (await said(orchestrator, HEAD + rest, **more)).error
        assert (error.kind, error.retryable) == ("output_invalid", False)
        assert "nested deeper than 200 levels" in error.message
    for rest, output in READABLE:
        assert await said(orchestrator, HEAD + rest, **more) == output
    for rest, why, sent in NO_OUTPUT:
        error = (await said(orchestrator, HEAD + rest, **more)).error
        assert (error.kind, error.retryable) == ("protocol_error", False)
        assert f'sent an invalid result of "say": {why}' in error.message
        assert error.details["output"] == sent
    assert await orchestrator.call("it:echo", {"value": 1}) == {"value": 1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_answer_of_a_program_ends_its_call_whatever_it_is(protocol: Protocol) -> None:
    async with told(program(protocol=protocol)) as orchestrator:
        await check_answers(orchestrator)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_answer_over_http_ends_its_call_whatever_it_is(protocol: Protocol) -> None:
    async with told_by_http(protocol) as orchestrator:
        await check_answers(orchestrator)


@pytest.mark.parametrize(
    "raw",
    [
        '{"id":@ID@,"result":{"content":[]}}',
        '{"jsonrpc":2.0,"id":@ID@,"result":{"content":[]}}',
        '{"result":null,"id":@ID@,"jsonrpc":"2.0"}',
        '{"result":null,"jsonrpc":"2.0","id":@ID@}',
        '{"result":null,"jsonrpc":"2.0","id":"@ID@"}',
        '[{"jsonrpc":"2.0","id":@ID@,"result":null}]',
        '{"result":{"n":' + "[" * 5000 + "]" * 5000 + '},"jsonrpc":"2.0","id":@ID@}',
    ],
)
async def test_an_id_is_seen_wherever_it_is(raw: str) -> None:
    async with told(program()) as orchestrator:
        assert "cannot be read" in str(await said(orchestrator, raw))


@pytest.mark.parametrize(
    "raw",
    [
        '{"jsonrpc":"2.0","id":"@ID@","result":{"content":"x"}}',
        '{"jsonrpc":"2.0","id":@ID@.0,"result":{"content":"x"}}',
        '\xef\xbb\xbf{"jsonrpc":"2.0","id":@ID@,"result":{"content":"x"}}',
        '[{"jsonrpc":"2.0","id":@ID@,"result":{"content":"x"}}, 5]',
        '{"jsonrpc":"2.0","id":@ID@,"result":{"content":"x"},"error":null}',
    ],
)
async def test_an_odd_message_that_says_all_is_an_answer(raw: str) -> None:
    async with told(program()) as orchestrator:
        assert await said(orchestrator, raw) == "x"


async def test_lines_that_are_no_answers_end_no_call() -> None:
    lines = [
        '{"id":@ID@,"msg":"a log line with an id of its own","level":"info"}',
        '{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"\x07"}}',
        '{"jsonrpc":"2.0","id":@ID@,"method":5}',
        '{"jsonrpc":"2.0","id":true,"result":null}',
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}',
        'DEBUG {"jsonrpc":"2.0","id":@ID@,"result":null}',
        '{"jsonrpc":"2.0","id":99999,"result":null}',
        "[[]]",
        '{"jsonrpc":"2.0","id":@ID@,"result":{"content":"x"}}',
    ]
    async with told(program()) as orchestrator:
        assert await said(orchestrator, "\n".join(lines)) == "x"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("raw", "kind", "why"),
    [
        ('{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"full"}}', "json", ": full"),
        ('{"jsonrpc":"2.0","error":{"code":-32000,"message":"full"}}', "json", ": full"),
        ('{"jsonrpc":"2.0","id":77,"error":{"code":-32000,"message":"full"}}', "json", ": full"),
        ("", "json", "it is not JSON: it breaks off"),
        ("<html>log in</html>", "html", 'it is not JSON (content type "application/html")'),
        ('{"jsonrpc":"2.0","method":"notifications/x"}', "json", "it contains no answer"),
        ("[]", "json", "it contains no answer"),
        ("5", "json", "expected object, got integer 5"),
        ('{"hello":1}', "json", 'expected "2.0" as "jsonrpc", got nothing'),
    ],
)
async def test_a_body_answers_its_own_request_and_nothing_else(
    protocol: Protocol, raw: str, kind: str, why: str
) -> None:
    async with told_by_http(protocol) as orchestrator:
        error = (await said(orchestrator, raw, type=f"application/{kind}")).error
        assert await orchestrator.call("it:echo", {"value": 1}) == {"value": 1}
    assert error.kind == "protocol_error"
    assert why in error.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_event_is_read_as_a_line_is(protocol: Protocol) -> None:
    method = "notifications/message"
    params = '{"level":"info","data":"%s"}'
    note = f'data: {{"jsonrpc":"2.0","method":"{method}","params":{params}}}\n\n'
    before = note % r"\ud83d" + note % "\x07" + "data: [DONE]\n\n: comment\n\nevent: ping\n\n"
    kind = "text/event-stream"
    async with told_by_http(protocol) as orchestrator:
        good = f'{before}data: {HEAD}"result":{{"content":"\\ud83d"}}}}\n\n'
        assert await said(orchestrator, good, type=kind) == "\ufffd"
        other = f'{before}data: {{"jsonrpc":"2.0","id":99,"result":{{"content":"x"}}}}\n\n'
        assert await said(orchestrator, other, type=kind) == "x"
        for answer in ('"result":null}', '"error":"x"}', '"result":{"a":"\x07"}}'):
            error = (await said(orchestrator, f"{before}data: {HEAD}{answer}\n\n", type=kind)).error
            assert (error.kind, error.retryable) == ("protocol_error", False)
            assert 'sent an answer to "say" that cannot be read' in error.message
        assert (await said(orchestrator, before, type=kind)).error.details["lost"] is True


FORGED = [
    (-32000, "SSE stream failed: exceeded the 5 byte limit", None),
    (-32000, "SSE stream ended without a response", None),
    (-32000, "Connection closed", None),
    (-32600, "Session not found", None),
    (-32050, "no", '{"orchestrator.transport.http":{"http_status":404,"had_session":true}}'),
    (-32050, "no", '{"orchestrator.transport.http":{"retry_after_s":"soon","http_status":"x"}}'),
    (-32050, "no", '{"orchestrator.too_large":{"bytes":1,"max_result_bytes":1}}'),
    (-32050, "no", '{"http_status":503,"retry_after_s":"soon","lost":true,"limit":1}'),
    (-32700, "no", '{"unreadable":{"why":"x"}}'),
]


@pytest.mark.parametrize("how", ["stdio", *PROTOCOLS])
async def test_a_server_cannot_forge_what_the_transport_knows(how: Any) -> None:
    async with told(program()) if how == "stdio" else told_by_http(how) as orchestrator:
        for code, message, data in FORGED:
            if how == "legacy" and message == "Session not found":
                continue  # over HTTP, with a session, it is believed
            more = f',"data":{data}' if data else ""
            raw = f'{HEAD}"error":{{"code":{code},"message":"{message}"{more}}}}}'
            error = (await said(orchestrator, raw)).error
            assert error.kind == "protocol_error", (code, message, data)
            assert f"answered with error {code}: {message}" in error.message
            assert set(error.details) <= {"code", "data", "server", "started_with"}
        assert await orchestrator.call("it:echo", {"value": 1}) == {"value": 1}


ODD_OUTPUT = {"type": ["null", "array"]}  # no output of the puppet fits
ODD_TOOLS: list[tuple[Any, str]] = [
    (None, "tools.2 is left out: expected object with a name, got null"),
    ([{"name": "b"}], "tools.2 is left out"),
    ({"inputSchema": {"type": "object"}}, "tools.2 is left out"),
    ({"name": 5}, "tools.2 is left out"),
    ({"name": "b"}, 'inputSchema of tool "b" is missing: it is called with any arguments'),
    ({"inputSchema": None}, 'inputSchema of tool "b" is missing'),
    ({"inputSchema": [1]}, 'inputSchema of tool "b" is ignored: expected object, got array'),
    ({"inputSchema": False}, "is ignored: expected object, got boolean false"),
    ({"inputSchema": True}, ""),
    ({"inputSchema": {"anyOf": [{"type": "object"}]}}, ""),
    ({"inputSchema": {"$schema": "http://json-schema.org/draft-07/schema#"}}, ""),
    ({"inputSchema": {"type": "object", "properties": {"required": ["x"]}}}, ""),
    ({"inputSchema": {"type": "object", "properties": 5, "required": "x"}}, ""),
    ({"inputSchema": {"type": "object", "required": [5]}}, ""),
    ({"outputSchema": ODD_OUTPUT}, ""),
    ({"outputSchema": {"anyOf": [{"type": "object"}]}}, ""),
    ({"outputSchema": "object"}, 'outputSchema of tool "b" is ignored: expected object'),
    ({"outputSchema": True}, ""),
    ({"description": 5}, 'description of tool "b" is ignored: expected string, got integer 5'),
    ({"title": []}, 'title of tool "b" is ignored'),
    ({"annotations": "readOnly"}, 'annotations of tool "b" is ignored'),
    ({"annotations": {"readOnlyHint": "yes"}}, 'readOnlyHint of tool "b" is ignored'),
    ({"_meta": 5, "icons": 5}, ""),
    ({"execution": []}, 'execution of tool "b" is ignored: expected object, got empty array'),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_odd_tool_costs_no_other_tool(protocol: Protocol) -> None:
    odd_tools = [
        {"name": f"b{number}", "inputSchema": {"type": "object"}, **odd} if number > 4 else odd
        for number, (odd, _) in enumerate(ODD_TOOLS)
    ]
    async with told(program(tools=[*odd_tools, *TOOLS], protocol=protocol)) as orchestrator:
        assert await orchestrator.call("it:echo", {"value": 1}) == {"value": 1}
        tools = {tool.name: tool for tool in await orchestrator.tools()}
        numbers = [
            n
            for n, tool in enumerate(odd_tools)
            if isinstance(tool, dict) and tool.get("name") in tools
        ]
        assert numbers == list(range(4, len(ODD_TOOLS)))
        for number in numbers:
            name = odd_tools[number]["name"]
            if tools[name].output_schema != ODD_OUTPUT:
                assert await orchestrator.call(f"it:{name}", {"value": 1}) == {"value": 1}


@pytest.mark.parametrize(("odd", "warning"), ODD_TOOLS)
def test_what_is_odd_of_a_tool_is_told(
    odd: Any, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(odd, dict) and not warning.startswith("tools."):
        odd = {"name": "b", **({} if "name" in odd else {"inputSchema": {}}), **odd}
    assert len(list(tools_in({"tools": [*TOOLS, odd]}, "it"))) == 3 - warning.startswith("tools.")
    said = [record.getMessage() for record in caplog.records]
    assert [warning in each for each in said] == ([True] if warning else [])


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ({"tools": None}, []),
        ({}, []),
        ({"tools": TOOLS, "nextCursor": 5}, ["echo", "say"]),
        ({"tools": TOOLS, "nextCursor": ""}, ["echo", "say"]),
        ({"tools": TOOLS, "nextCursor": None}, ["echo", "say"]),
        ({"tools": [{"name": "a"}] * 2, "_meta": 5, "ttlMs": "x"}, ["a"]),
    ],
)
async def test_an_odd_list_is_used_as_far_as_it_goes(listed: Any, names: list[str]) -> None:
    answer = HEAD + '"result":' + json.dumps(listed) + "}"
    async with told(program({"tools/list": answer})) as orchestrator:
        tools = await orchestrator.tools()
    assert sorted({tool.name for tool in tools}) == names


async def test_a_cursor_that_was_given_already_ends_the_list(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    answer = HEAD + '"result":{"tools":[{"name":"a","inputSchema":{}}],"nextCursor":"AAA"}}'
    async with told(program({"tools/list": answer})) as orchestrator:
        assert [tool.target for tool in await orchestrator.tools()] == ["it:a"]
    assert 'server "it": its list of tools repeats the cursor "AAA"' in caplog.text


def over_lines(result: Any, **style: Any) -> str:
    """An answer as it is written over several lines."""
    answer = {"jsonrpc": "2.0", "id": "@ID@", "result": result}
    return json.dumps(answer, **style).replace('"@ID@"', "@ID@")


LINES = [
    ({"structuredContent": (first := {"a": [1, {"b": '{[ "'}], "c": {}})}, first),
    ({"content": [{"type": "text", "text": "[\\"}], "isError": False}, "[\\"),
]
# What begins, or looks like a message that is no answer; nobody waits for it.
NO_ANSWERS = [
    "{",
    "{\n",
    '{\n  "level": "info",\n  "id": @ID@\n}',
    '{\n  "jsonrpc": "2.0",\n  "id": 1,\n  "method": "tools/call"\n}',
    '{\n  "jsonrpc": "2.0",\n  "id": 999,\n  "result": {}\n}',
    '{\n  "jsonrpc": "2.0",',
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_answer_over_several_lines_is_an_answer(
    protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    async with told(program(protocol=protocol)) as orchestrator:
        for result, expected in LINES:
            for style in ({"indent": 2}, {"indent": 0}, {"indent": "\t"}):
                raw = over_lines(result, **style)
                for written in (raw, raw.replace("\n", "\r\n"), f"loading ...\n{raw}\ndone"):
                    output = await said(orchestrator, written)
                    assert output == expected
        broken = over_lines({"content": []}, indent=2).replace("[]", "[],")
        error = (await said(orchestrator, broken)).error
        assert (error.kind, error.retryable) == ("protocol_error", False)
        assert await orchestrator.call("it:echo", {"value": 1}) == {"value": 1}
    what = 'server "it": writes a message over several lines; MCP wants each on one line'
    assert caplog.messages == [what]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_is_no_answer_over_several_lines_hides_none(
    protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    answer = HEAD + '"result":{"structuredContent":{"a":1}}}'
    async with told(program(protocol=protocol)) as orchestrator:
        for log in NO_ANSWERS:
            assert await said(orchestrator, f"{log}\n{answer}") == {"a": 1}
            assert await said(orchestrator, f"{answer}\n{log}") == {"a": 1}
        # It breaks off, and its id is seen when the next message comes.
        begun = over_lines({"content": []}, indent=2)[:-3]
        error = (await said(orchestrator, f"{begun}\n{HEAD.replace('@ID@', '77')}}}")).error
        assert error.kind == "protocol_error"
        assert "it breaks off" in error.message
    assert caplog.messages == []


async def test_a_server_that_writes_all_over_several_lines_is_used() -> None:
    about = {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "it", "version": "1"},
    }
    says = {
        "initialize": over_lines(about, indent=2),
        "tools/list": over_lines({"tools": TOOLS}, indent=2),
    }
    async with told(program(says)) as orchestrator:
        assert [tool.name for tool in await orchestrator.tools()] == ["say", "echo"]
