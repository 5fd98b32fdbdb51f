"""What people write from other systems gets a hint, and every mistake of a string is told."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.check.checker import prove
from orchestrator.check.lint import warnings_of
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow

MADE = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = Tool("s", "t", {"type": "object"}, output_schema=MADE)


def found_in(text: Any, **more: Any) -> list[Problem]:
    tasks = [
        {"id": "a", "tool": "s:t"},
        {"id": "b", "tool": "s:t", "arguments": {"x": text}, **more},
    ]
    try:
        workflow = Workflow.load({"tasks": tasks})
    except WorkflowError as error:
        return list(error.problems)
    return [*prove(workflow, {"s:t": TOOL}), *warnings_of(workflow, {"s:t": TOOL})]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('$OUTPUT["a"] and $OUTPUT and $OUTPUT[a]', ['$OUTPUT["a"]', "$OUTPUT"]),
        ("$OUTPUT[a].0 $OUTPUT[a]..b", ["$OUTPUT[a].0", "$OUTPUT[a]..b"]),
        ("${HOME}/${x y} ${OUTPUT[a].n}", ["${HOME}", "${x y}"]),
        ("$STATUS[a] $INPUT", ["$STATUS[a]", "$INPUT"]),
    ],
)
def test_every_malformed_reference_of_a_string_is_told(text: str, pieces: list[str]) -> None:
    assert [p.text for p in found_in(text) if p.code == "malformed_reference"] == pieces


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("${a.content}", 'for the output of task "a", write $OUTPUT[a].content'),
        ("${a.items[0].x} more", "write $OUTPUT[a].items[0].x"),
        ("${a}", "write $OUTPUT[a]"),
        ("${env.HOME}", "declare an input"),
        ("${ENV[HOME]}", "declare an input"),
        ("$ENV[HOME]", "declare an input"),
        ("$env.HOME", "declare an input"),
        ("$OUTPUT.a", "write $OUTPUT[a]"),
        ("see $OUTPUT.a.n[0]!", "write $OUTPUT[a].n[0]"),
        ("${{ OUTPUT[a].n }}", "write one pair of braces: ${OUTPUT[a].n}"),
        ("${{ steps.a.outputs.n }}", 'for the output of task "a", write $OUTPUT[a].n'),
        ("{{ $OUTPUT[a].n }}", "write $OUTPUT[a].n"),
        ("see {{$OUTPUT[a]}}", "write $OUTPUT[a]"),
        ("n-$OUTPUT[a].n.md", 'if ".md" is text behind the reference, write ${OUTPUT[a].n}.md'),
    ],
)
def test_what_was_meant_is_in_a_hint(text: str, hint: str) -> None:
    codes = {"malformed_reference", "likely_reference", "unknown_place"}
    (found,) = (problem for problem in found_in(text) if problem.code in codes)
    assert hint in found.hint


def test_text_behind_an_index_is_in_a_hint() -> None:
    all_found = found_in("repo-$INDEX.md", for_each=[1, 2])
    (found,) = (problem for problem in all_found if problem.code == "unknown_place")
    assert found.hint == 'if ".md" is text behind the reference, write ${INDEX}.md'


@pytest.mark.parametrize("number", [5, 5.5, True, None])
def test_an_id_that_is_no_string_is_the_only_error(number: Any) -> None:
    tasks = [{"id": number, "tool": "s:t"}, {"id": "b", "tool": "s:t", "depends_on": [str(number)]}]
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"tasks": tasks})
    assert [problem.path for problem in caught.value.problems] == ["/tasks/0/id"]


def test_a_task_of_no_kind_is_told_all_kinds() -> None:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"tasks": [{"id": "a"}]})
    [problem] = caught.value.problems
    assert problem.hint == 'or one of "value", "workflow", "read", "prompt", "ask" in its place'


def test_a_wrong_list_of_a_product_is_one_error() -> None:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"tasks": [{"id": "a", "value": 1, "for_each": {"x": [1], "y": 3}}]})
    [problem] = caught.value.problems
    assert problem.path == "/tasks/0/for_each/y"
