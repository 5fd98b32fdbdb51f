"""References in values: compiled once, resolved to what they name; the rest is untouched."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.errors import CallError
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.references import MAX_DEPTH, Compiler
from orchestrator.expressions.scope import MISSING, Reference, Scope
from orchestrator.expressions.templates import Literal, to_text
from tests.documents.test_jsonpath import places, spellings, values

OUTPUT_OF_A = {
    "n": 5,
    "s": "text",
    "deep": {"items": [{"title": "first"}, {"title": "last"}]},
    "odd key": {"a.b": True},
    "null": None,
    "length": 9,
    "x": "a key named x",
}
SCOPE = Scope(
    outputs={"a": OUTPUT_OF_A, "b.c:d-e_1": [1, 2, 3], "whole": "just text", "x.result": {"y": 1}},
    statuses={"a": "success", "bad": "error", "no": "skipped", "gone": "cancelled"},
    errors={"bad": {"kind": "timeout", "message": "too slow"}},
    inputs={"city": "Paris", "odd key": 1, "cfg": {"result": {"z": 1}}, "list": [1, "a", None]},
    item={"id": 7, "name": "seven"},
    index=3,
    error={"kind": "tool_error", "message": "it broke"},
)


def resolve(value: Any, scope: Scope = SCOPE) -> Any:
    compiler = Compiler()
    template = compiler.compile(value)
    assert compiler.faults == []
    return template.resolve(scope)


def fault_of(value: Any) -> tuple[str, str]:
    compiler = Compiler()
    compiler.compile(value)
    (fault,) = compiler.faults
    return fault.code, fault.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # `$OUTPUT[id]` and a place in it
        ("$OUTPUT[a]", OUTPUT_OF_A),
        ("$OUTPUT[a].n", 5),
        ("$OUTPUT[a].deep.items[0].title", "first"),
        ("$OUTPUT[a].deep.items[-1].title", "last"),
        ('$OUTPUT[a]["odd key"]["a.b"]', True),
        ("$OUTPUT[a]['odd key']['a.b']", True),
        (r'$OUTPUT[a]["odd\u0020key"]', {"a.b": True}),
        ("$OUTPUT[a].null", None),
        ("$OUTPUT[b.c:d-e_1][1]", 2),
        # the other roots
        ("$INPUT.city", "Paris"),
        ('$INPUT["odd key"]', 1),
        ("$INPUT['city']", "Paris"),
        ("$INPUT.list[2]", None),
        ("$ITEM", {"id": 7, "name": "seven"}),
        ("$ITEM.id", 7),
        ("$INDEX", 3),
        ("$ERROR[bad].message", "too slow"),
        ("$ERROR[a]", None),
        ("$ERROR", {"kind": "tool_error", "message": "it broke"}),
        ("$ERROR.message", "it broke"),
        # in a longer string: text as it is, all else as compact JSON
        ("n=$OUTPUT[a].n!", "n=5!"),
        ("$OUTPUT[a].s, $OUTPUT[a].s", "text, text"),
        ("<$OUTPUT[a].deep.items>", '<[{"title":"first"},{"title":"last"}]>'),
        ("is $OUTPUT[a].null", "is null"),
        ('is $OUTPUT[a]["odd key"]["a.b"]', "is true"),
        ("$INPUT.list$INDEX", '[1,"a",null]3'),
        # a path takes as much as it can, a trailing dot is punctuation
        ("See $OUTPUT[a].s.", "See text."),
        ("$OUTPUT[a].s. Next", "text. Next"),
        ("$OUTPUT[a].s...", "text..."),
        ("$OUTPUT[a].s-x", "text-x"),
        ("$OUTPUT[a].s, [1]", "text, [1]"),
        ("$OUTPUT[a].s [1]", "text [1]"),
        ("($OUTPUT[a].n)", "(5)"),
        ("$OUTPUT[whole]/x", "just text/x"),
        ("$INDEX.", "3."),
        # `${...}`
        ("${OUTPUT[a].n}", 5),
        ("${ OUTPUT[a].n }", 5),
        ("${OUTPUT[a].s}.txt", "text.txt"),
        ("${length(OUTPUT[a].deep.items)} found", "2 found"),
        ("${OUTPUT[a].deep.items[].title}", ["first", "last"]),
        ("${not_null(OUTPUT[bad], 'none')}", "none"),
        ("${STATUS[bad]}", "error"),
        ("${ERROR[bad].kind}", "timeout"),
        ("${ERROR.message}", "it broke"),
        ("${OUTPUT[a].n > 3 && STATUS[bad] == 'error'}", True),
        ("${'}'}", "}"),
        ("${{a: OUTPUT[a].n}}", {"a": 5}),
        ("${{a: '}', b: `{}`}}}", '{"a":"}","b":{}}}'),
        ("${not_null(OUTPUT[a].nothing.at.all, 'none')}", "none"),
        ("${OUTPUT[bad].x.y}", None),
        ("${ $OUTPUT[bad] }!", "null!"),
        ("${ITEM.id}${INDEX}", "73"),
        ("${INPUT.cfg.result.z}", 1),
        ("${OUTPUT.a.n}", 5),
        # the older form
        ("${a.result.n}", 5),
        ("${a.result}", OUTPUT_OF_A),
        ("${ a.result.deep.items[0].title }", "first"),
        ("${a.result.deep.items.length}", 2),
        ("${a.result.s.length}", 4),
        ("${a.result.length}", 9),
        ("${b.c:d-e_1.result.length} of them", "3 of them"),
        # `$$`, and a `$` that starts no form
        ("$$", "$"),
        ("$$OUTPUT[a]", "$OUTPUT[a]"),
        ("$${x}", "${x}"),
        ("$$$OUTPUT[a].n", "$5"),
        ("$$$$", "$$"),
        ("a $ b", "a $ b"),
        ("$", "$"),
        ("100$", "100$"),
        ("$5", "$5"),
        ("$PATH", "$PATH"),
        ("$STATUS", "$STATUS"),
        ("$OUTPUTS[a]", "$OUTPUTS[a]"),
        ("$output[a]", "$output[a]"),
        ("$ {x}", "$ {x}"),
        ("US$ 5", "US$ 5"),
    ],
)
def test_a_text_resolves_to(text: str, value: Any) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_the_older_form_means_the_shortest_id() -> None:
    with pytest.raises(CallError, match='task "x" has not run'):
        resolve("${x.result.result.y}")
    assert resolve("$OUTPUT[x.result].y") == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$OUTPUT", "expected $OUTPUT[id]"),
        ("$OUTPUT.a", "expected $OUTPUT[id]"),
        ("$OUTPUT[]", "expected $OUTPUT[id]"),
        ("$OUTPUT[a b]", "expected $OUTPUT[id]"),
        ('$OUTPUT["a"]', "expected $OUTPUT[id], without quotes"),
        ("text $OUTPUT", 'malformed reference "$OUTPUT": '),
        ("$OUTPUT[a][b]", "expected an index such as [0]"),
        ("$OUTPUT[a][*].x", "wildcards, slices and filters need ${...}"),
        ("$OUTPUT[a].items[?x]", "wildcards, slices and filters"),
        ("$OUTPUT[a].items[0:2]", "wildcards, slices and filters"),
        ("$OUTPUT[a]..x", 'unexpected "..": a path names one place'),
        ("$OUTPUT[a].items.0", 'unexpected digit after "."; write an index as [0]'),
        ("$OUTPUT[a]['x", "unclosed '"),
        ("$INPUT", "expected $INPUT.name"),
        ("$INPUT.", "expected $INPUT.name"),
        ("$INPUT[0]", "expected $INPUT.name"),
        ("$INPUT[x]", "expected an index such as [0]"),
        ("$ERROR[", "expected $ERROR[id]"),
        ("$ERROR['x']", "expected $ERROR[id], without quotes"),
        ("$ITEM[x]", "expected an index such as [0]"),
        ("$STATUS[a]", "expected ${STATUS[id]}, in braces"),
        ("${", 'missing "}"'),
        ("${OUTPUT[a]", 'missing "}"'),
        ("${'}", "unclosed '"),
        ("${}", "empty expression"),
        ("${HOME}", 'unknown root "HOME"'),
        ("${user.name}", 'unknown root "user"'),
        ("${a.results.x}", 'unknown root "a"'),
        ("${a.result.x[*]}", "wildcards, slices and filters"),
        ("${a.result == 'x'}", 'unknown root "a"'),
        ("${OUTPUT[a].x + 1}", "write add(OUTPUT[a].x, 1)"),
        ("$OUTPUT " + "y" * 90, f'"$OUTPUT {"y" * 49}..."'),
    ],
)
def test_a_malformed_reference_is_a_fault(text: str, why: str) -> None:
    code, message = fault_of({"deep": [text]})
    assert code == "malformed_reference"
    assert why in message
    assert "(to write it as text, double the dollar sign: " in message
    assert message.endswith('")')


def test_faults_and_findings_have_paths() -> None:
    compiler = Compiler()
    compiler.compile(
        {"a": ["$OUTPUT", {"b": "$OUTPUT[x] $INPUT.y"}], "k $ERROR[z]": 1, "$ITEM": "${INDEX}"}
    )
    assert [fault.path for fault in compiler.faults] == [("a", 0)]
    found = [(path, part.places[0].root, part.places[0].name) for path, part in compiler.found]
    assert found == [
        (("a", 1, "b"), "OUTPUT", "x"),
        (("a", 1, "b"), "INPUT", "y"),
        (("k $ERROR[z]",), "ERROR", "z"),
        (("$ITEM",), "ITEM", None),
        (("$ITEM",), "INDEX", None),
    ]
    assert compiler.whole == [("$ITEM",)]


def test_references_work_at_any_depth_and_in_property_names() -> None:
    value = {"$INPUT.city": [[{"x": "$OUTPUT[a].n", "same": {"k": [1]}}]], "$$": "$$", "k": 1}
    found = resolve(value)
    assert found == {"Paris": [[{"x": 5, "same": {"k": [1]}}]], "$": "$", "k": 1}
    assert found["Paris"][0][0]["same"] is value["$INPUT.city"][0][0]["same"]  # type: ignore[index]
    assert resolve({"$OUTPUT[a].n": 1}) == {"5": 1}
    assert resolve({"n$INDEX": 1}) == {"n3": 1}


def test_two_property_names_that_become_equal_are_an_error() -> None:
    with pytest.raises(CallError, match='duplicate property "Paris"') as caught:
        resolve({"Paris": "$INDEX", "$INPUT.city": 2})
    assert caught.value.kind == "reference_error"


def test_values_that_are_not_json_are_faults() -> None:
    assert fault_of([{1, 2}]) == ("not_json", "expected JSON value, got Python set")
    assert fault_of([(1,)]) == ("not_json", "expected JSON value, got Python tuple")
    assert fault_of({"x": float("nan")}) == ("not_json", "expected JSON value, got number nan")
    assert fault_of({1: "$INDEX"}) == (
        "not_json",
        "expected string as property name, got integer 1",
    )
    assert fault_of(["\ud800"]) == ("not_json", "string contains a lone surrogate")
    assert fault_of({"\ud800": 1}) == ("not_json", "string contains a lone surrogate")


def nested(depth: int) -> Any:
    value: Any = "$INDEX"
    for _ in range(depth):
        value = [value]
    return value


def test_a_value_nested_too_deep_is_a_fault() -> None:
    assert resolve(nested(MAX_DEPTH)) is not None
    for depth in (MAX_DEPTH + 1, 100_000):
        assert fault_of(nested(depth)) == ("not_json", "nested deeper than 100 levels")


@pytest.mark.parametrize(
    ("text", "message", "details"),
    [
        (
            "$OUTPUT[a].deep.itmes[0]",
            '$OUTPUT[a].deep.itmes[0]: $OUTPUT[a].deep has no property "itmes" (it has: items)',
            {
                "path": ".deep.itmes[0]",
                "exists": ".deep",
                "missing": ".itmes",
                "keys": ["items"],
            },
        ),
        (
            "$OUTPUT[a].deep.items[2]",
            "$OUTPUT[a].deep.items has no index 2 (length 2)",
            {"missing": "[2]", "keys": None},
        ),
        ("$OUTPUT[a].s.x", '$OUTPUT[a].s has no property "x" (it is string "text")', {}),
        ("$OUTPUT[a].null.x", '$OUTPUT[a].null has no property "x" (it is null)', {}),
        ("$INPUT.cfg.x", '$INPUT.cfg has no property "x" (it has: result)', {}),
        ('$INPUT["odd key"].x', '$INPUT["odd key"] has no property "x" (it is integer 1)', {}),
        ("$ITEM.x", '$ITEM has no property "x" (it has: id, name)', {}),
        ("$INDEX.x", '$INDEX has no property "x" (it is integer 3)', {}),
        ("$ERROR.x", '$ERROR has no property "x" (it has: kind, message)', {}),
        ("$ERROR[bad].x", '$ERROR[bad] has no property "x" (it has: kind, message)', {}),
        ("$ERROR[a].kind", '$ERROR[a] has no property "kind" (it is null)', {}),
        (
            "${OUTPUT[a].nope}.txt",
            '${OUTPUT[a].nope}: $OUTPUT[a] has no property "nope" (it has: ',
            {},
        ),
        ("${ITEM.x}", '${ITEM.x}: $ITEM has no property "x" (it has: id, name)', {}),
        ("${a.result.n.length}", '$OUTPUT[a].n has no property "length" (it is integer 5)', {}),
        ("${a.result.nope.length}", '$OUTPUT[a] has no property "nope" (it has: ', {}),
        (
            "$OUTPUT[bad]",
            '$OUTPUT[bad]: task "bad" failed, so it has no output; ${OUTPUT[bad]} gives null',
            {"status": "error"},
        ),
        ("$OUTPUT[no].x", 'task "no" was skipped, so it has no output', {"status": "skipped"}),
        ("${gone.result}", 'task "gone" was cancelled', {"task": "gone"}),
        ("x $OUTPUT[later]", 'task "later" has not run', {"reference": "$OUTPUT[later]"}),
    ],
)
def test_a_missing_place_is_a_reference_error(
    text: str, message: str, details: dict[str, Any]
) -> None:
    with pytest.raises(CallError) as caught:
        resolve({"x": [text]})
    error = caught.value.error
    assert (error.kind, error.retryable) == ("reference_error", False)
    assert message in error.message
    assert details.items() <= error.details.items()
    json.dumps(dict(error.details))


@pytest.mark.parametrize("text", ["$ITEM", "$INDEX", "$ERROR", "$ERROR$", "$ITEM.x"])
def test_a_root_that_has_no_value_is_a_reference_error(text: str) -> None:
    root = text.rstrip("$")
    with pytest.raises(CallError) as caught:
        resolve(text, Scope())
    assert caught.value.error.kind == "reference_error"
    assert caught.value.error.message == f"{root} has no value here"
    assert caught.value.error.details == {"reference": root}


def test_a_value_that_is_not_json_cannot_be_inserted_into_a_string() -> None:
    with pytest.raises(CallError, match="a value is not JSON: nested too deep"):
        resolve("x $ITEM", Scope(item=[float("inf")]))
    with pytest.raises(CallError, match="a value is not JSON: nested too deep"):
        to_text(nested(100_000))


def test_a_scope_without_an_item_gives_none() -> None:
    scope = Scope(errors={"a": {"kind": "timeout"}})
    assert [scope.get(root) for root in ("ITEM", "INDEX", "OTHER")] == [None, None, None]
    assert scope.get("ERROR") == {"a": {"kind": "timeout"}}
    assert repr(scope.item) == "MISSING"
    assert scope.index is MISSING


def test_a_condition_is_an_expression_with_or_without_its_braces() -> None:
    for text in ("$OUTPUT[a].n > 3", " ${OUTPUT[a].n > 3} ", "OUTPUT[a].n > `3`"):
        compiler = Compiler()
        condition = compiler.condition(text, ("when",))
        assert isinstance(condition, Expression)
        assert condition.resolve(SCOPE) is True
        assert compiler.found == [(("when",), condition)]
        assert condition.text.startswith("${")


def test_a_malformed_condition_is_a_fault() -> None:
    compiler = Compiler()
    assert compiler.condition("a >", ("when",)) == Literal(True)
    (fault,) = compiler.faults
    assert fault.path == ("when",)
    assert 'malformed expression "a >": unexpected end of expression' in fault.message


def test_a_reference_says_what_it_reads_and_how_it_was_written() -> None:
    compiler = Compiler()
    template = compiler.compile("${a.result.x.length}")
    assert isinstance(template, Reference)
    assert (template.text, template.path) == ("${a.result.x.length}", ("x", "length"))
    assert template.or_length


plain_values = values.filter(lambda value: "$" not in json.dumps(value))


@given(plain_values)
def test_a_value_without_references_is_given_back_itself(value: Any) -> None:
    assert resolve(value) is value


@given(st.text("$ aUT{[", max_size=12).filter(lambda text: not {"$$", "${"} & {*_pairs(text)}))
def test_a_lone_dollar_sign_is_itself(text: str) -> None:
    assert resolve([text])[0] == text


def _pairs(text: str) -> list[str]:
    return [text[index : index + 2] for index in range(len(text))]


@given(st.data())
def test_a_reference_gives_what_plain_indexing_gives(data: st.DataObject) -> None:
    value, path, there = data.draw(places())
    scope = Scope(outputs={"t.1:x": value}, statuses={"t.1:x": "success"})
    text = "$OUTPUT[t.1:x]" + data.draw(spellings(path))
    assert resolve(text, scope) is there
    shown = there if isinstance(there, str) else json.dumps(there, ensure_ascii=False)
    compact = resolve(f"<{text}>", scope)[1:-1]
    assert compact == shown or json.loads(compact) == there
    assert resolve(f"{text} {text}.", scope) == f"{compact} {compact}."


fragments = st.sampled_from(
    [
        *"${}[].'\"`\\ \n,:?*@&|!0aé\ud800",
        "OUTPUT",
        "$OUTPUT[",
        "$INPUT.",
        "${",
        "a]",
        "$$",
        "..",
        ".result",
        ".length",
        "STATUS",
        "ERROR",
    ]
)
texts = st.lists(fragments, max_size=14).map("".join)


@given(texts)
@example("$ERROR$")
def test_any_text_compiles_and_resolves_or_is_refused_as_documented(text: str) -> None:
    compiler = Compiler()
    template = compiler.compile({"x": [text]})
    assert all(fault.path == ("x", 0) for fault in compiler.faults)
    scope = Scope(outputs={"a": OUTPUT_OF_A}, inputs=_anything(compiler))
    with contextlib.suppress(CallError):
        template.resolve(scope)
    Compiler().condition(text)


def _anything(compiler: Compiler) -> dict[str, Any]:
    names = [place.name for _, found in compiler.found for place in found.places]
    return {name: 1 for name in names if name is not None}


@given(texts)
def test_doubling_every_dollar_sign_gives_the_text_back(text: str) -> None:
    assert resolve_lenient(text.replace("$", "$$")) == text


def resolve_lenient(text: str) -> Any:
    compiler = Compiler()
    template = compiler.compile(text)
    assert {fault.code for fault in compiler.faults} <= {"not_json"}
    assert compiler.found == []
    return template.resolve(SCOPE)
