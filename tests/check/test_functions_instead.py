"""Where JMESPath is in the way, the finding names the function, and its replacement is proved."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.check.checker import prove
from orchestrator.check.proof import proved
from orchestrator.errors import Problem, WorkflowError
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.lexer import ExpressionSyntaxError
from orchestrator.expressions.operators import with_count_null, with_functions, with_slice
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow

ITEM = {
    "type": "object",
    "properties": {"p": {"type": "number"}, "s": {"type": "string"}},
    "required": ["p", "s"],
}
OUTPUT = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "first-name": {"type": "string"},
        "names": {"type": "array", "items": {"type": ["string", "null"]}},
        "items": {"type": "array", "items": ITEM},
    },
    "required": ["n", "s", "first-name", "names", "items"],
    "additionalProperties": False,
}
TOOLS = {"s:t": Tool("s", "t", {"type": "object"}, output_schema=OUTPUT)}


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("A + 1", "add(A, 1)"),
        ("A+1", "add(A, 1)"),
        ("A -1", "subtract(A, 1)"),
        ("A-1", "subtract(A, 1)"),
        ("A + -1", "add(A, -1)"),
        ("A*2", "multiply(A, 2)"),
        ("A / 2", "divide(A, 2)"),
        ("A % 2 == 0", "mod(A, 2) == 0"),
        ("A + B + 1 - 2", "subtract(add(A, B, 1), 2)"),
        ("A - B * 2", "subtract(A, multiply(B, 2))"),
        ("(A + 1) * 2 > 5 && B / 2 < 3", "multiply(add(A, 1), 2) > 5 && divide(B, 2) < 3"),
        ("A * (B - 1)", "multiply(A, subtract(B, 1))"),
        ("round(A / 3, 1)", "round(divide(A, 3), 1)"),
        ("[A + 1, {b: B % 2}]", "[add(A, 1), {b: mod(B, 2)}]"),
        ("A.items[?p * 2 > 5].s", "A.items[?multiply(p, 2) > 5].s"),
        ("sum(map(&p * 2, A.items))", "sum(map(&multiply(p, 2), A.items))"),
        ("length(A.*) * 2", "multiply(length(A.*), 2)"),
        ("'Hi ' + A + '!'", "join('', ['Hi ', to_string(A), '!'])"),
        ("A.first-name", 'A."first-name"'),
        ("A.items[?price-net > 5].content-type-x", 'A.items[?"price-net" > 5]."content-type-x"'),
        ("A - length(A)", "subtract(A, length(A))"),
        ("INDEX-INPUT.x", "subtract(INDEX, INPUT.x)"),
        ("[*].{a: *}", "[*].{a: *}"),
        ("'a-b' == A['c-d'].e", "'a-b' == A['c-d'].e"),
        ("A.items[*].s", "A.items[*].s"),
        ("-A", "-A"),
        ("(A + 1", "(A + 1"),
        ("A + 'x", "A + 'x"),
    ],
)
def test_operators_become_functions(text: str, instead: str) -> None:
    text, instead = (
        each.replace("A", "OUTPUT[a]").replace("B", "INPUT.b") for each in (text, instead)
    )
    assert with_functions(text) == instead


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("OUTPUT[a].s[0:5]", "slice(OUTPUT[a].s, 0, 5)"),
        ("join('', [OUTPUT[a].s[:5], '...'])", "join('', [slice(OUTPUT[a].s, 0, 5), '...'])"),
        ("to_string(OUTPUT[a]) [ -3: ]", None),
        ("to_string(OUTPUT[a])[-3:]", "slice(to_string(OUTPUT[a]), -3)"),
        ("OUTPUT[a]['k'].s[::-1]", "slice(OUTPUT[a]['k'].s, null, null, -1)"),
        ("!(INPUT.x || 'y')[1:2:3]", "!slice((INPUT.x || 'y'), 1, 2, 3)"),
        ("OUTPUT[a].items[*].s[0:2]", None),
        ("INPUT.x[0:1] == INPUT.y[0:1]", None),
        ("'x[0:5]'", None),
    ],
)
def test_a_slice_becomes_a_function(text: str, instead: str | None) -> None:
    assert with_slice(text) == (instead or text)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("length(OUTPUT[a].x[?@ == null]) > 1", "count_null(OUTPUT[a].x) > 1"),
        ("length( map(&y, OUTPUT[a].x)[?null == @] )", "count_null(map(&y, OUTPUT[a].x))"),
        ("OUTPUT[a].x[?@ == null]", None),
        ("length(OUTPUT[a].x[*].y[?@ == null])", None),
        ("length(OUTPUT[a].x[?@ == null] || INPUT.y)", None),
    ],
)
def test_a_filter_for_null_becomes_a_function(text: str, instead: str | None) -> None:
    assert with_count_null(text) == (instead or text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OUTPUT[a].x *2", r"write multiply\(OUTPUT\[a\].x, 2\)$"),
        ("OUTPUT[a].x + 1", r"write add\(OUTPUT\[a\].x, 1\), or join\('', \[a, b\]\) for strings$"),
        ("OUTPUT[a].a-b", r'a name with a dash needs double quotes: OUTPUT\[a\]."a-b"$'),
        ("-INDEX", r'write subtract\(a, b\), or double quotes around a name with a dash: "first-'),
        ("OUTPUT[a].x // 2", r"write divide\(a, b\)$"),
    ],
)
def test_the_message_names_the_function(text: str, message: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=message):
        compile_expression(text)


def findings(**task: Any) -> list[Problem]:
    tasks = [{"id": "a", "tool": "s:t"}, {"id": "b", "tool": "s:t", **task}]
    try:
        found = prove(Workflow.load({"tasks": tasks}), TOOLS)
    except WorkflowError as error:
        found = list(error.problems)
    return proved(found, lambda: {"tasks": tasks}, TOOLS)


@pytest.mark.parametrize(
    ("text", "code", "replacement"),
    [
        ("${A.n + 1}", "malformed_reference", "${add(A.n, 1)}"),
        ("twice: ${A.n * 2}.", "malformed_reference", "twice: ${multiply(A.n, 2)}."),
        ("${'Hi ' + A.s}", "malformed_reference", "${join('', ['Hi ', to_string(A.s)])}"),
        ("${A.first-name}", "malformed_reference", '${A."first-name"}'),
        ("${A.items[?p * 2 > 3].s}", "malformed_reference", "${A.items[?multiply(p, 2) > 3].s}"),
        ("${A.s + 1}", "malformed_reference", None),  # a string is no number
        ("${A.last-name}", "malformed_reference", None),  # no such property
        ("${A.s[0:5]}", "always_null", "${slice(A.s, 0, 5)}"),
        ("${A.items[0].s[:3]}!", "always_null", "${slice(A.items[0].s, 0, 3)}!"),
        ("${A.items[*].s[0:2]}", "always_null", None),
        ("${length(A.names[?@ == null])}", "always_null", "${count_null(A.names)}"),
        ("${count_null(A.items[*].p)}", "always_null", None),
        ('${A.items[?s == "red"].p}', "never_true", "${A.items[?s == 'red'].p}"),
        ('${from_json(A.s)[?s == "red"].p}', "never_true", "${from_json(A.s)[?s == 'red'].p}"),
    ],
)
def test_a_finding_offers_what_is_proved(text: str, code: str, replacement: str | None) -> None:
    text = text.replace("A.", "OUTPUT[a].")
    (found,) = findings(arguments={"x": text})
    assert found.code == code
    offered = [operation["value"] for operation in found.replacement]
    assert offered == ([] if replacement is None else [replacement.replace("A.", "OUTPUT[a].")])


@pytest.mark.parametrize(
    ("when", "replacement"),
    [
        ("OUTPUT[a].n + 1 > 2", "add(OUTPUT[a].n, 1) > 2"),
        ("${OUTPUT[a].n % 2 == 0}", "${mod(OUTPUT[a].n, 2) == 0}"),
    ],
)
def test_a_condition_is_replaced_too(when: str, replacement: str) -> None:
    (found,) = findings(when=when)
    assert [operation["value"] for operation in found.replacement] == [replacement]


def test_a_property_in_double_quotes_is_one_if_it_is_there() -> None:
    assert findings(arguments={"x": "${OUTPUT[a].items[?\"s\" == 'red'].p}"}) == []
    assert findings(arguments={"x": "${OUTPUT[a].items[?s == 'red'].p}"}) == []
    odd = {"x": """${from_json(OUTPUT[a].s)[?"first-name" == 'x' || 'y' == "first-name"]}"""}
    assert findings(arguments=odd) == []


def test_a_hint_names_the_function() -> None:
    hints = {
        "${OUTPUT[a].items[*].s[0:2]}": "slice(text, start, stop) takes strings",
        "${OUTPUT[a].names[?@ == null]}": "to count null, write count_null(LIST)",
        "${count_null(OUTPUT[a].items[*].p)}": "count_null(map(&NAME, LIST)) counts the items",
    }
    for text, hint in hints.items():
        assert hint in findings(arguments={"x": text})[0].hint
