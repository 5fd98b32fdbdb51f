"""What servers say of changes: bounded, told together, and only of what was asked for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from mcp import MCPError, types
from mcp.client.subscriptions import ResourceUpdated, SubscriptionLost
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts import Prompt

from orchestrator.calls.call import Call
from orchestrator.engine.events import ServerEvent, ServerListChanged, ServerResourceUpdated
from orchestrator.errors import CallError
from orchestrator.servers import news
from orchestrator.servers.config import Server
from orchestrator.servers.news import News
from orchestrator.servers.pool import ServerPool
from tests.real_servers import TIMEOUT_S, Deaf, Watch

pytestmark = pytest.mark.anyio

SERVER = Server(name="s", command="x", subscribe=["demo://*"])
METHOD_NOT_FOUND = MCPError(types.METHOD_NOT_FOUND, "no such method")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "COLLECT_S", 0)
    monkeypatch.setattr(news, "TELL_PAUSE_S", 0.001)
    monkeypatch.setattr(news, "REOPEN_PAUSE_S", 0.001)


def read(uri: str) -> Call:
    return Call("t", "it", uri, {"uri": uri}, kind="read")


def serving() -> MCPServer:
    server = MCPServer("it", log_level="WARNING")

    @server.resource("demo://note")
    async def note() -> str:
        return "a note"

    @server.tool()
    async def touch(context: Context) -> str:
        await context.notify_resource_updated("demo://note")
        return "ok"

    @server.tool()
    async def add_prompt(context: Context) -> str:
        server.add_prompt(Prompt.from_function(lambda: "hi", name="greet"))
        await context.notify_prompts_changed()
        await context.notify_resources_changed()
        return "ok"

    return server


@asynccontextmanager
async def open_pool(**settings: Any) -> AsyncIterator[tuple[ServerPool, Watch]]:
    watch = Watch()
    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool({"it": Server(target=serving(), **settings)}) as pool:
            await pool.open(["it"])
            await anyio.wait_all_tasks_blocked()
            with pool.subscribe(watch, ["it"]):
                yield pool, watch


def is_update(event: Any) -> bool:
    return isinstance(event, ServerResourceUpdated)


async def test_changes_of_a_resource_that_was_read_are_events() -> None:
    async with open_pool(subscribe=["demo://*"]) as (pool, watch):
        assert await pool.call(read("demo://note")) == "a note"
        await pool.call(Call("t", "it", "touch", {}))  # at once, and it is not missed
        await watch.until(is_update)
        [event, *_] = filter(is_update, watch.events)
        assert event.to_dict() | {"times": 1} == {
            "event": "server_resource_updated",
            "at_ms": 0.0,
            "server": "it",
            "uri": "demo://note",
            "times": 1,
        }


async def test_nothing_is_followed_unless_the_configuration_says_so() -> None:
    for settings in ({}, {"subscribe": ["other://*"]}):
        async with open_pool(**settings) as (pool, watch):
            await pool.call(read("demo://note"))
            await pool.call(Call("t", "it", "touch", {}))
            await anyio.wait_all_tasks_blocked()
            assert not any(map(is_update, watch.events))


async def test_lists_that_change_are_events_and_known_prompts_are_listed_again() -> None:
    async with open_pool() as (pool, watch):
        await pool.learn_prompts(["it"])
        assert pool.catalog.prompts("it") == {}
        await pool.call(Call("t", "it", "add_prompt", {}))
        await watch.until(lambda event: getattr(event, "kind", "") == "resources")
        told = [event for event in watch.events if isinstance(event, ServerListChanged)]
        assert {event.kind for event in told} == {"prompts", "resources"}
        assert list(pool.catalog.prompts("it") or ()) == ["prompt it:greet"]


async def test_prompts_that_nobody_asked_for_are_not_kept() -> None:
    async with open_pool() as (pool, watch):
        await pool.call(Call("t", "it", "add_prompt", {}))
        await watch.until(lambda event: event.name == "server_list_changed")
        assert pool.catalog.prompts("it") is None


class Told(Deaf):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[ServerEvent] = []
        self.prompts: list[Any] = []

    def on_news(self, event: Any) -> None:
        self.events.append(event)

    def on_prompts(self, prompts: Sequence[Any]) -> None:
        self.prompts += prompts

    @property
    def updates(self) -> dict[str, int]:
        return {e.uri: e.times for e in self.events if isinstance(e, ServerResourceUpdated)}


class Fake:
    """A client of a server before 2026-07-28; refuses some resources, and answers some never."""

    def __init__(self, refused: Sequence[str] = (), silent: Sequence[str] = ()) -> None:
        self.protocol_version = "2025-06-18"
        self.session = SimpleNamespace(send_request=self.send_request)
        self.refused, self.silent = refused, silent
        self.asked: list[str] = []

    async def send_request(self, request: types.SubscribeRequest, _: type[Any]) -> None:
        self.asked.append(uri := request.params.uri)
        if uri in self.refused:
            raise MCPError(types.INVALID_PARAMS, "it has vanished")
        if uri in self.silent:
            await anyio.sleep_forever()


@asynccontextmanager
async def running(
    client: Any, told: Told | None = None, prompts: Any = None
) -> AsyncIterator[tuple[News, Told]]:
    told = told or Told()
    it = News(SERVER, told.followed, told, lambda: told.events.append(ServerEvent(0.0, "tools")))

    async def of(_: str) -> Any:
        if isinstance(prompts, Exception):
            raise prompts
        return prompts

    offers: Any = SimpleNamespace(of=of)
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(it.run, client, offers)
            yield it, told
            group.cancel_scope.cancel()


async def until(*conditions: Any) -> None:
    while not all(condition() for condition in conditions):
        await anyio.sleep(0.001)


def updated(uri: str) -> types.ResourceUpdatedNotification:
    params = types.ResourceUpdatedNotificationParams(uri=uri)
    return types.ResourceUpdatedNotification(params=params)


async def test_a_flood_of_updates_is_told_together() -> None:
    client = Fake()
    async with running(client) as (it, told):
        it.follow("demo://a")
        await until(lambda: client.asked)
        for _ in range(5000):
            await it.on_message(updated("demo://a"))
        await it.on_message(updated("demo://a/part"))
        await until(lambda: told.updates)
        assert told.updates == {"demo://a": 5000, "demo://a/part": 1}


async def test_what_a_server_names_takes_a_bounded_part_of_memory() -> None:
    client = Fake()
    async with running(client) as (it, told):
        await it.on_message(updated("demo://unasked"))
        it.follow("demo://a")
        await until(lambda: client.asked)
        await it.on_message(updated("x" * (news.MAX_URI + 1)))
        await it.on_message(updated("demo://ab"))
        for number in range(3 * news.MAX_PENDING):
            await it.on_message(updated(f"demo://a/{number}"))
        await until(lambda: told.updates)
        assert len(told.updates) == news.MAX_PENDING
        assert not {"demo://unasked", "demo://ab"} & told.updates.keys()


async def test_a_resource_that_vanished_or_is_silent_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(news, "SUBSCRIBE_S", 0.01)
    client = Fake(refused=["demo://gone", "demo://gone too"], silent=["demo://silent"])
    async with running(client) as (it, told):
        with caplog.at_level(logging.WARNING):
            for uri in ("demo://gone", "demo://silent", "demo://gone too", "demo://a"):
                it.follow(uri)
                it.follow(uri)
            await until(lambda: client.asked[3:])
            await it.on_message(updated("demo://a"))
            await until(lambda: told.updates)
    assert client.asked == ["demo://gone", "demo://silent", "demo://gone too", "demo://a"]
    assert [each.message for each in caplog.records] == [
        'server "s": cannot subscribe to a resource: it has vanished'
    ]


async def test_a_read_waits_for_its_subscription_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Fake(refused=["demo://gone"], silent=["demo://silent"])
    async with running(client) as (it, _):
        await it.confirmed("demo://a")  # which nobody follows
        for uri in ("demo://a", "demo://gone"):
            it.follow(uri)
            assert uri not in client.asked
            await it.confirmed(uri)
            assert uri in client.asked
        it.follow("demo://silent")
        monkeypatch.setattr(news, "CONFIRM_S", 0.01)
        await it.confirmed("demo://silent")
    assert not it._unconfirmed  # nobody waits for a session that is over


async def test_so_many_resources_are_followed_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(news, "MAX_FOLLOWED", 2)
    client = Fake()
    async with running(client) as (it, told):
        it.follow("x" * (news.MAX_URI + 1))
        for number in range(5):
            it.follow(f"demo://{number}")
        await until(lambda: client.asked[1:])
        assert list(told.followed) == client.asked == ["demo://0", "demo://1"]
    assert caplog.text.count("changes of more than 2 resources are not followed") == 1


async def test_the_next_session_follows_what_one_that_ended_did() -> None:
    first, second = Fake(), Fake()
    async with running(first) as (it, told):
        it.follow("demo://a")
        await until(lambda: first.asked)
    async with running(second, told) as (it, _):
        it.follow("demo://a")
        await until(lambda: second.asked)
        await it.on_message(updated("demo://a"))
        await until(lambda: told.updates)


@pytest.mark.parametrize("prompts", [[{"name": "p"}], None, CallError("timeout", "no list")])
async def test_notices_that_come_unasked_are_told(
    prompts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(Fake(), prompts=prompts) as (it, told):
        for notice in (
            types.ToolListChangedNotification(),
            types.PromptListChangedNotification(),
            types.ResourceListChangedNotification(),
            ValueError("no notice"),
        ):
            await it.on_message(notice)
            it.on_change(notice)
        await until(lambda: told.events[2:])
        await it.on_message(types.PromptListChangedNotification())
        await until(lambda: told.events[3:])
        assert [each.server for each in told.events] == ["tools", "s", "s", "s"]
        assert told.prompts == (2 * prompts if isinstance(prompts, list) else [])
    fails = isinstance(prompts, CallError)
    assert caplog.text.count("cannot list the prompts again: no list") == fails


class Streams(Fake):
    """A client of 2026-07-28, whose streams end as they are told."""

    def __init__(self, *ends: Exception | None) -> None:
        super().__init__()
        self.protocol_version = "2026-07-28"
        self.ends = list(ends)

    @asynccontextmanager
    async def listen(self, resource_subscriptions: list[str]) -> AsyncIterator[Any]:
        self.asked += resource_subscriptions
        end = self.ends.pop(0)
        if isinstance(end, MCPError):
            raise end

        async def changes() -> AsyncIterator[ResourceUpdated]:
            yield ResourceUpdated(uri=resource_subscriptions[0])
            if end is not None:
                raise end

        yield changes()


async def test_a_stream_that_ends_is_opened_again_and_may_have_missed_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Streams(None, SubscriptionLost("lost"), METHOD_NOT_FOUND)
    async with running(client) as (it, told):
        it.follow("demo://a")
        await it.on_message(updated("demo://a"))  # the stream has told of it
        await until(lambda: not client.ends)
        await until(lambda: "cannot subscribe to a resource: no such method" in caplog.text)
        assert client.asked == ["demo://a"] * 3
        assert sum(e.times for e in told.events if isinstance(e, ServerResourceUpdated)) >= 2
