"""A call is authorized immediately before it is made, whatever the plan knew of its server."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import CallError, Orchestrator, Server, WorkflowError
from orchestrator.calls.call import Call
from orchestrator.cli import main
from orchestrator.engine.events import Event
from orchestrator.schema.tool import Tool
from orchestrator.servers.catalog import Catalog
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.supervisor import Supervisor
from tests.servers.test_supervisor import (
    FOREVER,
    FakeSession,
    Script,
    anyio_backend,
    call,
    opened,
    script,
)

__all__ = ["anyio_backend", "script"]
pytestmark = pytest.mark.anyio


async def refusal(pool: ServerPool, tool: str = "echo") -> str:
    with pytest.raises(CallError) as caught:
        await pool.call(Call("t", "it", tool, {}))
    assert (caught.value.kind, caught.value.error.retryable) == ("protocol_error", False)
    return str(caught.value)


async def test_a_denied_tool_of_a_server_that_starts_late_is_not_called(script: Script) -> None:
    async with opened(script, (0, None), (0, FOREVER), deny=["echo"]) as pool:
        await anyio.sleep(11)  # the circuit is half-open
        assert 'does not allow tool "it:echo"' in await refusal(pool)
        assert script.starts == [0]  # the name alone is denied: nothing was started for it
        await pool.open(["it"])
        assert 'does not allow tool "it:echo"' in await refusal(pool)
    assert script.calls == []


async def test_a_tool_that_a_server_that_starts_late_does_not_list_is_not_called(
    script: Script,
) -> None:
    async with opened(script, (0, None), (0, FOREVER), allow=["e*", "hidden"]) as pool:
        await anyio.sleep(11)
        said = await refusal(pool, "hidden")
        assert said == 'unknown tool "it:hidden" (tools of server "it": echo)'
        assert 'does not allow tool "it:other"' in await refusal(pool, "other")
        assert await call(pool) == 1
    assert [session for _, session in script.calls] == [1]


async def test_a_tool_that_is_gone_is_not_called_until_it_is_listed_again(script: Script) -> None:
    async with opened(script, (0, FOREVER)) as pool:
        supervisor = pool._supervisors["it"]
        assert isinstance(supervisor, Supervisor)
        [session] = supervisor._sessions
        assert isinstance(session, FakeSession)
        echo = session.tools
        session.tools = [Tool("it", "other", {})]
        session.listener.on_tools(session)
        assert await refusal(pool) == 'unknown tool "it:echo" (tools of server "it": other)'
        session.tools = echo
        session.listener.on_tools(session)
        assert await call(pool) == 0


async def test_a_call_that_is_made_again_is_authorized_again(script: Script) -> None:
    async with opened(script, (0, FOREVER)) as pool:
        script.refuse, script.tools = 1, ["other"]
        assert 'unknown tool "it:echo"' in await refusal(pool)
    assert [session for _, session in script.calls] == [0]


async def test_a_locked_tool_of_a_server_that_starts_late_has_to_be_as_locked(
    script: Script,
) -> None:
    lock = Lockfile.made_of([Tool("it", "echo", {"type": "object"})])
    async with ServerPool({"it": Server(command="it")}, lock) as pool:
        script.rows = [(0, None), (0, FOREVER)]
        await pool.open(["it"])
        await anyio.sleep(11)
        assert 'tool "it:echo" differs from servers.lock' in await refusal(pool)
    assert script.calls == []


async def test_calls_of_unknown_tools_take_turns_as_those_of_writers_do(script: Script) -> None:
    """The tools are unknown when the calls are made, and may turn out to write."""
    script.rows = [(0, None), (0, FOREVER)]
    retry = {"max_attempts": 2, "initial_s": 11, "jitter": 0}
    task = {"tool": "it:echo", "arguments": {"s": 1}, "retry": retry}
    began_at = anyio.current_time()
    async with Orchestrator({"it": Server(command="it")}) as orchestrator:
        result = await orchestrator.run({"tasks": [{"id": "a", **task}, {"id": "b", **task}]})
    assert result.status == "success"
    assert anyio.current_time() - began_at == 11 + 2


@pytest.mark.parametrize("locked", [False, True])
async def test_denied_names_are_refused_before_a_program_starts(
    script: Script, *, locked: bool
) -> None:
    events: list[Event] = []
    server = Server(name="it", command="it", deny=["dan*"])
    lock = Lockfile.made_of([Tool("it", "danger", {})]) if locked else None
    tasks = [
        {"id": "a", "tool": "it:danger"},
        {"id": "b", "tool": "it:echo", "fallback": {"tool": "it:dance"}},
    ]
    async with Orchestrator({"it": server}, lock, observers=[events.append]) as orchestrator:
        for work in (orchestrator.run, orchestrator.dry_run, orchestrator.check):
            with pytest.raises(WorkflowError) as caught:
                await work({"tasks": tasks})
            denied = [each for each in caught.value.problems if each.code == "denied_tool"]
            assert [each.text for each in denied] == ["danger", "dance"]
            if work != orchestrator.check or locked:
                assert script.starts == []
        script.starts.clear()
        with pytest.raises(WorkflowError, match='does not allow tool "it:danger"'):
            await orchestrator.call("it:danger")
    assert script.starts == []
    assert events == []


def test_denied_names_are_found_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "servers.toml").write_text('[servers.it]\ncommand = "x"\nallow = ["search"]\n')
    (tmp_path / "flow.json").write_text(json.dumps({"tasks": [{"id": "a", "tool": "it:serach"}]}))
    options = ["--offline", "--servers", str(tmp_path / "servers.toml")]
    assert main(["validate", str(tmp_path / "flow.json"), *options]) == 2
    err = capsys.readouterr().err
    assert 'the configuration does not allow tool "it:serach". Did you mean "search"?' in err


def test_two_tools_of_one_name_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    catalog = Catalog({"it": Server(name="it", command="it")})
    tools = [Tool("it", "a", {}), Tool("it", "b", {}), Tool("it", "a", {"type": "object"})]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            catalog.replace("it", tools)
    assert catalog.tools("it")["a"].input_schema == {"type": "object"}
    [said] = caplog.messages
    assert said == 'its server lists 2 tools named "it:a"; only the last one is used'


LISTED = Tool("it", "echo", {"type": "object"})


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"command": "npx", "args": ["good@1.0.0"]}, {"command": "npx", "args": ["evil@1.0.0"]}),
        ({"command": "good"}, {"command": "evil"}),
        ({"command": "good"}, {"url": "https://example.com/mcp"}),
        ({"url": "https://example.com/mcp"}, {"url": "https://example.org/mcp"}),
    ],
)
async def test_a_lock_refuses_another_program_under_the_same_name(
    script: Script, before: dict[str, Any], now: dict[str, Any]
) -> None:
    locked = Lockfile.made_of([LISTED], started_with={"it": Server(**before).description})
    workflow = {"tasks": [{"id": "a", "tool": "it:echo"}]}
    async with Orchestrator({"it": Server(name="it", **now)}, locked) as orchestrator:
        for work in (orchestrator.run(workflow), orchestrator.call("it:echo")):
            with pytest.raises(WorkflowError) as caught:
                await work
            [problem] = caught.value.problems
            assert problem.code == "server_not_locked"
            assert Server(**before).description in problem.message
            assert Server(**now).description in problem.message
            assert problem.hint == "if that is intended: orchestrator lock --update it"
        [warning, *unpinned] = await orchestrator.check(workflow)
        assert all(each.code == "unpinned_package" for each in unpinned)
        assert (warning.code, warning.severity) == ("server_not_locked", "warning")
    assert script.starts == []


async def test_a_lock_without_commands_or_with_another_secret_accepts_the_server(
    script: Script,
) -> None:
    script.rows, workflow = [(0, FOREVER)], {"tasks": [{"id": "a", "tool": "it:echo"}]}
    tool = Tool("it", "echo", {})
    server = Server(name="it", command="it", args=["--token", "new secret"])
    old = Server(command="it", args=["--token", "old secret"])
    for started_with in ({}, {"it": old.description}):
        lock = Lockfile.made_of([tool], started_with=started_with)
        async with Orchestrator({"it": server}, lock) as orchestrator:
            assert (await orchestrator.run(workflow)).status == "success"


def test_lock_shows_another_command_and_accepts_it_with_an_update(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers, lock = tmp_path / "servers.toml", tmp_path / "servers.lock"
    config = '[servers.it]\ncommand = "python"\nargs = ["-m", "mock_servers.bare"'
    servers.write_text(config + "]\n")
    options = ["--servers", str(servers)]
    assert main(["lock", *options]) == 0
    assert '"startedWith": "python -m mock_servers.bare"' in lock.read_text()
    servers.write_text(config + ', "--key", "${HOME}"]\n')
    capsys.readouterr()
    assert main(["lock", "--check", *options]) == 2
    out = capsys.readouterr().out
    assert "it: server changed\n  - python -m mock_servers.bare\n  + python -m mock_" in out
    assert "1 server changed; nothing was written" in out
    assert main(["lock", "--update", *options]) == 0
    assert "1 server changed, accepted" in capsys.readouterr().out
    assert main(["lock", "--check", *options]) == 0
