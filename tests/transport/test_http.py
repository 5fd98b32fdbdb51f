"""Streamable HTTP: a request that fails costs that request, whatever the wire does."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import product
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream
from mcp.types import JSONRPCError, JSONRPCResponse

from orchestrator import CallError, Orchestrator, Server
from orchestrator.engine.events import ServerFailed, ServerReady, ServerStarting, TaskStarted
from orchestrator.servers.config import Protocol
from orchestrator.transport.delivery import Facts, Parked
from orchestrator.transport.http import ContainedTransport
from orchestrator.transport.http_wire import retry_after_s
from tests.conftest import EACH_ONCE
from tests.http_server import HttpServer, Json, answer
from tests.real_servers import ROOT, TIMEOUT_S, Watch, plan

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"),
]

MODES: list[Protocol] = ["legacy", "2026-07-28"]
KINDS: dict[str, list[str]] = {
    "stream": [],
    "json": ["--json-response"],
    "stateless": ["--stateless"],
}


@pytest.fixture(autouse=True, scope="module")
def _abandoned_generators() -> Iterator[None]:
    """The SDK leaves its generators of events unfinished; trio warns when they are collected."""
    yield
    gc.collect()


def listen(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mock_servers.delay", "--http", *options]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline().removeprefix("listening on ").strip()


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


@pytest.fixture(scope="module")
def url() -> Iterator[Callable[[str], str]]:
    """Servers of the SDK, each answering in its way, that start when they are asked for."""
    processes: list[subprocess.Popen[str]] = []

    @cache
    def url_of_kind(kind: str) -> str:
        processes.append(listen(*KINDS[kind]))
        return url_of(processes[-1])

    yield url_of_kind
    for process in processes:
        stop(process)


@asynccontextmanager
async def scripted(
    protocol: Protocol = "legacy", session: str | None = None, **settings: Any
) -> AsyncIterator[tuple[HttpServer, Orchestrator]]:
    """The scripted server as `web`, and one in memory as `good`."""
    with anyio.fail_after(TIMEOUT_S):
        async with HttpServer(session).listen() as server:
            web = Server(url=server.url, protocol=protocol, **settings)
            async with Orchestrator({"web": web}) as orchestrator:
                yield server, orchestrator


def limited(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A workflow of calls that a server leaves unanswered: each ends soon."""
    workflow = plan(*calls)
    for task in workflow["tasks"]:
        task["timeout_s"] = 0.3
    return workflow


async def error_of(orchestrator: Orchestrator, tool: str, **arguments: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        await orchestrator.call(f"web:{tool}", arguments)
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("anyio_backend", "kind", "protocol"),
    [
        (("asyncio", "trio")[number % 2], kind, protocol)
        for number, (kind, protocol) in enumerate(product(KINDS, ["auto", *MODES]))
    ],
)
async def test_servers_of_the_sdk_answer_in_every_mode(
    url: Callable[[str], str], kind: str, protocol: Protocol
) -> None:
    server = Server(url=url(kind), protocol=protocol, sessions=2)
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"web": server}) as orchestrator:
            result = await orchestrator.run(
                plan(*[("web:echo", {"value": number}) for number in range(20)])
            )
    outputs = [task.output for task in result.tasks.values()]
    assert outputs == [{"value": number} for number in range(20)]


async def test_a_url_is_enough(url: Callable[[str], str]) -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"web": url("stream")}) as orchestrator:
            assert await orchestrator.call("web:echo", {"value": 1}) == {"value": 1}


@pytest.mark.parametrize("protocol", ["auto", *MODES])
async def test_a_refused_connection_is_an_error_at_the_start(protocol: Protocol) -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with HttpServer().listen() as server:
            url = server.url
        async with Orchestrator({"web": Server(url=url, protocol=protocol)}) as orchestrator:
            error = await error_of(orchestrator, "echo")
    assert error.kind == "server_unavailable"
    assert 'server "web" did not start: it cannot be reached: ConnectError' in str(error)
    assert error.error.details["started_with"] == url
    assert error.error.details["unreachable"] is True


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("body", [None, {"error": "no code for you"}, "<html>no</html>"])
async def test_a_server_that_answers_with_a_status_does_not_start_and_says_it(
    status: int, body: Any
) -> None:
    async with scripted("auto") as (server, orchestrator):

        async def refuse(stream: SocketStream, _: Json) -> None:
            await answer(stream, status, body)

        server.everything = refuse
        error = await error_of(orchestrator, "echo")
    assert error.kind == "server_unavailable"
    assert f"did not start: it answered HTTP {status} Said" in str(error)
    assert error.error.details["http_status"] == status
    assert error.error.retryable is (status in (429, 500, 503))


RPC_ERROR = {"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "not you"}}


@pytest.mark.parametrize("protocol", MODES)
@pytest.mark.parametrize(
    ("status", "body", "kind", "said", "retryable"),
    [
        (401, None, "server_unavailable", "answered HTTP 401 Said", False),
        (401, RPC_ERROR, "server_unavailable", "answered HTTP 401: not you", False),
        (403, None, "server_unavailable", "answered HTTP 403 Said", False),
        (404, None, "server_unavailable", "answered HTTP 404 Said", False),
        (429, {"error": {"code": "slow"}}, "server_unavailable", "answered HTTP 429 Said", True),
        (500, "<html>oh no</html>", "server_unavailable", "answered HTTP 500 Said", True),
        (503, RPC_ERROR, "server_unavailable", "answered HTTP 503: not you", True),
        (400, {"detail": "no"}, "protocol_error", "answered HTTP 400 Said", False),
        (
            400,
            {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no", "data": [1]}},
            "invalid_arguments",
            'rejected the arguments of "status": no',
            False,
        ),
        (200, "<html>hello</html>", "protocol_error", 'it is not JSON (content type "text', False),
        (200, {"hello": 1}, "protocol_error", 'expected "2.0" as "jsonrpc", got nothing', False),
        (202, None, "protocol_error", "202 Accepted", True),
        (302, None, "protocol_error", "Redirect to", True),
    ],
)
async def test_a_call_that_is_answered_with_a_status_costs_only_that_call(
    protocol: Protocol, status: int, body: Any, kind: str, said: str, retryable: bool
) -> None:
    headers = {"retry-after": "7", "location": "https://elsewhere.example/"}
    async with scripted(protocol) as (_, orchestrator):
        error = await error_of(orchestrator, "status", status=status, body=body, headers=headers)
        assert await orchestrator.call("web:echo", {"value": 1}) == {"value": 1}
    assert error.kind == kind
    assert said in str(error)
    assert error.error.retryable is retryable
    assert "lost" not in error.error.details
    if kind == "server_unavailable":
        assert error.error.details["http_status"] == status
        assert error.error.details["retry_after_s"] == 7.0


async def test_the_body_of_an_error_is_shown_but_no_page_and_no_secret() -> None:
    async with scripted(headers={"Authorization": "Bearer s3cr3t"}) as (_, orchestrator):
        told = await error_of(orchestrator, "status", status=403, body={"detail": "s3cr3t is bad"})
        page = await error_of(orchestrator, "status", status=403, body="<html>s3cr3t</html>")
        data = {"code": -32050, "message": "s3cr3t", "data": {"s3cr3t": ["s3cr3t"]}}
        body = {"jsonrpc": "2.0", "id": 1, "error": data}
        rpc = await error_of(orchestrator, "status", status=400, body=body)
    assert told.error.details["body"] == '{"detail": "*** is bad"}'
    assert "body" not in page.error.details
    assert rpc.error.details["data"] == {"***": ["***"]}
    assert "s3cr3t" not in str(rpc.error.to_dict())


@pytest.mark.parametrize("protocol", MODES)
@pytest.mark.parametrize("tool", ["broken", "broken_stream", "raw"])
async def test_an_answer_that_breaks_off_costs_only_that_call(
    tool: str, protocol: Protocol
) -> None:
    arguments = {"text": "no HTTP at all"} if tool == "raw" else {}
    async with scripted(protocol) as (_, orchestrator):
        error = await error_of(orchestrator, tool, **arguments)
        assert await orchestrator.call("web:echo", {"value": 1}) == {"value": 1}
    assert error.kind == "server_unavailable"
    assert error.error.details["lost"] is True
    assert "broke off its answer" in str(error)
    assert ("SSE stream" if tool == "broken_stream" else "RemoteProtocolError") in str(error)


async def test_a_body_that_cannot_be_decoded_costs_only_that_call() -> None:
    async with scripted() as (_, orchestrator):
        headers = {"content-encoding": "gzip"}
        error = await error_of(
            orchestrator, "status", status=200, body={"no": "gzip"}, headers=headers
        )
        refused = await error_of(
            orchestrator, "status", status=500, body={"no": "gzip"}, headers=headers
        )
        assert await orchestrator.call("web:echo", {"value": 1}) == {"value": 1}
    assert "DecodingError" in str(error)
    assert refused.error.details["http_status"] == 500


@pytest.mark.parametrize("protocol", MODES)
async def test_a_call_that_hangs_ends_in_time_and_the_server_is_told(protocol: Protocol) -> None:
    async with scripted(protocol) as (server, orchestrator):
        workflow = plan(("web:hang", {}), ("web:echo", {"value": 1}))
        workflow["tasks"][0]["timeout_s"] = 1.5  # within which the server has heard of it
        result = await orchestrator.run(workflow)
        if protocol == "legacy":
            while "POST notifications/cancelled" not in server.methods:
                await anyio.sleep(0.001)
        else:
            await server.dropped.wait()
    error = result["t0"].error
    assert error is not None
    assert error.kind == "timeout"
    assert result["t1"].output == {"value": 1}


@pytest.mark.parametrize("protocol", MODES)
async def test_a_server_that_hangs_for_good_holds_nobody_up(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.transport.http.NOTIFICATION_TIMEOUT_S", 0.2)
    async with scripted(protocol, session="s") as (server, orchestrator):
        await orchestrator.call("web:echo", {"value": 1})

        async def never(stream: SocketStream, _: Json) -> None:
            await anyio.sleep_forever()
            await stream.aclose()

        server.everything = never
        result = await orchestrator.run(limited(*[("web:echo", {"value": 1})] * 3))
        kinds = [task.error.kind for task in result.tasks.values() if task.error]
        assert kinds == ["timeout"] * 3
    assert ("DELETE" in server.methods) is (protocol == "legacy")


async def test_a_server_that_hangs_at_the_start_is_given_up() -> None:
    async with scripted(start_timeout_s=0.3) as (server, orchestrator):

        async def never(stream: SocketStream, _: Json) -> None:
            await anyio.sleep_forever()
            await stream.aclose()

        server.everything = never
        error = await error_of(orchestrator, "echo", value=1)
    assert "did not start: it did not answer within 0.3 s" in str(error)
    assert error.error.details["start_timeout_s"] == 0.3


GONE = [
    (404, {"error": "no such session"}),
    (
        404,
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Session not found"}},
    ),
    (200, {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Session not found"}}),
    (400, {"jsonrpc": "2.0", "error": {"code": -32000, "message": "No valid session ID provided"}}),
]


@pytest.mark.parametrize(("status", "body"), GONE, ids=["404", "404-rpc", "200", "400"])
async def test_a_session_that_the_server_forgot_is_joined_again_and_the_call_repeated(
    status: int, body: Any
) -> None:
    watch = Watch()
    async with scripted(session="one") as (server, orchestrator):
        await orchestrator.call("web:echo", {"value": 1})
        server.session, server.forgotten = "two", (status, body)
        with orchestrator._pool.subscribe(watch, ["web"]):
            values = plan(*[("web:echo", {"value": number}) for number in range(5)])
            result = await orchestrator.run(values)
    assert [task.output for task in result.tasks.values()] == [{"value": n} for n in range(5)]
    assert [type(event) for event in watch.events] == [ServerFailed, ServerStarting, ServerReady]
    assert server.methods.count("POST initialize") == 2


async def test_a_server_that_forgets_every_session_at_once_fails_the_call() -> None:
    async with scripted(session="one") as (server, orchestrator):
        await orchestrator.call("web:echo", {"value": 1})
        server.forgets = True
        with pytest.raises(CallError, match="ended the session") as caught:
            await orchestrator.call("web:echo", {"value": 2})
    assert caught.value.kind == "server_unavailable"
    assert caught.value.error.details["http_status"] == 404
    assert "lost" not in caught.value.error.details
    assert server.methods.count("POST tools/call") == 3


@pytest.mark.slow
@EACH_ONCE
async def test_a_server_that_is_killed_in_a_call_costs_only_its_own_calls(
    protocol: Protocol,
) -> None:
    process = listen()
    watch = Watch()
    try:
        with anyio.fail_after(TIMEOUT_S):
            servers = {"web": Server(url=url_of(process), protocol=protocol)}
            async with (
                HttpServer().listen() as good,
                Orchestrator({**servers, "good": good.url}, observers=[watch]) as orchestrator,
            ):
                await orchestrator.tools()
                calls = [("web:delay", {"ms": 60_000}), ("good:hang", {})]
                workflow = plan(*calls)
                workflow["tasks"][1]["timeout_s"] = 2

                async def kill() -> None:
                    await good.called.wait()
                    await watch.until(lambda event: isinstance(event, TaskStarted))
                    await orchestrator.call("web:echo", {"value": "the other call has arrived"})
                    stop(process)

                async with anyio.create_task_group() as group:
                    group.start_soon(kill)
                    result = await orchestrator.run(workflow)
                assert await orchestrator.call("good:echo", {"value": 1}) == {"value": 1}
                error = await error_of(orchestrator, "echo", value=1)
    finally:
        stop(process)
    first = result["t0"].error
    assert first is not None
    assert first.kind == "server_unavailable"
    assert result["t0"].attempts == 2  # it is read-only: it was repeated, and the server was gone
    assert result["t1"].error is not None
    assert result["t1"].error.kind == "timeout"
    assert "did not start: it cannot be reached: ConnectError" in str(error)


@pytest.mark.parametrize("protocol", MODES)
@pytest.mark.parametrize("how", ["json", "unmeasured", "packed", "event"])
async def test_a_result_over_the_limit_costs_only_its_call(how: str, protocol: Protocol) -> None:
    async with scripted(protocol, max_result_bytes=200_000) as (_, orchestrator):
        fits = await orchestrator.call("web:huge", {"size": 199_000, "how": how})
        error = await error_of(orchestrator, "huge", size=5_000_000, how=how)
        assert await orchestrator.call("web:echo", {"value": 1}) == {"value": 1}
    assert fits == "x" * 199_000
    assert (error.kind, error.error.retryable) == ("protocol_error", False)
    assert "its max_result_bytes is 200,000" in str(error)
    assert error.error.details["bytes"] > 200_000
    assert error.error.details["max_result_bytes"] == 200_000
    assert "lost" not in error.error.details


@pytest.mark.untraced
@pytest.mark.parametrize("how", ["json", "event"])
async def test_fifty_megabytes_arrive_over_http(how: str) -> None:
    async with scripted() as (_, orchestrator):
        result = await orchestrator.call("web:huge", {"size": 50_000_000, "how": how})
    assert len(result) == 50_000_000


async def test_a_server_that_is_silent_is_joined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.servers.health.PROBE_S", 0.2)
    monkeypatch.setattr("orchestrator.transport.http.NOTIFICATION_TIMEOUT_S", 0.1)
    watch = Watch()
    async with scripted(session="one") as (server, orchestrator):
        await orchestrator.call("web:echo", {"value": 1})

        async def never(stream: SocketStream, _: Json) -> None:
            await anyio.sleep(5)
            await stream.aclose()

        with orchestrator._pool.subscribe(watch, ["web"]):
            server.everything = never
            await orchestrator.run(limited(("web:echo", {"value": 1})))
            await watch.until(lambda event: isinstance(event, ServerFailed))
            server.everything = None
            result = await orchestrator.run(plan(("web:echo", {"value": 2})))
    assert result["t0"].output == {"value": 2}
    [failed, *_] = [event for event in watch.events if isinstance(event, ServerFailed)]
    assert "stopped answering" in failed.error.message


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("9" * 5000, 86_400.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:30 GMT", 0.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("", None),
        ("-3", None),
        ("soon", None),
        ("\u00b2", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_in_the_past(
    value: str, seconds: float | None
) -> None:
    assert retry_after_s(value, NOW) == seconds


class Failing(httpx2.AsyncBaseTransport):
    """A transport that fails as it is told, and notes the timeouts."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.timeouts: list[Any] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        timeout = request.extensions.get("timeout", {})
        self.timeouts.append((timeout.get("read"), timeout.get("pool")))
        if self.failure is not None:
            raise self.failure
        return httpx2.Response(202)


async def test_only_what_has_no_answer_is_bounded_by_the_transport() -> None:
    inner = Failing()
    async with httpx2.AsyncClient(
        transport=ContainedTransport(inner, 1000, Parked()), timeout=None
    ) as client:
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        await client.post("http://x/", json=request)
        await client.post("http://x/", json={"jsonrpc": "2.0", "method": "notifications/x"})
        await client.post("http://x/", json={"jsonrpc": "2.0", "id": 1, "result": {}})
        await client.delete("http://x/")
        await client.get("http://x/")
    never, soon = (None, None), (2.0, 2.0)
    assert inner.timeouts == [never, soon, soon, soon, never]


async def test_a_failure_without_words_is_named_by_its_kind() -> None:
    parked = Parked()
    transport = ContainedTransport(Failing(httpx2.ReadError("")), 1000, parked)
    async with httpx2.AsyncClient(transport=transport) as client:
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        response = await client.post("http://x/", json=request)
        got = await client.get("http://x/")
        deleted = await client.delete("http://x/")
    stub = JSONRPCResponse.model_validate(response.json())
    answer, _ = parked.answer_for(stub)
    assert isinstance(answer, JSONRPCError)
    assert answer.error.message == "ReadError"
    assert answer.error.data == Facts(lost=True)
    assert (got.status_code, deleted.status_code) == (503, 204)
