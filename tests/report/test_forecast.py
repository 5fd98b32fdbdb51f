"""What a plan will do: calls, critical path, effects, limits and time, or that it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.report.call_counts import Count, count_calls
from orchestrator.report.effects import effects_of
from orchestrator.report.forecast import forecast
from orchestrator.report.plan_text import lines_of, summary
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server, ServerTable
from orchestrator.servers.locking import LockTables
from orchestrator.workflow.model import Workflow
from tests.fakes import workflow

LIST = {"type": "array", "items": {"type": "string"}}


def listing(**bounds: int) -> dict[str, Tool]:
    """A tool `s:list` whose output has `items`, and `s:one`."""
    schema = {"type": "object", "properties": {"items": {**LIST, **bounds}}}
    return {"s:list": Tool("s", "list", {}, output_schema=schema), "s:one": Tool("s", "one", {})}


def each(over: Any, **more: Any) -> dict[str, Any]:
    return {"id": "each", "tool": "s:one", "for_each": over, "arguments": {"x": "$ITEM"}, **more}


def counted(
    *tasks: Mapping[str, Any],
    tools: Mapping[str, Tool] | None = None,
    given: Mapping[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Count]:
    return count_calls(workflow(*tasks, **fields), tools or {}, given or {})


def test_a_task_makes_one_call_and_a_list_in_the_file_one_for_each_item() -> None:
    calls = counted(
        {"id": "a", "tool": "s:one"},
        each([1, 2, 3]),
        {"id": "made", "tool": "s:one", "for_each": ["$OUTPUT[a]", 2]},
    )
    assert calls["a"] == Count(1, 1)
    assert calls["each"] == Count(3, 3, "one for each item")
    assert str(calls["made"]) == "2"


def test_items_of_an_input_are_those_given_or_its_default() -> None:
    inputs = {"xs": {**LIST, "default": ["a", "b"]}}
    assert counted(each("$INPUT.xs"), inputs=inputs)["each"].most == 2
    assert counted(each("$INPUT.xs"), inputs=inputs, given={"xs": ["c"]})["each"].most == 1
    filtered = "${INPUT.xs[?@ != 'a']}"
    filtered_count = counted(each(filtered), inputs=inputs)["each"]
    assert (filtered_count.least, filtered_count.most) == (1, 1)


def test_items_of_an_unknown_input_are_bounded_by_its_schema() -> None:
    inputs = {"xs": {**LIST, "minItems": 1, "maxItems": 5}}
    count = counted(each("$INPUT.xs"), inputs=inputs)["each"]
    assert count == Count(1, 5, "one for each item of $INPUT.xs")
    assert str(count) == "1-5"


def test_items_of_an_output_are_bounded_only_by_the_schema_of_its_tool() -> None:
    tasks = ({"id": "l", "tool": "s:list"}, each("$OUTPUT[l].items"))
    why = "one for each item of $OUTPUT[l].items"
    assert counted(*tasks, tools=listing(maxItems=7))["each"] == Count(0, 7, why)
    assert counted(*tasks, tools=listing())["each"] == Count(0, None, why)
    assert counted(*tasks)["each"] == Count(0, None, why)
    assert str(counted(*tasks)["each"]) == "0+"
    computed = counted(tasks[0], each("${OUTPUT[l].items[*].x}"), tools=listing(maxItems=7))
    assert computed["each"].most is None


def test_a_list_of_outputs_is_as_long_as_the_list_it_was_made_of() -> None:
    first = {"id": "f", "tool": "s:list", "for_each": [1, 2, 3]}
    assert counted(first, each("$OUTPUT[f]"))["each"].most == 3
    within = counted(first, each("$OUTPUT[f][0].items"), tools=listing(maxItems=4))
    assert within["each"].most == 4


def test_the_output_of_a_task_with_a_fallback_has_no_bound() -> None:
    def most(**fallback: Any) -> int | None:
        task = {"id": "l", "tool": "s:list", **fallback}
        return counted(task, each("$OUTPUT[l].items"), tools=listing(maxItems=2))["each"].most

    assert most() == 2
    assert most(fallback={"value": {"items": [1, 2, 3]}}) is None
    assert most(fallback={"tool": "s:list"}) is None


def test_a_task_that_may_be_skipped_makes_at_least_no_call_and_so_do_its_dependents() -> None:
    calls = counted(
        {"id": "a", "tool": "s:one"},
        {"id": "ask", "tool": "s:one", "when": "OUTPUT[a].x"},
        {"id": "after", "tool": "s:one", "depends_on": ["ask"]},
        {"id": "any", "tool": "s:one", "depends_on": ["ask"], "run_if": "any_success"},
        {"id": "sure", "tool": "s:one", "depends_on": ["ask", "a"], "run_if": "any_success"},
        {"id": "anyway", "tool": "s:one", "depends_on": ["ask"], "run_if": "all_done"},
        {"id": "repair", "tool": "s:one", "depends_on": ["a"], "run_if": "any_failed"},
    )
    perhaps = Count(0, 1, "none if it is skipped")
    assert calls == {
        "a": Count(1, 1),
        "ask": perhaps,
        "after": perhaps,
        "any": perhaps,
        "sure": Count(1, 1),
        "anyway": Count(1, 1),
        "repair": perhaps,
    }


def test_a_list_or_a_condition_with_an_error_in_it_is_open() -> None:
    inputs = {"n": {"default": 3}}
    fallback = {"tool": "s:one"}
    plan = workflow(
        each("$INPUT.n", fallback=fallback),
        {"id": "c", "tool": "s:one", "when": "length(INPUT.n) > 1", "fallback": fallback},
        {"id": "path", "tool": "s:one", "for_each": "$INPUT.n.x"},
        inputs=inputs,
    )
    foreseen = forecast(plan)
    assert foreseen.tasks["each"].calls.most is None
    assert foreseen.tasks["path"].calls.most is None
    assert foreseen.tasks["c"].calls == Count(0, 1, "none if it is skipped")
    assert foreseen.ceiling is None


def test_the_ceiling_counts_every_attempt_and_every_fallback() -> None:
    plan = workflow(each([1, 2], retry=3, fallback={"tool": "s:two"}), {"id": "a", "tool": "s:one"})
    foreseen = forecast(plan)
    assert foreseen.calls == Count(3, 3)
    assert foreseen.ceiling == 2 * 3 + 1 + 1
    unbounded = forecast(workflow({"id": "l", "tool": "s:list"}, each("$OUTPUT[l]")))
    assert unbounded.calls.most is None
    assert unbounded.ceiling is None
    assert "at least 1 call" in summary(unbounded)


@pytest.mark.parametrize(
    ("annotations", "word", "may_destroy"),
    [
        ({"read_only": True, "destructive": True}, "reads", False),
        ({"read_only": True, "open_world": True}, "reads, open", False),
        ({"read_only": False, "destructive": True}, "destructive", True),
        ({"destructive": True}, "destructive", True),
        ({"read_only": False, "destructive": False}, "writes", False),
        ({"destructive": False}, "writes?", False),
        ({"read_only": False}, "destructive?", True),
        ({}, "undeclared", True),
    ],
)
def test_effects_are_declared_or_the_defaults_of_mcp(
    annotations: dict[str, bool], word: str, may_destroy: bool
) -> None:
    effects = effects_of(Tool("s", "t", {}, **annotations))  # type: ignore[arg-type]
    assert effects.word == word
    assert (effects.risk in ("may", "destroys")) is may_destroy
    assert effects_of(None).word == "unknown"
    assert effects_of(None).risk == "unknown"


def test_without_times_the_critical_path_is_the_deepest() -> None:
    foreseen = forecast(workflow("a", "b", "c: b", "d: c"))
    assert foreseen.critical_path == ("b", "c", "d")
    assert foreseen.length == 3
    assert foreseen.seconds is None
    assert [task.critical for task in foreseen.tasks.values()] == [False, True, True, True]


def test_with_times_it_is_the_longest_and_both_schedules_are_simulated() -> None:
    plan = workflow("a", "b", "c: a", "d: b", max_concurrency=0)
    foreseen = forecast(plan, estimates={"a": 1.0, "b": 2.0, "c": 4.0, "d": 1.0})
    assert foreseen.critical_path == ("a", "c")
    assert foreseen.length == 5.0
    assert foreseen.seconds == {"generations": 6.0, "dataflow": 5.0}
    assert foreseen.measured == 4
    one_by_one = workflow("a", "b", max_concurrency=1)
    assert forecast(one_by_one, estimates={"a": 1.0}).seconds == {
        "generations": 2.0,
        "dataflow": 2.0,
    }


def test_a_task_takes_as_many_rounds_as_its_limits_require() -> None:
    def seconds(server: Server, **more: Any) -> float | None:
        inputs, servers = more.pop("inputs", {}), ServerTable({"s": server})
        servers.locking = LockTables(resources=more.pop("resources", {}))
        plan = workflow(each([1] * 12, **more), max_concurrency=6, inputs=inputs)
        tools = {"s:one": Tool("s", "one", {}, read_only=False)}
        return forecast(plan, tools, servers, {}, {"each": 1.0}).tasks["each"].seconds

    free = Server(command="x", writes="parallel")
    assert seconds(free) == 2.0
    assert seconds(free, max_parallel=3) == 4.0
    assert seconds(free, locks=["name"]) == 12.0
    assert seconds(free, locks=["$ITEM"]) == 2.0
    assert seconds(free, locks=["$INPUT.x"], inputs={"x": {"default": "x"}}) == 12.0
    assert seconds(free, locks=[{"name": "x", "mode": "shared"}]) == 2.0
    gpu = {"name": "gpu", "count": 2}
    assert seconds(free, locks=[gpu], resources={"gpu": 8}) == 3.0
    assert seconds(free, locks=[gpu]) == 12.0
    assert seconds(free.model_copy(update={"max_concurrency": 4})) == 3.0
    assert seconds(Server(command="x")) == 12.0  # writers take turns
    limited = Server.model_validate({"command": "x", "tools": {"o*": {"max_concurrency": 2}}})
    assert seconds(limited.model_copy(update={"writes": "parallel"})) == 6.0
    plan = workflow(each([1] * 12), max_concurrency=0)
    assert forecast(plan, estimates={"each": 1.0}).tasks["each"].seconds == 1.0


def test_the_time_is_at_least_what_the_servers_limits_require() -> None:
    tasks = [{"id": f"t{number}", "tool": "s:one"} for number in range(10)]
    estimates = {f"t{number}": 1.0 for number in range(10)}
    plan = workflow(*tasks, max_concurrency=0)

    def by_dataflow(**settings: Any) -> float:
        server = Server.model_validate({"command": "x", **settings})
        seconds = forecast(plan, {}, {"s": server}, {}, estimates).seconds
        assert seconds is not None
        return seconds["dataflow"]

    assert by_dataflow() == 1.0
    assert by_dataflow(max_concurrency=2) == 5.0
    assert by_dataflow(max_concurrency="auto") == 1.0
    assert by_dataflow(max_concurrency=0) == 1.0
    assert by_dataflow(rate="1/min") == 9 * 60.0
    assert by_dataflow(tools={"o*": {"rate": "2/min"}, "*": {"rate": "1/h"}}) == 4 * 60.0
    assert by_dataflow(rate="5/min", tools={"two": {"rate": "1/h"}}) == 60.0


def test_servers_start_in_two_waves_and_their_limits_are_shown() -> None:
    plan = workflow(
        {"id": "a", "tool": "one:t", "locks": ["file", {"name": "cache", "mode": "shared"}]},
        {"id": "b", "tool": "two:t", "depends_on": ["a"], "fallback": {"tool": "x:y"}},
        timeout_s=30,
    )
    settings = {
        "command": "x",
        "rate": "5/s",
        "required": True,
        "tools": {"t": {"max_concurrency": 1}},
        "max_concurrency": 3,
    }
    tools = {"one:t": Tool("one", "t", {}, read_only=False, destructive=False)}
    bare = {name: Server(command="x") for name in ("two", "x")}
    foreseen = forecast(plan, tools, {"one": Server.model_validate(settings), **bare})
    assert (foreseen.first, foreseen.later) == (["one"], {"two": 1, "x": 1})
    text = "\n".join(lines_of(foreseen))
    assert "2 calls (at most 3 with retries and fallbacks)" in text
    assert "servers: one; later: two (generation 1), x (generation 1)" in text
    assert (
        "limits: at most 10 calls in flight; 30 s for the run; "
        "one: 3 in flight, 1 of t in flight, 5/s, writes one at a time"
    ) in text
    assert "unknown tools: b (two:t), b (x:y)" in text
    counted = workflow({"id": "a", "tool": "one:t", "locks": [{"name": "gpu", "count": 2}]})
    servers = ServerTable({"one": Server.model_validate({**settings, "scope": "host"})})
    servers.locking = LockTables(resources={"gpu": 3})
    text = "\n".join(lines_of(forecast(counted, tools, servers)))
    assert "writes one at a time (of all processes of this machine)" in text
    assert '; 3 of "gpu" for tasks to hold' in text


def test_an_unknown_server_is_not_started() -> None:
    plan = workflow({"id": "a", "tool": "wether:t"}, {"id": "b", "tool": "one:t"})
    servers = {"one": Server(command="x"), "other": Server(command="x")}
    assert "servers: one" in lines_of(forecast(plan, {}, servers))
    assert "servers: wether, one" in lines_of(forecast(plan))
    lost = workflow({"id": "a", "tool": "wether:t"})
    assert "servers: none" in lines_of(forecast(lost, {}, servers))


def test_a_list_without_items_takes_no_call_and_no_time() -> None:
    foreseen = forecast(workflow(each([])), estimates={"each": 1.0})
    assert (foreseen.calls, foreseen.ceiling) == (Count(0, 0), 0)
    assert foreseen.seconds == {"generations": 0.0, "dataflow": 0.0}
    unbounded = forecast(workflow(each("$INPUT.xs"), inputs={"xs": {}}))
    assert "up to 1 in parallel, any number of calls" in summary(unbounded)


def test_every_line_of_the_text_has_a_bound() -> None:
    tasks: list[Any] = [f"t{number}" for number in range(40)]
    tasks += [{"id": f"e{number}", "tool": "s:t", "for_each": [1, 2]} for number in range(10)]
    plan = workflow(*tasks, max_concurrency=0)
    foreseen = forecast(plan, estimates={"t0": 0.002, "t1": 300.0})
    lines = list(lines_of(foreseen))
    assert len(lines) == 6
    assert max(map(len, lines)) < 200
    assert lines[2] == (
        "expected time: 5 min (dataflow: 5 min), critical path 5 min; "
        "measured times of 2 of 50 tasks"
    )
    for runs, said in ((3, "P50 of 3 runs"), (0, "P50 of the tools in other workflows")):
        of_runs = forecast(plan, estimates={"t0": 0.002}, runs=runs)
        assert list(lines_of(of_runs))[2].endswith(f" ({said})")
    assert lines[4].endswith("t7 (fake:t7) and 42 more")
    assert lines[5] == "limits: none"


def test_declared_and_undeclared_effects_are_distinguished() -> None:
    plan = workflow({"id": "a", "tool": "s:web"}, {"id": "b", "tool": "s:odd"}, each("$OUTPUT[a]"))
    tools = {
        "s:web": Tool("s", "web", {}, read_only=True, open_world=True),
        "s:odd": Tool("s", "odd", {}),
        "s:one": Tool("s", "one", {}, destructive=True, open_world=False),
    }
    lines = list(lines_of(forecast(plan, tools, estimates={"a": 0.005})))
    assert "destructive: each (s:one)" in lines
    assert "possibly destructive: b (s:odd)" in lines
    assert "open-world: a (s:web)" in lines
    assert "at least 2 calls" in lines[0]
    assert lines[2].startswith("expected time: at least 10 ms (dataflow: 10 ms)")


def test_a_range_of_calls_is_shown_with_both_bounds() -> None:
    inputs = {"xs": {**LIST, "minItems": 2, "maxItems": 1500}}
    bounded = forecast(workflow(each("$INPUT.xs"), inputs=inputs))
    assert summary(bounded).endswith("2 to 1,500 calls")
    assert str(bounded.tasks["each"].calls) == "2-1,500"


def test_any_kind_of_schema_is_accepted() -> None:
    def most(schema: Any, path: str = "items") -> int | None:
        tool = Tool("s", "list", {}, output_schema=schema)
        tasks = ({"id": "l", "tool": "s:list"}, each(f"$OUTPUT[l].{path}"))
        return counted(*tasks, tools={"s:list": tool})["each"].most

    short = {"type": "array", "maxItems": 3}
    assert most({"$ref": "#/$defs/r", "$defs": {"r": {"properties": {"items": short}}}}) == 3
    assert most({"anyOf": [{"type": "null"}, {"properties": {"items": short}}]}) == 3
    longer = {"properties": {"items": {"type": "array", "maxItems": 5}}}
    assert most({"anyOf": [{"properties": {"items": short}}, longer]}) == 5
    assert most({"additionalProperties": short}) == 3
    assert most({"properties": {"items": {"prefixItems": [{}, {}], "items": False}}}) == 2
    assert most({"properties": {"items": {"prefixItems": [short, {}]}}}, "items[0]") == 3
    assert most({"properties": {"items": {"items": short}}}, "items[-1]") == 3
    assert most({"properties": {"items": {"items": [short]}}}, "items[4]") is None
    assert most({"$ref": "#"}) is None
    assert most({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}) is None
    deep: Any = {}
    for _ in range(5000):
        deep = {"anyOf": [deep]}
    assert most(deep) is None
    assert most({"properties": {"items": {"maxItems": True}}}) is None
    assert most({"properties": {"items": 3}}) is None


def test_a_length_in_the_older_form_is_not_an_array() -> None:
    calls = counted({"id": "l", "tool": "s:list"}, each("${l.result.items.length}"))
    assert calls["each"].most is None


def test_a_forecast_of_a_long_plan_is_linear() -> None:
    tasks = [f"t{number}: {f't{number - 1}' if number else ''}" for number in range(3000)]
    foreseen = forecast(Workflow.load(workflow(*tasks)))
    assert len(foreseen.critical_path) == 3000


def test_what_people_are_asked_is_shown() -> None:
    tools = {
        "s:drop": Tool("s", "drop", {}, destructive=True),
        "s:get": Tool("s", "get", {}, read_only=True),
    }
    plan = workflow(
        {"id": "q", "ask": {"message": "?"}},
        {"id": "own", "tool": "s:get", "approve": True},
        {"id": "drop", "tool": "s:drop"},
        {"id": "get", "tool": "s:get"},
    )
    approved: list[tuple[Any, str]] = [
        ([], "own"),
        (["g*"], "own, get"),
        ("destructive", "own, drop"),
    ]
    for approve, named in approved:
        servers = {"s": Server(name="s", url="http://s", approve=approve)}
        foreseen = forecast(plan, tools, servers)
        lines = list(lines_of(foreseen))
        assert "asks a person: q" in lines
        assert f"approved by a person before each call: {named}" in lines
        assert foreseen.calls.least == 3
