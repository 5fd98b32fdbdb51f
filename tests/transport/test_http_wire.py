"""What is sent over HTTP: redirects, proxies, and streams of events that are opened again."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
import pytest
import trio.testing
from anyio.abc import SocketStream

from orchestrator import Orchestrator, Server
from orchestrator.servers.config import Protocol
from orchestrator.transport.http_wire import WireTransport, proxy_for
from tests.http_server import HttpServer, Json, answer, listening
from tests.real_servers import TIMEOUT_S, plan
from tests.transport.test_http import MODES, error_of, scripted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"),
]


def redirecting(server: HttpServer, status: int, hops: int) -> None:
    """Have the server redirect each message so many times before it answers it."""
    followed: dict[str, int] = {}

    async def everything(stream: SocketStream, message: Json) -> None:
        key = json.dumps(message)
        followed[key] = number = followed.get(key, -1) + 1
        if number < hops:
            await answer(stream, status, "moved", {"location": f"/mcp/{number}?x=1"})
        elif "id" in message:
            await server._answer(stream, message)
        else:
            await answer(stream, 202 if message else 405)

    server.everything = everything


@pytest.mark.parametrize("protocol", MODES)
@pytest.mark.parametrize(("status", "hops"), [(307, 1), (308, 1), (307, 3), (308, 19)])
async def test_redirects_of_the_same_origin_are_followed(
    status: int, hops: int, protocol: Protocol
) -> None:
    async with scripted(protocol) as (server, orchestrator):
        redirecting(server, status, hops)
        assert await orchestrator.call("web:echo", {"value": "ä"}) == {"value": "ä"}
        calls = [each for each in server.requests if each.get("method") == "tools/call"]
        assert len(calls) == hops + 1


@pytest.mark.parametrize(
    "location",
    ["http://[oops", "http://host:port/", "/\x7f", "http://ex ample:99999999/", "//", "http:///x"],
)
async def test_a_redirect_to_no_url_costs_only_its_call(location: str) -> None:
    async with scripted() as (server, orchestrator):
        moved: Json = {"status": 307, "headers": {"location": location}}
        meet: Json = {"count": 2, "value": 1}
        calls = [("web:meet", meet), ("web:status", moved)]
        workflow = plan(*calls, ("web:meet", meet))
        workflow["tasks"][2]["depends_on"] = ["t1"]
        workflow["tasks"][2]["run_if"] = "all_done"
        workflow["schedule"] = "dataflow"
        result = await orchestrator.run(workflow)
        assert server.methods.count("POST initialize") == 1
    assert [result[task].status for task in ("t0", "t1", "t2")] == ["success", "error", "success"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nothing_is_sent_to_another_origin(status: int) -> None:
    async with HttpServer().listen() as other, scripted() as (_, orchestrator):
        moved = {"location": other.url}
        error = await error_of(orchestrator, "status", status=status, headers=moved)
        assert await orchestrator.call("web:echo", {"value": 1}) == {"value": 1}
        assert other.url in str(error)
    assert other.requests == []


async def test_a_redirect_without_an_end_is_left() -> None:
    async with scripted() as (server, orchestrator):
        loop = {"status": 307, "headers": {"location": "/mcp"}}
        error = await error_of(orchestrator, "status", **loop)
        assert "not followed" in str(error)
        assert server.methods.count("POST tools/call") == 21


class Endless(httpx2.AsyncByteStream):
    """A body without an end."""

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await anyio.sleep(0)

    async def aclose(self) -> None:
        self.closed = True


class Once(httpx2.AsyncByteStream):
    """A body of one chunk."""

    def __init__(self, chunk: bytes) -> None:
        self.chunk = chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.chunk


@pytest.mark.parametrize(("method", "status"), [("POST", 307), ("GET", 302), ("DELETE", 200)])
async def test_a_body_that_nobody_needs_is_not_kept(method: str, status: int) -> None:
    body = Endless()
    headers = {"location": "next", "set-cookie": "a=b", "content-encoding": "gzip"}
    sent = httpx2.Response(status, headers=headers if status > 300 else {}, stream=body)
    wire = WireTransport(httpx2.MockTransport(lambda _: sent))
    request = httpx2.Request(method, "http://host/mcp/here")
    response = await wire.handle_async_request(request)
    assert await response.aread() == b""
    assert body.closed
    if status > 300:
        assert response.headers["location"] == "http://host/mcp/next"
        assert response.headers["set-cookie"] == "a=b"


class TestReopening:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}

    async def opened(self, lives_s: list[float]) -> list[float]:
        """When streams were opened that live so long, each as soon as the last has ended."""
        times: list[float] = []
        zero = anyio.current_time()

        def open_stream(_: httpx2.Request) -> httpx2.Response:
            times.append(anyio.current_time() - zero)
            return httpx2.Response(200, stream=Once(b"retry: 0\n\n"))

        wire = WireTransport(httpx2.MockTransport(open_stream))
        for seconds in lives_s:
            request = httpx2.Request("GET", "http://host/mcp")
            response = await wire.handle_async_request(request)
            await anyio.sleep(seconds)
            assert await response.aread() == b"retry: 0\n\n"
        return times

    async def test_streams_that_end_at_once_are_opened_less_and_less_often(self) -> None:
        assert await self.opened([0] * 7) == [0, 1, 3, 7, 15, 23, 31]

    async def test_streams_that_last_are_opened_again_soon(self) -> None:
        assert await self.opened([60, 60, 0, 60, 0]) == [0, 61, 122, 124, 185]

    async def test_calls_are_not_held_up(self) -> None:
        wire = WireTransport(httpx2.MockTransport(lambda _: httpx2.Response(200, content=b"")))
        began_at = anyio.current_time()
        for method in ("GET", "POST", "POST", "DELETE"):
            request = httpx2.Request(method, "http://host/mcp")
            await (await wire.handle_async_request(request)).aclose()
        assert anyio.current_time() == began_at


PROXY = "http://127.0.0.1:3128"


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "http://a.test/mcp", None),
        ({"HTTP_PROXY": PROXY}, "http://a.test/mcp", PROXY),
        ({"http_proxy": "127.0.0.1:3128"}, "http://a.test/mcp", PROXY),
        ({"HTTP_PROXY": PROXY}, "https://a.test/mcp", None),
        ({"HTTPS_PROXY": PROXY}, "https://a.test/mcp", PROXY),
        ({"ALL_PROXY": PROXY}, "https://a.test/mcp", PROXY),
        ({"ALL_PROXY": "http://other:1", "HTTP_PROXY": PROXY}, "http://a.test/mcp", PROXY),
        ({"HTTP_PROXY": "http://user:password@127.0.0.1:3128"}, "http://a.test/mcp", PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a.test"}, "http://a.test/mcp", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "b.test, .test"}, "http://a.test/mcp", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, "http://a.test/mcp", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "test.a"}, "http://a.test/mcp", PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a.test:8080"}, "http://a.test:8080/mcp", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a.test:8080"}, "http://a.test:80/mcp", PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3/mcp", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "http://11.1.2.3/mcp", PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "::1"}, "http://[::1]:8000/mcp", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "localhost"}, "http://localhost:8000/mcp", None),
    ],
)
def test_the_proxy_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url)
    assert (None if found is None else str(found.url)) == proxy


async def test_calls_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with HttpServer().listen() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/mcp"))
            async with Orchestrator({"web": "http://mcp.example.invalid/mcp"}) as orchestrator:
                assert await orchestrator.call("web:echo", {"value": 1}) == {"value": 1}
                error = await error_of(orchestrator, "status", status=502)
                assert "HTTP 502 Said (through the proxy http://127.0.0.1:" in str(error)


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://127.0.0.1:1", "cannot be reached: ConnectError: .* through the proxy http://127"),
        ("ftp://me:hunter2@host", 'the variable HTTP_PROXY: expected a URL like "http://HOST:'),
        ("http://me:hunter2@host:port", "the variable HTTP_PROXY: expected a URL"),
        ("http://", "the variable HTTP_PROXY: expected a URL"),
        ("socks5://me:hunter2@127.0.0.1:1", r"a SOCKS proxy needs a library: run pip install"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str, said: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setitem(sys.modules, "socksio", None)
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"web": Server(url="http://mcp.example.invalid/")}) as orchestrator:
            error = await error_of(orchestrator, "echo")
    assert error.kind == "server_unavailable"
    assert re.search(said, str(error).replace("(", ""))
    assert "hunter2" not in str(error)


async def test_a_proxy_that_says_nothing_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    with anyio.fail_after(TIMEOUT_S):
        async with listening(silent) as proxy:
            address = proxy.removeprefix("http://")
            monkeypatch.setenv("http_proxy", f"http://me:hunter2@{address}")
            web = Server(url="http://mcp.example.invalid/", start_timeout_s=0.3)
            async with Orchestrator({"web": web}) as orchestrator:
                error = await error_of(orchestrator, "echo")
    assert f", through the proxy http://{address})" in str(error)
    assert "hunter2" not in str(error)
