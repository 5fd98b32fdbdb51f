"""The pieces of `scripts/conformance` that need no suite."""

from __future__ import annotations

import runpy
import tomllib
from collections import Counter
from typing import Any

import pytest

from orchestrator import Orchestrator, Tool, Workflow
from tests.conformance.client import SERVER, config, plan
from tests.conftest import ON_ASYNCIO
from tests.real_servers import ROOT, program

SCRIPT = runpy.run_path(str(ROOT / "scripts" / "conformance"))
LISTING = """Client scenarios (test against a client):
  - initialize [2025-06-18,2025-11-25]
  - tools_call [2025-06-18,2025-11-25,2026-07-28]
  - auth/basic [2025-11-25,2026-07-28]
  - skills [extension]
"""


def tool(name: str, **types: str) -> Tool:
    properties = {name: {"type": kind} for name, kind in types.items()}
    return Tool(SERVER, name, {"properties": properties, "required": list(types)})


def arguments(workflow: dict[str, Any]) -> dict[str, Any]:
    Workflow.load(workflow)
    return {task["tool"]: task["arguments"] for task in workflow["tasks"]}


def verdict(passed: bool, **checks: int) -> Any:
    scenario = SCRIPT["Scenario"]("it", "2025-11-25")
    return SCRIPT["Verdict"](scenario, Counter(checks), passed, "")


def test_a_scenario_is_run_once_for_each_revision() -> None:
    found = [(each.name, each.revision) for each in SCRIPT["parse"](LISTING)]
    assert found == [
        ("initialize", "2025-11-25"),
        ("tools_call", "2025-11-25"),
        ("tools_call", "2026-07-28"),
        ("auth/basic", "2025-11-25"),
        ("auth/basic", "2026-07-28"),
        ("skills", "extension"),
    ]
    assert [each.name for each in SCRIPT["parse"](LISTING, "init")] == ["initialize"]


def test_servers_are_asked_what_needs_no_fixtures_of_the_suite() -> None:
    found = list(SCRIPT["of_servers"]("tools-list"))
    assert [(each.name, each.side) for each in found] == [("tools-list", "server")] * 2


def test_the_table_says_how_each_scenario_ended() -> None:
    verdicts = [
        verdict(True, SUCCESS=2, SKIPPED=1),
        verdict(True, SKIPPED=1),
        verdict(False, SUCCESS=1, FAILURE=3),
    ]
    _, _, *lines, _, total = SCRIPT["table"](verdicts).splitlines()
    assert [line.split()[3:] for line in lines] == [
        ["2", "0", "0", "1", "passed"],
        ["0", "0", "0", "1", "skipped"],
        ["1", "3", "0", "0", "FAILED"],
    ]
    assert total == "3 runs: 1 passed, 1 skipped, 1 FAILED"


def test_what_is_not_supported_is_listed_with_its_reason() -> None:
    scenario = SCRIPT["Scenario"]("auth/dpop", "extension")
    failed = SCRIPT["Verdict"](scenario, Counter(FAILURE=1), False, "")
    assert failed.word == "unsupported"
    *_, reason, total = SCRIPT["table"]([failed]).splitlines()
    assert reason.startswith("unsupported: auth/dpop: the SDK has no")
    assert total == "1 runs: 0 passed, 0 skipped, 0 FAILED, 1 unsupported"


def test_a_scenario_of_authorization_gets_what_an_operator_would_be_told() -> None:
    context = {"client_id": "me", "client_secret": "hush", "issuer": "https://is.example"}
    text = config("http://localhost:1/mcp", "auth/pre-registration", context)
    told = tomllib.loads(text)["servers"][SERVER]
    assert told["oauth"] == context
    assert (
        "oauth" not in tomllib.loads(config("http://localhost:1/mcp", "any", {}))["servers"][SERVER]
    )


def test_as_a_rule_all_tools_are_called_with_what_their_schemas_want() -> None:
    workflow, inputs = plan("any", {}, [tool("add", a="number", on="boolean"), tool("say", x="?")])
    assert arguments(workflow) == {
        "test:add": {"a": 2, "on": True},
        "test:say": {"x": "text"},
    }
    assert inputs == {}


def test_the_calls_of_a_context_are_made_as_they_are_given() -> None:
    calls = [{"name": "say", "arguments": {"x": None}}]
    workflow, _ = plan("any", {"toolCalls": calls}, [tool("say", x="string"), tool("add")])
    assert arguments(workflow) == {"test:say": {"x": None}}


def test_a_schema_is_sent_back_as_it_came() -> None:
    tools = [tool("json_schema_2020_12_tool", x="string"), tool("json_schema_echo")]
    workflow, inputs = plan("json-schema-2020-12-preservation", {}, tools)
    assert arguments(workflow) == {"test:json_schema_echo": {"schema": "$INPUT.schema"}}
    assert inputs == {"schema": tools[0].input_schema}


def test_tools_that_are_only_listed_are_not_called() -> None:
    assert plan("json-schema-ref-no-deref", {}, [tool("lookup")])[0]["tasks"] == []


@pytest.mark.slow
@pytest.mark.anyio
@ON_ASYNCIO
async def test_what_it_makes_runs() -> None:
    async with Orchestrator({SERVER: program("delay")}) as orchestrator:
        workflow, inputs = plan("any", {}, await orchestrator.tools(SERVER))
        assert (await orchestrator.run(workflow, inputs)).status == "success"
