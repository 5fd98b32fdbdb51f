"""The checker reports every mistake at its place, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.check.checker import errors_in, prove
from orchestrator.errors import Problem
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow


def schema(required: str = "", optional: dict[str, Any] | None = None, **more: Any) -> Any:
    """An object schema; required properties as `name:type` words, optional ones as schemas."""
    pairs = [word.split(":") for word in required.split()]
    properties: dict[str, Any] = {name: {"type": kind} for name, kind in pairs}
    return {
        "type": "object",
        "properties": properties | (optional or {}),
        "required": list(properties),
        **more,
    }


ITEM = schema("title:string score:number")
TOOLS = {
    f"s:{name}": Tool("s", name, given, output_schema=made)
    for name, given, made in [
        (
            "search",
            schema("query:string", {"limit": {"type": "integer", "default": 5}}),
            schema(
                "total:integer",
                {"items": {"type": "array", "items": ITEM}, "next": {"type": "string"}},
            )
            | {"required": ["items", "total"]},
        ),
        ("strict", schema("n:number", additionalProperties=False), schema("n:number")),
        (
            "mean",
            {
                "type": "object",
                "properties": {"of": {"type": "array", "items": {"type": "number"}}},
            },
            schema("mean:number"),
        ),
        (
            "kind",
            schema("", {"of": {"enum": ["cat", "dog"]}}) | {"required": ["of"]},
            schema("", {"is": {"enum": ["dog", "cow"]}}) | {"required": ["is"]},
        ),
        (
            "save",
            schema("", {"article": ITEM}),
            {"type": "object", "additionalProperties": {"type": "integer"}},
        ),
        ("free", {"type": "object"}, None),
        (
            "maybe",
            schema("", {"text": {"type": ["string", "null"]}}),
            schema(
                "",
                {"text": {"type": ["string", "null"]}, "at": {"anyOf": [ITEM, {"type": "null"}]}},
            )
            | {"required": ["text", "at"]},
        ),
        ("broken", {"type": "objekt"}, {"$ref": "https://elsewhere"}),
    ]
}
SEARCH = {"id": "a", "tool": "s:search", "arguments": {"query": "x"}}


def findings(*tasks: dict[str, Any], **rest: Any) -> list[Problem]:
    return prove(Workflow.load({"tasks": list(tasks), **rest}), TOOLS)


def reported(*tasks: dict[str, Any], **rest: Any) -> list[tuple[str, str, str]]:
    return [(p.severity, p.code, p.path) for p in findings(*tasks, **rest) if p.severity != "note"]


def using(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"id": "b", "tool": f"s:{tool}", "arguments": arguments}


def test_a_plan_that_fits_has_no_findings() -> None:
    tasks = [
        SEARCH,
        using("search", query="$OUTPUT[a].items[0].title", limit="$OUTPUT[a].total"),
        using("mean", of="${OUTPUT[a].items[].score}") | {"id": "c"},
        using("save", article="$ITEM") | {"id": "d", "for_each": "$OUTPUT[a].items"},
        using("search", query="${join(', ', OUTPUT[a].items[?score > 0.5].title)}") | {"id": "e"},
        using("strict", n="${length(OUTPUT[d])}") | {"id": "f", "when": "OUTPUT[a].total > 3"},
        using("kind", of="dog") | {"id": "g", "fallback": {"value": {"is": "$ERROR.kind"}}},
    ]
    assert findings(*tasks, output={"n": "$OUTPUT[c].mean", "t": "$OUTPUT[d][0].x"}) == []


B = "/tasks/1/arguments"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (using("search"), [("error", "missing_argument", B)]),
        (
            using("search", quer="x"),
            [("error", "missing_argument", B), ("error", "unexpected_argument", f"{B}/quer")],
        ),
        (using("strict", n=1, m=2), [("error", "unexpected_argument", f"{B}/m")]),
        (using("strict", n="$OUTPUT[a].total", m=2), [("error", "unexpected_argument", f"{B}/m")]),
        (using("search", query=5), [("error", "wrong_argument", f"{B}/query")]),
        (using("search", query="x", limit=1.5), [("error", "wrong_argument", f"{B}/limit")]),
        (using("mean", of=[1, "x"]), [("error", "wrong_argument", f"{B}/of/1")]),
        (using("mean", of=["$OUTPUT[a].total", "x"]), [("error", "wrong_argument", f"{B}/of/1")]),
        (using("kind", of="Cat"), [("error", "wrong_argument", f"{B}/of")]),
        (using("save", article={"title": "x"}), [("error", "missing_argument", f"{B}/article")]),
        (
            using("save", article={"title": "$OUTPUT[a].total", "score": True}),
            [("error", "wrong_argument", f"{B}/article/score")],
        ),
        (using("search", query="$OUTPUT[a].itms"), [("error", "unknown_place", f"{B}/query")]),
        (using("search", query="$OUTPUT[a].total.x"), [("error", "unknown_place", f"{B}/query")]),
        (
            using("search", query="$OUTPUT[a].items.title"),
            [("error", "unknown_place", f"{B}/query")],
        ),
        (using("search", query="$OUTPUT[a][0]"), [("error", "unknown_place", f"{B}/query")]),
        (
            using("search", query="see $OUTPUT[a].items[0].url"),
            [("error", "unknown_place", f"{B}/query")],
        ),
        (using("search", query="$OUTPUT[a].items"), [("error", "wrong_argument", f"{B}/query")]),
        (using("search", query="$OUTPUT[a].next"), [("warning", "maybe_absent", f"{B}/query")]),
        (using("mean", of="$OUTPUT[a].items"), [("warning", "may_not_fit", f"{B}/of")]),
        (using("mean", of="$OUTPUT[a]"), [("error", "wrong_argument", f"{B}/of")]),
        (
            using("search", query="${length(OUTPUT[a].total)}"),
            [("error", "wrong_expression", f"{B}/query")],
        ),
        (
            using("search", query="${OUTPUT[a].items[].titel}"),
            [("warning", "always_null", f"{B}/query"), ("error", "wrong_argument", f"{B}/query")],
        ),
        (
            using("search", query="$ITEM.x") | {"for_each": "$OUTPUT[a].items"},
            [("error", "unknown_place", f"{B}/query")],
        ),
        (
            using("search", query="$ITEM") | {"for_each": ["x", 5, ["y"]]},
            [("error", "wrong_argument", f"{B}/query")],
        ),
        (
            using("search", query="x") | {"for_each": "$OUTPUT[a].total"},
            [("error", "not_a_list", "/tasks/1/for_each")],
        ),
        (
            using("search", query="x") | {"for_each": "$OUTPUT[a]"},
            [("error", "not_a_list", "/tasks/1/for_each")],
        ),
        (
            using("search", query="x") | {"for_each": "${OUTPUT[a].total}"},
            [("error", "not_a_list", "/tasks/1/for_each")],
        ),
        (
            using("search", query="x") | {"for_each": []},
            [("warning", "no_calls", "/tasks/1/for_each")],
        ),
        (
            using("search", query="x") | {"when": "OUTPUT[a].totl > 3"},
            [("warning", "always_null", "/tasks/1/when")],
        ),
        (
            using("search", query="x") | {"when": "STATUS[a] == 'sucess'"},
            [("warning", "never_true", "/tasks/1/when")],
        ),
        (
            using("search", query="x") | {"when": "OUTPUT[a].total > '3'"},
            [("error", "wrong_expression", "/tasks/1/when")],
        ),
        (
            using("search", query="x") | {"locks": ["x:$OUTPUT[a].nam"]},
            [("error", "unknown_place", "/tasks/1/locks/0")],
        ),
        (
            using("search", query="x") | {"fallback": {"value": "$ERROR.kin"}},
            [("error", "unknown_place", "/tasks/1/fallback/value")],
        ),
        (
            using("search", query="x") | {"fallback": {"tool": "s:strict"}},
            [("error", "missing_argument", "/tasks/1/fallback/arguments")],
        ),
        (using("free", x="$OUTPUT[a].itms"), [("error", "unknown_place", f"{B}/x")]),
        (using("free", x={"$OUTPUT[a].itms": 1}), [("error", "unknown_place", f"{B}/x")]),
        (
            using("search", query="$OUTPUT[a].total") | {"run_if": "all_done"},
            [("warning", "maybe_absent", f"{B}/query")],
        ),
        (
            using("search", query="$OUTPUT[a].total") | {"run_if": "any_failed"},
            [("error", "never_an_output", f"{B}/query")],
        ),
        (
            using("search", query="${OUTPUT[a].total}") | {"run_if": "any_failed"},
            [("error", "wrong_argument", f"{B}/query")],
        ),
        (using("broken", x=1), [("warning", "unusable_schema", "")] * 2),
    ],
)
def test_each_mistake_is_reported_at_its_place(task: Any, expected: Any) -> None:
    found = findings(SEARCH, task)
    assert [(p.severity, p.code, p.path) for p in found if p.severity != "note"] == expected


@pytest.mark.parametrize(
    "task",
    [
        using(
            "search", query="x", limit="$OUTPUT[a].items[0].title"
        ),  # a string may convert to a number
        using("search", query="$OUTPUT[a].total"),  # a number converts to a string
        using("free", anything=[1, {"x": "$OUTPUT[a].items"}]),
        using("search", query="$OUTPUT[a].items[999].title"),
        using("maybe", text="${OUTPUT[a].next}")
        | {"run_if": "all_success", "when": "OUTPUT[a].next"},
        using("search", query="${not_null(OUTPUT[a].next, 'x')}"),
        using("search", query="${OUTPUT[a].total == 3 && 'x' || 'y'}"),
        using("search", query="${a.result.items.length}"),
        using("mean", of=[]),
        using("search", query="$$OUTPUT[a].nothing"),
    ],
)
def test_a_value_that_may_fit_is_no_error(task: Any) -> None:
    assert [p for p in findings(SEARCH, task) if p.severity == "error"] == []


def test_an_unknown_type_is_reported_once_with_the_reason() -> None:
    free = {"id": "a", "tool": "s:free"}
    gone = {"id": "c", "tool": "other:tool"}
    task = using("search", query="$OUTPUT[a].x.y", limit="$OUTPUT[c].n")
    found = findings(free, task, gone)
    assert {(p.severity, p.code) for p in found} == {("note", "unknown_type")}
    assert [p.message for p in found if p.path == f"{B}/query"] == [
        "$OUTPUT[a].x.y: s:free declares no outputSchema"
    ]
    assert [p.message for p in found if p.path == f"{B}/limit"] == [
        '$OUTPUT[c].n: the tools of server "other" are not known'
    ]


def test_the_message_names_the_tool_the_argument_and_the_reference() -> None:
    found = findings(SEARCH, using("search", query="$OUTPUT[a].items", limit="three"))
    assert [str(problem) for problem in found] == [
        'task "b", /tasks/1/arguments/limit: s:search: expected integer, got string '
        '"three" at .limit (s:search(query: string, limit: integer = 5))',
        'task "b", /tasks/1/arguments/query: s:search: expected string, got array '
        "from $OUTPUT[a].items at .query (s:search(query: string, limit: integer = 5))",
    ]
    assert found[1].text == "$OUTPUT[a].items"


def test_a_reference_to_a_missing_property_names_the_properties_there_are() -> None:
    problem = findings(SEARCH, using("search", query="see $OUTPUT[a].items[0].titel!"))[0]
    assert problem.message == ('$OUTPUT[a].items[0] has no property "titel" (it has: title, score)')
    assert problem.alternatives == ("title",)
    assert problem.replacement == (
        {"op": "replace", "path": f"{B}/query", "value": "see $OUTPUT[a].items[0].title!"},
    )


@pytest.mark.parametrize(
    ("task", "operation"),
    [
        (using("search", qury="x"), {"op": "move", "from": f"{B}/qury", "path": f"{B}/query"}),
        (using("strict", n="5"), {"op": "replace", "path": f"{B}/n", "value": 5}),
        (using("kind", of="CAT"), {"op": "replace", "path": f"{B}/of", "value": "cat"}),
    ],
)
def test_a_certain_fix_is_proposed(task: Any, operation: Any) -> None:
    proposed = [found.replacement for found in findings(SEARCH, task) if found.replacement]
    assert proposed == [(operation,)]


def test_all_certain_fixes_in_one_string_are_applied_at_once() -> None:
    task = using("search", query="$OUTPUT[a].totl and $OUTPUT[a].itms")
    fixed = {
        "op": "replace",
        "path": f"{B}/query",
        "value": "$OUTPUT[a].total and $OUTPUT[a].items",
    }
    assert [p.replacement for p in findings(SEARCH, task)] == [(fixed,), (fixed,)]


def test_a_name_that_occurs_once_in_an_expression_is_marked_and_fixed() -> None:
    found = findings(SEARCH, using("search", query="${join('-', OUTPUT[a].items[].titel)}"))
    assert [(p.code, p.text, p.message) for p in found if p.severity == "warning"] == [
        (
            "always_null",
            "titel",
            "join('-', OUTPUT[a].items[].titel): the value has no property \"titel\" "
            "(it has: title, score), so this is always null",
        )
    ]
    fixed = "${join('-', OUTPUT[a].items[].title)}"
    assert found[0].replacement == ({"op": "replace", "path": f"{B}/query", "value": fixed},)
    when = using("search", query="x") | {"when": "STATUS[a] == 'sucess'"}
    assert [(p.text, len(p.replacement)) for p in findings(SEARCH, when)] == [("sucess", 1)]
    for twice in ("titel: ${OUTPUT[a].items[].titel}", "${OUTPUT[a].items[?titel == 'x'].titel}"):
        found = findings(SEARCH, using("search", query=twice))
        assert [p.replacement for p in found if p.code == "always_null"] == [()]


def test_a_mismatch_in_the_value_of_a_reference_is_reported_at_the_reference() -> None:
    task = using("save", article="$OUTPUT[a]")
    assert reported(SEARCH, task) == [("error", "missing_argument", f"{B}/article")] * 2
    each = SEARCH | {"for_each": ["x"]}
    found = findings(each, using("save", article="$OUTPUT[a][0].items[0]", x={"y": "$OUTPUT[a]"}))
    assert [p.path for p in found] == [f"{B}/x"]


def test_an_argument_with_a_default_is_not_missing_even_if_it_is_listed_as_required() -> None:
    given = schema("q:string", {"n": {"type": "integer", "default": 3}}) | {"required": ["q", "n"]}
    tools = TOOLS | {"s:zod": Tool("s", "zod", given)}
    tasks = [SEARCH, using("zod", q="$OUTPUT[a].items[0].title")]
    assert prove(Workflow.load({"tasks": tasks}), tools) == []


def test_a_union_of_which_one_option_converts_to_a_string_may_fit() -> None:
    union = {
        "type": "object",
        "properties": {"x": {"type": ["array", "number"]}},
        "required": ["x"],
    }
    tools = TOOLS | {"s:union": Tool("s", "union", {}, output_schema=union)}
    tasks = [{"id": "a", "tool": "s:union"}, using("search", query="$OUTPUT[a].x")]
    found = prove(Workflow.load({"tasks": tasks}), tools)
    assert [(p.severity, p.code) for p in found] == [("warning", "may_not_fit")]


def test_an_uncertain_fix_is_not_proposed() -> None:
    for task in (
        using("search", query="x", limt=3, limit=4),
        using("search", query="$OUTPUT[a].x"),
        using("strict", n="five"),
        using("search", query=5),
    ):
        assert [p.replacement for p in findings(SEARCH, task) if p.replacement] == []


def test_the_enumeration_of_one_tool_is_compared_with_that_of_another() -> None:
    first = {"id": "a", "tool": "s:kind", "arguments": {"of": "cat"}}
    found = findings(first, using("kind", of="$OUTPUT[a].is"))
    assert [(p.severity, p.code) for p in found] == [("warning", "may_not_fit")]
    assert found[0].message == (
        's:kind: expected a value that the schema allows, may be "cow" from $OUTPUT[a].is at .of'
    )


def test_a_possible_null_is_reported() -> None:
    first = {"id": "a", "tool": "s:maybe"}
    assert reported(first, using("search", query="$OUTPUT[a].text")) == [
        ("warning", "may_not_fit", f"{B}/query")
    ]
    assert reported(first, using("search", query="$OUTPUT[a].at.title")) == [
        ("warning", "maybe_absent", f"{B}/query")
    ]
    assert reported(first, using("maybe", text="$OUTPUT[a].text")) == []


@pytest.mark.parametrize(
    "value", ["$OUTPUT[a].text", "${OUTPUT[a].text}", "${OUTPUT[a].text || OUTPUT[a].text}"]
)
def test_the_hint_for_a_possible_null_is_an_expression(value: str) -> None:
    inner = value[2:-1] if value.startswith("${") else value[1:]
    (found,) = findings({"id": "a", "tool": "s:maybe"}, using("search", query=value))
    assert found.hint == f"${{to_string({inner})}} converts any value to a string"


def test_a_fallback_counts_as_an_output_too() -> None:
    fallback = SEARCH | {"fallback": {"value": {"total": 0}}}
    assert reported(fallback, using("strict", n="$OUTPUT[a].total")) == []
    assert reported(fallback, using("free", x="$OUTPUT[a].items")) == [
        ("warning", "maybe_absent", f"{B}/x")
    ]
    other = SEARCH | {"fallback": {"tool": "s:strict", "arguments": {"n": 1}}}
    assert reported(other, using("free", x="$OUTPUT[a].q")) == [
        ("error", "unknown_place", f"{B}/x")
    ]
    certain = using("free", x="$OUTPUT[a].total") | {"run_if": "all_done"}
    assert reported(fallback, certain) == []
    assert reported(fallback, certain, on_error="fail_fast") != []


def test_the_output_of_a_for_each_is_an_array_of_outputs_of_its_tool() -> None:
    each = SEARCH | {"for_each": ["x", "y"], "arguments": {"query": "$ITEM"}}
    assert reported(each, using("free", x="$OUTPUT[a][1].total")) == []
    assert reported(each, using("free", x="$OUTPUT[a].total")) == [
        ("error", "unknown_place", f"{B}/x")
    ]
    assert reported(each, using("mean", of="${OUTPUT[a][].total}")) == []


def test_an_empty_array_says_nothing_about_items() -> None:
    fallback = SEARCH | {"fallback": {"value": {"items": [], "total": 0}}}
    each = using("search", query="$ITEM.title") | {"for_each": "$OUTPUT[a].items"}
    assert reported(fallback, each) == []
    other = "${OUTPUT[a].items || `[]`}"
    assert reported(SEARCH, each | {"for_each": other}) == []
    assert reported(SEARCH, each | {"for_each": []}) == [
        ("warning", "no_calls", "/tasks/1/for_each")
    ]


def test_inputs_have_types_and_unused_ones_are_reported() -> None:
    inputs = {"n": {"type": "integer"}, "names": {"type": "array"}, "free": True, "no": {}}
    tasks = [
        SEARCH,
        using("search", query="$INPUT.names") | {"for_each": "$INPUT.n"},
        using("search", query="${not_null(INPUT.free, 'x')}") | {"id": "c"},
    ]
    assert reported(*tasks, inputs=inputs) == [
        ("warning", "unused_input", "/inputs/no"),
        ("error", "wrong_argument", f"{B}/query"),
        ("error", "not_a_list", "/tasks/1/for_each"),
    ]
    whole = using("free", x="${INPUT}")
    assert reported(SEARCH, whole, inputs={"n": {"type": "integer"}}) == []


def test_the_output_of_the_workflow_is_checked() -> None:
    found = findings(SEARCH, output={"x": ["$OUTPUT[a].totl"]})
    assert [(p.code, p.path, p.task) for p in found] == [("unknown_place", "/output/x/0", None)]


OBJECT_OF_N = schema("n:integer")
LIST_OF_N = {"type": "array", "items": OBJECT_OF_N}
NULLABLE_N = {"anyOf": [OBJECT_OF_N, {"type": "null"}]}


def only_v(inner: Any) -> Any:
    return schema("", {"v": inner}) | {"required": ["v"]}


def handed_on(made: Any, wanted: Any, value: Any = "$OUTPUT[a].v", **task: Any) -> list[Problem]:
    """The problems where the output `v` of one tool is the argument `v` of another."""
    tools = {
        "s:out": Tool("s", "out", {}, output_schema=only_v(made)),
        "s:in": Tool("s", "in", only_v(wanted)),
    }
    output = task.pop("output", None)
    first = {"id": "a", "tool": "s:out"}
    second = {"id": "b", "tool": "s:in", "arguments": {"v": value}, **task}
    inputs = {"o": schema("a:string"), "c": schema("a:string", additionalProperties=False)}
    document = {"tasks": [first, second], "inputs": inputs, "output": output}
    found = prove(Workflow.load(document), tools)
    return [p for p in found if p.severity != "note" and p.code != "unused_input"]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ({"type": "integer"}, {"type": "number", "enum": [1, 2]}),
        ({"type": "number", "const": 1}, {"type": "integer"}),
        ({"type": "integer"}, {"type": "integer", "const": 1.0}),
        ({"type": "null"}, {"type": "string", "nullable": True}),
        ({"type": ["string", "null"]}, {"type": "string", "enum": ["a"], "nullable": True}),
    ],
)
def test_a_type_and_values_go_together(made: Any, wanted: Any) -> None:
    assert handed_on(made, wanted) == []


def test_a_string_or_object_may_be_the_string() -> None:
    made = {"type": ["string", "object"], "additionalProperties": False}
    found = handed_on(made, {"type": ["string", "object"], "required": ["a"]})
    assert [(p.severity, p.message) for p in found] == [
        ("warning", 's:in: property "a" is required and may be missing from $OUTPUT[a].v at .v')
    ]


def test_a_property_that_is_required_without_a_schema_exists() -> None:
    made = schema("a:string") | {"required": ["a", "b"]}
    assert handed_on(made, {"type": "string"}, "$OUTPUT[a].v.b") == []
    assert [p.severity for p in handed_on(made, {"type": "string"}, "$OUTPUT[a].v.c")] == ["error"]


@pytest.mark.parametrize(
    ("made", "expression"),
    [
        ({"type": "integer"}, "OUTPUT[a].v > 5 && length(OUTPUT[a].v)"),
        ({"type": "integer"}, "OUTPUT[a].v || length(OUTPUT[a].v)"),
        (LIST_OF_N, "OUTPUT[a].v[].length(n)"),
        (LIST_OF_N, "OUTPUT[a].v[?n > 'x']"),
        (LIST_OF_N, "map(&length(n), OUTPUT[a].v)"),
        (LIST_OF_N, "OUTPUT[a].v[0].n > 'x'"),
        (NULLABLE_N, "OUTPUT[a].v.[length(n)]"),
        (NULLABLE_N, "OUTPUT[a].v.{x: length(n)}"),
    ],
)
def test_an_expression_part_that_need_not_be_evaluated_gives_no_error(
    made: Any, expression: str
) -> None:
    found = handed_on(made, {}, f"${{{expression}}}")
    assert ("wrong_expression", "warning") in [(p.code, p.severity) for p in found]
    assert "error" not in [p.severity for p in found]


def test_comparing_numbers_gives_a_boolean() -> None:
    assert handed_on({"type": "integer"}, {"type": "boolean"}, "${OUTPUT[a].v > 1}") == []
    found = handed_on({"type": "integer"}, {"type": "boolean"}, "${to_number(OUTPUT[a].v) > 1}")
    assert [p.message for p in found] == [
        "s:in: expected boolean, may be null from to_number(OUTPUT[a].v) > 1 at .v"
    ]


@pytest.mark.parametrize(
    ("value", "run_if", "expected"),
    [
        ("$ERROR[a]", "all_done", [("may_not_fit", "warning")]),
        ("$ERROR[a]", "any_failed", [("wrong_argument", "error")]),
        ("$ERROR[a]", "all_success", []),
        ("$ERROR[a].message", "all_done", [("maybe_absent", "warning")]),
        ("$ERROR[a].message", "any_failed", []),
        ("$ERROR[a].message", "all_success", [("unknown_place", "error")]),
    ],
)
def test_an_error_is_null_where_nothing_failed(
    value: str, run_if: str, expected: list[tuple[str, str]]
) -> None:
    found = handed_on({}, {"type": ["string", "null"]}, value, run_if=run_if)
    assert [(p.code, p.severity) for p in found] == expected


@pytest.mark.parametrize(
    ("made", "call", "expected"),
    [
        ({"type": "integer"}, "length(OUTPUT[a].v)", "length() expects string, array or object"),
        ({"type": "integer"}, "join(',', OUTPUT[a].v)", "parameter 2 of join() expects array"),
        (LIST_OF_N, "sum(OUTPUT[a].v)", "sum() expects array of number, may be array of object"),
    ],
)
def test_a_function_says_what_it_expects(made: Any, call: str, expected: str) -> None:
    found = handed_on(made, True, f"${{{call}}}")
    assert [p.message.startswith(f"{call}: {expected}") for p in found] == [True]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("${OUTPUT[a] == null}", []),
        ("${length(OUTPUT[a].v)}", []),
        ("${OUTPUT[a].v > 'x'}", []),
        ("${OUTPUT[a].v > 3}", ["warning"]),
        ("$ERROR[a].message", ["warning"]),
        ("${OUTPUT[a].w}", ["error"]),
    ],
)
def test_the_output_of_a_run_may_be_made_after_a_failure(output: str, expected: list[str]) -> None:
    found = handed_on({"type": "string"}, {"type": "string"}, output=output)
    assert [p.severity for p in found] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$INPUT.o.b", ["warning"]),
        ("$INPUT.c.b", ["error"]),
        ("$INPUT.o.a.b", ["error"]),
        ("$INPUT.o[0]", ["error"]),
    ],
)
def test_an_input_may_have_properties_that_its_schema_leaves_open(
    value: str, expected: list[str]
) -> None:
    assert [p.severity for p in handed_on({}, {}, value)] == expected


def test_every_item_needs_the_property() -> None:
    found = handed_on({}, {}, "$ITEM.name", for_each=[{"name": "x"}, {"nam": "y"}])
    assert [(p.code, p.severity, p.replacement) for p in found] == [("unknown_place", "error", ())]


def test_the_items_of_a_literal_array_are_counted() -> None:
    found = handed_on({}, {"type": "array", "minItems": 3}, ["$OUTPUT[a].v", "x"])
    assert [p.message for p in found] == ["s:in: expected at least 3 items, got 2 items at .v"]


def test_properties_that_an_object_does_not_declare_are_compared() -> None:
    made = {"type": "object"}
    wanted = {"type": "object", "additionalProperties": {"type": "integer"}}
    found = handed_on(made, wanted, {"x": "$OUTPUT[a].v"})
    assert [(p.severity, p.path) for p in found] == [("error", "/tasks/1/arguments/v/x")]


@pytest.mark.untraced
@pytest.mark.parametrize(
    "value", ["$OUTPUT[{}]", {"l": "$OUTPUT[{}]", "r": "$OUTPUT[{}]"}, ["${{OUTPUT[{}] || 'x'}}"]]
)
def test_fallbacks_that_refer_to_each_other_do_not_grow(value: Any) -> None:
    tasks: list[Any] = [{"id": "t0", "tool": "s:save"}]
    for number in range(1, 1500):
        text = json.loads(json.dumps(value).replace("{}", f"t{number - 1}"))
        fallback = json.loads(json.dumps(text).replace("{{", "{").replace("}}", "}"))
        call = {"id": f"t{number}", "tool": "s:save", "fallback": {"value": fallback}}
        tasks.append(call)
    last = {"id": "last", "tool": "s:save", "arguments": {"article": "$OUTPUT[t1499]"}}
    assert "error" not in [p.severity for p in findings(*tasks, last)]


def test_a_recursive_schema_that_doubles_is_read_once() -> None:
    levels = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(30)
    }
    last = {"d30": {"anyOf": [{"$ref": "#/$defs/d30"}, {"type": "string"}]}}
    wanted = schema("", {"v": {"$ref": "#/$defs/d0"}}) | {"$defs": {**levels, **last}}
    made = schema("v:integer")
    tools = {"s:t": Tool("s", "t", wanted, output_schema=made)}
    first = {"id": "a", "tool": "s:t"}
    second = {"id": "b", "tool": "s:t", "arguments": {"v": "$OUTPUT[a].v"}}
    found = prove(Workflow.load({"tasks": [first, second]}), tools)
    assert "error" not in [p.severity for p in found]


def test_two_recursive_schemas_are_compared_once() -> None:
    names = [f"n{number}" for number in range(10)]
    node = {"type": "object", "properties": {name: {"$ref": "#/$defs/n"} for name in names}}
    whole = only_v({"$ref": "#/$defs/n"})
    tools = {
        "s:t": Tool(
            "s",
            "t",
            whole | {"$defs": {"n": {**node, "required": names}}},
            output_schema=whole | {"$defs": {"n": {**node, "required": names[1:]}}},
        )
    }
    first = {"id": "a", "tool": "s:t", "arguments": {"v": "$INPUT.x"}}
    second = {"id": "b", "tool": "s:t", "arguments": {"v": "$OUTPUT[a].v"}}
    document = {"tasks": [first, second], "inputs": {"x": {}}}
    found = prove(Workflow.load(document), tools)
    assert {p.severity for p in found} <= {"warning", "note"}
    assert len(found) < 2000


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"x$$": "$OUTPUT[a].itms"}, "/x$$"),
        ({"x": {"y$$": "${length(OUTPUT[a].itms)}"}}, "/x/y$$"),
        ({"$$": [5, "$OUTPUT[a].itms"]}, "/$$/1"),
        ({"x": {"$OUTPUT[a].total": "$OUTPUT[a].itms"}}, "/x"),
        ({"$5": "$OUTPUT[a].itms"}, "/$5"),
        ({"": "$OUTPUT[a].itms"}, "/"),
    ],
)
def test_a_problem_has_the_path_that_the_file_has(arguments: Any, path: str) -> None:
    found = findings(SEARCH, {"id": "b", "tool": "s:free", "arguments": arguments})
    assert {p.path for p in found} == {f"/tasks/1/arguments{path}"}


def test_a_number_converts_to_none_of_the_expected_strings() -> None:
    words = {"type": "string", "enum": ["a", "b"]}
    assert [p.message for p in handed_on({"type": "number"}, words)] == [
        's:in: expected one of "a", "b", got number from $OUTPUT[a].v at .v'
    ]
    assert handed_on({"type": "number"}, {"enum": ["a", "1"]}) == []
    assert handed_on({"type": "boolean"}, {"const": "true"}) == []
    assert handed_on({"type": ["integer", "string"]}, words) == []


def test_errors_in_gives_the_errors_of_prove_and_a_broken_schema_gives_none() -> None:
    wrong = Workflow.load({"tasks": [SEARCH, using("search", query="$OUTPUT[a].itms", colour=3)]})
    assert [p.code for p in errors_in(wrong, TOOLS)] == ["unknown_place"]
    broken = Workflow.load({"tasks": [SEARCH, using("broken", x=1)]})
    assert errors_in(broken, TOOLS) == []
    tools = TOOLS | {"s:odd": Tool("s", "odd", {"type": "object", "required": ["x"], "enum": 5})}
    odd = Workflow.load({"tasks": [using("odd")]})
    assert (errors_in(odd, tools), len(prove(odd, tools))) == ([], 1)


@pytest.mark.parametrize(
    ("task", "hint"),
    [
        ({"when": "STATUS[a] == 'error'"}, "run_if"),
        ({"when": "ERROR[a]"}, "run_if"),
        ({"when": "$ERROR[a].kind == 'timeout'"}, "run_if"),
        ({"when": "STATUS[a] != 'success'"}, "run_if"),
        ({"when": "STATUS[a] == 'error' || STATUS[a] == 'skipped'"}, "run_if"),
        ({"when": "STATUS[a] == 'error' && OUTPUT[a].total > 3"}, "run_if"),
        ({"when": "!(STATUS[a] == 'success')"}, "run_if"),
        ({"when": "ERROR[a].message || STATUS[a] == 'cancelled'"}, "run_if"),
        ({"when": "STATUS[a] == 'success'", "run_if": "any_failed"}, "run_if"),
        ({"when": "!ERROR[a]", "run_if": "any_failed"}, "run_if"),
        ({"when": "contains(['error', 'skipped'], STATUS[a])"}, "run_if"),
        ({"when": "STATUS[a] == 'skipped'", "run_if": "any_success"}, "run_if"),
        ({"when": "contains(['error', 'success'], STATUS[a])"}, None),
        ({"when": "contains(['error'], STATUS[a])", "run_if": "all_done"}, None),
        ({"when": "contains(OUTPUT[a].items, STATUS[a])"}, None),
        ({"when": "OUTPUT[a]", "run_if": "any_failed"}, ""),
        ({"when": "OUTPUT[a].total == 'many'"}, ""),
        ({"when": "STATUS[a] == 'success'"}, None),
        ({"when": "STATUS[a] == 'error'", "run_if": "all_done"}, None),
        ({"when": "ERROR[a]", "run_if": "any_failed"}, None),
        ({"when": "OUTPUT[a].total > 3 || STATUS[a] == 'error'"}, None),
        ({"when": "!ERROR[a]"}, None),
        ({"when": "OUTPUT[a].total"}, None),
        ({"when": "OUTPUT[a].items"}, None),
    ],
)
def test_a_condition_that_is_always_false_never_lets_its_task_run(
    task: dict[str, Any], hint: str | None
) -> None:
    found = findings(SEARCH, using("free") | task)
    never = [problem for problem in found if problem.code == "never_runs"]
    assert [(p.severity, p.path) for p in never] == (
        [] if hint is None else [("warning", "/tasks/1/when")]
    )
    for problem in never:
        assert problem.message.startswith("the task never runs: its condition is always false")
        assert (hint in problem.hint) if hint else (problem.hint == "")


def test_a_place_that_is_null_when_its_task_has_failed_is_no_error() -> None:
    def codes(**task: Any) -> list[tuple[str, str]]:
        found = findings(SEARCH, using("free", x=task.pop("x", 1)) | task)
        return [(problem.severity, problem.code) for problem in found]

    # In braces it is null: for certain, if the only dependency has failed.
    assert codes(x="${OUTPUT[a].total.x}", run_if="any_failed") == []
    assert codes(x="${OUTPUT[a].nope}", run_if="any_failed") == []
    assert codes(x="${OUTPUT[a].nope}", run_if="all_done") == [("warning", "unknown_place")]
    assert codes(x="${OUTPUT[a].nope}") == [("error", "unknown_place")]


@pytest.mark.parametrize(
    "field",
    [
        {"arguments": {"x": "$OUTPUT[a].items"}},
        {"for_each": "$OUTPUT[a].items"},
        {"locks": ["k:$OUTPUT[a].total"]},
        {"fallback": {"value": "$OUTPUT[a].items"}, "depends_on": ["a"]},
        {"fallback": {"tool": "s:free", "arguments": {"x": "$OUTPUT[a]"}}, "depends_on": ["a"]},
    ],
)
def test_an_output_that_need_not_exist_is_found_in_every_field(field: dict[str, Any]) -> None:
    for run_if, expected in (
        ("all_done", ("warning", "maybe_absent")),
        ("any_failed", ("error", "never_an_output")),
        ("all_success", None),
    ):
        found = findings(SEARCH, {"id": "b", "tool": "s:free", **field, "run_if": run_if})
        assert [(p.severity, p.code) for p in found] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("STATUS[a] == 'success'", []),
        ("'success' == STATUS[a] && OUTPUT[a].total > 3", []),
        ("STATUS[a] == 'success' || OUTPUT[a].total > 3", ["maybe_absent"]),
        ("STATUS[a] != 'success'", ["maybe_absent"]),
    ],
)
def test_a_condition_that_a_task_has_succeeded_proves_that_it_has_an_output(
    when: str, expected: list[str]
) -> None:
    use = {"id": "b", "tool": "s:free", "run_if": "all_done", "when": when}
    found = findings(SEARCH, use | {"arguments": {"x": "$OUTPUT[a].total"}})
    assert [p.code for p in found] == expected
    braces = findings(SEARCH, use | {"arguments": {"x": "${add(OUTPUT[a].total, 1)}"}})
    assert bool(braces) == bool(expected)


def test_the_output_of_the_run_may_name_a_task_that_is_skipped_although_nothing_failed() -> None:
    alarm = {"id": "b", "tool": "s:free", "run_if": "any_failed", "depends_on": ["a"]}
    after = {"id": "c", "tool": "s:free", "depends_on": ["b"]}
    sure = {"id": "d", "tool": "s:free", "depends_on": ["a"]}
    maybe = {"id": "e", "tool": "s:free", "when": "OUTPUT[a].total > 3"}
    tasks = [SEARCH, alarm, after, sure, maybe]
    output = [f"$OUTPUT[{name}]" for name in "abcde"] + ["${OUTPUT[b]}"]
    found = prove(Workflow.load({"tasks": tasks, "output": output}), TOOLS)
    absent = [problem for problem in found if problem.code == "maybe_absent"]
    assert [problem.path for problem in absent] == ["/output/1", "/output/2", "/output/4"]
    assert absent[0].hint == "${OUTPUT[b]} is null then"


def test_the_list_of_a_for_each_that_failed_in_part_has_null_in_it() -> None:
    each = SEARCH | {"for_each": ["x", "y"]}

    def codes(text: str, run_if: str) -> list[str]:
        return [p.code for p in findings(each, using("free", x=text) | {"run_if": run_if})]

    assert codes("${OUTPUT[a][0] == null}", "all_done") == []
    assert codes("${OUTPUT[a][-1] == null}", "any_failed") == []
    counted = "${OUTPUT[a][?@ == null]}"
    assert codes(counted, "all_done") == ["always_null"]
    assert sorted(codes(counted, "all_success")) == ["always_null", "never_true"]


def test_a_filter_for_null_says_how_to_count_instead() -> None:
    task = using("free", x="${length(OUTPUT[a].items[?@ == null])}")
    found = [p for p in findings(SEARCH, task) if p.code == "always_null"]
    assert [p.hint for p in found] == ["to count null, write count_null(LIST)"]
    assert "a filter leaves out null" in found[0].message
