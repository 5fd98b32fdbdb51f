"""Compiling a workflow: every problem at once with its path; and the plan that comes out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import Problem
from orchestrator.workflow.compile import compile_workflow
from orchestrator.workflow.make_plan import make_plan
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.names import MAX_SUGGESTIONS
from orchestrator.workflow.plan import PLAIN
from orchestrator.workflow.task import Defaults

T = {"tool": "s:t"}


def problems(*tasks: Any, **fields: Any) -> list[Problem]:
    return compile_workflow({"tasks": list(tasks), **fields})[1]


def the_problem(*tasks: Any, **fields: Any) -> Problem:
    (problem,) = problems(*tasks, **fields)
    return problem


def task(name: str, /, *needs: str, **arguments: Any) -> dict[str, Any]:
    return {"id": name, **T, "arguments": arguments, "depends_on": list(needs)}


def test_a_plan_knows_its_tasks_servers_and_dependencies() -> None:
    workflow = Workflow.load(
        {
            "inputs": {"n": {"default": 1}},
            "tasks": [
                {"id": "c", "tool": "files:write:now", "arguments": {"x": ["$OUTPUT[a]"]}},
                {"id": "a", "tool": "web:get", "timeout_s": 5},
                {
                    "id": "b",
                    "tool": "web:get",
                    "depends_on": ["c", "c"],
                    "arguments": {"y": "${OUTPUT[a].x} $INPUT.n", "$INPUT.n": "$OUTPUT[c].z"},
                },
            ],
            "output": "$OUTPUT[b]",
        }
    )
    plan = workflow.plan
    assert plan.servers == ["files", "web"]
    assert plan.generations == [["a"], ["c"], ["b"]]
    assert plan.sinks == ["b"]
    assert list(plan.tasks) == ["c", "a", "b"]
    c, a, b = plan.tasks.values()
    assert (c.target, c.server, c.tool, c.index) == ("files:write:now", "files", "write:now", 0)
    assert (c.dependencies, c.whole, c.generation) == (("a",), (("x", 0),), 1)
    assert (a.dependencies, a.timeout_s, a.whole, a.generation) == ((), 5, (), 0)
    assert set(b.dependencies) == {"a", "c"}
    assert b.whole == (("$INPUT.n",),)
    assert plan.output is not None


def test_every_kind_of_reference_makes_a_dependency() -> None:
    for text in ("$OUTPUT[a]", "$ERROR[a]", "${STATUS[a]}", "${a.result}", "x ${length(OUTPUT.a)}"):
        compiled, found = compile_workflow({"tasks": [task("b", x={text: 1}), task("a")]})
        assert found == []
        assert {task: list(needs) for task, needs in compiled.dependencies.items()} == {
            "b": ["a"],
            "a": [],
        }


def test_an_unknown_task_is_reported_with_the_nearest() -> None:
    found = problems(
        task("fetch", x=["$OUTPUT[fech].y", "${OUTPUT[zzz]}"]),
        task("b", "fetsh"),
        output="$OUTPUT[B]",
    )
    assert [(p.code, p.path, p.task, p.alternatives) for p in found] == [
        ("unknown_task", "/tasks/0/arguments/x/0", "fetch", ("fetch",)),
        ("unknown_task", "/tasks/0/arguments/x/1", "fetch", ()),
        ("unknown_task", "/tasks/1/depends_on/0", "b", ("fetch",)),
        ("unknown_task", "/output", None, ("b",)),
    ]
    assert found[1].hint == "tasks: fetch, b"
    assert found[1].message == 'unknown task "zzz" in "${OUTPUT[zzz]}"'
    assert found[2].message == 'unknown task "fetsh"'


def test_an_unknown_input_is_reported_with_the_nearest() -> None:
    problem = the_problem(task("a", x="$INPUT.citi"), inputs={"city": {}})
    assert (problem.code, problem.alternatives) == ("unknown_input", ("city",))
    assert the_problem(task("a", x="$INPUT.x")).hint == "the workflow has no inputs"
    many: dict[str, Any] = {f"input{n}": {} for n in range(12)}
    hint = the_problem(task("a", x="$INPUT.zz"), inputs=many).hint
    assert hint.startswith("inputs: input0, input1,")
    assert hint.endswith("input9 and 2 more")


def test_a_task_cannot_refer_to_itself() -> None:
    for found in (the_problem(task("a", "a")), the_problem(task("a", x="$OUTPUT[a].y"))):
        assert found.code == "self_reference"
        assert "a -> a" in found.message


def test_a_cycle_is_named_in_full() -> None:
    problem = the_problem(task("a", "c"), task("b", x="$OUTPUT[a]"), task("c", x="${STATUS[b]}"))
    assert (problem.code, problem.path, problem.task) == ("cycle", "/tasks/0", "a")
    assert problem.message == "dependency cycle: a -> b -> c -> a"


def test_an_id_can_be_used_once() -> None:
    problem = the_problem(task("a"), task("b"), task("a", x="$OUTPUT[b]"))
    assert (problem.code, problem.path) == ("duplicate_id", "/tasks/2/id")
    assert problem.message == 'duplicate id "a", already used by task number 1'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("$ITEM.x", "no_item_here"),
        ("${INDEX}", "no_item_here"),
        ("$ERROR.message", "no_error_here"),
        ("${ERROR.kind}", "no_error_here"),
        ("$OUTPUT", "malformed_reference"),
        ("${x}", "malformed_reference"),
    ],
)
def test_a_reference_that_is_not_readable_here_is_a_problem(text: str, code: str) -> None:
    inside, outside = problems(task("a", k={"~/x": [text]}), output=[text])
    assert (inside.code, inside.path, inside.task) == (code, "/tasks/0/arguments/k/~0~1x/0", "a")
    assert (outside.code, outside.path, outside.task) == (code, "/output/0", None)


def test_a_value_that_is_not_json_is_a_problem() -> None:
    found = problems(
        task("a", x={1, 2}), name="\ud800", inputs={"n": {"default": float("nan")}}, output=(1,)
    )
    assert {(p.code, p.path) for p in found} == {
        ("not_json", "/tasks/0/arguments/x"),
        ("not_json", "/name"),
        ("not_json", "/inputs/n/default"),
        ("not_json", "/output"),
    }


def test_the_schemas_of_the_inputs_are_checked() -> None:
    inputs = {"a": {"type": "strin"}, "b": {"type": "integer", "default": "1"}, "c": 5, "d": True}
    assert [(p.code, p.path) for p in problems(inputs=inputs)] == [
        ("wrong_schema", "/inputs/a/type"),
        ("wrong_input", "/inputs/b/default"),
    ]


def test_only_the_first_unknown_names_are_compared_with_all_the_others() -> None:
    found = problems(*[task(f"task{n}", x=f"$OUTPUT[tusk{n}]") for n in range(MAX_SUGGESTIONS + 5)])
    assert [bool(p.alternatives) for p in found] == [True] * MAX_SUGGESTIONS + [False] * 5
    assert len(found) == MAX_SUGGESTIONS + 5


@pytest.mark.parametrize(
    "tasks",
    [
        None,
        5,
        "x",
        {"a": 1},
        [5, None, "x", [], {}],
        [{"id": 5, "arguments": {"x": "$OUTPUT[5]"}, "depends_on": ["x", 5, None]}],
        [{"id": None, "arguments": [1], "depends_on": "x"}],
        [{"id": "a", "arguments": None, "depends_on": {}}],
        [{"id": "a", "arguments": {1: {2: "$OUTPUT"}}}],
    ],
)
def test_compiling_wrong_data_raises_nothing(tasks: Any) -> None:
    for extra in ({}, {"inputs": 5}, {"inputs": {5: 5}}, {"output": {5: "$OUTPUT"}, "name": [1]}):
        compiled, found = compile_workflow({"tasks": tasks, **extra})
        assert compiled.graph is not None
        assert all(isinstance(problem.to_dict()["path"], str) for problem in found)


wild = st.recursive(
    st.none() | st.integers() | st.sampled_from(["a", "b", "$OUTPUT[a]", "${b.result}", "$OUTPUT"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "tool", "arguments", "depends_on", "tasks", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["tasks", "inputs", "output", "name"]), wild))
def test_compiling_any_data_raises_nothing(data: dict[str, Any]) -> None:
    compiled, found = compile_workflow(data)
    if not found and not any(compiled.dependencies.values()):
        assert make_plan([], compiled, Defaults(), {}).tasks == {}


def policies(**fields: Any) -> list[tuple[str, str]]:
    """What is wrong with a task of these policies: codes and places."""
    found = problems({**task("a"), **fields}, task("b"))
    return [(problem.code, problem.path.removeprefix("/tasks/0/")) for problem in found]


def test_references_in_policies_make_dependencies() -> None:
    plan = Workflow.load(
        {
            "tasks": [
                *[task(name) for name in "abcdefg"],
                {
                    **task("z", x="$OUTPUT[a]"),
                    "when": "STATUS[b] == 'success'",
                    "for_each": "$OUTPUT[c]",
                    "locks": ["x$OUTPUT[d]", {"name": "${OUTPUT[e].y}"}],
                    "fallback": {"tool": "other:t", "arguments": {"x": "$OUTPUT[f]"}},
                },
                {**task("y"), "fallback": {"value": ["$ERROR[g]", "$ERROR.kind"]}},
            ]
        }
    ).plan
    assert set(plan.tasks["z"].dependencies) == set("abcdef")
    assert plan.tasks["y"].dependencies == ("g",)
    assert plan.servers == ["s", "other"]
    assert [at for task, _, at in plan.calls if task.id == "z"] == [
        "/tasks/7/tool",
        "/tasks/7/fallback/tool",
    ]


def test_an_item_is_readable_only_in_arguments_and_locks_of_a_for_each() -> None:
    each = {"for_each": [1], "arguments": {"x": "$ITEM"}, "locks": ["$INDEX"]}
    assert policies(**each) == []
    assert policies(**{**each, "for_each": None}) == [
        ("no_item_here", "arguments/x"),
        ("no_item_here", "locks/0"),
    ]
    elsewhere = {"when": "ITEM > 1", "fallback": {"value": "$ITEM"}}
    assert policies(**each, **elsewhere) == [
        ("no_item_here", "when"),
        ("no_item_here", "fallback/value"),
    ]
    assert policies(for_each=["$ITEM"]) == [("no_item_here", "for_each/0")]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"arguments": {"x": "$ITEM"}}, "add for_each to this task"),
        ({"locks": [{"name": "$INDEX"}]}, "add for_each to this task"),
        ({"when": "ITEM > 1"}, "to skip items, write item_when"),
        ({"fallback": {"value": "$ITEM"}}, ""),
    ],
)
def test_the_hint_for_an_item_depends_on_the_field_that_reads_it(
    fields: dict[str, Any], hint: str
) -> None:
    assert the_problem({**task("a"), **fields}).hint == hint


def test_the_error_is_readable_only_in_a_fallback() -> None:
    assert policies(fallback={"tool": "s:t", "arguments": {"why": "${ERROR.message}"}}) == []
    assert policies(when="ERROR.kind == 'timeout'") == [("no_error_here", "when")]


@pytest.mark.parametrize("each", ["text", "x$OUTPUT[b]y", ""])
def test_a_for_each_over_a_string_is_refused(each: str) -> None:
    assert policies(for_each=each) == [("wrong_type", "for_each")]


def test_malformed_references_are_found_in_every_policy() -> None:
    found = policies(
        when="STATUS[b",
        for_each="$OUTPUT",
        locks=["$OUTPUT[a", {"name": "$OUTPUT"}],
        fallback={"value": "$OUTPUT", "arguments": {"x": "${nope}"}},
    )
    assert found == [
        ("malformed_reference", "when"),
        ("malformed_reference", "for_each"),
        ("malformed_reference", "locks/0"),
        ("malformed_reference", "locks/1/name"),
        ("malformed_reference", "fallback/value"),
        ("malformed_reference", "fallback/arguments/x"),
    ]


def test_a_task_without_policies_shares_the_plain_ones() -> None:
    plan = Workflow.load({"tasks": [task("a"), {**task("b"), "run_if": "all_done"}]}).plan
    assert plan.tasks["a"].policies is PLAIN
    assert plan.tasks["b"].policies.run_if == "all_done"
    assert not plan.fans_out
