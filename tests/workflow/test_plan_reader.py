"""A plan that is still being written gives its tasks, however its text is cut."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import Problem
from orchestrator.workflow.plan_reader import PlanReader

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TASKS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=5)


def _read(text: str, cuts: list[int]) -> list[Any]:
    reader = PlanReader()
    at = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [p for a, b in pairwise(at) for p in reader.feed(text[a:b])]
    assert not reader.is_open
    assert not any(piece.error for piece in pieces)
    return [(piece.value, piece.is_task) for piece in pieces]


@settings(max_examples=30)
@given(TASKS, st.dictionaries(st.text(), VALUES, max_size=3), st.lists(st.integers(0), max_size=20))
def test_any_cut_of_a_document_gives_its_head_its_tasks_and_the_whole(
    tasks: list[Any], more: dict[str, Any], cuts: list[int]
) -> None:
    more.pop("tasks", None)
    document = {**more, "tasks": tasks}
    expected = [(more, False), *((task, True) for task in tasks), (document, False)]
    assert _read(json.dumps(document), cuts) == expected
    assert _read(json.dumps(document, indent=1, ensure_ascii=False), cuts) == expected


@settings(max_examples=30)
@given(TASKS, st.lists(st.integers(0), max_size=20))
def test_any_cut_of_lines_gives_a_task_each(tasks: list[Any], cuts: list[int]) -> None:
    tasks = [{name: value for name, value in task.items() if name != "tasks"} for task in tasks]
    text = "".join(f"{json.dumps(task)}\n" for task in tasks)
    assert _read(text, cuts) == [(task, True) for task in tasks]


def test_an_escape_may_be_cut_from_what_it_escapes() -> None:
    reader = PlanReader()
    (piece,) = [p for cut in ('{"a": "\\', '"}\\', '\\u007d"}') for p in reader.feed(cut)]
    assert piece.value == {"a": '"}\\u007d'}


def test_a_task_is_given_with_the_character_that_closes_it() -> None:
    reader, text = PlanReader(), '{"tasks": [{"id": "a", "arguments": {"x": "}\\""}}'
    (head,) = [piece for char in text[:-1] for piece in reader.feed(char)]
    assert (head.value, head.is_head) == ({}, True)
    (piece,) = reader.feed(text[-1])
    assert piece.value == {"id": "a", "arguments": {"x": '}"'}}
    assert reader.is_open


def test_an_object_that_is_no_json_is_given_with_the_reason() -> None:
    wrong, right = PlanReader().feed('{"id": a}\n{"id": "b"}')
    assert wrong.error.startswith("invalid JSON: Expecting value")
    assert right.value == {"id": "b"}


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ('{"id": "a"}\n  {"id": "b", "value": NaN}', "NaN is not JSON", (2, 24)),
        ('{"tasks": [{"id": "a"},\n{"id": "b",\n "id": 1}', 'duplicate property "id"', (3, 2)),
        ('{"tasks": [{"id": "a"}, {"id": "b" "x"}', "Expecting ',' delimiter", (1, 36)),
        ('{"id": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep", (1, 1)),
    ],
)
@pytest.mark.parametrize("length", [3, 1_000_000])
def test_what_the_reader_of_files_refuses_is_refused_with_its_place(
    text: str, message: str, place: tuple[int, int], length: int
) -> None:
    reader = PlanReader()
    pieces = [p for at in range(0, len(text), length) for p in reader.feed(text[at : at + length])]
    (problem,) = [piece.problem for piece in pieces if piece.problem is not None]
    assert message in problem.message
    assert (problem.line, problem.column) == place
    assert problem.code == "malformed_document"


def test_what_is_wrong_with_a_task_has_its_place_in_all_that_was_read() -> None:
    text = (
        '{"name": "w",\n "tasks": [\n  {"id": "a",\n   "params": {"x": 1}}, {"id": "b", "valu": 2}'
    )
    _, first, second = PlanReader().feed(text)
    wrong = Problem("wrong_argument", "expected string", "/arguments/x")
    assert [
        (p.path, p.line, p.column) for p in first.located([wrong, replace(wrong, path="")])
    ] == [
        ("/params/x", 4, 20),
        ("", 3, 10),
    ]
    (unknown,) = second.located([Problem("unknown_field", "?", "/valu", text="valu")])
    assert (unknown.line, unknown.column) == (4, 37)
    document = PlanReader().feed('\n{"tasks": [],\n "timeout_s": 5}')[-1]
    (late,) = document.located([Problem("usage", "late", "/timeout_s")])
    assert (late.path, late.line, late.column) == ("/timeout_s", 3, 15)
