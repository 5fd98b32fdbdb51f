"""HTTP+SSE of protocol 2024-11-05: a message that fails costs its call, a stream its session."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import SocketAttribute, SocketStream
from mcp.types import JSONRPCResponse

from orchestrator import CallError, Orchestrator, Server
from orchestrator.engine.events import ServerFailed, ServerReady, TaskProgress
from orchestrator.transport import sse
from orchestrator.transport.delivery import Parked
from tests.http_server import answer
from tests.real_servers import ROOT, TIMEOUT_S, plan
from tests.sse_server import OPENED, SseServer, event

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]


@asynccontextmanager
async def old(**settings: Any) -> AsyncIterator[tuple[SseServer, Orchestrator]]:
    """A server of HTTP+SSE as `old`."""
    with anyio.fail_after(TIMEOUT_S):
        async with SseServer().listen() as server:
            given = Server(url=server.url, transport="sse", **settings)
            async with Orchestrator({"old": given}) as orchestrator:
                yield server, orchestrator


async def error_of(orchestrator: Orchestrator, tool: str, **arguments: Any) -> CallError:
    with pytest.raises(CallError) as raised:
        await orchestrator.call(f"old:{tool}", arguments)
    return raised.value


async def test_calls_are_posted_and_answered_in_the_stream() -> None:
    async with old(headers={"X-Key": "s3cr3t"}) as (server, orchestrator):
        assert await orchestrator.call("old:echo", {"a": 1}) == {"a": 1}
        assert server.methods[:3] == ["initialize", "notifications/initialized", "tools/list"]
        assert server.paths[:2] == ["GET /sse", "POST /messages?session=1"]
        assert {each["x-key"] for each in server.headers.values()} == {"s3cr3t"}


async def test_calls_wait_for_no_other_and_their_progress_is_told() -> None:
    async with old() as (_, orchestrator):
        calls = [("old:meet", {"count": 20})] * 20
        told: list[Any] = []
        workflow = plan(*calls, ("old:told", {}))
        async for each in orchestrator.stream(workflow):
            told.append(each)
    assert told[-1].result.status == "success"
    (progress,) = (each for each in told if isinstance(each, TaskProgress))
    assert (progress.progress, progress.total, progress.message) == (1, 2, "half")


async def test_a_call_that_hangs_ends_in_time_and_the_server_is_told() -> None:
    async with old() as (server, orchestrator):
        workflow = plan(("old:hang", {}))
        workflow["tasks"][0]["timeout_s"] = 0.5
        result = await orchestrator.run(workflow)
        assert [each.error.kind for each in result.tasks.values() if each.error] == ["timeout"]
        while "notifications/cancelled" not in server.methods:
            await anyio.sleep(0.001)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, None, "server_unavailable", "answered HTTP 401 Said"),
        (429, None, "server_unavailable", "answered HTTP 429 Said"),
        (500, "<html>oh no</html>", "server_unavailable", "answered HTTP 500 Said"),
        (413, {"detail": "no"}, "protocol_error", "answered HTTP 413 Said"),
        (302, None, "protocol_error", "HTTP 302"),
    ],
)
async def test_a_message_that_is_refused_costs_only_that_call(
    status: int, body: Any, kind: str, said: str
) -> None:
    headers = {"retry-after": "7", "location": "https://elsewhere.example/?token=abc"}
    async with old() as (server, orchestrator):
        error = await error_of(orchestrator, "status", status=status, body=body, headers=headers)
        assert await orchestrator.call("old:echo", {"a": 1}) == {"a": 1}
        assert server.paths.count("GET /sse") == 1
    assert error.kind == kind
    assert said in str(error)
    assert f"({server.url} by HTTP+SSE)" in str(error)


async def test_a_message_that_may_have_arrived_is_lost() -> None:
    async with old() as (server, orchestrator):
        error = await error_of(orchestrator, "raw")
        assert server.paths.count("GET /sse") == 1
    assert "broke off its answer: RemoteProtocolError" in str(error)
    assert error.error.details["lost"] is True


async def test_a_server_that_takes_a_message_in_another_way_still_answers() -> None:
    async with old() as (server, orchestrator):
        assert await orchestrator.call("old:late", {"a": 1}) == {"a": 1}
        assert await orchestrator.call("old:echo", {"a": 2}) == {"a": 2}
        assert server.paths.count("GET /sse") == 1


async def test_an_answer_that_is_too_large_costs_only_that_call() -> None:
    async with old(max_result_bytes=10_000) as (server, orchestrator):
        error = await error_of(orchestrator, "huge", size=20_000)
        assert "its max_result_bytes is 10,000" in str(error)
        assert await orchestrator.call("old:huge", {"size": 100}) == "x" * 100
        crowded = await error_of(orchestrator, "huge", size=9_000_000)
        assert "max_result_bytes" in str(crowded)
        assert server.paths.count("GET /sse") == 1


async def test_an_answer_with_too_many_arrays_costs_only_that_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.transport.framing.MAX_CONTAINERS", 500)
    async with old() as (server, orchestrator):
        error = await error_of(orchestrator, "echo", values=[[]] * 600)
        assert "arrays and objects" in str(error)
        assert await orchestrator.call("old:echo", {"a": 1}) == {"a": 1}
        assert server.paths.count("GET /sse") == 1


async def test_a_stream_that_ends_loses_its_calls_and_is_opened_again() -> None:
    async with old() as (server, orchestrator):
        error = await error_of(orchestrator, "drop")
        assert error.kind == "server_unavailable", str(error)
        assert error.error.details["lost"] is True
        assert await orchestrator.call("old:echo", {"a": 1}) == {"a": 1}
        assert server.paths.count("GET /sse") == 2


async def test_a_session_that_the_server_forgot_is_opened_again_and_the_call_made() -> None:
    async with old() as (server, orchestrator):
        assert await orchestrator.call("old:forget", {"a": 1}) == {"a": 1}
        assert server.paths.count("GET /sse") == 2


Opening = Callable[[SocketStream, str], Awaitable[bool]]


def sends(data: bytes) -> Opening:
    async def opening(socket: SocketStream, path: str) -> bool:
        del path
        await socket.send(data)
        return True

    return opening


RPC = {"code": -32000, "message": "no session"}
OLD = {"code": -32022, "message": "no such revision", "data": {"supported": []}}


def refuses(status: int, body: Any = None) -> Opening:
    async def opening(socket: SocketStream, path: str) -> bool:
        del path
        await answer(socket, status, body or {"error": "s3cr3t is no key"})
        return True

    return opening


HINT = 'If it speaks streamable HTTP, leave out transport = "sse"'
HTML = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\nhello"


@pytest.mark.parametrize(
    ("opening", "said", "hint"),
    [
        (refuses(404), "it answered HTTP 404 Said", True),
        (refuses(405), "it answered HTTP 405 Said", True),
        (refuses(401), "it answered HTTP 401 Said", False),
        (refuses(503), "it answered HTTP 503 Said", False),
        (refuses(400, {"jsonrpc": "2.0", "id": None, "error": RPC}), "HTTP 400: no session", True),
        (refuses(400, {"jsonrpc": "2.0", "id": None, "error": OLD}), "HTTP 400", True),
        (sends(b"no HTTP"), "it broke off its answer: RemoteProtocolError", False),
        (sends(HTML), 'answered with content type "text/html", not with a stream', True),
        (sends(OPENED), 'ended its stream of events before the event "endpoint"', True),
        (sends(OPENED + event({})), "ended its stream of events before", True),
        (sends(OPENED + event("x" * 200_000)), "ended its stream of events before", True),
        (sends(OPENED + 2 * (b"data: " + b"x" * 60_000 + b"\n")), "ended its", True),
        (sends(OPENED + event("http://evil.example/", "endpoint")), "at another origin", True),
        (sends(OPENED + event("//evil.example/", "endpoint")), "at another origin", True),
        (sends(OPENED + event("/.//evil.example/", "endpoint")), "at another origin", True),
        (sends(OPENED + event("http://[::1/", "endpoint")), "endpoint that is no URL", True),
    ],
)
async def test_a_server_that_opens_no_stream_does_not_start_and_says_why(
    opening: Opening, said: str, hint: bool
) -> None:
    async with old(max_result_bytes=100_000, headers={"X-Key": "s3cr3t"}) as (server, orchestrator):
        server.opening = opening
        error = await error_of(orchestrator, "echo")
    assert error.kind == "server_unavailable"
    assert 'server "old" did not start: it ' in str(error)
    assert said in str(error)
    assert "s3cr3t" not in str(error)
    assert (HINT in str(error)) is hint
    assert f"({server.url} by HTTP+SSE)" in str(error)


async def test_a_server_that_cannot_be_reached_does_not_start() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with SseServer().listen() as server:
            given = Server(url=server.url, transport="sse")
        async with Orchestrator({"old": given}) as orchestrator:
            error = await error_of(orchestrator, "echo")
    assert "did not start: it cannot be reached: ConnectError" in str(error)
    assert error.error.details["unreachable"] is True


async def test_a_server_with_this_transport_alone_is_named_where_streamable_http_is_spoken() -> (
    None
):
    with anyio.fail_after(TIMEOUT_S):
        async with (
            SseServer().listen() as server,
            Orchestrator({"old": Server(url=server.url)}) as orchestrator,
        ):
            error = await error_of(orchestrator, "echo")
    assert 'If it speaks the HTTP+SSE of protocol 2024-11-05, set transport = "sse"' in str(error)


async def test_redirects_within_the_origin_are_followed() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"
    async with old() as (server, orchestrator):

        async def opening(socket: SocketStream, path: str) -> bool:
            if path == "/other":
                return False
            await socket.send(moved)
            return True

        server.opening = opening
        headers = {"location": "/messages?session=1"}
        given = {"status": 307, "body": None, "headers": headers}
        error = await error_of(orchestrator, "status", **given)
        assert server.paths[:2] == ["GET /sse", "GET /other"]
        # It leads to itself: followed as often as is allowed, and then an error.
        assert "HTTP 307" in str(error)
        posted = [each for each in server.methods if each == "tools/call"]
        assert len(posted) == sse.MAX_REDIRECTS


async def test_events_that_mean_nothing_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with old() as (server, orchestrator):
        server.notices = event("/elsewhere", "endpoint") + event("hm", "mystery") + event("no JSON")
        assert await orchestrator.call("old:echo", {"a": 1}) == {"a": 1}
        assert server.paths.count("GET /sse") == 1
    assert not [each for each in caplog.records if each.levelname in ("WARNING", "ERROR")]


async def test_a_message_that_is_never_accepted_holds_no_connection_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "ACCEPT_S", 0)
    left = anyio.Event()

    async def silent(request: httpx2.Request) -> httpx2.Response:
        del request
        try:
            await anyio.sleep_forever()
        finally:
            left.set()
        raise AssertionError

    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            wire = httpx2.MockTransport(silent)
            transport = sse.SseTransport(wire, 1000, Parked(), group)
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
            request = httpx2.Request("POST", "http://host/", json=body)
            accepted = await transport.handle_async_request(request)
            assert accepted.status_code == 202
            answer = JSONRPCResponse(jsonrpc="2.0", id=2, result={})
            assert transport.answered(2, answer) is answer  # it was accepted
            transport.answered(1, answer)
            await left.wait()


class Proxy:
    """A proxy that notes what it is asked for, and passes on to one server."""

    def __init__(self, server: SseServer) -> None:
        self.server = server
        self.asked: list[str] = []
        self.refuses = False

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._serve)
            yield f"http://me:hunter2@127.0.0.1:{port}"
            group.cancel_scope.cancel()

    async def _serve(self, client: SocketStream) -> None:
        async with client:
            first = await client.receive()
            line, _, rest = first.partition(b"\r\n")
            method, url, version = line.split(b" ")
            self.asked.append(f"{method.decode()} {url.decode()}")
            if self.refuses:
                await answer(client, 407)
                return
            path = b"/" + url.split(b"/", 3)[3]
            port = int(httpx2.URL(self.server.url).port or 0)
            async with await anyio.connect_tcp("127.0.0.1", port) as server:
                await server.send(b" ".join([method, path, version]) + b"\r\n" + rest)
                async with anyio.create_task_group() as group:
                    group.start_soon(_pass_on, client, server)
                    await _pass_on(server, client)
                    group.cancel_scope.cancel()


async def _pass_on(source: SocketStream, sink: SocketStream) -> None:
    try:
        async for chunk in source:
            await sink.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass


@asynccontextmanager
async def proxied(
    monkeypatch: pytest.MonkeyPatch, url: str = "http://old.example.invalid/sse", no: str = ""
) -> AsyncIterator[tuple[Proxy, Orchestrator]]:
    with anyio.fail_after(TIMEOUT_S):
        async with SseServer().listen() as server:
            proxy = Proxy(server)
            async with proxy.listen() as place:
                monkeypatch.setenv("ALL_PROXY", place)
                monkeypatch.setenv("NO_PROXY", no)
                given = Server(url=url or server.url, transport="sse")
                async with Orchestrator({"old": given}) as orchestrator:
                    yield proxy, orchestrator


async def test_stream_and_messages_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied(monkeypatch) as (proxy, orchestrator):
        assert await orchestrator.call("old:echo", {"a": 1}) == {"a": 1}
        assert proxy.asked[0] == "GET http://old.example.invalid/sse"
        posts = ["POST http://old.example.invalid/messages?session=1"] * 4
        assert proxy.asked[1:] == posts


async def test_an_exempt_host_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied(monkeypatch, "", no="127.0.0.0/8") as (proxy, orchestrator):
        assert await orchestrator.call("old:echo", {"a": 1}) == {"a": 1}
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://old.example.invalid/sse", "GET http://old.example.invalid/sse"),
        ("https://old.example.invalid/sse", "CONNECT old.example.invalid:443"),
    ],
)
async def test_a_proxy_that_refuses_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str, asked: str
) -> None:
    async with proxied(monkeypatch, url) as (proxy, orchestrator):
        proxy.refuses = True
        error = await error_of(orchestrator, "echo")
    assert proxy.asked == [asked]
    assert "407" in str(error)
    assert "(through the proxy http://127.0.0.1:" in str(error)
    assert "hunter2" not in json.dumps(error.error.to_dict())


@pytest.fixture(scope="module")
def sdk_url() -> Iterator[str]:
    """A server of the SDK."""
    command = [sys.executable, "-m", "mock_servers.delay", "--sse"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield process.stderr.readline().removeprefix("listening on ").strip()
        process.kill()


async def test_a_server_of_the_sdk_is_spoken_with(sdk_url: str) -> None:
    calls = [("old:delay", {"ms": 1, "label": str(number)}) for number in range(20)]
    events: list[Any] = []
    with anyio.fail_after(TIMEOUT_S):
        given = Server(url=sdk_url, transport="sse")
        async with Orchestrator({"old": given}) as orchestrator:
            async for each in orchestrator.stream(plan(*calls, ("old:progress", {"steps": 3}))):
                events.append(each)
    assert events[-1].result.status == "success"
    assert [each for each in events if isinstance(each, ServerReady)]
    assert not [each for each in events if isinstance(each, ServerFailed)]
    progress = [each.progress for each in events if isinstance(each, TaskProgress)]
    assert progress == [1, 2, 3]
