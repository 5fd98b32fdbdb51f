"""Checking goes on after a mistake: other problems are reported too, consequences are not."""

from __future__ import annotations

from typing import Any

import pytest

from mock_servers import news, weather
from orchestrator import Orchestrator, Server, WorkflowError
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.recovery import read_again, recover

SEARCH = {"id": "a", "tool": "news:search", "arguments": {"query": "x"}}
WRONG = {"id": "z", "tool": "news:search", "arguments": {"query": 5, "limit": "$OUTPUT[a].itms"}}


def problems(data: dict[str, Any]) -> Any:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load(data)
    return caught.value.problems


@pytest.mark.anyio
async def test_mistakes_in_the_file_do_not_hide_mistakes_with_the_tools() -> None:
    task = {
        "id": "b",
        "tool": "weather:forecast",
        "args": {"city": "$OUTPUT[gone].x", "cty": 1},
        "needs": ["gone"],
        "timeout": 5,
    }
    data = {"tasks": [SEARCH, task, WRONG], "schedule": "x", "output": "$OUTPUT[nobody]"}
    servers = {"news": news.server, "weather": weather.server}
    async with Orchestrator(servers) as orchestrator:
        with pytest.raises(WorkflowError) as caught:
            await orchestrator.check(data)
        found = await orchestrator.findings(data)
    told = {(problem.code, problem.path) for problem in found}
    assert told == {
        ("unknown_task", "/tasks/1/args/city"),
        ("unknown_field", "/tasks/1/timeout"),
        ("unknown_task", "/tasks/1/needs/0"),
        ("wrong_value", "/schedule"),
        ("unknown_task", "/output"),
        ("unexpected_argument", "/tasks/1/arguments/cty"),
        ("wrong_argument", "/tasks/2/arguments/query"),
        ("unknown_place", "/tasks/2/arguments/limit"),
    }
    assert len(caught.value.problems) == len([p for p in found if p.severity == "error"])


MISTAKES: list[dict[str, Any]] = [
    {"id": "b"},
    {"id": "b", "tool": "newssearch"},
    {"id": "b c", "tool": "news:search"},
    {"id": "a", "tool": "news:search"},
    {"id": 5, "tool": "news:search"},
    {"tool": "news:search", "arguments": {}},
    {"id": "b", "tool": "news:search", "argumets": {"query": 5}},
    {"id": "b", "tool": "news:search", "arguments": []},
    {"id": "b", "tool": "news:search", "arguments": {"query": "$OUTPUT"}},
    {"id": "b", "tool": "news:search", "arguments": {"query": {"x": ["${length(}"]}}},
    {"id": "b", "tool": "news:search", "arguments": {"$OUTPUT[q].x": 1}},
    {"id": "b", "tool": "news:search", "depends_on": ["b"]},
    {"id": "b", "tool": "news:search", "depends_on": "a"},
    {"id": "b", "tool": "news:search", "when": "OUTPUT[q] > 3"},
    {"id": "b", "tool": "news:search", "for_each": "$OUTPUT[q]", "arguments": {"query": "$ITEM"}},
    {"id": "b", "tool": "news:search", "for_each": 5, "arguments": {"query": "$ITEM.x"}},
    {"id": "b", "tool": "news:search", "retry": {"max_attempts": 0, "on": ["x"]}},
    {"id": "b", "tool": "news:search", "fallback": {"value": "$OUTPUT[q]"}},
    {"id": "b", "tool": "news:search", "fallback": {"tool": "x"}},
    {"id": "b", "tool": "news:search", "fallback": {"tool": "x:y", "arguments": {"z": "$OUTPUT"}}},
    {"id": "b", "tool": "news:search", "locks": [{"name": ""}]},
    {"id": "b", "tool": "news:search", "arguments": {"query": "$OUTPUT[z].items"}},
]


@pytest.mark.untraced
@pytest.mark.anyio
@pytest.mark.parametrize("mistake", MISTAKES)
async def test_the_other_tasks_are_checked_despite_a_mistake(mistake: dict[str, Any]) -> None:
    other = WRONG | {"depends_on": [mistake["id"]]} if mistake.get("id") == "b" else WRONG
    data = {"tasks": [SEARCH, mistake, other], "inputs": {"n": {"type": "integer", "default": 1}}}
    async with Orchestrator({"news": news.server}) as orchestrator:
        found = await orchestrator.findings(data)
    assert {p.code for p in found if p.task == "a" and p.path.startswith("/tasks/0")} == set()
    of_other = {(p.code, p.path) for p in found if p.path.startswith("/tasks/2/arguments")}
    if "$OUTPUT[z].items" not in str(mistake):  # which makes a circle with it
        assert of_other == {
            ("wrong_argument", "/tasks/2/arguments/query"),
            ("unknown_place", "/tasks/2/arguments/limit"),
        }
    assert all("?" not in p.message or p.code == "unknown_field" for p in found)
    assert not any(mark in p.message for mark in ("\ufdd0", r"\ufdd0") for p in found)


@pytest.mark.anyio
async def test_a_finding_about_a_question_mark_is_reported_despite_a_mistake() -> None:
    mistake = {"id": "b", "tool": "news:search", "timeout": 5}
    odd = {"id": "c", "tool": "news:search", "arguments": {"query": "x", "?": 1}}
    async with Orchestrator({"news": news.server}) as orchestrator:
        found = await orchestrator.findings({"tasks": [mistake, odd]})
    assert ("unexpected_argument", "/tasks/1/arguments/?") in {(p.code, p.path) for p in found}


@pytest.mark.anyio
async def test_a_server_that_did_not_start_is_reported_despite_a_mistake() -> None:
    task = {"id": "b", "tool": "gone:tool", "timeout_secs": 5}
    async with Orchestrator({"gone": Server(command="no-such-program")}) as orchestrator:
        found = await orchestrator.findings({"tasks": [task]})
    assert [p.code for p in found] == ["unknown_field", "server_unavailable"]


@pytest.mark.untraced
def test_recovery_works_after_any_two_mistakes() -> None:
    for first in MISTAKES:
        for second in MISTAKES:
            data = {"tasks": [SEARCH, first, second | {"args": 5}, WRONG], "output": "${"}
            left = recover(data, problems(data))
            assert left is not None
            assert left.workflow.tasks[0].tool == "news:search"


def test_mistakes_in_inputs_and_at_the_top_are_cut_out() -> None:
    inputs = {"n": {"type": "strin"}, "m": {"type": "integer", "default": "x"}}
    data = {"tasks": [SEARCH], "inputs": inputs, "nam": 1, "max_concurrency": -1}
    left = recover(data, problems(data))
    assert left is not None
    assert left.workflow.inputs["n"] is True
    assert [task.id for task in left.workflow.tasks] == ["a"]
    assert data["inputs"] == inputs


def test_nothing_is_recovered_from_what_is_not_a_workflow() -> None:
    assert recover([], []) is None
    assert recover({"tasks": 5}, []) is None
    assert recover({"tasks": []}, problems({"tasks": []})) is None
    assert read_again("there/is/no/such.json") is None
    assert read_again({"tasks": []}) == {"tasks": []}


@pytest.mark.anyio
async def test_a_cycle_does_not_hide_the_tools_of_its_tasks() -> None:
    first = {"id": "a", "tool": "news:search", "arguments": {"query": "$OUTPUT[b].conditions"}}
    second = {"id": "b", "tool": "weather:forecast", "needs": ["a"], "arguments": {"city": "x"}}
    wrong = second | {"arguments": {"city": "$OUTPUT[a].itms"}}
    fallback = {"for_each": [1], "fallback": {"value": [{"x": "$OUTPUT[b]"}]}}
    item = second | {"arguments": {"city": "$OUTPUT[a][0].x"}}
    expected = {
        "a cycle": ([first, second], []),
        "an unknown server": ([first | {"tool": "nws:search"}, second], ["/tasks/0/tool"]),
        "an unknown property": ([first, wrong], ["/tasks/1/arguments/city"]),
        "a fallback": ([first | fallback, item], []),
    }
    async with Orchestrator({"news": news.server, "weather": weather.server}) as orchestrator:
        for name, (tasks, paths) in expected.items():
            found = [
                p for p in await orchestrator.findings({"tasks": tasks}) if p.severity == "error"
            ]
            assert [problem.path for problem in found] == ["/tasks/0", *paths], name
