"""Outputs that may be absent: of tasks that were skipped or have failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.check.earlier import Earlier
from orchestrator.check.environment import Environment
from orchestrator.check.mismatch import Mismatch, Mismatches
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.text import quoted
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.lexer import marked_root
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import Template
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, TaskPlan


class Absence:
    """Which tasks need not have an output.

    Attributes:
        skippable: Those that may be skipped although nothing failed.
    """

    def __init__(self, workflow: Workflow, earlier: Earlier) -> None:
        self.skippable = earlier.skippable
        self._has_output = earlier.has_output  # whatever happens
        # Each of these can end the run before others have their outputs.
        self._may_end_early = (
            workflow.on_error == "fail_fast"
            or workflow.timeout_s is not None
            or any(
                task.policies.critical or task.policies.end_run is not None
                for task in workflow.plan.tasks.values()
            )
        )

    def begin_finally(self) -> None:
        """Note that what comes now runs even if all before it was cancelled."""
        self._has_output.clear()

    def note(self, task: TaskPlan) -> None:
        """Note a task; those that it depends on have been noted."""
        if self._may_be_skipped(task):
            self.skippable.add(task.id)
        if self._always_succeeds(task):
            self._has_output.add(task.id)

    def _may_be_skipped(self, task: TaskPlan) -> bool:
        policies = task.policies
        if policies.when is not None or policies.run_if == "any_failed":
            return True
        return policies.run_if == "all_success" and not self.skippable.isdisjoint(task.needs)

    def _always_succeeds(self, task: TaskPlan) -> bool:
        """Whether a task has an output whatever happens, unless the run is interrupted."""
        policies = task.policies
        may_fail = isinstance(policies.fallback, CallTemplate | None)  # else it has a value
        if may_fail or policies.when is not None or self._may_end_early:
            return False
        return policies.run_if != "all_success" or self._has_output.issuperset(task.needs)

    def lacking(self, reference: Reference, path: Path, environment: Environment) -> Mismatches:
        """What is wrong with a reference to an output that a task need not have."""
        name, text, task = reference.name, reference.text, environment.task
        if task is None and name in self.skippable and not reference.or_null:
            message = f"{text}: task {quoted(str(name))} may be skipped, so it may have no output"
            hint = f"${{OUTPUT[{name}]}} is null then"
            yield Mismatch(path, "maybe_absent", "warning", message, text, hint=hint)
        may_lack = environment.lacks(name) and reference.root == "OUTPUT" and not reference.or_null
        if task is None or name is None or not may_lack or name in self._has_output:
            return
        run_if = f"run_if is {task.policies.run_if}"
        hint = f"write ${{OUTPUT[{name}]}} to get null instead of an error"
        if name in environment.absent:
            why = f"has always failed when this task runs ({run_if}), so it has no output"
            message = f"{text}: task {quoted(name)} {why}"
            yield Mismatch(path, "never_an_output", "error", message, text, hint=hint)
        else:
            why = f"may have no output ({run_if}), and then this task fails"
            message = f"{text}: task {quoted(name)} {why}"
            yield Mismatch(path, "maybe_absent", "warning", message, text, hint=hint)


def present_by(when: Template | None) -> frozenset[str]:
    """The tasks that have succeeded if a condition is true: `STATUS[id] == 'success' && ...`."""
    return frozenset(_successes(when.tree) if isinstance(when, Expression) else ())


def _successes(node: Any) -> Iterator[str]:
    if node["type"] == "and_expression":
        for child in node["children"]:
            yield from _successes(child)
    elif node["type"] == "comparator" and node["value"] == "eq":
        sides = node["children"]
        for status, value in (sides, reversed(sides)):
            if value["type"] == "literal" and value["value"] == "success":
                names = [step["value"] for step in status["children"] if step["type"] == "field"]
                if len(names) == 2 and marked_root(names[0]) == "STATUS":
                    yield names[1]
