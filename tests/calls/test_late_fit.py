"""Calls of a server that starts only for them: they are fitted once their tool is known."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow
from tests.fakes import failing
from tests.servers.test_supervisor import FOREVER, Script, anyio_backend, opened, script

__all__ = ["anyio_backend", "script"]
pytestmark = pytest.mark.anyio

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Late:
    """A caller whose server lists its tools with the first call, as the pool's may."""

    def __init__(self) -> None:
        self.tools: dict[str, Tool] = {}
        self.sent: list[dict[str, Any]] = []

    async def __call__(self, call: Call, attempt: Attempt) -> Any:
        if call.server == "up":
            return "3"
        if call.tool == "broken":
            raise failing()
        self.tools = self.tools or {"it:echo": Tool("it", "echo", NUMBER)}
        if attempt.fit is not None:
            call = attempt.fit(call)
        self.sent.append(call.arguments)
        return call.arguments


class Live(dict[str, Tool]):
    """The tools that a `Late` knows by now."""

    def __init__(self, late: Late) -> None:
        super().__init__()
        self.late = late

    def get(self, name: str, default: Any = None) -> Any:
        return self.late.tools.get(name, default)

    def __getitem__(self, name: str) -> Tool:
        return self.late.tools[name]


async def run(value: Any, **fields: Any) -> tuple[Any, Late]:
    task = {"id": "b", "tool": "it:echo", "arguments": {"n": value}, **fields}
    late = Late()
    plan = Workflow.load({"tasks": [{"id": "a", "tool": "up:a"}, task]})
    result = await Run(plan, late, servers=Servers(tools=Live(late))).execute()
    return result["b"], late


@pytest.mark.parametrize(
    ("value", "fields", "sent"),
    [
        ("$OUTPUT[a]", {}, [{"n": 3}]),
        ("$OUTPUT[a]", {"retry": 2}, [{"n": 3}]),
        ("$ITEM", {"for_each": ["1", "2"]}, [{"n": 1}, {"n": 2}]),
        (
            "${OUTPUT[a]}",
            {
                "tool": "it:broken",
                "fallback": {"tool": "it:echo", "arguments": {"n": "$OUTPUT[a]"}},
            },
            [{"n": 3}],
        ),
    ],
)
async def test_arguments_are_converted_as_soon_as_the_tool_is_known(
    value: str, fields: dict[str, Any], sent: list[Any]
) -> None:
    task, late = await run(value, **fields)
    assert (task.status, sorted(late.sent, key=str)) == ("success", sent)


async def test_arguments_that_do_not_fit_a_late_tool_are_not_sent_and_not_retried() -> None:
    task, late = await run("many", retry=3)
    assert task.error is not None
    assert (task.error.kind, task.attempts, late.sent) == ("invalid_arguments", 1, [])
    assert 'expected integer, got string "many" at .n' in task.error.message


async def test_the_pool_fits_a_call_when_its_server_has_started(script: Script) -> None:
    known: list[list[str]] = []
    async with opened(script, (0, None), (0, FOREVER)) as pool:
        await anyio.sleep(11)  # the circuit is half-open

        def fit(call: Call) -> Call:
            known.append(list(pool.catalog.tools("it")))
            return call._replace(task="fitted")

        await pool.call(Call("t", "it", "echo", {}), Attempt(fit=fit))
        assert known == [["echo"]]
        script.refuse = 1
        await pool.call(Call("t", "it", "echo", {}), Attempt(fit=fit))
    assert [task for task, _ in script.calls] == ["fitted"] * 3
