"""A plan that grows is kept: what was added survives, and can be taken up again."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer

from orchestrator import JournalError, Orchestrator
from orchestrator.growing import GrowingRun
from orchestrator.journal.history import runs
from orchestrator.journal.kept import documents_of

pytestmark = pytest.mark.anyio
A = {"id": "a", "tool": "s:number", "arguments": {"x": 1}}
B = {"id": "b", "tool": "s:number", "arguments": {"x": "$OUTPUT[a]"}}
ASK = {"id": "ask", "ask": {"message": "Go on?"}, "depends_on": ["a"]}
C = {"id": "c", "tool": "s:number", "arguments": {"x": 7}, "depends_on": ["ask"]}


@pytest.fixture
def called() -> list[int]:
    return []


@pytest.fixture
def servers(called: list[int]) -> dict[str, Any]:
    mcp = MCPServer("s")

    @mcp.tool()
    async def number(x: int) -> int:
        called.append(x)
        return x + 1

    return {"s": mcp}


async def settled(run: GrowingRun, *tasks: str) -> None:
    """Wait until tasks have settled, and that is kept."""
    while not {*tasks} <= run.run._settled.results.keys():
        await anyio.sleep(0)
    assert run._kept is not None
    await run._kept._writer.flush()


async def left_by_a_crash(
    servers: Any, journal: Path, hold: Any = None, tasks: Any = (A, ASK, C)
) -> Path:
    """The file that a process leaves which ends at once while a plan is being written."""
    left = journal.with_name("left.db")
    async with (
        Orchestrator(servers, journal=journal) as orchestrator,
        orchestrator.open({"name": "w"}, hold=hold) as run,
    ):
        for task in tasks:
            await run.add(task)
        await settled(run, *([] if hold or not tasks else ["a"]))
        with sqlite3.connect(journal) as db, sqlite3.connect(left) as copy:
            db.backup(copy)
    return left


async def test_a_plan_that_became_complete_is_kept_as_one_that_was_whole(
    servers: Any, tmp_path: Path, called: list[int]
) -> None:
    path = tmp_path / "runs.db"
    async with Orchestrator(servers, journal=path) as orchestrator:
        async with orchestrator.open({"name": "w", "output": "$OUTPUT[b]"}) as run:
            await run.add(A)
            await run.add(B)
            grown = await run.close()
        (known,) = runs(path)
        assert (known.id, known.workflow, known.status) == (grown.run_id, "w", "success")
        kept = documents_of(path, known.id)
        assert kept.request["workflow"] == run.run.workflow.to_dict(whole=True)
        assert [each["id"] for each in kept.request["workflow"]["tasks"]] == ["a", "b"]
        assert not kept.records.added()
        async with orchestrator.retry("last", alone=["b"]) as again:
            assert (await again.execute()).output == 3
    assert called == [1, 2, 2]


async def test_what_was_added_before_a_crash_is_run_to_its_end(
    servers: Any, tmp_path: Path, called: list[int]
) -> None:
    left = await left_by_a_crash(servers, tmp_path / "runs.db")
    assert called == [1]
    async with Orchestrator(servers, journal=left, answer=lambda _: True) as orchestrator:
        (known,) = runs(left)
        assert known.status == "interrupted"
        async with orchestrator.resume("last") as run:
            result = await run.execute()
    assert (result.status, list(result.tasks)) == ("success", ["a", "ask", "c"])
    assert called == [1, 7]


async def test_what_was_to_wait_for_the_whole_plan_is_not_made_without_it(
    servers: Any, tmp_path: Path, called: list[int]
) -> None:
    left = await left_by_a_crash(servers, tmp_path / "runs.db", "writes", [A])
    async with Orchestrator(servers, journal=left) as orchestrator:
        for begin in (orchestrator.resume, orchestrator.retry, orchestrator.fork):
            with pytest.raises(JournalError, match="did not become complete") as raised:
                async with begin("last"):
                    pass
        assert "--file FILE" in str(raised.value)
        ended = await orchestrator.end("last")
        assert (ended.status, called) == ("cancelled", [])
        async with orchestrator.fork("last", {"tasks": [A, B]}) as run:
            assert (await run.execute()).output == {"b": 3}


async def test_a_run_that_was_killed_before_its_first_task_can_be_cancelled(
    servers: Any, tmp_path: Path
) -> None:
    left = await left_by_a_crash(servers, tmp_path / "runs.db", tasks=())
    async with Orchestrator(servers, journal=left) as orchestrator:
        with pytest.raises(JournalError, match="has no tasks"):
            async with orchestrator.resume("last"):
                pass
        ended = await orchestrator.end("last")
    assert (ended.status, dict(ended.tasks)) == ("cancelled", {})
    assert runs(left)[0].status == "cancelled"


async def test_a_lost_plan_can_be_retried(servers: Any, tmp_path: Path, called: list[int]) -> None:
    path = tmp_path / "runs.db"
    async with Orchestrator(servers, journal=path, answer=lambda _: True) as orchestrator:
        async with orchestrator.open({"name": "w"}) as run:
            await run.add(A)
            await run.add(B)
            await settled(run, "a", "b")
        (known,) = runs(path)
        assert known.status == "cancelled"
        with pytest.raises(JournalError, match="has ended with status cancelled"):
            async with orchestrator.resume("last"):
                pass
        async with orchestrator.retry("last") as again:
            assert (await again.execute()).output == {"b": 3}
    assert called == [1, 2]


async def test_a_question_does_not_pause_a_plan_that_still_grows(
    servers: Any, tmp_path: Path
) -> None:
    async with Orchestrator(servers, journal=tmp_path / "runs.db") as orchestrator:
        async with orchestrator.open({"name": "w"}) as run:
            await run.add({"id": "ask", "ask": {"message": "Go on?"}})
            while not run.run.questions:
                await anyio.sleep(0)
            assert not run.run._questions.is_idle()
            await run.add({"id": "b", "value": "$OUTPUT[ask]"})
            paused = await run.close()
        assert paused.status == "paused"
        async with orchestrator.resume("last", wait=True) as again:
            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(_answer, again)
                    assert (await again.execute()).output == {"b": True}


async def _answer(run: Any) -> None:
    while not run.questions:
        await anyio.sleep(0)
    run.answer("ask", True)
