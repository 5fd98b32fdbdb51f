"""The workflow file: every mistake at once, in its place and in plain words; one canonical form."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orchestrator import Task, Workflow, WorkflowError
from orchestrator.documents.pointer import pointer, value_at
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Problem
from orchestrator.workflow.model import workflow_schema
from orchestrator.workflow.normalize import as_written
from orchestrator.workflow.task import Fallback, Lock, Retry

CASES = Path(__file__).parents[3] / "shared" / "cases" / "invalid" / "plans.jsonl"
SCHEMA = Draft202012Validator(workflow_schema())
T: dict[str, Any] = {"id": "a", "tool": "s:t"}
ID = 'an id of letters, digits, "_", "-", "." and ":"'


def refused(data: Any) -> tuple[Problem, ...]:
    with pytest.raises(WorkflowError) as caught:
        Workflow.model_validate(data)
    for problem in caught.value.problems:
        for jargon in ("Input should", "pydantic", "validation", "NoneType", "dict", "Keys"):
            assert jargon not in problem.message
    return caught.value.problems


def lines(data: Any) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in refused(data)]


def of_task(**fields: Any) -> list[str]:
    """What is wrong with a task."""
    return [str(problem) for problem in refused({"tasks": [T | fields]})]


# --- making one -----------------------------------------------------------------------------


def test_a_workflow_is_made_from_tasks_or_dicts() -> None:
    made = Workflow(
        name="plan",
        tasks=[
            Task(id="a", tool="s:t", arguments={"x": 1}),
            {"id": "b", "tool": "s:t", "args": {"y": "$OUTPUT[a].z"}, "needs": ["a"]},
        ],
    )
    assert made.plan.generations == [["a"], ["b"]]
    assert made.tasks[1].arguments == {"y": "$OUTPUT[a].z"}
    assert Workflow.load(made) is made
    assert Workflow.model_validate(made) is made
    assert Workflow.load(made.to_dict()) == made
    assert Workflow.model_validate_json(json.dumps(made.to_dict())) == made
    assert made != "plan"
    assert made != Workflow(tasks=[Task(id="a", tool="s:t")])


def test_a_tuple_of_tasks_is_a_list_of_them() -> None:
    assert Workflow.model_validate({"tasks": (T,)}).tasks == [Task(**T)]


def test_the_canonical_form_has_one_name_for_each_field_and_no_defaults() -> None:
    made = Workflow.load(
        {
            "$schema": "https://example.com/workflow.schema.json",
            "maxConcurrent": 3,
            "schedule": "generations",
            "timeout_s": 5,
            "inputs": {"n": {"type": "integer", "default": 1}, "any": True},
            "tasks": [
                {"id": "a", "tool": "s:t", "params": {"x": "$INPUT.n"}, "dependsOn": ["b"]},
                {"id": "b", "tool": "s:t", "arguments": {}, "when": True, "locks": []},
            ],
            "output": {"x": [None]},
        }
    )
    assert made.to_dict() == {
        "name": "workflow",
        "inputs": {"n": {"type": "integer", "default": 1}, "any": True},
        "tasks": [
            {"id": "a", "tool": "s:t", "arguments": {"x": "$INPUT.n"}, "depends_on": ["b"]},
            {"id": "b", "tool": "s:t"},
        ],
        "output": {"x": [None]},
        "max_concurrency": 3,
        "timeout_s": 5,
    }
    assert Workflow.load(made.to_dict()) == made


@pytest.mark.parametrize(
    ("fields", "canonical"),
    [
        ({"retry": 4}, {"retry": {"max_attempts": 4}}),
        ({"retry": 3.0}, {"retry": {"max_attempts": 3}}),
        ({"retry": {"on": ["timeout"]}}, {"retry": {"max_attempts": 3, "on": ["timeout"]}}),
        ({"locks": ["x", {"name": "y", "mode": "shared"}]},
         {"locks": [{"name": "x"}, {"name": "y", "mode": "shared"}]}),
        ({"fallback": {"value": None}}, {"fallback": {"value": None}}),
        ({"fallback": {"tool": "s:u"}}, {"fallback": {"tool": "s:u"}}),
        ({"fallback": {"tool": "s:u", "arguments": {"x": 1}}},
         {"fallback": {"tool": "s:u", "arguments": {"x": 1}}}),
        ({"when": "INPUT.x", "run_if": "all_done"}, {"when": "INPUT.x", "run_if": "all_done"}),
        ({"for_each": [1], "max_parallel": 2}, {"for_each": [1], "max_parallel": 2}),
        ({"for_each": "$INPUT.x", "critical": True}, {"for_each": "$INPUT.x", "critical": True}),
    ],
)  # fmt: skip
def test_a_written_task_can_be_read_again(
    fields: dict[str, Any], canonical: dict[str, Any]
) -> None:
    task = Task(**T, **fields)
    written = task.model_dump(mode="json", exclude_defaults=True)
    assert written == T | canonical
    assert Task(**written) == task
    assert SCHEMA.is_valid({"tasks": [T | fields]})
    assert SCHEMA.is_valid({"tasks": [written]})


def test_the_parts_of_a_task_can_be_made_in_python() -> None:
    task = Task(
        **T, retry=Retry(max_attempts=2), locks=[Lock(name="x")], fallback=Fallback(value=1)
    )
    assert task.retry is not None
    assert task.retry.max_attempts == 2
    assert task.locks[0].mode == "exclusive"


# --- files ----------------------------------------------------------------------------------


def test_a_file_gives_the_workflow_its_name(tmp_path: Path) -> None:
    path = tmp_path / "city.plan.json"
    path.write_text(json.dumps({"tasks": [T]}))
    assert Workflow.load(str(path)).name == "city"
    path.write_text(json.dumps({"name": "other", "tasks": [T]}))
    assert Workflow.load(path).name == "other"
    yaml = tmp_path / "city.yaml"
    yaml.write_text("tasks:\n  - id: no\n    tool: s:t\n    arguments: {x: on}\n")
    made = Workflow.load(yaml)
    assert (made.tasks[0].id, made.tasks[0].arguments) == ("no", {"x": "on"})


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    for text in ("[]", "{", '{"tasks": []}'):
        path.write_text(text)
        with pytest.raises(WorkflowError) as caught:
            Workflow.load(path)
        assert str(caught.value).startswith(f"{path}: 1 error, nothing was called\n  ")
    with pytest.raises(WorkflowError, match="No such file"):
        Workflow.load(tmp_path / "none.json")


def test_a_hidden_file_has_a_name_too(tmp_path: Path) -> None:
    path = tmp_path / ".json"
    path.write_text(json.dumps({"tasks": [T]}))
    assert Workflow.load(path).name == ".json"


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "null"),
        (5, "integer 5"),
        ("x", 'string "x"'),
        ([T], "array of 1 item"),
    ],
)
def test_a_workflow_has_to_be_an_object(data: Any, message: str) -> None:
    assert lines(data) == [f": expected object with tasks, got {message}"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, ['/tasks: missing field "tasks"']),
        ({"tasks": 5}, ["/tasks: expected array, got integer 5"]),
        ({"tasks": {"a": T}}, ["/tasks: expected array, got object with property a"]),
        ({"tasks": []}, ["/tasks: expected non-empty array, got empty array"]),
        (
            {"tasks": [5, None, "x", [T]]},
            [
                "/tasks/0: expected object, got integer 5",
                "/tasks/1: expected object, got null",
                '/tasks/2: expected object, got string "x"',
                "/tasks/3: expected object, got array of 1 item",
            ],
        ),
        (
            {"tasks": [{}]},
            [
                '/tasks/0/id: missing field "id"',
                '/tasks/0/tool: missing field "tool"',
            ],
        ),
        (
            {"tasks": [{"id": "a b", "tool": "nope"}]},
            [
                f'/tasks/0/id: expected {ID}, got "a b"',
                '/tasks/0/tool: expected "server:tool", got "nope"',
            ],
        ),
        ({"tasks": [T], "inputs": 5}, ["/inputs: expected object, got integer 5"]),
        (
            {"tasks": [T], "inputs": {"x": 5}},
            ["/inputs/x: expected object or boolean, got integer 5"],
        ),
        (
            {"tasks": [T], "inputs": {"x": {"minimum": "1"}}},
            ['/inputs/x/minimum: invalid JSON Schema: expected number, got string "1"'],
        ),
        ({"tasks": [T], "name": 5}, ["/name: expected string, got integer 5"]),
        ({"tasks": [T], "max_concurrency": -1}, ["/max_concurrency: expected at least 0, got -1"]),
        ({"tasks": [T], "maxConcurrent": -1}, ["/maxConcurrent: expected at least 0, got -1"]),
        (
            {"tasks": [T], "max_concurrency": True},
            ["/max_concurrency: expected integer, got boolean true"],
        ),
        ({"tasks": [T], "timeout_s": 0}, ["/timeout_s: expected more than 0, got 0"]),
        (
            {"tasks": [T], "timeout_s": 10**400},
            ["/timeout_s: expected number, got integer of 1,329 bits"],
        ),
        (
            {"tasks": [T], "schedule": "generation"},
            ['/schedule: expected one of "generations", "dataflow", got "generation"'],
        ),
        (
            {"tasks": [T], "on_error": ["x"]},
            ['/on_error: expected one of "continue", "fail_fast", got array of 1 item'],
        ),
        ({"tasks": [T], "$schema": 5}, ['/$schema: unknown field "$schema"']),
        ({"tasks": [T], 5: 5}, ["/5: expected string as property name, got integer 5"]),
        ({"tasks": [T | {5: 5}]}, ["/tasks/0/5: expected string as property name, got integer 5"]),
        (
            {"tasks": [T | {"arguments": {5: {6: 7}}}]},
            [
                "/tasks/0/arguments: expected string as property name, got integer 5",
                "/tasks/0/arguments/5: expected string as property name, got integer 6",
            ],
        ),
        (
            {"tasks": [{"id": "\ud800", "tool": "s:t"}]},
            ['/tasks/0/id: expected string without lone surrogates, got string "\\ud800"'],
        ),
        (
            {"tasks": [T | {"id": "x" * 100 + " "}]},
            [f'/tasks/0/id: expected {ID}, got "{"x" * 37}..."'],
        ),
    ],
)
def test_a_wrong_workflow_has_problems_with_paths(data: Any, expected: list[str]) -> None:
    assert lines(data) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": 5}, "/tasks/0/id: expected string, got integer 5 (put it in quotes)"),
        ({"arguments": [1]}, "arguments: expected object, got array of 1 item"),
        ({"arguments": None}, "arguments: expected object, got null"),
        ({"args": [1]}, "/tasks/0/args: expected object"),
        ({"depends_on": "b"}, 'depends_on: expected array, got string "b" (write ["b"])'),
        ({"needs": "b"}, '/tasks/0/needs: expected array, got string "b" (write ["b"])'),
        ({"depends_on": {"b": 1}}, "depends_on: expected array, got object with property b"),
        ({"depends_on": [5]}, "depends_on/0: expected string, got integer 5 (put it in quotes)"),
        ({"timeout_s": "5"}, 'timeout_s: expected number, got string "5" (remove the quotes)'),
        ({"timeout_s": "5s"}, 'timeout_s: expected number, got string "5s"'),
        ({"timeout_s": -1}, "timeout_s: expected more than 0, got -1"),
        ({"timeout_s": float("nan")}, "timeout_s: expected finite number, got number nan"),
        ({"retry": 0}, "/tasks/0/retry: expected at least 1, got 0"),
        ({"retry": "3"}, '/tasks/0/retry: expected integer, got string "3" (remove the quotes)'),
        (
            {"retry": {"max_attempt": 1}},
            'unknown field "max_attempt". Did you mean "max_attempts"?',
        ),
        ({"retry": {"jitter": 2}}, "retry/jitter: expected at most 1, got 2"),
        ({"retry": {"on": ["tool_eror"]}}, 'retry/on/0: expected one of "tool_error", "timeout", '),
        ({"when": 5}, "/tasks/0/when: expected string or boolean, got integer 5"),
        ({"run_if": "all_sucess"}, '"any_failed", got "all_sucess". Did you mean "all_success"?'),
        (
            {"for_each": {}},
            "/tasks/0/for_each: expected array, string or non-empty object, got empty object",
        ),
        ({"max_parallel": 0}, "max_parallel: expected at least 1, got 0"),
        ({"critical": 1}, "critical: expected boolean, got integer 1"),
        ({"locks": "x"}, 'locks: expected array, got string "x" (write ["x"])'),
        ({"locks": [""]}, 'locks/0: expected non-empty string, got string ""'),
        ({"locks": [{"name": "x", "mod": 1}]}, 'unknown field "mod". Did you mean "mode"?'),
        ({"locks": [{"mode": "shared"}]}, 'locks/0/name: missing field "name"'),
        ({"fallback": 5}, "/tasks/0/fallback: expected object, got integer 5"),
        (
            {"fallback": {}},
            'fallback: expected {"value": ...} or {"tool": "server:tool", "arguments": {}}',
        ),
        (
            {"fallback": {"value": 1, "tool": "s:t"}},
            "got object with properties tool, value",
        ),
        (
            {"fallback": {"value": 1, "arguments": {"x": 1}}},
            '"arguments" need a "tool"; "value" takes none',
        ),
        (
            {"fallback": {"tool": "x"}},
            'fallback/tool: expected "server:tool", got "x"',
        ),
        ({"argumens": {}}, 'unknown field "argumens". Did you mean "arguments"?'),
        (
            {"zzz": {}},
            'unknown field "zzz" (known fields: id, description, tool, value, workflow, read,',
        ),
    ],
)
def test_a_wrong_task_has_a_problem_with_its_path(fields: dict[str, Any], expected: str) -> None:
    (found,) = of_task(**fields)
    assert expected in found


@pytest.mark.parametrize("tool", ["", "x", ":x", " :x", "x:", "a:b\n"])
def test_a_tool_is_written_server_colon_tool(tool: str) -> None:
    (problem,) = refused({"tasks": [{"id": "a", "tool": tool}]})
    assert 'expected "server:tool", got' in problem.message


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "a[b]", "a/b", "$x"])
def test_an_id_has_only_letters_digits_and_four_other_characters(name: str) -> None:
    (problem,) = refused({"tasks": [{"id": name, "tool": "s:t"}]})
    assert f"expected {ID}, got" in problem.message
    assert Workflow.load({"tasks": [{"id": "a-B_1.2:c", "tool": "s:t"}]}).tasks[0].id == "a-B_1.2:c"


def test_a_field_that_is_given_under_two_names_is_an_error() -> None:
    found = refused(
        {
            "tasks": [
                T | {"args": {}, "arguments": {}, "params": {}, "needs": [], "depends_on": []}
            ],
            "max_concurrency": 1,
            "maxConcurrent": 1,
        }
    )
    assert [(problem.code, problem.path, problem.task) for problem in found] == [
        ("doubled_field", "/tasks/0/args", "a"),
        ("doubled_field", "/tasks/0/params", "a"),
        ("doubled_field", "/tasks/0/needs", "a"),
        ("doubled_field", "/maxConcurrent", None),
    ]
    assert found[0].message.startswith('"args" and "arguments" and "params" name the same field')


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    data = {
        "taks": 1,
        "tasks": [
            {"tool": "s", "params": {"x/y": "$OUTPUT[zz]"}, "id": "a", "colour": "red"},
            {"id": "b", "tool": "s:t", "needs": ["a", "c"], "args": {"x": ["$OUTPUT"]}},
            {"id": "c", "tool": "s:t", "depends_on": ["b"]},
        ],
        "output": "$INPUT.x",
        "on_error": "x",
    }
    assert [(problem.code, problem.path) for problem in refused(data)] == [
        ("unknown_field", "/taks"),
        ("wrong_value", "/tasks/0/tool"),
        ("unknown_task", "/tasks/0/params/x~1y"),
        ("unknown_field", "/tasks/0/colour"),
        ("cycle", "/tasks/1"),
        ("malformed_reference", "/tasks/1/args/x/0"),
        ("unknown_input", "/output"),
        ("wrong_value", "/on_error"),
    ]


def test_problems_in_an_object_with_many_properties_are_all_reported() -> None:
    arguments = {f"k{n}": "$OUTPUT" for n in range(60)}
    assert len(of_task(arguments=arguments)) == 60


def test_problems_of_the_whole_file_come_last_and_none_is_repeated() -> None:
    whole, part = Problem("cycle", "whole"), Problem("cycle", "part", "/tasks/0/arguments/y")
    assert as_written([whole, part, whole], {"tasks": [T | {"params": {"y": 1}}]}) == [
        Problem("cycle", "part", "/tasks/0/params/y"),
        whole,
    ]


def test_the_message_of_the_error_has_a_line_for_each_problem() -> None:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"tasks": [T, T], "timeout": 5})
    assert str(caught.value) == (
        "workflow: 2 errors, nothing was called\n"
        '  task "a", /tasks/1/id: duplicate id "a", already used by task number 1\n'
        '  /timeout: unknown field "timeout". Did you mean "timeout_s"?'
    )


def test_a_problem_is_a_json_object_too() -> None:
    problem = refused({"tasks": [T], "nam": "x"})[0]
    assert problem.to_dict() == {
        "code": "unknown_field",
        "severity": "error",
        "message": 'unknown field "nam"',
        "path": "/nam",
        "task": None,
        "line": None,
        "column": None,
        "alternatives": ["name"],
        "hint": "",
        "replacement": [{"op": "move", "from": "/nam", "path": "/name"}],
    }


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.untraced
@pytest.mark.parametrize("field", ["name", "schedule", "inputs", "output", "timeout_s", "x"])
def test_deep_nesting_is_an_error_anywhere(field: str) -> None:
    for value in (nested(100_000), {"x": {"default": nested(100_000)}}):
        assert all(len(line) < 200 for line in lines({"tasks": [T], field: value}))


@pytest.mark.untraced
def test_many_mistakes_in_a_big_file_are_all_found() -> None:
    count = 5_000
    tasks = [
        {"id": f"t{n}", "tool": n, "argumens": {}, "args": {"x": f"$OUTPUT[u{n}]"}}
        for n in range(count)
    ]
    found = refused({"tasks": tasks})
    assert len(found) == 3 * count
    assert found[-1].path == f"/tasks/{count - 1}/args/x"


@pytest.mark.untraced
def test_a_big_workflow_is_loaded() -> None:
    tasks = [
        T | {"id": f"t{n}", "arguments": {"x": f"$OUTPUT[t{n - 1}].y" if n else 0}}
        for n in range(10_000)
    ]
    assert len(Workflow.load({"tasks": tasks}).plan.generations) == 10_000


def test_an_unexpected_kind_of_pydantic_error_is_translated_too() -> None:
    class OddError(Exception):
        def errors(self, **_: object) -> list[dict[str, Any]]:
            return [{"type": "odd", "loc": ("x", 0), "msg": "Input should be odd", "input": 4}]

    odd: Any = OddError()
    assert problems_of(odd, {"x": [4]}, {}) == [Problem("wrong_value", "invalid value 4", "/x/0")]


# --- names ----------------------------------------------------------------------------------


def test_the_nearest_names_are_found_ignoring_case() -> None:
    known = ["fetch", "Fetch_all", "store"]
    assert nearest("FETCH", known) == ("fetch", "Fetch_all")
    assert nearest("zzz", known) == ()
    assert nearest("fetch", ["fetcher"] * 5, 1) == ("fetcher",)
    assert nearest("task4321x", [f"task{n}" for n in range(10_000)], 1) == ("task4321",)


def test_a_pointer_leads_to_a_value() -> None:
    document = {"a/b": [{"~": 1}]}
    assert value_at(document, "") is document
    assert value_at(document, "/a~1b/0/~0") == 1
    with pytest.raises(KeyError):
        value_at(document, "/c")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", '"a"'),
        ('it\'s "it"', '"it\'s \\"it\\""'),
        ("\n\u200b\ud800", r'"\n\u200b\ud800"'),
        ("x" * 99, f'"{"x" * 77}..."'),
    ],
)
def test_a_name_is_quoted_with_every_character_visible(text: str, shown: str) -> None:
    assert quoted(text) == shown


def test_a_pointer_escapes_its_tokens() -> None:
    assert pointer() == ""
    assert pointer("a/b", 0, "~", "") == "/a~1b/0/~0/"


# --- the published schema -------------------------------------------------------------------


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(workflow_schema())
    assert workflow_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(workflow_schema())


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tasks": []},
        {"tasks": [T], "taks": 1},
        {"tasks": [T | {"argumens": {}}]},
        {"tasks": [{"id": "a"}]},
        {"tasks": [T | {"id": "a b"}]},
        {"tasks": [T | {"tool": "x"}]},
        {"tasks": [T | {"retry": 0}]},
        {"tasks": [T | {"retry": {"x": 1}}]},
        {"tasks": [T | {"locks": [""]}]},
        {"tasks": [T | {"timeout_s": 0}]},
        {"tasks": [T], "schedule": "x"},
        {"tasks": [T], "inputs": {"x": 5}},
    ],
)
def test_the_schema_refuses_what_loading_refuses(data: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(data)
    assert refused(data)


pieces = st.none() | st.integers(-1, 3) | st.sampled_from(["", "a", "s:t", "b", "$OUTPUT[a].x"])
task_dicts = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c"]), "tool": st.sampled_from(["s:t", "s:t:u"])},
    optional={
        "arguments": st.dictionaries(st.sampled_from("xy"), pieces, max_size=2),
        "args": st.dictionaries(st.sampled_from("xy"), pieces, max_size=2),
        "params": st.just({"k": ["$INPUT.n"]}),
        "depends_on": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "needs": st.lists(st.sampled_from(["a", "b"]), max_size=1),
        "dependsOn": st.just([]),
        "timeout_s": st.sampled_from([1, 0.5, None]),
        "retry": st.just(None),
        "when": st.just(True),
        "locks": st.just([]),
    },
)
workflow_dicts = st.fixed_dictionaries(
    {"tasks": st.lists(task_dicts, min_size=1, max_size=3, unique_by=lambda task: task["id"])},
    optional={
        "$schema": st.just("x"),
        "name": st.text(max_size=3),
        "inputs": st.just({"n": {"default": 1}}),
        "maxConcurrent": st.integers(0, 3),
        "max_concurrency": st.integers(0, 3),
        "schedule": st.sampled_from(["generations", "dataflow"]),
        "on_error": st.sampled_from(["continue", "fail_fast"]),
        "timeout_s": st.sampled_from([None, 3]),
        "output": pieces,
    },
)


@given(workflow_dicts)
def test_the_schema_accepts_what_loads_and_the_canonical_form_loads_again(
    data: dict[str, Any],
) -> None:
    with contextlib.suppress(WorkflowError):
        made = Workflow.load(data)
        assert SCHEMA.is_valid(data)
        written = made.to_dict()
        assert SCHEMA.is_valid(written)
        assert Workflow.load(written) == made
        assert Workflow.load(written).to_dict() == written


anything = st.recursive(
    pieces | st.booleans() | st.sampled_from(["${", "$OUTPUT", "\ud800", 1e400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Workflow.model_fields, *Task.model_fields, "args", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything, st.lists(anything, max_size=3))
def test_any_data_is_a_workflow_or_a_workflow_error(data: Any, tasks: list[Any]) -> None:
    for candidate in (data, {"tasks": tasks}, {"tasks": [T | {"arguments": {"x": data}}]}):
        try:
            made = Workflow.model_validate(candidate)
        except WorkflowError as error:
            problems = error.problems
        else:
            problems = ()
            assert Workflow.load(made.to_dict()) == made
        assert all("Input should" not in problem.message for problem in problems)


def test_broken_plans_written_by_models_are_refused_with_the_reason() -> None:
    if not CASES.exists():
        pytest.skip(f"the shared cases are not at {CASES}")
    for case in map(json.loads, CASES.read_text().splitlines()):
        with pytest.raises(WorkflowError) as caught:
            Workflow.load({"name": case["name"], "tasks": case["tasks"]})
        wanted = case["expected"]
        for name in [*wanted.get("unknown", []), *wanted.get("in_cycle", [])[:1]]:
            assert str(name) in str(caught.value)
