"""A run that another process carries, told as events."""

from __future__ import annotations

import anyio
import pytest
from anyio import to_thread
from mcp.server.mcpserver import Context, MCPServer

from orchestrator import Orchestrator
from orchestrator.engine.events import Event, ItemSettled, TaskProgress, TaskSettled
from orchestrator.errors import UnknownRunError
from orchestrator.journal.following import Following
from orchestrator.journal.location import Address
from orchestrator.workflow.model import Workflow

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """A database is the same for all event loops."""
    return "asyncio"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits a second."""
    monkeypatch.setattr("orchestrator.durable.BEAT_S", 0.01)
    monkeypatch.setattr("orchestrator.journal.postgres_session.BEAT_S", 0.01)


async def test_what_happens_in_a_run_is_told_once_by_whoever_follows_it(database: Address) -> None:
    mcp, go = MCPServer("s"), anyio.Event()

    @mcp.tool()
    async def work(n: int, context: Context) -> int:
        await context.report_progress(n, 9, "on the way")
        await go.wait()
        return n

    each = {"for_each": [1, 2, 3], "tool": "s:work", "arguments": {"n": "$ITEM"}}
    flow = Workflow.load(
        {
            "name": "w",
            "tasks": [
                {"id": "v", "value": 1},
                {"id": "bad", "value": "${divide(1, 0)}"},
                {"id": "loop", **each, "max_parallel": 2},
                {"id": "q", "ask": {"message": "well?"}},
                {"id": "late", "when": False, "depends_on": ["loop"], "value": 1},
            ],
            "finally": [{"id": "last", "value": 1}],
        }
    )
    told: list[Event] = []
    told_here: list[Event] = []  # tools tell their progress where somebody listens
    async with Orchestrator({"s": mcp}, journal=database) as orchestrator:
        run_id = await orchestrator.queue(flow)
        following = Following(database, run_id, flow, told.append)
        assert (await to_thread.run_sync(following.look)).status == "queued"
        assert told == []

        async def look_until(name: str, count: int = 1) -> None:
            with anyio.fail_after(30):
                while [each.name for each in told].count(name) < count:
                    await to_thread.run_sync(following.look)
                    await anyio.sleep(0.02)

        async with (
            orchestrator.resume(run_id, observers=[told_here.append]) as run,
            anyio.create_task_group() as group,
        ):
            group.start_soon(run.execute)
            await look_until("task_progress", 2)
            await look_until("question_asked")
            go.set()
        known = await to_thread.run_sync(following.look)
        assert known.status == "paused"
        assert run.result is not None
        following.end(run.result)
    kinds = [each.name for each in told]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_settled"
    counts = {name: kinds.count(name) for name in ("items_started", "question_asked")}
    assert counts == {"items_started": 1, "question_asked": 1}
    said = [each for each in told if isinstance(each, TaskProgress)]
    assert [(each.task, each.total, each.message) for each in said[:1]] == [
        ("loop", 9.0, "on the way")
    ]
    items = [each for each in told if isinstance(each, ItemSettled)]
    assert sorted((each.item, each.result.status) for each in items) == [
        (n, "success") for n in range(3)
    ]
    settled = {each.task: each.result for each in told if isinstance(each, TaskSettled)}
    assert (settled["v"].status, settled["loop"].status) == ("success", "success")
    assert settled["bad"].error is not None
    assert (settled["late"].status, settled["late"].attempts) == ("skipped", 0)


async def test_a_run_that_is_deleted_is_unknown(database: Address) -> None:
    flow = Workflow.load({"name": "w", "tasks": [{"id": "v", "value": 1}]})
    async with Orchestrator({}, journal=database) as orchestrator:
        await orchestrator.queue(flow)
    with pytest.raises(UnknownRunError):
        Following(database, "0" * 32, flow, lambda _: None).look()
