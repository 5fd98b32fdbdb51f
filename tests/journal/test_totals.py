"""What the runs of a journal have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from orchestrator import Orchestrator, Server
from orchestrator.cli import main
from orchestrator.cli.parser import moment
from orchestrator.journal import totals as totals_module
from orchestrator.journal.location import Address, Location
from orchestrator.journal.totals import totals_of
from tests.journal.conftest import Put

Keep = Callable[..., None]
FLOW = {
    "name": "flow",
    "tasks": [
        {"id": "a", "tool": "s:t"},
        {"id": "b", "read": "u:x://y"},
        {"id": "c", "workflow": {"name": "in", "tasks": [{"id": "d", "tool": "s:t"}]}},
        {"id": "v", "value": 1},
    ],
}


@pytest.fixture
def keep(put: Put) -> Keep:
    """Keep a run that took so long, with records of the documents."""

    def kept(
        took_ms: float, records: dict[str, Any], status: str = "success", name: str = "flow"
    ) -> None:
        waited = {key: {"waited_ms": 2.0, **said} for key, said in records.items()}
        put(FLOW | {"name": name}, waited, took_ms, status)

    return kept


def test_runs_count_by_workflow_with_percentiles_that_were_measured(
    journal: Location, keep: Keep
) -> None:
    for number in range(1, 21):
        keep(number * 100.0, {}, "failed" if number == 20 else "success")
    keep(5.0, {}, "cancelled", "other")
    document = totals_of(journal).to_dict()
    first, second = document["workflows"]
    assert (first["workflow"], first["count"], first["success_rate"]) == ("flow", 20, 0.95)
    assert (first["p50_ms"], first["p95_ms"], first["total_ms"]) == (1000, 1900, 21_000)
    assert (second["workflow"], second["success_rate"]) == ("other", None)
    assert document["runs"]["ended"] == {"cancelled": 1, "failed": 1, "success": 19}
    assert totals_of(journal, since=21.0).runs.ended.total() == 1
    assert totals_of(journal, workflow="other").runs.ended == {"cancelled": 1}
    assert totals_of(journal, workflow="nope").to_dict()["runs"]["p50_ms"] is None


@pytest.mark.parametrize("few", [0, 10])
def test_calls_count_by_task_server_and_tool(
    journal: Location, keep: Keep, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(totals_module, "_FEW", few)
    keep(
        9.0,
        {
            "a": {"duration_ms": 30.0, "has_items": True, "attempts": 3},
            "a#0": {"duration_ms": 10.0, "attempts": 2},
            "a#1": {"duration_ms": 20.0, "recovered": True},
            "a#2": {"duration_ms": 0.0, "status": "skipped", "attempts": 0},
            "b": {"duration_ms": 7.0, "status": "error"},
            "c": {"duration_ms": 50.0, "has_items": True},
            "c[0]/d": {"duration_ms": 40.0, "cached": True},
            "c[1]/d": {"duration_ms": 45.0},
            "v": {"duration_ms": 0.0, "attempts": 0},
        },
    )
    found = totals_of(journal)
    assert found.tasks["flow", "a", "s:t"].to_dict()["p95_ms"] == 30.0
    assert found.tasks["flow", "c/d", "s:t"].ended == {"success": 2}
    assert found.tasks["flow", "v", ""].times_ms == []
    tool = found.tools["s:t"]
    assert (tool.ended, tool.attempts, tool.cached) == ({"success": 3, "error": 1}, 5, 1)
    assert sorted(tool.times_ms) == [10.0, 20.0, 45.0]
    assert found.servers["u"].to_dict()["success_rate"] == 0.0
    assert found.servers["u"].to_dict()["waited_p95_ms"] == 2.0
    names = [each["task"] for each in found.to_dict()["tasks"]]
    assert names == ["c", "c/d", "a", "b", "v"]


@pytest.mark.anyio
async def test_what_another_run_has_made_is_not_counted(journal: Location) -> None:
    made: list[int] = []
    server = MCPServer("s", log_level="WARNING")

    @server.tool()
    async def t(n: int = 0) -> int:
        made.append(n)
        if n == 2 and made.count(2) == 1:
            raise ToolError("not yet")
        return n

    each = {"id": "each", "tool": "s:t", "for_each": [1, 2], "arguments": {"n": "$ITEM"}}
    inner = {"id": "in", "workflow": {"tasks": [{"id": "d", "tool": "s:t"}]}}
    flow = {"tasks": [{"id": "a", "tool": "s:t"}, each, inner]}

    def calls() -> tuple[int, int, int]:
        found = totals_of(journal)
        of_tasks = sum(of.attempts for (_, _, tool), of in found.tasks.items() if tool)
        return len(made), found.tools["s:t"].attempts, of_tasks

    async with Orchestrator({"s": Server(target=server)}, journal=journal) as orchestrator:
        await orchestrator.run(flow)
        assert calls() == (4, 4, 4)
        async with orchestrator.retry("last") as run:
            await run.execute()
        assert calls() == (5, 5, 5)
        async with orchestrator.fork("last", flow) as run:
            assert (await run.execute()).status == "success"
        assert calls() == (5, 5, 5)
        assert await orchestrator.estimates(flow | {"name": "workflow"})


def test_the_command_prints_tables_or_json(
    journal: Location, keep: Keep, capsys: pytest.CaptureFixture[str]
) -> None:
    named = journal.url if isinstance(journal, Address) else str(journal)
    keep(4e6, {f"a{n}": {"duration_ms": 1.0} for n in range(25)} | {"a": {"duration_ms": 9.0}})
    keep(1.0, {}, "failed", "other")
    assert main(["stats", "--journal", named]) == 0
    out, err = capsys.readouterr()
    assert "1.1 h" in out
    assert "a (flow)" in out
    assert "50.0%" in out
    assert err == "and 6 more tasks (--json has all)\n\n"
    assert (
        main(
            [
                "stats",
                "--journal",
                named,
                "--json",
                "--since",
                "1970-01-01",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["runs"]["count"] == 2
    assert (
        main(
            [
                "stats",
                "--journal",
                named,
                "--since",
                "7d",
                "--workflow",
                "flow",
            ]
        )
        == 0
    )
    assert 'no run of a workflow "flow" has ended' in capsys.readouterr().err


def test_moments_are_dates_or_so_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    assert moment("1d") == 1_000_000.0 - 86_400
    assert moment("1970-01-02T00:00:00+00:00") == 86_400
    for wrong in ("soon", "-3d", "d", "", "2026-13-01"):
        with pytest.raises(Exception, match="expected a date such as 2026-01-31"):
            moment(wrong)
