"""The linter warns of what is allowed but most likely not meant."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.check.lint import MAX_LOOKUPS, warnings_of
from orchestrator.schema.tool import Tool
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
def test_a_retry_of_a_tool_that_writes_is_a_warning(hints: dict[str, Any], warned: bool) -> None:
    found = warnings_of(workflow(task("a", retry=2)), tool("a", **hints))
    assert ["retry_of_a_writer" in problem.code for problem in found] == [True] * warned
    assert codes("a", tools=tool("a", **hints)) == []


def test_a_warning_disappears_when_its_hint_is_followed() -> None:
    writer = tool("a", read_only=False)
    assert codes(task("a", retry={"on": ["tool_error"]}), tools=writer) == []
    assert codes(task("a", retry=1), tools=writer) == []
    lock = {"locks": ["x"]}
    assert codes(task("a", **lock), task("b", **lock), tools=SILENT) == []
    shared = {"locks": [{"name": "x", "mode": "shared"}]}
    assert codes(task("a", **shared), task("b", **shared), tools=SILENT) == ["unannotated_tools"]
    assert warnings_of(workflow("a", "b"), SILENT, serial={"fake"}) == []


VALUE = {"value": 1}


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"when": False}, "never_runs", "/tasks/0/when"),
        ({"run_if": "any_failed"}, "never_runs", "/tasks/0/run_if"),
        ({"retry": {"max_attempts": 1, "factor": 3}}, "means_nothing", "/tasks/0/retry"),
        ({"retry": {"initial_s": 60}}, "contradiction", "/tasks/0/retry"),
        ({"timeout_s": 9}, "contradiction", "/tasks/0/timeout_s"),
        ({"max_parallel": 2}, "means_nothing", "/tasks/0/max_parallel"),
        ({"spread": True}, "means_nothing", "/tasks/0/spread"),
        (
            {"spread": True, "for_each": [1], "locks": ["x:$ITEM"]},
            "means_nothing",
            "/tasks/0/spread",
        ),
        ({"item_when": "true"}, "means_nothing", "/tasks/0/item_when"),
        ({"item_fallback": VALUE}, "means_nothing", "/tasks/0/item_fallback"),
        ({"on_item_error": "stop"}, "means_nothing", "/tasks/0/on_item_error"),
        ({"item_when": False, "for_each": [1]}, "no_calls", "/tasks/0/item_when"),
        ({"delay_s": 3, "deadline_s": 2}, "contradiction", "/tasks/0/deadline_s"),
        ({"max_parallel": 20, "for_each": [1]}, "means_nothing", "/tasks/0/max_parallel"),
        ({"critical": True, "fallback": VALUE}, "means_nothing", "/tasks/0/critical"),
        ({"locks": ["x", {"name": "x", "mode": "shared"}]}, "contradiction", "/tasks/0/locks"),
        ({"locks": ["x", {"name": "x", "count": 1}]}, "contradiction", "/tasks/0/locks"),
        (
            {"locks": [{"name": "x", "count": 2}, {"name": "x", "count": 1}]},
            "contradiction",
            "/tasks/0/locks",
        ),
        (
            {"locks": ["$INPUT.y", "x"], "for_each": [1], "max_parallel": 2},
            "contradiction",
            "/tasks/0/max_parallel",
        ),
    ],
)
def test_policies_that_contradict_each_other(fields: dict[str, Any], code: str, path: str) -> None:
    plan = workflow(task("a", **fields), timeout_s=5, inputs={"y": {"default": "z"}})
    found = warnings_of(plan, {})
    assert [(p.severity, p.code, p.path) for p in found] == [("warning", code, path)]


@pytest.mark.parametrize(
    "fields",
    [
        {"retry": 1},
        {"retry": {"max_attempts": 3, "initial_s": 1, "max_s": 1}},
        {"timeout_s": 5},
        {"max_parallel": 2, "for_each": [1]},
        {"critical": True, "fallback": {"tool": "fake:b"}},
        {"locks": ["x", "y", "$INPUT.y"]},
        {"locks": ["x:$ITEM"], "for_each": [1], "max_parallel": 2},
        {"locks": [{"name": "x", "mode": "shared"}], "for_each": [1], "max_parallel": 2},
    ],
)
def test_policies_that_do_not_contradict_each_other(fields: dict[str, Any]) -> None:
    plan = workflow(task("a", **fields), timeout_s=5, inputs={"y": {"default": "z"}})
    assert warnings_of(plan, {}) == []


def test_spread_has_no_effect_where_one_process_carries_all_items() -> None:
    each = task("a", spread=True, for_each=[1])
    around = {"id": "o", "workflow": {"tasks": [each]}}
    locked = {"id": "o", "workflow": {"tasks": [task("b", locks=["x"])]}}
    cases: list[tuple[list[Any], dict[str, Any], list[str]]] = [
        ([each], {}, []),
        ([each], {"budget": {"minutes": 1}}, []),
        ([each], {"budget": {"calls": 1}}, ["/tasks/0/spread"]),
        ([each], {"budget": {"result_mb": 1}}, ["/tasks/0/spread"]),
        (["b"], {"finally": [each]}, ["/finally/0/spread"]),
        ([around], {}, ["/tasks/0/workflow/tasks/0/spread"]),
        ([{**locked, "spread": True, "for_each": [1]}], {}, ["/tasks/0/spread"]),
    ]
    for tasks, fields, paths in cases:
        found = warnings_of(workflow(*tasks, **fields), {})
        assert [each.path for each in found if "spread" in each.message] == paths


def test_spread_has_an_effect_with_locks_that_all_workers_hold_together() -> None:
    mixed = task("a", spread=True, for_each=[1], locks=["gpu", "file:$ITEM"])
    assert warnings_of(workflow(mixed), {}, is_for_all=lambda *_: True) == []
    (found,) = warnings_of(workflow(mixed), {}, is_for_all=lambda name, _: name == "gpu")
    assert found.message == 'spread has no effect: one process holds lock "file:..." for its items'
    fix = 'have all workers hold it: [locks."file:*"] with scope = "cluster" in servers.toml'
    assert found.hint == fix
    (found,) = warnings_of(workflow(mixed), {}, is_for_all=lambda name, _: name != "gpu")
    assert 'lock "gpu" for its items' in found.message


def test_a_task_that_depends_on_one_that_never_runs_never_runs() -> None:
    found = warnings_of(
        workflow(
            task("off", when=False),
            task("b", depends_on=["off"]),
            task("c", depends_on=["b"]),
            task("d", depends_on=["b"], run_if="all_done"),
            task("e", depends_on=["b", "off"], run_if="any_success"),
            task("f", depends_on=["b", "d"], run_if="any_success"),
        ),
        {},
    )
    assert [(p.task, p.path) for p in found] == [
        ("off", "/tasks/0/when"),
        ("b", "/tasks/1"),
        ("c", "/tasks/2"),
        ("e", "/tasks/4/run_if"),
    ]
    assert found[1].message == 'the task never runs: its dependency "off" never runs'


def test_a_task_that_needs_a_failure_that_ends_the_run_never_runs() -> None:
    waiting = task("b", run_if="any_failed", depends_on=["a"])
    assert codes("a", waiting, on_error="fail_fast") == ["never_runs"]
    assert codes(task("a", critical=True), waiting) == ["never_runs"]
    assert codes(task("a", critical=True), "c", waiting | {"depends_on": ["a", "c"]}) == []


def test_policies_without_effect() -> None:
    assert codes(task("a", run_if="any_success")) == ["never_runs"]
    assert codes(task("a", run_if="all_done")) == []
    assert codes("a", task("b", run_if="any_failed", depends_on=["a"])) == []
    assert codes(task("a", max_parallel=2)) == ["means_nothing"]
    assert codes("a", finally_timeout_s=3) == ["means_nothing"]
    assert codes("a", defaults={"on_item_error": "stop"}) == []
    assert codes(task("a", delay_s=3, deadline_s=2, for_each=[1])) == []
    cleaned: dict[str, Any] = {"finally_timeout_s": 3, "finally": [task("b")]}
    assert codes("a", **cleaned) == []
    assert codes(task("a", max_parallel=2, for_each=[1])) == []
    on = {"on": ["timeout", "reference_error"]}
    (found,) = warnings_of(workflow(task("a", retry=on)), {})
    assert (found.code, found.alternatives) == ("never_retried", ())
    kinds = "protocol_error, server_unavailable, timeout, tool_error"
    assert found.hint == f"only these kinds are retried: {kinds}"


SILENT = {**tool("a"), **tool("b")}


def test_unannotated_tools_whose_calls_may_overlap_are_named() -> None:
    (problem,) = warnings_of(workflow("a", "b"), SILENT)
    assert 'calls of fake:a, fake:b on server "fake" may overlap' in problem.message
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
def test_tools_whose_calls_cannot_overlap_are_not_named(
    tasks: list[Any], fields: dict[str, Any], warned: bool
) -> None:
    found = codes(*tasks, tools=SILENT | tool("d", read_only=True), **fields)
    assert found == ["unannotated_tools"] * warned


@pytest.mark.parametrize("around", ["generations", "dataflow"])
@pytest.mark.parametrize("said", [None, "generations", "dataflow"])
def test_calls_inside_may_overlap_by_the_schedule_around_or_their_own(
    around: str, said: str | None
) -> None:
    steps = [task("a"), task("d"), task("b", depends_on=["d"])]
    inner = {"tasks": steps} | ({"schedule": said} if said else {})
    tools = SILENT | tool("d", read_only=True)
    found = codes({"id": "outer", "workflow": inner}, tools=tools, schedule=around)
    assert found == ["unannotated_tools"] * ((said or around) == "dataflow")


def test_very_many_tasks_are_assumed_to_overlap() -> None:
    chain = [task("t0", tool="fake:a")]
    for n in range(1, MAX_LOOKUPS + 1):
        chain.append(task(f"t{n}", tool="fake:a", depends_on=[f"t{n - 1}"]))
    assert codes(*chain, tools=SILENT, schedule="dataflow") == ["unannotated_tools"]
    assert codes(*chain[:-1], tools=SILENT, schedule="dataflow") == []


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$output[a].title", "$OUTPUT[a].title"),
        ("$Output[a]", "$OUTPUT[a]"),
        ("$OUTPUTS[a][0]", "$OUTPUT[a][0]"),
        ("see $input.city!", "$INPUT.city"),
        ("$inputs.city", "$INPUT.city"),
        ("$item.title", "$ITEM.title"),
        ("$item", "$ITEM"),
        ("$a.title", "$OUTPUT[a].title"),
        ("$a.output.title", "$OUTPUT[a].title"),
        ("$city", "$INPUT.city"),
        ("{{a.title}}", "$OUTPUT[a].title"),
        ("{{ a }}", "$OUTPUT[a]"),
        ("{{tasks.a.outputs.result}}", "$OUTPUT[a]"),
        ("{{.steps.a.output.title}}", "$OUTPUT[a].title"),
        ("{{ city }}", "$INPUT.city"),
        ("{{INPUT.city}}", "$INPUT.city"),
        ("$error[a].kind", "$ERROR[a].kind"),
    ],
)
def test_a_string_that_looks_like_a_reference_is_a_warning(text: str, meant: str) -> None:
    plan = workflow("a", task("b", arguments={"x": [text]}), inputs={"city": {"default": "Oslo"}})
    found = warnings_of(plan, {})
    assert [(p.code, p.path, p.alternatives) for p in found] == [
        ("likely_reference", "/tasks/1/arguments/x/0", (meant,))
    ]
    assert found[0].text in text
    # Only a dollar sign can be doubled.
    assert ("double the dollar sign" in found[0].hint) == ("$" in text)


@pytest.mark.parametrize(
    "text",
    [
        "$5",
        "$$a.title",
        "$b2",
        "costs $a",
        "$HOME/x",
        "{{#if}}",
        "${OUTPUT[a]}",
        "$ITEM",
        "a.title",
    ],
)
def test_any_other_string_is_no_warning(text: str) -> None:
    each = {"for_each": [1], "arguments": {"x": text}}
    assert warnings_of(workflow("a", task("b", **each)), {}) == []
