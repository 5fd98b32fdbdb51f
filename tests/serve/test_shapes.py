"""What tools say that they give: every answer that is no error fits it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.schema.as_schema import as_schema
from orchestrator.schema.types import (
    INTEGER,
    TEXT,
    ArrayType,
    LiteralType,
    ObjectType,
    SchemaType,
    StaticType,
    TupleType,
    UnknownType,
    either,
)
from orchestrator.schema.validator import Validator
from orchestrator.serve.shapes import output_schema
from tests.serve.test_toolset import opened, task

ROOT = {
    "$defs": {"tree": {"type": "object", "properties": {"below": {"$ref": "#/$defs/tree"}}}},
    "$ref": "#/$defs/tree",
}
TREE = SchemaType({"$ref": "#/$defs/tree"}, ROOT)


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (LiteralType(3), {"const": 3}),
        (UnknownType("?"), {}),
        (UnknownType("?", frozenset({"string", "null"})), {"type": ["null", "string"]}),
        (ArrayType(TEXT), {"type": "array", "items": {"type": "string"}}),
        (either([TEXT, INTEGER]), {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (either([TEXT, UnknownType("?")]), {}),
        (TupleType((TEXT, TEXT)), {"type": "array", "items": {"type": "string"}, "minItems": 2}),
        (SchemaType(True, True), {}),
        (SchemaType(False, False), {"not": {}}),
        (SchemaType({"$ref": "#/x"}, {"$id": "urn:x", "x": {}}), {}),
    ],
)
def test_types_are_schemas(type_: StaticType, schema: dict[str, Any]) -> None:
    assert as_schema(type_) == schema


def test_references_lead_to_the_same_places() -> None:
    schema = as_schema(ObjectType({"a": TREE, "b": TREE}))
    assert len(schema["$defs"]) == 1
    validator = Validator(schema)
    assert not validator.unusable
    assert validator.fits({"a": {"below": {"below": {}}}, "b": {}})
    assert not validator.fits({"a": {"below": {"below": 3}}, "b": {}})


def test_what_became_of_a_run_fits_too() -> None:
    schema = output_schema(ObjectType({"status": INTEGER, "path": TEXT}))
    assert schema is not None
    validator = Validator(schema)
    assert validator.fits({"status": 3, "path": "a"})
    assert validator.fits({"run_id": "1", "status": "paused"})
    assert not validator.fits({"status": 3, "path": 4})
    assert not validator.fits({"path": "a"})
    forms = SchemaType({"type": "object", "minProperties": 1}, {})
    assert (output_schema(forms) or {})["anyOf"][0] == {"type": "object", "minProperties": 1}
    assert output_schema(UnknownType("?")) is None
    assert output_schema(either([TEXT, ObjectType({})])) is None
    wrapped = output_schema(ArrayType(TEXT)) or {}
    assert wrapped["properties"] == {"result": {"type": "array", "items": {"type": "string"}}}


@pytest.mark.anyio
async def test_a_saved_workflow_says_what_it_gives(tmp_path: Path) -> None:
    tasks = [task("a", "double", n=1), task("r", "rows", count=100)]
    for name, output in {"object": {"n": "$OUTPUT[a].n"}, "list": "$OUTPUT[r]"}.items():
        flow = {"tasks": tasks, "output": output}
        (tmp_path / f"{name}.json").write_text(json.dumps(flow))
    ask = {"id": "a", "ask": {"message": "Well?"}}
    (tmp_path / "asks.json").write_text(json.dumps({"tasks": [ask], "output": {"a": "$OUTPUT[a]"}}))
    async with opened(tmp_path, workflows=tmp_path, max_inline_kb=2, single_tools=True) as toolset:
        tools = {tool.name: tool.output_schema for tool in await toolset.tools()}
        assert list(tools)[:3] == ["asks", "list", "object"]
        for name in ("object", "list", "asks"):
            answer = await toolset.call(name)
            schema = tools[name]
            assert schema is not None
            assert schema["type"] == "object"
            assert Validator(schema).fits(answer.document)
        assert (await toolset.call("object")).document == {"n": 2}
        assert (await toolset.call("list")).document["summarised"]
        paused = (await toolset.call("asks")).document
        assert paused["questions"][0]["message"] == "Well?"
        done = await toolset.go_on("asks", paused["run_id"], [{"task": "a", "value": True}])
        assert done.document == {"a": True}
        assert Validator(tools["mock__rows"] or {}).fits({"result": []})
        again = await toolset.go_on("mock__rows", paused["run_id"], [{"task": "a", "value": True}])
        assert again.is_error
