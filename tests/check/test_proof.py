"""A replacement is offered only if its place has no finding afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.check.checker import prove
from orchestrator.check.proof import proved
from orchestrator.documents.pointer import move_op, replace_op
from orchestrator.errors import Problem, WorkflowError
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.recovery import recover
from tests.check.test_checker import SEARCH, TOOLS, B, using


def found_in(data: Any) -> list[Problem]:
    try:
        return prove(Workflow.load(data), TOOLS)
    except WorkflowError as error:
        rest = recover(data, error.problems)
        more = rest.telling(prove(rest.workflow, TOOLS)) if rest else []
        return [*error.problems, *more]


def offered(task: dict[str, Any]) -> list[Any]:
    data = {"tasks": [SEARCH, task]}
    return [p.replacement for p in proved(found_in(data), lambda: data, TOOLS) if p.replacement]


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("$OUTPUT[a].items[0:2]", "${OUTPUT[a].items[0:2]}"),
        ("$OUTPUT[a].items[*].title", "${OUTPUT[a].items[*].title}"),
        ('$OUTPUT["a"].items', "$OUTPUT[a].items"),
        # JMESPath slices no string, and has no wildcard on one
        ("$OUTPUT[a].items[0].title[0:5]", None),
        ("$OUTPUT[a].next[*]", None),
        ("$OUTPUT[a].total[0:5].x", None),
        # the property is not there either way
        ("$OUTPUT[a].itmes_of_all[*].title", None),
    ],
)
def test_a_reference_becomes_an_expression_only_where_that_gives_a_value(
    text: str, fixed: str | None
) -> None:
    expected = [] if fixed is None else [(replace_op(f"{B}/x", fixed),)]
    assert offered(using("free", x=text)) == expected


def test_a_replacement_that_leaves_an_error_in_its_place_is_not_offered() -> None:
    assert offered(using("strict", n='$OUTPUT["a"].total')) != []
    assert offered(using("strict", n='$OUTPUT["a"].items')) == []
    assert offered(using("search", query="$OUTPUT[a].itms")) == []
    assert offered(using("search", qury=["x"])) == []


def test_a_renamed_field_may_have_other_mistakes_in_it() -> None:
    task = {"id": "b", "tool": "s:search", "argumets": {"query": 5}}
    rename = move_op("/tasks/1/argumets", "/tasks/1/arguments")
    assert offered(task) == [(rename,)]


def test_a_replacement_is_proved_under_the_names_of_the_file() -> None:
    task = {"id": "b", "tool": "s:free", "args": {"x": '$OUTPUT["a"].total'}}
    assert offered(task) == [(replace_op("/tasks/1/args/x", "$OUTPUT[a].total"),)]


@pytest.mark.parametrize(
    "expression",
    ["['5', 3]", "'5'", '`"5"`', "{n: '5'}.n", "not_null('5')", "['5'] | [0]"],
)
def test_a_literal_inside_of_an_expression_gets_no_replacement(expression: str) -> None:
    for task in (using("mean", of=f"${{{expression}}}"), using("strict", n=f"${{{expression}}}")):
        assert offered(task) == []
        assert [p.replacement for p in found_in({"tasks": [SEARCH, task]}) if p.replacement] == []


def test_a_literal_of_another_case_inside_of_an_expression_gets_no_replacement() -> None:
    found = found_in({"tasks": [SEARCH, using("kind", of="${'CAT'}")]})
    assert [(p.code, p.replacement) for p in found] == [("wrong_argument", ())]
