"""Secrets of the configuration: never in the file, and as they were where a run goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import JournalError, Orchestrator, Question, Server
from orchestrator.documents.encode import to_json
from orchestrator.engine.question import Reply
from orchestrator.journal.answers import answer, open_questions
from orchestrator.journal.hiding import Hiding, mask
from orchestrator.journal.history import find
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept import documents_of
from orchestrator.journal.location import Location
from orchestrator.servers.config import secrets_by_name
from orchestrator.ui.task import value
from orchestrator.ui.view import snapshot
from tests.journals import ask

SECRET = "hunter2secret"
TEXTS = st.text(st.sampled_from("\x1ab.#'\"\\né"), max_size=12)
READS = ToolAnnotations(read_only_hint=True)
FLOW: dict[str, Any] = {
    "inputs": {"x": {"type": "string"}},
    "tasks": [
        {"id": "first", "tool": "s:echo", "arguments": {"text": "$INPUT.x"}},
        {"id": "k", "ask": {"message": f"who has {SECRET}?", "schema": {"type": "string"}}},
        {
            "id": "all",
            "tool": "s:echo",
            "arguments": {"text": f"{SECRET} $INPUT.x $OUTPUT[first] $OUTPUT[k]"},
        },
    ],
}


class Echo:
    """A server that notes what it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.server = MCPServer("s", log_level="WARNING")

        @self.server.tool(annotations=READS)
        async def echo(text: str) -> str:
            self.given.append(text)
            return f"\x1as.env.API_KEY\x1a {text}"

        @self.server.tool(annotations=READS)
        async def fail(text: str) -> str:
            raise ToolError(f"no {text}")

    def orchestrator(
        self, journal: Location | Journal, answer: Any = None, **env: str
    ) -> Orchestrator:
        servers = {"s": Server(target=self.server, env=env)}
        return Orchestrator(servers, journal=journal, answer=answer)


def nobody(_: Question) -> None:
    """Leaves all questions for later."""


def held(journal: Location) -> str:
    """All that the journal has, as text."""
    rows = (ask(journal, f"select * from {table}") for table in ("run", "record", "memo"))
    return "\n".join(str(value) for each in rows for row in each for value in row)


@given(TEXTS, st.lists(TEXTS.filter(bool), max_size=3), TEXTS)
def test_what_was_hidden_comes_back_and_nothing_else(
    text: str, secrets: list[str], more: str
) -> None:
    hiding = Hiding({f"s.env.{number}": secret for number, secret in enumerate(secrets)})
    written = to_json({text: [more, 1, None], "more": more + "".join(secrets)})
    assert hiding.restore(hiding.hide(written)) == written
    if not secrets:
        assert mask(hiding.hide(written)) == written


def test_the_longest_secret_is_hidden_whole() -> None:
    hiding = Hiding({"a": "pass", "b": "ssword-1", "c": "pass"})
    assert mask(hiding.hide('["password-1 passes"]')) == '["pa*** ***es"]'


def test_a_secret_of_a_field_is_restored_by_the_name_of_the_field() -> None:
    def secrets(url: str, token: str, key: str) -> Hiding:
        server = Server(
            url=url, headers={"Authorization": f"Bearer {token}"}, env={"KEY": key}, tokens=(key,)
        )
        return Hiding(secrets_by_name({"s": server}))

    hidden = secrets("https://ann:pass1@x", "tok-123", "k-1234").hide(
        '["ann:pass1", "tok-123", "k-1234"]'
    )
    later = secrets("https://bob:pass2@x", "tok-456", "k-5678")
    assert json.loads(later.restore(hidden)) == ["bob:pass2", "tok-456", "k-5678"]


@pytest.mark.anyio
async def test_a_run_goes_on_with_its_secrets(journal: Location) -> None:
    echo = Echo()
    async with echo.orchestrator(journal, nobody, API_KEY=SECRET) as orchestrator:
        paused = await orchestrator.run(FLOW, {"x": f"in {SECRET}"})
        hiding = orchestrator.hiding
    assert [each.message for each in open_questions(journal, paused.run_id)] == ["who has ***?"]
    assert value(journal, find(journal, "last"), "", "arguments") == {"x": "in ***"}
    answer(journal, paused.run_id, "k", lambda _: Reply(f"said {SECRET}"), hiding)
    async with echo.orchestrator(journal, API_KEY=SECRET) as orchestrator:
        async with orchestrator.resume("last") as run:
            result = await run.execute()
        first = f"in {SECRET}"
        whole = f"{SECRET} {first} \x1as.env.API_KEY\x1a {first} said {SECRET}"
        assert echo.given == [first, whole]
        assert SECRET not in held(journal)
        async with orchestrator.retry("last", ["all"]) as run:
            await run.execute()
        async with orchestrator.fork("last", FLOW) as run:
            forked = await run.execute()
        assert echo.given[2:] == [whole]
        assert forked["all"].output == result["all"].output
    assert SECRET not in held(journal)
    shown = documents_of(journal, find(journal, "last").id).tasks["all"].output
    assert shown == f"\x1as.env.API_KEY\x1a {whole.replace(SECRET, '***')}"


@pytest.mark.anyio
async def test_what_is_watched_has_no_secrets(journal: Location) -> None:
    echo = Echo()
    failing = {"id": "a", "tool": "s:fail", "arguments": {"text": SECRET}}
    tasks = [failing, {"id": "b", "value": SECRET}]
    async with echo.orchestrator(journal, API_KEY=SECRET) as orchestrator:
        await orchestrator.run({"tasks": tasks, "output": {"b": "$OUTPUT[b]"}})
    run = find(journal, "last")
    assert snapshot(journal, run)["states"]["a"]["error"]["message"].endswith("no ***")
    assert value(journal, run, "", "output") == {"b": "***"}
    assert value(journal, run, "b", "output") == "***"


@pytest.mark.anyio
async def test_a_run_whose_secret_is_gone_is_refused(journal: Location) -> None:
    echo = Echo()
    async with echo.orchestrator(journal, nobody, API_KEY=SECRET) as orchestrator:
        await orchestrator.run(FLOW, {"x": "a"})
    async with echo.orchestrator(journal) as orchestrator:
        for begin in (orchestrator.resume, orchestrator.retry, orchestrator.fork):
            with pytest.raises(JournalError, match=r"s\.env\.API_KEY of servers\.toml"):
                async with begin("last"):
                    pass
    assert echo.given == ["a"]


@pytest.mark.anyio
async def test_a_fork_whose_origin_has_a_secret_that_is_gone_is_refused(journal: Location) -> None:
    echo = Echo()
    one = {"tasks": [{"id": "a", "value": SECRET}]}
    async with echo.orchestrator(journal, API_KEY=SECRET) as orchestrator:
        await orchestrator.run(one)
    async with echo.orchestrator(journal) as orchestrator:
        with pytest.raises(JournalError, match=r"s\.env\.API_KEY"):
            async with orchestrator.fork("last", {"tasks": [{"id": "b", "value": 1}]}):
                pass


@pytest.mark.anyio
async def test_without_outputs_no_inputs_are_kept(journal: Location) -> None:
    echo = Echo()
    async with echo.orchestrator(Journal(journal, outputs=False), nobody) as orchestrator:
        asked = {
            "id": "asked",
            "approve": True,
            "tool": "s:echo",
            "arguments": {"text": "$INPUT.x"},
        }
        flow = FLOW | {"tasks": [*FLOW["tasks"], asked]}
        result = await orchestrator.run(flow, {"x": "a secret of mine"})
    assert result.status == "paused"
    assert "a secret of mine" not in held(journal)
