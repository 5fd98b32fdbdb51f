"""Requests for Oktyv's `parallel_execute` are workflows as they are."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Workflow, WorkflowError

TASK = {"id": "a", "tool": "s:t", "params": {"x": 1}}


def test_a_request_is_taken_as_it_is_and_saved_in_the_canonical_form() -> None:
    request = {
        "tasks": [
            {**TASK, "timeout": 1500},
            {"id": "b", "tool": "s:t", "params": {"y": "${a.result.z}"}, "dependsOn": ["a"]},
        ],
        "config": {"maxConcurrent": 3, "continueOnError": True, "timeout": 60_000},
    }
    assert Workflow.load(request).to_dict() == {
        "name": "workflow",
        "max_concurrency": 3,
        "timeout_s": 60.0,
        "tasks": [
            {"id": "a", "tool": "s:t", "arguments": {"x": 1}, "timeout_s": 1.5},
            {
                "id": "b",
                "tool": "s:t",
                "arguments": {"y": "${a.result.z}"},
                "depends_on": ["a"],
            },
        ],
    }


@pytest.mark.parametrize(
    ("request_", "on_error"),
    [
        ({"tasks": [TASK], "config": {}}, "fail_fast"),
        ({"tasks": [TASK], "config": {"continueOnError": False}}, "fail_fast"),
        ({"tasks": [TASK], "config": {"continueOnError": True}}, "continue"),
        ({"tasks": [{**TASK, "timeout": 100}]}, "fail_fast"),
        ({"tasks": [TASK], "config": {}, "on_error": "continue"}, "continue"),
        ({"tasks": [TASK], "maxConcurrent": 2}, "continue"),  # a workflow with synonyms
    ],
)
def test_without_continue_on_error_a_request_fails_fast(
    request_: dict[str, Any], on_error: str
) -> None:
    assert Workflow.load(request_).on_error == on_error


def problems_in(workflow: dict[str, Any]) -> list[str]:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load(workflow)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_what_is_wrong_in_a_request_is_reported_where_it_is() -> None:
    assert problems_in(
        {
            "tasks": [
                {**TASK, "timeout": -1},
                {**TASK, "id": "b", "timeout": 5, "timeout_s": 3},
                {**TASK, "id": "c", "timeout": "5m"},
            ],
            "config": {
                "maxConcurrent": -3,
                "continueOnError": "yes",
                "timeout": True,
                "maxConcurent": 5,
            },
        }
    ) == [
        "/tasks/0/timeout: expected a number of milliseconds above 0, got integer -1",
        '/tasks/1/timeout: "timeout" and "timeout_s" name the same field: keep one',
        '/tasks/2/timeout: expected a number of milliseconds above 0, got string "5m"',
        "/config/maxConcurrent: expected at least 0, got -3",
        '/config/continueOnError: expected boolean, got string "yes"',
        "/config/timeout: expected a number of milliseconds above 0, got boolean true",
        '/config/maxConcurent: unknown field "maxConcurent"',
    ]


def test_a_field_that_config_says_too_is_doubled() -> None:
    assert problems_in(
        {
            "tasks": [TASK],
            "config": {"maxConcurrent": 2, "timeout": 5},
            "maxConcurrent": 4,
            "timeout_s": 4,
        }
    ) == [
        '/config/maxConcurrent: "config.maxConcurrent" and "maxConcurrent" name the same field: '
        "keep one",
        '/config/timeout: "config.timeout" and "timeout_s" name the same field: keep one',
    ]
    assert problems_in({"tasks": [TASK], "config": [1]}) == [
        "/config: expected object, got array of 1 item"
    ]


def test_elsewhere_timeout_is_an_unknown_field() -> None:
    task = {"id": "a", "tool": "s:t", "arguments": {}, "timeout": 5}
    assert problems_in({"tasks": [task]}) == ['/tasks/0/timeout: unknown field "timeout"']


def test_a_request_of_nothing_but_its_words_needs_neither_params_nor_config() -> None:
    request = {"tasks": [{"id": "a", "tool": "s:t", "timeout": 5000}, {"id": "b", "tool": "s:t"}]}
    workflow = Workflow.load(request)
    assert (workflow.tasks[0].timeout_s, workflow.on_error) == (5.0, "fail_fast")
    for more in (
        {"schedule": "dataflow"},
        {"tasks": [*request["tasks"], {"id": "c", "tool": "s:t", "when": "true"}]},
    ):
        assert problems_in({**request, **more}) == ['/tasks/0/timeout: unknown field "timeout"']
