"""The inputs of a run: their schemas, their defaults, and what was given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.documents.pointer import replace_op
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.defaults import MAX_FILLED
from orchestrator.schema.types import schema_type
from orchestrator.workflow.inputs import check_schema, complete_inputs, parse_value


def problems(schema: Any) -> list[Problem]:
    return list(check_schema(schema, ("inputs", "x")))


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"type": "string"},
        {"type": "string", "default": "a"},
        {"default": None},
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}, "default": 5},
        {"type": "array", "items": {"type": "string"}, "default": ["Paris"]},
        {"$ref": "https://json-schema.org/draft/2020-12/schema", "default": {"type": "string"}},
    ],
)
def test_a_good_schema_has_no_problem(schema: Any) -> None:
    assert problems(schema) == []


def deep(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"type": "strin"}, "/inputs/x/type", 'invalid JSON Schema: expected one of "array", '),
        (
            {"pattern": "["},
            "/inputs/x/pattern",
            'invalid JSON Schema: expected a regular expression, got "["',
        ),
        ({"minimum": "1"}, "/inputs/x/minimum", 'expected number, got string "1"'),
        ({"enum": ["a" * 500] * 2, "type": 5}, "/inputs/x/type", "invalid JSON Schema"),
        (deep(2000), "/inputs/x", "invalid JSON Schema: the schema is nested too deep"),
        (
            {"type": "integer", "default": "5"},
            "/inputs/x/default",
            'the default does not fit its schema: expected integer, got string "5"',
        ),
        (
            {"items": {"type": "integer"}, "default": [1, "a"]},
            "/inputs/x/default/1",
            'the default does not fit its schema: expected integer, got string "a" at [1]',
        ),
        (
            {"properties": {"a": {}}, "required": ["a"], "default": {}},
            "/inputs/x/default",
            'the default does not fit its schema: missing property "a"',
        ),
        (
            {"properties": {}, "additionalProperties": False, "default": {"a": 1}},
            "/inputs/x/default/a",
            'the default does not fit its schema: unexpected property "a"',
        ),
        ({"$ref": "#/nowhere"}, "/inputs/x", "cannot resolve references: Pointer '/nowhere'"),
        ({"$ref": "http://127.0.0.1:9/x", "default": 1}, "/inputs/x", "http://127.0.0.1:9/x"),
        ({"$ref": "#", "default": 1}, "/inputs/x", "a $ref leads in circles"),
        ({"maxLength": 1, "default": "a" * 500}, "/inputs/x/default", "..."),
    ],
)
def test_a_bad_schema_or_default_is_a_problem(schema: Any, path: str, message: str) -> None:
    (problem,) = problems(schema)
    assert problem.path == path
    assert message in problem.message
    assert len(problem.message) < 300


def test_a_misspelt_type_is_answered_with_the_nearest() -> None:
    [problem] = problems({"type": "strin"})
    assert problem.alternatives == ("string",)
    assert problem.replacement == (replace_op("/inputs/x/type", "string"),)
    assert problems({"type": "txt"})[0].replacement == ()
    assert problems({"minimum": "number"})[0].alternatives == ()


DECLARED: Mapping[str, Any] = {
    "city": {"type": "string"},
    "count": {"type": "integer", "default": 3},
    "any": True,
}


def test_what_was_not_given_has_its_default() -> None:
    given = {"city": "Rome", "any": [1]}
    assert complete_inputs(DECLARED, given, "plan") == {"city": "Rome", "count": 3, "any": [1]}
    assert complete_inputs({}, {}, "plan") == {}


def test_all_that_is_wrong_with_the_inputs_is_said_at_once() -> None:
    with pytest.raises(WorkflowError) as caught:
        complete_inputs(DECLARED, {"citi": "Rome", "count": "3"}, "plan.json")
    assert caught.value.source == "plan.json"
    assert [(p.code, p.path, p.alternatives) for p in caught.value.problems] == [
        ("unknown_input", "/inputs", ("city",)),
        ("missing_input", "/inputs/city", ()),
        ("wrong_input", "/inputs/count", ()),
        ("missing_input", "/inputs/any", ()),
    ]
    text = str(caught.value)
    assert 'the value of "count" does not fit its schema: expected integer, got string "3"' in text
    assert 'set it with --input city=..., in Python with inputs={"city": ...}' in text


def test_a_plan_can_do_without_inputs_but_not_with_unknown_ones() -> None:
    assert complete_inputs(DECLARED, {"any": 1}, "plan", may_miss=True) == {"any": 1, "count": 3}
    with pytest.raises(WorkflowError) as caught:
        complete_inputs(DECLARED, {"cty": 4}, "plan.json", may_miss=True)
    [problem] = caught.value.problems
    assert (problem.code, problem.alternatives) == ("unknown_input", ("city",))


def test_an_input_for_a_workflow_without_any_is_unknown() -> None:
    with pytest.raises(WorkflowError, match="the workflow has no inputs"):
        complete_inputs({}, {"x": 1}, "plan")


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("5", None, 5),
        ("5", {}, 5),
        ("5", True, 5),
        ("text", None, "text"),
        ('"5"', None, "5"),
        ("[1]", {"type": "array"}, [1]),
        ("5", {"type": "string"}, "5"),
        ('"5"', {"type": "string"}, '"5"'),
        ("null", {"type": "string"}, "null"),
        ("null", {"type": ["string", "null"]}, None),
        ("5", {"type": ["string", "null"]}, "5"),
        ("5", {"enum": ["4", "5"]}, "5"),
        ("5", {"anyOf": [{"type": "string"}, {"type": "array"}]}, "5"),
        ("[5]", {"anyOf": [{"type": "string"}, {"type": "array"}]}, [5]),
        ("5", {"type": ["string", "number"]}, 5),
        ("5", {"type": "boolean"}, 5),
        ("NaN", {"type": "number"}, "NaN"),
        ("1e999", None, "1e999"),
        ("", None, ""),
        ("[" * 100_000, None, "[" * 100_000),
    ],
)
def test_a_value_of_the_command_line_is_what_its_schema_makes_of_it(
    text: str, schema: Any, value: Any
) -> None:
    found = parse_value(text, schema_type({} if schema is None else schema))
    assert found == value
    assert type(found) is type(value)


LIMIT: dict[str, Any] = {"properties": {"limit": {"default": 5}, "name": {}}}


@pytest.mark.parametrize(
    ("schema", "given", "completed"),
    [
        (LIMIT, {}, {"limit": 5}),
        (LIMIT, {"limit": 3, "more": 1}, {"limit": 3, "more": 1}),
        (LIMIT, {"limit": None}, {"limit": None}),
        (LIMIT, "text", "text"),
        ({"items": LIMIT}, [{}, {"limit": 1}], [{"limit": 5}, {"limit": 1}]),
        ({"properties": {"x": LIMIT}}, {"x": {}}, {"x": {"limit": 5}}),
        ({"properties": {"x": LIMIT}}, {}, {}),
        ({"properties": {"x": LIMIT | {"default": {}}}}, {}, {"x": {"limit": 5}}),
        ({"$ref": "#/$defs/x", "$defs": {"x": LIMIT}}, {}, {"limit": 5}),
        ({"allOf": [LIMIT, {"properties": {"y": {"default": 1}}}]}, {}, {"limit": 5, "y": 1}),
        ({"anyOf": [LIMIT | {"type": "object"}, {"type": "null"}]}, {}, {"limit": 5}),
        ({"anyOf": [LIMIT, {"properties": {"limit": {"default": 6}}}]}, {}, {}),
        ({"type": "object", "properties": {"x": {"$ref": "#", "default": {}}}}, {}, {"x": {}}),
        ({"additionalProperties": LIMIT}, {"k": {}, "l": 1}, {"k": {"limit": 5}, "l": 1}),
        ({"patternProperties": {"^k": LIMIT}}, {"k": {}, "x": {}}, {"k": {"limit": 5}, "x": {}}),
        ({"prefixItems": [True, LIMIT]}, [{}, {}, {}], [{}, {"limit": 5}, {}]),
        (
            {"prefixItems": [LIMIT], "items": {"items": LIMIT}},
            [{}, [{}]],
            [{"limit": 5}, [{"limit": 5}]],
        ),
        (True, {}, {}),
    ],
)
def test_the_defaults_inside_of_an_input_are_applied(
    schema: Any, given: Any, completed: Any
) -> None:
    declared = {"x": schema}
    before = json.dumps(given)
    assert complete_inputs(declared, {"x": given}, "w") == {"x": completed}
    assert json.dumps(given) == before
    if isinstance(schema, dict):
        declared = {"x": schema | {"default": given}}
        assert complete_inputs(declared, {}, "w") == {"x": completed}


def test_defaults_that_double_at_each_level_are_bounded() -> None:
    levels = {
        f"d{n}": {"properties": {k: {"$ref": f"#/$defs/d{n + 1}", "default": {}} for k in "ab"}}
        for n in range(30)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": levels | {"d30": {}}}
    made = complete_inputs({"x": schema}, {"x": {}}, "w")["x"]
    assert json.dumps(made).count("{") <= MAX_FILLED + 1
