"""An `Orchestrator` that different tasks open and close."""

from __future__ import annotations

import ast
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Task, Workflow, WorkflowError
from orchestrator.owner import Owned
from orchestrator.servers import config
from orchestrator.workflow import model, task
from tests.front.test_client import DOUBLED, make_server

pytestmark = pytest.mark.anyio
TIMEOUT_S = 30


async def test_one_task_starts_it_a_second_uses_it_and_a_third_closes_it() -> None:
    orchestrator = Orchestrator({"mock": make_server()})
    with anyio.fail_after(TIMEOUT_S):
        for _ in range(2):  # it can be opened again
            async with anyio.create_task_group() as group:
                group.start_soon(orchestrator.start)
            async with anyio.create_task_group() as group:
                group.start_soon(orchestrator.run, DOUBLED)
            result = await orchestrator.run(DOUBLED)
            assert result.status == "success"
            async with anyio.create_task_group() as group:
                group.start_soon(orchestrator.aclose)
            await orchestrator.aclose()  # twice is no error
            with pytest.raises(RuntimeError, match="async with Orchestrator"):
                await orchestrator.run(DOUBLED)


async def test_the_block_is_entered_and_left_in_different_tasks() -> None:
    orchestrator = Orchestrator({"mock": make_server()})
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(orchestrator.__aenter__)
        assert (await orchestrator.run(DOUBLED)).status == "success"
        async with anyio.create_task_group() as group:
            group.start_soon(orchestrator.__aexit__, None, None, None)
    assert not orchestrator.is_open


async def test_a_run_under_way_ends_when_another_task_closes_it() -> None:
    orchestrator = Orchestrator({"mock": make_server()})
    waiting = Workflow(tasks=[Task(id="a", tool="mock:wait_for_ever")])
    with anyio.fail_after(TIMEOUT_S):
        await orchestrator.start()
        began = anyio.Event()

        async def close() -> None:
            await began.wait()
            await orchestrator.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            result = await orchestrator.run(waiting, observers=[lambda _: began.set()])
    assert result.status == "failed"


async def test_it_is_closed_although_the_task_that_closes_it_is_cancelled() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        log.append("open")
        try:
            yield
        finally:
            await anyio.lowlevel.checkpoint()
            log.append("closed")

    owned = Owned(held())
    with anyio.CancelScope() as scope:
        async with owned:
            scope.cancel()
            await anyio.sleep_forever()
    assert log == ["open", "closed"]


async def test_what_opening_raises_is_raised_where_it_is_opened() -> None:
    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        raise ValueError("no")
        yield

    owned = Owned(held())
    with pytest.raises(ValueError, match="no"):
        await owned.start()
    assert not owned.is_open


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "a"}, '/tool: missing field "tool"'),
        ({"id": "a", "tool": "s:t", "wen": True}, 'unknown field "wen". Did you mean "when"?'),
        ({"id": "a b", "tool": "s:t"}, 'got "a b"'),
        ({"id": "a", "tool": "s:t", "timeout_s": -1}, "/timeout_s: expected more than 0, got -1"),
        ({"id": "a", "tool": "s:t", "fallback": {}}, "/fallback: expected"),
    ],
)
def test_a_task_alone_raises_an_error_of_ours(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        Task(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize("module", [model, task, config], ids=lambda module: module.__name__)
def test_type_checkers_see_which_fields_have_a_default(module: object) -> None:
    """They know `Field(default=...)`; a default by position makes the field required."""
    source = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call)]
    fields = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Field"]
    assert fields
    assert not [call.lineno for call in fields if call.args]
