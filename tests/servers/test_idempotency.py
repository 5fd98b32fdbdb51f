"""The idempotency key of a call: in its `_meta`, and as an argument where servers.toml says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from orchestrator import ConfigError, Orchestrator, Server
from orchestrator.errors import InvalidArgumentsError
from orchestrator.report.forecast import forecast
from orchestrator.report.plan_text import lines_of
from orchestrator.schema.notation import tool_text
from orchestrator.servers.config import ToolSettings
from orchestrator.servers.config_file import load_config
from orchestrator.servers.sdk_requests import IDEMPOTENCY_KEY
from orchestrator.workflow.model import Workflow

pytestmark = pytest.mark.anyio

WRITES = ToolAnnotations(read_only_hint=False, idempotent_hint=False, destructive_hint=True)


class Bank:
    """A server that notes the key of each payment, in `_meta` and as an argument."""

    def __init__(self) -> None:
        self.server = MCPServer("bank", log_level="WARNING")
        self.keys: list[tuple[Any, str]] = []
        self.refusals = 0

        @self.server.tool(annotations=WRITES)
        async def pay(amount: int, request_id: str, context: Context) -> dict[str, int]:
            meta = context.request_context.meta or {}
            self.keys.append((meta.get(IDEMPOTENCY_KEY), request_id))
            if self.refusals:
                self.refusals -= 1
                raise ToolError("try again")
            return {"amount": amount}

        @self.server.tool(annotations=WRITES)
        async def count(request_id: int) -> dict[str, int]:
            return {"n": request_id}

        @self.server.tool(annotations=WRITES)
        async def forget() -> dict[str, int]:
            return {"n": 0}

    def orchestrator(self, pattern: str = "pay", argument: str = "request_id") -> Orchestrator:
        tools = {pattern: ToolSettings(idempotency_argument=argument)}
        return Orchestrator({"bank": Server(target=self.server, tools=tools)})


def pay(task: str = "a", **more: Any) -> dict[str, Any]:
    return {"id": task, "tool": "bank:pay", "arguments": {"amount": 3}, **more}


async def test_each_call_has_a_key_that_is_the_same_in_all_its_attempts() -> None:
    bank = Bank()
    bank.refusals = 1
    tasks = [pay(retry={"max_attempts": 2, "initial_s": 0}, for_each=[1, 2]), pay("b")]
    async with bank.orchestrator() as orchestrator:
        result = await orchestrator.run({"tasks": tasks})
    assert result.status == "success"
    assert all(meta == argument for meta, argument in bank.keys)
    assert (len(bank.keys), len({meta for meta, _ in bank.keys})) == (4, 3)
    assert not any(result.run_id[:8] in meta or len(meta) != 36 for meta, _ in bank.keys)


async def test_the_author_may_give_a_key_and_the_key_in_meta_stays_ours() -> None:
    bank = Bank()
    tasks = [pay(arguments={"amount": 3, "request_id": "order-7"}), pay("b")]
    tasks.append(pay("c", arguments={"amount": 3, "request_id": None}))
    async with bank.orchestrator() as orchestrator:
        result = await orchestrator.run({"tasks": tasks})
    assert result.status == "success"
    ours = {argument for meta, argument in bank.keys if meta == argument}
    assert (len(ours), {argument for _, argument in bank.keys} - ours) == (2, {"order-7"})


async def test_a_single_call_has_a_key_of_its_own() -> None:
    bank = Bank()
    async with bank.orchestrator() as orchestrator:
        for _ in range(2):
            assert await orchestrator.call("bank:pay", {"amount": 1}) == {"amount": 1}
        with pytest.raises(InvalidArgumentsError, match=r"bank:pay\(amount: integer\)"):
            await orchestrator.call("bank:pay", {})
    assert len(set(bank.keys)) == 2
    assert all(meta == argument for meta, argument in bank.keys)


async def test_nobody_has_to_give_the_argument() -> None:
    second = pay("b", arguments={"amount": "$OUTPUT[a].amount"})
    workflow = Workflow.load({"name": "w", "tasks": [pay(retry=2), second]})
    async with Bank().orchestrator() as orchestrator:
        assert await orchestrator.check(workflow) == []
        (tool,) = [tool for tool in await orchestrator.tools("bank") if tool.name == "pay"]
        result = await orchestrator.dry_run({"tasks": [pay()]})
    assert result.status == "success"
    assert tool_text(tool) == "bank:pay(amount: integer) -> {[name]: integer}"
    assert (tool.is_safe, tool.idempotent) == (True, False)
    lines = list(lines_of(forecast(workflow, {tool.target: tool}, {})))
    assert any("idempotency keys: a (bank:pay, as request_id)" in line for line in lines)


async def test_without_the_setting_the_argument_is_missing() -> None:
    async with Orchestrator({"bank": Bank().server}) as orchestrator:
        found = await orchestrator.findings({"tasks": [pay(retry=2)]})
    assert [problem.code for problem in found] == ["missing_argument", "retry_of_a_writer"]


@pytest.mark.parametrize(
    ("tool", "argument", "said"),
    [
        ("pay", "request_idd", 'tool "bank:pay" has no argument "request_idd"'),
        ("count", "request_id", 'does not accept one as "request_id": expected integer'),
        ("forget", "request_id", 'tool "bank:forget" has no argument "request_id"'),
    ],
)
async def test_an_argument_that_cannot_take_a_key_is_a_finding(
    tool: str, argument: str, said: str
) -> None:
    bank = Bank()
    workflow = {"tasks": [pay(tool=f"bank:{tool}"), pay("b", tool=f"bank:{tool}")]}
    async with bank.orchestrator(tool, argument) as orchestrator:
        found = [each for each in await orchestrator.findings(workflow) if "key" in each.code]
    (problem,) = found
    assert (problem.code, problem.task, problem.severity) == ("wrong_key_argument", "a", "error")
    assert said in problem.message
    assert problem.hint == f'see idempotency_argument in [servers.bank.tools."{tool}"]'
    assert problem.alternatives == (("request_id",) if argument == "request_idd" else ())


async def test_a_pattern_is_about_the_tools_that_have_the_argument() -> None:
    bank = Bank()
    tasks = [pay(), {"id": "b", "tool": "bank:forget"}]
    async with bank.orchestrator("[pf]*") as orchestrator:
        assert (await orchestrator.run({"tasks": tasks})).status == "success"
        tools = {tool.name: tool for tool in await orchestrator.tools("bank")}
    assert (tools["pay"].is_safe, tools["forget"].is_safe) == (True, False)


def test_the_argument_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    table = '[servers.bank]\ncommand = "bank"\n[servers.bank.tools."pay"]\n'
    path.write_text(f'{table}idempotency_argument = "request_id"\n')
    assert load_config(path)["bank"].tools["pay"].idempotency_argument == "request_id"
    path.write_text(f'{table}idempotency_argument = ""\n')
    with pytest.raises(ConfigError, match="idempotency_argument"):
        load_config(path)
