"""The ids and inputs of a workflow, and what is wrong with a reference to one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import listed, quoted
from orchestrator.errors import Code, Problem
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.lexer import ExpressionSyntaxError
from orchestrator.expressions.scope import ScopeKey
from orchestrator.workflow.fixes import Fixes, piece_of
from orchestrator.workflow.normalize import TASK_LISTS, task_of, tasks_in

MAX_SUGGESTIONS = 25
_FIRST_NAME = re.compile(r"\$\{\s*([A-Za-z][\w-]*)((?:\.[A-Za-z_]\w*|\[-?\d+\])*)")
# `$OUTPUT.a.x`, and what GitHub Actions and others write: `${{ steps.a.outputs.x }}`.
_DOTTED = re.compile(r"\$(OUTPUT|ITEMS)\.([A-Za-z][\w-]*)((?:\.[A-Za-z_]\w*|\[-?\d+\])*)")
_DOUBLED = re.compile(r"\$\{\{\s*(.*?)\s*\}")
_OF_STEPS = re.compile(r"(?:steps|tasks|needs|jobs)\.([A-Za-z][\w-]*)(?:\.outputs?\b)?(.*)")
# By the field of the task that reads the item of a for_each where there is none.
_ITEM_HINTS = {
    "arguments": "add for_each to this task",
    "locks": "add for_each to this task",
    "when": "to skip items, write item_when",
    "item_when": "add for_each to this task",
    "item_fallback": "add for_each to this task",
    "value": "add for_each to this task",
    "read": "add for_each to this task",
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a value is: its path, its task, and the roots without a name that it can read."""

    path: Path
    task: str | None = None
    readable: frozenset[str] = frozenset()

    @property
    def is_fallback(self) -> bool:
        return self.path[2:3] in (("fallback",), ("item_fallback",))

    @property
    def is_finally(self) -> bool:
        return self.path[0] == "finally"

    def below(self, *steps: str | int, readable: frozenset[str] = frozenset()) -> Site:
        return Site((*self.path, *steps), self.task, readable)

    def problem(self, code: Code, message: str, hint: str = "", text: str = "") -> Problem:
        return Problem(code, message, pointer(*self.path), self.task, (), hint, text=text)


class Names:
    """What references may name in a workflow.

    Attributes:
        sites: The tasks by id.
        problems: The ids that are used twice.
    """

    def __init__(self, workflow: Mapping[str, Any], fixes: Fixes) -> None:
        inputs = workflow.get("inputs")
        self.inputs: Mapping[str, Any] = inputs if isinstance(inputs, Mapping) else {}
        self.sites: dict[str, Site] = {}
        self.problems: list[Problem] = []
        self._outside_finally: dict[str, Site] = {}
        self._no_ids: set[str] = set()  # of tasks whose ids are no strings
        self._fan_out: set[str] = set()  # the tasks with for_each
        self._suggestions = MAX_SUGGESTIONS
        self._fixes = fixes
        for path, task in tasks_in(workflow):
            self._add(Site(path, task_of(task)), task)

    def _add(self, site: Site, task: Any) -> None:
        if site.task is None:
            if isinstance(task, Mapping):  # a number is an error of its own
                self._no_ids.add(str(task.get("id")))
        elif site.task in self.sites:
            field, index = self.sites[site.task].path
            number = f"{'finally ' if field == 'finally' else ''}task number {int(index) + 1}"
            message = f"duplicate id {quoted(site.task)}, already used by {number}"
            self.problems.append(site.below("id").problem("duplicate_id", message))
        else:
            self.sites[site.task] = site
            if not site.is_finally:
                self._outside_finally[site.task] = site
            if task.get("for_each") is not None:
                self._fan_out.add(site.task)

    def hint(self, text: str) -> str:
        """What a malformed reference may have been meant as."""
        name = _FIRST_NAME.match(text)
        if name is not None and name[1].casefold() in ("env", "process"):
            return "environment variables are only read in servers.toml: declare an input instead"
        if name is not None and name[1] in self.sites:
            return f"for the output of task {quoted(name[1])}, write $OUTPUT[{name[1]}]{name[2]}"
        if (dotted := _DOTTED.match(text)) is not None and dotted[2] in self.sites:
            return f"write ${dotted[1]}[{dotted[2]}]{dotted[3]}"
        if (doubled := _DOUBLED.match(text)) is not None:
            step = _OF_STEPS.fullmatch(doubled[1])
            if step is not None and step[1] in self.sites:
                return (
                    f"for the output of task {quoted(step[1])}, write $OUTPUT[{step[1]}]{step[2]}"
                )
            with suppress(ExpressionSyntaxError):
                compile_expression(doubled[1])
                return f"write one pair of braces: ${{{doubled[1]}}}"
        return ""

    def check(self, key: ScopeKey, text: str, site: Site) -> Problem | None:
        """What is wrong with `text`, which reads this at a site; None if it exists there."""
        match key.root:
            case "OUTPUT" | "ITEMS" | "STATUS" | "ERROR" if key.name is not None:
                return self._task(key.name, key, text, site)
            case "INPUT" if key.name is not None and key.name not in self.inputs:
                return self._unknown("input", key, text, site, self.inputs)
            case "ITEM" | "INDEX":
                message = f"{quoted(text)} is only readable for an item of a for_each"
                field = str(site.path[2]) if site.path[0] in TASK_LISTS else ""
                return site.problem("no_item_here", message, _ITEM_HINTS.get(field, ""), text)
            case "LAST":
                message = f"{quoted(text)} is only readable in a task with repeat"
                hint = "in its arguments, until and collect"
                return site.problem("no_answer_here", message, hint, text)
            case "ERROR" if key.name is None:
                message = f"{quoted(text)} without a task id is only readable in a fallback"
                return site.problem("no_error_here", message, "name a task: $ERROR[id]", text)
        return None

    def _task(self, name: str, key: ScopeKey, text: str, site: Site) -> Problem | None:
        if (target := self.sites.get(name)) is None:
            if name in self._no_ids:
                return None
            readable = self.sites if site.is_finally else self._outside_finally
            return self._unknown("task", key, text, site, readable)
        if name == site.task:
            message = f"{quoted(text)} refers to its own task: {name} -> {name}"
            return site.problem("self_reference", message, text=text)
        if target.is_finally and not site.is_finally:
            message = f"{quoted(text)} refers to a finally task, which runs after everything else"
            hint = f"move task {quoted(name)} to tasks, or what reads it to finally"
            return site.problem("reads_finally", message, hint, text)
        if key.root == "ITEMS" and name not in self._fan_out:
            message = f"{quoted(text)} needs a for_each, which task {quoted(name)} does not have"
            return site.problem("no_items_there", message, f"write $OUTPUT[{name}]", text)
        return None

    def _unknown(
        self, what: str, key: ScopeKey, text: str, site: Site, known: Mapping[str, Any]
    ) -> Problem:
        name = str(key.name)
        self._suggestions -= 1  # comparing each name with all others would be quadratic
        near = nearest(name, known) if self._suggestions >= 0 else ()
        all_known = f"{what}s: {listed(known, 10)}" if known else f"the workflow has no {what}s"
        piece, form = (name, "{name}") if text == name else piece_of(text, key.root, name)
        code: Code = "unknown_task" if what == "task" else "unknown_input"
        message = f"unknown {what} {quoted(name)}" + (f" in {quoted(text)}" if text != name else "")
        problem = site.problem(code, message, "" if near else all_known, piece or text)
        if (meant := certain(name, near)) not in (None, site.task) and piece:
            self._fixes.note(problem.path, piece, form.format(name=meant))
        return replace(problem, alternatives=near)
