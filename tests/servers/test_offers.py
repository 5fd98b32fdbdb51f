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
