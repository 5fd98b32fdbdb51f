"""The types of our functions hold for all values, and wrong arguments are findings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.check.checker import prove
from orchestrator.check.environment import Environment
from orchestrator.check.infer_jmespath import ExpressionInference
from orchestrator.errors import CallError
from orchestrator.expressions.functions import SIGNATURES
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.scope import Scope
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import schema_type
from orchestrator.workflow.model import Workflow
from tests.check.test_types import admits, fitting, schemas, whole

EXPRESSIONS = [
    "from_json(OUTPUT[t].a)",
    "from_json(OUTPUT[t])",
    "to_json(OUTPUT[t])",
    "split(OUTPUT[t].a, 't')",
    "[lower(OUTPUT[t].a), upper(OUTPUT[t].b), trim(OUTPUT[t].a)]",
    "replace(OUTPUT[t].a, 't', OUTPUT[t].b)",
    "zip(OUTPUT[t], OUTPUT[t])",
    "zip(OUTPUT[t].a, OUTPUT[t].c)[0][1]",
    "product(OUTPUT[t], OUTPUT[t].a || [1, 2])",
    "range(OUTPUT[t].a)",
    "enumerate(OUTPUT[t])[0]",
    "slice(OUTPUT[t], 1)",
    "slice(OUTPUT[t].a, 0, 1)",
    "at(OUTPUT[t], 0)",
    "at(OUTPUT[t].a, -1).b",
    "at(OUTPUT[t], OUTPUT[t][0])",
    "count_null(OUTPUT[t])",
    "add(OUTPUT[t].a, 1)",
    "multiply(OUTPUT[t].a, OUTPUT[t].b, 2)",
    "[subtract(OUTPUT[t].a, 0.5), mod(OUTPUT[t].a, 2), divide(OUTPUT[t].a, 2)]",
    "divide(1, OUTPUT[t].a)",
    "[round(OUTPUT[t].a), round(OUTPUT[t].a, 1)]",
    "merge(OUTPUT[t], OUTPUT[t].a)",
]


@settings(max_examples=25)
@given(schema=schemas, text=st.sampled_from(EXPRESSIONS))
def test_a_function_gives_a_value_of_its_inferred_type(schema: Any, text: str) -> None:
    expression, made = compile_expression(text), whole(schema)
    query, environment = TypeQuery(), Environment({"t": schema_type(made)})
    inference = ExpressionInference(query, environment, expression)
    type_ = inference.infer()
    errors = [mismatch for mismatch in inference.found if mismatch.severity == "error"]
    for value in fitting(made):
        try:
            result = expression.evaluate(Scope(outputs={"t": value}))
        except CallError:
            continue
        assert errors == [], value
        assert admits(query, type_, result), (value, result, type_)


OUTPUT = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "s": {"type": "string"},
        "names": {"type": "array", "items": {"type": "string"}},
        "counts": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["n", "x", "s", "names", "counts"],
    "additionalProperties": False,
}
WANTED = {
    "int": {"type": "integer"},
    "text": {"type": "string"},
    "ints": {"type": "array", "items": {"type": "integer"}},
    "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
}
TOOLS = {
    "s:make": Tool("s", "make", {}, output_schema=OUTPUT),
    "s:take": Tool("s", "take", {"type": "object", "properties": WANTED}),
}


def found(name: str, expression: str) -> list[tuple[str, str, str]]:
    expression = expression.replace("A.", "OUTPUT[a].")
    arguments = {name: f"${{{expression}}}"}
    tasks = [
        {"id": "a", "tool": "s:make"},
        {"id": "b", "tool": "s:take", "arguments": arguments},
    ]
    problems = prove(Workflow.load({"tasks": tasks}), TOOLS)
    return [(p.severity, p.message, p.hint) for p in problems if p.severity != "note"]


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("int", "add(A.n, 1)"),
        ("int", "multiply(A.n, A.n)"),
        ("int", "mod(A.n, 2)"),
        ("int", "round(A.x)"),
        ("int", "at(A.counts, 0)"),
        ("int", "at(A.counts, A.n)"),
        ("int", "zip(A.names, A.counts)[0][1]"),
        ("int", "enumerate(A.names)[0][0]"),
        ("int", "count_null(map(&@, A.names))"),
        ("int", "length(split(A.s, ','))"),
        ("int", "from_json(A.s)"),
        ("int", "from_json(A.s).n[0]"),
        ("ints", "range(A.n)"),
        ("ints", "slice(A.counts, 1)"),
        ("ints", "map(&at(@, 1), product(A.names, A.counts))"),
        ("pair", "product(A.names, A.counts)[0]"),
        ("text", "slice(A.s, 0, 5)"),
        ("text", "upper(trim(A.s))"),
        ("text", "to_json(A.names)"),
        ("text", "slice(now_iso(), 0, 10)"),
        ("text", "at(split(A.s, ','), 0)"),
        ("text", "RUN.workflow"),
        ("text", "join(' ', ['run', RUN.id])"),
    ],
)
def test_a_result_that_fits_has_no_finding(name: str, expression: str) -> None:
    assert found(name, expression) == []


@pytest.mark.parametrize(
    ("name", "expression", "message"),
    [
        ("int", "add(A.x, 1)", "expected integer, may be number"),
        ("int", "divide(A.n, 2)", "expected integer, may be number"),
        ("int", "round(A.x, 1)", "expected integer, may be number"),
        ("int", "range(3)", "expected integer, got array"),
        ("ints", "split(A.s, ',')", "items: expected integer, may be string"),
        ("ints", "zip(A.counts, A.names)", "items: expected integer, may be array"),
        ("pair", "zip(A.counts, A.names)[0]", "expected integer, may be string"),
        ("int", "add(A.s, 1)", r"parameter 1 of add() expects number, got string"),
        ("int", "add(1, A.n, A.s)", r"parameter 3 of add() expects number, got string"),
        ("int", "range(A.s)", "range() expects integer, got string"),
        ("int", "at(A.counts, 1.5)", "parameter 2 of at() expects integer, got number 1.5"),
        ("text", "upper(A.n)", "upper() expects string, got integer"),
        ("text", "split(A.s, A.n)[0]", "parameter 2 of split() expects string, got integer"),
        ("int", "from_json(A.names)", "expected integer, got array"),
        ("int", "from_json(A.n)", "from_json() expects string, array or object, got integer"),
        ("int", "zip(A.names, A.n)", "parameter 2 of zip() expects array, got integer"),
        ("int", "divide(A.n, 0)", "the divisor of divide() cannot be 0"),
        ("int", "mod(A.n, 0.0)", "the divisor of mod() cannot be 0"),
        ("ints", "range(1, A.n, 0)", "the step of range() cannot be 0"),
        ("ints", "slice(A.counts, 0, 1, 0)", "the step of slice() cannot be 0"),
        ("int", "merge({a: 1}, A.n)", "parameter 2 of merge() expects object"),
    ],
)
def test_a_wrong_type_is_a_finding(name: str, expression: str, message: str) -> None:
    assert message in " | ".join(text for _, text, _ in found(name, expression))


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("at(A.s, 0)", "slice() takes strings: slice(text, 0, 1)"),
        ("add(A.s, 'x')", "to_number() converts a string; join('', [...]) puts strings together"),
    ],
)
def test_a_finding_says_what_to_write_instead(expression: str, hint: str) -> None:
    assert hint in [given for _, _, given in found("int", expression)]


def test_every_function_has_a_type() -> None:
    untyped = {"from_json", "not_null"}  # anything may come out of them
    for name in SIGNATURES.keys() - untyped:
        parameters = SIGNATURES[name]
        given = ["&a" if "expref" in each["types"] else "OUTPUT[t]" for each in parameters]
        inference = ExpressionInference(
            TypeQuery(),
            Environment({"t": schema_type({})}),
            compile_expression(f"{name}({', '.join(given)})"),
        )
        kinds = TypeQuery().kinds(inference.infer())
        unknown = name in ("slice", "reverse", "max", "min", "max_by", "min_by", "at", "to_array")
        assert unknown or len(kinds) < 4, name
