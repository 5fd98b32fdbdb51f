"""What is allowed and most likely not meant is said, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.advice import MAX_LOOKUPS, warnings_of
from orchestrator.calls import Tool
from tests.fakes import workflow


def tool(name: str, **hints: Any) -> dict[str, Tool]:
    return {f"fake:{name}": Tool("fake", name, {}, **hints)}


def codes(
    *tasks: dict[str, Any] | str, tools: dict[str, Tool] | None = None, **fields: Any
) -> list[str]:
    return [problem.code for problem in warnings_of(workflow(*tasks, **fields), tools or {})]


def task(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "tool": f"fake:{name}", **fields}


@pytest.mark.parametrize(
    ("hints", "warned"),
    [
        ({"read_only": False}, True),
        ({"read_only": False, "idempotent": False}, True),
        ({"read_only": False, "idempotent": True}, False),
        ({"read_only": True}, False),
        ({}, False),
    ],
)
def test_a_retry_of_a_tool_that_declares_that_it_writes(
    hints: dict[str, Any], warned: bool
) -> None:
    found = warnings_of(workflow(task("a", retry=2)), tool("a", **hints))
    assert ["retry_of_a_writer" in problem.code for problem in found] == [True] * warned
    assert codes("a", tools=tool("a", **hints)) == []


def test_advice_that_was_followed_is_not_given_again() -> None:
    writer = tool("a", read_only=False)
    assert codes(task("a", retry={"on": ["tool_error"]}), tools=writer) == []
    assert codes(task("a", retry=1), tools=writer) == []
    lock = {"locks": ["x"]}
    assert codes(task("a", **lock), task("b", **lock), tools=SILENT) == []
    shared = {"locks": [{"name": "x", "mode": "shared"}]}
    assert codes(task("a", **shared), task("b", **shared), tools=SILENT) == ["unannotated_tools"]
    assert warnings_of(workflow("a", "b"), SILENT, serial={"fake"}) == []


def test_policies_that_mean_nothing() -> None:
    assert codes(task("a", run_if="any_success")) == ["never_runs"]
    assert codes(task("a", run_if="all_done")) == []
    assert codes("a", task("b", run_if="any_failed", depends_on=["a"])) == []
    assert codes(task("a", max_parallel=2)) == ["means_nothing"]
    assert codes(task("a", max_parallel=2, for_each=[1])) == []
    on = {"on": ["timeout", "reference_error"]}
    assert codes(task("a", retry=on)) == ["never_retried"]


SILENT = {**tool("a"), **tool("b")}


def test_tools_without_annotations_that_may_run_at_the_same_time_are_named() -> None:
    (problem,) = warnings_of(workflow("a", "b"), SILENT)
    assert "on server 'fake' calls of fake:a, fake:b may run at the same time" in problem.message
    assert "[servers.fake]" in problem.hint


@pytest.mark.parametrize(
    ("tasks", "fields", "warned"),
    [
        (["a", "b: a"], {}, False),
        (["a", "b: a"], {"schedule": "dataflow"}, False),
        (["a", "c", "b: c"], {}, False),
        (["a", "c", "b: c"], {"schedule": "dataflow"}, True),
        (["a", "b"], {"max_concurrency": 1}, False),
        ([task("a", for_each=[1, 2])], {}, True),
        (["c", "d"], {}, False),
        ([task("c", fallback={"tool": "fake:a"}), "b"], {}, True),
    ],
)
def test_what_cannot_overlap_is_not_named(
    tasks: list[Any], fields: dict[str, Any], warned: bool
) -> None:
    found = codes(*tasks, tools=SILENT | tool("d", read_only=True), **fields)
    assert found == ["unannotated_tools"] * warned


def test_of_very_many_tasks_it_is_assumed_that_they_may_overlap() -> None:
    chain = [task("t0", tool="fake:a")]
    for n in range(1, MAX_LOOKUPS + 1):
        chain.append(task(f"t{n}", tool="fake:a", depends_on=[f"t{n - 1}"]))
    assert codes(*chain, tools=SILENT, schedule="dataflow") == ["unannotated_tools"]
    assert codes(*chain[:-1], tools=SILENT, schedule="dataflow") == []
