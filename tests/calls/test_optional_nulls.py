"""Null for an optional argument: it is left out, as the checker assumes."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.check.checker import prove
from orchestrator.engine.events import TaskStarted
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller

INTEGER: dict[str, Any] = {"type": "integer"}


def tool(optional: Any, **more: Any) -> Tool:
    properties = {"n": INTEGER, "x": optional}
    return Tool(
        "fake", "b", {"type": "object", "properties": properties, "required": ["n"], **more}
    )


def plan(arguments: dict[str, Any]) -> Workflow:
    tasks = [{"id": "a", "tool": "fake:a"}, {"id": "b", "tool": "fake:b", "arguments": arguments}]
    return Workflow.load({"inputs": {"i": {}}, "tasks": tasks})


async def sent(
    optional: Any, value: Any, output: Any = None, **more: Any
) -> tuple[Any, list[tuple[str, str, str]], list[str]]:
    """What is sent, or the error; what the event says was changed; and the errors beforehand."""
    known, loaded = tool(optional, **more), plan({"n": 1, "x": value})
    events: list[Any] = []
    caller = ScriptedCaller({"a": [(0, output)]})
    servers = Servers(tools={"fake:b": known})
    run = Run(loaded, caller, servers=servers, inputs={"i": None}, observers=[events.append])
    result = await run.execute()
    started = [e for e in events if isinstance(e, TaskStarted) and e.task == "b"]
    changes = [(c.path, c.given, c.wanted) for event in started for c in event.conversions]
    found = [p.message for p in prove(loaded, {"fake:b": known}) if p.severity == "error"]
    error = result["b"].error
    return (result["b"].output if error is None else error.kind), changes, found


@pytest.mark.anyio
@pytest.mark.parametrize(
    "value", [None, "$OUTPUT[a].x", "${not_null(OUTPUT[a].x)}", "$INPUT.i", "${`null`}"]
)
async def test_null_for_an_optional_argument_is_left_out_and_the_event_says_so(value: Any) -> None:
    found = await sent({"type": "string"}, value, {"x": None})
    assert found == ({"n": 1}, [(".x", "null", "absent")], [])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "optional",
    [
        {"type": "boolean"},
        {"enum": ["a", "b"]},
        {"const": 1},
        {"anyOf": [{"type": "integer"}, {"type": "array"}]},
        {"type": "integer", "default": 3},
        {"$ref": "#/$defs/whole"},
    ],
)
async def test_whatever_schema_excludes_null(optional: Any) -> None:
    found = await sent(optional, "$INPUT.i", **{"$defs": {"whole": INTEGER}})
    assert found == ({"n": 1}, [(".x", "null", "absent")], [])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "optional",
    [
        {},
        True,
        {"type": ["string", "null"]},
        {"type": "string", "nullable": True},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"enum": ["a", None]},
    ],
)
async def test_null_is_sent_where_the_argument_accepts_it(optional: Any) -> None:
    assert await sent(optional, "$INPUT.i") == ({"n": 1, "x": None}, [], [])


@pytest.mark.anyio
async def test_null_for_a_required_argument_is_an_error_before_and_in_the_run() -> None:
    for more in ({"required": ["n", "x"]}, {"required": ["n", "x"], "type": ["object", "array"]}):
        outcome, changes, found = await sent(INTEGER, None, **more)
        assert (outcome, changes) == ("invalid_arguments", [])
        assert found == ["fake:b: expected integer, got null at .x"]


@pytest.mark.anyio
async def test_null_below_an_argument_and_for_an_unknown_one_stays_an_error() -> None:
    below = {"type": "object", "properties": {"y": INTEGER}}
    outcome, _, found = await sent(below, {"y": None})
    assert (outcome, found) == ("invalid_arguments", ["fake:b: expected integer, got null at .x.y"])
    closed = {"properties": {"n": INTEGER}, "additionalProperties": False}
    outcome, _, found = await sent({}, None, **closed)
    assert (outcome, found) == ("invalid_arguments", ['fake:b: unexpected argument "x"'])


@pytest.mark.anyio
async def test_other_mistakes_are_still_reported_and_the_file_is_not_changed() -> None:
    loaded = plan({"n": "many", "x": None})
    servers = Servers(tools={"fake:b": tool(INTEGER)})
    error = (await Run(loaded, ScriptedCaller(), servers=servers).execute())["b"].error
    assert error is not None
    assert [each["path"] for each in error.details["errors"]] == [".n"]
    assert loaded.to_dict()["tasks"][1]["arguments"] == {"n": "many", "x": None}


@pytest.mark.parametrize(
    ("may_be", "messages"),
    [
        ({"type": ["integer", "null"]}, []),
        ({"anyOf": [INTEGER, {"type": "null"}]}, []),
        ({"enum": [1, None]}, []),
        ({"enum": ["a", None]}, ['fake:b: expected integer, may be string "a"']),
        ({"type": ["boolean", "null"]}, ["fake:b: expected integer, may be boolean"]),
        ({"type": ["integer", "boolean", "null"]}, ["fake:b: expected integer, may be boolean"]),
    ],
)
def test_an_output_that_may_be_null_fits_an_optional_argument(
    may_be: Any, messages: list[str]
) -> None:
    made = {"type": "object", "properties": {"v": may_be}, "required": ["v"]}
    gives = Tool("fake", "a", {"type": "object"}, output_schema=made)
    found = prove(
        plan({"n": "$INPUT.i", "x": "$OUTPUT[a].v"}), {"fake:a": gives, "fake:b": tool(INTEGER)}
    )
    assert [
        each.message.partition(" from")[0] for each in found if each.severity != "note"
    ] == messages
