"""Many calls and many sessions: who makes them, over how many connections, and all of them at once.

That calls are in flight together is proved by a tool, `meet`, which answers once so many are there.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2
import pytest

from orchestrator import Orchestrator, RunResult, Server
from orchestrator.servers.config import Protocol
from orchestrator.servers.supervisor import Supervisor
from orchestrator.transport.delivery import Parked
from orchestrator.transport.http_client import HttpConnections, most_connections
from orchestrator.transport.parameters import HttpParameters
from tests.conftest import EACH_ONCE
from tests.http_server import HttpServer
from tests.real_servers import TIMEOUT_S, faulty, plan

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"),
    pytest.mark.untraced,
]

MODES: list[Protocol] = ["legacy", "2026-07-28"]


@pytest.fixture(autouse=True, scope="module")
def _abandoned_generators() -> Iterator[None]:
    """The SDK leaves its generators of events unfinished; trio warns when they are collected."""
    yield
    gc.collect()


class Connections(httpx2.AsyncHTTPTransport):
    """Notes whether its connections are closed."""

    is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True
        await super().aclose()


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Connections]:
    """The pools of connections that are made during a test."""
    made: list[Connections] = []

    def noted(**settings: Any) -> Connections:
        made.append(Connections(**settings))
        return made[-1]

    monkeypatch.setattr(httpx2, "AsyncHTTPTransport", noted)
    return made


def meeting(calls: int, count: int) -> dict[str, Any]:
    """A workflow of calls, each answered once so many have arrived."""
    return plan(*[("it:meet", {"count": count, "value": number}) for number in range(calls)])


def values(result: RunResult) -> list[int]:
    assert result.status == "success", [task.error for task in result.tasks.values() if task.error]
    return [task.output["value"] for task in result.tasks.values()]


@pytest.mark.slow
@pytest.mark.parametrize(("anyio_backend", "calls"), [("asyncio", 2000), ("trio", 300)])
async def test_one_session_over_stdio_keeps_thousands_of_calls_in_flight(calls: int) -> None:
    with anyio.fail_after(3 * TIMEOUT_S):
        async with Orchestrator({"it": faulty()}) as orchestrator:
            result = await orchestrator.run(meeting(calls, calls))
    assert values(result) == list(range(calls))
    assert len({task.output["pid"] for task in result.tasks.values()}) == 1


async def test_calls_are_spread_evenly_over_the_processes_of_a_server() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": faulty(sessions=3)}) as orchestrator:
            result = await orchestrator.run(meeting(30, 10))
    assert values(result) == list(range(30))
    calls = Counter(task.output["pid"] for task in result.tasks.values())
    assert sorted(calls.values()) == [10, 10, 10]


@pytest.mark.parametrize("protocol", MODES)
async def test_a_call_goes_to_the_session_that_has_the_fewest_in_flight(protocol: Protocol) -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with HttpServer().listen() as server:
            web = Server(url=server.url, protocol=protocol, sessions=3)
            async with Orchestrator({"it": web}) as orchestrator:
                await orchestrator.tools()
                supervisor = orchestrator._pool._supervisors["it"]
                assert isinstance(supervisor, Supervisor)
                sessions = supervisor._sessions
                async with anyio.create_task_group() as group:
                    group.start_soon(orchestrator.run, meeting(7, 8))
                    while len(server.gathering) < 7:
                        await anyio.sleep(0.001)
                    assert sorted(session.in_flight for session in sessions) == [2, 2, 3]
                    await orchestrator.call("it:meet", {"count": 8, "value": 7})


@pytest.mark.parametrize("protocol", MODES)
async def test_all_sessions_of_a_server_share_one_pool_of_connections(
    protocol: Protocol, pools: list[Connections]
) -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with HttpServer().listen() as one, HttpServer().listen() as other:
            servers = {
                "it": Server(url=one.url, protocol=protocol, sessions=4),
                "other": Server(url=other.url, protocol=protocol, sessions=4),
            }
            async with Orchestrator(servers) as orchestrator:
                result = await orchestrator.run(meeting(40, 40))
                await orchestrator.call("other:echo", {"value": 1})
                assert [pool.is_closed for pool in pools] == [False, False]
    assert values(result) == list(range(40))
    assert [pool.is_closed for pool in pools] == [True, True]


async def test_connections_outlive_the_sessions_that_end(pools: list[Connections]) -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with HttpServer(session="one").listen() as server:
            web = Server(url=server.url, protocol="legacy", sessions=2)
            async with Orchestrator({"it": web}) as orchestrator:
                await orchestrator.call("it:echo", {"value": 1})
                supervisor = orchestrator._pool._supervisors["it"]
                assert isinstance(supervisor, Supervisor)
                first, second = supervisor._sessions
                first.close()
                while first in orchestrator._pool._live:
                    await anyio.sleep(0.001)
                assert not pools[0].is_closed
                assert await orchestrator.call("it:echo", {"value": 2}) == {"value": 2}
                assert second.usable
                await orchestrator.tools()
                assert len(orchestrator._pool._live) == 2
    assert [pool.is_closed for pool in pools] == [True]


@pytest.mark.slow
@EACH_ONCE
async def test_far_more_calls_than_connections_wait_for_one_and_none_fails(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.transport.http_client.most_connections", lambda: 4)
    with anyio.fail_after(3 * TIMEOUT_S):
        async with HttpServer().listen() as server:
            web = Server(url=server.url, protocol=protocol, sessions=2)
            async with Orchestrator({"it": web}) as orchestrator:
                result = await orchestrator.run(meeting(200, 4))
    assert values(result) == list(range(200))


@pytest.mark.slow
@EACH_ONCE
async def test_hundreds_of_calls_are_in_flight_at_once_over_http(protocol: Protocol) -> None:
    with anyio.fail_after(3 * TIMEOUT_S):
        async with HttpServer().listen() as server:
            web = Server(url=server.url, protocol=protocol)
            async with Orchestrator({"it": web}) as orchestrator:
                result = await orchestrator.run(meeting(300, 300))
    assert values(result) == list(range(300))


async def test_headers_are_sent_and_nothing_that_may_take_long_has_a_limit() -> None:
    connections = HttpConnections(HttpParameters("http://x/", {"X-Key": "abc"}))
    async with connections.client(lambda: None, Parked()) as client:
        assert client.headers["x-key"] == "abc"
        assert client.timeout.read is None
        assert client.timeout.pool is None


@pytest.mark.parametrize(("files", "most"), [(1024, 512), (1, 1), (-1, None)])
def test_a_server_may_take_half_of_the_files_of_the_process(
    files: int, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = SimpleNamespace(
        RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda which: (files, which)
    )
    monkeypatch.setitem(sys.modules, "resource", system)
    assert most_connections() == most


def test_where_the_system_tells_no_limit_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert most_connections() is None


class Machines(httpx2.AsyncBaseTransport):
    """Many machines behind one address: a request without a cookie goes to the next one."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.came: list[str | None] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        cookie = request.headers.get("cookie")
        self.came.append(cookie)
        given = {} if cookie else {"set-cookie": f"machine={len(self.came)}; Path=/"}
        return httpx2.Response(self.status, headers=given)


@pytest.mark.parametrize("status", [202, 503])
async def test_each_session_keeps_its_own_cookies_and_hears_only_its_own(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines, heard = Machines(status), Counter[str]()
    monkeypatch.setattr(httpx2, "AsyncHTTPTransport", lambda **_: machines)
    shared = HttpConnections(HttpParameters("http://x/"))
    async with (
        shared.client(lambda: heard.update("a"), Parked()) as a,
        shared.client(lambda: heard.update("b"), Parked()) as b,
    ):
        for client in (a, b, a, b, b):
            request = client.build_request("POST", "http://x/", json={"method": "x", "id": 1})
            await client.send(request)
        assert [dict(client.cookies) for client in (a, b)] == [{"machine": "1"}, {"machine": "2"}]
    assert machines.came == [None, None, "machine=1", "machine=2", "machine=2"]
    assert heard == {"a": 2, "b": 3}
