"""Workflows inside a workflow: how they are loaded and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.check.checker import prove
from orchestrator.check.lint import warnings_of
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.workflow import inner as inner_module
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.task import Task

STEP = {"id": "a", "tool": "s:t", "arguments": {"n": "$INPUT.n"}}
INNER: dict[str, Any] = {"inputs": {"n": {"type": "integer"}}, "tasks": [STEP]}
GIVES = {"type": "object", "properties": {"m": {"type": "string"}}, "required": ["m"]}
ACCEPTS = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}
TOOL = Tool("s", "t", ACCEPTS, output_schema=GIVES, read_only=True)


def flow(*tasks: Any, **more: Any) -> Workflow:
    outer = {"id": "outer", "workflow": INNER, "arguments": {"n": 1}, **more}
    return Workflow.load({"tasks": [outer, *tasks]})


def problems(source: Any) -> list[Problem]:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load(source)
    return list(caught.value.problems)


def found(workflow: Workflow, *codes: str) -> list[Problem]:
    every = [*prove(workflow, {"s:t": TOOL}), *warnings_of(workflow, {"s:t": TOOL})]
    return [each for each in every if not codes or each.code in codes]


def write(path: Path, *tasks: Any, **more: Any) -> Path:
    path.write_text(json.dumps({"tasks": list(tasks), **more}))
    return path


def test_a_canonical_form_is_loaded_as_the_same_workflow() -> None:
    synonym = {
        "inputs": {"n": {}},
        "tasks": [{"id": "a", "tool": "s:t", "args": {"n": "$INPUT.n"}}],
    }
    loaded = flow(workflow=synonym)
    assert Workflow.load(loaded.to_dict()) == loaded
    assert loaded.to_dict()["tasks"][0]["workflow"]["tasks"][0]["arguments"] == {"n": "$INPUT.n"}


def test_a_workflow_of_python_is_one_inside() -> None:
    made = Workflow(tasks=[Task(id="a", tool="s:t")])
    whole = Workflow(tasks=[Task(id="outer", workflow=made)])
    assert whole.plan.servers == ["s"]
    assert whole.plan.size == 2


def test_a_file_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "b.json", {"id": "b", "workflow": "c.json", "arguments": {"n": 1}})
    write(tmp_path / "sub" / "c.json", STEP, inputs=INNER["inputs"])
    outer = write(tmp_path / "a.json", {"id": "a", "workflow": "sub/b.json"})
    loaded = Workflow.load(outer)
    [(task, target, at)] = loaded.plan.calls
    assert (task.id, target.target, at) == ("a/b/a", "s:t", "/tasks/0/workflow")


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "b.json", {"id": "b", "tool": "s:t"})
    tasks = [{"id": name, "workflow": "b.json"} for name in "abc"]
    loaded = Workflow.load(write(tmp_path / "a.json", *tasks))
    assert len({id(task.inner) for task in loaded.plan.tasks.values()}) == 1


def test_a_cycle_of_files_is_named_in_full(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        write(tmp_path / f"{name}.json", {"id": "next", "workflow": f"{other}.json"})
    [problem] = problems(tmp_path / "a.json")
    assert problem.code == "cycle"
    assert problem.message.endswith("workflow cycle: a.json -> b.json -> c.json -> a.json")
    assert (problem.path, problem.task, problem.line) == ("/tasks/0/workflow", "next/next/next", 1)


def test_a_missing_file_has_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path / "steps.json", {"id": "b", "tool": "s:t"})
    [problem] = problems(write(tmp_path / "a.json", {"id": "a", "workflow": "step.json"}))
    assert (problem.code, problem.alternatives[0]) == ("unreadable_file", "steps.json")
    assert "relative to the file" in problem.hint


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "x" * 5000])
def test_a_name_that_no_file_can_have_is_said(name: str) -> None:
    (problem, *_) = problems({"tasks": [{"id": "a", "workflow": name}]})
    assert (problem.code, problem.task, problem.path) == (
        "unreadable_file",
        "a",
        "/tasks/0/workflow",
    )
    assert "cannot be read" in problem.message


def test_nine_workflows_inside_each_other_are_too_many() -> None:
    def nested(depth: int) -> dict[str, Any]:
        task = {"id": "a", "workflow": nested(depth - 1)} if depth else {"id": "a", "tool": "s:t"}
        return {"tasks": [task]}

    assert Workflow.load(nested(8)).plan.size == 9
    [problem] = problems(nested(9))
    assert problem.message == "expected at most 8 workflows inside each other"
    assert problem.task == "/".join("a" * 9)


def test_files_that_grow_like_powers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inner_module, "MAX_TASKS", 99)
    write(tmp_path / "b.json", *({"id": f"b{n}", "tool": "s:t"} for n in range(50)))
    tasks = [{"id": f"a{n}", "workflow": "b.json"} for n in range(2)]
    [problem] = problems(write(tmp_path / "a.json", *tasks))
    assert problem.message == "expected at most 99 tasks with those of inner workflows"


def test_every_mistake_inside_has_its_place() -> None:
    wrong = {"tasks": [{"id": "a", "tool": "s:t", "args": {"n": "$INPUT.n"}, "retri": 1}]}
    first, second = problems({"tasks": [{"id": "o", "workflow": wrong}]})
    assert (first.path, first.task) == ("/tasks/0/workflow/tasks/0/args/n", "o/a")
    assert (second.path, second.code) == ("/tasks/0/workflow/tasks/0/retri", "unknown_field")
    assert second.replacement[0]["path"] == "/tasks/0/workflow/tasks/0/retry"


def test_a_mistake_in_a_file_names_the_file_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"tasks": [\n{"id": "b", "tool": "st"}]}')
    [problem] = problems(write(tmp_path / "a.json", {"id": "a", "workflow": "b.json"}))
    assert problem.message.startswith('"b.json", line 2: expected "server:tool"')
    assert (problem.path, problem.task, problem.replacement) == ("/tasks/0/workflow", "a/b", ())


@pytest.mark.parametrize("value", [3, True, [], {}, ""])
def test_what_is_no_workflow_is_refused(value: Any) -> None:
    assert problems({"tasks": [{"id": "a", "workflow": value}]})


def test_references_do_not_cross() -> None:
    inner = {"tasks": [{"id": "a", "tool": "s:t", "arguments": {"n": "$OUTPUT[b]"}}]}
    [problem] = problems({"tasks": [{"id": "o", "workflow": inner}, {"id": "b", "tool": "s:t"}]})
    assert (problem.code, problem.task) == ("unknown_task", "o/a")


def test_arguments_are_the_inputs() -> None:
    task = {"id": "o", "workflow": INNER, "arguments": {"zzz": 1}}
    missing, unexpected = problems({"tasks": [task]})
    assert (unexpected.code, unexpected.path) == ("unexpected_argument", "/tasks/0/arguments/zzz")
    assert missing.message == 'workflow:o: missing argument "n"'
    assert missing.hint == "workflow:o(n: integer)"


def test_types_flow_in() -> None:
    [problem] = found(flow(arguments={"n": "text"}), "wrong_argument")
    assert problem.path == "/tasks/0/arguments/n"
    assert problem.message.startswith("workflow:outer: expected integer")
    # An input without a type has that of what is given.
    untyped = {**INNER, "inputs": {"n": {}}}
    [problem] = found(flow(workflow=untyped, arguments={"n": [1]}), "wrong_argument")
    assert (problem.path, problem.task) == ("/tasks/0/workflow/tasks/0/arguments/n", "outer/a")


@pytest.mark.parametrize("output", [None, {"a": "$OUTPUT[a]"}])
def test_types_flow_out(output: Any) -> None:
    inner = INNER if output is None else {**INNER, "output": output}
    reader = {"id": "b", "value": "$OUTPUT[outer].a.mm"}
    [problem] = found(flow(reader, workflow=inner, arguments={"n": 1}), "unknown_place")
    assert problem.alternatives == ("m",)


def test_a_limit_inside_counts_for_nothing() -> None:
    limited = {**INNER, "max_concurrency": 2}
    [warning] = found(flow(workflow=limited), "means_nothing")
    assert warning.path == "/tasks/0/workflow/max_concurrency"


def test_warnings_inside_are_placed() -> None:
    step = {"id": "a", "tool": "s:t", "arguments": {"n": "$INPUTS.n"}}
    warned = found(flow(workflow={**INNER, "tasks": [step]}), "likely_reference", "unused_input")
    assert [(each.code, each.path, each.task) for each in warned] == [
        ("unused_input", "/tasks/0/workflow/inputs/n", "outer"),
        ("likely_reference", "/tasks/0/workflow/tasks/0/arguments/n", "outer/a"),
    ]


def test_a_finding_in_a_file_names_its_line(tmp_path: Path) -> None:
    inner = {**INNER, "tasks": [{"id": "a", "tool": "s:t", "arguments": {"n": {"x": 1}}}]}
    text = json.dumps(inner, indent=1)
    (tmp_path / "below").mkdir()
    (tmp_path / "below/inner.json").write_text(text)
    outer = {"id": "outer", "workflow": "below/inner.json", "arguments": {"n": 1}}
    workflow = Workflow.load(write(tmp_path / "outer.json", outer))
    [problem] = found(workflow, "wrong_argument")
    line = text[: text.index('"x"')].count("\n")  # that of the object around it
    assert problem.message.startswith(f'"below/inner.json", line {line}: s:t: expected string')


def test_a_path_of_a_file_has_no_references() -> None:
    [problem] = problems({"tasks": [{"id": "a", "workflow": "$INPUT.file"}]})
    assert problem.hint == "a path has no references: the file is read before the run"
