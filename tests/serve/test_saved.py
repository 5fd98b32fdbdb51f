"""The workflows of a directory as tools, and as parts of plans."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator.serve.saved import workflow_files
from tests.serve.test_toolset import TWO, opened, task

pytestmark = pytest.mark.anyio


async def test_a_plan_names_saved_workflows_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "twice.json").write_text(
        json.dumps(
            {"inputs": {"n": {"type": "integer"}}, "tasks": [task("a", "double", n="$INPUT.n")]}
        )
    )
    inner = {"id": "x", "workflow": "twice", "arguments": {"n": 4}}
    async with opened(workflows=tmp_path) as toolset:
        answer = await toolset.call("parallel_execute", {"tasks": [inner]})
        assert answer.document["output"] == {"x": {"a": {"n": 8}}}
        wrong = inner | {"workflow": str(tmp_path / "twice.json")}
        nested = {"id": "y", "workflow": {"tasks": [wrong]}}
        answer = await toolset.call("parallel_execute", {"tasks": [nested]})
        (found,) = answer.document["findings"]
        assert found["message"].startswith("unknown workflow")
        assert found["path"] == "/tasks/0/workflow/tasks/0/workflow"


async def test_no_file_is_read_for_a_plan_that_is_misplaced() -> None:
    inner = {"id": "x", "workflow": "/etc/passwd"}
    async with opened() as toolset:
        for plan in (
            {"tasks": {"x": inner}},
            {"steps": [inner]},
            {"tasks": [], "finally": [inner]},
        ):
            for tool in ("parallel_execute", "validate_plan"):
                answer = await toolset.call(tool, {"plan": plan} if "steps" in plan else plan)
                assert "unknown workflow" in json.dumps(answer.document)


async def test_a_saved_workflow_is_a_tool(tmp_path: Path) -> None:
    inputs = {"n": {"type": "integer", "default": 3}}
    flow = {"inputs": inputs, "tasks": [task("a", "double", n="$INPUT.n")], "output": "$OUTPUT[a]"}
    (tmp_path / "twice.json").write_text(json.dumps(flow))
    (tmp_path / "broken.json").write_text('{"tasks": [{"id": "a"}]}')
    warned: list[str] = []
    async with opened(workflows=tmp_path, warn=warned.append) as toolset:
        first, *own = await toolset.tools()
        assert (first.name, len(own)) == ("twice", 7)
        assert first.input_schema["properties"] == inputs
        assert first.annotations["readOnlyHint"] is True
        assert first.annotations["openWorldHint"] is False
        assert len(warned) == 1
        assert "broken.json is not offered" in warned[0]
        assert (await toolset.call("twice")).document == {"n": 6}
        answer = await toolset.call("twice", {"m": 4})
        assert answer.document["findings"][0]["code"] == "unexpected_argument"
        (tmp_path / "twice.json").unlink()
        assert len(await toolset.tools()) == 7
        assert (await toolset.call("twice")).document["findings"][0]["code"] == "unknown_tool"


async def test_a_saved_workflow_that_does_not_fit_its_tools_is_told_when_it_is_loaded(
    tmp_path: Path,
) -> None:
    def save(**arguments: object) -> None:
        wrong = {"tasks": [task("a", "double", n=1), task("b", "double", **arguments)]}
        (tmp_path / "wrong.json").write_text(json.dumps(wrong))

    warned: list[str] = []
    save(n=[1], m="very new")
    async with opened(workflows=tmp_path, warn=warned.append) as toolset:
        await toolset.tools()
        await toolset.version()  # which serve asks for each second
        (told,) = warned
        assert told.startswith('wrong.json: calls of "wrong" are refused: task "b", ')
        answer = await toolset.call("wrong")
        assert (answer.is_error, answer.document["status"]) == (True, "invalid")
        assert answer.document["findings"][0]["task"] == "b"  # and "a" was not called
        save(n=2)
        assert (await toolset.call("wrong")).document == {"a": {"n": 2}, "b": {"n": 4}}
        save(n="no number at all")
        await toolset.version()
    assert len(warned) == 2


async def test_names_of_tools_are_valid_and_unique(tmp_path: Path) -> None:
    names = {"a.json": "find_tools", "b.json": "Größe/" + "x" * 80, "c.json": "ok", "d.json": "ok"}
    for file, name in names.items():
        (tmp_path / file).write_text(json.dumps({"name": name, "tasks": [TWO[0]]}))
    (tmp_path / "e.test.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    warned: list[str] = []
    async with opened(workflows=tmp_path, warn=warned.append) as toolset:
        found = [tool.name for tool in await toolset.tools()]
        assert len(found) == len(set(found)) == 11
        assert all(name.replace("_", "a").replace("-", "a").isalnum() for name in found)
        assert all(len(name) <= 64 for name in found)
        assert len(warned) == 2
        assert "that is the name of another tool" in warned[0]
    async with opened(workflows=tmp_path / "none", warn=warned.append) as toolset:
        assert len(await toolset.tools()) == 7
        assert "cannot be read" in warned[-1]


async def test_inner_plans_may_be_nothing_at_all() -> None:
    async with opened() as toolset:
        for inner in (3, {"tasks": 4}, {"tasks": [5]}):
            plan = {"tasks": [{"id": "a", "workflow": inner}]}
            assert (await toolset.call("parallel_execute", plan)).document["findings"]


def test_a_pipe_is_no_workflow(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "gone.json").symlink_to("nothing")  # which is told of where it is read
    assert workflow_files(tmp_path) == [tmp_path / "gone.json"]
