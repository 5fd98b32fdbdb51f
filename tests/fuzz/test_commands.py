"""Random workflow files through the commands: what one of them says holds for the others."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.server.lowlevel import Server as LowLevelServer
from mcp_types import CallToolResult, ListToolsResult, TextContent
from mcp_types import Tool as McpTool

from orchestrator.cli import main
from orchestrator.documents.encode import to_json
from orchestrator.errors import WorkflowError
from orchestrator.servers import config_file
from orchestrator.servers.config import Server
from orchestrator.workflow.model import Workflow
from tests.fuzz.test_workflows import CASES, FIRST, TOOLS, document

# One of so many cases goes through the commands, and fewer of those that do not load.
SHARE, NOT_LOADING = 8, 25
PLAN, DRY, REAL = ("plan",), ("run", "--dry-run", "--quiet"), ("run", "--quiet")
TARGETS = ["s:t", "s:free"]
VALUES: list[Any] = [None, 3, "3", "x", True, [1], {"x": 1}, "${`5`}", "${'5'}", "$$x"]
# What a task may read of the task `a` before it.
READ = [
    "$OUTPUT[a]", "$OUTPUT[a].n", "$OUTPUT[a].text", "$OUTPUT[a].list", "$OUTPUT[a].list[0]",
    "$OUTPUT[a].list[0].x", "$OUTPUT[a].nn", "$OUTPUT[a].n.m", "$ERROR[a]", "$ERROR[a].message",
    "${OUTPUT[a]}", "${OUTPUT[a].nn}", "${OUTPUT[a].list[*].x}", "${OUTPUT[a].list[?x].x}",
    "${length(OUTPUT[a].list)}", "${length(OUTPUT[a].n)}", "${OUTPUT[a].n > `2`}",
    "${OUTPUT[a].text || 'none'}", "${STATUS[a]}", "${STATUS[a] == 'success'}",
    "${ERROR[a].kind}", "${OUTPUT[a].list | [0].x}", "${to_number(OUTPUT[a].text)}",
    "${sort_by(OUTPUT[a].list, &x)}", "${not_null(OUTPUT[a].text, OUTPUT[a].n)}",
    "${{n: OUTPUT[a].n}}", "${[OUTPUT[a].n, 'x']}", "is $OUTPUT[a].n", "${join(',', OUTPUT[a].n)}",
]  # fmt: skip
ANSWER = {"n": 3, "list": [{"x": "5"}, {"x": None}], "text": None}


class Commands:
    """The commands on one workflow file, with a server in this process."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self.servers = directory / "w.json", directory / "servers.toml"
        self.servers.write_text("[servers.s]\ncommand = 'unused'\n")
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, Any]:
        """The exit code, and the document on stdout."""
        command, *options = words
        code = main([command, str(self.file), "--servers", str(self.servers), "--json", *options])
        printed = self._capsys.readouterr().out
        return code, json.loads(printed)


async def list_tools(*_: Any) -> ListToolsResult:
    tools = [
        McpTool(name=tool.name, input_schema=tool.input_schema, output_schema=tool.output_schema)
        for tool in TOOLS.values()
    ]
    return ListToolsResult(tools=tools)


async def call_tool(_: Any, params: Any) -> CallToolResult:
    if params.name == "t":
        return CallToolResult(content=[], structured_content=ANSWER)
    return CallToolResult(content=[TextContent(type="text", text="[1, 2]")])


@pytest.fixture
def commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Commands:
    target = LowLevelServer("s", on_list_tools=list_tools, on_call_tool=call_tool)
    server = Server(name="s", target=target)
    monkeypatch.setattr(config_file, "load_config", lambda *_, **__: {"s": server})
    return Commands(tmp_path, capsys)


def unfailed(errors: list[dict[str, Any]], result: dict[str, Any]) -> Iterator[str]:
    """The errors found beforehand whose part of the workflow was reached, and did not fail."""
    for error in errors:
        task = result["tasks"].get(error["task"])
        if task is None:  # the output, in which a task without one may be null
            states = {task["status"] for task in result["tasks"].values()}
            held = result["error"] is not None or states != {"success"}
        elif "/fallback/" in error["path"]:
            held = task["error"] is None or task["status"] != "success"
        else:
            held = task["error"] is not None or task["status"] in ("skipped", "cancelled")
            held = held or task.get("items") == []
        if not held:
            yield f"{error['path']}: {error['message']}"


def likely(chance: random.Random) -> dict[str, Any]:
    """A workflow that loads, and is wrong only in what it does with types, if anywhere."""
    tasks: list[dict[str, Any]] = []
    for name in "abc":
        values = [*VALUES, *(text.replace("a", before["id"]) for before in tasks for text in READ)]

        def pick(values: list[Any] = values) -> Any:
            return chance.choice(values)

        names = chance.choices(["n", "text", "txt"], [5, 5, 1], k=chance.randint(0, 2))
        task = {"id": name, "tool": pick(TARGETS), "arguments": {key: pick() for key in names}}
        if chance.random() < 0.3:
            task["for_each"] = pick([[], [1, "2"], *(each for each in values if is_text(each))])
            task["arguments"]["n"] = pick(["$ITEM", "$INDEX", "$ITEM.x", "${ITEM.x}"])
        if chance.random() < 0.3:
            when = pick([each for each in values if is_text(each)])
            task["when"] = when[2:-1] if when.startswith("${") else when
        if chance.random() < 0.3:
            task["run_if"] = pick(["all_done", "any_failed", "any_success"])
        if chance.random() < 0.3:
            task["fallback"] = {"value": pick()}
        elif chance.random() < 0.2:
            task["fallback"] = {"tool": pick(TARGETS), "arguments": {"n": pick()}}
        tasks.append(task)
    return {"tasks": tasks, "output": pick(), "on_error": pick(["continue", "fail_fast"])}


def is_text(value: Any) -> bool:
    return isinstance(value, str) and "$" in value


def judged(commands: Commands, data: dict[str, Any], loads: bool) -> tuple[int, ...]:
    """The exit codes of a workflow file through the commands; asserts that they agree."""
    commands.file.write_text(to_json(data))
    code, checked = commands.run("validate")
    errors = checked["problems"]
    assert code == (2 if errors else 0)
    if not loads:
        assert errors
        assert [commands.run(*words)[0] for words in (PLAN, DRY, REAL)] == [2, 2, 2]
        return ()
    assert commands.run(*PLAN)[0] == 0
    dry, rehearsed = commands.run(*DRY)
    real, result = commands.run(*REAL)
    if 2 in (dry, real):  # refused before the run, such as for an unknown server
        assert (code, dry, real) == (2, 2, 2)
        return code, dry, real
    for ended, made in ((dry, rehearsed), (real, result)):
        states = {task["status"] for task in made["tasks"].values()}
        assert ended == (1 if made["error"] or "error" in states else 0)
    assert list(unfailed(errors, result)) == []
    return code, dry, real


def test_what_validate_calls_an_error_fails_and_exit_codes_agree(commands: Commands) -> None:
    codes = Counter[tuple[int, ...]]()
    faults: list[str] = []
    for seed in range(FIRST, FIRST + CASES, SHARE):
        chance = random.Random(seed)
        data = document(chance) if seed % (2 * SHARE) else likely(chance)
        loads = True
        try:
            Workflow.load(data)
        except WorkflowError:
            if seed % (NOT_LOADING * SHARE):
                continue
            loads = False
        try:
            codes[judged(commands, data, loads)] += 1
        except Exception as error:
            faults.append(f"seed {seed}: {error!r}: {to_json(data)}")
    assert faults == []
    assert {each[0] for each in codes if each} == {0, 2}
