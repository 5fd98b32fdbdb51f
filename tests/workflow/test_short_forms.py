"""The short forms of a file are right for type checkers too, in a user's own code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from orchestrator import Task, Workflow
from orchestrator.workflow.model import WorkflowFields
from orchestrator.workflow.task_fields import TaskFields

RIGHT = """
from orchestrator import Task, Workflow
names = ["x"]
first = Task(id="a", tool="s:t", retry=3, locks=names, fallback={"value": None}, timeout_s=5)
second = Task(
    id="b", tool="s:t", retry={"max_attempts": 2}, locks=["x", {"name": "y", "mode": "shared"}],
    for_each=[1, "a"], when=False, run_if="all_done", arguments={"x": [1]}, depends_on=["a"],
)
third = Task(id="c", tool="s:t", for_each="$INPUT.x", fallback={"tool": "s:t"})
workflow = Workflow(
    tasks=[first, second, third, {"id": "d", "tool": "s:t"}],
    inputs={"x": {"type": "array"}, "y": True}, on_error="fail_fast",
)
attempts: int = first.retry.max_attempts if first.retry else 1
"""
WRONG = {
    'Task(id="e", tool="s:t", retry="3")': 'Argument "retry" to "Task" has incompatible type "str"',
    'Task(id="e", tool="s:t", wen=True)': 'Unexpected keyword argument "wen"',
    'Task(id="e", tool="s:t", locks=[1])': 'List item 0 has incompatible type "int"',
    "Workflow(tasks=[1])": 'List item 0 has incompatible type "int"',
}

# What else there is takes most of the time, and says nothing of a plan.
SKIPPED = "mypy-mcp.*,httpx2.*,rich.*,networkx.*,anyio.*,jmespath.*," + ",".join(
    f"orchestrator.{room}.*" for room in ("cli", "servers", "transport", "journal", "observers")
)


def test_the_signatures_have_every_field_of_the_file() -> None:
    assert list(get_type_hints(TaskFields)) == list(Task.model_fields)
    assert list(get_type_hints(WorkflowFields)) == list(Workflow.model_fields)


def test_what_type_checkers_accept_makes_a_workflow() -> None:
    names: dict[str, object] = {}
    exec(RIGHT, names)
    made = names["workflow"]
    assert isinstance(made, Workflow)
    assert made.tasks[0].retry is not None
    assert (names["attempts"], made.tasks[0].locks[0].name) == (3, "x")


@pytest.fixture
def _same_recursion_limit() -> Iterator[None]:
    """mypy raises it and leaves it so, for all tests that follow."""
    limit = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.slow
@pytest.mark.usefixtures("_same_recursion_limit")
def test_a_users_file_passes_the_strict_type_checker(tmp_path: Path) -> None:
    from mypy import api

    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = True\n[{SKIPPED}]\nfollow_imports = skip\n"
    )
    (tmp_path / "mine.py").write_text(RIGHT + "\n".join(WRONG))
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--no-error-summary"]
    said, _, _ = api.run([*options, "--cache-dir", str(tmp_path), str(tmp_path / "mine.py")])
    errors = [line for line in said.splitlines() if ": error: " in line]
    assert len(errors) == len(WRONG), said
    for error, expected in zip(errors, WRONG.values(), strict=True):
        assert expected in error
