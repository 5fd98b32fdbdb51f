"""Functions of expressions: each as its page says, with clear errors, within the budgets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CallError
from orchestrator.expressions.functions import SIGNATURES
from orchestrator.expressions.interpreter import MAX_STEPS, MAX_TEXT, MAX_VALUES
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.lexer import ExpressionSyntaxError
from orchestrator.expressions.scope import Scope

PAGE = (Path(__file__).parents[2] / "docs" / "functions.md").read_text()
ROWS = re.findall(r"^\| `((\w+)\(.*?\))` \| .* \| `(.+)` \| `(.+)` \|$", PAGE, re.MULTILINE)
SCOPE = Scope(
    outputs={
        "a": {"list": [3, 1, 2], "text": "x" * 100_000, "commas": "," * 100_000, "n": 5},
        "many": list(range(5_000)),
    },
    run={"id": "r1", "started_at": "2026-01-01T00:00:00.000Z", "workflow": "w"},
)


def value(text: str) -> Any:
    return compile_expression(text).evaluate(SCOPE)


def test_every_function_of_the_contract_is_on_the_page() -> None:
    ours = {
        *("from_json", "to_json", "split", "lower", "upper", "trim", "replace", "zip", "product"),
        *("range", "enumerate", "slice", "at", "count_null", "now_iso"),
        *("add", "subtract", "multiply", "divide", "mod", "round"),
    }
    assert {name for _, name, _, _ in ROWS} == ours
    assert ours < set(SIGNATURES)


@pytest.mark.parametrize(("expression", "gives"), [(row[2], row[3]) for row in ROWS])
def test_an_example_of_the_page_gives_what_it_says(expression: str, gives: str) -> None:
    found = value(expression)
    assert (found, repr(found)) == (json.loads(gives), repr(json.loads(gives)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from_json('[1, {\"a\": null}]')", [1, {"a": None}]),
        ("from_json(' 5 ')", 5),
        ("from_json(OUTPUT[a].list)", [3, 1, 2]),  # parsed already
        ("map(&from_json(@), ['1', 'true'])", [1, True]),
        ("to_json('é\"')", '"é\\""'),
        ("from_json(to_json(OUTPUT[a].list))", [3, 1, 2]),
        ("split(' a  b ')", ["a", "b"]),
        ("split('abc', '')", ["a", "b", "c"]),
        ("split('abc', '', 1)", ["a", "bc"]),
        ("split('abc', '', 9)", ["a", "b", "c"]),
        ("split('a,b,c', ',', 1)", ["a", "b,c"]),
        ("split('a,b', ',', 0)", ["a,b"]),
        ("split('', ',')", [""]),
        ("split('', '')", []),
        ("upper('straße')", "STRASSE"),
        ("trim('--a--', '-')", "a"),
        ("replace('aaa', 'a', 'b', 2)", "bba"),
        ("replace('ab', '', '-')", "-a-b-"),
        ("zip([1, 2], ['a', 'b', 'c'], [true, false])", [[1, "a", True], [2, "b", False]]),
        ("zip(OUTPUT[a].list)", [[3], [1], [2]]),
        ("product(`[]`, OUTPUT[a].list)", []),
        ("product([1, 2])", [[1], [2]]),
        ("range(0)", []),
        ("range(2, 5)", [2, 3, 4]),
        ("range(5, 2)", []),
        ("range(2.0)", [0, 1]),
        ("enumerate(['a'], 1)", [[1, "a"]]),
        ("slice(OUTPUT[a].list, 1)", [1, 2]),
        ("slice(OUTPUT[a].list, null, null, -1)", [2, 1, 3]),
        ("slice('größe', -3)", "öße"),
        ("at(OUTPUT[a].list, OUTPUT[a].list[1])", 1),
        ("at(OUTPUT[a].list, 3)", None),
        ("at(OUTPUT[a].list, -4)", None),
        ("count_null(`[]`)", 0),
        ("count_null([false, null, 0])", 1),
        ("now_iso() == RUN.started_at", True),
        ("add(9007199254740993, 1)", 9007199254740994),
        ("add(0.1, 0.2)", 0.1 + 0.2),
        ("divide(-6, 4)", -1.5),
        ("divide(1.5, 0.5)", 3.0),
        ("mod(7.5, 2)", 1.5),
        ("round(-2.5)", -3),
        ("round(2.4)", 2),
        ("round(1250, -2)", 1300),
        ("round(7, 3)", 7),
        ("round(-0.2, 1)", -0.2),
        ("round(1e300, 2)", 1e300),
        ("round(5, -99999999999)", 0),
        ("OUTPUT[many][?mod(@, 1000) == 0]", [0, 1000, 2000, 3000, 4000]),
        ("sort_by(OUTPUT[a].list, &subtract(0, @))", [3, 2, 1]),
    ],
)
def test_a_function_gives(text: str, expected: Any) -> None:
    found = value(text)
    assert (found, repr(found)) == (expected, repr(expected))  # 2 is not 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from_json('x')", r'from_json\(\) expects JSON, got string "x": Expecting value \(line 1'),
        ("from_json('NaN')", "NaN is not JSON"),
        ('from_json(\'{"a": 1, "a": 2}\')', "duplicate property"),
        ("from_json(5)", r"from_json\(\) expects string, array or object, got integer 5"),
        ("from_json(null)", "got null"),
        ("to_json(to_number('inf'))", "not JSON compliant"),
        ("upper(OUTPUT[a].n)", r"upper\(\) expects string, got integer 5"),
        ("split('a', 5)", r"parameter 2 of split\(\) expects string, got integer 5"),
        ("split('a', 'b', -1)", r"the count of split\(\) cannot be negative, got -1"),
        ("replace('a', 'b', 'c', -1)", "cannot be negative"),
        ("zip([1, 2], 'ab')", r'parameter 2 of zip\(\) expects array, got string "ab"'),
        ("range('a')", r'range\(\) expects integer, got string "a"'),
        ("range(1.5)", r"range\(\) expects integer, got number 1.5"),
        ("range(1, 5, 0)", r"the step of range\(\) cannot be 0"),
        ("slice('abc', 0, 1, 0)", r"the step of slice\(\) cannot be 0"),
        ("slice(null, 0)", r"parameter 1 of slice\(\) expects string or array, got null"),
        ("at('abc', 0)", "expects array, got string"),
        ("at([1, 2], 0.5)", "expects integer, got number 0.5"),
        ("at([1, 2], true)", "expects integer, got boolean true"),
        ("add(1, '2')", r"parameter 2 of add\(\) expects number, got string \"2\"; to_number\(\)"),
        ("add(1, 2, null)", r"parameter 3 of add\(\) expects number, got null"),
        ("add(true, 1)", "got boolean true"),
        ("divide(1, 0)", r"divide\(1, 0\) divides by zero"),
        ("mod(1.5, 0.0)", r"mod\(1.5, 0.0\) divides by zero"),
        ("multiply(1e308, 10)", "is out of the range of JSON numbers"),
        ("add(1e308, 1e308, 1e308)", "is out of the range"),
        ("divide(1e308, 1e-10)", "is out of the range"),
        ("add(to_number('nan'), 1)", "is out of the range"),
        ("round(to_number('inf'))", "is out of the range"),
        ("merge({a: 1}, 5)", r"merge\(\) expects object, got integer 5"),
        ("max([1, 'a'])", 'expects array of number or array of string, got array with string "a"'),
        ("sum([true])", "expects array of number, got array with boolean true"),
    ],
)
def test_a_wrong_argument_is_a_clear_reference_error(text: str, message: str) -> None:
    with pytest.raises(CallError, match=message) as caught:
        value(text)
    assert caught.value.kind == "reference_error"
    assert not caught.value.error.retryable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uper('a')", 'unknown function "uper". Did you mean "upper"?'),
        ("substring('abc', 0)", 'unknown function "substring". Did you mean "slice"?'),
        ("strip('a')", 'Did you mean "trim"?'),
        ("len('a')", 'Did you mean "length"?'),
        ("split()", r"split\(\) takes 1 to 3 arguments, got 0"),
        ("split('a', 'b', 1, 2)", r"split\(\) takes 1 to 3 arguments, got 4"),
        ("add(1)", r"add\(\) takes at least 2 arguments, got 1"),
        ("zip()", r"zip\(\) takes at least 1 argument, got 0"),
        ("now_iso(1)", r"now_iso\(\) takes 0 arguments, got 1"),
        ("product(&a, OUTPUT[a])", "only allowed before a function's argument"),
    ],
)
def test_a_wrong_call_is_found_before_the_run(text: str, message: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=message):
        compile_expression(text)


VALUES, STEPS = f"makes more than {MAX_VALUES:,} values", f"takes more than {MAX_STEPS:,} steps"
TEXT = f"makes more than {MAX_TEXT:,} characters"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("range(10000001)", VALUES),
        ("range(1000000000000000000000000000000)", VALUES),
        ("range(0, -100000000000, -1)", VALUES),
        ("product(OUTPUT[many], OUTPUT[many])", VALUES),
        ("product(OUTPUT[many], OUTPUT[many], OUTPUT[many], OUTPUT[many])", VALUES),
        ("replace(OUTPUT[a].text, 'x', OUTPUT[a].text)", TEXT),
        ("replace(OUTPUT[a].text, '', OUTPUT[a].text)", TEXT),
        ("OUTPUT[many][*].length(split(OUTPUT[a].text, ''))", STEPS),
        ("OUTPUT[many][*].from_json(OUTPUT[a].commas)", "expects JSON"),
        ("to_json(OUTPUT[a].list" + " | [@, @]" * 27 + ")", f"{VALUES}|{STEPS}"),
        ("`2`" + " | multiply(@, @)" * 11, "out of the range"),
        ("OUTPUT[a].list" + " | product(@, @)" * 5, VALUES),
        ("OUTPUT[a].list" + " | zip(@, @)" * 30, f"{VALUES}|{STEPS}"),
    ],
)
def test_a_function_makes_nothing_beyond_the_budgets(text: str, reason: str) -> None:
    with pytest.raises(CallError, match=reason):
        value(text)


def test_a_text_with_too_many_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.expressions.interpreter.MAX_VALUES", 1_000)
    with pytest.raises(CallError, match="makes more than 1,000 values"):
        value("from_json(OUTPUT[a].commas)")  # it would be no JSON
    with pytest.raises(CallError, match="makes more than 1,000 values"):
        value("split(OUTPUT[a].commas, ',')")
    assert value("split(OUTPUT[a].commas, ',', 2) | length(@)") == 3


def test_what_functions_make_takes_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.expressions.interpreter.MAX_STEPS", 1_000)
    for made in ("range(1000)", "product(range(30), range(30))", "zip(range(500), range(500))",
                 "enumerate(range(500))", "split(OUTPUT[a].commas, ',')", "upper(OUTPUT[a].text)",
                 "replace(OUTPUT[a].text, 'x', 'y')"):  # fmt: skip
        with pytest.raises(CallError, match="takes more than 1,000 steps"):
            value(f"range(100)[*].[{made}]")


def test_in_a_dry_run_what_made_up_values_do_not_have_is_unknown() -> None:
    scope = Scope(outputs={"a": {"text": "text", "zero": 0}}, null_is_unknown=True)
    for text in (
        "from_json(OUTPUT[a].text).x",
        "divide(1, OUTPUT[a].zero)",
        "add(OUTPUT[a].none, 1)",
    ):
        assert compile_expression(text).resolve(scope) is None
    with pytest.raises(CallError, match="expects number, got string"):
        compile_expression("add(OUTPUT[a].text, 1)").resolve(scope)
