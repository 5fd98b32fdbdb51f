"""Words of other workflow languages get the names that they have here, and are never accepted."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Workflow, WorkflowError
from orchestrator.check.proof import proved
from orchestrator.documents.pointer import apply_op
from orchestrator.errors import Problem
from orchestrator.workflow.foreign import _OF_TASKS, _OF_WORKFLOWS
from orchestrator.workflow.model import FIELDS
from orchestrator.workflow.normalize import TASK_SYNONYMS

TASK = {"id": "a", "tool": "s:t"}
OTHER = {"id": "b", "tool": "s:t"}


def problems_in(workflow: dict[str, Any]) -> list[Problem]:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load(workflow)
    return list(caught.value.problems)


def fixed(workflow: dict[str, Any]) -> dict[str, Any]:
    for problem in reversed(proved(problems_in(workflow), lambda: workflow, {})):
        for operation in problem.replacement:
            apply_op(workflow, operation)
    return Workflow.load(workflow).to_dict()


@pytest.mark.parametrize(
    ("word", "value", "field"),
    [
        ("with", {"x": 1}, "arguments"),
        ("if", "1 < 2", "when"),
        ("condition", "1 < 2", "when"),
        ("withItems", [1], "for_each"),
        ("with_items", [1], "for_each"),
        ("foreach", [1], "for_each"),
        ("forEach", [1], "for_each"),
        ("depends", ["b"], "depends_on"),
        ("dependencies", ["b"], "depends_on"),
    ],
)
def test_a_word_with_the_same_meaning_is_renamed(word: str, value: Any, field: str) -> None:
    workflow: dict[str, Any] = {"tasks": [{**TASK, word: value}, OTHER]}
    (problem,) = problems_in(workflow)
    assert (problem.code, problem.path) == ("unknown_field", f"/tasks/0/{word}")
    assert problem.message == f'unknown field "{word}", which is "{field}" here'
    assert fixed(workflow)["tasks"][0][field] == value


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("continue_on_error", True, '"run_if": "all_done"'),
        ("continue-on-error", True, '"run_if": "all_done"'),
        ("continueOnError", True, '"fallback"'),
        ("onError", {"action": "retry"}, '"retry" tries it again'),
        ("on_error", "continue", '"fallback" replaces the output'),
        ("retries", 3, "it counts all attempts"),
        ("timeout-minutes", 3, "in seconds"),
        ("run", "echo", "only tools are called"),
        ("type", "tool", "remove it"),
        ("template", "x", '"server:tool"'),
    ],
)
def test_a_word_that_means_something_else_is_explained_and_not_renamed(
    word: str, value: Any, said: str
) -> None:
    workflow = {"tasks": [{**TASK, word: value}]}
    (problem,) = proved(problems_in(workflow), lambda: workflow, {})
    assert problem.code == "unknown_field"
    assert said in str(problem)
    assert problem.replacement == ()


def test_a_field_that_a_foreign_word_stands_for_is_not_missing() -> None:
    task = {"name": "a", "uses": "s:t", "with": {"x": 1}, "if": "true", "needs": ["b"]}
    workflow: dict[str, Any] = {"steps": [task, OTHER]}
    first, *others = problems_in(workflow)
    assert first.message == 'unknown field "steps", which is "tasks" here'
    words = ("name", "uses", "with", "if")
    assert [each.path for each in others] == [f"/steps/0/{word}" for word in words]
    assert not any(each.replacement for each in others)
    workflow["tasks"] = workflow.pop("steps")
    assert {problem.code for problem in problems_in(workflow)} == {"unknown_field"}
    assert fixed(workflow)["tasks"][0] == {
        **TASK,
        "arguments": {"x": 1},
        "when": "true",
        "depends_on": ["b"],
    }


def test_a_word_beside_its_field_is_not_renamed() -> None:
    (problem,) = problems_in({"tasks": [{**TASK, "with": {}, "arguments": {}}]})
    assert problem.replacement == ()


def test_tasks_by_id_become_an_array() -> None:
    workflow = {"tasks": {"a": {"tool": "s:t"}, "b": {"tool": "s:t", "needs": ["a"]}}}
    (problem,) = problems_in(workflow)
    assert (problem.path, problem.hint) == ("/tasks", "each task has its id")
    assert problem.message == "expected array, got object with properties a, b"
    assert fixed(workflow)["tasks"] == [TASK, {**OTHER, "depends_on": ["a"]}]
    for tasks in ({"a": {"id": "b", "tool": "s:t"}}, {"a": 1}, "a"):
        (problem,) = problems_in({"tasks": tasks})
        assert (problem.code, problem.replacement) == ("wrong_type", ())


def test_what_is_wrong_in_tasks_by_id_is_reported_in_its_place() -> None:
    tasks = {"a": {"tool": "s:t", "if": "true"}, "b": {"tool": "s:t", "args": {"x": "$OUTPUT[z]"}}}
    found = problems_in({"tasks": tasks, "output": "$OUTPUT[a]", "steps": []})
    assert {(problem.code, problem.path) for problem in found} == {
        ("wrong_type", "/tasks"),
        ("unknown_field", "/tasks/a/if"),
        ("unknown_task", "/tasks/b/args/x"),
        ("unknown_field", "/steps"),
    }
    assert [problem.path for problem in found if problem.replacement] == ["/tasks"]


def test_foreign_tasks_by_id_are_reported_in_their_place() -> None:
    steps = {"a": {"uses": "s:t"}, "b": {"tool": "s:t", "args": {"x": "$OUTPUT[z]"}}}
    outer = {"id": "o", "workflow": {"steps": steps}}
    at = "/tasks/0/workflow/steps"
    assert [(each.code, each.path) for each in problems_in({"tasks": [outer]})] == [
        ("unknown_field", at),
        ("wrong_type", at),
        ("unknown_field", f"{at}/a/uses"),
        ("unknown_task", f"{at}/b/args/x"),
    ]
    assert [each.path for each in problems_in({"steps": []})] == ["/steps", "/steps"]
    assert [each.path for each in problems_in({"steps": 3})] == ["/steps"]


def test_no_word_is_a_field_here() -> None:
    for words, field, more in ((_OF_TASKS, "tasks", TASK_SYNONYMS), (_OF_WORKFLOWS, "", {})):
        own = {name.replace("_", "").lower() for name in (*FIELDS[field], *more)}
        # It is nearly one: only its case or its underscores differ.
        assert own & set(words) <= {"foreach"}
        assert {meaning.field for meaning in words.values()} <= {*FIELDS[field], "", "finally"}
