"""What a server lists besides tools, from a client that is scripted."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from mcp import MCPError, types
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from orchestrator import Orchestrator
from orchestrator.errors import CallError
from orchestrator.servers.config import Server
from orchestrator.servers.offers import Offers
from orchestrator.transport.stderr import StderrTail

pytestmark = pytest.mark.anyio


class Page(BaseModel):
    prompts: list[dict[str, Any]]
    next_cursor: str | None = None


def offers(answer: Any, timeout_s: float = 30.0) -> Offers:
    """Of a server whose list of prompts is what a function of the cursor gives."""

    async def list_prompts(params: types.PaginatedRequestParams) -> Any:
        made = answer(params.cursor)
        return await made if hasattr(made, "__await__") else made

    session = SimpleNamespace(
        list_prompts=list_prompts, list_resources=None, list_resource_templates=None
    )
    has = SimpleNamespace(tools=True, prompts=True, resources=None)
    client: Any = SimpleNamespace(session=session, server_capabilities=has)
    return Offers(client, Server(name="s", command="x", timeout_s=timeout_s), StderrTail())


def fail(error: Exception) -> Any:
    def answer(_: str | None) -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    ("about", "version"), [(None, ""), (types.Implementation(name="s", version="1.2"), "1.2")]
)
def test_a_server_may_say_its_version(about: types.Implementation | None, version: str) -> None:
    client: Any = SimpleNamespace(server_info=about)
    assert Offers(client, Server(name="s", command="x"), StderrTail()).version == version


async def test_the_version_of_a_server_is_known_when_it_is_ready() -> None:
    server = MCPServer("s", version="1.2")
    async with Orchestrator({"s": server, "plain": MCPServer("plain")}) as orchestrator:
        await orchestrator.learn()
        assert orchestrator._pool.catalog.versions["s"] == "1.2"


async def test_all_pages_are_read_until_a_cursor_comes_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pages = {None: Page(prompts=[{"name": "a"}], next_cursor="1")}
    pages["1"] = Page(prompts=[{"name": "b"}], next_cursor="1")  # type: ignore[index]
    with caplog.at_level(logging.WARNING), anyio.fail_after(30):
        found = await offers(pages.__getitem__).of("prompts")
    assert found == [{"name": "a"}, {"name": "b"}]
    assert 'server "s": its list of prompts repeats the cursor "1"' in caplog.text


async def test_a_list_has_a_bound_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orchestrator.servers.offers.MAX_ENTRIES", 3)

    def page(cursor: str | None) -> Page:
        number = int(cursor or 0)
        return Page(prompts=[{"name": f"{number}"}] * 2, next_cursor=str(number + 1))

    with caplog.at_level(logging.WARNING), anyio.fail_after(30):
        assert len(await offers(page).of("prompts") or ()) == 3
    assert "lists more than 3 prompts; only the first ones are used" in caplog.text


async def test_a_capability_that_is_absent_is_none_and_an_unknown_method_is_empty() -> None:
    with anyio.fail_after(30):
        assert await offers(fail(AssertionError())).of("resources") is None
        unknown = MCPError(types.METHOD_NOT_FOUND, "no")
        assert await offers(fail(unknown)).of("prompts") == []


@pytest.mark.parametrize(
    ("answer", "timeout_s", "kind", "said"),
    [
        (fail(MCPError(-32000, "broken")), 30.0, "protocol_error", "answered with error -32000"),
        (
            lambda _: Page.model_validate({}),
            30.0,
            "protocol_error",
            "sent no valid list of prompts",
        ),
        (lambda _: anyio.sleep_forever(), 0.001, "timeout", "did not list its prompts within"),
    ],
)
async def test_a_list_that_fails_is_an_error_of_its_server(
    answer: Any, timeout_s: float, kind: str, said: str
) -> None:
    with anyio.fail_after(30), pytest.raises(CallError, match=said) as caught:
        await offers(answer, timeout_s).of("prompts")
    assert (caught.value.kind, caught.value.error.details["server"]) == (kind, "s")


def completing(answer: Any, has: bool = True) -> Offers:
    """Of a server that proposes values as a function gives them."""

    async def complete(ref: Any, argument: Any, context: Any) -> Any:
        made = answer(ref, argument, context)
        made = await made if hasattr(made, "__await__") else made
        return types.CompleteResult(completion=types.Completion(values=made))

    client: Any = SimpleNamespace(
        session=SimpleNamespace(complete=complete),
        server_capabilities=SimpleNamespace(completions=True if has else None),
    )
    return Offers(client, Server(name="s", command="x", timeout_s=0.01), StderrTail())


async def test_values_are_proposed_for_prompts_and_templates() -> None:
    def answer(ref: Any, argument: Any, context: Any) -> list[str]:
        return [ref.type, getattr(ref, "name", None) or ref.uri, str(argument), str(context)]

    it = completing(answer)
    about = "{'name': 'a', 'value': 'v'}"
    found = await it.complete("prompt", "p", "a", "v", {})
    assert found == ["ref/prompt", "p", about, "None"]
    found = await it.complete("read", "x://{a}", "a", "v", {"b": "c"})
    assert found == ["ref/resource", "x://{a}", about, "{'b': 'c'}"]
    assert await completing(answer, has=False).complete("prompt", "p", "a", "v", {}) == []


def refused(error: Any) -> Any:
    def answer(*_: Any) -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda *_: anyio.sleep_forever(), 'proposed no values of "a" in time'),
        (refused(MCPError(-32000, "broken")), "answered with error -32000: broken"),
        (lambda *_: types.Completion.model_validate({}), 'sent no valid values of "a"'),
    ],
)
async def test_values_that_do_not_come_are_an_error(answer: Any, said: str) -> None:
    with anyio.fail_after(30), pytest.raises(CallError, match=said):
        await completing(answer).complete("prompt", "p", "a", "", {})


async def test_a_server_that_proposes_nothing_is_no_error() -> None:
    unknown = completing(refused(MCPError(types.METHOD_NOT_FOUND, "no")))
    assert await unknown.complete("prompt", "p", "a", "", {}) == []
    many = completing(lambda *_: [str(number) for number in range(100)])
    assert len(await many.complete("prompt", "p", "a", "", {})) == 100
