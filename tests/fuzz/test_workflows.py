"""Random workflow files and expressions are refused or checked, and never end in a traceback."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from copy import deepcopy
from functools import partial
from typing import Any

import pytest

from orchestrator.check.checker import prove
from orchestrator.check.lint import warnings_of
from orchestrator.check.proof import proved
from orchestrator.client import Orchestrator
from orchestrator.errors import WorkflowError
from orchestrator.report.forecast import forecast
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow

FIRST = int(os.environ.get("FUZZ_FROM", "0"))
CASES = int(os.environ.get("FUZZ_CASES", "500"))
MADE = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"x": {}}}},
        "text": {"type": ["string", "null"]},
    },
    "required": ["n", "list"],
}
TAKEN = {"type": "object", "properties": {"n": {"type": "number"}, "text": {"type": "string"}}}
TOOLS = {
    f"s:{name}": Tool("s", name, TAKEN, output_schema=gives)
    for name, gives in [("t", MADE), ("free", None)]
}
PIECES = [
    "OUTPUT[a]", "OUTPUT.b", "OUTPUT", "STATUS[a]", "ERROR[b]", "ERROR", "INPUT.i", "INPUT", "ITEM",
    "INDEX", ".n", ".list", ".x", "[0]", "[*]", "[]", "[?", "]", "[0:5]", " | ", " == ", " && ",
    " || ", "!", "@", "&", "(", ")", "[@, @]", "{k: @}", "length(", "map(&", "sort_by(", "'5'",
    "`5`", "5", "null", "true", ",", "\"q\"", "['k']", "$", "é", "\x00", ".*", "-1", "to_string(",
]  # fmt: skip
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**400,
    "",
    "x",
    [],
    {},
    [[]],
    {"": {}},
    "$$",
    "$ITEM",
    "{{a}}",
]
FIELDS = [
    "arguments", "args", "when", "for_each", "fallback", "locks", "depends_on", "run_if", "retry",
    "timeout_s", "max_parallel", "critical", "argumets", "id", "tool",
]  # fmt: skip


def text(chance: random.Random) -> str:
    inner = "".join(chance.choices(PIECES, k=chance.randint(1, 7)))
    return chance.choice(["${%s}", "$%s", "%s", "a ${%s} b", "$$%s", "${%s"]) % inner


def value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if kind < 0.5:
        return text(chance)
    if kind < 0.7 or depth > 2:
        return chance.choice(VALUES)
    if kind < 0.85:
        return [value(chance, depth + 1) for _ in range(chance.randint(0, 2))]
    names = ["n", "text", "txet", "value", "tool", "arguments", text(chance)]
    return {chance.choice(names): value(chance, depth + 1) for _ in range(chance.randint(0, 3))}


def document(chance: random.Random) -> dict[str, Any]:
    tasks: list[Any] = []
    for name in "abc"[: chance.randint(1, 3)]:
        task: dict[str, Any] = {"id": name, "tool": chance.choice(["s:t", "s:free"])}
        task["arguments"] = {chance.choice(["n", "text", "nn"]): value(chance)}
        for _ in range(chance.randint(0, 2)):
            task[chance.choice(FIELDS)] = value(chance)
        if chance.random() < 0.3:
            task["when"] = text(chance)
        if chance.random() < 0.3:
            task["run_if"] = chance.choice(["all_done", "any_failed", "any_success"])
        tasks.append(task)
    made: dict[str, Any] = {"tasks": tasks, "inputs": {"i": {"default": chance.choice(VALUES[:5])}}}
    if chance.random() < 0.3:
        made["output"] = value(chance)
    if chance.random() < 0.1:
        made[chance.choice(["tasks", "inputs", "name", "schedule"])] = value(chance)
    return made


@pytest.mark.untraced
@pytest.mark.anyio
async def test_no_workflow_file_makes_a_command_raise() -> None:
    valid = 0
    async with Orchestrator({"s": "http://127.0.0.1:1/mcp"}) as orchestrator:
        for seed in range(FIRST, FIRST + CASES):
            data = document(random.Random(seed))
            try:
                workflow = Workflow.load(data)
            except WorkflowError as error:
                proved(error.problems, partial(deepcopy, data), TOOLS)
                continue
            valid += 1
            found = [*prove(workflow, TOOLS), *warnings_of(workflow, TOOLS)]
            assert len(proved(found, partial(deepcopy, data), TOOLS)) == len(found)
            forecast(workflow, TOOLS, {}, {}, {})
            with suppress(WorkflowError):  # such as an unknown server
                await orchestrator.dry_run(workflow, tools=TOOLS)
    assert valid > CASES / 40
