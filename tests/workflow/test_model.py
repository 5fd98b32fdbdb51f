"""The workflow file: every mistake at once, in its place and in plain words; one canonical form."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orchestrator import Task, Workflow, WorkflowError
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Problem
from orchestrator.workflow.model import workflow_schema
from orchestrator.workflow.normalize import as_written
from orchestrator.workflow.policies import Fallback, Lock, Retry

CASES = Path(__file__).parents[3] / "shared" / "cases" / "invalid" / "plans.jsonl"
SCHEMA = Draft202012Validator(workflow_schema())
T: dict[str, Any] = {"id": "a", "tool": "s:t"}


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


def test_a_workflow_is_made_of_tasks_and_dicts_alike() -> None:
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
def test_a_task_is_written_as_it_can_be_read_again(
    fields: dict[str, Any], canonical: dict[str, Any]
) -> None:
    task = Task(**T, **fields)
    written = task.model_dump(mode="json", exclude_defaults=True)
    assert written == T | canonical
    assert Task(**written) == task
    assert SCHEMA.is_valid({"tasks": [T | fields]})
    assert SCHEMA.is_valid({"tasks": [written]})


def test_the_parts_of_a_task_are_made_in_python_too() -> None:
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
        (None, "not null"),
        (5, "not the number 5"),
        ("x", "not the text 'x'"),
        ([T], "not an array of 1"),
    ],
)
def test_what_is_no_object_is_no_workflow(data: Any, message: str) -> None:
    assert lines(data) == [f": a workflow has to be an object with tasks, {message}"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, ["/tasks: the field 'tasks' is required"]),
        ({"tasks": 5}, ["/tasks: has to be a list, not 5"]),
        ({"tasks": {"a": T}}, ["/tasks: has to be a list, not an object with a"]),
        ({"tasks": []}, ["/tasks: has to be a list that is not empty, not an empty array"]),
        (
            {"tasks": [5, None, "x", [T]]},
            [
                "/tasks/0: has to be an object, not 5",
                "/tasks/1: has to be an object, not null",
                "/tasks/2: has to be an object, not 'x'",
                "/tasks/3: has to be an object, not an array of 1",
            ],
        ),
        (
            {"tasks": [{}]},
            [
                "/tasks/0/id: the field 'id' is required",
                "/tasks/0/tool: the field 'tool' is required",
            ],
        ),
        (
            {"tasks": [{"id": "a b", "tool": "nope"}]},
            [
                "/tasks/0/id: 'a b' is no id: letters, digits and _ - . : only",
                "/tasks/0/tool: 'nope' names no tool: it is written server:tool",
            ],
        ),
        ({"tasks": [T], "inputs": 5}, ["/inputs: has to be an object, not 5"]),
        (
            {"tasks": [T], "inputs": {"x": 5}},
            ["/inputs/x: has to be an object or true or false, not 5"],
        ),
        (
            {"tasks": [T], "inputs": {"x": {"minimum": "1"}}},
            ["/inputs/x/minimum: is no JSON Schema: '1' is not of type 'number'"],
        ),
        ({"tasks": [T], "name": 5}, ["/name: has to be text, not 5"]),
        ({"tasks": [T], "max_concurrency": -1}, ["/max_concurrency: has to be at least 0, not -1"]),
        ({"tasks": [T], "maxConcurrent": -1}, ["/maxConcurrent: has to be at least 0, not -1"]),
        (
            {"tasks": [T], "max_concurrency": True},
            ["/max_concurrency: has to be a whole number, not true"],
        ),
        ({"tasks": [T], "timeout_s": 0}, ["/timeout_s: has to be more than 0, not 0"]),
        (
            {"tasks": [T], "timeout_s": 10**400},
            [f"/timeout_s: has to be a number, not 1{'0' * 59}"],
        ),
        (
            {"tasks": [T], "schedule": "generation"},
            ["/schedule: 'generation' is none of 'generations' or 'dataflow'"],
        ),
        (
            {"tasks": [T], "on_error": ["x"]},
            ["/on_error: an array of 1 is none of 'continue' or 'fail_fast'"],
        ),
        ({"tasks": [T], "$schema": 5}, ["/$schema: there is no field '$schema'"]),
        ({"tasks": [T], 5: 5}, ["/5: the name 5 has to be text"]),
        ({"tasks": [T | {5: 5}]}, ["/tasks/0/5: the name 5 has to be text"]),
        (
            {"tasks": [T | {"arguments": {5: {6: 7}}}]},
            [
                "/tasks/0/arguments: the name 5 has to be text",
                "/tasks/0/arguments/5: the name 6 has to be text",
            ],
        ),
        (
            {"tasks": [{"id": "\ud800", "tool": "s:t"}]},
            ["/tasks/0/id: has to be text without halves of surrogate pairs, not '\\ud800'"],
        ),
        (
            {"tasks": [T | {"id": "x" * 100 + " "}]},
            [f"/tasks/0/id: '{'x' * 57}...' is no id: letters, digits and _ - . : only"],
        ),
    ],
)
def test_a_workflow_that_is_wrong_says_what_and_where(data: Any, expected: list[str]) -> None:
    assert lines(data) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": 5}, "/tasks/0/id: has to be text, not 5 (in quotes)"),
        ({"arguments": [1]}, "arguments: has to be an object, not an array of 1"),
        ({"arguments": None}, "arguments: has to be an object, not null"),
        ({"args": [1]}, "/tasks/0/args: has to be an object"),
        ({"depends_on": "b"}, """depends_on: has to be a list, not 'b' (write ["b"])"""),
        ({"needs": "b"}, """/tasks/0/needs: has to be a list, not 'b' (write ["b"])"""),
        ({"depends_on": {"b": 1}}, "depends_on: has to be a list, not an object with b"),
        ({"depends_on": [5]}, "depends_on/0: has to be text, not 5 (in quotes)"),
        ({"timeout_s": "5"}, "timeout_s: has to be a number, not '5' (without the quotes)"),
        ({"timeout_s": "5s"}, "timeout_s: has to be a number, not '5s'"),
        ({"timeout_s": -1}, "timeout_s: has to be more than 0, not -1"),
        ({"timeout_s": float("nan")}, "timeout_s: has to be a finite number, not nan"),
        ({"retry": 0}, "/tasks/0/retry: has to be at least 1, not 0"),
        ({"retry": "3"}, "/tasks/0/retry: has to be a whole number, not '3' (without the quotes)"),
        ({"retry": {"max_attempt": 1}}, "no field 'max_attempt'. Did you mean \"max_attempts\"?"),
        ({"retry": {"jitter": 2}}, "retry/jitter: has to be at most 1, not 2"),
        ({"retry": {"on": ["tool_eror"]}}, "retry/on/0: 'tool_eror' is none of 'tool_error'"),
        ({"when": 5}, "/tasks/0/when: has to be text or true or false, not 5"),
        ({"run_if": "all_sucess"}, "did you mean 'all_success'?"),
        ({"for_each": {}}, "/tasks/0/for_each: has to be a list or text, not an empty object"),
        ({"max_parallel": 0}, "max_parallel: has to be at least 1, not 0"),
        ({"critical": 1}, "critical: has to be true or false, not 1"),
        ({"locks": "x"}, """locks: has to be a list, not 'x' (write ["x"])"""),
        ({"locks": [""]}, "locks/0: has to be text that is not empty, not ''"),
        ({"locks": [{"name": "x", "mod": 1}]}, "no field 'mod'. Did you mean \"mode\"?"),
        ({"locks": [{"mode": "shared"}]}, "locks/0/name: the field 'name' is required"),
        ({"fallback": 5}, "/tasks/0/fallback: has to be an object, not 5"),
        (
            {"fallback": {}},
            'fallback: has to be {"value": ...} or {"tool": "server:tool", "arguments": {}}',
        ),
        (
            {"fallback": {"value": 1, "tool": "s:t"}},
            "not an object with tool, value",
        ),
        (
            {"fallback": {"value": 1, "arguments": {"x": 1}}},
            "gives arguments, but no tool that takes them",
        ),
        (
            {"fallback": {"tool": "x"}},
            "fallback/tool: 'x' names no tool: it is written server:tool",
        ),
        ({"argumens": {}}, "there is no field 'argumens'. Did you mean \"arguments\"?"),
        ({"zzz": {}}, "there is no field 'zzz' (known are id, tool, arguments, depends_on,"),
    ],
)
def test_a_task_that_is_wrong_says_what_and_where(fields: dict[str, Any], expected: str) -> None:
    (found,) = of_task(**fields)
    assert expected in found


@pytest.mark.parametrize("tool", ["", "x", ":x", "x:", "x y:z", "a:b\n"])
def test_a_tool_is_written_server_and_tool(tool: str) -> None:
    (problem,) = refused({"tasks": [{"id": "a", "tool": tool}]})
    assert "is written server:tool" in problem.message


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "a[b]", "a/b", "$x"])
def test_an_id_has_letters_digits_and_four_signs(name: str) -> None:
    (problem,) = refused({"tasks": [{"id": name, "tool": "s:t"}]})
    assert "is no id" in problem.message
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
    assert found[0].message.startswith("'args' and 'arguments' and 'params' are two names")


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
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


def test_mistakes_among_many_names_are_all_said() -> None:
    arguments = {f"k{n}": "$OUTPUT" for n in range(60)}
    assert len(of_task(arguments=arguments)) == 60


def test_what_is_wrong_with_the_whole_file_comes_last_and_nothing_comes_twice() -> None:
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
        "  task 'a', /tasks/1/id: the id 'a' is taken by task number 1\n"
        "  /timeout: there is no field 'timeout'. Did you mean \"timeout_s\"?"
    )


def test_a_problem_is_a_json_object_too() -> None:
    problem = refused({"tasks": [T], "nam": "x"})[0]
    assert problem.to_dict() == {
        "code": "unknown_field",
        "severity": "error",
        "message": "there is no field 'nam'",
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


@pytest.mark.parametrize("field", ["name", "schedule", "inputs", "output", "timeout_s", "x"])
def test_what_is_nested_too_deep_is_an_error_anywhere(field: str) -> None:
    for value in (nested(100_000), {"x": {"default": nested(100_000)}}):
        assert all(len(line) < 200 for line in lines({"tasks": [T], field: value}))


def test_many_mistakes_in_a_big_file_are_all_found() -> None:
    count = 5_000
    tasks = [
        {"id": f"t{n}", "tool": n, "argumens": {}, "args": {"x": f"$OUTPUT[u{n}]"}}
        for n in range(count)
    ]
    found = refused({"tasks": tasks})
    assert len(found) == 3 * count
    assert found[-1].path == f"/tasks/{count - 1}/args/x"


def test_a_big_workflow_is_loaded() -> None:
    tasks = [
        T | {"id": f"t{n}", "arguments": {"x": f"$OUTPUT[t{n - 1}].y" if n else 0}}
        for n in range(10_000)
    ]
    assert len(Workflow.load({"tasks": tasks}).plan.generations) == 10_000


def test_an_error_of_a_kind_nobody_thought_of_is_still_in_our_words() -> None:
    class OddError(Exception):
        def errors(self, **_: object) -> list[dict[str, Any]]:
            return [{"type": "odd", "loc": ("x", 0), "msg": "Input should be odd", "input": 4}]

    odd: Any = OddError()
    assert problems_of(odd, {"x": [4]}, {}) == [
        Problem("wrong_value", "4 has the wrong form", "/x/0")
    ]


# --- names ----------------------------------------------------------------------------------


def test_the_nearest_names_are_found_whatever_the_case() -> None:
    known = ["fetch", "Fetch_all", "store"]
    assert nearest("FETCH", known) == ("fetch", "Fetch_all")
    assert nearest("zzz", known) == ()
    assert nearest("fetch", ["fetcher"] * 5, 1) == ("fetcher",)
    assert nearest("task4321x", [f"task{n}" for n in range(10_000)], 1) == ("task4321",)


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


@settings(deadline=None)
@given(workflow_dicts)
def test_what_is_loaded_the_schema_accepts_and_the_canonical_form_loads_again(
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


@settings(deadline=None)
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


def test_the_broken_plans_of_models_are_refused_and_say_why() -> None:
    if not CASES.exists():
        pytest.skip(f"the shared cases are not at {CASES}")
    for case in map(json.loads, CASES.read_text().splitlines()):
        with pytest.raises(WorkflowError) as caught:
            Workflow.load({"name": case["name"], "tasks": case["tasks"]})
        wanted = case["expected"]
        for name in [*wanted.get("unknown", []), *wanted.get("in_cycle", [])[:1]]:
            assert str(name) in str(caught.value)
