"""Turns mismatches in the values of a workflow into problems at their paths in its file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
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
    """Collects the problems of a workflow, each once."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._fixes = Fixes()
        self._signatures: dict[str, str] = {}
        self._positions = {task: index for index, task in enumerate(workflow.plan.tasks)}
        self._problems: dict[tuple[int, str, str, str], Problem] = {}

    def all(self) -> list[Problem]:
        """The problems in the order of the file, with their certain replacements."""
        problems = [self._problems[key] for key in sorted(self._problems)]
        return self._fixes.apply(problems, self._document) if problems else problems

    def suggests(self, path: str) -> bool:
        """Whether a finding at a path names what may have been meant."""
        return any(each.path == path and each.alternatives for each in self._problems.values())

    def has(self, path: str) -> bool:
        """Whether there is a finding at a path."""
        return any(each.path == path for each in self._problems.values())

    def add(
        self, found: Iterable[Mismatch], task: TaskPlan | None, at: Path, tool: Tool | None = None
    ) -> None:
        """Add the mismatches of a value, such as the arguments of a `tool`.

        `at` is its path in the task, or in the workflow if `task` is None.
        """
        base: Path = at if task is None else (*task.path, *at)
        # The output of the workflow comes after its tasks, everything else before them.
        last = len(self._workflow.plan.tasks) if at == ("output",) else -1
        index = last if task is None else self._positions[task.id]
        for mismatch in found:
            path = self._in_file((*base, *mismatch.path))
            piece = mismatch.piece if self._is_alone(mismatch.piece, path) else ""
            problem = Problem(
                mismatch.code,
                _message(mismatch, tool),
                pointer(*path),
                task.id if task else None,
                mismatch.alternatives,
                mismatch.hint or self._hint(mismatch, tool),
                mismatch.severity,
                piece or mismatch.text,
                self._replacement(mismatch, path, piece),
            )
            # A union of schemas may give the same problem for several of its options.
            key = (index, problem.path, mismatch.text, f"{problem.code} {problem.message}")
            self._problems.setdefault(key, problem)

    def include(self, problems: Iterable[Problem], task: TaskPlan) -> None:
        """Add the findings in the workflow of a task."""
        for problem in problems:
            key = (task.index, problem.path, problem.text, f"{problem.code} {problem.message}")
            self._problems.setdefault(key, problem)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return self._workflow.to_dict()

    def _in_file(self, path: Path) -> Path:
        """The path as the file has it, where `$$` is a dollar sign in names."""
        if not any(step == "" or "$" in str(step) for step in path):
            return path
        here: Any = self._document
        found: list[str | int] = []
        for step in path:
            if not isinstance(here, list) and step not in here:
                written = [name for name in here if name.replace("$$", "$") == step]
                if not written:  # a computed name: the path ends at its object
                    break
                step = written[0]
            found.append(step)
            here = here[step]
        return tuple(found)

    def _hint(self, mismatch: Mismatch, tool: Tool | None) -> str:
        text = mismatch.text
        if mismatch.code == "maybe_absent" and text.startswith("$OUTPUT"):
            return f"${{not_null({text[1:]}, ...)}} gives a value in its place"
        if mismatch.code == "may_not_fit" and mismatch.message.startswith("expected string, may"):
            inner = text[2:-1] if text.startswith("${") else text.removeprefix("$")
            return f"${{to_string({inner})}} converts any value to a string"
        if tool is None or mismatch.code in ("unknown_type", "may_not_fit"):
            return ""
        if tool.target not in self._signatures:  # long signatures are slow to write
            self._signatures[tool.target] = f"{tool.target}({signature(tool, MAX_SIGNATURE)})"
        return self._signatures[tool.target]

    def _replacement(
        self, mismatch: Mismatch, path: Path, piece: str
    ) -> tuple[Mapping[str, Any], ...]:
        """The certain replacement of a literal or a name; that of a text is noted for `all`."""
        at, holder = pointer(*path), path[:-1]
        if mismatch.code == "unexpected_argument" and len(mismatch.path) == 1:
            name = certain(str(path[-1]), mismatch.alternatives)
            if name is None or name in value_at(self._document, pointer(*holder)):
                return ()
            return (move_op(at, pointer(*holder, name)),)
        if not mismatch.fix or piece != mismatch.piece:
            return ()
        fixed = json.loads(mismatch.fix)
        if not mismatch.text:
            return (replace_op(at, fixed),)
        # One string may have several names to fix, which get one replacement together.
        self._fixes.note(at, piece or mismatch.text, fixed)
        return ()

    def _is_alone(self, name: str, path: Path) -> bool:
        """Whether a name occurs once in the string at a path."""
        text = value_at(self._document, pointer(*path)) if name else None
        pattern = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
        return isinstance(text, str) and len(re.findall(pattern, text)) == 1


def _message(mismatch: Mismatch, tool: Tool | None) -> str:
    text, message = mismatch.text, mismatch.message
    if mismatch.code == "unknown_type":
        return f"{text}: {message}" if text else message
    if tool is None:
        return message
    path = (*mismatch.path, *mismatch.below)
    if mismatch.code == "unexpected_argument":  # the message names it
        path = path[:-1]
    origin, place = f" from {text}" if text else "", format_path(path)
    return f"{tool.target}: {message}{origin}{f' at {place}' if place else ''}"
