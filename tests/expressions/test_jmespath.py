"""`${...}` and conditions: JMESPath, our additions to it, and errors at compile time."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import CallError
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.lexer import ExpressionSyntaxError, closing_brace
from orchestrator.expressions.scope import ScopeKey

DOCUMENT: dict[str, Any] = {
    "OUTPUT": {
        "a": {
            "count": 5,
            "text": "5",
            "größe": 3,
            "odd key": {"x y": [1, 2]},
            "A'B": 7,
            "items": [
                {"name": "one", "score": 0.5, "id": 0, "ok": True},
                {"name": "two", "score": 0.9, "id": 1, "ok": False},
            ],
            "pairs": [[0, "x"], [1, "y"]],
            "true": "a key",
            "tags": ["x", "y"],
        },
        "b.c:d-e": [1, 2, 3],
        "0": "zero",
        "message": "a task of that name",
    },
    "STATUS": {"a": "success", "b": "error"},
    "ERROR": {"kind": "of the fallback"},
    "ERROR[": {"b": {"kind": "timeout"}},
    "INPUT": {"min": 0.7, "odd key": 1, "list": [1]},
    "ITEM": {"x": 1},
    "INDEX": 4,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # an empty array or object, unless `[]` flattens something
        ("[]", []),
        ("not_null(OUTPUT.a.nope, [])", []),
        ("OUTPUT.a.nope || {}", {}),
        ("{a: [], b: [{}, 'x'], c: []}", {"a": [], "b": [{}, "x"], "c": []}),
        ("OUTPUT.a.tags == []", False),
        ("OUTPUT.a.items[?name != []].id", [0, 1]),
        ("OUTPUT.a.pairs | []", [0, "x", 1, "y"]),
        ("map(&[], OUTPUT.a.pairs)", [[0, "x"], [1, "y"]]),
        ("OUTPUT.a.pairs[]", [0, "x", 1, "y"]),
        # the forms of the references
        ("OUTPUT[a].count", 5),
        ("$OUTPUT[a].count", 5),
        ("OUTPUT.a.count", 5),
        ("OUTPUT[b.c:d-e][1]", 2),
        ("OUTPUT[0]", "zero"),
        ("STATUS[b]", "error"),
        ("$STATUS[a] == 'success'", True),
        ("ERROR[b].kind", "timeout"),
        ("ERROR.kind", "of the fallback"),
        ("INPUT.min", 0.7),
        ("$INPUT.min", 0.7),
        ('INPUT["odd key"]', 1),
        ("ITEM.x", 1),
        ("$INDEX", 4),
        ("keys(INPUT)", ["min", "odd key", "list"]),
        # odd keys, in the spelling of a path and in that of JMESPath
        ('OUTPUT[a]["odd key"]["x y"][-1]', 2),
        ("OUTPUT[a]['odd key'] [ 'x y' ][0]", 1),
        (r"OUTPUT[a]['A\'B']", 7),
        (r"OUTPUT[a]['odd\u0020key']['x y'][0]", 1),
        ('OUTPUT[a]."odd key"."x y"', [1, 2]),
        ("OUTPUT[a].größe", 3),
        ("OUTPUT[a].items[?ok]['name']", ["one"]),
        ("OUTPUT[a].items[].['name']", [["name"], ["name"]]),
        ("(OUTPUT[a])['count']", 5),
        ("contains(['x'], 'x')", True),
        # a root means the same wherever it stands
        ("OUTPUT[a].items[?score > $INPUT.min].name", ["two"]),
        ("OUTPUT[a].items[?score > INPUT.min].name", ["two"]),
        ("OUTPUT[a].items[?id == OUTPUT[b.c:d-e][0]].name", ["two"]),
        ('OUTPUT[a].items[?id == OUTPUT."b.c:d-e"[0]].name', ["two"]),
        ("OUTPUT[a].items[?id == ITEM.x].name", ["two"]),
        ("OUTPUT[a].items[?STATUS.a == 'success' && ok].name", ["one"]),
        ("OUTPUT[a].items[?ERROR.b.kind == 'timeout'].name", ["one", "two"]),
        ("OUTPUT[a].items[?ERROR.kind == 'of the fallback'].name", ["one", "two"]),
        ("map(&[name, INDEX], OUTPUT[a].items)", [["one", 4], ["two", 4]]),
        ("sort_by(OUTPUT[a].items, &(ITEM.x && score))[0].name", "one"),
        ("OUTPUT[a].items | {first: [0].name, min: INPUT.min}", {"first": "one", "min": 0.7}),
        ("OUTPUT[a].items[].[id, ITEM.x]", [[0, 1], [1, 1]]),
        ("INPUT.list | [OUTPUT.a.count, ITEM]", [5, {"x": 1}]),
        # but not as the name of a property
        ('`[{"ITEM": 1}, {"ITEM": 2}]`[?@.ITEM == 2]', [{"ITEM": 2}]),
        ('`{"ITEM": {"INDEX": 3}}`.ITEM.INDEX', 3),
        ("{ITEM: 1, INDEX: 2}", {"ITEM": 1, "INDEX": 2}),
        ("OUTPUT[a].items | [0].name", "one"),
        # bare numbers and constants
        ("OUTPUT[a].count == 5", True),
        ("OUTPUT[a].count > -1", True),
        ("OUTPUT[a].items[?score > 0.5].name", ["two"]),
        ("OUTPUT[a].items[?id == 0].name", ["one"]),
        ("OUTPUT[a].items[?ok == true].name", ["one"]),
        ("OUTPUT[a].nothing == null", True),
        ("OUTPUT[a].true", "a key"),
        ("[1, 2]", [1, 2]),
        ("[1, -2.5e1]", [1, -25.0]),
        ("{a: 1, true: false, größe: 2}", {"a": 1, "true": False, "größe": 2}),
        ("1", 1),
        ("-1", -1),
        ("true", True),
        ("null", None),
        ("'a text'", "a text"),
        ('`{"a": [1]}`', {"a": [1]}),
        ("`a text`", "a text"),
        ("`a\\`b`", "a`b"),
        ("`2020-01-01`", "2020-01-01"),
        # bare numbers that are indexes
        ("OUTPUT[a].items[0].name", "one"),
        ("OUTPUT[a].items[-1].name", "two"),
        ("OUTPUT[b.c:d-e][1:]", [2, 3]),
        ("OUTPUT[b.c:d-e][:-1]", [1, 2]),
        ("OUTPUT[b.c:d-e][::-1]", [3, 2, 1]),
        ("OUTPUT[b.c:d-e][0:2:1]", [1, 2]),
        ("OUTPUT[a].pairs[?[0] == 1]", [[1, "y"]]),
        ("OUTPUT[b.c:d-e][99999]", None),
        # not
        ("!OUTPUT[a].nothing", True),
        ("!OUTPUT[a].items[0].ok", False),
        ("!OUTPUT[a].items[].name", False),
        ("!OUTPUT[a].items[?score > 1]", True),
        ("!OUTPUT[a].*", False),
        ("!!OUTPUT[a].count", True),
        ("!OUTPUT[a].nothing && OUTPUT[a].count", 5),
        ("!contains(OUTPUT[a].tags, 'z')", True),
        # functions
        ("length(OUTPUT[a].items)", 2),
        ("length(map(&(@ == null), `[1, null, null]`)[?@])", 2),
        ("join(' OR ', OUTPUT[a].tags)", "x OR y"),
        ("not_null(OUTPUT[nobody], 'none')", "none"),
        ("OUTPUT[nobody].a.b[0]", None),
        ("sort_by(OUTPUT[a].items, &score)[-1].name", "two"),
        ("max_by(OUTPUT[a].items, &score).name", "two"),
        ("map(&name, OUTPUT[a].items)", ["one", "two"]),
        ("sum(OUTPUT[a].items[].score)", 1.4),
        ("to_number(OUTPUT[a].text)", 5),
        ("merge({a: 1}, {b: 2})", {"a": 1, "b": 2}),
        ("OUTPUT[a].items[0].{n: name, m: $INPUT.min}", {"n": "one", "m": 0.7}),
    ],
)
def test_an_expression_has_the_value(text: str, value: Any) -> None:
    assert compile_expression(text).evaluate(DOCUMENT) == value


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("OUTPUT[a].b[0]", [("OUTPUT", "a")]),
        ("OUTPUT.a", [("OUTPUT", "a")]),
        ("INPUT.x || 'x'", [("INPUT", "x")]),
        ("OUTPUT[a] == STATUS[b] && INDEX", [("OUTPUT", "a"), ("STATUS", "b"), ("INDEX", None)]),
        ("OUTPUT[a].x[?y == $OUTPUT[b].z]", [("OUTPUT", "a"), ("OUTPUT", "b")]),
        ("INPUT.x.y", [("INPUT", "x")]),
        ("INPUT", [("INPUT", None)]),
        ("INPUT.*", [("INPUT", None)]),
        ("INPUT | x", [("INPUT", "x")]),
        ("ITEM.x", [("ITEM", None)]),
        ("INDEX", [("INDEX", None)]),
        ("ERROR[a]", [("ERROR", "a")]),
        ("ERROR[message]", [("ERROR", "message")]),
        ("ERROR.message", [("ERROR", None)]),
        ("$ERROR.kind", [("ERROR", None)]),
        ("length(ERROR)", [("ERROR", None)]),
        ("join(INPUT.s, OUTPUT[a][*].b)", [("INPUT", "s"), ("OUTPUT", "a")]),
        ("[OUTPUT[a], {b: OUTPUT[b]}]", [("OUTPUT", "a"), ("OUTPUT", "b")]),
        ("map(&x, OUTPUT[a])", [("OUTPUT", "a")]),
        ("map(&merge(@, $INPUT.x), OUTPUT[a])", [("INPUT", "x"), ("OUTPUT", "a")]),
        ("OUTPUT[a][]", [("OUTPUT", "a")]),
        ("OUTPUT[a] | @", [("OUTPUT", "a")]),
        ("!OUTPUT[a].b", [("OUTPUT", "a")]),
        ("OUTPUT[a] || OUTPUT[a]", [("OUTPUT", "a")]),
        ("1", []),
        ("OUTPUT | a", [("OUTPUT", "a")]),
        ("INPUT.x | [OUTPUT.a, STATUS.b]", [("INPUT", "x"), ("OUTPUT", "a"), ("STATUS", "b")]),
        ("OUTPUT[a].x[?y == OUTPUT.b.z]", [("OUTPUT", "a"), ("OUTPUT", "b")]),
        ("map(&[INPUT.x, ITEM], OUTPUT[a])", [("INPUT", "x"), ("ITEM", None), ("OUTPUT", "a")]),
        ("INPUT.*.x", [("INPUT", None)]),
        ("INPUT[*].x", [("INPUT", None)]),
        ("ERROR.*.kind", [("ERROR", None)]),
        ("ERROR[?x].a", [("ERROR", None)]),
        ("OUTPUT[a].OUTPUT.b", [("OUTPUT", "a")]),
        ("OUTPUT[a].x[?@.OUTPUT.b]", [("OUTPUT", "a")]),
        ("{OUTPUT: 'b', x: 'OUTPUT[b]'}", []),
    ],
)
def test_an_expression_knows_what_it_reads(text: str, places: list[tuple[str, str | None]]) -> None:
    assert compile_expression(text).places == tuple(ScopeKey(*place) for place in places)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty expression"),
        ("  ", "empty expression"),
        ("OUTPUT", r"expected a task id: OUTPUT\[id\]"),
        ("OUTPUT.*", "expected a task id"),
        ("OUTPUT.*.value", r"expected a task id: OUTPUT\[id\]"),
        ("OUTPUT[*].value", "expected a task id"),
        ("OUTPUT[].value", "expected a task id"),
        ("OUTPUT[?value].value", "expected a task id"),
        ("(OUTPUT).*.value", "expected a task id"),
        ("!OUTPUT.*.value", "expected a task id"),
        ("OUTPUT.*[].value", "expected a task id"),
        ("OUTPUT | *.value", "expected a task id"),
        ("STATUS.*.value", r"expected a task id: STATUS\[id\]"),
        ("values(OUTPUT)[].value", "expected a task id"),
        ("OUTPUT[a].x[?OUTPUT.*.b]", "expected a task id"),
        ("OUTPUT[a].x[?STATUS == 'new']", r"STATUS\[id\], or @.STATUS for a property of the cur"),
        ("STATUS", r"expected a task id: STATUS\[id\]"),
        ("@", "expected one of OUTPUT, ITEMS, STATUS, ERROR, INPUT, ITEM, INDEX, LAST, RUN"),
        ("*", "expected one of OUTPUT"),
        ("[0]", "expected one of OUTPUT"),
        ("[?a]", "expected one of OUTPUT"),
        ("zip([1], INPUT.x)", r"before an index; write an array of one number in .*: `\[1\]`"),
        ("inputs.x", 'unknown root "inputs". Did you mean "INPUT"'),
        ("output[a].x", 'unknown root "output". Did you mean "OUTPUT"'),
        ("$INPUTS.x", 'unknown root "INPUTS". Did you mean "INPUT"'),
        ("steps.a.b", r"write OUTPUT\[id\], INPUT.name or a string as 'text'"),
        ('OUTPUT[a] == "red"', "\"red\" is a name; write a string in single quotes: 'red'"),
        ("OUTPUT[a].x and OUTPUT[a].y", 'unexpected "and"; write && instead'),
        ("OUTPUT[a].x or OUTPUT[a].y", r'unexpected "or"; write \|\| instead'),
        ("foo[bar]", 'unknown root "foo"'),
        ('"\\u0000OTHER".x', "unknown root"),
        (
            "OUTPUT[a].x +1",
            r'unexpected "\+"; instead of an operator, write add\(OUTPUT\[a\].x, 1\)',
        ),
        ("OUTPUT[a].x = 1", "write == to compare"),
        ("OUTPUT[a].x <> 1", "write != to compare"),
        ("OUTPUT[a].x ≥ 1", "write >="),
        ("OUTPUT[a].x ? 1 : 2", r"write \(condition && a\) \|\| b"),
        ("OUTPUT[a].x ?? 2", r"there is not_null\(a, b\)"),
        ("OUTPUT[a].x in [1]", r"write contains\(array, value\)"),
        ("not OUTPUT[a].x", r"write !\("),
        ("OUTPUT[a].x[INDEX]", r"for a computed index, write at\(array, index\)"),
        ("OUTPUT[a].x ]", r'unexpected "\]"'),
        ("OUTPUT[a].x 0", 'unexpected "0"'),
        ("OUTPUT[a] OUTPUT[b]", 'unexpected "OUTPUT"'),
        ("(OUTPUT[a]", "unexpected end"),
        ("OUTPUT[a] &&", "unexpected end"),
        ("OUTPUT[a].", "unexpected end"),
        ("OUTPUT[a].x.1", 'unexpected "'),
        ("OUTPUT[a][1.5]", "unexpected"),
        ("'abc", "unclosed '"),
        ('"abc', 'unclosed "'),
        ("`abc", "unclosed `"),
        (r"OUTPUT[a]['\x']", r"unknown escape \\x in a name"),
        ("007", "invalid number 007"),
        ("1e999", "invalid number"),
        ("9" * 5000, "invalid number"),
        ("٣", 'unexpected "٣"'),
        (r'OUTPUT[a]."\q"', r"Invalid \\escape in "),
        ("`NaN`", "invalid JSON literal"),
        ("`1e999`", "invalid JSON literal"),
        ('`{"a": 1, "a": 2}`', "invalid JSON literal"),
        ('`a"b`', "invalid JSON literal"),
        (f"`{'9' * 5000}`", "invalid JSON literal"),
        (f"OUTPUT[a][{'9' * 5000}]", r"out of range \(limit 2\^53 - 1\)"),
        ("OUTPUT[a][-9007199254740992]", r"out of range \(limit 2\^53 - 1\)"),
        ("OUTPUT[a][::0]", "the step of a slice cannot be 0"),
        ("lenght(OUTPUT[a])", 'unknown function "lenght". Did you mean "length"'),
        ("frobnicate(OUTPUT[a])", r'unknown function "frobnicate" \(known functions: abs, add'),
        ("length()", "takes 1 argument, got 0"),
        ("join(OUTPUT[a])", "takes 2 arguments, got 1"),
        ("not_null()", "takes at least 1 argument, got 0"),
        ("length(OUTPUT[a], 1)", "takes 1 argument, got 2"),
        ("&OUTPUT[a]", "only allowed before a function's argument"),
        ("[&OUTPUT[a]]", "only allowed before a function's argument"),
        ("{a: &OUTPUT[a]}", "only allowed before a function's argument"),
        ("not_null(&OUTPUT[a])", "only allowed before a function's argument"),
        ("OUTPUT[a].x | &y", "only allowed before a function's argument"),
        ("(" * 100_000, "nested too deep"),
        ("!" * 5_000 + "OUTPUT[a]", "nested too deep"),
        ("[" * 300 + "1" + "]" * 300, "nested too deep"),
        (" || ".join(["OUTPUT[a]"] * 300), "nested too deep"),
    ],
)
def test_a_malformed_expression_is_a_plain_error(text: str, message: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=message) as caught:
        compile_expression(text)
    assert "\x00" not in str(caught.value)
    assert "jmespath" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("length(OUTPUT[a].count)", r"length\(\) expects string, array or object, got integer 5"),
        ("OUTPUT[a].text > 3", r"cannot compare a string with a number; .* to_number\(\)"),
        ("to_number('Infinity')", "which is not JSON"),
        ("[to_number('nan')]", "which is not JSON"),
        ("sum([1e308, 1e308])", "which is not JSON"),
        ("avg([1e308, 1e308])", "which is not JSON"),
        ("join(',', `[\"%s\", 1]`)" % ("x" * 1000), r"of join\(\) expects array of string"),
    ],
)
def test_a_failing_expression_is_a_reference_error(text: str, message: str) -> None:
    with pytest.raises(CallError, match=message) as caught:
        compile_expression(text).evaluate(DOCUMENT)
    assert caught.value.kind == "reference_error"
    assert not caught.value.error.retryable
    assert caught.value.error.details == {"expression": text}
    assert len(str(caught.value)) < 300 + len(text) + 10


def test_an_error_of_another_task_is_not_the_one_that_a_fallback_replaces() -> None:
    for text in ("ERROR.b.kind", "ERROR[b].kind", "ERROR | b.kind"):
        assert compile_expression(text).evaluate(DOCUMENT) == "timeout"


def test_infinity_and_nan_are_allowed_inside_a_filter() -> None:
    expression = compile_expression("OUTPUT[a].items[?to_number('nan') != score].name")
    assert expression.evaluate(DOCUMENT) == ["one", "two"]


def test_pythons_own_errors_are_translated() -> None:
    class Broken:
        def get(self, name: str, /) -> Any:
            raise RecursionError if name == "ITEM" else KeyError(name)

    with pytest.raises(CallError, match="nested too deep"):
        compile_expression("ITEM").evaluate(Broken())
    with pytest.raises(CallError, match="INDEX"):
        compile_expression("INDEX").evaluate(Broken())


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a}", 1),
        ("'}'}", 3),
        ('"}"}', 3),
        ("`}`}", 3),
        ("{a: {b: c}}}", 11),
        ("a['}']} and }", 6),
        (r"'\'}'} it's", 5),
    ],
)
def test_braces_inside_quotes_do_not_close(text: str, position: int) -> None:
    assert closing_brace(text, 0) == position


@pytest.mark.parametrize("text", ["", "a", "{a}", "'}"])
def test_a_brace_that_is_never_closed_is_an_error(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        closing_brace(text, 0)


scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["x", "y", ""])
data_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=10,
)
steps = st.sampled_from(
    [".x", ".y", "[0]", "[-1]", "[*]", "[]", ".*", "[?x]", "[?x == 'y']", "[1:]", " | @", ".{a: x}"]
)


@given(data_values, st.lists(steps, max_size=5).map("".join))
def test_below_the_root_an_expression_is_the_librarys(value: Any, path: str) -> None:
    expected = jmespath.search(f"OUTPUT.a{path}", {"OUTPUT": {"a": value}})
    for root in ("OUTPUT[a]", "$OUTPUT[a]", "OUTPUT.a", 'OUTPUT["a"]'):
        found = compile_expression(root + path).evaluate({"OUTPUT": {"a": value}})
        assert found == expected


fragments = st.sampled_from(
    [*"$&|!=<>[](){}.,:*?@-`'\"\\+ \n\x00é٣0", "OUTPUT", "[a]", "INPUT.x", "length", "1e5", "true"]
)


@given(st.lists(fragments, max_size=12).map("".join))
def test_any_text_is_an_expression_or_a_syntax_error(text: str) -> None:
    with contextlib.suppress(ExpressionSyntaxError, CallError):
        json.dumps(compile_expression(text).evaluate(DOCUMENT), allow_nan=False)
