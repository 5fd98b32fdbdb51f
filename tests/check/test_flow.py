"""The words of strangers are followed wherever references carry them, and nowhere else."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

import pytest

from orchestrator.check.flow import _Flow, untrusted_flows
from orchestrator.check.strangers import FlowPolicy, Trail
from orchestrator.errors import Problem
from orchestrator.expressions.lexer import ROOTS
from orchestrator.schema.tool import Tool
from orchestrator.workflow.kinds import KINDS
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import Policies, RepeatPlan

ANY: dict[str, Any] = {"type": "object"}
HINTS: dict[str, dict[str, Any]] = {
    "delete": {"destructive": True},
    "post": {"open_world": True},
    "fetch": {"read_only": True, "open_world": True},
    "read": {"read_only": True},
    "strict": {"read_only": True, "destructive": True},
    "add": {"destructive": False, "open_world": False},
    "write": {"read_only": False, "open_world": False},
    "append": {"destructive": False},
    "silent": {},
}
TOOLS = {f"s:{name}": Tool("s", name, ANY, **hints) for name, hints in HINTS.items()}
TOOLS["web:get"] = Tool("web", "get", ANY, read_only=True, open_world=True)
POLICY = FlowPolicy(frozenset({"web"}), workflow="w")
GET = {"id": "get", "tool": "web:get"}
KEEP = {"id": "keep", "tool": "s:add", "arguments": {"x": "$OUTPUT[get].x"}}


def call(arguments: Any, tool: str = "s:delete", **more: Any) -> dict[str, Any]:
    """A task that gives these arguments to a dangerous tool."""
    return {"id": "end", "tool": tool, "arguments": arguments, **more}


def flows(*tasks: dict[str, Any], policy: FlowPolicy = POLICY, **rest: Any) -> list[Problem]:
    workflow = Workflow.load({"name": "w", "tasks": list(tasks), **rest})
    return untrusted_flows(workflow, policy, TOOLS)


def ways(*tasks: dict[str, Any], **rest: Any) -> list[str]:
    """Of each finding the way that the words take."""
    return [found.message.rpartition(": ")[2] for found in flows(*tasks, **rest)]


def test_a_flow_says_what_reaches_what_how_and_what_would_mend_it() -> None:
    [found] = flows(GET, KEEP, call({"where": {"path": "a/$OUTPUT[keep].y"}}))
    assert (found.code, found.severity, found.task) == ("untrusted_flow", "error", "end")
    assert (found.path, found.text) == ("/tasks/2/arguments/where/path", "$OUTPUT[keep].y")
    assert found.message == (
        'words of strangers from server "web" can reach s:delete, which declares itself '
        "destructive (destructiveHint): get -> keep -> end"
    )
    assert found.hint == (
        'have a person see the arguments ("approve": true in task "end"), take them from another '
        "source or have the operator answer for a task on this way in servers.toml: [[trusted]] "
        'workflow = "w", task = "keep", because = "..."'
    )


@pytest.mark.parametrize(
    ("tool", "severity"),
    [
        ("delete", "error"),
        ("post", "error"),
        ("fetch", "error"),
        ("read", None),
        ("strict", None),  # destructiveHint means nothing for a tool that only reads
        ("add", None),
        ("write", "warning"),
        ("append", "warning"),
        ("silent", "warning"),
        ("unknown", "warning"),
    ],
)
def test_what_a_tool_declares_decides_how_bad_that_is(tool: str, severity: str | None) -> None:
    found = flows(GET, call({"x": "$OUTPUT[get]"}, f"s:{tool}"))
    assert [each.severity for each in found] == ([severity] if severity else [])


FROM_GET = [
    "$OUTPUT[get]",
    "$OUTPUT[get].a[0]['odd key']",
    "text with $OUTPUT[get].a inside",
    "${OUTPUT[get].a}",
    "${get.result.a}",
    "${length(OUTPUT[get].items)}",
    "${not_null(INPUT.x, OUTPUT[get].a)}",
    "${INPUT.x || `[1]`[?OUTPUT[get].a]}",
    "${{a: 'x', b: [OUTPUT[get]]} | @.a}",
    "${sort_by(INPUT.x, &join('', [@, OUTPUT[get]]))}",
    "$ERROR[get].message",
    "${ERROR[get].message || 'x'}",
    {"$OUTPUT[get].name": 1},
    {"a": [{"b": ["x", {"c": "$OUTPUT[get]"}]}]},
]


@pytest.mark.parametrize("argument", FROM_GET, ids=map(str, FROM_GET))
def test_every_form_of_a_reference_carries_words(argument: Any) -> None:
    task = call({"x": argument}, run_if="all_done")
    assert ways(GET, task, inputs={"x": {}}) == ["get -> end"]


NOT_FROM_GET = [
    "OUTPUT[get]",
    "$$OUTPUT[get]",
    "$INPUT.x",
    "$RUN.id",
    "${STATUS[get]}",
    '${`["OUTPUT[get]"]`}',
    "$OUTPUT[other]",
    "get",
]


@pytest.mark.parametrize("argument", NOT_FROM_GET)
def test_what_reads_no_word_of_a_stranger_carries_none(argument: str) -> None:
    other = {"id": "other", "tool": "s:read", "when": "OUTPUT[get].ok", "depends_on": ["get"]}
    task = call(
        {"x": argument},
        when="$OUTPUT[get].a > 3",
        depends_on=["get", "other"],
        run_if="all_done",
        locks=["file:$OUTPUT[get].name"],
    )
    assert ways(GET, other, task, inputs={"x": {}}) == []


def test_a_person_who_sees_the_arguments_of_the_call_itself_is_enough() -> None:
    task = call({"x": "$OUTPUT[get]"})
    assert ways(GET, {**task, "approve": True}) == []
    assert ways(GET, {**task, "approve": {"message": "Delete $OUTPUT[get]?"}}) == []
    assert ways(GET, {**task, "approve": False}) == ["get -> end"]
    asks = FlowPolicy(frozenset({"web"}), asks=lambda target, _: target.tool == "delete")
    assert ways(GET, task, policy=asks) == []
    # Nobody has seen what came of the arguments that a person has seen.
    assert ways(GET, {**KEEP, "approve": True}, call({"x": "$OUTPUT[keep]"})) == [
        "get -> keep -> end"
    ]
    assert ways({**GET, "approve": True}, task) == ["get -> end"]
    inner = {"inputs": {"x": {}}, "tasks": [call({"x": "$INPUT.x"})]}
    outer = {"id": "in", "workflow": inner, "arguments": {"x": "$OUTPUT[get]"}, "approve": True}
    assert ways(GET, outer) == ["get -> in/end"]


def test_the_answer_to_a_question_is_the_word_of_a_person() -> None:
    ask = {"id": "which", "ask": {"message": "Which of $OUTPUT[get]?", "schema": {}}}
    assert ways(GET, ask, call({"x": "$OUTPUT[which]"})) == []
    ask["fallback"] = {"value": "$OUTPUT[get]"}
    assert ways(GET, ask, call({"x": "$OUTPUT[which]"})) == ["get -> which -> end"]
    assert ways(GET, ask, call({"x": "$ERROR[which]"}, run_if="all_done")) == [
        "get -> which -> end"
    ]


def test_what_an_operator_lists_as_sensitive_is_an_error_whatever_it_declares() -> None:
    policy = FlowPolicy(frozenset({"web"}), {"s": ["re*"], "notes": ["file:///etc/*", "greet"]})
    [found] = flows(GET, call({"x": "$OUTPUT[get]"}, "s:read"), policy=policy)
    assert found.severity == "error"
    assert "s:read, which servers.toml lists as sensitive: get -> end" in found.message
    severities = {
        uri: [each.severity for each in flows(GET, {"id": "r", "read": uri}, policy=policy)]
        for uri in (
            "notes:file:///etc/passwd",
            "notes:file:///etc/$OUTPUT[get]",
            "notes:file:///$OUTPUT[get]",
            "notes:file:///home/$OUTPUT[get]",
            "other:$OUTPUT[get]",
        )
    }
    assert list(severities.values()) == [[], ["error"], ["error"], ["warning"], ["warning"]]
    greet = {"id": "p", "prompt": "notes:greet", "arguments": {"name": "$OUTPUT[get]"}}
    assert [each.severity for each in flows(GET, greet, policy=policy)] == ["error"]


def test_resources_and_prompts_of_a_stranger_are_its_words_too() -> None:
    page = {"id": "page", "read": "web:page://$INPUT.x"}
    prompt = {"id": "prompt", "prompt": "web:hello", "arguments": {"name": "x"}}
    end = call({"a": "$OUTPUT[prompt]", "b": "$OUTPUT[page]"})
    assert ways(page, prompt, end, inputs={"x": {}}) == ["prompt -> end"]
    read = {"id": "note", "read": "s:note://${OUTPUT[get].id}/text"}
    [found, last] = flows(GET, read, call({"x": "$OUTPUT[note]"}))
    assert (found.severity, found.path) == ("warning", "/tasks/1/read")
    assert "and a resource declares nothing of what it does: get -> note" in found.message
    assert found.hint.startswith("take them from another source or have the operator")
    assert last.message.endswith("get -> note -> end")


def test_items_carry_the_words_of_the_list_they_come_from() -> None:
    each = "$OUTPUT[get].items"
    assert ways(GET, call({"x": "$ITEM.a"}, for_each=each)) == ["get -> end"]
    assert ways(GET, call({"x": "${ITEM}"}, for_each=each)) == ["get -> end"]
    assert ways(GET, call({"x": "$INDEX"}, for_each=each)) == ["get -> end"]
    assert ways(GET, call({"x": "$ITEM"}, for_each=["a", "$OUTPUT[get]"])) == ["get -> end"]
    # A list that only says how often the same call is made gives its arguments nothing.
    assert ways(GET, call({"x": 1}, for_each=each)) == []
    assert ways(GET, call({"x": "$ITEM"}, for_each=[1], item_when="OUTPUT[get].ok")) == []
    listed = {"id": "list", "tool": "s:add", "for_each": each, "arguments": {"x": 1}}
    assert ways(GET, listed, call({"x": "${length(OUTPUT[list])}"})) == ["get -> list -> end"]
    assert ways(GET, KEEP | {"for_each": [1]}, call({"x": "$ITEMS[keep][0].error"})) == [
        "get -> keep -> end"
    ]


def test_of_a_product_only_the_lists_that_are_read_count() -> None:
    product = {"safe": [1, 2], "other": "$OUTPUT[get].items"}

    def with_argument(argument: str) -> list[str]:
        return ways(GET, call({"x": argument}, for_each=product), inputs={"x": {}})

    assert with_argument("$ITEM.safe") == with_argument("${add(ITEM.safe, 1)}") == []
    assert with_argument("${[ITEM.safe, `{}`.other, INPUT.x]}") == []
    for reads in ("$ITEM.other", "$ITEM", "$INDEX", "${upper(ITEM.other)}", "${values(ITEM)}"):
        assert with_argument(reads) == ["get -> end"]
    assert with_argument("${[ITEM.safe, ITEM.other]}") == ["get -> end"]
    assert with_argument("${[ITEM.safe, OUTPUT[get]]}") == ["get -> end"]


def test_a_repeated_call_carries_what_it_answered_before() -> None:
    pages = {"until": "LAST.done", "collect": "LAST.items"}
    again = {"id": "get", "tool": "web:get", "arguments": {"next": "$LAST.next"}, "repeat": pages}
    assert ways(again) == ["get -> get"]
    own = call({"next": "$LAST.next"}, repeat={"until": "LAST.done && OUTPUT[get].ok"})
    assert ways(GET, own) == []
    found = {"id": "keep", "tool": "s:add", "repeat": {"until": "true", "collect": "OUTPUT[get]"}}
    assert ways(GET, found, call({"x": "$OUTPUT[keep]"})) == ["get -> keep -> end"]
    assert ways(GET, KEEP | {"repeat": pages}, call({"x": "$OUTPUT[keep]"})) == [
        "get -> keep -> end"
    ]


def test_a_fallback_is_a_call_of_its_own_that_nobody_approves() -> None:
    instead = {"tool": "s:delete", "arguments": {"x": "$ERROR.message"}}
    [found] = flows({**GET, "fallback": instead})
    assert found.path == "/tasks/0/fallback/arguments/x"
    assert found.message.endswith(": get -> get")
    assert 'approve = ["delete"] in [servers.s]' in found.hint
    task = {"id": "t", "tool": "s:read", "fallback": instead, "approve": True}
    assert ways(task) == []
    assert ways(GET, {**task, "arguments": {"x": "$OUTPUT[get]"}}) == ["get -> t -> t"]
    of_item = {"tool": "s:post", "arguments": {"x": "$ITEM", "why": "${ERROR.message}"}}
    items = {"id": "t", "tool": "s:read", "item_fallback": of_item}
    assert ways(GET, {**items, "for_each": "$OUTPUT[get]"}) == ["get -> t"]
    assert ways(GET, {**items, "for_each": ["x"], "when": "OUTPUT[get].ok"}) == ["get -> t -> t"]


def test_what_a_fallback_gives_is_the_output_of_its_task() -> None:
    by_value = {"id": "t", "tool": "s:read", "fallback": {"value": "was $OUTPUT[get]"}}
    assert ways(GET, by_value, call({"x": "$OUTPUT[t]"})) == ["get -> t -> end"]
    by_call = {"id": "t", "tool": "s:read", "fallback": {"tool": "web:get"}}
    assert ways(by_call, call({"x": "$OUTPUT[t]"})) == ["t -> end"]
    by_item = {**by_call, "for_each": [1], "item_fallback": {"tool": "web:get"}}
    assert ways(by_item, call({"x": "$ITEMS[t]"})) == ["t -> end"]
    own = {"id": "t", "tool": "s:read", "fallback": {"value": "$ERROR.message"}}
    assert ways(own, call({"x": "$OUTPUT[t]"})) == []
    assert ways(GET, {**own, "when": "OUTPUT[get].ok"}, call({"x": "$OUTPUT[t]"})) == [
        "get -> t -> t -> end"
    ]


def test_an_error_quotes_whatever_its_task_has_read() -> None:
    end = call({"x": "$ERROR[t].message"}, run_if="all_done")
    for field, value in {
        "when": "to_number(OUTPUT[get].n) > 1",
        "locks": ["file:$OUTPUT[get]"],
        "approve": {"message": "$OUTPUT[get]"},
        "repeat": {"until": "OUTPUT[get].ok"},
        "for_each": "$OUTPUT[get]",
        "arguments": {"x": "$OUTPUT[get]"},
    }.items():
        assert ways(GET, {"id": "t", "tool": "s:read", field: value}, end) == ["get -> t -> end"]
    assert ways(GET, {"id": "t", "value": "$OUTPUT[get].x"}, end) == ["get -> t -> end"]
    assert ways(GET, {"id": "t", "tool": "s:read", "depends_on": ["get"]}, end) == []


INNER = {
    "inputs": {"a": {}, "b": {"default": "$OUTPUT[get]"}},
    "tasks": [{"id": "step", "tool": "s:add", "arguments": {"x": "$INPUT.a"}}],
}


def test_an_inner_workflow_takes_words_in_and_gives_them_out() -> None:
    outer = {"id": "in", "workflow": INNER, "arguments": {"a": "$OUTPUT[get]"}}
    end = call({"x": "$OUTPUT[in]"})
    assert ways(GET, outer, end) == ["get -> in/step -> in -> end"]
    assert ways(GET, {**outer, "workflow": {**INNER, "output": "$INPUT.a"}}, end) == [
        "get -> in -> end"
    ]
    assert ways(GET, {**outer, "workflow": {**INNER, "output": "$INPUT.b"}}, end) == []
    safe = {**outer, "arguments": {"a": 1, "b": "$OUTPUT[get]"}}
    assert ways(GET, safe, end) == []
    everything = {**INNER, "output": "${values(INPUT)}"}
    assert ways(GET, {**safe, "workflow": everything}, end) == ["get -> in -> end"]
    own = {"id": "in", "workflow": {"tasks": [GET]}}
    assert ways(own, end) == ["in/get -> in -> end"]
    assert ways(own, call({"x": "$ERROR[in]"}, run_if="all_done")) == ["in/get -> in -> end"]
    assert ways({"id": "in", "workflow": {"tasks": [GET], "output": 1}}, end) == []
    last = {"tasks": [{"id": "x", "value": 1}], "finally": [GET]}
    assert ways({"id": "in", "workflow": last}, end) == []


def test_what_an_inner_workflow_gave_comes_back_to_it_as_its_last_answer() -> None:
    steps = [GET, call({"x": "$INPUT.a"})]
    inner = {"inputs": {"a": {}}, "tasks": steps, "output": "$OUTPUT[get]"}
    outer = {"id": "in", "workflow": inner, "arguments": {"a": "$LAST"}}
    again = {**outer, "repeat": {"until": "LAST.done"}}
    assert ways(again) == ["in/get -> in -> in/end"]
    assert ways({**again, "workflow": {**inner, "output": "$INPUT.a"}}) == []
    assert ways({**again, "arguments": {"a": 1}}) == []


def test_workflows_that_repeat_inside_each_other_are_followed_twice_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workflow: dict[str, Any] = {"inputs": {"a": {}}, "tasks": [GET, call({"x": "$INPUT.a"})]}
    for _ in range(7):
        inner = {"id": "in", "workflow": {**workflow, "output": "$OUTPUT[get]"}}
        inner |= {"arguments": {"a": "$LAST"}, "repeat": {"until": "LAST.done"}}
        workflow = {"inputs": {"a": {}}, "tasks": [GET, inner]}
    followed: list[str] = []
    follow = _Flow.follow

    def counted(flow: _Flow) -> None:
        followed.append(flow._within)
        follow(flow)

    monkeypatch.setattr(_Flow, "follow", counted)
    assert len(flows({"id": "out", "workflow": {**workflow, "inputs": {}}})) == 1
    assert max(map(followed.count, followed)) == 2


def test_a_flow_inside_is_placed_where_it_is() -> None:
    inside = {"inputs": {"a": {}}, "tasks": [call({"x": "$INPUT.a"})]}
    each = {"workflow": inside, "for_each": "$OUTPUT[get]", "arguments": {"a": "$ITEM"}}
    deep = {"tasks": [GET, {"id": "in", **each}]}
    [found] = flows({"id": "out", "workflow": deep})
    assert found.message.endswith(": out/get -> out/in/end")
    assert (found.task, found.path) == (
        "out/in/end",
        "/tasks/0/workflow/tasks/1/workflow/tasks/0/arguments/x",
    )
    assert 'task = "out/in/end"' in found.hint


def test_the_operator_answers_for_a_task_by_its_path() -> None:
    end = call({"x": "$OUTPUT[keep]"})
    inner = {"id": "in", "workflow": {"tasks": [GET, KEEP, end]}}

    def answered(*paths: str) -> list[str]:
        policy = FlowPolicy(frozenset({"web"}), answered_for=frozenset(paths))
        return ways(GET, KEEP, end, inner, policy=policy)

    one, other = "get -> keep -> end", "in/get -> in/keep -> in/end"
    assert answered() == [one, other]
    assert answered("keep") == answered("end") == answered("get") == [other]
    assert answered("in/keep") == answered("in/end") == [one]
    assert answered("in") == [one, other]


# Fields that hold no reference.
def test_what_is_chosen_from_reaches_what_was_chosen() -> None:
    letters = {"id": "keep", "tool": "s:add", "arguments": {"x": "$ITEM"}, "for_each": ["a", "b"]}
    end = call({"x": "${join('', OUTPUT[keep])}"})
    assert ways(GET, letters, end) == []
    copied = letters | {"item_when": "contains(OUTPUT[get].text, ITEM)"}
    assert ways(GET, copied, end) == ["get -> keep -> end"]
    turns = {"id": "keep", "tool": "s:add", "arguments": {"x": 1}}
    turns["repeat"] = {"until": "length(LAST.all) == length(OUTPUT[get].text)", "collect": "LAST.n"}
    assert ways(GET, turns, end) == ["get -> keep -> end"]


PLAIN_FIELDS = {
    *("run_if", "max_parallel", "critical", "retry", "timeout_resets_on_progress"),
    *("on_item_error", "delay_s", "deadline_s", "end_run", "cache", "spread"),
}
# Fields that decide whether something is done, name a lock, or are read by a person.
NO_DATA = {"when", "locks", "approve"}


def test_every_field_of_a_task_and_every_root_is_followed_or_known_to_carry_no_data() -> None:
    followed = {
        "for_each",
        "item_when",
        "fallback",
        "item_fallback",
        "repeat",
    }  # whose tests are above
    assert {each.name for each in fields(Policies)} == PLAIN_FIELDS | NO_DATA | followed
    assert {each.name for each in fields(RepeatPlan)} == {
        "until",
        "every_s",
        "max_times",
        "collect",
    }
    roots = {"OUTPUT", "ITEMS", "ERROR", "INPUT", "ITEM", "INDEX", "LAST"}
    assert set(ROOTS) == roots | {"STATUS", "RUN"}
    assert set(KINDS) == {"tool", "read", "prompt", "value", "workflow", "ask"}


def test_tasks_of_finally_are_followed_too() -> None:
    end = call({"x": "$ERROR[get]"}, run_if="all_done")
    assert ways(GET, **{"finally": [end]}) == ["get -> end"]


def test_only_what_can_be_declared_is_offered() -> None:
    task = call({"x": "$OUTPUT[get]"})
    [found] = flows(GET, task, policy=FlowPolicy(frozenset({"web"})))
    assert found.hint.endswith("answer for a task on this way in servers.toml: [[trusted]]")
    [found] = flows(GET, task, policy=FlowPolicy(frozenset({"web"}), answered_for=None))
    assert found.hint.endswith("or take them from another source")


def test_the_shortest_way_is_told() -> None:
    chain = [{"id": f"t{n}", "value": f"$OUTPUT[{f't{n - 1}' if n else 'get'}]"} for n in range(4)]
    assert ways(GET, *chain, call({"a": "$OUTPUT[t3]", "b": "$OUTPUT[t1]"})) == [
        "get -> t0 -> t1 -> end"
    ]


def test_a_long_way_is_told_from_both_ends() -> None:
    ways = {}
    trail = Trail.of("0", "web")
    for number in range(1, 40):
        ways[number] = str(trail)
        trail = trail.to(str(number))
    whole = [" -> ".join(map(str, range(number))) for number in range(40)]
    assert all(ways[number] == whole[number] for number in range(1, 17))
    assert ways[17] == (
        "0 -> 1 -> 2 -> 3 -> 4 -> 5 -> 6 -> 7 -> (1 more) -> "
        "9 -> 10 -> 11 -> 12 -> 13 -> 14 -> 15 -> 16"
    )


@pytest.mark.parametrize("shape", ["chain", "diamonds"])
def test_what_a_plan_costs_grows_with_its_references(shape: str) -> None:
    def steps(size: int) -> int:
        tasks: list[dict[str, Any]] = [GET]
        for number in range(size):
            before = [task["id"] for task in tasks[-1:]]
            if shape == "diamonds":
                before = [task["id"] for task in tasks[-2:]]
            reads = {f"x{each}": f"$OUTPUT[{each}]" for each in before}
            tasks.append({"id": f"t{number}", "tool": "s:delete", "arguments": reads})
        workflow, count = Workflow.load({"tasks": tasks}), [0]
        sys.setprofile(lambda *_: count.__setitem__(0, count[0] + 1))
        try:
            found = untrusted_flows(workflow, POLICY, TOOLS)
        finally:
            sys.setprofile(None)
        assert len(found) == size
        return count[0]

    assert steps(400) < 4.2 * steps(100)
