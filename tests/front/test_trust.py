"""What an operator says of strangers holds for every way into a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import Orchestrator, Server, Workflow, WorkflowError
from orchestrator.errors import Problem
from orchestrator.schema.tool import Tool
from orchestrator.serve.toolset import Toolset
from orchestrator.servers.config import ServerTable, TrustedTask
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool

pytestmark = pytest.mark.anyio

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WORLD = ToolAnnotations(read_only_hint=True, open_world_hint=True)
DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True)


class World:
    """A server of strangers, and one that can do harm; what that was asked to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.web, self.files = MCPServer("web"), MCPServer("files")
        self.web.tool(annotations=READS)(self.page)
        self.web.tool(annotations=READS)(self.refuse)
        self.files.tool(annotations=READS)(self.size)
        self.files.tool(annotations=WORLD)(self.look_up)
        self.files.tool(annotations=DESTROYS)(self.delete)
        self.files.tool()(self.note)

    def page(self) -> str:
        return "/etc"

    def refuse(self) -> str:
        raise ToolError("/etc")

    def size(self, path: str) -> str:
        return f"{path}: {len(path)}"

    def look_up(self, word: str) -> str:
        self.done.append(word)
        return word

    def delete(self, path: str) -> bool:
        self.done.append(path)
        return True

    def note(self, text: str) -> bool:
        self.done.append(text)
        return True

    def table(self, web: Any = "untrusted", trusted: str = "", **files: Any) -> ServerTable:
        made = ServerTable(
            web=Server(name="web", target=self.web, trust=web),
            files=Server(name="files", target=self.files, **files),
        )
        if trusted:
            made.trusted = (TrustedTask(workflow="w", task=trusted, because="it is ours"),)
        return made


PAGE = {"id": "page", "tool": "web:page"}
SIZE = {"id": "size", "tool": "files:size", "arguments": {"path": "$OUTPUT[page]"}}
DELETE = {"id": "delete", "tool": "files:delete", "arguments": {"path": "$OUTPUT[size]"}}
FLOW: dict[str, Any] = {"name": "w", "tasks": [PAGE, SIZE, DELETE]}
WAY = "page -> size -> delete"


def flow_in(error: WorkflowError) -> Problem:
    [found] = error.problems
    assert (found.code, found.severity) == ("untrusted_flow", "error")
    return found


async def test_a_run_with_a_flow_does_not_begin() -> None:
    world = World()
    async with Orchestrator(world.table()) as orchestrator:
        for way in (orchestrator.run, orchestrator.check, orchestrator.prepare):
            with pytest.raises(WorkflowError) as caught:
                await way(FLOW)
            assert WAY in flow_in(caught.value).message
        fixed = {**FLOW, "tasks": [PAGE, SIZE, {**DELETE, "approve": True}]}
        result = await orchestrator.run(fixed)
        assert (result.status, world.done) == ("paused", [])
    async with Orchestrator(world.table("trusted")) as orchestrator:
        assert (await orchestrator.run(FLOW)).status == "success"
    assert world.done == ["/etc: 4"]


async def test_what_an_operator_approves_anyway_is_no_finding() -> None:
    for approve in (["del*"], "destructive"):
        world = World()
        async with Orchestrator(world.table(approve=approve), answer=lambda _: True) as engine:
            assert (await engine.run(FLOW)).status == "success"
        assert world.done == ["/etc: 4"]


async def test_a_sensitive_tool_is_found_before_any_server_starts() -> None:
    world, plan = World(), {"name": "w", "tasks": [PAGE, SIZE]}
    async with Orchestrator(world.table(sensitive=["s*"])) as orchestrator:
        with pytest.raises(WorkflowError) as caught:
            await orchestrator.run(plan)
        assert "files:size, which servers.toml lists as sensitive" in str(caught.value)
        assert orchestrator.known_tools() == {}


async def test_a_pattern_that_misses_its_tool_nearly_is_a_warning() -> None:
    words: dict[str, Any] = {"sensitive": ["delet", "note*"], "approve": ["lok_*"], "deny": ["zzz"]}
    flow = {"name": "w", "tasks": [{"id": "a", "tool": "files:size", "arguments": {"path": "p"}}]}
    async with Orchestrator(World().table(**words)) as orchestrator:
        found = [each for each in await orchestrator.check(flow) if each.code == "means_nothing"]
    assert [(each.message, each.alternatives, each.severity) for each in found] == [
        (
            'approve of server "files" in servers.toml: "lok_*" fits none of its tools',
            ("look_up",),
            "warning",
        ),
        (
            'sensitive of server "files" in servers.toml: "delet" fits none of its tools',
            ("delete",),
            "warning",
        ),
    ]


async def test_a_lock_says_what_a_tool_declares() -> None:
    world = World()
    async with Orchestrator(world.table()) as orchestrator:
        lock = Lockfile.made_of(await orchestrator.tools(), ["web", "files"])
    async with Orchestrator(world.table(), lock) as orchestrator:
        with pytest.raises(WorkflowError) as caught:
            await orchestrator.run(FLOW)
        assert WAY in flow_in(caught.value).message
        with pytest.raises(WorkflowError):
            await orchestrator.dry_run(FLOW)
        assert orchestrator.known_tools()["files"]["delete"].destructive
        assert not orchestrator._pool.usable("files")


async def test_a_tool_that_declares_nothing_is_a_warning() -> None:
    world = World()
    note = {"id": "note", "tool": "files:note", "arguments": {"text": "$OUTPUT[page]"}}
    async with Orchestrator(world.table()) as orchestrator:
        found = await orchestrator.check({"tasks": [PAGE, note]})
        assert [each.severity for each in found if each.code == "untrusted_flow"] == ["warning"]
        assert (await orchestrator.run({"tasks": [PAGE, note]})).status == "success"


async def test_the_operator_answers_for_tasks_by_the_name_of_the_workflow() -> None:
    world = World()
    async with Orchestrator(world.table(trusted="size")) as orchestrator:
        assert await orchestrator.check(FLOW) == []
        assert (await orchestrator.run(FLOW)).status == "success"
        with pytest.raises(WorkflowError):
            await orchestrator.run({**FLOW, "name": "other"})
    async with Orchestrator(world.table(trusted="sise")) as orchestrator:
        found = await orchestrator.findings(FLOW)
    assert [(each.code, each.severity) for each in found] == [
        ("untrusted_flow", "error"),
        ("means_nothing", "warning"),
    ]
    assert 'for task "sise" of this workflow, which it does not have' in found[1].message
    assert found[1].alternatives == ("size",)
    inner = {"name": "w", "tasks": [{"id": "in", "workflow": FLOW}]}
    async with Orchestrator(world.table(trusted="in/size")) as orchestrator:
        assert await orchestrator.check(inner) == []
        with pytest.raises(WorkflowError):
            await orchestrator.check(FLOW)


def test_a_workflow_cannot_trust_itself() -> None:
    for place in ({"trusted": {"task": "size"}}, {"tasks": [{**PAGE, "trust": "trusted"}]}):
        with pytest.raises(WorkflowError) as caught:
            Workflow.load({**FLOW, **place})
        [found] = caught.value.problems
        assert found.code == "unknown_field"
        assert found.hint.startswith("who is trusted is for the operator to say, in servers.toml")


async def test_each_task_of_a_plan_that_grows_is_followed() -> None:
    world = World()
    async with (
        Orchestrator(world.table(trusted="delete")) as orchestrator,
        orchestrator.open({"name": "w"}) as run,
    ):
        await run.add(PAGE)
        await run.add(SIZE)
        with pytest.raises(WorkflowError) as caught:
            await run.add(DELETE)
        found = flow_in(caught.value)
        assert (found.path, found.task) == ("/arguments/path", "delete")
        assert WAY in found.message
        await run.add({**DELETE, "arguments": {"path": "/tmp"}})
        run.complete_with({"finally": [{**DELETE, "id": "last"}]})
        with pytest.raises(WorkflowError) as caught:
            await run.close()
        assert "page -> size -> last" in str(caught.value)
    assert world.done in ([], ["/tmp"])


async def test_a_run_that_is_taken_up_is_followed_as_a_new_one(tmp_path: Path) -> None:
    world, journal = World(), tmp_path / "runs.db"
    ask = {"id": "ask", "ask": {"message": "Go on?"}}
    last = {**DELETE, "id": "last", "run_if": "all_done"}
    plan = {**FLOW, "tasks": [PAGE, SIZE, ask], "finally": [last]}
    async with Orchestrator(world.table("trusted"), journal=journal) as orchestrator:
        assert (await orchestrator.run(plan)).status == "paused"
    async with Orchestrator(world.table(), journal=journal) as orchestrator:
        for way in (orchestrator.resume, orchestrator.retry, orchestrator.fork):
            with pytest.raises(WorkflowError) as caught:
                async with way("last") as run:
                    await run.execute()
            assert "page -> size -> last" in flow_in(caught.value).message
        result = await orchestrator.end("last")
    assert result.status == "cancelled"
    assert result["last"].error is not None
    assert result["last"].error.kind == "protocol_error"
    assert world.done == []


async def test_serve_refuses_the_plan_of_a_model_by_any_name() -> None:
    world = World()
    async with Orchestrator(world.table(trusted="size")) as orchestrator:
        toolset = Toolset(orchestrator)
        for name in ("parallel_execute", "validate_plan"):
            answer = await toolset.call(name, {"tasks": FLOW["tasks"]})
            [found] = answer.document["findings"]
            assert (answer.document["status"], found["code"]) == ("invalid", "untrusted_flow")
            answer = await toolset.call(name, FLOW)
            [found] = answer.document["findings"]
            assert (found["code"], found["path"]) == ("wrong_value", "/name")
    assert world.done == []


async def test_a_resource_whose_uri_a_stranger_can_write_is_a_warning() -> None:
    world = World()
    read = {"id": "read", "read": "files:file://$OUTPUT[page]"}
    async with Orchestrator(world.table(approve=["*"])) as orchestrator:
        plan = {"tasks": [{**PAGE, "fallback": {"tool": "nobody:x"}}, read]}
        found = await orchestrator.findings(plan)
        assert [each.code for each in found] == ["unknown_server", "untrusted_flow"]
        assert found[1].severity == "warning"
        result = await orchestrator.run({"tasks": [PAGE, read]})
    assert result["read"].error is not None  # there is none, says the server
    assert "words of strangers" not in result["read"].error.message


Change = Callable[[ServerPool], None]


def no_tools(pool: ServerPool) -> None:
    pool.catalog.replace("files", [])


def harmless(pool: ServerPool) -> None:
    tools = [Tool("files", name, {"type": "object"}, read_only=True) for name in ("delete", "size")]
    pool.catalog.replace("files", tools)


@pytest.mark.parametrize("known_then", [no_tools, harmless])
async def test_a_call_is_refused_whose_tool_was_harmless_when_the_plan_was_checked(
    known_then: Change,
) -> None:
    world = World()
    async with Orchestrator(world.table()) as orchestrator:
        pool = orchestrator._pool
        await orchestrator.learn()
        real = tuple(pool.catalog.listed("files").values())
        harmless(pool)
        async with orchestrator.begin(FLOW) as run:
            known_then(pool)
            pool.until_usable = _listing(pool, real)  # type: ignore[method-assign]
            if known_then is harmless:
                pool.catalog.replace("files", real)
            result = await run.execute()
    error = result["delete"].error
    assert error is not None
    assert error.kind == "protocol_error"
    assert error.message == (
        "words of strangers would reach files:delete, which declares itself destructive "
        "(destructiveHint)"
    )
    assert world.done == []


def _listing(pool: ServerPool, tools: tuple[Tool, ...]) -> Any:
    async def until_usable(server: str) -> None:
        pool.catalog.replace(server, tools)

    return until_usable
