"""Turns mismatches in the values of a workflow into problems at their places in its file."""

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
        self._problems: dict[tuple[int, str, str, str], Problem] = {}

    def all(self) -> list[Problem]:
        """The problems in the order of the file, with their certain replacements."""
        problems = [self._problems[key] for key in sorted(self._problems)]
        return self._fixes.apply(problems, self._document) if problems else problems

    def add(
        self,
        mismatches: Iterable[Mismatch],
        task: TaskPlan | None,
        at: Path,
        tool: Tool | None = None,
    ) -> None:
        """Add the mismatches of a value.

        Args:
            mismatches: The mismatches.
            task: The task of the value; None for the output of the workflow.
            at: The place of the value, in the task or in the workflow.
            tool: The tool that the value is the arguments of, if it is.
        """
        for mismatch in mismatches:
            index = len(self._workflow.plan.tasks) if task is None else task.index
            base: Path = at if task is None else ("tasks", index, *at)
            problem = self._problem(mismatch, base, task.id if task else None, tool)
            self.keep(index, problem, mismatch.text)

    def keep(self, index: int, problem: Problem, text: str = "") -> None:
        """Add a problem of the task at an index; -1 sorts it before all tasks."""
        # A union of schemas may give the same problem for several of its options.
        key = (index, problem.path, text, f"{problem.code} {problem.message}")
        self._problems.setdefault(key, problem)

    def in_file(self, path: Path) -> Path:
        """The path as the file has it, where `$$` stands for a dollar sign in names.

        The path ends at the object that holds a computed name.
        """
        if not any(step == "" or "$" in str(step) for step in path):
            return path
        here: Any = self._document
        found: list[str | int] = []
        for step in path:
            name = _written(here, step)
            if name is None:
                break
            found.append(name)
            here = here[name]
        return tuple(found)

    def _problem(
        self, mismatch: Mismatch, base: Path, task: str | None, tool: Tool | None
    ) -> Problem:
        path = self.in_file((*base, *mismatch.path))
        piece = mismatch.piece if self._is_alone(mismatch.piece, path) else ""
        return Problem(
            mismatch.code,
            _message(mismatch, tool),
            pointer(*path),
            task,
            mismatch.alternatives,
            self._hint(mismatch, tool),
            mismatch.severity,
            piece or mismatch.text,
            self._replacement(mismatch, path, piece),
        )

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
        if mismatch.code == "unexpected_argument" and len(mismatch.path) == 1:
            name = certain(str(path[-1]), mismatch.alternatives)
            if name is None or name in value_at(self._document, pointer(*path[:-1])):
                return ()
            return (move_op(pointer(*path), pointer(*path[:-1], name)),)
        if not mismatch.fix or piece != mismatch.piece:
            return ()
        if not mismatch.text:
            return (replace_op(pointer(*path), json.loads(mismatch.fix)),)
        # One string may have several names to fix, which get one replacement together.
        self._fixes.note(pointer(*path), piece or mismatch.text, json.loads(mismatch.fix))
        return ()

    def _is_alone(self, name: str, path: Path) -> bool:
        """Whether a name occurs once in the string at a path."""
        text = value_at(self._document, pointer(*path)) if name else None
        pattern = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
        return isinstance(text, str) and len(re.findall(pattern, text)) == 1

    @cached_property
    def _document(self) -> dict[str, Any]:
        return self._workflow.to_dict()


def _message(mismatch: Mismatch, tool: Tool | None) -> str:
    text = mismatch.text
    if mismatch.code == "unknown_type":
        return f"{text}: {mismatch.message}" if text else mismatch.message
    if tool is None:
        return mismatch.message
    place = (*mismatch.path, *mismatch.below)
    if mismatch.code == "unexpected_argument":  # the message names it
        place = place[:-1]
    parts = [tool.target, format_path(place).removeprefix("."), mismatch.message]
    return ": ".join(filter(None, parts)) + (f" ({text})" if text else "")


def _written(holder: Any, step: str | int) -> str | int | None:
    """The step as the file has it; None if the file has none like it."""
    if isinstance(holder, list) or step in holder:
        return step
    return next((name for name in holder if name.replace("$$", "$") == step), None)
