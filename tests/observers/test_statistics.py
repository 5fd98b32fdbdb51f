"""What calls took is remembered, and decides which task goes first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Statistics, WorkflowError
from orchestrator.engine.priorities import priorities
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.observers import statistics
from orchestrator.preflight import problems_of_estimates
from orchestrator.workflow.model import Schedule, Workflow
from tests.fakes import ScriptedCaller, failing, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Backend:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return virtual_clock("trio")


async def play(plan: Workflow, **script: Any) -> RunResult:
    return await Run(plan, ScriptedCaller(script)).execute()


def document(made: Statistics, folder: Path) -> Any:
    made.save(folder / "written.json")
    return json.loads((folder / "written.json").read_text())


# Which task goes first.


def test_the_longest_path_is_measured_in_seconds_where_they_are_known() -> None:
    plan = workflow("a", "b: a", "slow").plan
    assert priorities(plan, "dataflow", {}) == {"a": -2, "b": -1, "slow": -1}
    known = {"a": 1.0, "b": 2.0, "slow": 9.0}
    assert priorities(plan, "dataflow", known) == {"a": -3, "b": -2, "slow": -9}


def test_by_generations_the_longest_task_goes_first_and_without_estimates_the_files_order() -> None:
    plan = workflow("a", "b: a", "slow").plan
    assert priorities(plan, "generations", {}) == {}
    assert priorities(plan, "generations", {"a": 1, "b": 2, "slow": 9}) == {
        "a": -1,
        "b": -2,
        "slow": -9,
    }


@pytest.mark.parametrize(
    ("known", "missing"), [({"a": 4}, 4), ({"a": 1, "b": 4}, 2.5), ({"a": 1, "b": 9, "c": 2}, 2)]
)
def test_a_task_that_is_not_estimated_takes_the_median_of_the_others(
    known: dict[str, float], missing: float
) -> None:
    plan = workflow(*"abcd").plan
    assert -priorities(plan, "generations", known)["d"] == missing


@pytest.mark.parametrize(
    ("schedule", "order"), [("dataflow", "acbd"), ("generations", "abdc")], ids=str
)
async def test_calls_that_wait_go_in_the_order_of_the_estimates(
    schedule: Schedule, order: str
) -> None:
    plan = workflow("d", "b", "a", "c: a", max_concurrency=1, schedule=schedule)
    caller = ScriptedCaller({name: [(1, None)] for name in "abcd"})
    estimates = {"a": 3, "b": 2.5, "c": 3, "d": 0}
    await Run(plan, caller, RunSettings(estimates=estimates)).execute()
    assert "".join(task for task, _ in caller.calls) == order


async def test_items_have_the_estimate_of_one_call_and_keep_their_order() -> None:
    each = {"id": "each", "tool": "fake:each", "for_each": [1, 2], "arguments": {"n": "$ITEM"}}
    plan = workflow(each, "one", max_concurrency=1)
    for seconds, order in ((1.5, ["one", 1, 2]), (2.5, [1, 2, "one"])):
        caller = ScriptedCaller({"each": [(1, None)], "one": [(1, None)]})
        await Run(plan, caller, RunSettings(estimates={"each": seconds, "one": 2})).execute()
        assert [given.get("n", task) for task, given in caller.calls] == order


async def test_right_estimates_make_a_run_shorter_than_depth_does() -> None:
    plan = workflow("a", "b: a", "c", "d: c", "slow", max_concurrency=2, schedule="dataflow")
    script = {"a": 1, "b": 1, "c": 1, "d": 1, "slow": 4}
    caller = ScriptedCaller({name: [(after, None)] for name, after in script.items()})
    assert (await Run(plan, caller).execute()).duration_ms == 6000
    assert (await Run(plan, caller, RunSettings(estimates=script)).execute()).duration_ms == 4000


def test_wrong_estimates_are_found_all_at_once() -> None:
    estimates: dict[str, Any] = {
        "fetch": 0,
        "parse": -1,
        "store": float("nan"),
        "send": float("inf"),
        "done": True,
        "huge": 10**400,
        "text": "3",
        "fetched": 1,
    }
    known = [task for task in estimates if task != "fetched"]
    found = problems_of_estimates(known, estimates)
    assert [problem.task for problem in found[:-1]] == known[1:]
    assert {problem.code for problem in found[:-1]} == {"wrong_value"}
    assert str(found[0]) == (
        'task "parse", /estimates/parse: expected a number of seconds of at least 0, got integer -1'
    )
    assert str(found[-1]) == ('/estimates/fetched: unknown task "fetched". Did you mean "fetch"?')


# What is remembered.


async def test_the_first_times_count_alike_and_then_the_newest_for_a_quarter() -> None:
    plan, made = workflow("a"), Statistics()
    for seconds in (1, 2, 3, 4):
        assert made.update(plan, await play(plan, a=[(seconds, None)])) == 1
    assert made.estimates(plan) == {"a": 2.5}
    made.update(plan, await play(plan, a=[(10.5, None)]))
    assert made.estimates(plan) == {"a": 4.5}


async def test_only_what_succeeded_at_its_first_attempt_counts() -> None:
    again = {"id": "again", "tool": "fake:again", "retry": 2}
    stands_in = {"id": "stands-in", "tool": "fake:broken", "fallback": {"value": 1}}
    plan = workflow("good", "broken", "skipped: broken", again, stands_in)
    script = {"good": [(1, None)], "broken": [(7, failing())], "again": [(7, failing()), (7, 1)]}
    made = Statistics()
    assert made.update(plan, await play(plan, **script)) == 1
    assert made.estimates(plan) == {"good": 1.0}
    failed, nothing = workflow("broken"), Statistics()
    assert nothing.update(failed, await play(failed, broken=[(1, failing())])) == 0
    assert repr(nothing) == "Statistics(0 tasks, 0 tools)"


async def test_a_task_over_items_takes_the_mean_of_those_that_succeeded() -> None:
    task = {"id": "each", "tool": "fake:each", "for_each": [1, 2, 3]}
    plan, made = workflow(task, max_concurrency=1), Statistics()
    result = await play(plan, each=[(1, None), (2, failing()), (3, None)])
    assert made.update(plan, result) == 1
    assert made.estimates(plan) == {"each": 2.0}
    empty = workflow({**task, "for_each": []})
    assert made.update(empty, await play(empty)) == 0


async def test_a_task_that_was_never_measured_takes_what_its_tool_took() -> None:
    made = Statistics()
    plan = workflow("a", {"id": "b", "tool": "fake:a"}, max_concurrency=1, name="one")
    made.update(plan, await play(plan, a=[(1, None)]))
    other = workflow("a", {"id": "new", "tool": "fake:a"}, "unknown", name="other")
    assert made.estimates(other) == {"a": 1.0, "new": 1.0}


async def test_a_task_of_the_same_name_that_calls_another_tool_is_another_task() -> None:
    made = Statistics()
    mine, theirs = workflow("a"), workflow({"id": "a", "tool": "fake:other"})
    assert mine.name == theirs.name
    made.update(mine, await play(mine, a=[(1, None)]))
    assert made.estimates(theirs) == {}
    made.update(theirs, await play(theirs, other=[(5, None)]))
    assert made.estimates(theirs) == {"a": 5.0}
    assert made.estimates(mine) == {"a": 1.0}  # its tool's


async def test_it_is_written_and_read(tmp_path: Path) -> None:
    plan, made = workflow("a", name="written"), Statistics()
    made.update(plan, await play(plan, a=[(1.25, None)]))
    assert document(made, tmp_path) == {
        "version": 1,
        "workflows": {"written": {"a": {"mean_ms": 1250.0, "runs": 1, "tool": "fake:a"}}},
        "tools": {"fake:a": {"mean_ms": 1250.0, "runs": 1}},
    }
    read = Statistics.load(tmp_path / "written.json")
    assert repr(read) == "Statistics(1 tasks, 1 tools)"
    assert read.estimates(plan) == {"a": 1.25}
    assert [path.name for path in tmp_path.iterdir()] == ["written.json"]


async def test_what_was_measured_longest_ago_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MAX_TASKS", 3)
    monkeypatch.setattr(statistics, "MAX_TOOLS", 2)
    made = Statistics()
    for name, tasks in (("old", "ab"), ("new", "cd"), ("newest", "e")):
        plan = workflow(*tasks, name=name)
        made.update(plan, await play(plan))
    written = document(made, tmp_path)
    assert {name: list(tasks) for name, tasks in written["workflows"].items()} == {
        "new": ["c", "d"],
        "newest": ["e"],
    }
    assert list(written["tools"]) == ["fake:d", "fake:e"]
    plan = workflow(*"fghi", name="large")
    made.update(plan, await play(plan))
    assert list(document(made, tmp_path)["workflows"]) == ["large"]


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Statistics.load(tmp_path / "none.json").estimates(workflow("a")) == {}
    with pytest.raises(WorkflowError, match="there is no directory"):
        Statistics.load(tmp_path / "none" / "none.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[]", "expected object, got empty array"),
        (b"", "invalid JSON: empty document (line 1"),
        (b'{"version": 1, "version": 1}', 'duplicate property "version"'),
        (b"\xff", "is not UTF-8"),
        (b'{"version": 2}', "/version"),
        (b'{"tools": {"s:t": {"mean_ms": -1, "runs": 1}}}', "/tools/s:t/mean_ms"),
        (b'{"workflows": {"w": {"a": {"mean_ms": 1, "runs": 1}}}}', "/workflows/w/a"),
        (b'{"tasks": []}', "tasks"),
    ],
    ids=repr,
)
def test_a_file_that_is_broken_is_named_with_the_way_to_mend_it(
    tmp_path: Path, text: bytes, message: str
) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(text)
    with pytest.raises(WorkflowError) as caught:
        Statistics.load(path)
    assert str(caught.value).startswith(f"{path}: 1 error, nothing was called")
    assert message in str(caught.value)
    assert "(delete it to start over, or name another file)" in str(caught.value)


def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="not a regular file"):
        Statistics.load(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        Statistics().save(tmp_path)


def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "file.json"
    path.write_text("{}")
    monkeypatch.setattr(Path, "read_text", refuse)  # root may read any file, whatever its mode
    with pytest.raises(WorkflowError, match=r"cannot be read: Permission denied \(delete it"):
        Statistics.load(path)
