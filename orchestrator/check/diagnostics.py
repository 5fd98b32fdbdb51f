"""From what is found in the values of a workflow to the problems of its file.

The rule of this file: places, words and mends; each problem once, in the order of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from orchestrator.check.mismatch import Mismatch
from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.pointer import move_op, pointer, replace_op, value_at
from orchestrator.documents.suggest import certain
from orchestrator.errors import Problem
from orchestrator.schema.notation import signature
from orchestrator.schema.tool import Tool
from orchestrator.workflow.fixes import Fixes
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan

MAX_SIGNATURE = 200


class Diagnostics:
    """Collects what is found in a workflow.

    Args:
        workflow: The workflow.
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._mends = Fixes()
        self._signatures: dict[str, str] = {}
        self._found: dict[tuple[int, str, str, str], Problem] = {}

    def all(self) -> list[Problem]:
        """What was collected, in the order of the file, with what mends it for certain."""
        found = [self._found[key] for key in sorted(self._found)]
        return self._mends.apply(found, self._document) if found else found

    def add(
        self,
        findings: Iterable[Mismatch],
        task: TaskPlan | None,
        at: Path,
        tool: Tool | None = None,
    ) -> None:
        """Take what is found in a value.

        Args:
            findings: What was found.
            task: The task that it is of; None for the output of the workflow.
            at: Where the value stands, in the task or in the workflow.
            tool: The tool that the value is the arguments of, if it is that.
        """
        for finding in findings:
            index = len(self._workflow.plan.tasks) if task is None else task.index
            base: Path = at if task is None else ("tasks", index, *at)
            problem = self._problem(finding, base, task.id if task else None, tool)
            self.keep(index, problem, finding.text)

    def keep(self, index: int, problem: Problem, text: str = "") -> None:
        """Take a problem of a task by its index; -1 for what stands before all tasks."""
        key = (index, problem.path, text, f"{problem.code} {problem.message}")
        self._found.setdefault(key, problem)

    def _problem(
        self, finding: Mismatch, base: Path, task: str | None, tool: Tool | None
    ) -> Problem:
        where = self.in_file((*base, *finding.path))
        return Problem(
            finding.code,
            _message(finding, tool),
            pointer(*where),
            task,
            finding.alternatives,
            self._hint(finding, tool),
            finding.severity,
            finding.piece or finding.text,
            self._replacement(finding, where),
        )

    def in_file(self, where: Path) -> Path:
        """A place of the values as it is in the file, where `$$` stands for a dollar sign in names.

        What has a name that is a reference is not found: it stands where its object does.
        """
        if not any(step == "" or "$" in str(step) for step in where):
            return where
        here: Any = self._document
        found: list[str | int] = []
        for step in where:
            name = _spelt(here, step)
            if name is None:
                break
            found.append(name)
            here = here[name]
        return tuple(found)

    def _hint(self, finding: Mismatch, tool: Tool | None) -> str:
        """How to mend it."""
        if finding.code == "maybe_absent" and finding.text.startswith("$OUTPUT"):
            return f"${{not_null({finding.text[1:]}, ...)}} gives something else in its place"
        if finding.code == "may_not_fit" and finding.message.endswith("and text is wanted"):
            return f"${{to_string({finding.text.removeprefix('$')})}} makes text of whatever it is"
        if tool is None or finding.code in ("unknown_type", "may_not_fit"):
            return ""
        if tool.target not in self._signatures:  # it may be long, and so may the list of findings
            self._signatures[tool.target] = f"{tool.target}({signature(tool, MAX_SIGNATURE)})"
        return self._signatures[tool.target]

    def _replacement(self, finding: Mismatch, where: Path) -> tuple[Mapping[str, Any], ...]:
        """What mends it for certain, as a JSON Patch."""
        if finding.code == "unexpected_argument" and len(finding.path) == 1:
            name = certain(str(where[-1]), finding.alternatives)
            if name is None or self._has(pointer(*where[:-1], name)):
                return ()
            return (move_op(pointer(*where), pointer(*where[:-1], name)),)
        if not finding.value:
            return ()
        if finding.text:
            piece = finding.piece or finding.text
            if not finding.piece or self._is_alone(piece, where):
                self._mends.note(pointer(*where), piece, json.loads(finding.value))
            return ()
        return (replace_op(pointer(*where), json.loads(finding.value)),)

    def _is_alone(self, name: str, where: Path) -> bool:
        """Whether a name stands once in a text."""
        text = value_at(self._document, pointer(*where))
        return isinstance(text, str) and len(re.findall(rf"\b{re.escape(name)}\b", text)) == 1

    def _has(self, path: str) -> bool:
        with suppress(KeyError, IndexError):
            value_at(self._document, path)
            return True
        return False

    @cached_property
    def _document(self) -> dict[str, Any]:
        return self._workflow.to_dict()


def _message(finding: Mismatch, tool: Tool | None) -> str:
    if tool is None or finding.code == "unknown_type":
        return (
            f"{finding.text}: {finding.message}" if _is_of_reference(finding) else finding.message
        )
    if finding.code == "unexpected_argument" and len(finding.path) == 1:
        return f"{tool.target}: {finding.message}"
    if finding.code == "missing_argument" and not finding.path:
        return f"{tool.target}: the arguments {finding.message.replace('lacks', 'lack')}"
    place = format_path(finding.path).lstrip(".") or "the arguments"
    return f"{tool.target}: {place}: {finding.text or 'it'} {finding.message}"


def _is_of_reference(finding: Mismatch) -> bool:
    return (
        bool(finding.text)
        and not finding.piece
        and finding.code != "not_a_list"
        and finding.text not in finding.message
    )


def _spelt(holder: Any, step: str | int) -> str | int | None:
    """A step as the file has it; None if it has none like it."""
    if isinstance(holder, list) or step in holder:
        return step
    return next((name for name in holder if name.replace("$$", "$") == step), None)
